/* check.h: whether an op's tensors fit together; the same answer and the same sentence from every backend.
 *
 * Each returns false when the stream has failed already, or after failing it with a sentence that names the op, the value
 * wanted and the value found. They look at shapes and types only: contents may lie in a device's memory. */
#ifndef OMNID_KERNELS_CHECK_H
#define OMNID_KERNELS_CHECK_H

#include "kernels/kernels.h"

/* Elements of a row. */
static inline int64_t tensor_cols(const tensor *t)
{
    return t->dim[1] * t->dim[2] * t->dim[3];
}

/* n: output features, k: input features, precision: of the weight. */
bool check_linear(kernels_stream *s, const tensor *y, const tensor *x, int64_t n, int64_t k,
                  kernels_precision precision, const kernels_epilogue *e);
/* rmsnorm (b NULL) and layernorm. */
bool check_norm(kernels_stream *s, const char *op, const tensor *y, const tensor *x, const tensor *w, const tensor *b);
bool check_swiglu(kernels_stream *s, const tensor *y, const tensor *x);
bool check_add(kernels_stream *s, const tensor *y, const tensor *x);
bool check_convert(kernels_stream *s, const tensor *y, const tensor *x);
bool check_embed(kernels_stream *s, const tensor *y, const tensor *table, const tensor *ids);
bool check_gather_rows(kernels_stream *s, const tensor *y, const tensor *x, const tensor *rows);
bool check_patchify(kernels_stream *s, const tensor *y, const tensor *frames, const tensor *order);
bool check_im2col3(kernels_stream *s, const tensor *y, const tensor *x, int stride);
bool check_pool2(kernels_stream *s, const tensor *y, const tensor *x);
bool check_rotate(kernels_stream *s, const tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim);
bool check_encoder_attention(kernels_stream *s, const tensor *y, const tensor *qkv, int n_heads, int head_dim,
                             const int32_t *spans, int n_spans, const tensor *saliency);
bool check_similarity(kernels_stream *s, const tensor *out, const tensor *a, const tensor *b);
bool check_keep(kernels_stream *s, const tensor *kept, const tensor *score, int64_t k);
bool check_rotate_append(kernels_stream *s, const kernels_attention *a, const tensor *qkv, const tensor *cos,
                         const tensor *sin, const tensor *key_table);
/* out: of attend or NULL; lse: may be NULL for attend. */
bool check_attention(kernels_stream *s, const char *op, const tensor *out, const tensor *lse,
                     const kernels_attention *a);
/* lse, a and max_keys of score. */
bool check_score(kernels_stream *s, const tensor *lse, const kernels_attention *a, int64_t max_keys);

/* Whether what descriptors say fits too, after the checks above. They read descriptors and so serve host backends only. */
bool check_append_descriptors(kernels_stream *s, const kernels_attention *a, const tensor *qkv);
bool check_attention_descriptors(kernels_stream *s, const char *op, const tensor *out, const tensor *lse,
                                 const kernels_attention *a);
bool check_score_descriptor(kernels_stream *s, const kernels_attention *a, int64_t max_keys);
bool check_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys);
bool check_sample(kernels_stream *s, const tensor *logits, const tensor *seen, const kernels_sampling *p, double u);

#endif
