/* patchify.c: pixels of two frames -> patches of the vision tower.
 * frames: U8 [2][H][W][3]     order: I32 [n_units]     y: [n_units * 4][3][2][14][14]
 * A pixel has 256 values, so a table a channel does the arithmetic once, in float64. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"

enum { PATCH = 14, UNIT = 28, PATCH_SIZE = 3 * 2 * PATCH * PATCH };

typedef struct {
    float value[3][256];
} patchify_table;

static void patchify_fill(patchify_table *table, const float mean[3], const float std[3])
{
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 256; i++)
            table->value[c][i] = (float)((i - 255.0 * (double)mean[c]) / (255.0 * (double)std[c]));
}

/* One patch whose top left pixel is (top, left). */
CPU_INLINE void patchify_patch(void *y, bool bf16, const tensor *frames, int64_t top, int64_t left,
                               const patchify_table *table)
{
    int64_t width = frames->dim[2], to = 0;
    for (int c = 0; c < 3; c++)
        for (int f = 0; f < 2; f++)
            for (int row = 0; row < PATCH; row++) {
                const uint8_t *pixel = (const uint8_t *)tensor_row(frames, f) + ((top + row) * width + left) * 3 + c;
                for (int column = 0; column < PATCH; column++)
                    cpu_store(y, bf16, to++, table->value[c][pixel[column * 3]]);
            }
}

void cpu_patchify(kernels_stream *s, tensor *y, const tensor *frames, const tensor *order, const float mean[3],
                  const float std[3])
{
    if (!cpu_begin(s) || !check_patchify(s, y, frames, order))
        return;
    int64_t wide = frames->dim[2] / UNIT, n_units = frames->dim[1] / UNIT * wide, n = order->dim[0];
    const int32_t *unit = order->data;
    for (int64_t u = 0; u < n; u++)
        if (unit[u] < 0 || unit[u] >= n_units) {
            kernels_stream_fail(s, OMNID_SHAPE, "patchify: unit %d of %lld", unit[u], (long long)n_units);
            return;
        }
    patchify_table table;
    patchify_fill(&table, mean, std);
    bool bf16 = y->dtype == KERNELS_BF16;
#pragma omp parallel for num_threads(cpu_threads(s, n * 4 * PATCH_SIZE))
    for (int64_t i = 0; i < 4 * n; i++) {
        int64_t top = unit[i / 4] / wide * UNIT + i % 4 / 2 * PATCH, left = unit[i / 4] % wide * UNIT + i % 2 * PATCH;
        if (bf16)
            patchify_patch(tensor_row(y, i), true, frames, top, left, &table);
        else
            patchify_patch(tensor_row(y, i), false, frames, top, left, &table);
    }
}
