/* test_pruning.c: pruning really prunes and ingest really is incremental: counts of KV rows read, of encoder calls and of rows
 * that ran; what a fork holds. */
#include "world.h"

#include <math.h>

#include "engine/engine.h"

enum { SEGMENTS = 6 };

static void feed(world *w, omnid_mode mode)
{
    omnid_timeline_params tp = omnid_timeline_params_default();
    tp.modes = mode;
    world_timeline(w, &tp);
    for (int s = 0; s < SEGMENTS; s++)
        world_feed(w, w->timeline, 1, s, s, 3);
}

static omnid_question_params question(const char *retention)
{
    omnid_question_params q = omnid_question_params_default();
    q.question = "Which colour has the square?";
    q.retention = retention;
    q.max_tokens = 3;
    return q;
}

/* Rows of text that are no part of any segment: prefix; query and template. */
static int n_prefix(const world *w)
{
    return w->timeline->prefix_ids.n;
}

static int n_query(world *w, const char *text)
{
    omnid_error err = {0};
    omnid_question_params q = omnid_question_params_default();
    q.question = text;
    id_list ids = {0};
    int first;
    world_ok(layout_query(&ids, w->model, &q, w->timeline->parts, &first, &err), &err);
    int n = ids.n;
    id_list_free(&ids);
    return n;
}

/* Every layer's attention read the survivors and the text rows, and not one more. */
static void reads_survivors_only(void **state)
{
    static const omnid_mode modes[] = {OMNID_MODE_EAGER, OMNID_MODE_DEFERRED, OMNID_MODE_OFFLINE};
    static const char *const retentions[] = {"30", "0.05,0.6,0.4,2", "none"};
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    for (int m = 0; m < 3; m++) {
        feed(&w, modes[m]);
        for (int r = 0; r < 3; r++) {
            omnid_question_params q = question(retentions[r]);
            const world_answer *a = world_ask(&w, w.timeline, &q, NULL);
            int text = n_prefix(&w) + n_query(&w, q.question);
            assert_true(a->n_tokens >= 2);
            for (int l = 0; l < a->n_layers; l++) {
                assert_int_equal(a->layers[l].kv_rows_prefill, text + a->layers[l].n);
                assert_int_equal(a->layers[l].kv_rows_decode, text + a->layers[l].n + 1);
            }
            if (r < 2)
                assert_true(a->layers[a->n_layers - 1].n < a->layers[0].n);
            else
                assert_int_equal(a->layers[a->n_layers - 1].n, a->layers[0].n);
        }
    }
    world_close(&w);
}

/* A question in eager mode runs its own rows, encodes nothing, and leaves nothing behind. */
static void eager_runs_the_query_only(void **state)
{
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER);
    uint64_t before = omnid_timeline_get_status(w.timeline).memory_bytes;
    omnid_question_params q = question("30");
    const world_answer *first = world_ask(&w, w.timeline, &q, NULL);
    w.n_slices = 0;
    const world_answer *second = world_ask(&w, w.timeline, &q, NULL);
    for (int i = 0; i < w.n_slices; i++)
        assert_true(w.slices[i].kind == OMNID_SLICE_QUESTION || w.slices[i].kind == OMNID_SLICE_DECODE);
    const world_answer *both[] = {first, second};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(both[i]->timings.encoder_calls, 0);
        assert_int_equal(both[i]->timings.rows_prefilled, n_query(&w, q.question) * w.info.n_layers);
    }
    assert_true(world_distance(&w, first, second) == 0);
    world_same_survivors(first, second);
    assert_int_equal(omnid_timeline_get_status(w.timeline).memory_bytes, before);
    world_close(&w);
}

/* A segment's own report: one audio call, one call a grid, its kept rows through the layers its mode needs. */
static void segments_report_their_work(void **state)
{
    static const struct {
        omnid_mode mode;
        int halves;
    } cases[] = {{OMNID_MODE_EAGER, 2}, {OMNID_MODE_DEFERRED, 1}, {OMNID_MODE_OFFLINE, 0}};
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    for (int c = 0; c < 3; c++) {
        feed(&w, cases[c].mode);
        const omnid_segment_report *r = &w.last_report;
        assert_int_equal(r->encoder_calls, 3);
        assert_int_equal(r->n_video_tokens, 18);
        assert_int_equal(r->n_audio_tokens, 50);
        assert_int_equal(r->n_audio_kept, 35);
        assert_int_equal(r->rows_prefilled,
                         (r->n_video_kept + r->n_audio_kept) * (w.info.n_layers / 2) * cases[c].halves);
    }
    world_close(&w);
}

/* Rows of audio and video that a fork has room for, in all layers together, while it runs. */
static int64_t fork_rows(const world *w, int text)
{
    const answer *a = w->engine->answers;
    int64_t rows = 0;
    for (int l = 0; a && a->stage >= ANSWER_LISTED && l < a->own.n_layers; l++)
        rows += a->own.layers[l].capacity - text;
    return rows;
}

static void offline_holds_survivors_only(void **state)
{
    world w;
    omnid_error err = {0};
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_OFFLINE);
    for (int i = 0; i < w.timeline->n_window; i++)
        assert_int_equal(w.timeline->window[i]->kv.memory.size, 0);
    omnid_question_params q = question("0.05,0.6,0.4,2");
    int place = world_post(&w, w.timeline, &q, NULL);
    int text = n_query(&w, q.question) + q.max_tokens;
    int64_t most = 0;
    while (omnid_engine_step(w.engine, 0, &err) == OMNID_OK) {
        int64_t rows = fork_rows(&w, text);
        most = rows > most ? rows : most;
    }
    int64_t sum = 0;
    for (int l = 0; l < w.answers[place].n_layers; l++)
        sum += w.answers[place].layers[l].n;
    assert_true(w.answers[place].done);
    assert_int_equal(most, sum);
    world_close(&w);
}

/* The open segment is encoded for the question alone: the timeline is as before. */
static void now_leaves_no_trace(void **state)
{
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER);
    omnid_question_params q = question("30");
    const world_answer *plain = world_ask(&w, w.timeline, &q, NULL);
    omnid_segment *now = world_segment(&w, w.timeline, 1, SEGMENTS, SEGMENTS, 3);
    const world_answer *with = world_ask(&w, w.timeline, &q, &now);
    assert_int_equal(with->timings.encoder_calls, 3);
    assert_int_equal(with->last_segment, SEGMENTS);
    assert_true(world_distance(&w, plain, with) > 1e-3);
    const world_answer *again = world_ask(&w, w.timeline, &q, NULL);
    assert_true(world_distance(&w, plain, again) == 0);
    assert_int_equal(omnid_timeline_get_status(w.timeline).n_segments, SEGMENTS);
    /* closing that segment gives what it gives without the question in between */
    world_feed(&w, w.timeline, 1, SEGMENTS, SEGMENTS, 3);
    const world_answer *closed = world_ask(&w, w.timeline, &q, NULL);
    feed(&w, OMNID_MODE_EAGER);
    world_feed(&w, w.timeline, 1, SEGMENTS, SEGMENTS, 3);
    const world_answer *undisturbed = world_ask(&w, w.timeline, &q, NULL);
    assert_true(world_distance(&w, closed, undisturbed) == 0);
    world_close(&w);
}

static void evidence_adds_up(void **state)
{
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER);
    static const char *const retentions[] = {"30", "none"};
    for (int r = 0; r < 2; r++) {
        omnid_question_params q = question(retentions[r]);
        const world_answer *a = world_ask(&w, w.timeline, &q, NULL);
        double sum = 0;
        assert_in_range(a->n_evidence, 1, 5);
        for (int i = 0; i < a->n_evidence; i++) {
            assert_in_range(a->evidence[i].segment, 0, SEGMENTS - 1);
            assert_int_equal(a->evidence[i].wall_us, 1000000 * (1 + 2 * a->evidence[i].segment));
            assert_true(a->evidence[i].weight >= 0.5 / SEGMENTS && a->evidence[i].audio_share >= 0 &&
                        a->evidence[i].audio_share <= 1);
            assert_true(i == 0 || a->evidence[i].weight <= a->evidence[i - 1].weight);
            sum += a->evidence[i].weight;
        }
        assert_true(sum <= 1 + 1e-9);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_survivors_only),       cmocka_unit_test(eager_runs_the_query_only),
        cmocka_unit_test(segments_report_their_work), cmocka_unit_test(offline_holds_survivors_only),
        cmocka_unit_test(now_leaves_no_trace),        cmocka_unit_test(evidence_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
