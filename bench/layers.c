/* layers.c: a whole decoder layer (products, attention, norms and what joins them), as the slices of ingest and of a question
 * tell it, and the towers, as the reports of segments tell them, against the rate of oneDNN's bare product. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WHOLE_SEGMENT_ROWS = 512, /* rows of a slice here: a whole segment's 338 tokens at once */
    QUERY_ROWS = 30,
    FULL_CONTEXT = 4816, /* 64 s of 336x336 after section 4 of docs/semantics.md */
    QUICK_CONTEXT = 676,
    AUDIO_TOKENS = 50,
    MAX_SAMPLES_OF_WORK = 1024
};

/* Slices of one kind with so many rows (0 = any) of a segment (-1 = questions): their times in ms; how many. */
static int slice_times(const probe *p, omnid_slice_kind kind, int64_t segment, int n_rows, double *ms)
{
    int n = 0;
    for (int i = 0; i < p->n_slices && n < MAX_SAMPLES_OF_WORK; i++) {
        const omnid_slice *s = &p->slices[i];
        if (s->kind == kind && s->layer >= 0 && s->segment == segment && (n_rows == 0 || s->n_rows == n_rows))
            ms[n++] = (double)(s->end_us - s->start_us) / 1e3;
    }
    return n;
}

static void add_work(bench *b, const char *what, double rows, double context, double flops, double *ms, int n)
{
    bench_results *r = b->r;
    if (n == 0 || r->n_work == (int)(sizeof r->work / sizeof *r->work))
        return;
    bench_work *w = &r->work[r->n_work++];
    *w =
        (bench_work){.what = what, .rows = rows, .context = context, .ms = median(ms, n), .gflop = flops / 1e9, .n = n};
    w->gflops = w->ms > 0 ? w->gflop / (w->ms / 1e3) : 0;
}

static omnid_status open_timeline(bench *b, probe *p, omnid_timeline **tl, unsigned modes, bool video, omnid_error *err)
{
    omnid_timeline_params t = omnid_timeline_params_default();
    t.system = "";
    t.has_video = video;
    t.has_audio = true;
    t.window_segments = 256;
    t.modes = modes;
    t.intra = false;
    t.max_pixels = b->o->side * b->o->side;
    return omnid_timeline_create(tl, p->engine, &t, err);
}

/* Asks a question whose query has so many rows, n times over; the text's bytes are tokens of the random model. */
static omnid_status ask_rows(probe *p, omnid_timeline *tl, int n_rows, int n, omnid_error *err)
{
    char text[64] = "?";
    omnid_question_params q = omnid_question_params_default();
    q.question = text;
    q.max_tokens = 1;
    q.mode = OMNID_MODE_EAGER;
    q.retention = "none";
    OMNID_TRY(probe_ask(p, tl, &q, err));
    int found = 0;
    for (int i = 0; i < p->n_slices; i++)
        if (p->slices[i].kind == OMNID_SLICE_QUESTION && p->slices[i].layer >= 0)
            found = p->slices[i].n_rows;
    if (found > n_rows || n_rows - found >= (int)sizeof text - 1)
        return omnid_fail(err, OMNID_SHAPE, "a question of one letter has %d rows, want at most %d", found, n_rows);
    memset(text, 'a', (size_t)(n_rows - found));
    memcpy(text + n_rows - found, "?", 2);
    probe_clear(p);
    for (int i = 0; i < n; i++)
        OMNID_TRY(probe_ask(p, tl, &q, err));
    return OMNID_OK;
}

/* Rows of the prefix, which every row sees: the ingest slice of layer 0 that stands before the first segment's own. */
static int prefix_rows(const probe *p)
{
    int before = 0, n = 0;
    for (int i = 0; i < p->n_slices; i++) {
        const omnid_slice *s = &p->slices[i];
        if (s->kind != OMNID_SLICE_INGEST || s->layer != 0)
            continue;
        if (n++ == 0)
            before = s->n_rows;
    }
    return n > 1 ? before : 0;
}

static int samples_for_tokens(int tokens)
{
    return tokens >= AUDIO_TOKENS ? BENCH_SAMPLES : 160 * (4 * tokens - 1);
}

/* Feeds whole segments, then sound alone, until the timeline holds `context` tokens; *next: the next segment's number. */
static omnid_status fill_context(bench *b, probe *p, omnid_timeline *tl, int context, int64_t *next, omnid_error *err)
{
    int held = 0, whole = 0;
    while (held < context) {
        bool fits = whole == 0 || held + whole <= context;
        int left = context - held, audio = left < AUDIO_TOKENS ? left : AUDIO_TOKENS;
        OMNID_TRY(
            probe_feed(p, tl, b->source, *next, fits ? 4 : 0, fits ? BENCH_SAMPLES : samples_for_tokens(audio), err));
        const omnid_segment_report *r = &p->reports[p->n_reports - 1];
        if (r->n_video_kept + r->n_audio_kept == 0)
            return omnid_fail(err, OMNID_SHAPE, "segment %lld gave no token", (long long)*next);
        held += r->n_video_kept + r->n_audio_kept;
        whole = whole ? whole : held;
        ++*next;
        fprintf(stderr, "\rfilling a timeline: %d of %d tokens ", held, context);
    }
    fputc('\n', stderr);
    return OMNID_OK;
}

/* Rows and times of a segment's layers. */
static int segment_layers(const probe *p, int64_t segment, double *ms, int *n_rows)
{
    const omnid_segment_report *r = &p->reports[p->n_reports - 1];
    *n_rows = r->n_video_kept + r->n_audio_kept;
    return slice_times(p, OMNID_SLICE_INGEST, segment, *n_rows, ms);
}

/* Context 0: the first segment of a timeline, and a question about a single token of sound. */
static omnid_status at_start(bench *b, probe *p, omnid_error *err)
{
    static double ms[MAX_SAMPLES_OF_WORK];
    omnid_timeline *tl = NULL;
    int n_rows = 0, n = 0, rounds = b->o->quick ? 1 : 2, prefix = 0;
    omnid_status st = OMNID_OK;
    for (int i = 0; st == OMNID_OK && i < rounds + 1; i++) { /* the first one warms up */
        probe_clear(p);
        st = open_timeline(b, p, &tl, OMNID_MODE_EAGER, true, err);
        if (st == OMNID_OK)
            st = probe_feed(p, tl, b->source, 0, 4, BENCH_SAMPLES, err);
        if (st == OMNID_OK && i > 0 && n < MAX_SAMPLES_OF_WORK / 2)
            n += segment_layers(p, 0, ms + n, &n_rows);
        prefix = prefix_rows(p);
        omnid_timeline_destroy(&tl);
    }
    OMNID_TRY(st);
    add_work(b, "decoder layer", n_rows, prefix, shape_layer_flops(&b->r->shape, n_rows, prefix), ms, n);
    probe_clear(p);
    OMNID_TRY(open_timeline(b, p, &tl, OMNID_MODE_EAGER, false, err));
    st = probe_feed(p, tl, b->source, 0, 0, samples_for_tokens(1), err);
    if (st == OMNID_OK)
        st = ask_rows(p, tl, QUERY_ROWS, 3, err);
    n = slice_times(p, OMNID_SLICE_QUESTION, -1, QUERY_ROWS, ms);
    add_work(b, "decoder layer", QUERY_ROWS, prefix + 1, shape_layer_flops(&b->r->shape, QUERY_ROWS, prefix + 1), ms,
             n);
    omnid_timeline_destroy(&tl);
    return st;
}

static omnid_status at_length(bench *b, probe *p, omnid_timeline *tl, int context, omnid_error *err)
{
    static double ms[MAX_SAMPLES_OF_WORK];
    int n_rows;
    int64_t next = 0;
    probe_clear(p);
    OMNID_TRY(fill_context(b, p, tl, context, &next, err));
    int prefix = prefix_rows(p);
    OMNID_TRY(ask_rows(p, tl, QUERY_ROWS, 3, err));
    int n = slice_times(p, OMNID_SLICE_QUESTION, -1, QUERY_ROWS, ms);
    double flops = shape_layer_flops(&b->r->shape, QUERY_ROWS, context + prefix);
    add_work(b, "decoder layer", QUERY_ROWS, context + prefix, flops, ms, n);
    probe_clear(p);
    OMNID_TRY(probe_feed(p, tl, b->source, next, 4, BENCH_SAMPLES, err));
    bench_note_kv(b, tl);
    n = segment_layers(p, next, ms, &n_rows);
    add_work(b, "decoder layer", n_rows, context + prefix, shape_layer_flops(&b->r->shape, n_rows, context + prefix),
             ms, n);
    return OMNID_OK;
}

omnid_status bench_layers(bench *b, omnid_error *err)
{
    probe p;
    omnid_timeline *tl = NULL;
    omnid_engine_params e = omnid_engine_params_default();
    e.slice_rows = WHOLE_SEGMENT_ROWS;
    e.graphs = false; /* a slice a layer */
    OMNID_TRY(probe_open(&p, b->model, &e, err));
    omnid_status st = at_start(b, &p, err);
    if (st == OMNID_OK)
        st = open_timeline(b, &p, &tl, OMNID_MODE_EAGER, true, err);
    if (st == OMNID_OK)
        st = at_length(b, &p, tl, b->o->quick ? QUICK_CONTEXT : FULL_CONTEXT, err);
    omnid_timeline_destroy(&tl);
    probe_close(&p);
    return st;
}

/* Encoding time of segments 1.. of a timeline that does not prefill; segment 0 warms up. */
static omnid_status tower(bench *b, probe *p, bool video, double *ms, int *n, omnid_error *err)
{
    omnid_timeline *tl = NULL;
    int rounds = b->o->quick ? 2 : 4;
    *n = 0;
    probe_clear(p);
    OMNID_TRY(open_timeline(b, p, &tl, OMNID_MODE_OFFLINE, true, err));
    omnid_status st = OMNID_OK;
    for (int i = 0; i < rounds && st == OMNID_OK; i++) {
        st = probe_feed(p, tl, b->source, i, video ? 4 : 0, video ? 0 : BENCH_SAMPLES, err);
        if (st == OMNID_OK && i > 0)
            ms[(*n)++] = (double)p->reports[p->n_reports - 1].encode_us / 1e3;
    }
    omnid_timeline_destroy(&tl);
    return st;
}

omnid_status bench_towers(bench *b, omnid_error *err)
{
    probe p;
    double ms[8];
    int n, side = b->o->side / 28;
    omnid_engine_params e = omnid_engine_params_default();
    OMNID_TRY(probe_open(&p, b->model, &e, err));
    omnid_status st = tower(b, &p, true, ms, &n, err);
    if (st == OMNID_OK) {
        add_work(b, "vision tower, 2 grids", 2 * side * side, 0, 2 * shape_vision_flops(&b->r->shape, side, side), ms,
                 n);
        st = tower(b, &p, false, ms, &n, err);
    }
    if (st == OMNID_OK)
        add_work(b, "audio tower, 2 s", AUDIO_TOKENS, 0, shape_audio_flops(&b->r->shape, 200), ms, n);
    probe_close(&p);
    return st;
}
