/* gather_rows.cu     y[i] = x[rows[i]]     x: [m][d]     y: [n][d]     any dtype: rows are copied as words of one size */
#include "kernels/cuda/device.cuh"

enum { THREADS = 128 };

/* Strides and d in words of type T. */
template <typename T>
static __global__ void gather_kernel(T *y, int64_t y_stride, const T *x, int64_t x_stride, int64_t m,
                                     const int32_t *rows, int64_t n, int64_t d, cuda_faults *faults)
{
    int64_t column = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (column >= d)
        return;
    for (int64_t i = blockIdx.y; i < n; i += gridDim.y) {
        int32_t row = rows[i];
        if (row >= 0 && row < m)
            y[i * y_stride + column] = x[row * x_stride + column];
        else if (column == 0)
            cuda_fault_at(faults, CUDA_FAULT_GATHER_ROW, (int32_t)i, row);
    }
}

template <typename T> static void gather_launch(kernels_stream *s, tensor *y, const tensor *x, const tensor *rows)
{
    int64_t size = (int64_t)kernels_dtype_size(x->dtype), n = y->dim[0], d = tensor_cols(x) * size / (int64_t)sizeof(T);
    cuda_launch(s, "gather_rows", gather_kernel<T>, cuda_grid(n, d, THREADS), THREADS, 0, cuda_data<T>(y),
                y->stride * size / (int64_t)sizeof(T), cuda_data<T>(x), x->stride * size / (int64_t)sizeof(T),
                x->dim[0], cuda_data<int32_t>(rows), n, d, cuda_of(s)->faults);
}

void cuda_gather_rows(kernels_stream *s, tensor *y, const tensor *x, const tensor *rows)
{
    if (!cuda_begin(s) || !check_gather_rows(s, y, x, rows) || cuda_nothing(y))
        return;
    int64_t size = (int64_t)kernels_dtype_size(x->dtype);
    if (cuda_in_packs(y, 16 / size) && cuda_in_packs(x, 16 / size))
        gather_launch<uint4>(s, y, x, rows);
    else if (size == 4)
        gather_launch<uint32_t>(s, y, x, rows);
    else if (size == 2)
        gather_launch<uint16_t>(s, y, x, rows);
    else
        gather_launch<uint8_t>(s, y, x, rows);
}
