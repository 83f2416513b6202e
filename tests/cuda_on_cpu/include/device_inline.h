/* device_inline.h of the emulation: the twin of kernels/cuda/native/device_inline.h, function by function. */
#ifndef OMNID_EMULATED_DEVICE_INLINE_H
#define OMNID_EMULATED_DEVICE_INLINE_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>

/* Pieces lie apart, with bytes between them that nobody may touch; each is full of NaN when a block begins. */
struct cuda_carve {
    size_t used = 0;

    template <typename T> T *take(int n)
    {
        return static_cast<T *>(cuda_emulation::take_shared(&used, static_cast<size_t>(n) * sizeof(T)));
    }
};

static inline void cuda_store_words(void *to, unsigned a, unsigned b, unsigned c, unsigned d)
{
    *static_cast<uint4 *>(to) = {a, b, c, d};
}

static inline void cuda_store_words(void *to, unsigned a, unsigned b)
{
    *static_cast<uint2 *>(to) = {a, b};
}

struct alignas(16) cuda_words {
    unsigned at[4];
};

static inline cuda_words cuda_load_once(const void *from)
{
    return *static_cast<const cuda_words *>(from);
}

static inline void cuda_copy_async(void *shared, const void *from, bool valid)
{
    cuda_emulation::copy_later(shared, from, 16, valid ? 16 : 0);
}

static inline void cuda_copy_commit()
{
    cuda_emulation::copies_commit();
}

template <int N> static inline void cuda_copy_wait()
{
    cuda_emulation::copies_wait(N);
}

namespace cuda_emulation
{
struct matrices {
    const uint16_t *row;
    unsigned *fragment;
    bool transposed;
};

static inline void evaluate_load(void *const data[32], unsigned mask)
{
    if (mask != 0xffffffffu)
        die("cuda_load_matrices: lanes %08x came, all have to", mask);
    matrices *const *lane = reinterpret_cast<matrices *const *>(data);
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) {
            uint16_t pair[2];
            for (int e = 0; e < 2; e++) {
                int row = lane[l]->transposed ? 2 * (l % 4) + e : l / 4;
                int column = lane[l]->transposed ? l / 4 : 2 * (l % 4) + e;
                pair[e] = lane[8 * i + row]->row[column];
            }
            lane[l]->fragment[i] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
        }
}

struct product {
    float *c;
    const unsigned *a, *b;
};

static inline float half_of(unsigned pair, int i)
{
    return f32_from_bf16(static_cast<uint16_t>(i ? pair >> 16 : pair & 0xffffu));
}

static inline void evaluate_product(void *const data[32], unsigned mask)
{
    if (mask != 0xffffffffu)
        die("cuda_multiply_fragments: lanes %08x came, all have to", mask);
    product *const *lane = reinterpret_cast<product *const *>(data);
    float a[16][16], b[8][16];
    for (int l = 0; l < 32; l++) {
        int g = l / 4, t = l % 4;
        for (int e = 0; e < 2; e++) {
            for (int i = 0; i < 4; i++)
                a[g + i % 2 * 8][2 * t + i / 2 * 8 + e] = half_of(lane[l]->a[i], e);
            for (int i = 0; i < 2; i++)
                b[g][2 * t + i * 8 + e] = half_of(lane[l]->b[i], e);
        }
    }
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) {
            int row = l / 4 + i / 2 * 8, column = 2 * (l % 4) + i % 2;
            float sum = 0;
            for (int k = 0; k < 16; k++)
                sum += a[row][k] * b[column][k];
            lane[l]->c[i] += sum;
        }
}
} // namespace cuda_emulation

static inline void cuda_load_matrices(unsigned fragment[4], const void *row)
{
    cuda_emulation::matrices m = {static_cast<const uint16_t *>(row), fragment, false};
    cuda_emulation::wait_for_lanes(0xffffffffu, &m, cuda_emulation::evaluate_load, "cuda_load_matrices");
}

static inline void cuda_load_matrices_transposed(unsigned fragment[4], const void *row)
{
    cuda_emulation::matrices m = {static_cast<const uint16_t *>(row), fragment, true};
    cuda_emulation::wait_for_lanes(0xffffffffu, &m, cuda_emulation::evaluate_load, "cuda_load_matrices");
}

static inline void cuda_multiply_fragments(float c[4], const unsigned a[4], const unsigned b[2])
{
    cuda_emulation::product p = {c, a, b};
    cuda_emulation::wait_for_lanes(0xffffffffu, &p, cuda_emulation::evaluate_product, "cuda_multiply_fragments");
}

#endif
