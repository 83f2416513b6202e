/* fake_capture.c: capture.h without GStreamer, for tests of the daemon. A camera's thread closes a segment every 20 ms:
 *
 *   "test:"        picture and sound          "test:quiet"   no segment, not even an open one
 *   "test:later"   first segment after 1.5 s, but an open one at once
 *   "test:stuck"   does not stop for 5 s
 *   "test:video"   has no sound of its own
 *   "test:lost"    after 3 segments both sources are lost for half a second, with gaps, and come back
 *   "test:blind"   is never opened: lost from the start, only its sound is there
 *   "file:PATH"    ends after 5 segments      "fails:"       passes the check and does not start
 *
 * Frame i of segment s is grey of level FAKE_GREY(s, i), and half a second younger than the one before. */
#include "capture/capture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FAKE_SIDE = 28, FAKE_PERIOD_MS = 20, FAKE_LOST_TURNS = 25 };
#define FAKE_GREY(s, i) (uint8_t)(16 + ((s)*4 + (i)) * 5 % 224)

struct omnid_capture {
    capture_params params;
    char video[256];
    pthread_t thread;
    atomic_bool stopping, ended;
    atomic_long next, n_gaps, n_restarts;
    atomic_bool lost, paused[2];
};

typedef struct {
    capture_segment seg;
    uint8_t pixels[CAPTURE_FRAMES][FAKE_SIDE * FAKE_SIDE * 3];
} fake_segment;

static const float silence[CAPTURE_SAMPLES + CAPTURE_AWAITED];

const char *capture_state_name(capture_state s)
{
    static const char *const names[] = {"off", "starting", "running", "lost", "ended", "paused"};
    return names[s];
}

capture_params capture_params_default(void)
{
    return (capture_params){0};
}

omnid_status omnid_capture_check(const char *uri, omnid_error *err)
{
    if (strncmp(uri, "test:", 5) == 0 || strncmp(uri, "file:", 5) == 0 || strncmp(uri, "fails:", 6) == 0)
        return OMNID_OK;
    return omnid_fail(err, OMNID_UNSUPPORTED, "'%s': want test: or file:", uri);
}

static bool is(const omnid_capture *c, const char *video)
{
    return strcmp(c->video, video) == 0;
}

static bool is_clip(const omnid_capture *c)
{
    return strncmp(c->video, "file:", 5) == 0;
}

static bool has_video(const omnid_capture *c)
{
    return c->video[0] != '\0';
}

static bool has_audio(const omnid_capture *c)
{
    return c->params.audio && !is(c, "test:video");
}

static fake_segment *make_segment(omnid_capture *c, int64_t index, int n_frames)
{
    fake_segment *s = calloc(1, sizeof *s);
    bool picture = has_video(c) && !is(c, "test:blind") && !atomic_load(&c->paused[0]);
    bool sound = has_audio(c) && !atomic_load(&c->paused[1]);
    s->seg = (capture_segment){.index = index,
                               .wall_us = omnid_wall_us() - 2000000,
                               .n_frames = picture ? n_frames : 0,
                               .samples = sound ? silence : NULL,
                               .n_samples = sound ? CAPTURE_SAMPLES + CAPTURE_AWAITED : 0};
    for (int i = 0; i < s->seg.n_frames; i++) {
        memset(s->pixels[i], FAKE_GREY(index, i), sizeof s->pixels[i]);
        s->seg.frames[i] = (capture_frame){s->pixels[i], FAKE_SIDE, FAKE_SIDE, FAKE_SIDE * 3, .t_us = i * 500000LL};
    }
    return s;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static void tell(omnid_capture *c, bool video, capture_state state, const char *message)
{
    c->params.on_source(c->params.user, video, state, message);
}

/* Both sources gone for a while: nothing is handed over, the segments count as gaps. */
static void be_lost(omnid_capture *c)
{
    atomic_store(&c->lost, true);
    tell(c, true, CAPTURE_LOST, "test:lost: the cable is out");
    tell(c, false, CAPTURE_LOST, "test:lost: the cable is out");
    for (int i = 0; i < FAKE_LOST_TURNS && !atomic_load(&c->stopping); i++) {
        sleep_ms(FAKE_PERIOD_MS);
        atomic_fetch_add(&c->next, 1);
        atomic_fetch_add(&c->n_gaps, 1);
    }
    atomic_store(&c->n_restarts, 1);
    atomic_store(&c->lost, false);
    tell(c, true, CAPTURE_RUNNING, "");
    tell(c, false, CAPTURE_RUNNING, "");
}

static void close_segment(omnid_capture *c, long index)
{
    fake_segment *s = make_segment(c, index, CAPTURE_FRAMES);
    atomic_store(&c->next, index + 1);
    if (s->seg.n_frames || s->seg.n_samples)
        c->params.on_segment(c->params.user, &s->seg);
    free(s);
}

static void *capture_main(void *user)
{
    omnid_capture *c = user;
    bool told_paused[2] = {false, false};
    tell(c, true, is(c, "test:blind") ? CAPTURE_LOST : CAPTURE_RUNNING, "");
    for (int i = 0; i < 75 && is(c, "test:later") && !atomic_load(&c->stopping); i++)
        sleep_ms(20);
    while (!atomic_load(&c->stopping)) {
        sleep_ms(c->params.fast ? 1 : FAKE_PERIOD_MS);
        for (int i = 0; i < 2; i++)
            if (atomic_load(&c->paused[i]) != told_paused[i]) {
                told_paused[i] = !told_paused[i];
                tell(c, i == 0, told_paused[i] ? CAPTURE_PAUSED : CAPTURE_RUNNING, "");
            }
        if (is(c, "test:quiet"))
            continue;
        long index = atomic_load(&c->next);
        if (is_clip(c) && index == 5) {
            atomic_store(&c->ended, true);
            tell(c, true, CAPTURE_ENDED, "end of file");
            return NULL;
        }
        if (is(c, "test:lost") && index == 3)
            be_lost(c);
        else
            close_segment(c, index);
    }
    return NULL;
}

omnid_status omnid_capture_start(omnid_capture **out, const capture_params *p, omnid_error *err)
{
    *out = NULL;
    if (p->video && strncmp(p->video, "fails:", 6) == 0)
        return omnid_fail(err, OMNID_FORMAT, "'%s' has neither picture nor sound", p->video);
    omnid_capture *c = calloc(1, sizeof *c);
    c->params = *p;
    snprintf(c->video, sizeof c->video, "%s", p->video ? p->video : "");
    if (pthread_create(&c->thread, NULL, capture_main, c) != 0) {
        free(c);
        return omnid_fail(err, OMNID_IO, "no thread");
    }
    pthread_setname_np(c->thread, "fake-capture");
    *out = c;
    return OMNID_OK;
}

void omnid_capture_stop(omnid_capture **c)
{
    if (!*c)
        return;
    if (is(*c, "test:stuck"))
        sleep_ms(5000);
    atomic_store(&(*c)->stopping, true);
    pthread_join((*c)->thread, NULL);
    free(*c);
    *c = NULL;
}

omnid_status omnid_capture_pause(omnid_capture *c, bool video, bool paused, omnid_error *err)
{
    if (!(video ? has_video(c) : has_audio(c)))
        return omnid_fail(err, OMNID_UNSUPPORTED, "there is no %s to pause", video ? "picture" : "sound");
    if (is_clip(c))
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s is a clip and cannot be paused", c->video);
    atomic_store(&c->paused[video ? 0 : 1], paused);
    return OMNID_OK;
}

omnid_status omnid_capture_open_segment(omnid_capture *c, capture_segment **out, omnid_error *err)
{
    (void)err;
    *out = NULL;
    if (is(c, "test:quiet") || atomic_load(&c->ended) || atomic_load(&c->lost))
        return OMNID_OK;
    *out = &make_segment(c, atomic_load(&c->next), 2)->seg;
    if (!(*out)->n_frames && !(*out)->n_samples)
        capture_segment_free(out);
    return OMNID_OK;
}

void capture_segment_free(capture_segment **seg)
{
    free((fake_segment *)*seg);
    *seg = NULL;
}

static capture_state state_of(omnid_capture *c, int stream, bool has)
{
    return !has                                 ? CAPTURE_OFF
           : atomic_load(&c->ended)             ? CAPTURE_ENDED
           : atomic_load(&c->paused[stream])    ? CAPTURE_PAUSED
           : atomic_load(&c->lost)              ? CAPTURE_LOST
           : stream == 0 && is(c, "test:blind") ? CAPTURE_LOST
                                                : CAPTURE_RUNNING;
}

capture_status omnid_capture_get_status(omnid_capture *c)
{
    long n_gaps = atomic_load(&c->n_gaps);
    capture_status s = {.n_segments = atomic_load(&c->next), .n_gaps_video = n_gaps, .n_gaps_audio = n_gaps};
    s.video = (capture_source_status){.uri = c->video,
                                      .state = state_of(c, 0, has_video(c)),
                                      .fps = 2,
                                      .width = FAKE_SIDE,
                                      .height = FAKE_SIDE,
                                      .n_restarts = atomic_load(&c->n_restarts),
                                      .lost_since_us = atomic_load(&c->lost) ? omnid_clock_us() : 0};
    s.audio = (capture_source_status){.uri = "same",
                                      .state = state_of(c, 1, has_audio(c)),
                                      .level_dbfs = -120,
                                      .n_restarts = atomic_load(&c->n_restarts)};
    if (s.video.state == CAPTURE_LOST)
        snprintf(s.video.message, sizeof s.video.message, "%.200s: the cable is out", c->video);
    return s;
}

const capture_scheme *omnid_capture_schemes(int *n)
{
    static const capture_scheme schemes[] = {{"test", "a test pattern"}, {"file", "a file"}};
    *n = 2;
    return schemes;
}
