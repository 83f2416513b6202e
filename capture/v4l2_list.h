/* v4l2_list.h: what V4L2 says of this machine's cameras, as plain structs: nodes, formats, sizes, rates, controls.
 *
 * Listing asks the kernel through libv4l2 and decides nothing; v4l2_choose.h decides, and asks nobody. */
#ifndef OMNID_CAPTURE_V4L2_LIST_H
#define OMNID_CAPTURE_V4L2_LIST_H

#include "base/base.h"

#include <stdio.h>

enum { V4L2_MAX_RATES = 32, V4L2_MAX_MODES = 4096, V4L2_MAX_CONTROLS = 256 };

/* n / d frames a second; n = 0: not told. */
typedef struct {
    uint32_t n, d;
} v4l2_rate;

/* One format in one size, or in a range of sizes. */
typedef struct {
    uint32_t fourcc;
    bool emulated;     /* made by libv4l2 out of another format: v4l2src cannot ask for it */
    int width, height; /* of a range: the smallest */
    int max_width, max_height;
    int step_width, step_height; /* 0 = one size only; 1 = any size between */
    bool rate_range;             /* any rate from rates[0] to rates[1] */
    int n_rates;                 /* 0 = the driver tells none */
    v4l2_rate rates[V4L2_MAX_RATES];
} v4l2_mode;

typedef struct {
    char name[32];
    int64_t low, high, step, preset, value;
} v4l2_control;

/* One node. */
typedef struct {
    char path[128];   /* "/dev/video0" */
    char name[64];    /* the card, as the driver says it */
    char driver[32];  /* "uvcvideo" */
    char bus[64];     /* "usb-0000:00:14.0-1"; "" = not known */
    char serial[128]; /* USB serial number; "" = none */
    char by_id[256];  /* "/dev/v4l/by-id/…"; "" = none. by_path likewise */
    char by_path[256];
    int index;        /* of the node among those of its device */
    int failed_errno; /* it could not be opened or asked; 0 = it could */
    bool capture;     /* gives pictures (single- or multiplanar) */
    bool multiplanar, metadata, converter, output;
    v4l2_mode *modes; /* NULL before v4l2_list_modes */
    int n_modes;
    v4l2_control *controls;
    int n_controls;
} v4l2_camera;

/* Every /dev/videoN in the order of the numbers, without modes; those that cannot be opened, too. *out is an array of *n
 * for v4l2_list_free; NULL and 0 when there is none. NOMEM. */
omnid_status v4l2_list_nodes(v4l2_camera **out, int *n, omnid_error *err);
void v4l2_list_free(v4l2_camera **cameras, int n); /* *cameras may be NULL */

/* One node by its path, which may be a link. The status and the sentence of v4l2_list_explain where it cannot be asked. */
omnid_status v4l2_list_node(v4l2_camera *out, const char *path, omnid_error *err);
/* Asks for modes and controls. Rates of a range of sizes are those of the size that v4l2_choose would take of it for
 * width x height. NOMEM; as v4l2_list_node. */
omnid_status v4l2_list_modes(v4l2_camera *c, int width, int height, omnid_error *err);
void v4l2_list_clear(v4l2_camera *c); /* frees what c points to */

/* The status and the sentence, with what to do, for an errno met at opening or starting the camera at path: BUSY (EBUSY),
 * IO (EACCES: the node's group is missing), NOT_FOUND (ENOENT, ENODEV, ENXIO), DEVICE (others). */
omnid_status v4l2_list_explain(const char *path, int error, omnid_error *err);

/* Tries to start capturing in a mode, for a moment: 0, or the errno of the step that is refused. */
int v4l2_list_try(const v4l2_camera *c, uint32_t fourcc, int width, int height, v4l2_rate rate);

/* Writes the list in the form of tests/unit/capture/cameras/, so that what a camera offers can be sent in a report. */
void v4l2_list_print(FILE *to, const v4l2_camera *c);

/* "YUYV", or "XR15-BE" of a big-endian variant. Bytes that are no letters are shown as '.'. */
const char *v4l2_fourcc_text(uint32_t fourcc, char out[8]);

#endif
