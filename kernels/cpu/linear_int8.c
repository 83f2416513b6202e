/* linear_int8.c     y = activation(x Wᵀ + b) + residual with an int8 W
 * W is held in panels that few.c turns into float32 in the cache, whatever the number of rows. Where x is BF16 and has more
 * than NARROW_ROWS rows oneDNN's bf16 instructions are faster: then W becomes bf16 BLOCK features at a time in scratch memory. */
#include "kernels/cpu/linear_int8.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu_math.h"
#include "kernels/cpu/few.h"
#include "kernels/int8.h"

enum { NARROW_ROWS = 32, BLOCK = DNNL_GLUE_ROWS };
_Static_assert(BLOCK % FEW_WIDTH == 0, "a block is whole panels");

struct linear_int8 {
    int64_t n, k, n_panels;
    int8_t *q;       /* [n_panels][k][FEW_WIDTH], zeros past n */
    uint16_t *scale; /* bf16 [n_panels][groups][FEW_WIDTH], zeros past n */
    dnnl_glue_layout *block,
        *last; /* of BLOCK features, or n where that is less; of the last n % BLOCK, NULL for none */
};

static void *int8_memory(size_t size)
{
    return aligned_alloc(64, (size + 63) / 64 * 64);
}

static size_t int8_q_bytes(const linear_int8 *w)
{
    return (size_t)(w->n_panels * w->k) * FEW_WIDTH;
}

static size_t int8_scale_bytes(const linear_int8 *w)
{
    return (size_t)(w->n_panels * int8_groups(w->k)) * FEW_WIDTH * sizeof *w->scale;
}

/* ---- packing ---- */

/* Row i of the stacked parts as a stored row. */
static void int8_row(void *to, const kernels_part *parts, int64_t k, int64_t i)
{
    for (; i >= parts->n; parts++)
        i -= parts->n;
    kernels_int8_rows(to, (const char *)parts->data + (size_t)(i * k) * kernels_dtype_size(parts->dtype), parts->dtype,
                      1, k);
}

/* rows: room for FEW_WIDTH stored rows. */
static void int8_pack_panel(linear_int8 *w, const kernels_part *parts, int64_t p, int8_t *rows)
{
    const int64_t k = w->k, groups = int8_groups(k), stride = kernels_int8_stride(k), first = p * FEW_WIDTH;
    int8_t *q = w->q + first * k;
    uint16_t *scale = w->scale + first * groups;
    memset(rows, 0, (size_t)(FEW_WIDTH * stride));
    for (int64_t c = 0; c < FEW_WIDTH && first + c < w->n; c++)
        int8_row(rows + c * stride, parts, k, first + c);
    for (int64_t d = 0; d < k; d++)
        for (int64_t c = 0; c < FEW_WIDTH; c++)
            q[d * FEW_WIDTH + c] = rows[c * stride + d];
    for (int64_t g = 0; g < groups; g++)
        for (int64_t c = 0; c < FEW_WIDTH; c++)
            memcpy(scale + g * FEW_WIDTH + c, rows + c * stride + kernels_int8_numbers(k) + 2 * g, sizeof *scale);
}

static omnid_status int8_fill(kernels_backend *b, linear_int8 *w, const kernels_part *parts, omnid_error *err)
{
    const int64_t room = FEW_WIDTH * kernels_int8_stride(w->k);
    int8_t *rows = int8_memory((size_t)(b->n_threads * room));
    w->q = int8_memory(int8_q_bytes(w));
    w->scale = int8_memory(int8_scale_bytes(w));
    if (!rows || !w->q || !w->scale) {
        free(rows);
        return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for a weight [%lld][%lld]", (long long)w->n,
                          (long long)w->k);
    }
#pragma omp parallel for num_threads(b->n_threads) if (b->n_threads > 1)
    for (int64_t p = 0; p < w->n_panels; p++)
        int8_pack_panel(w, parts, p, rows + cpu_thread() * room);
    free(rows);
    return OMNID_OK;
}

static omnid_status int8_layouts(kernels_backend *b, linear_int8 *w, omnid_error *err)
{
    int64_t whole = w->n < BLOCK ? w->n : BLOCK, left = w->n % whole;
    OMNID_TRY(dnnl_glue_layout_open(b, &w->block, whole, w->k, KERNELS_PLAIN_BF16, err));
    return left ? dnnl_glue_layout_open(b, &w->last, left, w->k, KERNELS_PLAIN_BF16, err) : OMNID_OK;
}

omnid_status linear_int8_open(kernels_backend *b, linear_int8 **out, const kernels_part *parts, int n_parts, int64_t n,
                              int64_t k, omnid_error *err)
{
    (void)n_parts;
    linear_int8 *w = calloc(1, sizeof *w);
    *out = w;
    if (!w)
        return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for %zu bytes", sizeof *w);
    w->n = n;
    w->k = k;
    w->n_panels = (n + FEW_WIDTH - 1) / FEW_WIDTH;
    omnid_status status = int8_fill(b, w, parts, err);
    if (status == OMNID_OK)
        status = int8_layouts(b, w, err);
    if (status != OMNID_OK)
        linear_int8_close(out);
    return status;
}

void linear_int8_close(linear_int8 **w)
{
    if (*w) {
        dnnl_glue_layout_close(&(*w)->block);
        dnnl_glue_layout_close(&(*w)->last);
        free((*w)->q);
        free((*w)->scale);
    }
    free(*w);
    *w = NULL;
}

size_t linear_int8_bytes(const linear_int8 *w)
{
    return sizeof *w + int8_q_bytes(w) + int8_scale_bytes(w);
}

/* ---- many rows of bf16 ---- */

CPU_CLONES static void int8_round(uint16_t *restrict to, const float *restrict wide, int64_t depth)
{
    for (int64_t d = 0; d < depth; d++)
        to[d] = bf16_from_f32(wide[d * FEW_WIDTH]);
}

/* The first n columns of panel p as bf16 rows [n][k]. */
static void int8_widen_panel(uint16_t *rows, const linear_int8 *w, const few_isa *isa, int64_t p, int64_t n)
{
    enum { DEPTH = 64 };
    float wide[DEPTH * FEW_WIDTH] __attribute__((aligned(64)));
    const int8_t *q = w->q + p * FEW_WIDTH * w->k;
    const uint16_t *scale = w->scale + p * FEW_WIDTH * int8_groups(w->k);
    for (int64_t first = 0; first < w->k; first += DEPTH) {
        int64_t depth = w->k - first < DEPTH ? w->k - first : DEPTH;
        isa->widen(wide, q + first * FEW_WIDTH, scale + first / KERNELS_INT8_GROUP * FEW_WIDTH, depth);
        for (int64_t c = 0; c < n; c++)
            int8_round(rows + c * w->k + first, wide + c, depth);
    }
}

static omnid_status int8_block(kernels_stream *s, void *packed, uint16_t *rows, const linear_int8 *w, int64_t first,
                               int64_t n, const dnnl_glue_layout *layout, omnid_error *err)
{
    const few_isa *isa = few_choose();
    int n_threads = cpu_threads(s, n * w->k);
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1)
    for (int64_t c = 0; c < n; c += FEW_WIDTH)
        int8_widen_panel(rows + c * w->k, w, isa, (first + c) / FEW_WIDTH, n - c < FEW_WIDTH ? n - c : FEW_WIDTH);
    return dnnl_glue_pack(s->backend, layout, packed, 0, n, rows, err);
}

static void int8_wide(kernels_stream *s, const tensor *y, const tensor *x, const linear_int8 *w, const float *bias,
                      bool gelu, bool sum)
{
    size_t bytes = dnnl_glue_layout_bytes(w->block), last = w->last ? dnnl_glue_layout_bytes(w->last) : 0;
    int64_t whole = w->n < BLOCK ? w->n : BLOCK;
    uint16_t *rows = cpu_scratch(s, (size_t)(whole * w->k) * sizeof *rows);
    void *packed = cpu_scratch(s, bytes > last ? bytes : last);
    if (!rows || !packed)
        return;
    size_t mark = cpu_scratch_mark(s);
    for (int64_t first = 0; first < w->n && s->error.status == OMNID_OK; first += whole) {
        int64_t n = w->n - first < whole ? w->n - first : whole;
        const dnnl_glue_layout *layout = n == whole ? w->block : w->last;
        omnid_error err;
        omnid_status status = int8_block(s, packed, rows, w, first, n, layout, &err);
        if (status != OMNID_OK)
            kernels_stream_fail(s, status, "%s", err.text);
        tensor part = *y;
        part.data = (float *)y->data + first;
        part.dim[1] = n;
        if (status == OMNID_OK)
            linear_dnnl(s, &part, x, &(linear_packed){layout, packed, bias + first, n, w->k}, KERNELS_PLAIN_BF16, gelu,
                        sum);
        cpu_scratch_rewind(s, mark);
    }
}

/* ---- multiplying ---- */

void linear_int8_run(kernels_stream *s, const tensor *y, const tensor *x, const linear_int8 *w, const float *bias,
                     bool gelu, bool sum)
{
    if (x->dtype == KERNELS_BF16 && x->dim[0] > NARROW_ROWS)
        int8_wide(s, y, x, w, bias, gelu, sum);
    else
        few_linear(s, y, x,
                   &(few_weight){.q = w->q, .scale = w->scale, .bias = bias, .n = w->n, .k = w->k, .k_rounded = w->k},
                   gelu ? KERNELS_GELU : KERNELS_LINEAR, sum);
}
