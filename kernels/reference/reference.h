/* reference.h: private to kernels/reference: loads, stores and memory of the plain-C backend.
 *
 * Every op here is written to be read: sums in float64, one rounding at the end. Every other backend is compared with
 * these files, never with another backend. */
#ifndef OMNID_KERNELS_REFERENCE_H
#define OMNID_KERNELS_REFERENCE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/check.h"
#include "kernels/kernels.h"
#include "kernels/number.h"

/* Element i of a run of numbers. */
static inline float reference_load(const void *data, kernels_dtype dtype, int64_t i)
{
    switch (dtype) {
    case KERNELS_F32:
        return ((const float *)data)[i];
    case KERNELS_BF16:
        return f32_from_bf16(((const uint16_t *)data)[i]);
    case KERNELS_F16:
        return f32_from_f16(((const uint16_t *)data)[i]);
    case KERNELS_I32:
        return (float)((const int32_t *)data)[i];
    case KERNELS_U8:
        return ((const uint8_t *)data)[i];
    case KERNELS_I8:
        break; /* has scales: int8.h */
    }
    return 0;
}

/* Rounds to float32, then to bf16 where dtype is that. */
static inline void reference_store(void *data, kernels_dtype dtype, int64_t i, double x)
{
    if (dtype == KERNELS_BF16)
        ((uint16_t *)data)[i] = bf16_from_f32((float)x);
    else
        ((float *)data)[i] = (float)x;
}

/* n numbers as float32. */
static inline void reference_load_run(float *to, const void *data, kernels_dtype dtype, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = reference_load(data, dtype, first + i);
}

/* Σ a[i] b[i] in float64; four sums side by side, because one would wait for itself at every step. */
static inline double reference_dot(const float *a, const float *b, int64_t n)
{
    double sum[4] = {0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++)
            sum[j] += (double)a[i + j] * (double)b[i + j];
    for (; i < n; i++)
        sum[0] += (double)a[i] * (double)b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* malloc for n things of `size` bytes; without memory the stream fails and NULL comes back. n = 0 is not a failure. */
static inline void *reference_memory(kernels_stream *s, int64_t n, size_t size)
{
    void *data = calloc(n > 0 ? (size_t)n : 1, size);
    if (!data)
        kernels_stream_fail(s, OMNID_NOMEM, "reference backend: no memory for %lld times %zu bytes", (long long)n,
                            size);
    return data;
}

/* One token to be ranked. Sorted by value, ties by place, smaller first. */
typedef struct {
    uint32_t value; /* number_order of a float */
    int32_t place;
} reference_rank;

void reference_sort(reference_rank *ranks, int64_t n);

/* Keys and values a query row may see, gathered from pages as float32, for one key head. */
typedef struct {
    int64_t n_context; /* prefix and listed rows, seen by every query row */
    int64_t n_own;     /* rows of the own page after them */
    float *k, *v;      /* [n_context + n_own][head_dim] */
    uint8_t *cls;      /* [n_context + n_own] */
} reference_context;

bool reference_context_open(kernels_stream *s, reference_context *c, const kernels_attention *a);
void reference_context_load(reference_context *c, const kernels_attention *a, int kv_head);
void reference_context_close(reference_context *c);
/* The query of a row and head that keys of class cls meet, as float32 [head_dim]. */
void reference_query(float *to, const kernels_attention *a, int64_t row, int head, int cls);

omnid_status reference_pack(kernels_backend *b, kernels_weight **out, const kernels_part *parts, int n_parts, int64_t k,
                            kernels_precision precision, omnid_error *err);
void reference_weight_free(kernels_backend *b, kernels_weight **w);
size_t reference_weight_bytes(const kernels_weight *w);
void reference_linear(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                      const kernels_epilogue *e);
void reference_rmsnorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps);
void reference_layernorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, const tensor *b, float eps);
void reference_swiglu(kernels_stream *s, tensor *y, const tensor *x);
void reference_add(kernels_stream *s, tensor *y, const tensor *x);
void reference_convert(kernels_stream *s, tensor *y, const tensor *x);
void reference_embed(kernels_stream *s, tensor *y, const tensor *table, const tensor *ids);
void reference_gather_rows(kernels_stream *s, tensor *y, const tensor *x, const tensor *rows);
void reference_patchify(kernels_stream *s, tensor *y, const tensor *frames, const tensor *order, const float mean[3],
                        const float std[3]);
void reference_im2col3(kernels_stream *s, tensor *y, const tensor *x, int stride);
void reference_pool2(kernels_stream *s, tensor *y, const tensor *x);
void reference_rotate(kernels_stream *s, tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim);
void reference_encoder_attention(kernels_stream *s, tensor *y, const tensor *qkv, int n_heads, int head_dim,
                                 const int32_t *spans, int n_spans, tensor *saliency);
void reference_similarity(kernels_stream *s, tensor *out, const tensor *a, const tensor *b);
void reference_keep(kernels_stream *s, tensor *kept, const tensor *score, int64_t k);
void reference_rotate_append(kernels_stream *s, const kernels_attention *a, const tensor *qkv, const tensor *cos,
                             const tensor *sin, const tensor *key_table);
void reference_attend(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *a);
void reference_score(kernels_stream *s, const tensor *lse, const kernels_attention *a, int64_t max_keys);
void reference_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys);
void reference_sample(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen,
                      const kernels_sampling *p, double u);

#endif
