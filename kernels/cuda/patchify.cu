/* patchify.cu: pixels of two frames -> patches of the vision tower.
 * frames: U8 [2][H][W][3]     order: I32 [n_units], raster numbers of 28x28 squares
 * y: [n_units * 4][3][2][14][14], value (x - 255 mean) / (255 std) */
#include "kernels/cuda/device.cuh"

enum { THREADS = 256, PATCH = 14, UNIT = 28, CELLS = 3 * 2 * PATCH * PATCH };

/* Float64: (x - 255 mean) loses five digits where it is near zero. */
struct patch_arguments {
    const uint8_t *frames;
    const int32_t *order;
    int64_t frame_stride, y_stride, n_units, width;
    int64_t n_squares; /* that the frames have */
    double offset[3], scale[3];
    cuda_faults *faults;
};

/* blockIdx.y: the patch, rows of y; blockIdx.x and thread: its cell. */
template <typename Y> static __global__ void patchify_kernel(Y *y, patch_arguments a)
{
    int cell = blockIdx.x * THREADS + threadIdx.x;
    if (cell >= CELLS)
        return;
    int column = cell % PATCH, line = cell / PATCH % PATCH, frame = cell / (PATCH * PATCH) % 2;
    int channel = cell / (2 * PATCH * PATCH);
    for (int64_t row = blockIdx.y; row < 4 * a.n_units; row += gridDim.y) {
        int64_t square = a.order[row / 4], wide = a.width / UNIT;
        int patch = (int)(row % 4);
        if (square < 0 || square >= a.n_squares) {
            if (cell == 0)
                cuda_fault_at(a.faults, CUDA_FAULT_PATCH_UNIT, (int32_t)(row / 4), (int32_t)square);
            continue;
        }
        int64_t at_y = square / wide * UNIT + patch / 2 * PATCH + line;
        int64_t at_x = square % wide * UNIT + patch % 2 * PATCH + column;
        double pixel = a.frames[frame * a.frame_stride + (at_y * a.width + at_x) * 3 + channel];
        cuda_store(y + row * a.y_stride + cell, (float)((pixel - a.offset[channel]) * a.scale[channel]));
    }
}

void cuda_patchify(kernels_stream *s, tensor *y, const tensor *frames, const tensor *order, const float mean[3],
                   const float std[3])
{
    if (!cuda_begin(s) || !check_patchify(s, y, frames, order) || cuda_nothing(y))
        return;
    patch_arguments a = {};
    a.frames = cuda_data<uint8_t>(frames);
    a.order = cuda_data<int32_t>(order);
    a.frame_stride = frames->stride;
    a.y_stride = y->stride;
    a.n_units = order->dim[0];
    a.width = frames->dim[2];
    a.n_squares = frames->dim[1] / UNIT * (frames->dim[2] / UNIT);
    for (int i = 0; i < 3; i++) {
        a.offset[i] = 255.0 * (double)mean[i];
        a.scale[i] = 1.0 / (255.0 * (double)std[i]);
    }
    a.faults = cuda_of(s)->faults;
    cuda_by_dtype(y->dtype, [&](auto type) {
        typedef decltype(type) Y;
        cuda_launch(s, "patchify", patchify_kernel<Y>, cuda_grid(y->dim[0], CELLS, THREADS), THREADS, 0,
                    cuda_data<Y>(y), a);
    });
}
