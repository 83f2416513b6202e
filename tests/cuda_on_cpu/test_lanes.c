/* test_lanes.c: segments and questions on streams of their own. The emulation runs what is queued when somebody waits, so what
 * one stream needs of another and does not wait for is NaN, or old. */
#include "tests/unit/engine/world.h"

#include <string.h>

#include "engine/engine.h"

enum { N_SEGMENTS = 4, AHEAD = 2, ENCODERS_AHEAD = 4 /* slices of a lane that the device has not done */ };

static omnid_timeline_params small_timeline(bool intra, unsigned modes)
{
    omnid_timeline_params t = omnid_timeline_params_default();
    t.window_segments = 3;
    t.max_pixels = 56 * 56; /* small: the emulation takes its time */
    t.has_audio = false;
    t.intra = intra;
    t.modes = modes;
    return t;
}

static omnid_question_params short_question(bool intra)
{
    omnid_question_params q = omnid_question_params_default();
    q.question = "What was that?";
    q.max_tokens = 4;
    q.retention = intra ? "30" : "none";
    return q;
}

static void submit(world *w, omnid_timeline *tl, int s, int parts)
{
    omnid_error err = {0};
    omnid_segment *seg = world_segment(w, tl, 1, s, s, parts);
    world_ok(omnid_timeline_submit(tl, &seg, &err), &err);
}

/* Nothing is ahead of the device by more than it may. */
static void check_ahead(const world *w)
{
    assert_true(engine_has_lanes(w->engine));
    assert_true(lane_behind(w->engine->fill, -1) <= AHEAD);
    assert_true(lane_behind(w->engine->encode, -1) <= ENCODERS_AHEAD);
}

static bool step(world *w, omnid_status *worst, omnid_error *err)
{
    omnid_error here = {0};
    omnid_status status = omnid_engine_step(w->engine, 0, &here);
    check_ahead(w);
    if (status != OMNID_OK && status != OMNID_AGAIN && worst) {
        *worst = status;
        *err = here;
    } else if (status != OMNID_AGAIN) {
        world_ok(status, &here);
    }
    return status != OMNID_AGAIN;
}

static void run_well(world *w)
{
    while (step(w, NULL, NULL))
        continue;
}

/* Whether an encoder's slice of segment s + 1 came between two slices of the prefill of s. */
static bool overlapped(const world *w, int s)
{
    bool began = false, between = false;
    for (int i = 0; i < w->n_slices; i++) {
        const omnid_slice *x = &w->slices[i];
        between |= began && x->kind == OMNID_SLICE_ENCODE && x->segment == s + 1 && x->n_rows > 0;
        if (x->kind == OMNID_SLICE_INGEST && x->segment == s) {
            if (between)
                return true;
            began = true;
        }
    }
    return false;
}

/* The same answers, whether segments come one by one or all at once. */
static void same_answers(bool intra, unsigned modes, int parts)
{
    omnid_timeline_params t = small_timeline(intra, modes);
    omnid_question_params q = short_question(intra);
    t.has_audio = parts > 1;
    world one, all;
    world_open(&one, "M3", "cuda", NULL);
    world_open(&all, "M3", "cuda", NULL);
    world_timeline(&one, &t);
    world_timeline(&all, &t);
    for (int s = 0; s < N_SEGMENTS; s++)
        world_feed(&one, one.timeline, 1, s, s, parts);
    for (int s = 0; s < N_SEGMENTS; s++)
        submit(&all, all.timeline, s, parts);
    run_well(&all);
    assert_int_equal(omnid_timeline_get_status(all.timeline).n_segments,
                     omnid_timeline_get_status(one.timeline).n_segments);
    assert_int_equal(omnid_timeline_get_status(all.timeline).n_tokens,
                     omnid_timeline_get_status(one.timeline).n_tokens);
    for (int s = 1; s + 1 < N_SEGMENTS; s++)
        assert_true(overlapped(&all, s) || modes != OMNID_MODE_EAGER); /* half of the layers are over too soon */
    assert_false(overlapped(&one, 2));
    const world_answer *a = world_ask(&one, one.timeline, &q, NULL), *b = world_ask(&all, all.timeline, &q, NULL);
    world_same_survivors(a, b);
    assert_true(world_distance(&one, a, b) == 0);
    assert_string_equal(a->text, b->text);
    /* the window as the CPU sees it */
    world cpu;
    world_open(&cpu, "M3", "reference", NULL);
    world_timeline(&cpu, &t);
    for (int s = 0; s < N_SEGMENTS; s++)
        world_feed(&cpu, cpu.timeline, 1, s, s, parts);
    const world_answer *c = world_ask(&cpu, cpu.timeline, &q, NULL);
    assert_true(world_distance(&all, b, c) < 1e-3);
    assert_string_equal(b->text, c->text);
    world_close(&cpu);
    world_close(&one);
    world_close(&all);
}

static void test_segments_overlap(void **state)
{
    (void)state;
    same_answers(true, OMNID_MODE_EAGER, 3);
}

/* Nothing is chosen, so nothing waits on the host between encoders and prefill. */
static void test_without_a_choice(void **state)
{
    (void)state;
    same_answers(false, OMNID_MODE_EAGER, 1);
}

static void test_hidden_rows(void **state)
{
    (void)state;
    same_answers(true, OMNID_MODE_DEFERRED, 1);
}

/* Asked while a segment is half in and the next behind it: the question's slices come at once, its answer is that of the window
 * as it was, and what was on its way is as without it. */
static void test_a_question_in_between(void **state)
{
    (void)state;
    omnid_timeline_params t = small_timeline(true, OMNID_MODE_EAGER);
    omnid_question_params q = short_question(true);
    world w;
    world_open(&w, "M3", "cuda", NULL);
    world_timeline(&w, &t);
    for (int s = 0; s < 3; s++)
        world_feed(&w, w.timeline, 1, s, s, 1);
    world_answer before = *world_ask(&w, w.timeline, &q, NULL);
    submit(&w, w.timeline, 3, 1);
    submit(&w, w.timeline, 4, 1);
    do
        step(&w, NULL, NULL);
    while (w.slices[w.n_slices - 1].kind != OMNID_SLICE_INGEST || w.slices[w.n_slices - 1].layer < 1);
    q.trace = true;
    int at = w.n_slices, place = world_post(&w, w.timeline, &q, NULL);
    while (!w.answers[place].streamed[0] && !w.answers[place].done)
        step(&w, NULL, NULL);
    for (int i = at; i < w.n_slices && w.slices[i].kind != OMNID_SLICE_DECODE; i++)
        assert_int_equal(w.slices[i].kind, OMNID_SLICE_QUESTION);
    run_well(&w);
    const world_answer *between = &w.answers[place];
    assert_true(between->done);
    assert_int_equal(between->last_segment, 2);
    assert_string_equal(between->text, before.text);
    assert_int_equal(omnid_timeline_get_status(w.timeline).next_segment, 5);
    omnid_segment *now = world_segment(&w, w.timeline, 2, 5, 5, 1); /* an open segment goes on from the last */
    const world_answer *after = world_ask(&w, w.timeline, &q, &now);
    world plain;
    world_open(&plain, "M3", "cuda", NULL);
    world_timeline(&plain, &t);
    for (int s = 0; s < 5; s++)
        world_feed(&plain, plain.timeline, 1, s, s, 1);
    now = world_segment(&plain, plain.timeline, 2, 5, 5, 1);
    const world_answer *same = world_ask(&plain, plain.timeline, &q, &now);
    assert_true(world_distance(&w, after, same) == 0);
    world_close(&plain);
    world_close(&w);
}

/* Two cameras: the second one's segment follows on the first one's. */
static void test_two_cameras(void **state)
{
    (void)state;
    omnid_timeline_params t = small_timeline(true, OMNID_MODE_EAGER);
    omnid_question_params q = short_question(true);
    omnid_error err = {0};
    omnid_timeline *other;
    world w;
    world_open(&w, "M3", "cuda", NULL);
    world_timeline(&w, &t);
    world_ok(omnid_timeline_create(&other, w.engine, &t, &err), &err);
    for (int s = 0; s < 3; s++) {
        submit(&w, w.timeline, s, 1);
        submit(&w, other, s, 1);
    }
    run_well(&w);
    const world_answer *a = world_ask(&w, w.timeline, &q, NULL), *b = world_ask(&w, other, &q, NULL);
    assert_true(world_distance(&w, a, b) == 0);
    submit(&w, w.timeline, 3, 1);
    submit(&w, other, 3, 1);
    for (int i = 0; i < 40; i++)
        step(&w, NULL, NULL);
    omnid_timeline_forget(w.timeline); /* under the other's eyes */
    run_well(&w);
    assert_int_equal(omnid_timeline_get_status(w.timeline).n_segments, 0);
    assert_int_equal(omnid_timeline_get_status(other).next_segment, 4);
    world_ask(&w, other, &q, NULL);
    omnid_timeline_destroy(&other);
    world_close(&w);
}

/* A stream's failure is of what ran on it: the segment, not the one behind it, nor an answer; or the answer, not the segment. */
static void test_failures_stay_apart(void **state)
{
    (void)state;
    omnid_timeline_params t = small_timeline(true, OMNID_MODE_EAGER);
    omnid_question_params q = short_question(true);
    world w;
    world_open(&w, "M3", "cuda", NULL);
    world_timeline(&w, &t);
    world_feed(&w, w.timeline, 1, 0, 0, 1);
    submit(&w, w.timeline, 1, 1);
    submit(&w, w.timeline, 2, 1);
    while (w.engine->background[0].stage == INGEST_IDLE || w.engine->background[1].stage == INGEST_IDLE)
        step(&w, NULL, NULL);
    kernels_stream_fail(w.engine->fill->stream, OMNID_DEVICE, "the lamp is broken");
    omnid_status worst = OMNID_OK;
    omnid_error err = {0};
    while (step(&w, &worst, &err))
        continue;
    assert_int_equal(worst, OMNID_DEVICE);
    assert_string_equal(err.text, "segment 1 is lost: the lamp is broken");
    omnid_timeline_status st = omnid_timeline_get_status(w.timeline);
    assert_int_equal(st.n_segments, 3);
    assert_int_equal(st.n_gaps, 1);
    const world_answer *lost = world_ask(&w, w.timeline, &q, NULL);
    world plain; /* where it never came */
    world_open(&plain, "M3", "cuda", NULL);
    world_timeline(&plain, &t);
    world_feed(&plain, plain.timeline, 1, 0, 0, 1);
    world_feed(&plain, plain.timeline, 1, 2, 2, 1);
    const world_answer *never = world_ask(&plain, plain.timeline, &q, NULL);
    assert_true(world_distance(&w, lost, never) == 0);
    world_close(&plain);
    submit(&w, w.timeline, 3, 1);
    for (int i = 0; i < 10; i++)
        step(&w, NULL, NULL);
    int place = world_post(&w, w.timeline, &q, NULL);
    step(&w, NULL, NULL);
    kernels_stream_fail(w.engine->stream, OMNID_DEVICE, "the bell is broken");
    run_well(&w);
    assert_true(w.answers[place].failed);
    assert_string_equal(w.answers[place].error.text, "the bell is broken");
    assert_int_equal(omnid_timeline_get_status(w.timeline).next_segment, 4);
    world_ask(&w, w.timeline, &q, NULL);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_overlap),      cmocka_unit_test(test_without_a_choice),
        cmocka_unit_test(test_hidden_rows),           cmocka_unit_test(test_two_cameras),
        cmocka_unit_test(test_a_question_in_between), cmocka_unit_test(test_failures_stay_apart),
    };
    return cmocka_run_group_tests_name("lanes", tests, NULL, NULL);
}
