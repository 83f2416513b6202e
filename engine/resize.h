/* resize.h: frames to the model's size: which size, and bicubic resampling with antialias. */
#ifndef ENGINE_RESIZE_H
#define ENGINE_RESIZE_H

#include "base/base.h"

enum { RESIZE_UNIT = 28 /* px a token's side */, RESIZE_MAX_SIDE = 16384 };

/* Size of a frame of width x height after resizing: sides (28 a, 28 b) no longer than the frame's, at most max_pixels in all.
 * The ideal is the frame's own shape, shrunk by s = min(1, sqrt(max_pixels / (width height))); of all sides allowed the one
 * nearest to it in both is taken: least |ln(28 a / (s width))| + |ln(28 b / (s height))|; equally near: the larger area,
 * then the wider. 640 x 480 at 336 * 336 gives 392 x 280; multiples of 28 that fit keep their size.
 * SHAPE: a side below 28 px or above RESIZE_MAX_SIDE. ARGUMENT: max_pixels < 784. */
omnid_status resize_target(int width, int height, int max_pixels, int *out_width, int *out_height, omnid_error *err);

/* out [out_height][out_width][3] = rgb [height] rows `stride` bytes apart, resampled (a = -0.5, support widened when
 * shrinking, edges clipped and renormalised, horizontal pass first, both passes rounded to 8 bits: PIL's BICUBIC).
 * Same size: copied. NOMEM. */
omnid_status resize_bicubic(uint8_t *out, int out_width, int out_height, const uint8_t *rgb, int width, int height,
                            int stride, omnid_error *err);

#endif
