/* live.c: the engine on a thread of its own: time to the first id with and without segments coming in, what a segment costs,
 * long timelines, many questions and many cameras at once. One figure a row; docs: README.md. */
#include "bench/bench.h"
#include "bench/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUERY_ROWS = 30,
    WARM = 3,
    MANY_IDS = 65,
    SOME_IDS = 17,
    MAX_AT_ONCE = 8,
    MAX_CAMERAS = STAGE_MAX_TIMELINES,
    FEWEST = 5,                /* measured of anything, however long it takes */
    ENOUGH_US = 3000000,       /* then no more after so long */
    FULL_LENGTHS_US = 20000000 /* of the long timelines of all tokens: a straight line tells the rest */
};

typedef struct {
    bench *b;
    stage s;
    omnid_mode mode;
    const char *retention;
    char question[64];
    int n_segments, n_at_once; /* for the figures */
} live;

/* ---- figures ---- */

static void add(live *v, const char *part, const char *name, const char *unit, double p50, double p95, int n)
{
    bench_results *r = v->b->r;
    if (n == 0 || r->n_figures == BENCH_MAX_FIGURES)
        return;
    r->figures[r->n_figures++] = (bench_figure){.part = part,
                                                .name = name,
                                                .unit = unit,
                                                .mode = v->mode,
                                                .retention = v->retention,
                                                .n_segments = v->n_segments,
                                                .n_at_once = v->n_at_once,
                                                .p50 = p50,
                                                .p95 = p95,
                                                .n = n};
    fprintf(stderr, "%-8s %-8s %-4s %4d segments x %-2d %-24s %12.3f %12.3f %s\n", part, omnid_mode_name(v->mode),
            v->retention, v->n_segments, v->n_at_once, name, p50, p95, unit);
}

static void add_samples(live *v, const char *part, const char *name, const double *ms, int n)
{
    static double sorted[STAGE_MAX_SAMPLES];
    memcpy(sorted, ms, (size_t)n * sizeof *ms);
    add(v, part, name, "ms", median(sorted, n), quantile(sorted, n, 0.95), n);
}

static void add_ttft(live *v, const char *part, const char *name)
{
    add_samples(v, part, name, v->s.samples.ttft_ms, v->s.samples.n_answers);
}

static void add_memory(live *v, const char *part, int at)
{
    double held = (double)omnid_engine_get_status(v->s.engine).memory_bytes;
    double kv = (double)omnid_timeline_get_status(v->s.tl[at]).memory_bytes;
    add(v, part, "memory", "bytes", held, held, 1);
    double tokens = omnid_timeline_get_status(v->s.tl[at]).n_tokens;
    add(v, part, "timeline", "bytes", kv, kv, 1);
    add(v, part, "tokens", "tokens", tokens, tokens, 1);
}

/* Writes down what is left out. */
static void leave_out(live *v, const char *part, const char *why)
{
    bench_results *r = v->b->r;
    size_t used = strlen(r->cut);
    snprintf(r->cut + used, sizeof r->cut - used, "%s%s %s %s (%s)", used ? "; " : "", part, omnid_mode_name(v->mode),
             v->retention, why);
}

/* Is there time for another part? */
static bool has_time(live *v, const char *part)
{
    if (v->b->o->budget_s <= 0 || omnid_clock_us() - v->b->start_us < (int64_t)(v->b->o->budget_s * 1e6))
        return true;
    leave_out(v, part, "time");
    return false;
}

static int rounds(const live *v, int n)
{
    return v->b->o->quick ? (n + 9) / 10 : n;
}

/* ---- questions ---- */

static omnid_question_params ask_params(const live *v, int max_tokens)
{
    omnid_question_params q = omnid_question_params_default();
    q.question = v->question;
    q.mode = v->mode;
    q.retention = v->retention;
    q.max_tokens = max_tokens;
    return q;
}

/* Is the i-th of n still to be measured? */
static bool more_wanted(int i, int n, int64_t start_us)
{
    return i < n && (i < FEWEST || omnid_clock_us() - start_us < ENOUGH_US);
}

/* At most n questions one after the other. */
static omnid_status ask_in_turn(live *v, int at, int n, int max_tokens, omnid_error *err)
{
    omnid_question_params q = ask_params(v, max_tokens);
    int64_t start = omnid_clock_us();
    for (int i = 0; more_wanted(i, n, start); i++) {
        OMNID_TRY(stage_ask(&v->s, at, &q, err));
        OMNID_TRY(stage_settle(&v->s, err));
    }
    return OMNID_OK;
}

/* A question whose query has QUERY_ROWS rows, then warm-up. A letter is a token of the random model, and all but the
 * question are 15; `eager`, whose rows are the query's alone, is asked to be sure. */
static omnid_status prepare_question(live *v, int at, omnid_error *err)
{
    strcpy(v->question, "aaaaaaaaaaaaaa?");
    OMNID_TRY(ask_in_turn(v, at, 1, 1, err));
    pthread_mutex_lock(&v->s.lock);
    int rows = v->s.query_rows, n = (int)strlen(v->question) + QUERY_ROWS - rows;
    pthread_mutex_unlock(&v->s.lock);
    if (v->mode == OMNID_MODE_EAGER && rows > 0 && n > 0 && n < (int)sizeof v->question) {
        memset(v->question, 'a', (size_t)n);
        strcpy(v->question + n - 1, "?");
    }
    OMNID_TRY(ask_in_turn(v, at, WARM, 1, err));
    stage_clear(&v->s);
    return OMNID_OK;
}

static omnid_status measure_idle(live *v, const char *part, int at, int n, omnid_error *err)
{
    stage_clear(&v->s);
    OMNID_TRY(ask_in_turn(v, at, n, 1, err));
    add_ttft(v, part, "ttft idle");
    return OMNID_OK;
}

/* Segments without a pause, questions at random instants among them: 1 to 25 ms after the last was answered. */
static omnid_status measure_during_ingest(live *v, int at, int n, omnid_error *err)
{
    omnid_question_params q = ask_params(v, 1);
    int asked = 0;
    int64_t next = 0, start = omnid_clock_us();
    stage_clear(&v->s);
    while (more_wanted(asked, n, start) || stage_open_answers(&v->s) > 0) {
        if (stage_open_segments(&v->s) < 3)
            OMNID_TRY(stage_submit(&v->s, at, err));
        bool open = stage_open_answers(&v->s) > 0;
        if (open)
            next = 0;
        else if (!next)
            next = omnid_clock_us() + 1000 + rand() % 24000;
        if (!open && omnid_clock_us() >= next) {
            OMNID_TRY(stage_ask(&v->s, at, &q, err));
            asked++;
        }
        stage_wait(&v->s, 500);
        OMNID_TRY(stage_state(&v->s, err));
    }
    OMNID_TRY(stage_settle(&v->s, err));
    add_ttft(v, "answer", "ttft during ingest");
    return OMNID_OK;
}

static omnid_status measure_decode(live *v, int at, omnid_error *err)
{
    stage_clear(&v->s);
    OMNID_TRY(ask_in_turn(v, at, rounds(v, 5), v->b->o->quick ? v->b->o->max_tokens : MANY_IDS, err));
    add_samples(v, "answer", "decode a token", v->s.samples.token_ms, v->s.samples.n_answers);
    return OMNID_OK;
}

/* ---- segments ---- */

/* Throughput of segments that wait in the queue (an even number: whole groups of grids), and latency of single ones. */
static omnid_status measure_ingest(live *v, int at, omnid_error *err)
{
    int n = 2 * rounds(v, 20);
    OMNID_TRY(stage_settle(&v->s, err));
    stage_clear(&v->s);
    int64_t start = omnid_clock_us();
    OMNID_TRY(stage_feed(&v->s, at, n, err));
    double each = (double)(omnid_clock_us() - start) / 1e3 / n;
    add(v, "ingest", "segment, throughput", "ms", each, each, n);
    stage_clear(&v->s);
    for (int i = 0; i < n / 2; i++)
        OMNID_TRY(stage_feed(&v->s, at, 1, err));
    add_samples(v, "ingest", "segment, latency", v->s.samples.latency_ms, v->s.samples.n_segments);
    return OMNID_OK;
}

/* ---- parts: each opens its own stage ---- */

typedef omnid_status measure_part(live *v, omnid_error *err);

static omnid_status with_stage(live *v, measure_part *part, omnid_error *err)
{
    OMNID_TRY(stage_open(&v->s, v->b->model, v->b->source, v->b->o->side, err));
    omnid_status st = part(v, err);
    stage_close(&v->s);
    return st;
}

static bool intra_of(const live *v)
{
    return strcmp(v->retention, "none") != 0;
}

/* A timeline of n segments, and the question. */
static omnid_status fill(live *v, int *at, int n, omnid_error *err)
{
    v->n_segments = n;
    OMNID_TRY(stage_add(&v->s, at, v->mode, intra_of(v), n, err));
    OMNID_TRY(stage_feed(&v->s, *at, n, err));
    return prepare_question(v, *at, err);
}

/* One mode and retention at the usual length: what is waited for, and what is paid for it. */
static omnid_status part_answers(live *v, omnid_error *err)
{
    int at;
    OMNID_TRY(fill(v, &at, v->b->o->n_segments, err));
    OMNID_TRY(measure_idle(v, "answer", at, rounds(v, 100), err));
    add(v, "answer", "retained", "share", v->s.samples.retained, v->s.samples.retained, 1);
    OMNID_TRY(measure_decode(v, at, err));
    add_memory(v, "answer", at);
    OMNID_TRY(measure_ingest(v, at, err));
    return measure_during_ingest(v, at, rounds(v, 100), err);
}

static omnid_status part_at_once(live *v, omnid_error *err)
{
    int at;
    omnid_question_params q;
    OMNID_TRY(fill(v, &at, v->b->o->n_segments, err));
    q = ask_params(v, v->b->o->quick ? v->b->o->max_tokens : SOME_IDS);
    for (v->n_at_once = 1; v->n_at_once <= MAX_AT_ONCE && has_time(v, "questions at once"); v->n_at_once *= 2) {
        double seconds = 0, ids = 0;
        int64_t start = 0, begin = omnid_clock_us();
        int n_rounds = 0;
        for (int round = -1; round < 0 || more_wanted(round, rounds(v, 10), begin); round++) { /* the first warms up */
            if (round <= 0)
                stage_clear(&v->s);
            start = omnid_clock_us();
            for (int i = 0; i < v->n_at_once; i++)
                OMNID_TRY(stage_ask(&v->s, at, &q, err));
            OMNID_TRY(stage_settle(&v->s, err));
            seconds += round < 0 ? 0 : (double)(omnid_clock_us() - start) / 1e6;
            n_rounds = round + 1;
        }
        ids = (double)v->s.samples.n_ids;
        add_ttft(v, "at once", "ttft idle");
        add_samples(v, "at once", "decode a token", v->s.samples.token_ms, v->s.samples.n_answers);
        add(v, "at once", "ids a second", "1/s", ids / seconds, ids / seconds, n_rounds);
    }
    v->n_at_once = 1;
    return OMNID_OK;
}

/* Every camera shows a segment at once, again and again; questions go to one after the other meanwhile. */
static omnid_status feed_cameras(live *v, int n, omnid_error *err)
{
    int n_rounds = 2 * rounds(v, 8);
    omnid_question_params q = ask_params(v, 1);
    stage_clear(&v->s);
    int64_t start = omnid_clock_us();
    for (int round = 0; round < n_rounds; round++)
        for (int i = 0; i < n; i++) {
            OMNID_TRY(stage_submit(&v->s, i, err));
            if (stage_open_answers(&v->s) == 0)
                OMNID_TRY(stage_ask(&v->s, (i + round) % n, &q, err));
        }
    OMNID_TRY(stage_settle(&v->s, err));
    double each = (double)(omnid_clock_us() - start) / 1e3 / (n_rounds * n);
    add(v, "cameras", "segment, throughput", "ms", each, each, n_rounds * n);
    add(v, "cameras", "x real", "share", each * n / 2000, each * n / 2000, n_rounds * n);
    add_ttft(v, "cameras", "ttft during ingest");
    return OMNID_OK;
}

static omnid_status part_cameras(live *v, omnid_error *err)
{
    int n = 0, at;
    for (v->n_at_once = 1; v->n_at_once <= MAX_CAMERAS && has_time(v, "cameras"); v->n_at_once *= 2) {
        for (; n < v->n_at_once; n++)
            OMNID_TRY(fill(v, &at, v->b->o->n_segments, err));
        OMNID_TRY(feed_cameras(v, n, err));
        add_memory(v, "cameras", 0);
    }
    v->n_at_once = 1;
    return OMNID_OK;
}

/* Time for another piece of a long timeline? Those of all tokens have their own limit. */
static bool goes_on(live *v, int64_t start)
{
    if (!intra_of(v) && omnid_clock_us() - start > FULL_LENGTHS_US)
        return false;
    return has_time(v, "lengths");
}

/* From a minute to half an hour; ends where the time does, with what is in by then. */
static omnid_status part_lengths(live *v, omnid_error *err)
{
    int at, last = 0;
    const bench_options *o = v->b->o;
    int64_t start = omnid_clock_us();
    bool on = true;
    OMNID_TRY(stage_add(&v->s, &at, v->mode, intra_of(v), o->lengths[o->n_lengths - 1], err));
    for (int i = 0; i < o->n_lengths && on; i++) {
        for (; on && last < o->lengths[i]; last++) {
            OMNID_TRY(stage_submit(&v->s, at, err));
            on = (last + 1) % 16 || last + 1 == o->lengths[i] || goes_on(v, start);
        }
        OMNID_TRY(stage_settle(&v->s, err));
        v->n_segments = last;
        OMNID_TRY(prepare_question(v, at, err));
        OMNID_TRY(measure_idle(v, "length", at, rounds(v, 20), err));
        add_memory(v, "length", at);
        on = on && (i + 1 == o->n_lengths || goes_on(v, start));
    }
    return OMNID_OK;
}

static omnid_status run(live *v, const char *name, measure_part *part, omnid_error *err)
{
    if (!has_time(v, name))
        return OMNID_OK;
    omnid_status st = with_stage(v, part, err);
    if (st != OMNID_OK && st != OMNID_NOMEM && st != OMNID_LIMIT)
        return st;
    if (st != OMNID_OK) { /* the rest may fit */
        fprintf(stderr, "%s: %s\n", name, err->text);
        leave_out(v, name, "memory");
        *err = (omnid_error){0};
    }
    v->n_at_once = 1;
    return v->b->o->json ? report_json(v->b, v->b->o->json, err) : OMNID_OK; /* what is known stays if the end is cut */
}

/* What the goals are about comes first: time may run out. */
omnid_status bench_live(bench *b, omnid_error *err)
{
    static live v;
    const bench_options *o = b->o;
    v = (live){.b = b, .mode = OMNID_MODE_EAGER, .retention = "30", .n_at_once = 1};
    srand(1);
    OMNID_TRY(run(&v, "answers", part_answers, err));
    v.mode = OMNID_MODE_OFFLINE;
    OMNID_TRY(run(&v, "answers", part_answers, err));
    v.retention = "none";
    OMNID_TRY(run(&v, "answers", part_answers, err));
    v.mode = OMNID_MODE_EAGER;
    v.retention = "30";
    OMNID_TRY(run(&v, "lengths", part_lengths, err));
    v.retention = "none";
    OMNID_TRY(run(&v, "lengths", part_lengths, err));
    v.retention = "30";
    OMNID_TRY(run(&v, "questions at once", part_at_once, err));
    OMNID_TRY(run(&v, "cameras", part_cameras, err));
    for (int mode = OMNID_MODE_EAGER; mode <= OMNID_MODE_OFFLINE; mode *= 2)
        for (int i = 0; o->mode_set & (unsigned)mode && i < o->n_retentions; i++) {
            v.mode = (omnid_mode)mode;
            v.retention = o->retention[i];
            bool done = (mode != OMNID_MODE_DEFERRED && strcmp(v.retention, "30") == 0) ||
                        (mode == OMNID_MODE_OFFLINE && strcmp(v.retention, "none") == 0);
            if (!done)
                OMNID_TRY(run(&v, "answers", part_answers, err));
        }
    return OMNID_OK;
}
