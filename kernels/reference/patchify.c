/* patchify.c: pixels of two frames -> patches of the vision tower.
 * frames: U8 [2][H][W][3]     order: I32 [n_units], raster numbers of 28x28 squares
 * y: [n_units * 4][3][2][14][14], value (x - 255 mean) / (255 std) */
#include "kernels/reference/reference.h"

enum { PATCH = 14, UNIT = 28 };

void reference_patchify(kernels_stream *s, tensor *y, const tensor *frames, const tensor *order, const float mean[3],
                        const float std[3])
{
    if (!check_patchify(s, y, frames, order))
        return;
    int64_t width = frames->dim[2], units_wide = width / UNIT, n_units = frames->dim[1] / UNIT * units_wide;
    const int32_t *unit = order->data;
    for (int64_t u = 0; u < order->dim[0]; u++) {
        if (unit[u] < 0 || unit[u] >= n_units) {
            kernels_stream_fail(s, OMNID_SHAPE, "patchify: unit %d of %lld", unit[u], (long long)n_units);
            return;
        }
        for (int64_t i = 0; i < 4 * 3 * 2 * PATCH * PATCH; i++) {
            int64_t column = i % PATCH, row = i / PATCH % PATCH;
            int64_t frame = i / (PATCH * PATCH) % 2, channel = i / (2 * PATCH * PATCH) % 3, patch = i / 1176;
            int64_t at_y = unit[u] / units_wide * UNIT + patch / 2 * PATCH + row;
            int64_t at_x = unit[u] % units_wide * UNIT + patch % 2 * PATCH + column;
            const uint8_t *pixels = tensor_row(frames, frame);
            double value = pixels[(at_y * width + at_x) * 3 + channel];
            reference_store(tensor_row(y, u * 4 + patch), y->dtype, i % 1176,
                            (value - 255.0 * (double)mean[channel]) / (255.0 * (double)std[channel]));
        }
    }
}
