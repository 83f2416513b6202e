/* panel.c: panel_body.h for AVX-512 (f32 and bf16), AVX2 and any machine, and the choice among them. */
#include "kernels/cpu/cpu_math.h"
#include "kernels/cpu/panel.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* The loops are written with the compiler's vectors; GCC says that passing the wide ones by value depends on the target,
 * which matters to functions that are called, and these are all inlined. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

typedef int32_t panel_word __attribute__((may_alias));

/* 2^x = 2^n 2^f, n the nearest integer, |f| <= 0.5: the degree-6 polynomial of Cephes' exp2f, relative error below 2e-7.
 * POLY is 2^f for any vector type; n comes from adding 1.5 · 2^23, which leaves it in the low bits. */
#define PANEL_MAGIC 0x1.8p23f
#define PANEL_POLY(f)                                                                                                  \
    ((((((1.535336188319500e-4f * (f) + 1.339887440266574e-3f) * (f) + 9.618437357674640e-3f) * (f) +                  \
        5.550332471162809e-2f) *                                                                                       \
           (f) +                                                                                                       \
       2.402264791363012e-1f) *                                                                                        \
          (f) +                                                                                                        \
      6.931472028550421e-1f) *                                                                                         \
         (f) +                                                                                                         \
     1.0f)

/* One number at a time: columns first .. width - 1, dimensions from d on. */
static void panel_gather_rest(float *to, int width, const float *const *from, int first, int n, int d, int head_dim)
{
    for (int c = first; c < width; c++)
        for (int i = d; i < head_dim; i++)
            to[(int64_t)i * width + c] = c < n ? from[c][i] : 0.0f;
}

static void panel_scatter_rest(float *const *to, const float *from, int width, const float *scale, int first, int n,
                               int d, int head_dim)
{
    for (int c = first; c < n; c++)
        for (int i = d; i < head_dim; i++)
            to[c][i] = from[(int64_t)i * width + c] * scale[c];
}

static void panel_gather_any(float *to, int width, const float *const *from, int n, int head_dim)
{
    panel_gather_rest(to, width, from, 0, n, 0, head_dim);
}

static void panel_scatter_any(float *const *to, const float *from, int width, const float *scale, int n, int head_dim)
{
    panel_scatter_rest(to, from, width, scale, 0, n, 0, head_dim);
}

#if defined(__x86_64__)

#define PANEL_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

/* 16 rows of 16 numbers become its columns: pairs of rows, of pairs, of quarters, of halves change places. */
static inline __attribute__((always_inline)) PANEL_AVX512 void panel_transpose(__m512 r[16])
{
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_f32x4(r[i + j], r[i + j + 4], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        r[j] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0xdd);
    }
}

static PANEL_AVX512 void panel_gather_avx512(float *to, int width, const float *const *from, int n, int head_dim)
{
    int whole = head_dim / 16 * 16;
    for (int c = 0; c < width; c += 16)
        for (int d = 0; d < whole; d += 16) {
            __m512 r[16];
            for (int i = 0; i < 16; i++)
                r[i] = c + i < n ? _mm512_loadu_ps(from[c + i] + d) : _mm512_setzero_ps();
            panel_transpose(r);
            for (int i = 0; i < 16; i++)
                _mm512_store_ps(to + (int64_t)(d + i) * width + c, r[i]);
        }
    panel_gather_rest(to, width, from, 0, n, whole, head_dim);
}

static PANEL_AVX512 void panel_scatter_avx512(float *const *to, const float *from, int width, const float *scale, int n,
                                              int head_dim)
{
    int whole = head_dim / 16 * 16;
    for (int c = 0; c < n; c += 16)
        for (int d = 0; d < whole; d += 16) {
            __m512 r[16], factor = _mm512_loadu_ps(scale + c);
            for (int i = 0; i < 16; i++)
                r[i] = _mm512_mul_ps(_mm512_load_ps(from + (int64_t)(d + i) * width + c), factor);
            panel_transpose(r);
            for (int i = 0; i < 16 && c + i < n; i++)
                _mm512_storeu_ps(to[c + i] + d, r[i]);
        }
    panel_scatter_rest(to, from, width, scale, 0, n, whole, head_dim);
}

static inline __attribute__((always_inline, target("avx512f"))) __m512 panel_exp2_avx512(__m512 x)
{
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = x - n;
    return _mm512_scalef_ps(PANEL_POLY(f), n); /* below 2^-149: 0 */
}

#define PANEL(name)        panel_##name##_avx512
#define PANEL_NAME         "avx512"
#define PANEL_TARGET       PANEL_AVX512
#define PANEL_BYTES        64
#define PANEL_ROWS         8
#define PANEL_FMA(c, a, b) ((c) + (a) * (b))
#define PANEL_MAX(a, b)    ((VEC)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define PANEL_EXP2(x)      ((VEC)panel_exp2_avx512((__m512)(x)))
#define PANEL_PAIRS        0
#define PANEL_USABLE                                                                                                   \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&  \
     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
#define PANEL_GATHER  panel_gather_avx512
#define PANEL_SCATTER panel_scatter_avx512
#include "kernels/cpu/panel_body.h"

#define PANEL(name)        panel_##name##_avx512bf16
#define PANEL_NAME         "avx512bf16"
#define PANEL_TARGET       __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#define PANEL_BYTES        64
#define PANEL_ROWS         8
#define PANEL_FMA(c, a, b) ((VEC)_mm512_dpbf16_ps((__m512)(c), (__m512bh)(__m512i)(a), (__m512bh)(__m512i)(b)))
#define PANEL_MAX(a, b)    ((VEC)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define PANEL_EXP2(x)      ((VEC)panel_exp2_avx512((__m512)(x)))
#define PANEL_PAIRS        1
#define PANEL_USABLE       (panel_usable_avx512() && __builtin_cpu_supports("avx512bf16"))
#define PANEL_GATHER       panel_gather_avx512
#define PANEL_SCATTER      panel_scatter_avx512
#include "kernels/cpu/panel_body.h"

static inline __attribute__((always_inline, target("avx2,fma"))) __m256 panel_exp2_avx2(__m256 x)
{
    __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(-126.0f), _CMP_LT_OQ);
    __m256 shifted = x + PANEL_MAGIC, f = x - (shifted - PANEL_MAGIC);
    __m256i e = _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23), _mm256_set1_epi32(0x3f800000));
    return _mm256_andnot_ps(low, PANEL_POLY(f) * _mm256_castsi256_ps(e));
}

#define PANEL(name)        panel_##name##_avx2
#define PANEL_NAME         "avx2"
#define PANEL_TARGET       __attribute__((target("avx2,fma")))
#define PANEL_BYTES        32
#define PANEL_ROWS         4
#define PANEL_FMA(c, a, b) ((c) + (a) * (b))
#define PANEL_MAX(a, b)    ((VEC)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define PANEL_EXP2(x)      ((VEC)panel_exp2_avx2((__m256)(x)))
#define PANEL_PAIRS        0
#define PANEL_USABLE       (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define PANEL_GATHER       panel_gather_any
#define PANEL_SCATTER      panel_scatter_any
#include "kernels/cpu/panel_body.h"

#endif

/* Any machine: 16-byte vectors (NEON on arm64, SSE2 on x86-64). */
typedef float panel_f4 __attribute__((vector_size(16)));
typedef int32_t panel_i4 __attribute__((vector_size(16)));
typedef uint32_t panel_u4 __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) panel_f4 panel_max_any(panel_f4 a, panel_f4 b)
{
    panel_i4 more = a > b;
    return (panel_f4)((more & (panel_i4)a) | (~more & (panel_i4)b));
}

static inline __attribute__((always_inline)) panel_f4 panel_exp2_any(panel_f4 x)
{
    panel_i4 seen = x >= -126.0f;
    panel_f4 shifted = x + PANEL_MAGIC, f = x - (shifted - PANEL_MAGIC);
    panel_f4 y = PANEL_POLY(f) * (panel_f4)(((panel_u4)shifted << 23) + 0x3f800000u);
    return (panel_f4)(seen & (panel_i4)y);
}

/* The sum of two bf16 products, as the bf16 instructions make it. */
static inline __attribute__((always_inline)) panel_f4 panel_pair_any(panel_f4 c, panel_f4 a, panel_f4 b)
{
    panel_u4 x = (panel_u4)a, y = (panel_u4)b;
    c = c + (panel_f4)(x & ~0xffffu) * (panel_f4)(y & ~0xffffu);
    return c + (panel_f4)(x << 16) * (panel_f4)(y << 16);
}

#if defined(__aarch64__)
#define PANEL_ROWS_ANY 8 /* 32 registers */
#else
#define PANEL_ROWS_ANY 4
#endif

#define PANEL(name) panel_##name##_any
#define PANEL_NAME  "any"
#define PANEL_TARGET
#define PANEL_BYTES        16
#define PANEL_ROWS         PANEL_ROWS_ANY
#define PANEL_FMA(c, a, b) ((c) + (a) * (b))
#define PANEL_MAX(a, b)    ((VEC)panel_max_any((panel_f4)(a), (panel_f4)(b)))
#define PANEL_EXP2(x)      ((VEC)panel_exp2_any((panel_f4)(x)))
#define PANEL_PAIRS        0
#define PANEL_USABLE       true
#define PANEL_GATHER       panel_gather_any
#define PANEL_SCATTER      panel_scatter_any
#include "kernels/cpu/panel_body.h"

/* The bf16 loops without bf16 instructions: never chosen; tests compare it, since few machines have the instructions. */
#define PANEL(name) panel_##name##_any_pairs
#define PANEL_NAME  "any pairs"
#define PANEL_TARGET
#define PANEL_BYTES        16
#define PANEL_ROWS         4
#define PANEL_FMA(c, a, b) ((VEC)panel_pair_any((panel_f4)(c), (panel_f4)(a), (panel_f4)(b)))
#define PANEL_MAX(a, b)    ((VEC)panel_max_any((panel_f4)(a), (panel_f4)(b)))
#define PANEL_EXP2(x)      ((VEC)panel_exp2_any((panel_f4)(x)))
#define PANEL_PAIRS        1
#define PANEL_USABLE       true
#define PANEL_GATHER       panel_gather_any
#define PANEL_SCATTER      panel_scatter_any
#include "kernels/cpu/panel_body.h"

const panel_ops *const panel_all[] = {
#if defined(__x86_64__)
    &panel_ops_avx512bf16, &panel_ops_avx512,    &panel_ops_avx2,
#endif
    &panel_ops_any,        &panel_ops_any_pairs, NULL,
};

const panel_ops *panel_choose(bool pairs)
{
    for (const panel_ops *const *ops = panel_all; *ops; ops++)
        if ((*ops)->pairs == pairs && *ops != &panel_ops_any_pairs && (*ops)->usable())
            return *ops;
    return NULL;
}

const panel_ops *panel_for(kernels_dtype dtype)
{
    const panel_ops *pairs = dtype == KERNELS_BF16 ? panel_choose(true) : NULL;
    return pairs ? pairs : panel_choose(false);
}

size_t panel_values_size(int head_dim)
{
    return (size_t)PANEL_KEYS * (size_t)((head_dim + PANEL_PACK - 1) / PANEL_PACK * PANEL_PACK);
}

void panel_pack_f32(float *to, const float *row, int i, int n, int head_dim)
{
    int d = 0;
    for (; d + PANEL_PACK <= head_dim; d += PANEL_PACK)
        memcpy(to + (int64_t)d * n + i * PANEL_PACK, row + d, PANEL_PACK * sizeof *to);
    for (int j = 0; d + j < head_dim; j++)
        to[(int64_t)d * n + i * PANEL_PACK + j] = row[d + j];
}

void panel_pack_bf16(float *to, const uint16_t *row, int i, int n, int head_dim)
{
    for (int d = 0; d < head_dim; d += PANEL_PACK)
        for (int j = 0; j < PANEL_PACK && d + j < head_dim; j++)
            to[(int64_t)d * n + i * PANEL_PACK + j] = f32_from_bf16(row[d + j]);
}

void panel_pack_pairs(float *to, const uint16_t *lo, const uint16_t *hi, int i, int n, int head_dim)
{
    int n_pairs = (n + 1) / 2;
    for (int d = 0; d < head_dim; d += PANEL_PACK)
        for (int j = 0; j < PANEL_PACK && d + j < head_dim; j++)
            to[(int64_t)d * n_pairs + i / 2 * PANEL_PACK + j] =
                number_from_bits(lo[d + j] | (hi ? (uint32_t)hi[d + j] << 16 : 0));
}
