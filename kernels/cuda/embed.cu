/* embed.cu     y[i] = table[ids[i]], zeros for an id outside the table     table: [v][d]     y: F32 [n][d] */
#include "kernels/cuda/device.cuh"

enum { THREADS = 128 };

template <typename T, int N>
static __global__ void embed_kernel(float *y, int64_t y_stride, const T *table, int64_t table_stride, int64_t n_rows,
                                    const int32_t *ids, int64_t n, int64_t d)
{
    int64_t column = N * ((int64_t)blockIdx.x * THREADS + threadIdx.x);
    if (column >= d)
        return;
    for (int64_t i = blockIdx.y; i < n; i += gridDim.y) {
        float values[N] = {};
        int32_t id = ids[i];
        if (id >= 0 && id < n_rows)
            cuda_load_pack<N>(values, table + id * table_stride + column);
        cuda_store_pack<N>(y + i * y_stride + column, values);
    }
}

template <typename T> static void embed_launch(kernels_stream *s, tensor *y, const tensor *table, const tensor *ids)
{
    int64_t n = y->dim[0], d = tensor_cols(y);
    bool packs = cuda_in_packs(y, 4) && cuda_in_packs(table, 4);
    cuda_launch(s, "embed", packs ? embed_kernel<T, 4> : embed_kernel<T, 1>, cuda_grid(n, d, (packs ? 4 : 1) * THREADS),
                THREADS, 0, cuda_data<float>(y), y->stride, cuda_data<T>(table), table->stride, table->dim[0],
                cuda_data<int32_t>(ids), n, d);
}

void cuda_embed(kernels_stream *s, tensor *y, const tensor *table, const tensor *ids)
{
    if (!cuda_begin(s) || !check_embed(s, y, table, ids) || cuda_nothing(y))
        return;
    if (table->dtype == KERNELS_F16)
        embed_launch<__half>(s, y, table, ids);
    else
        cuda_by_dtype(table->dtype, [&](auto type) { embed_launch<decltype(type)>(s, y, table, ids); });
}
