/* A camera with a fake source that dies, stalls, hangs and comes back: states, gaps, retries, and a stop within 2 s. */
#include "capture/source.h"
#include "clips.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

enum { FULL = CAPTURE_SAMPLES + CAPTURE_AWAITED, BLOCK = 320, N_FAKES = 2 };

/* What "fake:N" does. Set before the capture starts. */
typedef struct {
    int first_life_ms;      /* then read fails; 0 = lives for ever */
    int stall_after_ms;     /* nothing more comes, and no error; in the first life */
    int n_failing_opens;    /* after the first life */
    int open_hangs_ms;      /* not longer than to the stop */
    int read_hangs_ms;      /* in the first life, after 500 ms; whatever the timeout says */
    bool opens_with_an_end; /* ends after the first life instead */
    atomic_int n_opened, n_tried, n_closed;
} fake_script;

static fake_script scripts[N_FAKES];

typedef struct {
    source_params p;
    fake_script *script;
    int64_t opened_us;
    int64_t n_frames, n_blocks;
    bool first_life;
    float samples[BLOCK];
} fake;

static omnid_status fake_convert(picture *p, omnid_error *err)
{
    p->stride = p->width * 3;
    p->rgb = calloc((size_t)p->height, (size_t)p->stride);
    return p->rgb ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory");
}

static void fake_release(picture *p)
{
    (void)p;
}

static const picture_ops fake_pictures = {fake_convert, fake_release};

static omnid_status fake_check(const char *uri, omnid_error *err)
{
    int n = atoi(source_rest(uri));
    return n < N_FAKES ? OMNID_OK : omnid_fail(err, OMNID_ARGUMENT, "%s: want 0 or 1", uri);
}

static omnid_status fake_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    fake_script *script = &scripts[atoi(source_rest(p->uri))];
    *self = NULL;
    for (int waited = 0; waited < script->open_hangs_ms; waited += 10) {
        if (atomic_load(p->stop))
            return omnid_fail(err, OMNID_CANCELLED, "%s: stopped", p->uri);
        usleep(10000);
    }
    int tried = atomic_fetch_add(&script->n_tried, 1);
    if (tried > 0 && tried <= script->n_failing_opens)
        return omnid_fail(err, OMNID_DEVICE, "%s: not plugged in", p->uri);
    fake *f = calloc(1, sizeof *f);
    f->p = *p;
    f->script = script;
    f->opened_us = omnid_clock_us();
    f->first_life = atomic_fetch_add(&script->n_opened, 1) == 0;
    for (int i = 0; i < BLOCK; i++)
        f->samples[i] = i % 2 ? 0.1f : -0.1f;
    *info = (source_info){p->want_video, p->want_audio, false, INT64_MIN};
    *self = f;
    return OMNID_OK;
}

static omnid_status fake_read(void *self, source_data *out, int timeout_ms, omnid_error *err)
{
    fake *f = self;
    const fake_script *script = f->script;
    int64_t now_us = omnid_clock_us(), age_ms = (now_us - f->opened_us) / 1000;
    if (f->first_life && script->read_hangs_ms && age_ms > 500)
        usleep((useconds_t)script->read_hangs_ms * 1000);
    if (f->first_life && script->first_life_ms && age_ms > script->first_life_ms)
        return script->opens_with_an_end ? OMNID_END : omnid_fail(err, OMNID_DEVICE, "%s: unplugged", f->p.uri);
    int64_t frame_us = f->p.want_video ? f->opened_us + f->n_frames * 40000 : INT64_MAX;
    int64_t block_us = f->p.want_audio ? f->opened_us + f->n_blocks * 20000 + 20000 : INT64_MAX; /* when it is whole */
    int64_t due_us = frame_us < block_us ? frame_us : block_us;
    bool stalls = f->first_life && script->stall_after_ms && age_ms > script->stall_after_ms;
    if (stalls || due_us > now_us + timeout_ms * 1000) {
        usleep((useconds_t)timeout_ms * 1000);
        return OMNID_AGAIN;
    }
    if (due_us > now_us)
        usleep((useconds_t)(due_us - now_us));
    if (due_us == block_us) {
        f->n_blocks++;
        *out = (source_data){.kind = SOURCE_SOUND, .t_us = block_us - 20000, .samples = f->samples, .n_samples = BLOCK};
        return OMNID_OK;
    }
    f->n_frames++;
    *out = (source_data){.kind = SOURCE_PICTURE, .t_us = frame_us};
    return picture_create(&out->pic, frame_us, 32, 24, &fake_pictures, NULL, err);
}

static void fake_close(void **self)
{
    fake *f = *self;
    *self = NULL;
    if (f)
        atomic_fetch_add(&f->script->n_closed, 1);
    free(f);
}

static const source_ops fake_ops = {"fake", "fake:N  a test's", false, fake_check, fake_open, fake_read, fake_close};

static omnid_capture *start(keeper *k, const char *video, const char *audio)
{
    omnid_capture *c;
    omnid_error err;
    capture_params p = keeper_params(k, video, audio);
    if (omnid_capture_start(&c, &p, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    return c;
}

/* Stops and returns how many ms it took. */
static int64_t stop(omnid_capture *c)
{
    int64_t begun_us = omnid_clock_us();
    omnid_capture_stop(&c);
    assert_null(c);
    return (omnid_clock_us() - begun_us) / 1000;
}

static int set_up(void **state)
{
    (void)state;
    memset(scripts, 0, sizeof scripts);
    return 0;
}

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
    omnid_capture *c = start(&k, "fake:0", "same");
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
    assert_int_equal(status.video.n_restarts, 3); /* it died, and two attempts failed */
    assert_in_range(status.video.fps, 23, 26);
    assert_in_range(-status.audio.level_dbfs * 10, 195, 205); /* a square of 0.1: -20 dBFS */
    assert_true(stop(c) < 1000);
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
    omnid_capture *c = start(&k, "fake:0", NULL);
    usleep(3200 * 1000);
    assert_int_equal(omnid_capture_get_status(c).video.state, CAPTURE_RUNNING); /* not before 3 s without data */
    usleep(1600 * 1000);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.video.state, CAPTURE_RUNNING);
    assert_int_equal(status.video.n_restarts, 1);
    assert_string_equal(status.video.message, "fake:0: no picture for 3 s");
    assert_int_equal(status.audio.state, CAPTURE_OFF);
    assert_true(stop(c) < 1000);
    assert_int_equal(k.n_lost, 1);
    keeper_free(&k);
}

/* Picture and sound of two sources: the one that is lost, and that takes long to open, leaves the other whole. */
static void test_one_of_two_sources_is_lost(void **state)
{
    (void)state;
    keeper k;
    scripts[0] = (fake_script){.first_life_ms = 1500, .open_hangs_ms = 300, .n_failing_opens = 100};
    omnid_capture *c = start(&k, "fake:0", "fake:1");
    usleep(7000 * 1000);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.video.state, CAPTURE_LOST);
    assert_string_equal(status.video.message, "fake:0: not plugged in"); /* the newest reason */
    assert_int_equal(status.audio.state, CAPTURE_RUNNING);
    assert_int_equal(status.audio.n_restarts, 0);
    assert_string_equal(status.audio.uri, "fake:1");
    assert_true(stop(c) < 1000);
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
    omnid_capture *c = start(&k, "fake:0", "same");
    assert_int_equal(omnid_capture_wait_end(c, 5000), OMNID_OK);
    capture_status status = omnid_capture_get_status(c);
    assert_int_equal(status.video.state, CAPTURE_ENDED);
    assert_int_equal(status.audio.state, CAPTURE_ENDED);
    stop(c);
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
    omnid_capture *c = start(&k, "fake:0", NULL); /* a live source that does not open is no error */
    assert_int_equal(omnid_capture_get_status(c).video.state, CAPTURE_STARTING);
    assert_true(stop(c) < 1000);
    keeper_free(&k);
    scripts[0] = (fake_script){.first_life_ms = 1, .n_failing_opens = 1000};
    c = start(&k, "fake:0", NULL);
    usleep(1200 * 1000);
    assert_true(stop(c) < 1000); /* in the middle of a wait */
    keeper_free(&k);
    c = start(&k, "test:ball", "same");
    assert_true(stop(c) < 10000); /* at once after the start */
    keeper_free(&k);
    scripts[1] = (fake_script){.read_hangs_ms = 3500};
    c = start(&k, "fake:0", "fake:1");
    usleep(800 * 1000);
    int64_t took_ms = stop(c); /* the driver hangs: its thread is left behind and comes back later */
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
    omnid_capture *c = start(&k, "fake:0", "same");
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
    stop(c);
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
    omnid_capture *c = start(&k, "fake:0", NULL);
    usleep(3000 * 1000);
    assert_in_range(scripts[0].n_tried, 4, 5); /* at 0, 0.25, 0.75, 1.75 s, each wait +-25 % */
    assert_int_equal(omnid_capture_get_status(c).video.n_restarts, scripts[0].n_tried);
    assert_true(stop(c) < 1000);
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
        cmocka_unit_test_setup(test_source_dies_and_comes_back, set_up),
        cmocka_unit_test_setup(test_stall_without_error, set_up),
        cmocka_unit_test_setup(test_one_of_two_sources_is_lost, set_up),
        cmocka_unit_test_setup(test_source_ends, set_up),
        cmocka_unit_test_setup(test_stops_within_2_s, set_up),
        cmocka_unit_test_setup(test_questions_from_other_threads, set_up),
        cmocka_unit_test_setup(test_back_off, set_up),
        cmocka_unit_test_setup(test_fast_needs_a_clip, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
