/* cpu.h: private to kernels/cpu: backend, stream, scratch memory, and the ops that cpu.c puts into the table.
 *
 * An op begins with `if (!cpu_begin(s)) return;`. Scratch memory comes from the stream's arena by cpu_scratch() and is valid
 * until the op returns; take it outside of parallel regions. The arena grows to what the largest op needs and then stays,
 * so the steady state allocates nothing. */
#ifndef OMNID_KERNELS_CPU_H
#define OMNID_KERNELS_CPU_H

#include "kernels/check.h"
#include "kernels/kernels.h"

#ifdef _OPENMP
#include <omp.h>
#endif

struct kernels_backend {
    int n_threads; /* of a parallel region; cpu_begin makes it OpenMP's number for the calling thread */
    void *dnnl;    /* engine and caches of dnnl_glue.c; set by cpu_dnnl_open */
};

typedef struct cpu_block cpu_block;

struct cpu_stream {
    kernels_stream base;
    cpu_block *blocks; /* newest first; more than one only inside the op that outgrew the arena */
    size_t used;       /* bytes of the newest block */
};

/* False when the stream has failed: the op does nothing. Otherwise empties the arena. */
bool cpu_begin(kernels_stream *s);
/* size bytes, 64-byte aligned, not cleared. NULL: the stream has failed with OMNID_NOMEM, the op returns. */
void *cpu_scratch(kernels_stream *s, size_t size);
/* What was taken after the mark may be taken again: for ops that take the same piece many times. Until the arena has settled,
 * while it has more than one block, nothing is given back. */
size_t cpu_scratch_mark(const kernels_stream *s);
void cpu_scratch_rewind(kernels_stream *s, size_t mark);
/* Threads for `work` elements of a cheap loop: 1 below some ten thousands, else all; no number between, because libgomp
 * ends the threads a smaller team leaves over and the next region would start them again. */
int cpu_threads(const kernels_stream *s, int64_t work);
/* Number of the calling thread in its parallel region. */
static inline int cpu_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* ---- dnnl_glue.c ---- */
omnid_status cpu_dnnl_open(kernels_backend *b, omnid_error *err);
void cpu_dnnl_close(kernels_backend *b); /* b->dnnl may be NULL */
kernels_precision cpu_native_precision(kernels_backend *b);

/* ---- linear.c ---- */
omnid_status cpu_pack(kernels_backend *b, kernels_weight **out, const kernels_part *parts, int n_parts, int64_t k,
                      kernels_precision precision, omnid_error *err);
void cpu_weight_free(kernels_backend *b, kernels_weight **w);
size_t cpu_weight_bytes(const kernels_weight *w);
void cpu_linear(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w, const kernels_epilogue *e);

/* ---- attend.c, score.c, encoder_attention.c ---- */
void cpu_attend(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *a);
void cpu_score(kernels_stream *s, const tensor *lse, const kernels_attention *a, int64_t max_keys);
void cpu_encoder_attention(kernels_stream *s, tensor *y, const tensor *qkv, int n_heads, int head_dim,
                           const int32_t *spans, int n_spans, tensor *saliency);

/* ---- one op a file ---- */
void cpu_rmsnorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps);
void cpu_layernorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, const tensor *b, float eps);
void cpu_swiglu(kernels_stream *s, tensor *y, const tensor *x);
void cpu_add(kernels_stream *s, tensor *y, const tensor *x);
void cpu_convert(kernels_stream *s, tensor *y, const tensor *x);
void cpu_embed(kernels_stream *s, tensor *y, const tensor *table, const tensor *ids);
void cpu_gather_rows(kernels_stream *s, tensor *y, const tensor *x, const tensor *rows);
void cpu_patchify(kernels_stream *s, tensor *y, const tensor *frames, const tensor *order, const float mean[3],
                  const float std[3]);
void cpu_im2col3(kernels_stream *s, tensor *y, const tensor *x, int stride);
void cpu_pool2(kernels_stream *s, tensor *y, const tensor *x);
void cpu_rotate(kernels_stream *s, tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim);
void cpu_similarity(kernels_stream *s, tensor *out, const tensor *a, const tensor *b);
void cpu_keep(kernels_stream *s, tensor *kept, const tensor *score, int64_t k);
void cpu_rotate_append(kernels_stream *s, const kernels_attention *a, const tensor *qkv, const tensor *cos,
                       const tensor *sin, const tensor *key_table);
void cpu_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys);
void cpu_sample(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen, const kernels_sampling *p,
                double u);

/* ---- order.c: keep, select and sample order 64-bit keys: a float's order above, the place below ---- */
/* The k-th smallest (1 <= k <= n) of n distinct keys; reorders and overwrites them. O(n) whatever the keys are. */
uint64_t cpu_kth_smallest(uint64_t *keys, int64_t n, int64_t k);
/* Ascending, in place, O(n log n) whatever the keys are. */
void cpu_sort_keys(uint64_t *keys, int64_t n);

#endif
