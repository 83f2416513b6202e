/* report.c: the same figures as a table, as JSON and as rows of a CSV file. */
#include "bench/bench.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#ifndef OMNID_COMMIT
#define OMNID_COMMIT "unknown"
#endif

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

/* "bf16", "f32+int8", … */
static const char *precision_name(const omnid_model_info *i)
{
    bool bf16 = i->precision == OMNID_PRECISION_BF16;
    if (i->weights == OMNID_WEIGHTS_INT8)
        return bf16 ? "bf16+int8" : "f32+int8";
    return bf16 ? "bf16" : "f32";
}

/* What the peak is measured against: weights, KV of the most tokens held, and 1 GiB. */
static uint64_t memory_allowance(const bench_results *r)
{
    return r->info.weight_bytes + r->kv_bytes + (UINT64_C(1) << 30);
}

/* Bytes of weights that one generated token reads. */
static double decode_bytes(const bench_results *r)
{
    const double int8 = 1 + 2.0 / 128; /* with its scales */
    return shape_decode_weights(&r->shape) * (r->info.weights == OMNID_WEIGHTS_INT8       ? int8
                                              : r->info.precision == OMNID_PRECISION_BF16 ? 2
                                                                                          : 4);
}

static void today(char *out, size_t size)
{
    time_t now = time(NULL);
    struct tm tm;
    strftime(out, size, "%Y-%m-%d", localtime_r(&now, &tm));
}

static void processor(char *out, size_t size)
{
    char line[256];
    snprintf(out, size, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *at = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (!at)
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(out, size, "%.100s", at + 2);
        break;
    }
    if (f)
        fclose(f);
}

/* ---- table ---- */

static void print_head(const bench *b)
{
    const bench_results *r = b->r;
    char date[32], cpu[128];
    today(date, sizeof date);
    processor(cpu, sizeof cpu);
    printf("%s  %s, commit %s, %s\n", date, r->shape.name, OMNID_COMMIT, cpu);
    printf("%.2f G parameters, backend %s, %s, %d threads, frames %dx%d; weights %.0f MiB packed in %.1f s\n",
           (double)r->info.n_parameters / 1e9, r->info.backend, precision_name(&r->info), r->info.n_threads, b->o->side,
           b->o->side, mib(r->info.weight_bytes), r->load_s);
    if (r->ceiling.rows[0] == 0)
        return;
    printf("ceilings: oneDNN 338x11008x2048 %.1f GFLOP/s (%d rows: %.1f), memory read %.1f GB/s\n\n",
           r->ceiling.gflops[0], r->ceiling.rows[1], r->ceiling.gflops[1], r->ceiling.read_gb_s);
}

static void print_work(const bench_results *r)
{
    printf("%-24s %6s %8s %10s %10s %10s %8s %5s\n", "work", "rows", "context", "ms", "GFLOP", "GFLOP/s", "ceiling",
           "n");
    for (int i = 0; i < r->n_work; i++) {
        const bench_work *w = &r->work[i];
        printf("%-24s %6.0f %8.0f %10.2f %10.2f %10.1f %7.1f%% %5d\n", w->what, w->rows, w->context, w->ms, w->gflop,
               w->gflops, 100 * w->share, w->n);
    }
}

static void print_ingest(const bench_results *r)
{
    printf("\n%-10s %9s %7s %6s %12s %12s %12s %8s\n", "segment", "section 4", "tokens", "kept", "encode ms",
           "prefill ms", "both p95 ms", "x real");
    for (int i = 0; i < r->n_ingest; i++) {
        const bench_ingest *g = &r->ingest[i];
        printf("%-10d %9s %7d %6d %12.1f %12.1f %12.1f %8.3f\n", g->n, g->intra ? "on" : "off", g->n_tokens, g->n_kept,
               g->encode_ms, g->prefill_ms, g->ingest_ms_p95, g->real_time_factor);
    }
}

static void print_questions(const bench_results *r)
{
    double bytes = decode_bytes(r);
    printf("\n%-9s %-9s %8s %7s %9s %11s %11s %9s %8s %3s\n", "mode", "retention", "seconds", "tokens", "retained",
           "ttft ms", "prefill ms", "tokens/s", "GB/s", "n");
    for (int i = 0; i < r->n_questions; i++) {
        const bench_question *q = &r->questions[i];
        printf("%-9s %-9s %8d %7d %8.1f%% %11.1f %11.1f", omnid_mode_name(q->mode), q->retention, 2 * q->n_segments,
               q->n_tokens, 100 * q->retained, q->ttft_ms, q->prefill_ms);
        if (q->decode_ms > 0)
            printf(" %9.2f %8.1f", 1e3 / q->decode_ms, bytes / 1e6 / q->decode_ms);
        else
            printf(" %9s %8s", "-", "-");
        printf(" %3d\n", q->n);
    }
}

/* Offline prefill with pruning against without, at the longest timeline. */
static void print_pruning(const bench_results *r)
{
    const bench_question *none = NULL;
    for (int i = 0; i < r->n_questions; i++) {
        const bench_question *q = &r->questions[i];
        if (q->mode == OMNID_MODE_OFFLINE && strcmp(q->retention, "none") == 0 &&
            (!none || q->n_segments > none->n_segments))
            none = q;
    }
    for (int i = 0; none && i < r->n_questions; i++) {
        const bench_question *q = &r->questions[i];
        if (q != none && q->mode == none->mode && q->n_segments == none->n_segments && none->prefill_ms > 0)
            printf("offline, %d s: prefill at %s takes %.3f of the time of none\n", 2 * q->n_segments, q->retention,
                   q->prefill_ms / none->prefill_ms);
    }
}

static void print_figures(const bench_results *r)
{
    if (r->n_figures > 0)
        printf("\n%-9s %-9s %-9s %8s %7s %-22s %14s %14s %-6s %4s\n", "part", "mode", "retention", "segments",
               "at once", "figure", "p50", "p95", "unit", "n");
    for (int i = 0; i < r->n_figures; i++) {
        const bench_figure *f = &r->figures[i];
        printf("%-9s %-9s %-9s %8d %7d %-22s %14.3f %14.3f %-6s %4d\n", f->part, omnid_mode_name(f->mode), f->retention,
               f->n_segments, f->n_at_once, f->name, f->p50, f->p95, f->unit, f->n);
    }
    if (*r->cut)
        printf("left out: %s\n", r->cut);
}

void report_print(const bench *b)
{
    const bench_results *r = b->r;
    print_head(b);
    if (!b->o->only_live) {
        print_work(r);
        print_ingest(r);
        print_questions(r);
        putchar('\n');
        print_pruning(r);
    }
    print_figures(r);
    printf("peak memory %.0f MiB = %.3f x (weights %.0f + KV %.0f + 1024 MiB)\n", mib(r->peak_bytes),
           (double)r->peak_bytes / (double)memory_allowance(r), mib(r->info.weight_bytes), mib(r->kv_bytes));
}

/* ---- JSON ---- */

static json_t *json_work(const bench_results *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->n_work; i++) {
        const bench_work *w = &r->work[i];
        json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:i}", "what", w->what, "rows",
                                              w->rows, "context", w->context, "ms", w->ms, "gflop", w->gflop, "gflops",
                                              w->gflops, "share_of_ceiling", w->share, "n", w->n));
    }
    return list;
}

static json_t *json_ingest(const bench_results *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->n_ingest; i++) {
        const bench_ingest *g = &r->ingest[i];
        json_array_append_new(list, json_pack("{s:b, s:i, s:i, s:i, s:f, s:f, s:f, s:f}", "section_4", g->intra, "n",
                                              g->n, "tokens", g->n_tokens, "kept", g->n_kept, "encode_ms_p50",
                                              g->encode_ms, "prefill_ms_p50", g->prefill_ms, "ingest_ms_p95",
                                              g->ingest_ms_p95, "real_time_factor", g->real_time_factor));
    }
    return list;
}

static json_t *json_questions(const bench_results *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->n_questions; i++) {
        const bench_question *q = &r->questions[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:i}", "mode",
                                              omnid_mode_name(q->mode), "retention", q->retention, "n_segments",
                                              q->n_segments, "n_tokens", q->n_tokens, "retained", q->retained,
                                              "ttft_ms_p50", q->ttft_ms, "prefill_ms_p50", q->prefill_ms,
                                              "decode_ms_a_token", q->decode_ms, "n", q->n));
    }
    return list;
}

static json_t *json_figures(const bench_results *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->n_figures; i++) {
        const bench_figure *f = &r->figures[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:f, s:f, s:i}", "part", f->part,
                                              "mode", omnid_mode_name(f->mode), "retention", f->retention, "n_segments",
                                              f->n_segments, "n_at_once", f->n_at_once, "figure", f->name, "unit",
                                              f->unit, "p50", f->p50, "p95", f->p95, "n", f->n));
    }
    return list;
}

static json_t *json_report(const bench *b)
{
    const bench_results *r = b->r;
    char date[32], cpu[128];
    today(date, sizeof date);
    processor(cpu, sizeof cpu);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:f}", "date", date, "commit", OMNID_COMMIT,
                  "processor", cpu, "shape", r->shape.name, "backend", r->info.backend, "precision",
                  precision_name(&r->info), "threads", r->info.n_threads, "frame_side", b->o->side, "parameters",
                  (double)r->info.n_parameters, "weight_mib", mib(r->info.weight_bytes), "load_s", r->load_s);
    json_object_set_new(o, "ceilings",
                        json_pack("{s:f, s:f, s:f}", "gemm_338_gflops", r->ceiling.gflops[0], "gemm_30_gflops",
                                  r->ceiling.gflops[1], "memory_read_gb_s", r->ceiling.read_gb_s));
    json_object_set_new(o, "work", json_work(r));
    json_object_set_new(o, "segments", json_ingest(r));
    json_object_set_new(o, "questions", json_questions(r));
    json_object_set_new(o, "live", json_figures(r));
    json_object_set_new(o, "cut", json_string(r->cut));
    json_object_set_new(o, "decode_weight_bytes", json_real(decode_bytes(r)));
    json_object_set_new(o, "kv_bytes_per_token", json_real((double)r->info.kv_bytes_per_token));
    json_object_set_new(o, "memory",
                        json_pack("{s:f, s:f, s:f}", "peak_mib", mib(r->peak_bytes), "kv_mib", mib(r->kv_bytes),
                                  "of_weights_kv_1gib", (double)r->peak_bytes / (double)memory_allowance(r)));
    return o;
}

omnid_status report_json(const bench *b, const char *path, omnid_error *err)
{
    json_t *o = json_report(b);
    int failed = json_dump_file(o, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(o);
    return failed ? omnid_fail(err, OMNID_IO, "%s: cannot be written", path) : OMNID_OK;
}

/* ---- CSV ---- */

static const char csv_head[] = "date,commit,shape,backend,precision,threads,mode,retention,n_segments,n_tokens,"
                               "retained,ttft_ms_p50,prefill_ms_p50,"
                               "decode_tokens_s,encode_ms_p50,ingest_prefill_ms_p50,ingest_ms_p95,real_time_factor,"
                               "gemm_gflops,read_gb_s,peak_mib\n";

static const bench_ingest *ingest_of(const bench_results *r, const bench_question *q)
{
    static const bench_ingest nothing;
    for (int i = 0; i < r->n_ingest; i++)
        if (r->ingest[i].intra == (strcmp(q->retention, "none") != 0))
            return &r->ingest[i];
    return &nothing;
}

static void csv_row(FILE *f, const bench_results *r, const bench_question *q, const char *date)
{
    const bench_ingest *g = ingest_of(r, q);
    fprintf(f, "%s,%s,%s,%s,%s,%d,%s,\"%s\",%d,%d,%.4f,%.3f,%.3f,%.3f,", date, OMNID_COMMIT, r->shape.name,
            r->info.backend, precision_name(&r->info), r->info.n_threads, omnid_mode_name(q->mode), q->retention,
            q->n_segments, q->n_tokens, q->retained, q->ttft_ms, q->prefill_ms,
            q->decode_ms > 0 ? 1e3 / q->decode_ms : 0);
    fprintf(f, "%.2f,%.2f,%.2f,%.4f,%.1f,%.1f,%.0f\n", g->encode_ms, g->prefill_ms, g->ingest_ms_p95,
            g->real_time_factor, r->ceiling.gflops[0], r->ceiling.read_gb_s, mib(r->peak_bytes));
}

omnid_status report_csv(const bench *b, const char *path, omnid_error *err)
{
    char date[32];
    struct stat st;
    today(date, sizeof date);
    bool fresh = stat(path, &st) != 0 || st.st_size == 0;
    FILE *f = fopen(path, "a");
    if (!f)
        return omnid_fail(err, OMNID_IO, "%s: %s", path, strerror(errno));
    if (fresh)
        fputs(csv_head, f);
    for (int i = 0; i < b->r->n_questions; i++)
        csv_row(f, b->r, &b->r->questions[i], date);
    return fclose(f) == 0 ? OMNID_OK : omnid_fail(err, OMNID_IO, "%s: %s", path, strerror(errno));
}
