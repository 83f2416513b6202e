/* A camera with a fake source that dies, stalls, hangs and comes back: states, gaps, retries, and a stop within 2 s. */
#include "fake_source.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

/* Segments lie where the clock says, whatever was lost between them. */
static void check_times(const keeper *k)
{
    for (int i = 1; i < k->n; i++) {
        const capture_segment *a = &k->kept[0]->seg, *b = &k->kept[i]->seg;
        assert_true(b->index > k->kept[i - 1]->seg.index);
        assert_int_equal(b->start_us - a->start_us, (b->index - a->index) * 2000000);
    }
}

static void test_source_dies_and_comes_back(void **state)
{
    (void)state;
    keeper k;
    scripts[0] = (fake_script){.first_life_ms = 2300, .n_failing_opens = 2};
    omnid_capture *c = keeper_start(&k, "fake:0", "same");
    usleep(3 * 1000000);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.video.state, CAPTURE_LOST); /* 2.3 s, then opens fail at about 2.55 and 3.05 s */
    assert_int_equal(status.audio.state, CAPTURE_LOST);
    assert_string_equal(status.video.uri, "fake:0");
    assert_non_null(strstr(status.video.message, "fake:0: "));
    usleep(6300 * 1000);
    status = omnid_capture_get_status(c);
    assert_int_equal(status.video.state, CAPTURE_RUNNING);
    assert_int_equal(status.audio.state, CAPTURE_RUNNING);
    assert_int_equal(status.video.n_restarts, 3);             /* it died, and two attempts failed */
    assert_in_range(status.video.fps, 12, 40);                /* 25, in gulps where the machine is busy */
    assert_in_range(-status.audio.level_dbfs * 10, 195, 205); /* a square of 0.1: -20 dBFS */
    assert_true(fake_stop(c) < 1000);
    assert_int_equal(k.n_lost, 2); /* each stream once */
    assert_int_equal(k.video, CAPTURE_RUNNING);
    assert_true(k.n >= 4);
    check_times(&k);
    assert_int_equal(k.kept[0]->seg.n_frames, 4);
    assert_int_equal(k.kept[0]->seg.n_samples_missing, 0);
    assert_int_equal(k.kept[1]->seg.n_frames, 0); /* the gap: its second grid is missing, and sound from 2.3 s on */
    assert_in_range(k.kept[1]->seg.n_samples_missing, 19000, 28000);
    assert_int_equal(k.kept[3]->seg.index, 3);
    assert_int_equal(k.kept[3]->seg.n_frames, 4);
    assert_int_equal(k.kept[3]->seg.n_samples, FULL);
    assert_int_equal(k.kept[3]->seg.n_samples_missing, 0);
    assert_true(status.n_gaps_video >= 1);
    assert_int_equal(scripts[0].n_opened, 2);
    assert_int_equal(scripts[0].n_closed, 2);
    keeper_free(&k);
}

static void test_stall_without_error(void **state)
{
    (void)state;
    keeper k;
    scripts[0] = (fake_script){.stall_after_ms = 500};
    omnid_capture *c = keeper_start(&k, "fake:0", NULL);
    await_state(c, true, CAPTURE_RUNNING);
    int64_t begun_us = omnid_clock_us();
    await_state(c, true, CAPTURE_LOST);
    assert_true(omnid_clock_us() - begun_us > 2500000); /* not before 3 s without data */
    await_state(c, true, CAPTURE_RUNNING);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.video.state, CAPTURE_RUNNING);
    assert_int_equal(status.video.n_restarts, 1);
    assert_string_equal(status.video.message, "fake:0: no picture for 3 s");
    assert_int_equal(status.audio.state, CAPTURE_OFF);
    assert_true(fake_stop(c) < 1000);
    assert_int_equal(k.n_lost, 1);
    keeper_free(&k);
}

/* Picture and sound of two sources: the one that is lost, and that takes long to open, leaves the other whole. */
static void test_one_of_two_sources_is_lost(void **state)
{
    (void)state;
    keeper k;
    scripts[0] = (fake_script){.first_life_ms = 1500, .open_hangs_ms = 300, .n_failing_opens = 100};
    omnid_capture *c = keeper_start(&k, "fake:0", "fake:1");
    usleep(7000 * 1000);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.video.state, CAPTURE_LOST);
    assert_string_equal(status.video.message, "fake:0: not plugged in"); /* the newest reason */
    assert_int_equal(status.audio.state, CAPTURE_RUNNING);
    assert_int_equal(status.audio.n_restarts, 0);
    assert_string_equal(status.audio.uri, "fake:1");
    assert_true(fake_stop(c) < 1000);
    assert_int_equal(k.n, 3);
    check_times(&k);
    for (int i = 0; i < k.n; i++) {
        assert_int_equal(k.kept[i]->seg.index, i);
        assert_int_equal(k.kept[i]->seg.n_samples, FULL);
        assert_in_range(k.kept[i]->seg.n_samples_missing, 0, i ? 0 : 400);
    }
    assert_int_equal(k.kept[2]->seg.n_frames, 0);
    assert_int_equal(status.n_gaps_audio, 0);
    keeper_free(&k);
}

static void test_source_ends(void **state)
{
    (void)state;
    keeper k;
    scripts[0] = (fake_script){.first_life_ms = 900, .opens_with_an_end = true};
    omnid_capture *c = keeper_start(&k, "fake:0", "same");
    assert_int_equal(omnid_capture_wait_end(c, 5000), OMNID_OK);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.video.state, CAPTURE_ENDED);
    assert_int_equal(status.audio.state, CAPTURE_ENDED);
    fake_stop(c);
    assert_int_equal(k.n, 1);
    assert_true(k.kept[0]->seg.last);
    assert_int_equal(k.kept[0]->seg.n_frames, 2);
    assert_in_range(k.kept[0]->seg.n_samples, 13000, 14720);
    assert_int_equal(scripts[0].n_opened, 1);
    keeper_free(&k);
}

static void test_stops_within_2_s(void **state)
{
    (void)state;
    keeper k;
    scripts[0] = (fake_script){.open_hangs_ms = 60000};
    omnid_capture *c = keeper_start(&k, "fake:0", NULL); /* a live source that does not open is no error */
    assert_int_equal(omnid_capture_get_status(c).video.state, CAPTURE_STARTING);
    assert_true(fake_stop(c) < 1000);
    keeper_free(&k);
    scripts[0] = (fake_script){.first_life_ms = 1, .n_failing_opens = 1000};
    c = keeper_start(&k, "fake:0", NULL);
    usleep(1200 * 1000);
    assert_true(fake_stop(c) < 1000); /* in the middle of a wait */
    keeper_free(&k);
    c = keeper_start(&k, "test:ball", "same");
    assert_true(fake_stop(c) < 10000); /* at once after the start */
    keeper_free(&k);
    scripts[1] = (fake_script){.read_hangs_ms = 3500};
    c = keeper_start(&k, "fake:0", "fake:1");
    usleep(800 * 1000);
    int64_t took_ms = fake_stop(c); /* the driver hangs: its thread is left behind and comes back later */
    assert_in_range(took_ms, 1900, 2300);
    usleep(2000 * 1000);
    assert_int_equal(scripts[1].n_closed, 1);
    keeper_free(&k);
}

static atomic_bool asking;

static void *ask(void *user)
{
    int n = 0;
    while (atomic_load(&asking)) {
        capture_segment *seg;
        assert_int_equal(omnid_capture_open_segment(user, &seg, NULL), OMNID_OK);
        if (seg) {
            assert_in_range(seg->n_frames, 0, 4);
            assert_in_range(seg->n_samples, 0, FULL);
            n += seg->n_frames > 0 && seg->frames[seg->n_frames - 1].rgb[0] == 0;
            assert_false(seg->last);
        }
        capture_segment_free(&seg);
        capture_status status = omnid_capture_get_status(user);
        assert_true(status.n_segments <= 2);
        usleep(3000);
    }
    return n > 10 ? user : NULL;
}

static void test_questions_from_other_threads(void **state)
{
    (void)state;
    keeper k;
    pthread_t threads[3];
    omnid_capture *c = keeper_start(&k, "fake:0", "same");
    atomic_store(&asking, true);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, ask, c);
    usleep(3000 * 1000);
    atomic_store(&asking, false);
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, c);
    }
    fake_stop(c);
    assert_int_equal(k.n, 1);
    assert_int_equal(k.kept[0]->seg.n_frames, 4);
    assert_int_equal(k.kept[0]->seg.n_samples_missing, 0);
    keeper_free(&k);
}

/* The wait grows from a quarter of a second and is never the same; 3 s hold about four attempts, not hundreds. */
static void test_back_off(void **state)
{
    (void)state;
    keeper k;
    scripts[0] = (fake_script){.first_life_ms = 1, .n_failing_opens = 1000};
    omnid_capture *c = keeper_start(&k, "fake:0", NULL);
    usleep(3000 * 1000);
    assert_in_range(scripts[0].n_tried, 4, 5); /* at 0, 0.25, 0.75, 1.75 s, each wait +-25 % */
    assert_int_equal(omnid_capture_get_status(c).video.n_restarts, scripts[0].n_tried);
    assert_true(fake_stop(c) < 1000);
    keeper_free(&k);
}

static void test_fast_needs_a_clip(void **state)
{
    (void)state;
    keeper k;
    capture_params p = keeper_params(&k, "fake:0", NULL);
    p.fast = true;
    omnid_capture *c;
    omnid_error err;
    assert_int_equal(omnid_capture_start(&c, &p, &err), OMNID_UNSUPPORTED);
    assert_string_equal(err.text, "fake:0: a live source cannot be read faster than real time");
    omnid_capture_stop(&c); /* NULL is no harm */
}

int main(void)
{
    assert_int_equal(sources_add(&fake_ops), OMNID_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_source_dies_and_comes_back, fake_set_up),
        cmocka_unit_test_setup(test_stall_without_error, fake_set_up),
        cmocka_unit_test_setup(test_one_of_two_sources_is_lost, fake_set_up),
        cmocka_unit_test_setup(test_source_ends, fake_set_up),
        cmocka_unit_test_setup(test_stops_within_2_s, fake_set_up),
        cmocka_unit_test_setup(test_questions_from_other_threads, fake_set_up),
        cmocka_unit_test_setup(test_back_off, fake_set_up),
        cmocka_unit_test_setup(test_fast_needs_a_clip, fake_set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
