/* test_recorded.c: what a backend records of questions (OMNID_TEST_BACKEND; "auto" if it is not set, and then nothing may be) gives
 * what the reference gives: questions of other lengths, windows and schedules that share a recording, windows that grow out of
 * one, and a window that moves. And a question in the steady state allocates nothing, copies nothing to the host, and waits
 * once, for its token. */
#include "tests/unit/engine/world.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const char *backend(void)
{
    const char *name = getenv("OMNID_TEST_BACKEND");
    return name ? name : "auto";
}

static bool records(void)
{
    return strcmp(backend(), "cuda") == 0;
}

static omnid_timeline_params short_window(void)
{
    omnid_timeline_params tp = omnid_timeline_params_default();
    tp.intra = false; /* more tokens */
    tp.window_segments = 5;
    tp.hop_segments = 4;
    return tp;
}

/* Asks both and compares; how many slices of w's answer were replayed. */
static int ask_both(world *w, world *reference, const char *text, const char *retention, const char *policy)
{
    omnid_question_params q = omnid_question_params_default();
    q.question = text;
    q.retention = retention;
    q.policy = policy;
    q.max_tokens = 2;
    const world_answer *a = world_ask(w, w->timeline, &q, NULL),
                       *b = world_ask(reference, reference->timeline, &q, NULL);
    world_same_survivors(a, b);
    assert_true(world_distance(w, a, b) < 1e-3);
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->timings.rows_prefilled, b->timings.rows_prefilled);
    for (int l = 0; l < a->n_layers; l++)
        assert_int_equal(a->layers[l].kv_rows_prefill, b->layers[l].kv_rows_prefill);
    return a->timings.replays;
}

static void recordings_are_what_the_reference_says(void **state)
{
    static const struct {
        const char *text, *retention, *policy;
    } asked[] = {
        {"What?", "30", NULL},           {"What is that there?", "30", NULL}, {"Where?", "20", NULL},
        {"And who was it?", "30", NULL}, {"What is it?", "30", "random"},     {"Who?", "none", NULL},
    };
    static world w, reference;
    (void)state;
    omnid_timeline_params tp = short_window();
    world_open(&w, "M3", backend(), NULL);
    world_open(&reference, "M3", "reference", NULL);
    world_timeline(&w, &tp);
    world_timeline(&reference, &tp);
    int n_replayed = 0, n_on_host = 0;
    for (int s = 0; s < 6; s++) { /* past 256 tokens, and past the window */
        world_feed(&w, w.timeline, 3, s, s, 3);
        world_feed(&reference, reference.timeline, 3, s, s, 3);
        for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
            if ((i + (size_t)s) % 2)
                continue;
            int replays = ask_both(&w, &reference, asked[i].text, asked[i].retention, asked[i].policy);
            n_replayed += replays;
            n_on_host += asked[i].policy && replays == 2; /* its layers cannot be: a policy that decides on the host */
        }
    }
    print_message("%d slices were replayed\n", n_replayed);
    assert_int_equal(n_on_host, 0);
    assert_true(records() ? n_replayed >= 10 : n_replayed == 0);
    world_close(&w);
    world_close(&reference);
}

/* What the emulated device was asked for so far: allocations, waits, copies to the host. */
static void count(long counts[3])
{
    void (*counts_of)(long *) = NULL;
    *(void **)&counts_of = world_emulation("cuda_emulation_counts");
    counts_of(counts);
}

static void a_question_waits_once(void **state)
{
    static world w;
    (void)state;
    if (!records())
        return;
    omnid_timeline_params tp = short_window();
    omnid_error err = {0};
    omnid_question_params q = omnid_question_params_default();
    q.question = "What is there?";
    q.max_tokens = 2;
    world_open(&w, "M3", backend(), NULL);
    world_timeline(&w, &tp);
    world_feed(&w, w.timeline, 3, 0, 0, 3);
    for (int time = 0; time < 4; time++) {
        long before[3], after[3];
        world_post(&w, w.timeline, &q, NULL);
        w.n_slices = 0;
        count(before);
        while (w.n_slices == 0 || w.slices[w.n_slices - 1].n_layers == 0)
            world_ok(omnid_engine_step(w.engine, 0, &err), &err);
        count(after);
        assert_int_equal(w.slices[w.n_slices - 1].kind, OMNID_SLICE_QUESTION);
        assert_int_equal(w.slices[w.n_slices - 1].n_layers, w.info.n_layers);
        assert_int_equal(after[1] - before[1], time == 0 ? after[1] - before[1] : 1);
        assert_int_equal(after[0] - before[0], time == 0 ? after[0] - before[0] : 0);
        assert_int_equal(after[2] - before[2], 0);
        world_run(&w);
    }
    world_close(&w);
}

/* After it the first question is replayed, and nobody has heard of any other. */
static void warm_from_the_first_question(void **state)
{
    static world w, cold;
    (void)state;
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_question_params q = omnid_question_params_default();
    omnid_error err = {0};
    q.question = "What is it that moves there?";
    q.max_tokens = 3;
    tp.window_segments = 2;
    tp.max_pixels = WORLD_SIDE * WORLD_SIDE;
    world_open(&w, "M3", backend(), NULL);
    world_open(&cold, "M3", backend(), NULL);
    world_ok(omnid_engine_warm_up(w.engine, &tp, 60000, &err), &err);
    assert_int_equal(w.n_slices, 0);
    assert_int_equal(w.n_visible, 0);
    omnid_engine_status status = omnid_engine_get_status(w.engine);
    assert_int_equal(status.n_timelines, 0);
    assert_int_equal(status.n_answers, 0);
    assert_true(status.ttft_p50_ms == 0);
    world_timeline(&w, &tp);
    world_timeline(&cold, &tp);
    world_feed(&w, w.timeline, 3, 0, 0, 3);
    world_feed(&cold, cold.timeline, 3, 0, 0, 3);
    const world_answer *a = world_ask(&w, w.timeline, &q, NULL), *b = world_ask(&cold, cold.timeline, &q, NULL);
    assert_int_equal(a->timings.replays, records() ? a->n_tokens : 0);
    assert_true(b->timings.replays < a->n_tokens || !records());
    assert_true(world_distance(&w, a, b) == 0);
    assert_string_equal(a->text, b->text);
    world_close(&w);
    world_close(&cold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recordings_are_what_the_reference_says),
        cmocka_unit_test(a_question_waits_once),
        cmocka_unit_test(warm_from_the_first_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
