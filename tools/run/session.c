/* session.c: opens model, clip and engine, feeds the clip, asks, prints. */
#include "tools/run/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEGMENT_SAMPLES = 32000,
    LIVE_QUEUE = 4,
    MAX_CHOICES = 64,
    MAX_WINDOW = 43200,
    POSITIONS_A_SEGMENT = 50,
    POSITIONS_OF_TEXT = 1024
};

typedef struct {
    const run_options *o;
    clip *clip;
    omnid_model *model;
    omnid_engine *engine;
    omnid_timeline *tl;
    run_reports reports;
    omnid_turn *history; /* [n_history] */
    int n_history, n_choices;
    char *choice_text; /* what `choices` points into */
    const char *choices[MAX_CHOICES];
    bool has_now;             /* the clip was cut inside a segment, which is `now` */
    omnid_segment_params now; /* borrowed from the clip */
    int64_t n_fed;            /* closed segments */
    const char *question;     /* under way */
    bool done;
    omnid_error failure; /* of the question under way */
} session;

/* ---- callbacks of the engine ---- */

static void on_text(void *user, uint64_t answer, const char *text, size_t n)
{
    const session *s = user;
    (void)answer;
    if (s->o->questions || s->n_choices)
        return;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static void print_timings(const session *s, const omnid_result *r)
{
    const omnid_timings *t = &r->timings;
    int64_t encode = 0, prefill = 0;
    for (int i = 0; i < s->reports.n; i++) {
        encode += s->reports.items[i].encode_us;
        prefill += s->reports.items[i].prefill_us;
    }
    fprintf(stderr, "ingest: %d segments, encode %.1f ms, prefill %.1f ms\n", s->reports.n, (double)encode / 1e3,
            (double)prefill / 1e3);
    fprintf(stderr,
            "answer: %s, first token after %.1f ms, encode %.1f ms, prefill %.1f ms, decode %.1f ms, %d tokens, ",
            omnid_mode_name(r->mode), (double)(t->first_token_us - t->queued_us) / 1e3, (double)t->encode_us / 1e3,
            (double)t->prefill_us / 1e3, (double)t->decode_us / 1e3, r->n_tokens);
    fprintf(stderr, "retained %.1f %%, ended by %s\n", 100 * r->retained, r->stop_reason);
}

static omnid_status print_result(const session *s, const omnid_result *r, omnid_error *err)
{
    if (s->o->questions)
        return trace_print_answer(s->question, r, err);
    if (!s->n_choices)
        putchar('\n');
    for (int i = 0; i < r->n_choices; i++)
        printf("%c %10.4f  %s\n", i == r->best_choice ? '*' : ' ', r->choice_logprobs[i], s->choices[i]);
    if (s->o->timings)
        print_timings(s, r);
    if (s->o->trace)
        return trace_write(s->o->trace, r, &s->reports, omnid_model_get_info(s->model).vocabulary, err);
    return OMNID_OK;
}

static void on_done(void *user, uint64_t answer, const omnid_result *r)
{
    session *s = user;
    (void)answer;
    s->done = true;
    print_result(s, r, &s->failure);
}

static void on_error(void *user, uint64_t answer, const omnid_error *err)
{
    session *s = user;
    (void)answer;
    s->done = true;
    s->failure = *err;
}

static void on_segment(void *user, omnid_timeline *tl, const omnid_segment_report *r)
{
    session *s = user;
    run_reports *all = &s->reports;
    (void)tl;
    if (all->n == all->capacity) {
        int capacity = all->capacity ? 2 * all->capacity : 64;
        omnid_segment_report *items = realloc(all->items, (size_t)capacity * sizeof *items);
        if (!items) /* the report is lost, the answer is not */
            return;
        all->items = items;
        all->capacity = capacity;
    }
    all->items[all->n++] = *r;
    progress("segment %lld seen", (long long)r->index);
}

static void on_load(void *user, double done)
{
    (void)user;
    progress("loading the model, %.0f %%", 100 * done);
}

/* ---- feeding ---- */

/* What a live source with these gaps would have delivered of a segment. */
static void apply_gaps(const session *s, omnid_segment_params *p)
{
    int parts = options_gap(s->o, p->index);
    if (parts & GAP_VIDEO)
        p->n_frames = 0;
    if (parts & GAP_AUDIO) {
        p->samples = NULL;
        p->n_samples = 0;
    }
    if (p->n_samples > SEGMENT_SAMPLES && (options_gap(s->o, p->index + 1) & GAP_AUDIO))
        p->n_samples = SEGMENT_SAMPLES; /* the awaited samples are the next segment's */
}

/* Runs slices until there is nothing to do. */
static omnid_status pump(session *s, omnid_error *err)
{
    for (;;) {
        omnid_status st = omnid_engine_step(s->engine, 0, err);
        if (st == OMNID_AGAIN)
            return OMNID_OK;
        if (st != OMNID_OK)
            return st;
    }
}

static omnid_status feed_segment(session *s, const omnid_segment_params *p, omnid_error *err)
{
    omnid_segment *seg = NULL;
    OMNID_TRY(omnid_segment_create(&seg, s->tl, p, err));
    omnid_status st = omnid_timeline_submit(s->tl, &seg, err);
    if (st == OMNID_BUSY) {
        st = pump(s, err);
        if (st == OMNID_OK)
            st = omnid_timeline_submit(s->tl, &seg, err);
    }
    omnid_segment_destroy(&seg);
    s->n_fed++;
    return st == OMNID_OK ? pump(s, err) : st;
}

/* Where --ask-at cuts: so many closed segments, and samples and frames of the open one. */
typedef struct {
    int64_t n_closed;
    bool open;
    int n_samples, n_frames;
} cut;

static cut find_cut(double t)
{
    if (t < 0)
        return (cut){.n_closed = INT64_MAX};
    int64_t samples =
        (int64_t)floor(t * 16000 + 1e-6); /* 25.3 s are 404,800 samples, whatever the product's last bit */
    cut c = {.n_closed = samples / SEGMENT_SAMPLES, .n_samples = (int)(samples % SEGMENT_SAMPLES)};
    for (int i = 0; i < 4; i++)
        c.n_frames += 2 * (double)c.n_closed + 0.5 * i < t;
    c.open = c.n_samples > 0 || c.n_frames > 0;
    return c;
}

static omnid_status feed(session *s, omnid_error *err)
{
    cut c = find_cut(s->o->ask_at);
    for (;;) {
        omnid_segment_params p;
        if (!c.open && s->n_fed == c.n_closed)
            return OMNID_OK;
        omnid_status st = s->clip->next(s->clip, &p, err);
        if (st == OMNID_END)
            return s->o->is_stream ? OMNID_OK : omnid_timeline_end(s->tl, err);
        if (st != OMNID_OK)
            return st;
        apply_gaps(s, &p);
        if (s->n_fed < c.n_closed) {
            OMNID_TRY(feed_segment(s, &p, err));
            continue;
        }
        p.n_samples = p.n_samples < c.n_samples ? p.n_samples : c.n_samples;
        p.n_frames = p.n_frames < c.n_frames ? p.n_frames : c.n_frames;
        if (p.n_samples == 0)
            p.samples = NULL;
        s->now = p;
        s->has_now = true;
        return OMNID_OK;
    }
}

/* ---- asking ---- */

static omnid_question_params question_params(const session *s, const char *question)
{
    const run_options *o = s->o;
    omnid_question_params p = omnid_question_params_default();
    p.question = question;
    p.history = s->history;
    p.n_history = s->n_history;
    p.mode = o->mode_value;
    p.policy = o->policy;
    p.retention = o->retention;
    p.first_prune = o->first_prune;
    p.seed = (uint64_t)o->seed;
    p.max_tokens = o->max_tokens;
    p.temperature = o->temperature;
    p.top_p = o->top_p;
    p.repetition_penalty = o->repetition_penalty;
    p.last_s = o->last_s;
    p.choices = s->n_choices ? s->choices : NULL;
    p.n_choices = s->n_choices;
    p.trace = o->trace != NULL;
    return p;
}

static omnid_status ask(session *s, const char *question, omnid_error *err)
{
    omnid_question_params p = question_params(s, question);
    omnid_segment *now = NULL;
    uint64_t answer;
    s->question = question;
    s->done = false;
    s->failure = (omnid_error){0};
    if (s->has_now)
        OMNID_TRY(omnid_segment_create(&now, s->tl, &s->now, err));
    omnid_status st = omnid_timeline_ask(s->tl, &p, &now, &answer, err);
    omnid_segment_destroy(&now);
    while (st == OMNID_OK && !s->done) {
        st = omnid_engine_step(s->engine, 100, err);
        if (st == OMNID_AGAIN)
            st = OMNID_OK;
    }
    if (s->failure.status != OMNID_OK && err)
        *err = s->failure;
    return s->failure.status != OMNID_OK ? s->failure.status : st;
}

static omnid_status ask_lines(session *s, char *text, omnid_error *err)
{
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        line[strcspn(line, "\r")] = 0;
        if (!*line)
            continue;
        OMNID_TRY(ask(s, line, err));
        progress("asked: %s", line);
    }
    return OMNID_OK;
}

static omnid_status ask_all(session *s, omnid_error *err)
{
    char *text;
    size_t n;
    if (!s->o->questions)
        return ask(s, s->o->question, err);
    OMNID_TRY(file_read(s->o->questions, &text, &n, err));
    omnid_status st = ask_lines(s, text, err);
    free(text);
    return st;
}

/* ---- opening ---- */

static omnid_status read_choices(session *s, omnid_error *err)
{
    if (!s->o->choices)
        return OMNID_OK;
    s->choice_text = strdup(s->o->choices);
    if (!s->choice_text)
        return omnid_fail(err, OMNID_NOMEM, "no memory for the choices");
    for (char *at = s->choice_text, *next; at; at = next) {
        if (s->n_choices == MAX_CHOICES)
            return omnid_fail(err, OMNID_LIMIT, "--choices: want at most %d", MAX_CHOICES);
        next = strchr(at, '|');
        if (next)
            *next++ = 0;
        s->choices[s->n_choices++] = at;
    }
    return OMNID_OK;
}

static omnid_status open_model(session *s, omnid_error *err)
{
    omnid_model_params p = omnid_model_params_default();
    if (s->o->backend)
        p.backend = s->o->backend;
    p.precision = s->o->precision_value;
    p.weights = s->o->weights_value;
    p.n_threads = s->o->n_threads;
    p.on_progress = on_load;
    return omnid_model_open(&s->model, s->o->model, &p, err);
}

/* Segments the window must hold. A file of unknown length gets what the model's positions allow. */
static int window_segments(const session *s)
{
    if (s->o->is_stream)
        return s->o->window_segments;
    if (s->clip->n_segments > 0)
        return s->clip->n_segments < MAX_WINDOW ? (int)s->clip->n_segments : MAX_WINDOW;
    int fit = (omnid_model_get_info(s->model).max_positions - POSITIONS_OF_TEXT) / POSITIONS_A_SEGMENT;
    return fit < 32 ? 32 : fit < MAX_WINDOW ? fit : MAX_WINDOW;
}

static omnid_status open_engine(session *s, omnid_error *err)
{
    const omnid_callbacks callbacks = {
        .user = s, .on_text = on_text, .on_done = on_done, .on_error = on_error, .on_segment = on_segment};
    omnid_engine_params p = omnid_engine_params_default();
    p.max_queued_segments = s->o->mel_clip ? window_segments(s) + 1 : LIVE_QUEUE;
    p.deterministic = s->o->trace != NULL;
    return omnid_engine_create(&s->engine, s->model, &p, &callbacks, err);
}

static omnid_status open_timeline(session *s, omnid_error *err)
{
    omnid_timeline_params p = omnid_timeline_params_default();
    p.system = s->o->system;
    p.has_video = s->clip->has_video;
    p.has_audio = s->clip->has_audio;
    p.window_segments = window_segments(s);
    p.hop_segments = s->o->hop_segments;
    p.modes = s->o->mode_value;
    p.intra = !s->o->retention || strcmp(s->o->retention, "none") != 0;
    p.mel_clip = s->o->mel_clip;
    p.max_pixels = s->clip->max_pixels;
    return omnid_timeline_create(&s->tl, s->engine, &p, err);
}

static omnid_status session_open(session *s, omnid_error *err)
{
    const run_options *o = s->o;
    OMNID_TRY(read_choices(s, err));
    if (o->history)
        OMNID_TRY(turns_read(&s->history, &s->n_history, o->history, err));
    OMNID_TRY(o->video ? clip_open_video(&s->clip, o->video, err)
                       : clip_open_files(&s->clip, o->frames, o->audio, err));
    OMNID_TRY(open_model(s, err));
    OMNID_TRY(open_engine(s, err));
    return open_timeline(s, err);
}

static omnid_status session_work(session *s, omnid_error *err)
{
    OMNID_TRY(session_open(s, err));
    OMNID_TRY(feed(s, err));
    OMNID_TRY(pump(s, err));
    if (!s->o->is_stream && s->n_fed > window_segments(s))
        return omnid_fail(err, OMNID_LIMIT,
                          "the clip has %lld segments of 2 s, this model's window %d: use --stream %d",
                          (long long)s->n_fed, window_segments(s), window_segments(s));
    return ask_all(s, err);
}

omnid_status session_run(const run_options *o, omnid_error *err)
{
    session s = {.o = o};
    omnid_status st = session_work(&s, err);
    omnid_timeline_destroy(&s.tl);
    omnid_engine_destroy(&s.engine);
    omnid_model_destroy(&s.model);
    clip_close(&s.clip);
    turns_free(s.history, s.n_history);
    free(s.choice_text);
    free(s.reports.items);
    return st;
}
