/* test_answers MODEL CASE BACKEND [FIRST_SEGMENT [SLICE_ROWS [graphs|plain]]]: every answer of a case in f32 against expected/:
 * ids, positions, kept tokens, survivors of every layer, logits, tokens, evidence. With FIRST_SEGMENT the same clip is fed as
 * that segment of an endless stream: only the positions move. With SLICE_ROWS (0: the usual) prefill goes in pieces of so
 * many rows: nothing changes. With graphs every eager question is asked three times, plainly, recorded and replayed: the
 * same again. With plain nothing is recorded. */
#include "tests/golden/golden.h"

#include <stdio.h>
#include <string.h>

static char **arguments;

/* A question encodes nothing but the open segment; in eager mode it runs its own rows and no other. */
static bool did_its_own_work(const json_t *expected, const char *name, const omnid_result *r, char *why, size_t n_why)
{
    bool now = strncmp(name, "now_", 4) == 0;
    long long rows = json_integer_value(json_object_get(expected, "query_len")) * r->n_layers;
    if (!now && r->timings.encoder_calls != 0)
        snprintf(why, n_why, "%d encoder calls for a question", r->timings.encoder_calls);
    else if (!now && r->mode == OMNID_MODE_EAGER && r->timings.rows_prefilled != rows)
        snprintf(why, n_why, "%d rows prefilled, expected %lld", r->timings.rows_prefilled, rows);
    else if (r->mode != OMNID_MODE_EAGER && r->timings.rows_prefilled <= rows)
        snprintf(why, n_why, "%d rows prefilled, expected more than the query's %lld", r->timings.rows_prefilled, rows);
    else
        return true;
    return false;
}

enum { GRAPH_TIMES = 3 };

static bool argument_is(const char *word)
{
    return arguments[4] && arguments[5] && arguments[6] && strcmp(arguments[6], word) == 0;
}

/* How often the answer that is looked at has been before. */
static int times_before(const char *name)
{
    static char last[256];
    static int times;
    times = strcmp(last, name) == 0 ? times + 1 : 0;
    snprintf(last, sizeof last, "%s", name);
    return times;
}

/* The third time, the question and every decode step after its first token are replayed: not one launch differs. */
static bool was_replayed(int time, const omnid_result *r, char *why, size_t n_why)
{
    if (time < GRAPH_TIMES - 1 || r->timings.replays == r->n_tokens)
        return true;
    snprintf(why, n_why, "%d slices replayed, expected %d", r->timings.replays, r->n_tokens);
    return false;
}

static bool nothing_replayed(const omnid_result *r, char *why, size_t n_why)
{
    if (r->timings.replays == 0)
        return true;
    snprintf(why, n_why, "%d slices replayed, expected none", r->timings.replays);
    return false;
}

static bool is_eager(const json_t *answer)
{
    const char *mode = json_string_value(json_object_get(answer, "mode"));
    return !mode || strcmp(mode, "eager") == 0;
}

static bool check(void *user, const golden_case *c, const char *name, const omnid_result *r, char *why, size_t n_why)
{
    char path[GOLDEN_PATH + 300];
    snprintf(path, sizeof path, "%s/expected/%s.json", c->folder, name);
    json_t *expected = golden_json(path);
    bool same = golden_compare(expected, r, user, why, n_why) && did_its_own_work(expected, name, r, why, n_why) &&
                (!argument_is("graphs") || was_replayed(times_before(name), r, why, n_why)) &&
                (!argument_is("plain") || nothing_replayed(r, why, n_why));
    json_decref(expected);
    return same;
}

static void test_answers(void **state)
{
    (void)state;
    int n_bad = 0;
    int64_t first = arguments[4] != NULL ? atoll(arguments[4]) : 0;
    golden_limits limits = {.logits_tolerance = 1e-3, .min_top2_gap = 1e-2, .shift = 50 * first};
    golden_run_params p = {.backend = arguments[3],
                           .precision = OMNID_PRECISION_F32,
                           .first_segment = first,
                           .slice_rows = arguments[4] && arguments[5] ? atoi(arguments[5]) : 0,
                           .times = argument_is("graphs") ? GRAPH_TIMES : 1,
                           .no_graphs = argument_is("plain"),
                           .check = check,
                           .wanted = argument_is("graphs") ? is_eager : NULL,
                           .user = &limits};
    golden_case c;
    golden_case_open(&c, arguments[1], arguments[2]);
    int n = golden_run(&c, arguments[1], &p, &n_bad);
    size_t n_moments = json_array_size(json_object_get(c.meta, "moments")), n_asked = 0, i;
    const json_t *answer;
    json_array_foreach(json_object_get(c.meta, "answers"), i, answer) n_asked +=
        (size_t)p.times * (n_moments > 0 ? n_moments : 1) * (!p.wanted || p.wanted(answer));
    golden_case_close(&c);
    print_message("%s %s: %d of %d answers agree\n", arguments[1], arguments[2], n - n_bad, n);
    assert_int_equal(n, n_asked);
    assert_int_equal(n_bad, 0);
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 7) {
        print_error("usage: %s MODEL CASE BACKEND [FIRST_SEGMENT [SLICE_ROWS [graphs|plain]]]\n", argv[0]);
        return 64;
    }
    arguments = argv;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
