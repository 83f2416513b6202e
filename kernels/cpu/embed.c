/* embed.c     y[i] = table[ids[i]], zeros for an id outside the table     table: [v][d]     y: [n][d] */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpu_math.h"
#include "kernels/int8.h"

#include <string.h>

CPU_CLONES static void embed_bf16(float *restrict y, const uint16_t *restrict x, int64_t d)
{
    for (int64_t j = 0; j < d; j++)
        y[j] = f32_from_bf16(x[j]);
}

/* One group of a row. */
CPU_CLONES static void embed_int8(float *restrict y, const int8_t *restrict q, float scale, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        y[j] = (float)q[j] * scale;
}

static void embed_row(float *y, const tensor *table, int64_t id, int64_t d)
{
    if (id < 0 || id >= table->dim[0]) {
        memset(y, 0, (size_t)d * sizeof *y);
        return;
    }
    const void *row = tensor_row(table, id);
    if (table->dtype == KERNELS_F32)
        memcpy(y, row, (size_t)d * sizeof *y);
    else if (table->dtype == KERNELS_BF16)
        embed_bf16(y, row, d);
    else if (table->dtype == KERNELS_I8)
        for (int64_t j = 0; j < d; j += KERNELS_INT8_GROUP)
            embed_int8(y + j, (const int8_t *)row + j, int8_scale(row, d, j / KERNELS_INT8_GROUP),
                       d - j < KERNELS_INT8_GROUP ? d - j : KERNELS_INT8_GROUP);
    else
        for (int64_t j = 0; j < d; j++)
            y[j] = f32_from_f16(((const uint16_t *)row)[j]);
}

void cpu_embed(kernels_stream *s, tensor *y, const tensor *table, const tensor *ids)
{
    if (!cpu_begin(s) || !check_embed(s, y, table, ids))
        return;
    for (int64_t i = 0; i < y->dim[0]; i++)
        embed_row(tensor_row(y, i), table, ((const int32_t *)ids->data)[i], tensor_cols(y));
}
