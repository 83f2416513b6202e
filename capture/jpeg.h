/* jpeg.h: one JPEG picture as webcams and MJPEG files have it, to RGB.
 *
 * Webcams leave out the Huffman tables when they are the standard's, and the end marker; some add bytes behind it. Frames
 * whose picture data are torn or damaged are refused: libjpeg would fill the rest with grey. */
#ifndef OMNID_CAPTURE_JPEG_H
#define OMNID_CAPTURE_JPEG_H

#include "base/base.h"

/* A damaged header may claim more than memory holds. */
enum { JPEG_MAX_SIDE = 16384, JPEG_MAX_PIXELS = 64 * 1024 * 1024 };

typedef struct {
    uint8_t *rgb; /* malloc; height rows of stride bytes, 3 bytes a pixel */
    int width, height, stride;
    size_t
        n_whole; /* bytes up to the end marker if they are a JPEG file that any program reads; 0 = a part is left out */
} jpeg_picture;

/* Decodes the n bytes at `bytes`. rgb is the caller's on OK only. FORMAT (no JPEG, too large, torn, damaged; the decoder's
 * own sentence), NOMEM. Any thread. */
omnid_status jpeg_decode(jpeg_picture *out, const uint8_t *bytes, size_t n, omnid_error *err);

#endif
