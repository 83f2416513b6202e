/* Pausing: the device is closed, nothing is kept, nothing is a gap, and resuming opens it anew; at any moment. */
#include "fake_source.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static void pause_stream(omnid_capture *c, bool video, bool paused)
{
    omnid_error err = {0};
    if (omnid_capture_pause(c, video, paused, &err) != OMNID_OK)
        fail_msg("%s", err.text);
}

/* Whether the open segment holds a picture, and sound. */
static void look(omnid_capture *c, bool *has_picture, bool *has_sound)
{
    capture_segment *seg;
    assert_int_equal(omnid_capture_open_segment(c, &seg, NULL), OMNID_OK);
    *has_picture = seg && seg->n_frames;
    *has_sound = seg && seg->n_samples;
    capture_segment_free(&seg);
}

static void test_picture_of_its_own_source(void **state)
{
    (void)state;
    keeper k;
    bool has_picture, has_sound;
    omnid_capture *c = keeper_start(&k, "fake:0", "fake:1");
    await_state(c, true, CAPTURE_RUNNING);
    await_state(c, false, CAPTURE_RUNNING);
    await_segments(c, 1);
    usleep(600 * 1000);
    pause_stream(c, true, true);
    look(c, &has_picture, &has_sound);
    assert_false(has_picture);   /* at once, what the open segment had included */
    pause_stream(c, true, true); /* twice is once */
    assert_int_equal(omnid_capture_get_status(c).video.state, CAPTURE_PAUSED);
    fake_await_count(&scripts[0].n_closed, 1); /* the camera's light goes out */
    assert_int_equal(scripts[1].n_closed, 0);
    await_segments(c, 3);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.audio.state, CAPTURE_RUNNING);
    assert_int_equal(status.n_gaps_video, 0);
    assert_int_equal(status.video.n_restarts, 0);
    assert_string_equal(status.video.message, "");
    assert_int_equal(scripts[0].n_opened, 1);
    int64_t resumed_us = omnid_clock_us();
    pause_stream(c, true, false);
    pause_stream(c, true, false);
    await_state(c, true, CAPTURE_RUNNING);
    assert_int_equal(scripts[0].n_opened, 2);
    await_segments(c, 6);
    assert_int_equal(omnid_capture_get_status(c).n_gaps_video, 0);
    assert_true(fake_stop(c) < 2500);
    assert_int_equal(k.n_lost, 0);
    assert_int_equal(k.kept[2]->seg.n_frames, 0);
    assert_true(k.kept[2]->seg.n_samples >= FULL);
    const capture_segment *last = &k.kept[k.n - 1]->seg;
    assert_int_equal(last->n_frames, 4);
    assert_true(last->frames[0].t_us >= resumed_us);
    keeper_free(&k);
}

/* One source gives both: paused one by one it stays open, with both paused it is closed. */
static void test_both_of_one_source(void **state)
{
    (void)state;
    keeper k;
    bool has_picture, has_sound;
    omnid_capture *c = keeper_start(&k, "fake:0", "same");
    await_state(c, false, CAPTURE_RUNNING);
    await_segments(c, 1);
    pause_stream(c, false, true);
    usleep(700 * 1000);
    look(c, &has_picture, &has_sound);
    assert_false(has_sound);
    await_segments(c, 3);
    assert_int_equal(scripts[0].n_closed, 0);
    assert_int_equal(omnid_capture_get_status(c).video.state, CAPTURE_RUNNING);
    pause_stream(c, true, true);
    fake_await_count(&scripts[0].n_closed, 1);
    pause_stream(c, false, false); /* opens the device for the sound alone; its pictures are thrown away */
    await_state(c, false, CAPTURE_RUNNING);
    assert_int_equal(scripts[0].n_opened, 2);
    usleep(300 * 1000);
    look(c, &has_picture, &has_sound);
    assert_false(has_picture);
    assert_int_equal(omnid_capture_get_status(c).video.state, CAPTURE_PAUSED);
    pause_stream(c, true, false); /* it is open: nothing else is opened */
    await_state(c, true, CAPTURE_RUNNING);
    assert_int_equal(scripts[0].n_opened, 2);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.n_gaps_video + status.n_gaps_audio, 0);
    fake_stop(c);
    keeper_free(&k);
}

static void test_while_lost_and_while_opening(void **state)
{
    (void)state;
    keeper k;
    scripts[0] = (fake_script){.first_life_ms = 200, .n_failing_opens = 1000};
    omnid_capture *c = keeper_start(&k, "fake:0", NULL);
    await_state(c, true, CAPTURE_LOST);
    pause_stream(c, true, true);
    capture_source_status status = omnid_capture_get_status(c).video;
    assert_int_equal(status.state, CAPTURE_PAUSED);
    assert_int_equal(status.lost_since_us, 0);
    usleep(400 * 1000);
    int n_tried = scripts[0].n_tried;
    usleep(1500 * 1000);
    assert_int_equal(scripts[0].n_tried, n_tried); /* nobody tries to open what is paused */
    assert_int_equal(omnid_capture_get_status(c).video.state, CAPTURE_PAUSED);
    pause_stream(c, true, false);
    await_state(c, true, CAPTURE_LOST);
    assert_true(scripts[0].n_tried > n_tried);
    assert_true(fake_stop(c) < 2500);
    keeper_free(&k);
    scripts[1] = (fake_script){.open_hangs_ms = 60000};
    c = keeper_start(&k, "fake:1", NULL);
    usleep(100 * 1000);
    pause_stream(c, true, true); /* ends the open that hangs */
    assert_int_equal(omnid_capture_get_status(c).video.state, CAPTURE_PAUSED);
    usleep(300 * 1000);
    scripts[1].open_hangs_ms = 0;
    pause_stream(c, true, false);
    await_state(c, true, CAPTURE_RUNNING);
    pause_stream(c, true, true);
    assert_true(fake_stop(c) < 2500); /* while paused */
    assert_int_equal(k.n_lost, 0);
    keeper_free(&k);
}

static void test_refusals(void **state)
{
    (void)state;
    keeper k;
    omnid_error err;
    omnid_capture *c = keeper_start(&k, "fake:0", NULL);
    assert_int_equal(omnid_capture_pause(c, false, true, &err), OMNID_UNSUPPORTED);
    assert_string_equal(err.text, "the camera has no sound that could be paused");
    fake_stop(c);
    keeper_free(&k);
    scripts[0] = (fake_script){.first_life_ms = 100, .opens_with_an_end = true};
    c = keeper_start(&k, "fake:0", NULL);
    await_state(c, true, CAPTURE_ENDED);
    assert_int_equal(omnid_capture_pause(c, true, true, &err), OMNID_UNSUPPORTED);
    assert_string_equal(err.text, "fake:0: has ended and cannot be paused");
    fake_stop(c);
    keeper_free(&k);
    capture_params p = keeper_params(&k, "test:ball,duration=2", NULL);
    p.fast = true;
    assert_int_equal(omnid_capture_start(&c, &p, &err), OMNID_OK);
    assert_int_equal(omnid_capture_pause(c, true, true, &err), OMNID_UNSUPPORTED);
    assert_string_equal(err.text, "test:ball,duration=2: a file cannot be paused");
    fake_stop(c);
    keeper_free(&k);
}

static atomic_bool flipping;

static void *flip(void *user)
{
    unsigned seed = 7;
    while (atomic_load(&flipping)) {
        assert_int_equal(omnid_capture_pause(user, rand_r(&seed) & 1, rand_r(&seed) & 1, NULL), OMNID_OK);
        usleep((useconds_t)(rand_r(&seed) % 20000));
    }
    return NULL;
}

/* Pauses and resumes from three threads while the source dies and comes back; whatever happened, it runs in the end. */
static void test_from_other_threads(void **state)
{
    (void)state;
    keeper k;
    pthread_t threads[3];
    scripts[0] = (fake_script){.first_life_ms = 700, .n_failing_opens = 2};
    omnid_capture *c = keeper_start(&k, "fake:0", "same");
    atomic_store(&flipping, true);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, flip, c);
    usleep(3000 * 1000);
    atomic_store(&flipping, false);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    pause_stream(c, true, false);
    pause_stream(c, false, false);
    await_state(c, true, CAPTURE_RUNNING);
    await_state(c, false, CAPTURE_RUNNING);
    await_segments(c, omnid_capture_get_status(c).n_segments + 2);
    assert_true(fake_stop(c) < 2500);
    assert_true(k.kept[k.n - 1]->seg.n_samples >= FULL);
    assert_int_equal(scripts[0].n_opened, scripts[0].n_closed);
    keeper_free(&k);
}

int main(void)
{
    assert_int_equal(sources_add(&fake_ops), OMNID_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_picture_of_its_own_source, fake_set_up),
        cmocka_unit_test_setup(test_both_of_one_source, fake_set_up),
        cmocka_unit_test_setup(test_while_lost_and_while_opening, fake_set_up),
        cmocka_unit_test_setup(test_refusals, fake_set_up),
        cmocka_unit_test_setup(test_from_other_threads, fake_set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
