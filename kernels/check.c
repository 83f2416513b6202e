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
           (precision == KERNELS_INT8
                ? check_f32_or_bf16(s, "linear", "x", x)
                : check_dtype(s, "linear", "x", x, precision == KERNELS_PLAIN_BF16 ? KERNELS_BF16 : KERNELS_F32)) &&
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
    WANT(s,
         table->dtype == KERNELS_F32 || table->dtype == KERNELS_BF16 || table->dtype == KERNELS_F16 ||
             table->dtype == KERNELS_I8,
         "embed: table is %s, want f32, bf16, f16 or i8", kernels_dtype_name(table->dtype));
    WANT(s, table->dtype != KERNELS_I8 || table->stride == kernels_int8_stride(tensor_cols(table)),
         "embed: rows of an i8 table are %lld apart, want %lld", (big)table->stride,
         (big)kernels_int8_stride(tensor_cols(table)));
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

/* What rotate_append, attend and score are told alike. */
static bool check_heads(kernels_stream *s, const char *op, const kernels_attention *a)
{
    if (!check_ready(s))
        return false;
    WANT(s, a->n_kv_heads > 0 && a->n_heads > 0 && a->n_heads % a->n_kv_heads == 0,
         "%s: %d heads do not share %d key heads evenly", op, a->n_heads, a->n_kv_heads);
    WANT(s, a->n_classes == 1 || a->n_classes == KERNELS_N_CLASSES, "%s: %d classes of queries, want 1 or %d", op,
         a->n_classes, KERNELS_N_CLASSES);
    WANT(s, a->dtype == KERNELS_F32 || a->dtype == KERNELS_BF16, "%s: pages are %s, want f32 or bf16", op,
         kernels_dtype_name(a->dtype));
    WANT(s, a->n_sets > 0 && a->max_rows % a->n_sets == 0, "%s: %lld rows in %d sets, want as many in each", op,
         (big)a->max_rows, a->n_sets);
    return check_shape(s, op, "q", a->q, a->n_classes * a->max_rows, (int64_t)a->n_heads * a->head_dim) &&
           check_dtype(s, op, "q", a->q, a->dtype);
}

bool check_rotate_append(kernels_stream *s, const kernels_attention *a, const tensor *qkv, const tensor *cos,
                         const tensor *sin, const tensor *key_table)
{
    const char *op = "rotate_append";
    int64_t m = qkv->dim[0];
    if (!check_heads(s, op, a) || !check_angles(s, op, cos, sin, a->n_classes * m, a->head_dim))
        return false;
    WANT(s, a->n_sets == 1 ? m <= a->max_rows : m == a->max_rows,
         "%s: %lld rows in %d sets, queries have room for %lld", op, (big)m, a->n_sets, (big)a->max_rows);
    return check_shape(s, op, "qkv", qkv, m, (a->n_heads + 2 * (int64_t)a->n_kv_heads) * a->head_dim) &&
           check_dtype(s, op, "qkv", qkv, KERNELS_F32) &&
           (!key_table || (check_vector(s, op, "key_table", key_table, m) &&
                           check_dtype(s, op, "key_table", key_table, KERNELS_I32)));
}

bool check_attention(kernels_stream *s, const char *op, const tensor *out, const tensor *lse,
                     const kernels_attention *a)
{
    if (!check_heads(s, op, a))
        return false;
    WANT(s, a->n_sets == 1 || ((!out || out->dim[0] == a->max_rows) && (!lse || lse->dim[0] == a->max_rows)),
         "%s: out has %lld rows, lse %lld, want %lld in %d sets", op, out ? (big)out->dim[0] : (big)a->max_rows,
         lse ? (big)lse->dim[0] : (big)a->max_rows, (big)a->max_rows, a->n_sets);
    return (!out || (check_shape(s, op, "out", out, out->dim[0], (int64_t)a->n_heads * a->head_dim) &&
                     check_f32_or_bf16(s, op, "out", out))) &&
           (!lse ||
            (check_shape(s, op, "lse", lse, lse->dim[0], a->n_heads) && check_dtype(s, op, "lse", lse, KERNELS_F32)));
}

bool check_score(kernels_stream *s, const tensor *lse, const kernels_attention *a, int64_t max_keys)
{
    if (!check_attention(s, "score", NULL, lse, a))
        return false;
    WANT(s, a->n_sets == 1 && max_keys >= 0, "score: %d sets and %lld keys, want 1 and none or more", a->n_sets,
         (big)max_keys);
    return true;
}

/* Rows of the own page that a set's last query row sees fit the page. */
static bool check_own(kernels_stream *s, const char *op, const kernels_descriptor *d)
{
    big n_own = (big)d->own_first + d->n_rows;
    WANT(s, !d->own.k || n_own <= d->own.capacity, "%s: %lld rows of the own page, it has room for %d", op, n_own,
         d->own.capacity);
    return true;
}

bool check_append_descriptors(kernels_stream *s, const kernels_attention *a, const tensor *qkv)
{
    const char *op = "rotate_append";
    for (int i = 0; i < a->n_sets; i++) {
        const kernels_descriptor *d = &a->descriptors[i];
        big room = a->n_sets > 1 ? a->max_rows / a->n_sets : qkv->dim[0];
        WANT(s, d->n_rows >= 0 && d->n_rows <= room, "%s: %d rows, qkv has %lld", op, d->n_rows, room);
        WANT(s, d->n_rows == 0 || (d->own.k && d->own_first >= 0), "%s: rows from %d on of %s page", op, d->own_first,
             d->own.k ? "the own" : "no");
        if (!check_own(s, op, d))
            return false;
    }
    return true;
}

bool check_attention_descriptors(kernels_stream *s, const char *op, const tensor *out, const tensor *lse,
                                 const kernels_attention *a)
{
    big room = a->max_rows / a->n_sets;
    room = a->n_sets == 1 && out && out->dim[0] < room ? out->dim[0] : room;
    room = a->n_sets == 1 && lse && lse->dim[0] < room ? lse->dim[0] : room;
    for (int i = 0; i < a->n_sets; i++) {
        const kernels_descriptor *d = &a->descriptors[i];
        WANT(s, d->n_rows >= 0 && d->n_rows <= room, "%s: %d query rows, q, out and lse have room for %lld", op,
             d->n_rows, room);
        WANT(s,
             d->n_prefix >= 0 && d->n_keys >= 0 && (d->n_prefix == 0 || d->prefix.k) &&
                 (!d->prefix.k || d->n_prefix <= d->prefix.capacity),
             "%s: %d rows of the prefix, its page has room for %d, %d keys", op, d->n_prefix,
             d->prefix.k ? d->prefix.capacity : 0, d->n_keys);
        if (!check_own(s, op, d))
            return false;
    }
    return true;
}

bool check_score_descriptor(kernels_stream *s, const kernels_attention *a, int64_t max_keys)
{
    const kernels_descriptor *d = a->descriptors;
    WANT(s, d->n_score >= 0 && d->n_score <= max_keys && d->first_score_row >= 0,
         "score: %d keys to score, at most %lld are wanted; from row %d on", d->n_score, (big)max_keys,
         d->first_score_row);
    return true;
}

bool check_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys)
{
    if (!check_ready(s))
        return false;
    WANT(s, d->n_score >= 0 && d->k_leave >= 0 && d->k_leave <= d->n_score && d->n_score <= max_keys,
         "select: %d of %d leave, at most %lld are wanted", d->k_leave, d->n_score, (big)max_keys);
    return true;
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
