/* device_inline.h: all inline PTX and all shared memory of the backend, behind functions that the emulation has a twin of
 * (tests/cuda_on_cpu/include/device_inline.h). A .cu file holds no asm and no __shared__ of its own. */
#ifndef OMNID_CUDA_DEVICE_INLINE_H
#define OMNID_CUDA_DEVICE_INLINE_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>

extern __shared__ __align__(128) unsigned char cuda_shared_memory[];

/* Hands out pieces of the launch's shared memory one after another, each from a multiple of 16 bytes. Every thread of the
 * block takes the same pieces in the same order. Contents are undefined at first. */
struct cuda_carve {
    size_t used = 0;

    template <typename T> __device__ T *take(int n)
    {
        T *piece = reinterpret_cast<T *>(cuda_shared_memory + used);
        used += (n * sizeof(T) + 15) / 16 * 16;
        return piece;
    }
};

static __device__ __forceinline__ unsigned cuda_shared_address(const void *shared)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

/* ---- stores of 16 and 8 bytes to device memory, aligned to that: the compiler makes single ones of a vector's ---- */

static __device__ __forceinline__ void cuda_store_words(void *to, unsigned a, unsigned b, unsigned c, unsigned d)
{
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};\n" ::"l"(__cvta_generic_to_global(to)), "r"(a), "r"(b),
                 "r"(c), "r"(d)
                 : "memory");
}

static __device__ __forceinline__ void cuda_store_words(void *to, unsigned a, unsigned b)
{
    asm volatile("st.global.v2.u32 [%0], {%1, %2};\n" ::"l"(__cvta_generic_to_global(to)), "r"(a), "r"(b) : "memory");
}

/* ---- loads of 16 bytes of device memory, aligned to that ---- */

struct alignas(16) cuda_words {
    unsigned at[4];
};

/* For what a kernel reads once and nobody writes meanwhile: weights. They leave the L1 to what is read again. */
static __device__ __forceinline__ cuda_words cuda_load_once(const void *from)
{
    cuda_words words;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(words.at[0]), "=r"(words.at[1]), "=r"(words.at[2]), "=r"(words.at[3])
                 : "l"(__cvta_generic_to_global(from)));
    return words;
}

/* ---- asynchronous copies into shared memory ---- */

/* 16 bytes from device memory to shared memory, both 16-byte aligned; zeros when not valid (from is not read then). Done
 * after the group it is committed with has been waited for, and seen by other threads after a barrier behind that. */
static __device__ __forceinline__ void cuda_copy_async(void *shared, const void *from, bool valid)
{
    int size = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(cuda_shared_address(shared)), "l"(from),
                 "r"(size)
                 : "memory");
}

static __device__ __forceinline__ void cuda_copy_commit()
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}

/* Waits until at most N of the groups committed last are not done. */
template <int N> static __device__ __forceinline__ void cuda_copy_wait()
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

/* ---- matrix fragments of one warp: all 32 lanes take part ---- */

/* Four 8x8 matrices of 16-bit numbers: lane l gives the address (in shared memory, 16-byte aligned) of row l % 8 of matrix
 * l / 8; fragment i holds elements 2 * (lane % 4) and the next of row lane / 4 of matrix i. */
static __device__ __forceinline__ void cuda_load_matrices(unsigned fragment[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(cuda_shared_address(row))
                 : "memory");
}

/* The same with each matrix transposed: rows 2 * (lane % 4) and the next of column lane / 4. */
static __device__ __forceinline__ void cuda_load_matrices_transposed(unsigned fragment[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(cuda_shared_address(row))
                 : "memory");
}

/* c [16][8] += a [16][16] b [16][8], bf16 in, float32 sums. With g = lane / 4, t = lane % 4:
 *   a: (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..)     two columns each
 *   b: (2t.., g), (2t + 8.., g)                                       two rows each
 *   c: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1) */
static __device__ __forceinline__ void cuda_multiply_fragments(float c[4], const unsigned a[4], const unsigned b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif
