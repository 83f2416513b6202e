/* v4l2_choose.h: which of a camera's modes omnid takes, in which order it tries them, and why. Pure functions.
 *
 * The rule stands in docs/capture.md: the cheapest mode that reaches the model's frame size and is fresh enough, without
 * taking the bus away from other cameras. */
#ifndef OMNID_CAPTURE_V4L2_CHOOSE_H
#define OMNID_CAPTURE_V4L2_CHOOSE_H

#include "capture/v4l2_list.h"

enum {
    V4L2_NEED = 336,      /* pixels a side: what the model sees of a frame */
    V4L2_MAX_CHOICES = 64 /* more are not worth trying */
};
#define V4L2_FRESH_RATE   10.0 /* frames a second from which `now` is fresh: 0.1 s */
#define V4L2_LEAST_RATE   2.0  /* below it an instant may be without a picture */
#define V4L2_LIGHT_BUS_MB 8.0  /* MB/s: a third of what USB 2 carries for cameras */

/* What the URI asks for; 0 = omnid chooses. */
typedef struct {
    int width, height;
    double fps;
    uint32_t fourcc;
} v4l2_want;

typedef enum { V4L2_RAW, V4L2_JPEG, V4L2_CODED } v4l2_kind; /* coded: one frame needs those before it */

typedef struct {
    uint32_t fourcc;
    v4l2_kind kind;
    int width, height;
    v4l2_rate rate; /* n = 0: whatever the camera gives */
    double bus_mb;  /* MB/s, about */
    char caps[192]; /* for GStreamer */
    char text[64];  /* "MJPG 640x480 at 15/s" */
    char why[320];  /* one sentence */
} v4l2_choice;

/* The candidates in the order in which to try them: *out is an array of *n for free(). UNSUPPORTED: no mode can be used,
 * ARGUMENT: not the one that is asked for; both with a sentence that says what there is. NOMEM. */
omnid_status v4l2_choose(v4l2_choice **out, int *n, const v4l2_camera *c, const v4l2_want *want, omnid_error *err);

/* The candidate to try after choices[i] was refused with that errno (0 = for an unknown reason): after ENOSPC (the bus is
 * full) only a lighter one helps. n = there is none. */
int v4l2_choose_next(const v4l2_choice *choices, int n, int i, int error);

/* The size to take of a mode for a wanted width x height (0 = V4L2_NEED): its own, or one in its range, of the shape of the
 * range's largest where that is possible. */
void v4l2_size_of(const v4l2_mode *m, int width, int height, int *out_width, int *out_height);

#endif
