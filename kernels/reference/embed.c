/* embed.c     y[i] = table[ids[i]], zeros for an id outside the table     table: [v][d]     y: [n][d] */
#include "kernels/int8.h"
#include "kernels/reference/reference.h"

static float embed_value(const tensor *table, int64_t id, int64_t j)
{
    const void *row = tensor_row(table, id);
    return table->dtype == KERNELS_I8 ? int8_value(row, tensor_cols(table), j) : reference_load(row, table->dtype, j);
}

void reference_embed(kernels_stream *s, tensor *y, const tensor *table, const tensor *ids)
{
    if (!check_embed(s, y, table, ids))
        return;
    const int32_t *id = ids->data;
    for (int64_t i = 0; i < y->dim[0]; i++) {
        float *to = tensor_row(y, i);
        bool known = id[i] >= 0 && id[i] < table->dim[0];
        for (int64_t j = 0; j < tensor_cols(y); j++)
            to[j] = known ? embed_value(table, id[i], j) : 0.0f;
    }
}
