/* test_schedule.c: questions interrupt ingest between slices; cancel, deadline and stop take effect between slices; nothing is
 * lost on the way. The engine runs on a thread of its own, as in the daemon. */
#include "world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

typedef struct {
    world w;
    pthread_t thread;
    atomic_bool stop;
} running;

static void *step(void *user)
{
    running *r = user;
    omnid_error err = {0};
    while (!atomic_load(&r->stop))
        omnid_engine_step(r->w.engine, 50, &err);
    return NULL;
}

static void start(running *r)
{
    atomic_store(&r->stop, false);
    assert_int_equal(pthread_create(&r->thread, NULL, step, r), 0);
}

static void stop(running *r)
{
    atomic_store(&r->stop, true);
    omnid_engine_wake(r->w.engine);
    pthread_join(r->thread, NULL);
}

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
}

static void wait_open(running *r, int n)
{
    int64_t until = omnid_clock_us() + 60000000;
    while (omnid_engine_get_status(r->w.engine).n_open_answers > n && omnid_clock_us() < until)
        sleep_us(200);
    assert_int_equal(omnid_engine_get_status(r->w.engine).n_open_answers, n);
}

static void submit_until_busy(running *r, int64_t *index)
{
    omnid_error err = {0};
    for (;;) {
        omnid_segment *s = world_segment(&r->w, r->w.timeline, 1, (int)(*index % 50), *index, 3);
        omnid_status status = omnid_timeline_submit(r->w.timeline, &s, &err);
        if (status != OMNID_OK) {
            assert_int_equal(status, OMNID_BUSY);
            assert_non_null(s);
            omnid_segment_destroy(&s);
            return;
        }
        ++*index;
    }
}

/* From the log of slices: those of ingest that ended after the question was queued and before its first slice. */
static int slices_before(const world *w, uint64_t id, int64_t queued_us)
{
    int n = 0;
    for (int i = 0; i < w->n_slices; i++) {
        const omnid_slice *s = &w->slices[i];
        if (s->answer == id)
            return n;
        n += s->answer == 0 && s->end_us > queued_us;
    }
    fail_msg("the question has no slice");
    return n;
}

static void question_waits_for_one_slice(void **state)
{
    static running r;
    int64_t index = 0;
    int interrupted = 0;
    uint32_t random = 12345;
    (void)state;
    omnid_engine_params ep = omnid_engine_params_default();
    ep.slice_rows = 16;
    world_open(&r.w, "M1", "auto", &ep);
    omnid_timeline_params tp = omnid_timeline_params_default();
    tp.window_segments = 6;
    world_timeline(&r.w, &tp);
    world_feed(&r.w, r.w.timeline, 1, 0, index++, 3);
    start(&r);
    for (int i = 0; i < 100; i++) {
        submit_until_busy(&r, &index);
        random = random * 1664525u + 1013904223u;
        sleep_us(random >> 20);
        omnid_question_params q = omnid_question_params_default();
        q.question = "What now?";
        q.max_tokens = 1;
        int place = world_post(&r.w, r.w.timeline, &q, NULL);
        wait_open(&r, 0);
        assert_true(r.w.answers[place].done);
        stop(&r);
        int n = slices_before(&r.w, r.w.ids[place], r.w.answers[place].timings.queued_us);
        assert_in_range(n, 0, 1);
        interrupted += n;
        r.w.n_slices = 0;
        start(&r);
    }
    stop(&r);
    assert_in_range(interrupted, 1, 100); /* some did meet a slice under way: the test saw ingest */
    world_close(&r.w);
}

static void answers_end_between_slices(void **state)
{
    static running r;
    (void)state;
    world_open(&r.w, "M1", "auto", NULL);
    omnid_timeline_params tp = omnid_timeline_params_default();
    world_timeline(&r.w, &tp);
    for (int s = 0; s < 3; s++)
        world_feed(&r.w, r.w.timeline, 1, s, s, 3);
    omnid_error err = {0};
    omnid_question_params q = omnid_question_params_default();
    q.question = "Tell a very long story.";
    q.max_tokens = 4000;
    /* cancelled before its first slice, and in the middle */
    for (int steps = 0; steps <= 15; steps += 5) { /* ten slices to the first token, nine for each one after it */
        int place = world_post(&r.w, r.w.timeline, &q, NULL);
        for (int i = 0; i < steps; i++)
            world_ok(omnid_engine_step(r.w.engine, 0, &err), &err);
        omnid_engine_cancel(r.w.engine, r.w.ids[place]);
        r.w.n_slices = 0;
        assert_int_equal(omnid_engine_step(r.w.engine, 0, &err), OMNID_AGAIN);
        assert_int_equal(r.w.n_slices, 0);
        assert_true(r.w.answers[place].failed);
        assert_int_equal(r.w.answers[place].error.status, OMNID_CANCELLED);
    }
    /* a deadline that passes in the middle */
    q.deadline_us = omnid_clock_us() + 50000;
    int place = world_post(&r.w, r.w.timeline, &q, NULL);
    for (int i = 0; i < 5; i++)
        omnid_engine_step(r.w.engine, 0, &err); /* AGAIN when a slow machine has passed it already */
    while (omnid_clock_us() < q.deadline_us)
        sleep_us(1000);
    assert_int_equal(omnid_engine_step(r.w.engine, 0, &err), OMNID_AGAIN);
    assert_int_equal(r.w.answers[place].error.status, OMNID_DEADLINE);
    omnid_engine_cancel(r.w.engine, 987654321); /* nobody's: ignored */
    world_run(&r.w);
    world_close(&r.w);
}

/* Several threads ask, cancel, forget and look while the engine runs (the thread sanitizer's turn). */
static void *asker(void *user)
{
    running *r = user;
    omnid_error err = {0};
    for (int i = 0; i < 20; i++) {
        omnid_question_params q = omnid_question_params_default();
        uint64_t id = 0;
        q.question = "Is there anything?";
        q.max_tokens = 3;
        omnid_status status = omnid_timeline_ask(r->w.timeline, &q, NULL, &id, &err);
        assert_true(status == OMNID_OK || status == OMNID_EMPTY || status == OMNID_LIMIT);
        if (i % 3 == 0)
            omnid_engine_cancel(r->w.engine, id);
        omnid_engine_get_status(r->w.engine);
        omnid_timeline_get_status(r->w.timeline);
        omnid_segment_report reports[4];
        omnid_timeline_get_segments(r->w.timeline, reports, 4);
        sleep_us(300);
    }
    return NULL;
}

static void threads_share_an_engine(void **state)
{
    static running r;
    pthread_t askers[2];
    int64_t index = 1;
    omnid_error err = {0};
    (void)state;
    world_open(&r.w, "M3", "auto", NULL);
    omnid_timeline_params tp = omnid_timeline_params_default();
    tp.window_segments = 4;
    world_timeline(&r.w, &tp);
    world_feed(&r.w, r.w.timeline, 1, 0, 0, 3);
    start(&r);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&askers[i], NULL, asker, &r), 0);
    for (int i = 0; i < 12; i++, index++) {
        omnid_segment *s = world_segment(&r.w, r.w.timeline, 1, i, index, 3);
        if (omnid_timeline_submit(r.w.timeline, &s, &err) != OMNID_OK)
            omnid_segment_destroy(&s);
        if (i == 6)
            omnid_timeline_forget(r.w.timeline);
        sleep_us(1000);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(askers[i], NULL);
    wait_open(&r, 0);
    stop(&r);
    world_close(&r.w);
}

/* Destroying an engine ends what is open. */
static void destroy_ends_answers(void **state)
{
    world w;
    omnid_error err = {0};
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    omnid_timeline_params tp = omnid_timeline_params_default();
    world_timeline(&w, &tp);
    world_feed(&w, w.timeline, 1, 0, 0, 3);
    omnid_question_params q = omnid_question_params_default();
    q.question = "Still there?";
    omnid_segment *now = world_segment(&w, w.timeline, 1, 1, 1, 3);
    int a = world_post(&w, w.timeline, &q, &now), b = world_post(&w, w.timeline, &q, NULL);
    world_ok(omnid_engine_step(w.engine, 0, &err), &err);
    omnid_engine_destroy(&w.engine);
    assert_int_equal(w.answers[a].error.status, OMNID_CANCELLED);
    assert_int_equal(w.answers[b].error.status, OMNID_CANCELLED);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(question_waits_for_one_slice),
        cmocka_unit_test(answers_end_between_slices),
        cmocka_unit_test(threads_share_an_engine),
        cmocka_unit_test(destroy_ends_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
