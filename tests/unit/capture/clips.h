/* clips.h: clips made by GStreamer when the test runs, and what a camera hands over, kept for looking at. */
#ifndef OMNID_TESTS_CLIPS_H
#define OMNID_TESTS_CLIPS_H

#include "capture/capture.h"

enum { MAX_KEPT = 64 };

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

/* Runs a gst-launch description to its end; its file lies at the path returned (in the build folder), which is borrowed
 * until the next call. The description's %s is that path. Fails the test with GStreamer's sentence. */
const char *clip_make(const char *name, const char *description);

#endif
