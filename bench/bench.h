/* bench.h: what the files of omnid-bench share. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "bench/ceiling.h"
#include "bench/probe.h"
#include "bench/shape.h"

enum {
    BENCH_MAX_RETENTIONS = 8,
    BENCH_MAX_LENGTHS = 6,
    BENCH_MAX_ROWS = 256,
    BENCH_MAX_FIGURES = 512,
    BENCH_SAMPLES = 32040
};

typedef struct {
    const char *shape, *modes, *retentions, *json, *csv, *precision, *backend;
    const char *lengths_text; /* minutes of the long timelines, commas between */
    omnid_weights weights;
    int n_segments, n_threads, n_layers, side, max_tokens;
    int64_t memory_limit_mib;
    bool quick, live, only_live, compare;
    double budget_s; /* of the live figures; 0 = as long as they take */
    /* worked out */
    unsigned mode_set;
    const char *retention[BENCH_MAX_RETENTIONS];
    int n_retentions;
    int lengths[BENCH_MAX_LENGTHS]; /* segments, rising */
    int n_lengths;
    char program[4096];
} bench_options;

/* Time of a piece of work against the ceiling of the products. */
typedef struct {
    const char *what;
    double rows, context; /* of a decoder layer */
    double ms, gflop;     /* median of one, and the work in it */
    double gflops, share; /* share of the ceiling: 0..1, 0 = no ceiling */
    int n;                /* measured */
} bench_work;

/* One question asked. */
typedef struct {
    omnid_mode mode;
    const char *retention;
    int n_segments, n_tokens;                        /* of the timeline: audio and video tokens in it */
    int n;                                           /* asked */
    double ttft_ms, prefill_ms, retained, decode_ms; /* medians; decode_ms: one token */
} bench_question;

/* What taking in a segment costs. */
typedef struct {
    bool intra;
    unsigned modes;
    int n, n_tokens, n_kept;
    double encode_ms, prefill_ms, ingest_ms_p95, real_time_factor;
} bench_ingest;

/* One row of the live figures (live.c). */
typedef struct {
    const char *part, *name, *unit; /* static */
    omnid_mode mode;
    const char *retention;
    int n_segments, n_at_once; /* segments in the window; questions or cameras */
    double p50, p95;           /* of n */
    int n;
} bench_figure;

typedef struct {
    bench_shape shape;
    omnid_model_info info;
    char name[128];        /* the shape's, and what was cut */
    bench_ceiling ceiling; /* the highest of all measured in this run */
    double load_s;
    bench_work work[8];
    int n_work;
    bench_ingest ingest[4];
    int n_ingest;
    bench_question questions[BENCH_MAX_ROWS];
    int n_questions;
    bench_figure figures[BENCH_MAX_FIGURES];
    int n_figures;
    char cut[1024]; /* what was left out, and why */
    uint64_t peak_bytes, kv_bytes;
} bench_results;

typedef struct {
    const bench_options *o;
    bench_results *r;
    omnid_model *model;
    synthetic *source;
    char cut_shape[512]; /* the config.json of fewer layers; "" = none */
    int64_t start_us;    /* of the program: the budget counts from here */
} bench;

/* layers.c: whole decoder layers and the towers against the ceiling. */
omnid_status bench_layers(bench *b, omnid_error *err);
omnid_status bench_towers(bench *b, omnid_error *err);
/* timeline.c: segments in, questions at several lengths. */
omnid_status bench_timelines(bench *b, omnid_error *err);
/* live.c: figures of an engine on a thread of its own. */
omnid_status bench_live(bench *b, omnid_error *err);
/* precision.c: answers beside those of the same model in f32. shape: as for omnid_model_create_random. Needs room for both; without
 * it says so and goes on. */
omnid_status bench_precision(bench *b, const char *shape, const omnid_model_params *params, omnid_error *err);
/* Remembers the most KV that the tokens of a timeline take in all layers. */
void bench_note_kv(bench *b, omnid_timeline *tl);
/* Measures the ceiling again and keeps the higher figures. */
omnid_status bench_take_ceiling(bench *b, omnid_error *err);

/* report.c */
void report_print(const bench *b);
omnid_status report_json(const bench *b, const char *path, omnid_error *err);
omnid_status report_csv(const bench *b, const char *path, omnid_error *err);

#endif
