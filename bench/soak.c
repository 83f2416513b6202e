/* soak.c: omnid-soak: feeds a model thousands of segments faster than real time, asks now and then, and watches the process's
 * memory: it must stay flat (at most 1 % growth after the warm-up). */
#include "bench/probe.h"

#include <argp.h>
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SEGMENTS = 256, KEY_WINDOW, KEY_ASK, KEY_EVERY, KEY_CSV, KEY_THREADS, SAMPLES = 32040 };

typedef struct {
    const char *model, *csv;
    int n_segments, window, ask_every, every, n_threads;
} soak_options;

typedef struct {
    const soak_options *o;
    FILE *csv;
    double warm, last, most; /* MiB: after the warm-up, at the end, in between */
    int n_answers;
    double ttft_ms;
} soak;

static const struct argp_option options[] = {
    {"model", 'm', "DIR", 0, "Model folder (models/demo)", 0},
    {"segments", KEY_SEGMENTS, "N", 0, "Segments to feed (10000)", 0},
    {"window", KEY_WINDOW, "N", 0, "Segments in the window (32)", 0},
    {"ask-every", KEY_ASK, "N", 0, "A question after every N segments (25)", 0},
    {"every", KEY_EVERY, "N", 0, "Write memory down every N segments (100)", 0},
    {"csv", KEY_CSV, "FILE", 0, "Write the curve there", 0},
    {"threads", KEY_THREADS, "N", 0, "Threads; 0 = all the process may use (0)", 0},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    soak_options *o = state->input;
    int *number = key == KEY_SEGMENTS  ? &o->n_segments
                  : key == KEY_WINDOW  ? &o->window
                  : key == KEY_ASK     ? &o->ask_every
                  : key == KEY_EVERY   ? &o->every
                  : key == KEY_THREADS ? &o->n_threads
                                       : NULL;
    if (number) {
        char *end;
        long v = strtol(arg, &end, 10);
        if (end == arg || *end || v < (key == KEY_THREADS ? 0 : 1) || v > 100000000)
            argp_error(state, "want a number of 1 or more, found '%s'", arg);
        *number = (int)v;
        return 0;
    }
    if (key == 'm')
        o->model = arg;
    else if (key == KEY_CSV)
        o->csv = arg;
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

/* A quarter of the run: the window has slid many times, and products of most numbers of rows (gaps make odd ones) have been
 * prepared; oneDNN keeps the code of each. */
static int warm_up(const soak_options *o)
{
    int quarter = o->n_segments / 4, windows = 8 * o->window;
    return quarter > windows ? quarter : windows < o->n_segments ? windows : o->n_segments / 2;
}

static void note(soak *s, int n_segments, double seconds)
{
    double rss = (double)process_memory("VmRSS") / (1 << 20);
    struct mallinfo2 heap = mallinfo2(); /* what is in use tells a leak from holes in the heap */
    if (s->csv) {
        fprintf(s->csv, "%d,%.1f,%.3f,%.3f,%d,%.3f\n", n_segments, seconds, rss,
                (double)(heap.uordblks + heap.hblkhd) / (1 << 20), s->n_answers, s->ttft_ms);
        fflush(s->csv);
    }
    if (n_segments <= warm_up(s->o))
        s->warm = rss;
    s->most = rss > s->most ? rss : s->most;
    s->last = rss;
}

static omnid_status ask(soak *s, probe *p, omnid_timeline *tl, int i, omnid_error *err)
{
    static const char *const questions[] = {"What is on the screen?", "What do you hear?", "Which colour did it have?"};
    static const char *const retentions[] = {"30", "20", "45"};
    omnid_question_params q = omnid_question_params_default();
    q.question = questions[i % 3];
    q.retention = retentions[i / 3 % 3];
    q.max_tokens = 8;
    OMNID_TRY(probe_ask(p, tl, &q, err));
    s->n_answers++;
    s->ttft_ms = (double)(p->answer.timings.first_token_us - p->answer.timings.queued_us) / 1e3;
    return OMNID_OK;
}

static omnid_status feed(soak *s, probe *p, omnid_timeline *tl, synthetic *source, omnid_error *err)
{
    int64_t start = omnid_clock_us();
    for (int i = 0; i < s->o->n_segments; i++) {
        int n_frames = i % 97 == 96 ? 0 : 4, n_samples = i % 89 == 88 ? 0 : SAMPLES; /* a gap now and then */
        OMNID_TRY(probe_feed(p, tl, source, i, n_frames, n_samples, err));
        if ((i + 1) % s->o->ask_every == 0)
            OMNID_TRY(ask(s, p, tl, i / s->o->ask_every, err));
        probe_clear(p);
        if ((i + 1) % s->o->every == 0)
            note(s, i + 1, (double)(omnid_clock_us() - start) / 1e6);
        if ((i + 1) % 1000 == 0)
            fprintf(stderr, "%d segments, %.1f MiB, %.0f s\n", i + 1, s->last,
                    (double)(omnid_clock_us() - start) / 1e6);
    }
    return OMNID_OK;
}

static omnid_status run(soak *s, omnid_model *m, omnid_error *err)
{
    probe p;
    omnid_timeline *tl = NULL;
    synthetic *source = NULL;
    int side = (int)sqrt((double)omnid_model_get_info(m).max_pixels);
    omnid_engine_params e = omnid_engine_params_default();
    omnid_timeline_params t = omnid_timeline_params_default();
    t.has_video = t.has_audio = true;
    t.window_segments = s->o->window;
    OMNID_TRY(probe_open(&p, m, &e, err));
    omnid_status st = synthetic_create(&source, side, side, err);
    if (st == OMNID_OK)
        st = omnid_timeline_create(&tl, p.engine, &t, err);
    if (st == OMNID_OK)
        st = feed(s, &p, tl, source, err);
    omnid_timeline_destroy(&tl);
    synthetic_destroy(&source);
    probe_close(&p);
    return st;
}

static omnid_status open_csv(soak *s, omnid_error *err)
{
    if (!s->o->csv)
        return OMNID_OK;
    s->csv = fopen(s->o->csv, "w");
    if (!s->csv)
        return omnid_fail(err, OMNID_IO, "%s: %s", s->o->csv, strerror(errno));
    fputs("segments,seconds,rss_mib,heap_in_use_mib,answers,ttft_ms\n", s->csv);
    return OMNID_OK;
}

int main(int argc, char **argv)
{
    static soak_options o = {.model = "models/demo", .n_segments = 10000, .window = 32, .ask_every = 25, .every = 100};
    const struct argp parser = {
        .options = options, .parser = parse, .doc = "Feeds a model segments and watches its memory."};
    omnid_error err = {0};
    omnid_model *m = NULL;
    soak s = {.o = &o};
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &o);
    omnid_log_set(OMNID_LOG_ERROR, NULL, NULL);
    omnid_model_params p = omnid_model_params_default();
    p.n_threads = o.n_threads;
    omnid_status st = omnid_model_open(&m, o.model, &p, &err);
    if (st == OMNID_OK)
        st = open_csv(&s, &err);
    if (st == OMNID_OK)
        st = run(&s, m, &err);
    omnid_model_destroy(&m);
    if (s.csv)
        fclose(s.csv);
    if (st != OMNID_OK) {
        fprintf(stderr, "omnid-soak: %s\n", err.text);
        return 1;
    }
    double growth = s.warm > 0 ? s.last / s.warm - 1 : 0;
    printf("%d segments, %d answers: %.2f MiB after %d segments, %.2f MiB at the end (most: %.2f), growth %.2f %%\n",
           o.n_segments, s.n_answers, s.warm, warm_up(&o), s.last, s.most, 100 * growth);
    return growth <= 0.01 ? 0 : 1;
}
