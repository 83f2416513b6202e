/* stage.c: the engine's thread and what it tells. */
#include "bench/stage.h"

#include <string.h>
#include <time.h>

static void note(stage *s, const omnid_error *err)
{
    if (s->error.status == OMNID_OK)
        s->error = *err;
}

static void on_done(void *user, uint64_t answer, const omnid_result *r)
{
    stage *s = user;
    const omnid_timings *t = &r->timings;
    (void)answer;
    pthread_mutex_lock(&s->lock);
    stage_samples *to = &s->samples;
    if (to->n_answers < STAGE_MAX_SAMPLES) {
        to->ttft_ms[to->n_answers] = (double)(t->first_token_us - t->queued_us) / 1e3;
        to->token_ms[to->n_answers] =
            r->n_tokens > 1 ? (double)(t->done_us - t->first_token_us) / 1e3 / (r->n_tokens - 1) : 0;
        to->n_answers++;
    }
    to->n_ids += r->n_tokens;
    to->first_us = to->first_us && to->first_us < t->queued_us ? to->first_us : t->queued_us;
    to->last_us = to->last_us > t->done_us ? to->last_us : t->done_us;
    to->retained = r->retained;
    s->n_ended++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_error(void *user, uint64_t answer, const omnid_error *err)
{
    stage *s = user;
    (void)answer;
    pthread_mutex_lock(&s->lock);
    note(s, err);
    s->n_ended++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_segment(void *user, omnid_timeline *tl, const omnid_segment_report *r)
{
    stage *s = user;
    (void)tl;
    pthread_mutex_lock(&s->lock);
    stage_samples *to = &s->samples;
    if (to->n_segments < STAGE_MAX_SAMPLES)
        to->latency_ms[to->n_segments++] = (double)(r->visible_us - r->queued_us) / 1e3;
    to->n_tokens += r->n_video_tokens + r->n_audio_tokens;
    to->n_kept += r->n_video_kept + r->n_audio_kept;
    s->n_visible++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_slice(void *user, const omnid_slice *slice)
{
    stage *s = user;
    if (slice->kind != OMNID_SLICE_QUESTION || slice->layer != 0)
        return;
    pthread_mutex_lock(&s->lock);
    s->query_rows = slice->n_rows;
    pthread_mutex_unlock(&s->lock);
}

static void *work(void *user)
{
    stage *s = user;
    while (!atomic_load(&s->stop)) {
        omnid_error err = {0};
        omnid_status st = omnid_engine_step(s->engine, 100, &err);
        if (st == OMNID_OK || st == OMNID_AGAIN)
            continue;
        pthread_mutex_lock(&s->lock);
        note(s, &err);
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        atomic_store(&s->stop, true);
    }
    return NULL;
}

omnid_status stage_open(stage *s, const omnid_model *m, synthetic *source, int side, omnid_error *err)
{
    const omnid_callbacks callbacks = {
        .user = s, .on_done = on_done, .on_error = on_error, .on_segment = on_segment, .on_slice = on_slice};
    omnid_engine_params e = omnid_engine_params_default();
    pthread_condattr_t attributes;
    memset(s, 0, sizeof *s);
    s->source = source;
    s->side = side;
    OMNID_TRY(omnid_engine_create(&s->engine, m, &e, &callbacks, err));
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    s->running = pthread_create(&s->thread, NULL, work, s) == 0;
    if (s->running)
        return OMNID_OK;
    stage_close(s);
    return omnid_fail(err, OMNID_NOMEM, "no thread for the engine");
}

void stage_close(stage *s)
{
    if (!s->engine)
        return;
    atomic_store(&s->stop, true);
    omnid_engine_wake(s->engine);
    if (s->running)
        pthread_join(s->thread, NULL);
    for (int i = 0; i < s->n_timelines; i++)
        omnid_timeline_destroy(&s->tl[i]);
    omnid_engine_destroy(&s->engine);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    memset(s, 0, sizeof *s);
}

void stage_clear(stage *s)
{
    pthread_mutex_lock(&s->lock);
    memset(&s->samples, 0, sizeof s->samples);
    pthread_mutex_unlock(&s->lock);
}

omnid_status stage_add(stage *s, int *at, omnid_mode mode, bool intra, int n_segments, omnid_error *err)
{
    omnid_timeline_params t = omnid_timeline_params_default();
    if (s->n_timelines == STAGE_MAX_TIMELINES)
        return omnid_fail(err, OMNID_LIMIT, "%d timelines, want at most %d", s->n_timelines + 1, STAGE_MAX_TIMELINES);
    t.has_video = t.has_audio = true;
    t.window_segments = n_segments + 1;
    t.hop_segments = n_segments > 1 ? 2 : 1;
    t.modes = mode;
    t.intra = intra;
    t.max_pixels = s->side * s->side;
    OMNID_TRY(omnid_timeline_create(&s->tl[s->n_timelines], s->engine, &t, err));
    *at = s->n_timelines++;
    s->next[*at] = 0;
    return OMNID_OK;
}

omnid_status stage_state(stage *s, omnid_error *err)
{
    pthread_mutex_lock(&s->lock);
    omnid_status st = s->error.status;
    if (st != OMNID_OK && err)
        *err = s->error;
    pthread_mutex_unlock(&s->lock);
    return st;
}

static void wait_locked(stage *s, int64_t us)
{
    int64_t end = omnid_clock_us() + us;
    struct timespec t = {.tv_sec = end / 1000000, .tv_nsec = end % 1000000 * 1000};
    pthread_cond_timedwait(&s->changed, &s->lock, &t);
}

void stage_wait(stage *s, int64_t us)
{
    pthread_mutex_lock(&s->lock);
    wait_locked(s, us);
    pthread_mutex_unlock(&s->lock);
}

omnid_status stage_submit(stage *s, int at, omnid_error *err)
{
    omnid_segment_params p;
    omnid_segment *seg = NULL;
    synthetic_segment(s->source, &p, s->next[at], 4, 32040);
    OMNID_TRY(omnid_segment_create(&seg, s->tl[at], &p, err));
    pthread_mutex_lock(&s->lock);
    s->n_submitted++;
    pthread_mutex_unlock(&s->lock);
    omnid_status st = omnid_timeline_submit(s->tl[at], &seg, err);
    while (st == OMNID_BUSY && stage_state(s, err) == OMNID_OK) {
        stage_wait(s, 1000);
        st = omnid_timeline_submit(s->tl[at], &seg, err);
    }
    omnid_segment_destroy(&seg);
    s->next[at]++;
    return st;
}

int64_t stage_open_segments(stage *s)
{
    pthread_mutex_lock(&s->lock);
    int64_t n = s->n_submitted - s->n_visible;
    pthread_mutex_unlock(&s->lock);
    return n;
}

int stage_open_answers(stage *s)
{
    pthread_mutex_lock(&s->lock);
    int n = s->n_asked - s->n_ended;
    pthread_mutex_unlock(&s->lock);
    return n;
}

omnid_status stage_settle(stage *s, omnid_error *err)
{
    pthread_mutex_lock(&s->lock);
    while (s->error.status == OMNID_OK && (s->n_visible < s->n_submitted || s->n_ended < s->n_asked))
        wait_locked(s, 100000);
    pthread_mutex_unlock(&s->lock);
    return stage_state(s, err);
}

omnid_status stage_feed(stage *s, int at, int n, omnid_error *err)
{
    for (int i = 0; i < n; i++)
        OMNID_TRY(stage_submit(s, at, err));
    return stage_settle(s, err);
}

omnid_status stage_ask(stage *s, int at, const omnid_question_params *q, omnid_error *err)
{
    uint64_t answer;
    pthread_mutex_lock(&s->lock);
    s->n_asked++;
    pthread_mutex_unlock(&s->lock);
    return omnid_timeline_ask(s->tl[at], q, NULL, &answer, err);
}
