/* gst_picture.h: pictures out of GStreamer's samples, raw or JPEG: RGB, square pixels, upright; made only when asked for. */
#ifndef OMNID_CAPTURE_GST_PICTURE_H
#define OMNID_CAPTURE_GST_PICTURE_H

#include "capture/picture.h"

#include <gst/gst.h>
#include <gst/video/video.h>

/* Makes pictures of samples of one stream; keeps a converter as long as the caps stay the same. Counted, because pictures
 * outlive their source. */
typedef struct gst_picture_maker gst_picture_maker;

gst_picture_maker *gst_picture_maker_create(void);   /* NULL: out of memory */
void gst_picture_maker_unref(gst_picture_maker **m); /* *m may be NULL */

/* A picture of a buffer of raw video, or of one JPEG picture, at t_us. Takes references of buffer and caps. method: how to
 * turn it upright. FORMAT (caps that are neither), NOMEM. */
omnid_status gst_picture_create(picture **out, gst_picture_maker *m, GstBuffer *buffer, GstCaps *caps,
                                GstVideoOrientationMethod method, int64_t t_us, omnid_error *err);

#endif
