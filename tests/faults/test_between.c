/* test_between.c: whatever the engine's thread does after it lets go of the lock, another thread may have come first. Here
 * "another thread" comes in at every place where the lock is let go, one place after the other. */
#include "tests/unit/engine/world.h"

#include <pthread.h>

int __real_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);

typedef struct {
    world w;
    omnid_segment *next; /* what comes after the forget; NULL = nothing */
    int at, seen;
    bool armed;
} site;

static site here;

static void come_between(void)
{
    omnid_error err = {0};
    omnid_timeline_forget(here.w.timeline);
    if (here.next)
        world_ok(omnid_timeline_submit(here.w.timeline, &here.next, &err), &err);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    int result = __real_pthread_mutex_unlock(m);
    if (here.armed && here.seen++ == here.at) {
        here.armed = false;
        come_between();
    }
    return result;
}

static omnid_segment *short_segment(int64_t index)
{
    static float samples[1600];
    omnid_segment_params p = {.index = index, .samples = samples, .n_samples = 1600};
    omnid_segment *seg = NULL;
    omnid_error err = {0};
    for (int i = 0; i < 1600; i++)
        samples[i] = (float)(i % 40) / 40.0f;
    world_ok(omnid_segment_create(&seg, here.w.timeline, &p, &err), &err);
    return seg;
}

static void submit(int64_t index)
{
    omnid_error err = {0};
    omnid_segment *seg = short_segment(index);
    world_ok(omnid_timeline_submit(here.w.timeline, &seg, &err), &err);
}

/* Runs until nothing is left; whether anybody came between. */
static bool run_until_met(int at)
{
    here.at = at;
    here.seen = 0;
    here.armed = true;
    world_run(&here.w);
    bool met = !here.armed;
    here.armed = false;
    return met;
}

/* One segment in the window, one or more in the queue, a question asked: forgotten at every place. */
static void forget_everywhere(bool clip, bool goes_on)
{
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_question_params q = omnid_question_params_default();
    omnid_error err = {0};
    bool met = true;
    int n = 0;
    tp.mel_clip = clip;
    tp.system = "";
    q.question = "?";
    q.max_tokens = 2;
    world_open(&here.w, "M3", "reference", NULL);
    for (; met; n++) {
        int place = -1;
        world_timeline(&here.w, &tp);
        if (!clip) {
            submit(3);
            world_run(&here.w);
        }
        submit(4);
        submit(5);
        if (clip)
            world_ok(omnid_timeline_end(here.w.timeline, &err), &err);
        else
            place = world_post(&here.w, here.w.timeline, &q, NULL);
        if (goes_on)
            here.next = short_segment(0);
        met = run_until_met(n);
        if (clip && goes_on)
            world_ok(omnid_timeline_end(here.w.timeline, &err), &err);
        world_run(&here.w);
        omnid_segment_destroy(&here.next);
        omnid_timeline_status st = omnid_timeline_get_status(here.w.timeline);
        assert_int_equal(st.n_queued, 0);
        if (met)
            assert_int_equal(st.n_segments, goes_on);
        if (met && goes_on)
            assert_int_equal(st.next_segment, 1);
        if (place >= 0)
            assert_int_equal(here.w.answers[place].done + here.w.answers[place].failed, 1);
        assert_int_equal(omnid_engine_get_status(here.w.engine).n_open_answers, 0);
    }
    assert_true(n > 20);
    world_close(&here.w);
}

static void a_stream_is_forgotten(void **state)
{
    (void)state;
    forget_everywhere(false, false);
}

static void a_stream_begins_anew(void **state)
{
    (void)state;
    forget_everywhere(false, true);
}

static void a_clip_is_forgotten(void **state)
{
    (void)state;
    forget_everywhere(true, false);
}

static void a_clip_begins_anew(void **state)
{
    (void)state;
    forget_everywhere(true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_forgotten),
        cmocka_unit_test(a_stream_begins_anew),
        cmocka_unit_test(a_clip_is_forgotten),
        cmocka_unit_test(a_clip_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
