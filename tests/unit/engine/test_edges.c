/* test_edges.c: what callers on other threads, odd numbers and odd segments may do without harm. */
#include "world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static omnid_question_params question(const char *text)
{
    omnid_question_params q = omnid_question_params_default();
    q.question = text;
    q.max_tokens = 2;
    return q;
}

/* ---- a timeline is forgotten at any moment, also between the look at its queue and the taking of a segment ---- */

typedef struct {
    world w;
    atomic_bool stop;
} shared;

static void *forgetter(void *user)
{
    shared *s = user;
    omnid_error err = {0};
    for (int i = 0; i < 2000; i++) {
        omnid_segment_params p = {.index = i};
        omnid_segment *seg = NULL;
        omnid_segment_create(&seg, s->w.timeline, &p, &err);
        if (omnid_timeline_submit(s->w.timeline, &seg, &err) != OMNID_OK)
            omnid_segment_destroy(&seg);
        nanosleep(&(struct timespec){0, 1000 * (i % 97)}, NULL); /* meets the engine at another place each time */
        omnid_timeline_forget(s->w.timeline);
    }
    atomic_store(&s->stop, true);
    return NULL;
}

static void forgets_race_with_ingest(void **state)
{
    static shared s;
    pthread_t thread;
    omnid_error err = {0};
    omnid_timeline_params tp = omnid_timeline_params_default();
    (void)state;
    world_open(&s.w, "M3", "auto", NULL);
    world_timeline(&s.w, &tp);
    assert_int_equal(pthread_create(&thread, NULL, forgetter, &s), 0);
    while (!atomic_load(&s.stop)) {
        omnid_status status = omnid_engine_step(s.w.engine, 0, &err);
        if (status != OMNID_OK && status != OMNID_AGAIN)
            world_ok(status, &err);
    }
    pthread_join(thread, NULL);
    world_run(&s.w);
    assert_int_equal(omnid_timeline_get_status(s.w.timeline).n_segments, 0);
    world_close(&s.w);
}

/* What is asked after a forget is not what the forget ends; numbers may begin anew, in the open segment too. */
static void a_new_stream_after_forget(void **state)
{
    world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_question_params q = question("What?");
    omnid_error err = {0};
    uint64_t id;
    (void)state;
    world_open(&w, "M3", "auto", NULL);
    world_timeline(&w, &tp);
    omnid_segment *now = world_segment(&w, w.timeline, 1, 0, 0, 3);
    const world_answer *fresh = world_ask(&w, w.timeline, &q, &now);
    for (int s = 0; s < 3; s++)
        world_feed(&w, w.timeline, 2, s, 5 + s, 3);
    omnid_timeline_forget(w.timeline);
    assert_int_equal(omnid_timeline_ask(w.timeline, &q, NULL, &id, &err), OMNID_EMPTY);
    now = world_segment(&w, w.timeline, 1, 0, 0, 3);
    const world_answer *again = world_ask(&w, w.timeline, &q, &now);
    assert_true(world_distance(&w, fresh, again) < 1e-5);
    assert_int_equal(again->last_segment, 0);
    world_close(&w);
}

static void a_clip_after_forget(void **state)
{
    world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_error err = {0};
    (void)state;
    tp.mel_clip = true;
    world_open(&w, "M3", "auto", NULL);
    world_timeline(&w, &tp);
    for (int clip = 0; clip < 2; clip++) { /* the second has no sound */
        omnid_segment *seg = world_segment(&w, w.timeline, 1, 0, 0, clip ? 1 : 3);
        world_ok(omnid_timeline_submit(w.timeline, &seg, &err), &err);
        world_ok(omnid_timeline_end(w.timeline, &err), &err);
        world_run(&w);
        assert_int_equal(omnid_timeline_get_status(w.timeline).n_segments, 1);
        omnid_timeline_forget(w.timeline);
    }
    world_close(&w);
}

/* ---- a million cancels of nobody's answers ---- */

static void cancels_do_not_pile_up(void **state)
{
    world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_error err = {0};
    omnid_question_params q = question("What?");
    (void)state;
    world_open(&w, "M3", "auto", NULL);
    world_timeline(&w, &tp);
    world_feed(&w, w.timeline, 1, 0, 0, 3);
    int place = world_post(&w, w.timeline, &q, NULL);
    for (uint64_t id = 1; id < 1000000; id++)
        omnid_engine_cancel(w.engine, w.ids[place] + id);
    omnid_engine_cancel(w.engine, w.ids[place]);
    omnid_engine_cancel(w.engine, w.ids[place]);
    assert_int_equal(omnid_engine_step(w.engine, 0, &err), OMNID_AGAIN);
    assert_int_equal(w.answers[place].error.status, OMNID_CANCELLED);
    place = world_post(&w, w.timeline, &q, NULL);
    world_run(&w);
    assert_true(w.answers[place].done);
    world_close(&w);
}

/* ---- odd numbers ---- */

static void odd_numbers_are_refused(void **state)
{
    static uint8_t rgb[28 * 28 * 3];
    static omnid_turn turns[4000];
    static const omnid_turn half = {"Who?", NULL};
    world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_segment *seg = NULL;
    omnid_timeline *tl = NULL;
    omnid_error err = {0};
    uint64_t id;
    (void)state;
    world_open(&w, "M3", "auto", NULL);
    tp.first_segment = INT64_MAX - 1;
    assert_int_equal(omnid_timeline_create(&tl, w.engine, &tp, &err), OMNID_ARGUMENT);
    tp.first_segment = 0;
    world_timeline(&w, &tp);
    omnid_segment_params p = {.index = INT64_MAX / 2};
    assert_int_equal(omnid_segment_create(&seg, w.timeline, &p, &err), OMNID_ARGUMENT);
    p = (omnid_segment_params){.n_frames = 2, .frames = {{rgb, 28, 28, 84}, {rgb, INT32_MAX, 28, INT32_MAX}}};
    assert_int_not_equal(omnid_segment_create(&seg, w.timeline, &p, &err), OMNID_OK);
    assert_null(seg);
    world_feed(&w, w.timeline, 1, 0, 0, 3);
    omnid_question_params q = question("And now?");
    for (int i = 0; i < 4000; i++)
        turns[i] = (omnid_turn){"", ""};
    q.history = turns;
    q.n_history = 4000; /* no bytes, and a template each */
    assert_int_equal(omnid_timeline_ask(w.timeline, &q, NULL, &id, &err), OMNID_LIMIT);
    q.history = &half;
    q.n_history = 1;
    assert_int_equal(omnid_timeline_ask(w.timeline, &q, NULL, &id, &err), OMNID_ARGUMENT);
    char *text = malloc(20001);
    memset(text, 'a', 20000);
    text[20000] = 0;
    const char *choices[] = {"a", text};
    q = question("Which?");
    q.choices = choices;
    q.n_choices = 2;
    assert_int_equal(omnid_timeline_ask(w.timeline, &q, NULL, &id, &err), OMNID_LIMIT);
    free(text);
    world_close(&w);
}

/* ---- odd segments, windows of one, and questions that see nothing ---- */

static omnid_segment *odd_segment(world *w, int64_t index, int n_frames, int n_samples)
{
    static uint8_t rgb[56 * 56 * 3];
    static float samples[32040];
    omnid_segment_params p = {.index = index, .n_frames = n_frames, .samples = samples, .n_samples = n_samples};
    omnid_segment *seg = NULL;
    omnid_error err = {0};
    for (int i = 0; i < 4; i++)
        p.frames[i] = (omnid_frame){rgb, 56, 56, 168};
    world_ok(omnid_segment_create(&seg, w->timeline, &p, &err), &err);
    return seg;
}

static void odd_segments_go_in(void **state)
{
    static const int sizes[][2] = {{1, 0}, {0, 1}, {0, 161}, {3, 479}, {0, 0}, {4, 32040}, {4, 32000}};
    static const omnid_mode modes[] = {OMNID_MODE_EAGER, OMNID_MODE_DEFERRED, OMNID_MODE_OFFLINE};
    static const int windows[] = {1, 2, 5};
    world w;
    omnid_error err = {0};
    (void)state;
    world_open(&w, "M3", "auto", NULL);
    for (int i = 0; i < 9; i++) {
        omnid_timeline_params tp = omnid_timeline_params_default();
        tp.window_segments = windows[i / 3];
        tp.modes = modes[i % 3];
        world_timeline(&w, &tp);
        int64_t index = 0;
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++, index += s == 3 ? 40 : 1) { /* and a jump */
            omnid_segment *seg = odd_segment(&w, index, sizes[s][0], sizes[s][1]);
            world_ok(omnid_timeline_submit(w.timeline, &seg, &err), &err);
            world_run(&w);
            omnid_timeline_status st = omnid_timeline_get_status(w.timeline);
            assert_in_range(st.n_segments, 1, tp.window_segments);
            assert_int_equal(st.next_segment, index + 1);
            omnid_question_params q = question("What?");
            q.last_s = s % 2 ? 1e-6 : 0; /* where the newest has no tokens, nobody is seen */
            q.first_prune = 1000;
            omnid_segment *old = odd_segment(&w, 0, 1, 0); /* taken in long ago */
            const world_answer *a = world_ask(&w, w.timeline, &q, &old);
            assert_int_equal(a->last_segment, index);
            if (sizes[s][0] == 0 && sizes[s][1] < 320)
                assert_true(!(s % 2) || a->layers[0].n == 0);
            for (int l = 1; l < a->n_layers; l++)
                assert_int_equal(a->layers[l].n, a->layers[0].n);
        }
    }
    world_close(&w);
}

/* Each of a batch is told how long its decoding took, and a deadline that has passed ends an answer at once. */
static void batches_and_deadlines(void **state)
{
    world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_question_params q = question("What?");
    (void)state;
    world_open(&w, "M3", "auto", NULL);
    world_timeline(&w, &tp);
    world_feed(&w, w.timeline, 1, 0, 0, 3);
    q.temperature = 0;
    q.max_tokens = 8;
    int first = world_post(&w, w.timeline, &q, NULL), second = world_post(&w, w.timeline, &q, NULL);
    world_run(&w);
    assert_true(w.answers[first].timings.decode_us > 0);
    assert_true(w.answers[second].timings.decode_us > 0);
    q.deadline_us = 1;
    int late = world_post(&w, w.timeline, &q, NULL);
    world_run(&w);
    assert_int_equal(w.answers[late].error.status, OMNID_DEADLINE);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forgets_race_with_ingest), cmocka_unit_test(a_new_stream_after_forget),
        cmocka_unit_test(a_clip_after_forget),      cmocka_unit_test(cancels_do_not_pile_up),
        cmocka_unit_test(odd_numbers_are_refused),  cmocka_unit_test(odd_segments_go_in),
        cmocka_unit_test(batches_and_deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
