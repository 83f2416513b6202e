/* check.c: shapes and types of every op, looked at once for all backends. */
#include "kernels/check.h"

/* Fails the stream with OMNID_SHAPE and the sentence unless the condition holds. */
#define WANT(s, condition, ...)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            kernels_stream_fail(s, OMNID_SHAPE, __VA_ARGS__);                                                          \
            return false;                                                                                              \
        }                                                                                                              \
    } while (0)

typedef long long big; /* int64_t for printf */

static bool check_ready(const kernels_stream *s)
{
    return s->error.status == OMNID_OK;
}

/* t is [rows][cols] (cols 0: any), its rows do not overlap. */
static bool check_shape(kernels_stream *s, const char *op, const char *name, const tensor *t, int64_t rows,
                        int64_t cols)
{
    WANT(s, t->dim[0] == rows && tensor_cols(t) == cols, "%s: %s is [%lld][%lld], want [%lld][%lld]", op, name,
         (big)t->dim[0], (big)tensor_cols(t), (big)rows, (big)cols);
    WANT(s, rows < 2 || t->stride >= cols, "%s: rows of %s are %lld apart, want %lld or more", op, name, (big)t->stride,
         (big)cols);
    return true;
}

static bool check_vector(kernels_stream *s, const char *op, const char *name, const tensor *t, int64_t n)
{
    WANT(s, t->dim[0] == n && tensor_cols(t) == 1 && (n < 2 || t->stride == 1),
         "%s: %s is [%lld][%lld] with stride %lld, want a dense vector of %lld", op, name, (big)t->dim[0],
         (big)tensor_cols(t), (big)t->stride, (big)n);
    return true;
}

static bool check_dtype(kernels_stream *s, const char *op, const char *name, const tensor *t, kernels_dtype want)
{
    WANT(s, t->dtype == want, "%s: %s is %s, want %s", op, name, kernels_dtype_name(t->dtype),
         kernels_dtype_name(want));
    return true;
}

static bool check_f32_or_bf16(kernels_stream *s, const char *op, const char *name, const tensor *t)
{
    WANT(s, t->dtype == KERNELS_F32 || t->dtype == KERNELS_BF16, "%s: %s is %s, want f32 or bf16", op, name,
         kernels_dtype_name(t->dtype));
    return true;
}

bool check_linear(kernels_stream *s, const tensor *y, const tensor *x, int64_t n, int64_t k,
                  kernels_precision precision, const kernels_epilogue *e)
{
    const tensor *r = e ? e->residual : NULL;
    return check_ready(s) && check_shape(s, "linear", "x", x, x->dim[0], k) &&
           check_shape(s, "linear", "y", y, x->dim[0], n) && check_f32_or_bf16(s, "linear", "y", y) &&
           check_dtype(s, "linear", "x", x, precision == KERNELS_PLAIN_BF16 ? KERNELS_BF16 : KERNELS_F32) &&
           (!r || (check_shape(s, "linear", "residual", r, x->dim[0], n) &&
                   check_dtype(s, "linear", "residual", r, KERNELS_F32)));
}

bool check_norm(kernels_stream *s, const char *op, const tensor *y, const tensor *x, const tensor *w, const tensor *b)
{
    int64_t d = tensor_cols(x);
    return check_ready(s) && check_shape(s, op, "x", x, x->dim[0], d) && check_shape(s, op, "y", y, x->dim[0], d) &&
           check_dtype(s, op, "x", x, KERNELS_F32) && check_f32_or_bf16(s, op, "y", y) &&
           check_vector(s, op, "w", w, d) && check_dtype(s, op, "w", w, KERNELS_F32) &&
           (!b || (check_vector(s, op, "b", b, d) && check_dtype(s, op, "b", b, KERNELS_F32)));
}

bool check_swiglu(kernels_stream *s, const tensor *y, const tensor *x)
{
    return check_ready(s) && check_shape(s, "swiglu", "x", x, y->dim[0], 2 * tensor_cols(y)) &&
           check_shape(s, "swiglu", "y", y, y->dim[0], tensor_cols(y)) && check_f32_or_bf16(s, "swiglu", "x", x) &&
           check_f32_or_bf16(s, "swiglu", "y", y);
}

bool check_add(kernels_stream *s, const tensor *y, const tensor *x)
{
    return check_ready(s) && check_shape(s, "add", "x", x, y->dim[0], tensor_cols(y)) &&
           check_shape(s, "add", "y", y, y->dim[0], tensor_cols(y)) && check_dtype(s, "add", "y", y, KERNELS_F32) &&
           check_dtype(s, "add", "x", x, KERNELS_F32);
}

bool check_convert(kernels_stream *s, const tensor *y, const tensor *x)
{
    return check_ready(s) && check_shape(s, "convert", "x", x, y->dim[0], tensor_cols(y)) &&
           check_shape(s, "convert", "y", y, y->dim[0], tensor_cols(y)) && check_f32_or_bf16(s, "convert", "x", x) &&
           check_f32_or_bf16(s, "convert", "y", y);
}

bool check_embed(kernels_stream *s, const tensor *y, const tensor *table, const tensor *ids)
{
    if (!check_ready(s))
        return false;
    WANT(s, table->dtype == KERNELS_F32 || table->dtype == KERNELS_BF16 || table->dtype == KERNELS_F16,
         "embed: table is %s, want f32, bf16 or f16", kernels_dtype_name(table->dtype));
    return check_vector(s, "embed", "ids", ids, ids->dim[0]) && check_dtype(s, "embed", "ids", ids, KERNELS_I32) &&
           check_shape(s, "embed", "y", y, ids->dim[0], tensor_cols(table)) &&
           check_dtype(s, "embed", "y", y, KERNELS_F32);
}

bool check_gather_rows(kernels_stream *s, const tensor *y, const tensor *x, const tensor *rows)
{
    return check_ready(s) && check_vector(s, "gather_rows", "rows", rows, rows->dim[0]) &&
           check_dtype(s, "gather_rows", "rows", rows, KERNELS_I32) &&
           check_shape(s, "gather_rows", "y", y, rows->dim[0], tensor_cols(x)) &&
           check_dtype(s, "gather_rows", "y", y, x->dtype);
}

bool check_patchify(kernels_stream *s, const tensor *y, const tensor *frames, const tensor *order)
{
    if (!check_ready(s))
        return false;
    const int64_t *d = frames->dim;
    WANT(s, d[0] == 2 && d[1] % 28 == 0 && d[2] % 28 == 0 && d[3] == 3 && frames->dtype == KERNELS_U8,
         "patchify: frames are [%lld][%lld][%lld][%lld] of %s, want [2][28 i][28 j][3] of u8", (big)d[0], (big)d[1],
         (big)d[2], (big)d[3], kernels_dtype_name(frames->dtype));
    WANT(s, frames->stride >= tensor_cols(frames), "patchify: frames are %lld bytes apart, want %lld or more",
         (big)frames->stride, (big)tensor_cols(frames));
    return check_vector(s, "patchify", "order", order, order->dim[0]) &&
           check_dtype(s, "patchify", "order", order, KERNELS_I32) &&
           check_shape(s, "patchify", "y", y, order->dim[0] * 4, 1176) && check_f32_or_bf16(s, "patchify", "y", y);
}

bool check_im2col3(kernels_stream *s, const tensor *y, const tensor *x, int stride)
{
    if (!check_ready(s))
        return false;
    WANT(s, stride > 0, "im2col3: stride is %d, want 1 or more", stride);
    int64_t n_out = x->dim[0] > 0 ? (x->dim[0] - 1) / stride + 1 : 0;
    return check_shape(s, "im2col3", "x", x, x->dim[0], tensor_cols(x)) &&
           check_dtype(s, "im2col3", "x", x, KERNELS_F32) &&
           check_shape(s, "im2col3", "y", y, n_out, 3 * tensor_cols(x)) && check_f32_or_bf16(s, "im2col3", "y", y);
}

bool check_pool2(kernels_stream *s, const tensor *y, const tensor *x)
{
    return check_ready(s) && check_shape(s, "pool2", "x", x, x->dim[0], tensor_cols(x)) &&
           check_shape(s, "pool2", "y", y, x->dim[0] / 2, tensor_cols(x)) &&
           check_dtype(s, "pool2", "x", x, KERNELS_F32) && check_dtype(s, "pool2", "y", y, KERNELS_F32);
}

/* cos and sin: F32 [rows][head_dim / 2]; head_dim even. */
static bool check_angles(kernels_stream *s, const char *op, const tensor *cos, const tensor *sin, int64_t rows,
                         int head_dim)
{
    WANT(s, head_dim > 0 && head_dim % 2 == 0, "%s: head_dim is %d, want an even number", op, head_dim);
    return check_shape(s, op, "cos", cos, rows, head_dim / 2) && check_shape(s, op, "sin", sin, rows, head_dim / 2) &&
           check_dtype(s, op, "cos", cos, KERNELS_F32) && check_dtype(s, op, "sin", sin, KERNELS_F32);
}

bool check_rotate(kernels_stream *s, const tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim)
{
    if (!check_ready(s) || !check_angles(s, "rotate", cos, sin, x->dim[0], head_dim))
        return false;
    WANT(s, tensor_cols(x) >= (int64_t)n_heads * head_dim, "rotate: rows have %lld columns, want %lld or more",
         (big)tensor_cols(x), (big)n_heads * head_dim);
    return check_f32_or_bf16(s, "rotate", "x", x);
}

bool check_encoder_attention(kernels_stream *s, const tensor *y, const tensor *qkv, int n_heads, int head_dim,
                             const int32_t *spans, int n_spans, const tensor *saliency)
{
    const char *op = "encoder_attention";
    int64_t n = qkv->dim[0], d = (int64_t)n_heads * head_dim;
    if (!check_ready(s) || !check_shape(s, op, "qkv", qkv, n, 3 * d) || !check_shape(s, op, "y", y, n, d) ||
        !check_f32_or_bf16(s, op, "qkv", qkv) || !check_dtype(s, op, "y", y, qkv->dtype) ||
        (saliency &&
         !(check_vector(s, op, "saliency", saliency, n) && check_dtype(s, op, "saliency", saliency, KERNELS_F32))))
        return false;
    for (int i = 0; i < n_spans; i++)
        WANT(s, 0 <= spans[i] && spans[i] <= spans[i + 1] && spans[i + 1] <= n, "%s: span %d is rows %d .. %d of %lld",
             op, i, spans[i], spans[i + 1], (big)n);
    return true;
}

bool check_similarity(kernels_stream *s, const tensor *out, const tensor *a, const tensor *b)
{
    return check_ready(s) && check_shape(s, "similarity", "a", a, a->dim[0], tensor_cols(a)) &&
           check_shape(s, "similarity", "b", b, a->dim[0], tensor_cols(a)) &&
           check_dtype(s, "similarity", "a", a, KERNELS_F32) && check_dtype(s, "similarity", "b", b, KERNELS_F32) &&
           check_vector(s, "similarity", "out", out, a->dim[0]) &&
           check_dtype(s, "similarity", "out", out, KERNELS_F32);
}

bool check_keep(kernels_stream *s, const tensor *kept, const tensor *score, int64_t k)
{
    if (!check_ready(s))
        return false;
    WANT(s, k >= 0 && k <= score->dim[0], "keep: %lld of %lld leave", (big)k, (big)score->dim[0]);
    return check_vector(s, "keep", "score", score, score->dim[0]) &&
           check_dtype(s, "keep", "score", score, KERNELS_F32) &&
           check_vector(s, "keep", "kept", kept, score->dim[0] - k) &&
           check_dtype(s, "keep", "kept", kept, KERNELS_I32);
}

bool check_rotate_append(kernels_stream *s, const tensor *q, int64_t max_rows, const kernels_page *page,
                         kernels_dtype dtype, int64_t first, const tensor *qkv, const tensor *cos, const tensor *sin,
                         int n_tables, const tensor *key_table, int n_heads, int n_kv_heads, int head_dim)
{
    const char *op = "rotate_append";
    int64_t m = qkv->dim[0];
    if (!check_ready(s) || !check_angles(s, op, cos, sin, n_tables * m, head_dim))
        return false;
    WANT(s, n_tables >= 1 && m <= max_rows, "%s: %lld rows in %d tables, queries have room for %lld", op, (big)m,
         n_tables, (big)max_rows);
    WANT(s, first >= 0 && first + m <= page->capacity, "%s: rows %lld .. %lld do not fit a page of %d", op, (big)first,
         (big)(first + m), page->capacity);
    WANT(s, dtype == KERNELS_F32 || dtype == KERNELS_BF16, "%s: page is %s, want f32 or bf16", op,
         kernels_dtype_name(dtype));
    return check_shape(s, op, "qkv", qkv, m, (n_heads + 2 * (int64_t)n_kv_heads) * head_dim) &&
           check_dtype(s, op, "qkv", qkv, KERNELS_F32) &&
           check_shape(s, op, "q", q, n_tables * max_rows, (int64_t)n_heads * head_dim) &&
           check_dtype(s, op, "q", q, dtype) &&
           (!key_table || (check_vector(s, op, "key_table", key_table, m) &&
                           check_dtype(s, op, "key_table", key_table, KERNELS_I32)));
}

bool check_attention(kernels_stream *s, const char *op, const tensor *out, const tensor *S, const tensor *lse,
                     const kernels_attention *a)
{
    if (!check_ready(s))
        return false;
    int64_t d = (int64_t)a->n_heads * a->head_dim;
    WANT(s, a->n_kv_heads > 0 && a->n_heads > 0 && a->n_heads % a->n_kv_heads == 0,
         "%s: %d heads do not share %d key heads evenly", op, a->n_heads, a->n_kv_heads);
    WANT(s, a->n_classes == 1 || a->n_classes == KERNELS_N_CLASSES, "%s: %d classes of queries, want 1 or %d", op,
         a->n_classes, KERNELS_N_CLASSES);
    WANT(s, a->dtype == KERNELS_F32 || a->dtype == KERNELS_BF16, "%s: pages are %s, want f32 or bf16", op,
         kernels_dtype_name(a->dtype));
    return check_shape(s, op, "q", a->q, a->n_classes * a->max_rows, d) && check_dtype(s, op, "q", a->q, a->dtype) &&
           (!out || (check_shape(s, op, "out", out, out->dim[0], d) && check_f32_or_bf16(s, op, "out", out))) &&
           (!S || (check_vector(s, op, "S", S, S->dim[0]) && check_dtype(s, op, "S", S, KERNELS_F32))) &&
           (!lse ||
            (check_shape(s, op, "lse", lse, lse->dim[0], a->n_heads) && check_dtype(s, op, "lse", lse, KERNELS_F32)));
}

bool check_attention_counts(kernels_stream *s, const char *op, const tensor *out, const tensor *S, const tensor *lse,
                            const kernels_attention *a)
{
    if (!check_attention(s, op, out, S, lse, a))
        return false;
    const kernels_counts *c = a->counts;
    big n_own = (big)c->own_first + c->n_rows;
    WANT(s,
         c->n_rows >= 0 && c->n_rows <= a->max_rows && (!out || c->n_rows <= out->dim[0]) &&
             (!lse || c->n_rows <= lse->dim[0]),
         "%s: %d query rows, q has room for %lld, out for %lld, lse for %lld", op, c->n_rows, (big)a->max_rows,
         out ? (big)out->dim[0] : (big)c->n_rows, lse ? (big)lse->dim[0] : (big)c->n_rows);
    WANT(s,
         c->n_prefix >= 0 && c->n_keys >= 0 && (c->n_prefix == 0 || a->prefix) &&
             (!a->prefix || c->n_prefix <= a->prefix->capacity),
         "%s: %d rows of the prefix, its page has room for %d, %d keys", op, c->n_prefix,
         a->prefix ? a->prefix->capacity : 0, c->n_keys);
    WANT(s, !a->own || n_own <= a->own->capacity, "%s: %lld rows of the own page, it has room for %d", op, n_own,
         a->own ? a->own->capacity : 0);
    WANT(s, !S || (c->n_score >= 0 && c->n_score <= S->dim[0] && c->first_score_row >= 0),
         "%s: %d keys to score, S has room for %lld; from row %d on", op, c->n_score, S ? (big)S->dim[0] : 0,
         c->first_score_row);
    return true;
}

bool check_select(kernels_stream *s, const tensor *kept, const tensor *S, const kernels_counts *counts)
{
    if (!check_ready(s))
        return false;
    int64_t n = counts->n_score, k = counts->k_leave;
    WANT(s, n >= 0 && k >= 0 && k <= n && S->dim[0] >= n && (!kept || kept->dim[0] >= n - k),
         "select: %lld of %lld leave, S has %lld, kept has room for %lld", (big)k, (big)n, (big)S->dim[0],
         kept ? (big)kept->dim[0] : (big)(n - k));
    return check_vector(s, "select", "S", S, S->dim[0]) && check_dtype(s, "select", "S", S, KERNELS_F32) &&
           (!kept || (check_vector(s, "select", "kept", kept, kept->dim[0]) &&
                      check_dtype(s, "select", "kept", kept, KERNELS_I32)));
}

bool check_sample(kernels_stream *s, const tensor *logits, const tensor *seen, const kernels_sampling *p, double u)
{
    if (!check_ready(s))
        return false;
    if (!(p->temperature >= 0 && p->top_p > 0 && p->top_p <= 1 && p->repetition_penalty > 0 && u >= 0 && u < 1)) {
        kernels_stream_fail(
            s, OMNID_ARGUMENT,
            "sample: temperature %g, top_p %g, repetition_penalty %g, u %g: want >= 0, (0, 1], > 0, [0, 1)",
            (double)p->temperature, (double)p->top_p, (double)p->repetition_penalty, u);
        return false;
    }
    WANT(s, logits->dtype == KERNELS_F32 && logits->dim[0] * tensor_cols(logits) > 0,
         "sample: logits are %lld values of %s, want some of f32", (big)(logits->dim[0] * tensor_cols(logits)),
         kernels_dtype_name(logits->dtype));
    return !seen || (check_vector(s, "sample", "seen", seen, seen->dim[0]) &&
                     check_dtype(s, "sample", "seen", seen, KERNELS_I32));
}
