/* kernel_bench.c: omnid-kernel-bench: a developer's view of the cpu backend's ops at the 3B shape: products, attention,
 * score, encoder attention and a whole decoder layer, each beside the packed product of 338 x 11008 x 2048 (the ceiling),
 * measured in turns in the same run, because the machine's own rate varies more than the ratio does.
 *
 *     omnid-kernel-bench [THREADS [REPEATS [f32|bf16 [PART]]]]     PART: l(ayers) a(ttention) e(ncoders) p(roducts)
 *
 * Figures are medians over the repeats. With one thread the processor time of the thread is taken instead of the clock, so
 * that other work on the machine counts less. Weights are rotated: no product finds its weight in a cache. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

enum {
    HIDDEN = 2048,
    FFN = 11008,
    HEADS = 16,
    KV_HEADS = 2,
    HEAD_DIM = 128,
    QKV = (HEADS + 2 * KV_HEADS) * HEAD_DIM,
    MAX_ROWS = 338,
    PAGE_ROWS = 150,
    MAX_CONTEXT = 4816,
    N_PAGES = (MAX_CONTEXT + PAGE_ROWS - 1) / PAGE_ROWS,
    N_LAYERS = 2, /* weights in turn */
    MAX_REPEATS = 99
};

typedef struct {
    kernels_weight *qkv, *o, *gate_up, *down, *ceiling;
} layer;

typedef struct {
    const kernels_ops *ops;
    kernels_backend *backend;
    kernels_stream *s;
    kernels_precision precision;
    kernels_dtype dtype; /* of activations and KV */
    int n_threads, repeats;
    layer layers[N_LAYERS];
    int turn;                                     /* layer of the next product */
    tensor x, y, h, qkv, q, wide, narrow, lse, S; /* activations, MAX_ROWS rows */
    tensor norm, cos, sin;                        /* [HIDDEN], tables */
    kernels_page pages[N_PAGES + 1];              /* the last one: own */
    kernels_key keys[MAX_CONTEXT], scattered[MAX_CONTEXT];
    kernels_counts counts;
    int rows; /* of the op under test */
    const kernels_weight *const *weight;
} bench;

static void quit(const char *what)
{
    fprintf(stderr, "omnid-kernel-bench: %s\n", what);
    exit(1);
}

static double now(const bench *b)
{
    struct timespec t;
    clock_gettime(b->n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t random_state = 1;

/* About -1 .. 1. */
static float random_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(random_state >> 32) * 0x1p-31f;
}

static void *memory(const bench *b, size_t size)
{
    void *data = b->ops->alloc(b->backend, size);
    if (!data)
        quit("no memory");
    return data;
}

/* A tensor of random numbers. */
static tensor filled(const bench *b, kernels_dtype dtype, int64_t rows, int64_t cols)
{
    tensor wide = tensor_2d(memory(b, (size_t)(rows * cols) * sizeof(float)), KERNELS_F32, rows, cols);
    for (int64_t i = 0; i < rows * cols; i++)
        ((float *)wide.data)[i] = random_float();
    if (dtype == KERNELS_F32)
        return wide;
    tensor t = tensor_2d(memory(b, (size_t)(rows * cols) * kernels_dtype_size(dtype)), dtype, rows, cols);
    b->ops->convert(b->s, &t, &wide);
    b->ops->free(b->backend, wide.data);
    return t;
}

static kernels_weight *packed(const bench *b, int64_t n, int64_t k)
{
    uint16_t *rows = malloc((size_t)(n * k) * sizeof *rows); /* bf16, as a checkpoint has it */
    if (!rows)
        quit("no memory");
    for (int64_t i = 0; i < n * k; i++) { /* about ±0.01 */
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        rows[i] = (uint16_t)(0x3c00 | random_state >> 57 | (random_state >> 40 & 0x8000));
    }
    kernels_part part = {.data = rows, .dtype = KERNELS_BF16, .n = n};
    kernels_weight *w = NULL;
    omnid_error err;
    if (b->ops->pack(b->backend, &w, &part, 1, k, b->precision, &err) != OMNID_OK)
        quit(err.text);
    free(rows);
    return w;
}

static void open_bench(bench *b)
{
    omnid_error err;
    if (kernels_find(&b->ops, "cpu", &err) != OMNID_OK || b->ops->open(&b->backend, b->n_threads, &err) != OMNID_OK ||
        b->ops->stream_open(b->backend, &b->s, &err) != OMNID_OK)
        quit(err.text);
    b->dtype = b->precision == KERNELS_PLAIN_BF16 ? KERNELS_BF16 : KERNELS_F32;
    for (int i = 0; i < N_LAYERS; i++)
        b->layers[i] = (layer){packed(b, QKV, HIDDEN), packed(b, HIDDEN, HIDDEN), packed(b, 2 * FFN, HIDDEN),
                               packed(b, HIDDEN, FFN), packed(b, FFN, HIDDEN)};
    b->x = filled(b, KERNELS_F32, MAX_ROWS, HIDDEN);
    b->y = filled(b, KERNELS_F32, MAX_ROWS, 2 * FFN);
    b->h = filled(b, b->dtype, MAX_ROWS, HIDDEN);
    b->qkv = filled(b, KERNELS_F32, MAX_ROWS, QKV);
    b->q = filled(b, b->dtype, MAX_ROWS, HEADS * HEAD_DIM);
    b->wide = filled(b, b->dtype, MAX_ROWS, 2 * FFN);
    b->narrow = filled(b, b->dtype, MAX_ROWS, FFN);
    b->lse = filled(b, KERNELS_F32, MAX_ROWS, HEADS);
    b->S = tensor_1d(memory(b, MAX_CONTEXT * sizeof(float)), KERNELS_F32, MAX_CONTEXT);
    b->norm = filled(b, KERNELS_F32, 1, HIDDEN);
    b->norm = tensor_1d(b->norm.data, KERNELS_F32, HIDDEN);
    b->cos = filled(b, KERNELS_F32, MAX_ROWS, HEAD_DIM / 2);
    b->sin = filled(b, KERNELS_F32, MAX_ROWS, HEAD_DIM / 2);
    for (int i = 0; i <= N_PAGES; i++) {
        int32_t capacity = i < N_PAGES ? 2 * PAGE_ROWS : MAX_ROWS;
        uint8_t *cls = memory(b, (size_t)capacity);
        memset(cls, 0, (size_t)capacity);
        b->pages[i] = (kernels_page){filled(b, b->dtype, KV_HEADS * capacity, HEAD_DIM).data,
                                     filled(b, b->dtype, KV_HEADS * capacity, HEAD_DIM).data, cls, capacity};
    }
    for (int i = 0; i < MAX_CONTEXT; i++) {
        b->keys[i] = (kernels_key){.page = i / PAGE_ROWS, .row = i % PAGE_ROWS, .index = i};
        b->scattered[i] = (kernels_key){.page = i / PAGE_ROWS, .row = 2 * (i % PAGE_ROWS), .index = i};
    }
}

/* ---- the ops under test ---- */

static tensor first_rows(const tensor *t, int64_t n)
{
    return tensor_rows(t, 0, n);
}

static void product(bench *b, const tensor *x, tensor *y, const kernels_weight *w, int64_t n, int64_t k, bool add)
{
    tensor from = tensor_2d(x->data, x->dtype, b->rows, k), to = tensor_2d(y->data, y->dtype, b->rows, n);
    kernels_epilogue e = {.residual = &to};
    b->ops->linear(b->s, &to, &from, w, add ? &e : NULL);
}

static void run_ceiling(bench *b)
{
    int rows = b->rows;
    b->rows = MAX_ROWS;
    product(b, &b->h, &b->y, b->layers[b->turn++ % N_LAYERS].ceiling, FFN, HIDDEN, false);
    b->rows = rows;
}

static void run_qkv(bench *b)
{
    product(b, &b->h, &b->qkv, b->layers[b->turn++ % N_LAYERS].qkv, QKV, HIDDEN, false);
}

static void run_o(bench *b)
{
    product(b, &b->h, &b->x, b->layers[b->turn++ % N_LAYERS].o, HIDDEN, HIDDEN, true);
}

static void run_gate_up(bench *b)
{
    product(b, &b->h, &b->wide, b->layers[b->turn++ % N_LAYERS].gate_up, 2 * FFN, HIDDEN, false);
}

static void run_down(bench *b)
{
    product(b, &b->narrow, &b->x, b->layers[b->turn++ % N_LAYERS].down, HIDDEN, FFN, true);
}

static kernels_attention attention(bench *b)
{
    b->counts.n_rows = b->rows;
    return (kernels_attention){.counts = &b->counts,
                               .n_heads = HEADS,
                               .n_kv_heads = KV_HEADS,
                               .head_dim = HEAD_DIM,
                               .n_classes = 1,
                               .q = &b->q,
                               .max_rows = MAX_ROWS,
                               .dtype = b->dtype,
                               .pages = b->pages,
                               .keys = b->keys,
                               .own = &b->pages[N_PAGES]};
}

static void run_attend(bench *b)
{
    kernels_attention a = attention(b);
    b->ops->attend(b->s, &b->h, &b->lse, &a);
}

static void run_attend_scattered(bench *b)
{
    kernels_attention a = attention(b);
    a.keys = b->scattered;
    b->ops->attend(b->s, &b->h, &b->lse, &a);
}

static void run_score(bench *b)
{
    kernels_attention a = attention(b);
    b->counts.n_score = b->counts.n_keys;
    b->ops->score(b->s, &b->S, &b->lse, &a, b->keys);
}

static void run_layer(bench *b)
{
    const layer *w = &b->layers[b->turn++ % N_LAYERS];
    tensor x = first_rows(&b->x, b->rows), h = first_rows(&b->h, b->rows), qkv = first_rows(&b->qkv, b->rows);
    tensor cos = first_rows(&b->cos, b->rows), sin = first_rows(&b->sin, b->rows);
    tensor wide = first_rows(&b->wide, b->rows), narrow = first_rows(&b->narrow, b->rows);
    b->ops->rmsnorm(b->s, &h, &x, &b->norm, 1e-6f);
    product(b, &b->h, &b->qkv, w->qkv, QKV, HIDDEN, false);
    b->ops->rotate_append(b->s, &b->q, MAX_ROWS, &b->pages[N_PAGES], b->dtype, 0, &qkv, &cos, &sin, 1, NULL, HEADS,
                          KV_HEADS, HEAD_DIM);
    run_attend(b);
    product(b, &b->h, &b->x, w->o, HIDDEN, HIDDEN, true);
    b->ops->rmsnorm(b->s, &h, &x, &b->norm, 1e-6f);
    product(b, &b->h, &b->wide, w->gate_up, 2 * FFN, HIDDEN, false);
    b->ops->swiglu(b->s, &narrow, &wide);
    product(b, &b->narrow, &b->x, w->down, HIDDEN, FFN, true);
}

typedef struct {
    int heads, head_dim, n, span;
} encoder_shape;
static const encoder_shape encoder_shapes[] = {{16, 80, 576, 64}, {16, 80, 576, 576}, {20, 64, 100, 100}};
static const char *const encoder_names[] = {"vision windows of 64", "vision full, 576", "audio, 100"};

static void run_encoder(bench *b)
{
    const encoder_shape *e = &encoder_shapes[b->rows];
    int d = e->heads * e->head_dim, n_spans = e->n / e->span;
    int32_t spans[65];
    for (int i = 0; i <= n_spans; i++)
        spans[i] = i * e->span;
    tensor qkv = tensor_2d(b->wide.data, b->dtype, e->n, 3 * d), y = tensor_2d(b->narrow.data, b->dtype, e->n, d);
    b->ops->encoder_attention(b->s, &y, &qkv, e->heads, e->head_dim, spans, n_spans, NULL);
}

/* ---- measuring ---- */

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, compare_double);
    return values[n / 2];
}

/* Ceiling and op in turns; short ops several times in a row. bytes: of weights or KV read, 0 = not told. */
static void report(bench *b, const char *name, void (*op)(bench *), double flop, double bytes)
{
    const double ceiling_flop = 2.0 * MAX_ROWS * FFN * HIDDEN;
    double rate[MAX_REPEATS], ceiling[MAX_REPEATS], ratio[MAX_REPEATS];
    op(b);
    run_ceiling(b);
    double t = now(b);
    op(b);
    t = now(b) - t;
    int n = t < 0.02 ? (int)(0.02 / (t + 1e-6)) + 1 : 1;
    for (int i = 0; i < b->repeats; i++) {
        t = now(b);
        run_ceiling(b);
        double middle = now(b);
        for (int j = 0; j < n; j++)
            op(b);
        double end = now(b);
        ceiling[i] = ceiling_flop / (middle - t);
        rate[i] = flop * n / (end - middle);
        ratio[i] = rate[i] / ceiling[i];
    }
    omnid_error err;
    if (kernels_stream_status(b->s, &err) != OMNID_OK)
        quit(err.text);
    double r = median(rate, b->repeats);
    printf("| %-38s | %9.3f | %7.1f | %7.1f | %5.2f |", name, flop / r * 1e3, r * 1e-9,
           median(ceiling, b->repeats) * 1e-9, median(ratio, b->repeats));
    if (bytes > 0)
        printf(" %6.1f |\n", bytes / (flop / r) * 1e-9);
    else
        printf("        |\n");
    fflush(stdout);
}

static void report_linear(bench *b)
{
    static const struct {
        const char *name;
        void (*run)(bench *);
        int64_t n, k;
    } ops[] = {{"qkv 2560 x 2048", run_qkv, QKV, HIDDEN},
               {"o 2048 x 2048, added", run_o, HIDDEN, HIDDEN},
               {"gate, up 22016 x 2048", run_gate_up, 2 * FFN, HIDDEN},
               {"down 2048 x 11008, added", run_down, HIDDEN, FFN}};
    static const int rows[] = {1, 8, 30, 152, 338};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
            char name[64];
            snprintf(name, sizeof name, "%d rows, %s", rows[r], ops[i].name);
            b->rows = rows[r];
            double weight = (double)ops[i].n * (double)ops[i].k;
            report(b, name, ops[i].run, 2 * rows[r] * weight, weight * (double)kernels_dtype_size(b->dtype));
        }
}

static double attention_flop(int rows, int context)
{
    return 4.0 * HEADS * HEAD_DIM * ((double)rows * context + 0.5 * rows * (rows + 1));
}

static void report_attention(bench *b)
{
    static const int rows[] = {1, 30, 152, 338}, contexts[] = {0, 1024, MAX_CONTEXT};
    for (int kind = 0; kind < 3; kind++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t c = kind ? 2 : 0; c < 3; c++) {
                static const char *const names[] = {"attend", "attend scattered", "score"};
                char name[64];
                snprintf(name, sizeof name, "%s, %d rows over %d", names[kind], rows[r], contexts[c]);
                b->rows = rows[r];
                b->counts.n_keys = contexts[c];
                double bytes =
                    2.0 * KV_HEADS * HEAD_DIM * (contexts[c] + rows[r]) * (double)kernels_dtype_size(b->dtype);
                if (kind < 2)
                    report(b, name, kind ? run_attend_scattered : run_attend, attention_flop(rows[r], contexts[c]),
                           bytes);
                else
                    report(b, name, run_score, 2.0 * HEADS * HEAD_DIM * rows[r] * contexts[c], bytes / 2);
            }
}

static void report_layers(bench *b)
{
    static const int rows[] = {1, 30, 338}, contexts[] = {0, MAX_CONTEXT};
    double weights = (double)HIDDEN * (QKV + HIDDEN + 3 * FFN);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t c = 0; c < 2; c++) {
            char name[64];
            snprintf(name, sizeof name, "layer, %d rows over %d", rows[r], contexts[c]);
            b->rows = rows[r];
            b->counts.n_keys = contexts[c];
            report(b, name, run_layer, 2 * rows[r] * weights + attention_flop(rows[r], contexts[c]),
                   rows[r] == 1 ? weights * (double)kernels_dtype_size(b->dtype) : 0);
        }
}

int main(int argc, char **argv)
{
    static bench b = {.n_threads = 1, .repeats = 5};
    if (argc > 1)
        b.n_threads = atoi(argv[1]);
    if (argc > 2)
        b.repeats = atoi(argv[2]);
    if (argc > 3)
        b.precision = strcmp(argv[3], "bf16") == 0 ? KERNELS_PLAIN_BF16 : KERNELS_PLAIN_F32;
    if (b.n_threads < 1 || b.repeats < 1 || b.repeats > MAX_REPEATS)
        quit("usage: omnid-kernel-bench [THREADS [REPEATS [f32|bf16 [PART]]]]     PART: l(ayers) a(ttention) "
             "e(ncoders) p(roducts); at least 1 thread, 1 .. 99 repeats");
    open_bench(&b);
    printf("%d threads, %s, median of %d\n", b.n_threads, kernels_dtype_name(b.dtype), b.repeats);
    printf("| op | ms | GFLOP/s | ceiling | ratio | GB/s |\n| --- | --- | --- | --- | --- | --- |\n");
    const char *parts = argc > 4 ? argv[4] : "laep";
    if (strchr(parts, 'l'))
        report_layers(&b);
    if (strchr(parts, 'a'))
        report_attention(&b);
    for (int i = 0; i < 3 && strchr(parts, 'e'); i++) {
        const encoder_shape *e = &encoder_shapes[i];
        b.rows = i;
        report(&b, encoder_names[i], run_encoder, 4.0 * e->heads * e->head_dim * e->n * e->span, 0);
    }
    if (strchr(parts, 'p'))
        report_linear(&b);
    return 0;
}
