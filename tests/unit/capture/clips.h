/* clips.h: clips made by GStreamer when the test runs, and what a camera hands over, kept for looking at. */
#ifndef OMNID_TESTS_CLIPS_H
#define OMNID_TESTS_CLIPS_H

#include "capture/capture.h"

enum { MAX_KEPT = 64, PATIENCE_MS = 60000 };

/* A segment as it was handed over, its samples and first frame copied. */
typedef struct {
    capture_segment seg;
    float samples[CAPTURE_SAMPLES + CAPTURE_AWAITED];
    uint8_t *frame; /* the first one, stride * height */
} kept_segment;

/* Everything a camera told. Written on its thread; read it after the end, or after the stop. */
typedef struct {
    kept_segment *kept[MAX_KEPT];
    int n;
    capture_state video, audio; /* the last ones told */
    int n_lost;                 /* times that a source was told lost */
    int sleep_ms;               /* in each call */
} keeper;

/* capture_params with this keeper's callbacks. */
capture_params keeper_params(keeper *k, const char *video, const char *audio);
void keeper_free(keeper *k);
/* Starts a camera that tells this keeper; fails the test with its sentence where that fails. */
omnid_capture *keeper_start(keeper *k, const char *video, const char *audio);

/* Waits, PATIENCE_MS if need be, until the stream is in that state; its status. Else fails the test with what it is. */
capture_source_status await_state(omnid_capture *c, bool video, capture_state state);
/* Waits as long until so many segments were closed. */
void await_segments(omnid_capture *c, int64_t n);

/* Runs a gst-launch description to its end; its file lies at the path returned (in the build folder), which is borrowed
 * until the next call. The description's %s is that path. Fails the test with GStreamer's sentence. */
const char *clip_make(const char *name, const char *description);

#endif
