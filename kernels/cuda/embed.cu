/* embed.cu     y[i] = table[ids[i]], zeros for an id outside the table     table: [v][d]     y: F32 [n][d] */
#include "kernels/cuda/device.cuh"

enum { THREADS = 128 };

/* N numbers of a row at a column. An int8 row has scales behind its d numbers and their padding. */
template <int N, typename T>
static __device__ __forceinline__ void embed_load(float values[N], const T *row, int64_t column, int64_t d)
{
    cuda_load_pack<N>(values, row + column);
    if constexpr (sizeof(T) == 1) {
        float scale = cuda_int8_scale(row, (d + 15) / 16 * 16, column);
#pragma unroll
        for (int i = 0; i < N; i++)
            values[i] *= scale;
    }
}

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
            embed_load<N>(values, table + id * table_stride, column, d);
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
    else if (table->dtype == KERNELS_I8)
        embed_launch<int8_t>(s, y, table, ids);
    else
        cuda_by_dtype(table->dtype, [&](auto type) { embed_launch<decltype(type)>(s, y, table, ids); });
}
