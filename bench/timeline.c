/* timeline.c: what segments cost on their way in, and questions by timeline length, mode and retention. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ASKS = 5, ENOUGH_US = 4000000 };

static const char question[] = "What happened, and what was heard?";

static bool wants(const bench *b, bool intra)
{
    for (int i = 0; i < b->o->n_retentions; i++)
        if ((strcmp(b->o->retention[i], "none") != 0) == intra)
            return true;
    return false;
}

static omnid_status open_timeline(bench *b, probe *p, omnid_timeline **tl, bool intra, omnid_error *err)
{
    omnid_timeline_params t = omnid_timeline_params_default();
    t.has_video = t.has_audio = true;
    t.window_segments = b->o->n_segments;
    t.modes = b->o->mode_set;
    t.intra = intra;
    t.max_pixels = b->o->side * b->o->side;
    return omnid_timeline_create(tl, p->engine, &t, err);
}

/* Asks until it is known well enough: five times, or four seconds. */
static omnid_status ask(bench *b, probe *p, omnid_timeline *tl, omnid_mode mode, const char *retention, int n_segments,
                        omnid_error *err)
{
    double ttft[MAX_ASKS], prefill[MAX_ASKS], decode[MAX_ASKS];
    int n = 0;
    int64_t start = omnid_clock_us();
    omnid_question_params q = omnid_question_params_default();
    q.question = question;
    q.mode = mode;
    q.retention = retention;
    q.max_tokens = b->o->max_tokens;
    while (n < MAX_ASKS && (n == 0 || omnid_clock_us() - start < ENOUGH_US)) {
        OMNID_TRY(probe_ask(p, tl, &q, err));
        const omnid_timings *t = &p->answer.timings;
        ttft[n] = (double)(t->first_token_us - t->queued_us) / 1e3;
        prefill[n] = (double)t->prefill_us / 1e3;
        decode[n] = p->answer.n_tokens > 1 ? (double)t->decode_us / 1e3 / (p->answer.n_tokens - 1) : 0;
        n++;
    }
    if (b->r->n_questions == BENCH_MAX_ROWS)
        return OMNID_OK;
    b->r->questions[b->r->n_questions++] = (bench_question){.mode = mode,
                                                            .retention = retention,
                                                            .n_segments = n_segments,
                                                            .n_tokens = omnid_timeline_get_status(tl).n_tokens,
                                                            .n = n,
                                                            .ttft_ms = median(ttft, n),
                                                            .prefill_ms = median(prefill, n),
                                                            .decode_ms = median(decode, n),
                                                            .retained = p->answer.retained};
    return OMNID_OK;
}

static omnid_status ask_all(bench *b, probe *p, omnid_timeline *tl, bool intra, int n_segments, omnid_error *err)
{
    for (int mode = OMNID_MODE_EAGER; mode <= OMNID_MODE_OFFLINE; mode *= 2) {
        for (int i = 0; b->o->mode_set & (unsigned)mode && i < b->o->n_retentions; i++) {
            if ((strcmp(b->o->retention[i], "none") != 0) != intra)
                continue;
            fprintf(stderr, "%d segments: %s, retention %s\n", n_segments, omnid_mode_name((omnid_mode)mode),
                    b->o->retention[i]);
            OMNID_TRY(ask(b, p, tl, (omnid_mode)mode, b->o->retention[i], n_segments, err));
        }
    }
    return OMNID_OK;
}

/* Medians over the segments but the first, which also pays for the system prompt. */
static void add_ingest(bench *b, const probe *p, bool intra)
{
    int n = p->n_reports - 1;
    double *encode = malloc((size_t)(n + 1) * sizeof *encode), *prefill = malloc((size_t)(n + 1) * sizeof *prefill);
    double *both = malloc((size_t)(n + 1) * sizeof *both), total = 0;
    if (n > 0 && encode && prefill && both) {
        for (int i = 0; i < n; i++) {
            const omnid_segment_report *r = &p->reports[i + 1];
            encode[i] = (double)r->encode_us / 1e3;
            prefill[i] = (double)r->prefill_us / 1e3;
            both[i] = encode[i] + prefill[i];
            total += both[i];
        }
        const omnid_segment_report *last = &p->reports[n];
        b->r->ingest[b->r->n_ingest++] = (bench_ingest){.intra = intra,
                                                        .modes = b->o->mode_set,
                                                        .n = n,
                                                        .n_tokens = last->n_video_tokens + last->n_audio_tokens,
                                                        .n_kept = last->n_video_kept + last->n_audio_kept,
                                                        .encode_ms = median(encode, n),
                                                        .prefill_ms = median(prefill, n),
                                                        .ingest_ms_p95 = quantile(both, n, 0.95),
                                                        .real_time_factor = total / n / 2000};
    }
    free(encode);
    free(prefill);
    free(both);
}

/* Questions are asked when 1 segment, a quarter and all of them are in. */
static bool is_stop(const bench *b, int n)
{
    int all = b->o->n_segments;
    return n == all || n == 1 || (n > 1 && n == all / 4);
}

static omnid_status run(bench *b, probe *p, omnid_timeline *tl, bool intra, omnid_error *err)
{
    for (int i = 0; i < b->o->n_segments; i++) {
        fprintf(stderr, "segment %d of %d, section 4 %s\n", i + 1, b->o->n_segments, intra ? "on" : "off");
        OMNID_TRY(probe_feed(p, tl, b->source, i, 4, BENCH_SAMPLES, err));
        p->n_slices = 0;
        if (is_stop(b, i + 1))
            OMNID_TRY(ask_all(b, p, tl, intra, i + 1, err));
    }
    bench_note_kv(b, tl);
    add_ingest(b, p, intra);
    return OMNID_OK;
}

omnid_status bench_timelines(bench *b, omnid_error *err)
{
    omnid_engine_params e = omnid_engine_params_default();
    for (int intra = 1; intra >= 0; intra--) {
        probe p;
        omnid_timeline *tl = NULL;
        if (!wants(b, intra))
            continue;
        OMNID_TRY(probe_open(&p, b->model, &e, err));
        omnid_status st = open_timeline(b, &p, &tl, intra, err);
        if (st == OMNID_OK)
            st = run(b, &p, tl, intra, err);
        omnid_timeline_destroy(&tl);
        probe_close(&p);
        OMNID_TRY(st);
    }
    return OMNID_OK;
}
