/* kernel_bench.c: omnid-kernel-bench: a developer's view of a backend's ops at the 3B or 7B shape: products, attention, score,
 * selection, encoder attention and a whole decoder layer, each beside a packed product of 338 rows (the ceiling: gate or up
 * alone), measured in turns in the same run, because the machine's own rate varies more than the ratio does.
 *
 *     omnid-kernel-bench [THREADS [REPEATS [f32|bf16 [PART [BACKEND [3b|7b]]]]]]
 *
 * PART: l(ayers) a(ttention) s(election) e(ncoders) p(roducts), and w: int8 weights beside plain ones. Figures are medians over the repeats; a short op runs many times
 * in a row before the device is waited for. With one thread of the cpu backend the processor time of the thread is taken
 * instead of the clock, so that other work on the machine counts less. Weights are rotated: no product finds its weight in a
 * cache. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

enum {
    HEAD_DIM = 128,
    MAX_ROWS = 338,
    PAGE_ROWS = 150,
    MAX_CONTEXT = 4816,
    N_PAGES = (MAX_CONTEXT + PAGE_ROWS - 1) / PAGE_ROWS,
    N_LAYERS = 2, /* weights in turn */
    MAX_REPEATS = 99
};

typedef struct {
    const char *name;
    int hidden, ffn, heads, kv_heads, vocabulary;
} shape;

static const shape shapes[] = {{"3b", 2048, 11008, 16, 2, 151936}, {"7b", 3584, 18944, 28, 4, 152064}};

typedef struct {
    kernels_weight *qkv, *o, *gate_up, *down, *ceiling;
    kernels_weight *gate_up8, *down8; /* int8; where part w is asked for */
} layer;

typedef struct {
    const char *backend_name;
    shape dim;
    int n_qkv; /* columns */
    const kernels_ops *ops;
    kernels_backend *backend;
    kernels_stream *s;
    kernels_precision precision;
    kernels_dtype dtype; /* of activations and KV */
    int n_threads, repeats;
    layer layers[N_LAYERS];
    int turn;                                     /* layer of the next product */
    tensor x, y, h, qkv, q, wide, narrow, lse, S; /* activations, MAX_ROWS rows */
    tensor norm, cos, sin;                        /* [hidden], tables */
    tensor logits, kept;
    kernels_page own;
    /* in the backend's memory */
    kernels_page *pages;
    kernels_key *keys, *scattered, *survivors;
    kernels_descriptor *descriptors; /* keys in runs; scattered */
    int rows;                        /* of the op under test */
} bench;

static void quit(const char *what)
{
    fprintf(stderr, "omnid-kernel-bench: %s\n", what);
    exit(1);
}

static double now(const bench *b)
{
    struct timespec t;
    bool alone = b->n_threads == 1 && strcmp(b->backend_name, "cpu") == 0;
    clock_gettime(alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
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

static void *host_memory(size_t size)
{
    void *data = malloc(size);
    if (!data)
        quit("no memory");
    return data;
}

/* A copy in the backend's memory. */
static void *put(const bench *b, const void *from, size_t size)
{
    void *to = memory(b, size);
    b->ops->upload(b->s, to, from, size);
    return to;
}

/* A tensor of random numbers. */
static tensor filled(const bench *b, kernels_dtype dtype, int64_t rows, int64_t cols)
{
    size_t n = (size_t)(rows * cols);
    float *values = host_memory(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = random_float();
    tensor wide = tensor_2d(put(b, values, n * sizeof *values), KERNELS_F32, rows, cols);
    free(values);
    if (dtype == KERNELS_F32)
        return wide;
    tensor t = tensor_2d(memory(b, n * kernels_dtype_size(dtype)), dtype, rows, cols);
    b->ops->convert(b->s, &t, &wide);
    b->ops->download(b->s, NULL, NULL, 0);
    b->ops->free(b->backend, wide.data);
    return t;
}

static kernels_weight *packed(const bench *b, int64_t n, int64_t k, kernels_precision precision)
{
    uint16_t *rows = host_memory((size_t)(n * k) * sizeof *rows); /* bf16, as a checkpoint has it */
    for (int64_t i = 0; i < n * k; i++) {                         /* about ±0.01 */
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        rows[i] = (uint16_t)(0x3c00 | random_state >> 57 | (random_state >> 40 & 0x8000));
    }
    kernels_part part = {.data = rows, .dtype = KERNELS_BF16, .n = n};
    kernels_weight *w = NULL;
    omnid_error err;
    if (b->ops->pack(b->backend, &w, &part, 1, k, precision, &err) != OMNID_OK)
        quit(err.text);
    free(rows);
    return w;
}

static kernels_page page(const bench *b, int32_t capacity)
{
    uint8_t *cls = host_memory((size_t)capacity);
    memset(cls, 0, (size_t)capacity);
    kernels_page p = {filled(b, b->dtype, b->dim.kv_heads * capacity, HEAD_DIM).data,
                      filled(b, b->dtype, b->dim.kv_heads * capacity, HEAD_DIM).data, put(b, cls, (size_t)capacity),
                      capacity};
    free(cls);
    return p;
}

/* Pages of the context, each row listed, and every second row of pages twice as long. */
static void open_context(bench *b)
{
    static kernels_page pages[N_PAGES];
    static kernels_key keys[MAX_CONTEXT], scattered[MAX_CONTEXT];
    for (int i = 0; i < N_PAGES; i++)
        pages[i] = page(b, 2 * PAGE_ROWS);
    for (int i = 0; i < MAX_CONTEXT; i++) {
        keys[i] = (kernels_key){.page = i / PAGE_ROWS, .row = i % PAGE_ROWS, .segment = i / PAGE_ROWS, .index = i};
        scattered[i] = keys[i];
        scattered[i].row *= 2;
    }
    b->own = page(b, MAX_ROWS);
    b->pages = put(b, pages, sizeof pages);
    b->keys = put(b, keys, sizeof keys);
    b->scattered = put(b, scattered, sizeof scattered);
    b->survivors = memory(b, sizeof keys);
    b->descriptors = memory(b, 2 * sizeof *b->descriptors);
}

static void open_activations(bench *b)
{
    const shape *d = &b->dim;
    b->x = filled(b, KERNELS_F32, MAX_ROWS, d->hidden);
    b->y = filled(b, KERNELS_F32, MAX_ROWS, 2 * d->ffn);
    b->h = filled(b, b->dtype, MAX_ROWS, d->hidden);
    b->qkv = filled(b, KERNELS_F32, MAX_ROWS, b->n_qkv);
    b->q = filled(b, b->dtype, MAX_ROWS, d->heads * HEAD_DIM);
    b->wide = filled(b, b->dtype, MAX_ROWS, 2 * d->ffn);
    b->narrow = filled(b, b->dtype, MAX_ROWS, d->ffn);
    b->lse = filled(b, KERNELS_F32, MAX_ROWS, d->heads);
    b->S = tensor_1d(filled(b, KERNELS_F32, 1, MAX_CONTEXT).data, KERNELS_F32, MAX_CONTEXT);
    b->kept = tensor_1d(memory(b, MAX_CONTEXT * sizeof(int32_t)), KERNELS_I32, MAX_CONTEXT);
    b->norm = tensor_1d(filled(b, KERNELS_F32, 1, d->hidden).data, KERNELS_F32, d->hidden);
    b->cos = filled(b, KERNELS_F32, MAX_ROWS, HEAD_DIM / 2);
    b->sin = filled(b, KERNELS_F32, MAX_ROWS, HEAD_DIM / 2);
    b->logits = tensor_1d(filled(b, KERNELS_F32, 1, d->vocabulary).data, KERNELS_F32, d->vocabulary);
}

static void open_bench(bench *b, bool int8)
{
    const shape *d = &b->dim;
    omnid_error err;
    if (kernels_find(&b->ops, b->backend_name, &err) != OMNID_OK ||
        b->ops->open(&b->backend, b->n_threads, &err) != OMNID_OK ||
        b->ops->stream_open(b->backend, &b->s, KERNELS_FIRST, &err) != OMNID_OK)
        quit(err.text);
    b->backend_name = b->ops->name;
    b->dtype = b->precision == KERNELS_PLAIN_BF16 ? KERNELS_BF16 : KERNELS_F32;
    b->n_qkv = (d->heads + 2 * d->kv_heads) * HEAD_DIM;
    for (int i = 0; i < N_LAYERS; i++)
        b->layers[i] = (layer){.qkv = packed(b, b->n_qkv, d->hidden, b->precision),
                               .o = packed(b, d->hidden, d->hidden, b->precision),
                               .gate_up = packed(b, 2 * d->ffn, d->hidden, b->precision),
                               .down = packed(b, d->hidden, d->ffn, b->precision),
                               .ceiling = packed(b, d->ffn, d->hidden, b->precision)};
    for (int i = 0; int8 && i < N_LAYERS; i++) {
        b->layers[i].gate_up8 = packed(b, 2 * d->ffn, d->hidden, KERNELS_INT8);
        b->layers[i].down8 = packed(b, d->hidden, d->ffn, KERNELS_INT8);
    }
    open_activations(b);
    open_context(b);
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
    product(b, &b->h, &b->y, b->layers[b->turn++ % N_LAYERS].ceiling, b->dim.ffn, b->dim.hidden, false);
    b->rows = rows;
}

static void run_qkv(bench *b)
{
    product(b, &b->h, &b->qkv, b->layers[b->turn++ % N_LAYERS].qkv, b->n_qkv, b->dim.hidden, false);
}

static void run_o(bench *b)
{
    product(b, &b->h, &b->x, b->layers[b->turn++ % N_LAYERS].o, b->dim.hidden, b->dim.hidden, true);
}

static void run_gate_up(bench *b)
{
    product(b, &b->h, &b->wide, b->layers[b->turn++ % N_LAYERS].gate_up, 2 * b->dim.ffn, b->dim.hidden, false);
}

static void run_down(bench *b)
{
    product(b, &b->narrow, &b->x, b->layers[b->turn++ % N_LAYERS].down, b->dim.hidden, b->dim.ffn, true);
}

static void run_gate_up8(bench *b)
{
    product(b, &b->h, &b->wide, b->layers[b->turn++ % N_LAYERS].gate_up8, 2 * b->dim.ffn, b->dim.hidden, false);
}

static void run_down8(bench *b)
{
    product(b, &b->narrow, &b->x, b->layers[b->turn++ % N_LAYERS].down8, b->dim.hidden, b->dim.ffn, true);
}

static kernels_attention attention(bench *b)
{
    return (kernels_attention){.descriptors = b->descriptors,
                               .n_sets = 1,
                               .n_heads = b->dim.heads,
                               .n_kv_heads = b->dim.kv_heads,
                               .head_dim = HEAD_DIM,
                               .n_classes = 1,
                               .q = &b->q,
                               .max_rows = MAX_ROWS,
                               .dtype = b->dtype};
}

static void run_attend(bench *b)
{
    kernels_attention a = attention(b);
    b->ops->attend(b->s, &b->h, &b->lse, &a);
}

static void run_attend_scattered(bench *b)
{
    kernels_attention a = attention(b);
    a.descriptors++;
    b->ops->attend(b->s, &b->h, &b->lse, &a);
}

static void run_score(bench *b)
{
    kernels_attention a = attention(b);
    b->ops->score(b->s, &b->lse, &a, MAX_CONTEXT);
}

static void run_layer(bench *b)
{
    const layer *w = &b->layers[b->turn++ % N_LAYERS];
    tensor x = first_rows(&b->x, b->rows), h = first_rows(&b->h, b->rows), qkv = first_rows(&b->qkv, b->rows);
    tensor cos = first_rows(&b->cos, b->rows), sin = first_rows(&b->sin, b->rows);
    tensor wide = first_rows(&b->wide, b->rows), narrow = first_rows(&b->narrow, b->rows);
    b->ops->rmsnorm(b->s, &h, &x, &b->norm, 1e-6f);
    product(b, &b->h, &b->qkv, w->qkv, b->n_qkv, b->dim.hidden, false);
    kernels_attention a = attention(b);
    b->ops->rotate_append(b->s, &a, &qkv, &cos, &sin, NULL);
    run_attend(b);
    product(b, &b->h, &b->x, w->o, b->dim.hidden, b->dim.hidden, true);
    b->ops->rmsnorm(b->s, &h, &x, &b->norm, 1e-6f);
    product(b, &b->h, &b->wide, w->gate_up, 2 * b->dim.ffn, b->dim.hidden, false);
    b->ops->swiglu(b->s, &narrow, &wide);
    product(b, &b->narrow, &b->x, w->down, b->dim.hidden, b->dim.ffn, true);
}

static void run_select(bench *b)
{
    b->ops->select(b->s, b->descriptors, MAX_CONTEXT);
}

static void run_sample(bench *b)
{
    static const kernels_sampling greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};
    int32_t id;
    b->ops->sample(b->s, &id, &b->logits, NULL, &greedy, 0);
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

/* Descriptors as the next op reads them: n rows of queries, n_keys listed, k of them leave. */
static void put_counts(bench *b, int n_keys, int k)
{
    kernels_descriptor d[2] = {{.n_rows = b->rows,
                                .n_keys = n_keys,
                                .n_score = n_keys,
                                .k_leave = k,
                                .tds = 1,
                                .c_last = N_PAGES - 1,
                                .lambda = 0.2,
                                .own = b->own,
                                .pages = b->pages,
                                .keys = b->keys,
                                .scored = b->keys,
                                .S = b->S.data,
                                .keys_out = b->survivors,
                                .kept = b->kept.data}};
    d[1] = d[0];
    d[1].keys = b->scattered;
    b->ops->upload(b->s, b->descriptors, d, sizeof d);
    b->ops->download(b->s, NULL, NULL, 0);
}

/* Seconds of one of n in a row. */
static double time_of(bench *b, void (*op)(bench *), int n)
{
    double start = now(b);
    for (int i = 0; i < n; i++)
        op(b);
    b->ops->download(b->s, NULL, NULL, 0); /* waits */
    return (now(b) - start) / n;
}

/* How often in a row an op has to run for its time to be known. */
static int enough(bench *b, void (*op)(bench *))
{
    time_of(b, op, 1);
    double t = time_of(b, op, 1);
    return t < 0.02 ? (int)(0.02 / (t + 1e-5)) + 1 : 1;
}

/* Ceiling and op in turns. bytes: of weights or KV read, 0 = not told. */
static void report(bench *b, const char *name, void (*op)(bench *), double flop, double bytes)
{
    const double ceiling_flop = 2.0 * MAX_ROWS * b->dim.ffn * b->dim.hidden;
    double seconds[MAX_REPEATS], ceiling[MAX_REPEATS], ratio[MAX_REPEATS];
    int n_ceiling = enough(b, run_ceiling), n = enough(b, op);
    for (int i = 0; i < b->repeats; i++) {
        ceiling[i] = ceiling_flop / time_of(b, run_ceiling, n_ceiling);
        seconds[i] = time_of(b, op, n);
        ratio[i] = flop / seconds[i] / ceiling[i];
    }
    omnid_error err;
    if (kernels_stream_status(b->s, &err) != OMNID_OK)
        quit(err.text);
    double t = median(seconds, b->repeats);
    printf("| %-38s | %9.4f | %7.1f | %7.1f | %5.2f |", name, t * 1e3, flop / t * 1e-9,
           median(ceiling, b->repeats) * 1e-9, median(ratio, b->repeats));
    if (bytes > 0)
        printf(" %6.1f |\n", bytes / t * 1e-9);
    else
        printf("        |\n");
    fflush(stdout);
}

static void report_linear(bench *b)
{
    const int64_t hidden = b->dim.hidden, ffn = b->dim.ffn;
    const struct {
        const char *name;
        void (*run)(bench *);
        int64_t n, k;
    } ops[] = {{"qkv", run_qkv, b->n_qkv, hidden},
               {"o, added", run_o, hidden, hidden},
               {"gate, up", run_gate_up, 2 * ffn, hidden},
               {"down, added", run_down, hidden, ffn}};
    static const int rows[] = {1, 8, 30, 152, 338};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
            char name[64];
            snprintf(name, sizeof name, "%d rows, %s %d x %d", rows[r], ops[i].name, (int)ops[i].n, (int)ops[i].k);
            b->rows = rows[r];
            double weight = (double)ops[i].n * (double)ops[i].k;
            report(b, name, ops[i].run, 2 * rows[r] * weight, weight * (double)kernels_dtype_size(b->dtype));
        }
}

/* An int8 weight beside the same in the precision, in turns. */
static void report_int8_of(bench *b, const char *name, int64_t n, int64_t k, void (*plain)(bench *),
                           void (*int8)(bench *))
{
    double seconds[2][MAX_REPEATS], ratio[MAX_REPEATS];
    int times[2] = {enough(b, plain), enough(b, int8)};
    for (int i = 0; i < b->repeats; i++) {
        seconds[0][i] = time_of(b, plain, times[0]);
        seconds[1][i] = time_of(b, int8, times[1]);
        ratio[i] = seconds[0][i] / seconds[1][i];
    }
    omnid_error err;
    if (kernels_stream_status(b->s, &err) != OMNID_OK)
        quit(err.text);
    double size = (double)n * (double)k, t[2] = {median(seconds[0], b->repeats), median(seconds[1], b->repeats)};
    printf("| %3d rows, %-12s %5d x %5d | %9.3f | %9.3f | %5.2f | %6.1f | %6.1f |\n", b->rows, name, (int)n, (int)k,
           t[0] * 1e3, t[1] * 1e3, median(ratio, b->repeats), size * (double)kernels_dtype_size(b->dtype) / t[0] * 1e-9,
           (double)kernels_int8_stride(k) * (double)n / t[1] * 1e-9);
    fflush(stdout);
}

static void report_int8(bench *b)
{
    static const int rows[] = {1, 2, 4, 8, 16, 30, 64, 152, 338};
    printf(
        "\n| product | %s ms | int8 ms | times faster | %s GB/s | int8 GB/s |\n| --- | --- | --- | --- | --- | --- |\n",
        kernels_dtype_name(b->dtype), kernels_dtype_name(b->dtype));
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        b->rows = rows[r];
        report_int8_of(b, "gate, up", 2 * b->dim.ffn, b->dim.hidden, run_gate_up, run_gate_up8);
        report_int8_of(b, "down, added", b->dim.hidden, b->dim.ffn, run_down, run_down8);
    }
}

static double attention_flop(const bench *b, int rows, int context)
{
    return 4.0 * b->dim.heads * HEAD_DIM * ((double)rows * context + 0.5 * rows * (rows + 1));
}

/* kind: 0 attend, 1 attend over scattered rows, 2 score. */
static void report_attention_of(bench *b, int kind, int rows, int context)
{
    static const char *const names[] = {"attend", "attend scattered", "score"};
    static void (*const runs[])(bench *) = {run_attend, run_attend_scattered, run_score};
    char name[64];
    double bytes = 2.0 * b->dim.kv_heads * HEAD_DIM * (context + rows) * (double)kernels_dtype_size(b->dtype);
    snprintf(name, sizeof name, "%s, %d rows over %d", names[kind], rows, context);
    b->rows = rows;
    put_counts(b, context, 0);
    double flop = kind < 2 ? attention_flop(b, rows, context) : 2.0 * b->dim.heads * HEAD_DIM * rows * context;
    report(b, name, runs[kind], flop, kind < 2 ? bytes : bytes / 2);
}

static void report_attention(bench *b)
{
    static const int rows[] = {1, 30, 152, 338}, contexts[] = {0, 1024, MAX_CONTEXT};
    for (int kind = 0; kind < 3; kind++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t c = kind ? 2 : 0; c < 3; c++)
                report_attention_of(b, kind, rows[r], contexts[c]);
}

/* No arithmetic to speak of: times alone. */
static void report_selection(bench *b)
{
    char name[64];
    snprintf(name, sizeof name, "select, %d of %d leave", MAX_CONTEXT / 10, MAX_CONTEXT);
    put_counts(b, MAX_CONTEXT, MAX_CONTEXT / 10);
    report(b, name, run_select, 0, 0);
    snprintf(name, sizeof name, "sample, greedy, %d", b->dim.vocabulary);
    report(b, name, run_sample, 0, sizeof(float) * (double)b->dim.vocabulary);
}

static void report_layers(bench *b)
{
    static const int rows[] = {1, 30, 152, 338}, contexts[] = {0, MAX_CONTEXT};
    double weights = (double)b->dim.hidden * (b->n_qkv + b->dim.hidden + 3 * b->dim.ffn);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t c = 0; c < 2; c++) {
            char name[64];
            snprintf(name, sizeof name, "layer, %d rows over %d", rows[r], contexts[c]);
            b->rows = rows[r];
            put_counts(b, contexts[c], 0);
            report(b, name, run_layer, 2 * rows[r] * weights + attention_flop(b, rows[r], contexts[c]),
                   weights * (double)kernels_dtype_size(b->dtype));
        }
}

static void report_encoders(bench *b)
{
    for (int i = 0; i < 3; i++) {
        const encoder_shape *e = &encoder_shapes[i];
        b->rows = i;
        report(b, encoder_names[i], run_encoder, 4.0 * e->heads * e->head_dim * e->n * e->span, 0);
    }
}

static void read_arguments(bench *b, int argc, char **argv)
{
    b->dim = shapes[0];
    if (argc > 1)
        b->n_threads = atoi(argv[1]);
    if (argc > 2)
        b->repeats = atoi(argv[2]);
    if (argc > 3)
        b->precision = strcmp(argv[3], "bf16") == 0 ? KERNELS_PLAIN_BF16 : KERNELS_PLAIN_F32;
    if (argc > 5)
        b->backend_name = argv[5];
    if (argc > 6)
        b->dim = shapes[strcmp(argv[6], "7b") == 0];
    if (b->n_threads < 1 || b->repeats < 1 || b->repeats > MAX_REPEATS || argc > 7)
        quit("usage: omnid-kernel-bench [THREADS [REPEATS [f32|bf16 [PART [BACKEND [3b|7b]]]]]]     PART: l(ayers) "
             "a(ttention) s(election) e(ncoders) p(roducts) w(eights of int8); at least 1 thread, 1 .. 99 repeats");
}

int main(int argc, char **argv)
{
    static bench b = {.backend_name = "cpu", .n_threads = 1, .repeats = 5};
    read_arguments(&b, argc, argv);
    const char *parts = argc > 4 ? argv[4] : "lasep";
    bool int8 = strchr(parts, 'w') != NULL;
    open_bench(&b, int8);
    printf("%s, backend %s, %d threads, %s, median of %d\n\n", b.dim.name, b.backend_name, b.n_threads,
           kernels_dtype_name(b.dtype), b.repeats);
    printf("| op | ms | GFLOP/s | ceiling | ratio | GB/s |\n| --- | --- | --- | --- | --- | --- |\n");
    if (strchr(parts, 'l'))
        report_layers(&b);
    if (strchr(parts, 'a'))
        report_attention(&b);
    if (strchr(parts, 's'))
        report_selection(&b);
    if (strchr(parts, 'e'))
        report_encoders(&b);
    if (strchr(parts, 'p'))
        report_linear(&b);
    if (int8)
        report_int8(&b);
    return 0;
}
