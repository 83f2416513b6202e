/* fake_capture.c: capture.h without GStreamer, for tests of the daemon. A camera's thread closes a segment every 20 ms:
 *
 *   "test:"        picture and sound          "test:quiet"   no segment, not even an open one
 *   "test:later"   first segment after 1.5 s, but an open one at once
 *   "test:stuck"   does not stop for 5 s
 *   "test:video"   has no sound of its own
 *   "file:PATH"    ends after 5 segments      "fails:"       passes the check and does not start
 */
#include "capture/capture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FAKE_SIDE = 28, FAKE_PERIOD_MS = 20 };

struct omnid_capture {
    capture_params params;
    char video[256];
    pthread_t thread;
    atomic_bool stopping, ended;
    atomic_long next;
};

static const uint8_t pixels[FAKE_SIDE * FAKE_SIDE * 3];
static const float silence[CAPTURE_SAMPLES + CAPTURE_AWAITED];

const char *capture_state_name(capture_state s)
{
    static const char *const names[] = {"off", "starting", "running", "lost", "ended"};
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

static capture_segment make_segment(int64_t index)
{
    capture_segment s = {.index = index,
                         .wall_us = omnid_wall_us() - 2000000,
                         .n_frames = 4,
                         .samples = silence,
                         .n_samples = CAPTURE_SAMPLES + CAPTURE_AWAITED};
    for (int i = 0; i < CAPTURE_FRAMES; i++)
        s.frames[i] = (capture_frame){pixels, FAKE_SIDE, FAKE_SIDE, FAKE_SIDE * 3};
    return s;
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static void *capture_main(void *user)
{
    omnid_capture *c = user;
    c->params.on_source(c->params.user, true, CAPTURE_RUNNING, "");
    for (int i = 0; i < 75 && strcmp(c->video, "test:later") == 0 && !atomic_load(&c->stopping); i++)
        sleep_ms(20);
    while (!atomic_load(&c->stopping)) {
        sleep_ms(c->params.fast ? 1 : FAKE_PERIOD_MS);
        if (strcmp(c->video, "test:quiet") == 0)
            continue;
        long index = atomic_load(&c->next);
        if (strncmp(c->video, "file:", 5) == 0 && index == 5) {
            atomic_store(&c->ended, true);
            c->params.on_source(c->params.user, true, CAPTURE_ENDED, "end of file");
            return NULL;
        }
        capture_segment s = make_segment(index);
        atomic_store(&c->next, index + 1);
        c->params.on_segment(c->params.user, &s);
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
    if (strcmp((*c)->video, "test:stuck") == 0)
        sleep_ms(5000);
    atomic_store(&(*c)->stopping, true);
    pthread_join((*c)->thread, NULL);
    free(*c);
    *c = NULL;
}

omnid_status omnid_capture_open_segment(omnid_capture *c, capture_segment **out, omnid_error *err)
{
    (void)err;
    *out = NULL;
    if (strcmp(c->video, "test:quiet") == 0 || atomic_load(&c->ended))
        return OMNID_OK;
    *out = malloc(sizeof **out);
    **out = make_segment(atomic_load(&c->next));
    (*out)->n_frames = 2;
    return OMNID_OK;
}

void capture_segment_free(capture_segment **seg)
{
    free(*seg);
    *seg = NULL;
}

capture_status omnid_capture_get_status(omnid_capture *c)
{
    capture_status s = {.n_segments = atomic_load(&c->next)};
    s.video = (capture_source_status){.uri = c->video,
                                      .state = atomic_load(&c->ended) ? CAPTURE_ENDED : CAPTURE_RUNNING,
                                      .fps = 2,
                                      .width = FAKE_SIDE,
                                      .height = FAKE_SIDE};
    s.audio = (capture_source_status){.uri = "same", .state = CAPTURE_RUNNING, .level_dbfs = -120};
    if (!c->video[0])
        s.video.state = CAPTURE_OFF;
    if (!c->params.audio || strcmp(c->video, "test:video") == 0)
        s.audio.state = CAPTURE_OFF;
    return s;
}

const capture_scheme *omnid_capture_schemes(int *n)
{
    static const capture_scheme schemes[] = {{"test", "a test pattern"}, {"file", "a file"}};
    *n = 2;
    return schemes;
}
