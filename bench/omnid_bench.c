/* omnid_bench.c: how fast this machine runs a model of given dimensions. Random weights, the engine as the daemon uses it
 * (omnid.h), and beside every figure what the machine could do at best. */
#include "bench/bench.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEY_SEGMENTS = 256,
    KEY_MODE,
    KEY_RETENTION,
    KEY_THREADS,
    KEY_JSON,
    KEY_CSV,
    KEY_QUICK,
    KEY_LAYERS,
    KEY_PRECISION,
    KEY_WEIGHTS,
    KEY_BACKEND,
    KEY_SIDE,
    KEY_TOKENS,
    KEY_LIMIT,
    KEY_LIVE,
    KEY_ONLY_LIVE,
    KEY_MINUTES,
    KEY_COMPARE,
    KEY_BUDGET,
    KEY_CEILING
};

static const struct argp_option options[] = {
    {"shape", 's', "3b|7b|FILE", 0, "Dimensions: a published model's, or those of a config.json (3b)", 0},
    {"segments", KEY_SEGMENTS, "N", 0, "Segments of 2 s on the longest timeline (32)", 0},
    {"mode", KEY_MODE, "M,M", 0, "Modes to ask in (eager,deferred,offline)", 0},
    {"retention", KEY_RETENTION, "R;R", 0, "Retentions to ask at, semicolons between (none;30;20)", 0},
    {"threads", KEY_THREADS, "N", 0, "Threads; 0 = all the process may use (0)", 0},
    {"precision", KEY_PRECISION, "f32|bf16", 0, "Of activations, weights and KV (what the machine does fastest)", 0},
    {"weights", KEY_WEIGHTS, "auto|int8", 0, "int8: 8 bits a weight, whatever the precision (auto)", 0},
    {"backend", KEY_BACKEND, "NAME", 0, "auto, cuda, cpu, reference (auto)", 0},
    {"layers", KEY_LAYERS, "N", 0, "Cut decoder and towers to N layers each; the results say so", 0},
    {"side", KEY_SIDE, "N", 0, "Side of the square frames in units of 28 pixels (12: 336x336)", 0},
    {"tokens", KEY_TOKENS, "N", 0, "Tokens of an answer (9)", 0},
    {"memory-limit-mib", KEY_LIMIT, "N", 0, "A model that needs more is refused; 0 = the machine's memory (0)", 0},
    {"json", KEY_JSON, "FILE", 0, "Write all figures there", 0},
    {"csv", KEY_CSV, "FILE", 0, "Append a row for each mode, retention and length", 0},
    {"quick", KEY_QUICK, NULL, 0, "8 segments, retentions none and 30, shorter contexts", 0},
    {"live", KEY_LIVE, NULL, 0, "Also: first ids idle and during ingest, long timelines, many questions and cameras",
     0},
    {"only-live", KEY_ONLY_LIVE, NULL, 0, "Nothing but those", 0},
    {"minutes", KEY_MINUTES, "N,N", 0, "Lengths of the long timelines, rising (1,5,30)", 0},
    {"compare-f32", KEY_COMPARE, NULL, 0, "Also: logits and survivors beside those of the same model in f32", 0},
    {"budget", KEY_BUDGET, "SECONDS", 0, "No new part of --live after so long; says what was left out", 0},
    {"ceiling", KEY_CEILING, "PRECISION,THREADS", OPTION_HIDDEN, "Only measure the ceilings", 0},
    {0}};

static int whole(struct argp_state *state, const char *name, const char *arg, long min, long max)
{
    char *end;
    long v = strtol(arg, &end, 10);
    if (end == arg || *end || v < min || v > max)
        argp_error(state, "--%s: want a whole number from %ld to %ld, found '%s'", name, min, max, arg);
    return (int)v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    bench_options *o = state->input;
    omnid_error err;
    switch (key) {
    case 's':
        o->shape = arg;
        break;
    case KEY_MODE:
        o->modes = arg;
        break;
    case KEY_RETENTION:
        o->retentions = arg;
        break;
    case KEY_JSON:
        o->json = arg;
        break;
    case KEY_CSV:
        o->csv = arg;
        break;
    case KEY_PRECISION:
        o->precision = arg;
        break;
    case KEY_WEIGHTS:
        if (omnid_weights_parse(&o->weights, arg, &err) != OMNID_OK)
            argp_error(state, "--%s", err.text);
        break;
    case KEY_BACKEND:
        o->backend = arg;
        break;
    case KEY_QUICK:
        o->quick = true;
        break;
    case KEY_SEGMENTS:
        o->n_segments = whole(state, "segments", arg, 1, 4096);
        break;
    case KEY_THREADS:
        o->n_threads = whole(state, "threads", arg, 0, 4096);
        break;
    case KEY_LAYERS:
        o->n_layers = whole(state, "layers", arg, 1, 512);
        break;
    case KEY_SIDE:
        o->side = whole(state, "side", arg, 1, 80) * 28;
        break;
    case KEY_TOKENS:
        o->max_tokens = whole(state, "tokens", arg, 1, 4096);
        break;
    case KEY_LIMIT:
        o->memory_limit_mib = whole(state, "memory-limit-mib", arg, 0, 1 << 30);
        break;
    case KEY_LIVE:
        o->live = true;
        break;
    case KEY_ONLY_LIVE:
        o->live = o->only_live = true;
        break;
    case KEY_COMPARE:
        o->compare = true;
        break;
    case KEY_MINUTES:
        o->lengths_text = arg;
        break;
    case KEY_BUDGET:
        o->budget_s = whole(state, "budget", arg, 1, 1000000);
        break;
    case KEY_CEILING:
        exit(ceiling_main(arg));
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': want only options", arg);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* Splits text at a separator, in place. */
static int split(char *text, char separator, const char **parts, int max)
{
    int n = 0;
    for (char *next; text && n < max; text = next) {
        next = strchr(text, separator);
        if (next)
            *next++ = 0;
        parts[n++] = text;
    }
    return n;
}

static omnid_status read_modes(bench_options *o, char *text, omnid_error *err)
{
    const char *names[8];
    int n = split(text, ',', names, 8);
    for (int i = 0; i < n; i++) {
        omnid_mode mode;
        OMNID_TRY(omnid_mode_parse(&mode, names[i], err));
        o->mode_set |= mode;
    }
    return OMNID_OK;
}

/* Minutes, a fraction allowed, to segments of 2 s. */
static omnid_status read_lengths(bench_options *o, omnid_error *err)
{
    char text[128];
    const char *parts[BENCH_MAX_LENGTHS];
    snprintf(text, sizeof text, "%s", o->lengths_text);
    int n = split(text, ',', parts, BENCH_MAX_LENGTHS);
    for (int i = 0; i < n; i++) {
        char *end;
        double minutes = strtod(parts[i], &end);
        o->lengths[i] = minutes > 0 && minutes < 1440 ? (int)(minutes * 30 + 0.5) : 0;
        if (end == parts[i] || *end || o->lengths[i] < 1 || (i > 0 && o->lengths[i] <= o->lengths[i - 1]))
            return omnid_fail(err, OMNID_ARGUMENT, "--minutes: want rising minutes below 1440, found '%s'", parts[i]);
    }
    o->n_lengths = n;
    return OMNID_OK;
}

static omnid_model_params model_params(const bench_options *o)
{
    omnid_model_params p = omnid_model_params_default();
    if (o->backend)
        p.backend = o->backend;
    p.precision = !o->precision                       ? OMNID_PRECISION_AUTO
                  : strcmp(o->precision, "bf16") == 0 ? OMNID_PRECISION_BF16
                                                      : OMNID_PRECISION_F32;
    p.weights = o->weights;
    p.n_threads = o->n_threads;
    p.memory_limit = (uint64_t)o->memory_limit_mib << 20;
    return p;
}

static omnid_status load_model(bench *b, omnid_error *err)
{
    const bench_options *o = b->o;
    bench_results *r = b->r;
    omnid_model_params p = model_params(o);
    OMNID_TRY(shape_read(&r->shape, o->shape, err));
    if (o->n_layers > 0)
        OMNID_TRY(shape_cut(&r->shape, o->shape, o->n_layers, b->cut_shape, sizeof b->cut_shape, err));
    fprintf(stderr, "making random weights of %s\n", r->shape.name);
    int64_t start = omnid_clock_us();
    omnid_status st = omnid_model_create_random(&b->model, *b->cut_shape ? b->cut_shape : o->shape, 1, &p, err);
    r->load_s = (double)(omnid_clock_us() - start) / 1e6;
    if (st == OMNID_OK)
        r->info = omnid_model_get_info(b->model);
    return st;
}

omnid_status bench_take_ceiling(bench *b, omnid_error *err)
{
    bench_ceiling c, *best = &b->r->ceiling;
    fprintf(stderr, "measuring the machine's ceilings\n");
    bool bf16 = b->r->info.precision == OMNID_PRECISION_BF16;
    OMNID_TRY(ceiling_measure(&c, b->o->program, bf16, b->r->info.n_threads, err));
    for (int i = 0; i < 2; i++) {
        best->rows[i] = c.rows[i];
        best->gflops[i] = c.gflops[i] > best->gflops[i] ? c.gflops[i] : best->gflops[i];
    }
    best->read_gb_s = c.read_gb_s > best->read_gb_s ? c.read_gb_s : best->read_gb_s;
    return OMNID_OK;
}

void bench_note_kv(bench *b, omnid_timeline *tl)
{
    uint64_t kv = (uint64_t)omnid_timeline_get_status(tl).n_tokens * b->r->info.kv_bytes_per_token;
    b->r->kv_bytes = kv > b->r->kv_bytes ? kv : b->r->kv_bytes;
}

/* The ceiling is taken before and after the work that is compared with it: the machine may not be all ours. It is the
 * processor's: a device's own is measured by omnid-kernel-bench. */
static omnid_status measure_work(bench *b, omnid_error *err)
{
    bench_results *r = b->r;
    bool host = strcmp(r->info.backend, "cuda") != 0;
    if (host)
        OMNID_TRY(bench_take_ceiling(b, err));
    OMNID_TRY(bench_layers(b, err));
    OMNID_TRY(bench_towers(b, err));
    if (host)
        OMNID_TRY(bench_take_ceiling(b, err));
    for (int i = 0; i < r->n_work; i++)
        r->work[i].share = r->ceiling.gflops[0] > 0 ? r->work[i].gflops / r->ceiling.gflops[0] : 0;
    return bench_timelines(b, err);
}

static omnid_status measure(bench *b, omnid_error *err)
{
    bench_results *r = b->r;
    OMNID_TRY(load_model(b, err));
    OMNID_TRY(synthetic_create(&b->source, b->o->side, b->o->side, err));
    if (!b->o->only_live)
        OMNID_TRY(measure_work(b, err));
    if (b->o->live)
        OMNID_TRY(bench_live(b, err));
    if (b->o->compare) {
        const omnid_model_params p = model_params(b->o);
        OMNID_TRY(bench_precision(b, *b->cut_shape ? b->cut_shape : b->o->shape, &p, err));
    }
    r->peak_bytes = process_memory("VmHWM");
    return OMNID_OK;
}

static omnid_status bench_run(const bench_options *o, omnid_error *err)
{
    static bench_results results;
    bench b = {.o = o, .r = &results, .start_us = omnid_clock_us()};
    omnid_status st = measure(&b, err);
    if (st == OMNID_OK)
        report_print(&b);
    if (st == OMNID_OK && o->json)
        st = report_json(&b, o->json, err);
    if (st == OMNID_OK && o->csv)
        st = report_csv(&b, o->csv, err);
    if (*b.cut_shape)
        unlink(b.cut_shape);
    synthetic_destroy(&b.source);
    omnid_model_destroy(&b.model);
    return st;
}

static omnid_status prepare(bench_options *o, char *modes, char *retentions, omnid_error *err)
{
    ssize_t n = readlink("/proc/self/exe", o->program, sizeof o->program - 1);
    if (n < 0)
        return omnid_fail(err, OMNID_IO, "/proc/self/exe cannot be read");
    o->program[n] = 0;
    OMNID_TRY(read_modes(o, modes, err));
    OMNID_TRY(read_lengths(o, err));
    o->n_retentions = split(retentions, ';', o->retention, BENCH_MAX_RETENTIONS);
    return OMNID_OK;
}

int main(int argc, char **argv)
{
    static bench_options o = {
        .shape = "3b", .modes = "eager,deferred,offline", .side = 336, .max_tokens = 9, .lengths_text = "1,5,30"};
    const struct argp parser = {.options = options,
                                .parser = parse,
                                .doc = "Measures omnid's engine on random weights of real dimensions."
                                       "\vbench/README.md says what each figure is."};
    char modes[64], retentions[256];
    omnid_error err = {0};
    argp_program_version = "omnid-bench " OMNID_VERSION;
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &o);
    if (o.n_segments == 0)
        o.n_segments = o.quick ? 8 : 32;
    if (!o.retentions)
        o.retentions = o.quick ? "none;30" : "none;30;20";
    snprintf(modes, sizeof modes, "%s", o.modes);
    snprintf(retentions, sizeof retentions, "%s", o.retentions);
    omnid_log_set(OMNID_LOG_WARNING, NULL, NULL);
    omnid_status st = prepare(&o, modes, retentions, &err);
    if (st == OMNID_OK)
        st = bench_run(&o, &err);
    if (st != OMNID_OK)
        fprintf(stderr, "omnid-bench: %s\n", err.text);
    return st == OMNID_OK ? 0 : 1;
}
