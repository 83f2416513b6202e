/* ceiling.c: the one file here that knows oneDNN (its C API of version 2 and of version 3).
 *
 * The product is rows x 11008 x 2048 (a 3B layer's gate or up): the weight in the layout that oneDNN chooses, several
 * weights in turn so that none stays in the cache. */
#include "bench/ceiling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 11008, K = 2048, N_WEIGHTS = 6, READ_BYTES = 512 << 20 };

omnid_status ceiling_measure(bench_ceiling *out, const char *program, bool bf16, int n_threads, omnid_error *err)
{
    char command[4200], line[256] = "";
    memset(out, 0, sizeof *out);
    snprintf(command, sizeof command, "'%s' --ceiling=%s,%d", program, bf16 ? "bf16" : "f32", n_threads);
    FILE *f = popen(command, "r");
    if (!f)
        return omnid_fail(err, OMNID_IO, "%s: cannot be started", command);
    char *got = fgets(line, sizeof line, f);
    int status = pclose(f);
    if (!got || status != 0 ||
        sscanf(line, "%d %lf %d %lf %lf", &out->rows[0], &out->gflops[0], &out->rows[1], &out->gflops[1],
               &out->read_gb_s) != 5)
        return omnid_fail(err, OMNID_IO, "%s: measured nothing (status %d)", command, status);
    return OMNID_OK;
}

/* ---- memory ---- */

static double read_once(const uint64_t *data, int64_t n, uint64_t *sum)
{
    int64_t start = omnid_clock_us();
    uint64_t total = 0;
#pragma omp parallel for reduction(+ : total) schedule(static)
    for (int64_t i = 0; i < n; i++)
        total += data[i];
    *sum += total;
    return (double)n * 8 / 1e3 / (double)(omnid_clock_us() - start); /* GB/s */
}

static double measure_read(void)
{
    int64_t n = READ_BYTES / 8;
    uint64_t *data = malloc(READ_BYTES), sum = 0;
    double best = 0;
    if (!data)
        return 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++)
        data[i] = (uint64_t)i;
    for (int round = 0; round < 6; round++) {
        double rate = read_once(data, n, &sum);
        best = rate > best ? rate : best;
    }
    free(data);
    return sum ? best : 0;
}

/* ---- products ---- */

#ifdef BENCH_HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>
#ifdef _OPENMP
#include <omp.h>
#endif

static bool failed(dnnl_status_t status)
{
    if (status != dnnl_success)
        fprintf(stderr, "oneDNN: status %d\n", (int)status);
    return status != dnnl_success;
}

typedef struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t product;
    dnnl_memory_t x, y, weights[N_WEIGHTS];
} setup;

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t descriptor;

static dnnl_status_t describe(descriptor *d, int64_t rows, int64_t columns, dnnl_data_type_t type,
                              dnnl_format_tag_t tag)
{
    dnnl_dims_t dims = {rows, columns};
    return dnnl_memory_desc_create_with_tag(d, 2, dims, type, tag);
}

static dnnl_status_t describe_product(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const descriptor *x,
                                      const descriptor *w, const descriptor *y)
{
    return dnnl_matmul_primitive_desc_create(out, engine, *x, *w, NULL, *y, NULL);
}

static void release(descriptor *d)
{
    dnnl_memory_desc_destroy(*d);
}
#else
typedef dnnl_memory_desc_t descriptor;

static dnnl_status_t describe(descriptor *d, int64_t rows, int64_t columns, dnnl_data_type_t type,
                              dnnl_format_tag_t tag)
{
    dnnl_dims_t dims = {rows, columns};
    return dnnl_memory_desc_init_by_tag(d, 2, dims, type, tag);
}

static dnnl_status_t describe_product(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const descriptor *x,
                                      const descriptor *w, const descriptor *y)
{
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_matmul_desc_init(&op, x, w, NULL, y);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &op, NULL, engine, NULL) : status;
}

static void release(descriptor *d)
{
    (void)d;
}
#endif

/* Memory that oneDNN owns, every byte written. Bit patterns of 0x3c… are small numbers in f32 and bf16. */
static bool make_memory(dnnl_memory_t *out, const_dnnl_primitive_desc_t desc, dnnl_query_t which, dnnl_engine_t engine)
{
    void *data;
    size_t size = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(desc, which, 0));
    if (failed(dnnl_memory_create(out, dnnl_primitive_desc_query_md(desc, which, 0), engine, DNNL_MEMORY_ALLOCATE)) ||
        failed(dnnl_memory_get_data_handle(*out, &data)))
        return false;
    memset(data, 0x3c, size);
    return true;
}

static bool make_product(setup *s, int rows, bool bf16)
{
    dnnl_data_type_t type = bf16 ? dnnl_bf16 : dnnl_f32;
    descriptor x, w, y;
    dnnl_primitive_desc_t desc = NULL;
    if (failed(describe(&x, rows, K, type, dnnl_ab)) || failed(describe(&w, K, N, type, dnnl_format_tag_any)) ||
        failed(describe(&y, rows, N, type, dnnl_ab)))
        return false;
    bool good = !failed(describe_product(&desc, s->engine, &x, &w, &y)) &&
                !failed(dnnl_primitive_create(&s->product, desc)) &&
                make_memory(&s->x, desc, dnnl_query_src_md, s->engine) &&
                make_memory(&s->y, desc, dnnl_query_dst_md, s->engine);
    for (int i = 0; good && i < N_WEIGHTS; i++)
        good = make_memory(&s->weights[i], desc, dnnl_query_weights_md, s->engine);
    release(&x);
    release(&w);
    release(&y);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    return good;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median over rounds, each through all the weights. */
static double time_product(const setup *s, int rows)
{
    enum { ROUNDS = 7 };
    double rates[ROUNDS];
    for (int round = -1; round < ROUNDS; round++) {
        int64_t start = omnid_clock_us();
        for (int i = 0; i < N_WEIGHTS; i++) {
            dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, s->x}, {DNNL_ARG_WEIGHTS, s->weights[i]}, {DNNL_ARG_DST, s->y}};
            if (failed(dnnl_primitive_execute(s->product, s->stream, 3, args)))
                return 0;
        }
        dnnl_stream_wait(s->stream);
        if (round >= 0) /* the first one warms up */
            rates[round] = 2.0 * rows * N * K * N_WEIGHTS / 1e3 / (double)(omnid_clock_us() - start);
    }
    qsort(rates, ROUNDS, sizeof *rates, compare);
    return rates[ROUNDS / 2];
}

static double measure_product(int rows, bool bf16)
{
    setup s = {0};
    double rate = 0;
    if (failed(dnnl_engine_create(&s.engine, dnnl_cpu, 0)) ||
        failed(dnnl_stream_create(&s.stream, s.engine, dnnl_stream_default_flags)))
        return 0;
    if (make_product(&s, rows, bf16))
        rate = time_product(&s, rows);
    for (int i = 0; i < N_WEIGHTS; i++)
        if (s.weights[i])
            dnnl_memory_destroy(s.weights[i]);
    if (s.x)
        dnnl_memory_destroy(s.x);
    if (s.y)
        dnnl_memory_destroy(s.y);
    if (s.product)
        dnnl_primitive_destroy(s.product);
    dnnl_stream_destroy(s.stream);
    dnnl_engine_destroy(s.engine);
    return rate;
}

static void use_threads(int n)
{
#ifdef _OPENMP
    if (n > 0)
        omp_set_num_threads(n);
#else
    (void)n;
#endif
}

#else

static double measure_product(int rows, bool bf16)
{
    (void)rows;
    (void)bf16;
    return 0;
}

static void use_threads(int n)
{
    (void)n;
}

#endif

int ceiling_main(const char *what)
{
    char precision[8] = "";
    int n_threads = 0;
    if (sscanf(what, "%7[a-z0-9],%d", precision, &n_threads) < 1)
        return 2;
    use_threads(n_threads);
    bool bf16 = strcmp(precision, "bf16") == 0;
    printf("338 %.3f 30 %.3f %.3f\n", measure_product(338, bf16), measure_product(30, bf16), measure_read());
    return 0;
}
