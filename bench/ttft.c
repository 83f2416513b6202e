/* ttft.c: omnid-ttft: time to first token while a live source goes on. One thread runs the engine, as in the daemon; this one
 * submits a segment every 2 s (or faster, --speed) and asks at random instants. */
#include "bench/probe.h"

#include <argp.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEY_QUESTIONS = 256, KEY_WINDOW, KEY_SPEED, KEY_THREADS, KEY_RETENTION, KEY_NOW, KEY_CSV, SAMPLES = 32040 };

typedef struct {
    const char *model, *retention, *csv;
    int n_questions, window, n_threads;
    double speed;
    bool now;
} ttft_options;

typedef struct {
    double ttft_ms, total_ms;
    bool during_ingest; /* a segment was queued or under way when it was asked */
} asked;

/* What both threads see. */
typedef struct {
    const ttft_options *o;
    omnid_engine *engine;
    omnid_timeline *tl;
    atomic_bool stop;
    atomic_int n_done;
    asked *all; /* [n_questions] */
    int n_asked;
    uint64_t first_id; /* answers are numbered one after the other from here */
    omnid_error error; /* of the engine's thread */
} live;

static const struct argp_option options[] = {
    {"model", 'm', "DIR", 0, "Model folder (models/demo)", 0},
    {"questions", KEY_QUESTIONS, "N", 0, "Questions to ask (200)", 0},
    {"window", KEY_WINDOW, "N", 0, "Segments in the window (32)", 0},
    {"speed", KEY_SPEED, "X", 0, "Segments come X times as fast as in real time (1)", 0},
    {"retention", KEY_RETENTION, "R", 0, "Retention of the questions (30)", 0},
    {"now", KEY_NOW, NULL, 0, "Questions take the open segment along", 0},
    {"threads", KEY_THREADS, "N", 0, "Threads; 0 = all the process may use (0)", 0},
    {"csv", KEY_CSV, "FILE", 0, "Write every question's figures there", 0},
    {0}};

static double positive(struct argp_state *state, const char *arg, double max)
{
    char *end;
    double v = strtod(arg, &end);
    if (end == arg || *end || !(v > 0) || v > max)
        argp_error(state, "want a number above 0, at most %g, found '%s'", max, arg);
    return v;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    ttft_options *o = state->input;
    switch (key) {
    case 'm':
        o->model = arg;
        return 0;
    case KEY_RETENTION:
        o->retention = arg;
        return 0;
    case KEY_CSV:
        o->csv = arg;
        return 0;
    case KEY_NOW:
        o->now = true;
        return 0;
    case KEY_QUESTIONS:
        o->n_questions = (int)positive(state, arg, 1e6);
        return 0;
    case KEY_WINDOW:
        o->window = (int)positive(state, arg, 43200);
        return 0;
    case KEY_SPEED:
        o->speed = positive(state, arg, 1000);
        return 0;
    case KEY_THREADS:
        o->n_threads = (int)positive(state, arg, 4096);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void on_done(void *user, uint64_t answer, const omnid_result *r)
{
    live *v = user;
    int i = atomic_load(&v->n_done); /* one question is open at a time */
    (void)answer;
    v->all[i].ttft_ms = (double)(r->timings.first_token_us - r->timings.queued_us) / 1e3;
    v->all[i].total_ms = (double)(r->timings.done_us - r->timings.queued_us) / 1e3;
    atomic_store(&v->n_done, i + 1);
}

static void on_error(void *user, uint64_t answer, const omnid_error *err)
{
    live *v = user;
    (void)answer;
    v->error = *err;
    atomic_store(&v->stop, true);
}

static void *engine_thread(void *user)
{
    live *v = user;
    while (!atomic_load(&v->stop)) {
        omnid_error err = {0};
        omnid_status st = omnid_engine_step(v->engine, 100, &err);
        if (st != OMNID_OK && st != OMNID_AGAIN) {
            v->error = err;
            atomic_store(&v->stop, true);
        }
    }
    return NULL;
}

static void sleep_until(int64_t t_us)
{
    struct timespec t = {.tv_sec = t_us / 1000000, .tv_nsec = t_us % 1000000 * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static omnid_status ask(live *v, synthetic *source, int64_t index, double open_s, omnid_error *err)
{
    omnid_segment *now = NULL;
    uint64_t id;
    omnid_question_params q = omnid_question_params_default();
    q.question = "What is on the screen?";
    q.retention = v->o->retention;
    q.max_tokens = 4;
    if (v->o->now && open_s > 0.05) {
        omnid_segment_params p;
        int n_frames = (int)(open_s / 0.5) + 1;
        synthetic_segment(source, &p, index, n_frames > 4 ? 4 : n_frames, (int)(open_s * 16000));
        OMNID_TRY(omnid_segment_create(&now, v->tl, &p, err));
    }
    v->all[v->n_asked].during_ingest = omnid_timeline_get_status(v->tl).n_queued > 0;
    omnid_status st = omnid_timeline_ask(v->tl, &q, &now, &id, err);
    omnid_segment_destroy(&now);
    v->n_asked += st == OMNID_OK;
    return st;
}

/* Segments at their times, questions at random ones: the next 60 to 440 ms after the last was answered. */
static omnid_status drive(live *v, synthetic *source, int64_t first, omnid_error *err)
{
    int64_t start = omnid_clock_us(), period = (int64_t)(2e6 / v->o->speed), index = first;
    int64_t next_question = start + period / 3;
    srand(1);
    while (atomic_load(&v->n_done) < v->o->n_questions && !atomic_load(&v->stop)) {
        int64_t next_segment = start + (index - first + 1) * period, now = omnid_clock_us();
        bool open = v->n_asked > atomic_load(&v->n_done) || v->n_asked == v->o->n_questions;
        if (now >= next_segment) {
            omnid_status st = synthetic_submit(source, v->tl, index++, 4, SAMPLES, err);
            if (st != OMNID_OK && st != OMNID_BUSY)
                return st;
        } else if (!open && now >= next_question) {
            double open_s = (double)(now - (next_segment - period)) / 1e6 * v->o->speed;
            OMNID_TRY(ask(v, source, index, open_s < 1.999 ? open_s : 1.999, err));
            next_question = now + 60000 + rand() % 380000;
        } else {
            int64_t wake = open || next_question > next_segment ? next_segment : next_question;
            sleep_until(open && wake > now + 2000 ? now + 2000 : wake);
        }
    }
    return OMNID_OK;
}

/* Fills the window on this thread, before the clock starts. */
static omnid_status fill(live *v, synthetic *source, omnid_error *err)
{
    for (int i = 0; i < v->o->window; i++) {
        OMNID_TRY(synthetic_submit(source, v->tl, i, 4, SAMPLES, err));
        omnid_status st;
        while ((st = omnid_engine_step(v->engine, 0, err)) == OMNID_OK)
            ;
        if (st != OMNID_AGAIN)
            return st;
    }
    return OMNID_OK;
}

static void summarise(const live *v, bool only_ingest, const char *what)
{
    int n = 0, done = atomic_load((atomic_int *)&v->n_done);
    double *ms = malloc((size_t)(done + 1) * sizeof *ms);
    if (!ms)
        return;
    for (int i = 0; i < done; i++)
        if (!only_ingest || v->all[i].during_ingest)
            ms[n++] = v->all[i].ttft_ms;
    if (n > 0)
        printf("%s: %d questions, time to first token: median %.2f ms, p95 %.2f ms, most %.2f ms\n", what, n,
               median(ms, n), quantile(ms, n, 0.95), quantile(ms, n, 1));
    free(ms);
}

static void write_csv(const live *v)
{
    FILE *f = v->o->csv ? fopen(v->o->csv, "w") : NULL;
    if (!f)
        return;
    fputs("question,ttft_ms,total_ms,during_ingest\n", f);
    for (int i = 0; i < v->n_asked; i++)
        fprintf(f, "%d,%.3f,%.3f,%d\n", i, v->all[i].ttft_ms, v->all[i].total_ms, v->all[i].during_ingest);
    fclose(f);
}

static omnid_status work(live *v, synthetic *source, omnid_error *err)
{
    pthread_t thread;
    OMNID_TRY(fill(v, source, err));
    if (pthread_create(&thread, NULL, engine_thread, v) != 0)
        return omnid_fail(err, OMNID_NOMEM, "no thread for the engine");
    omnid_status st = drive(v, source, v->o->window, err);
    atomic_store(&v->stop, true);
    omnid_engine_wake(v->engine);
    pthread_join(thread, NULL);
    if (st == OMNID_OK && v->error.status != OMNID_OK) {
        *err = v->error;
        st = v->error.status;
    }
    return st;
}

static omnid_status run(live *v, omnid_model *m, omnid_error *err)
{
    synthetic *source = NULL;
    const omnid_callbacks callbacks = {.user = v, .on_done = on_done, .on_error = on_error};
    int side = (int)sqrt((double)omnid_model_get_info(m).max_pixels);
    omnid_engine_params e = omnid_engine_params_default();
    omnid_timeline_params t = omnid_timeline_params_default();
    t.has_video = t.has_audio = true;
    t.window_segments = v->o->window;
    v->all = calloc((size_t)v->o->n_questions + 1, sizeof *v->all);
    if (!v->all)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d questions", v->o->n_questions);
    OMNID_TRY(omnid_engine_create(&v->engine, m, &e, &callbacks, err));
    omnid_status st = synthetic_create(&source, side, side, err);
    if (st == OMNID_OK)
        st = omnid_timeline_create(&v->tl, v->engine, &t, err);
    if (st == OMNID_OK)
        st = work(v, source, err);
    omnid_timeline_destroy(&v->tl);
    omnid_engine_destroy(&v->engine);
    synthetic_destroy(&source);
    return st;
}

int main(int argc, char **argv)
{
    static ttft_options o = {.model = "models/demo", .retention = "30", .n_questions = 200, .window = 32, .speed = 1};
    const struct argp parser = {
        .options = options, .parser = parse, .doc = "Time to first token while segments keep coming."};
    static live v;
    omnid_error err = {0};
    omnid_model *m = NULL;
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &o);
    omnid_log_set(OMNID_LOG_ERROR, NULL, NULL);
    v.o = &o;
    omnid_model_params p = omnid_model_params_default();
    p.n_threads = o.n_threads;
    omnid_status st = omnid_model_open(&m, o.model, &p, &err);
    if (st == OMNID_OK)
        st = run(&v, m, &err);
    if (st == OMNID_OK) {
        printf("%d s window, segments %.3g x real time, retention %s, %s\n", 2 * o.window, o.speed, o.retention,
               o.now ? "with the open segment" : "closed segments only");
        summarise(&v, false, "all");
        summarise(&v, true, "while a segment was waiting or being taken in");
        write_csv(&v);
    } else {
        fprintf(stderr, "omnid-ttft: %s\n", err.text);
    }
    omnid_model_destroy(&m);
    free(v.all);
    return st == OMNID_OK ? 0 : 1;
}
