/* schedule.c: which slice runs next. */
#include "engine/schedule.h"

#include <stdlib.h>
#include <string.h>

static bool can_ingest(const omnid_timeline *tl)
{
    return tl->queue && (!tl->params.mel_clip || tl->ended);
}

bool schedule_has_work(const omnid_engine *e)
{
    if (e->submitted || e->answers || e->n_cancelled || e->background.stage != INGEST_IDLE)
        return true;
    for (const omnid_timeline *tl = e->timelines; tl; tl = tl->next)
        if (tl->forget || can_ingest(tl))
            return true;
    return false;
}

/* ---- ends of answers ---- */

static void keep_or_free(omnid_engine *e, answer *a)
{
    answer_reset(&e->memory, a);
    pthread_mutex_lock(&e->lock);
    bool keep = e->n_spare < ENGINE_SPARE_ANSWERS;
    if (keep) {
        a->next = e->spare;
        e->spare = a;
        e->n_spare++;
    }
    pthread_mutex_unlock(&e->lock);
    if (!keep)
        answer_free(&e->memory, a);
}

/* Takes a finished or ended answer out, tells it, and keeps its memory. */
static void end_answer(omnid_engine *e, answer *a)
{
    answer **link = &e->answers;
    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    decode_batch_drop(&e->batch, a);
    if (a->stage == ANSWER_NOW)
        ingest_abandon(&e->open);
    answer_tell(e, a);
    pthread_mutex_lock(&e->lock);
    e->n_open--;
    if (a->end.status == OMNID_OK) {
        int64_t ttft_us = a->timings.first_token_us - a->timings.queued_us;
        e->ttft_ms[e->status.n_answers++ % ENGINE_TTFT_SAMPLES] = (float)ttft_us / 1000.0f;
    }
    pthread_mutex_unlock(&e->lock);
    keep_or_free(e, a);
}

void schedule_end_all(omnid_engine *e, const omnid_timeline *tl, omnid_status status, const char *sentence)
{
    for (answer *a = e->answers, *next; a; a = next) {
        next = a->next;
        if (tl && a->timeline != tl)
            continue;
        omnid_fail(&a->end, status, "%s", sentence);
        end_answer(e, a);
    }
}

static void expire(omnid_engine *e)
{
    int64_t now = omnid_clock_us();
    for (answer *a = e->answers, *next; a; a = next) {
        next = a->next;
        if (a->end.status == OMNID_OK && a->stage != ANSWER_DONE && a->ask.deadline_us && now >= a->ask.deadline_us)
            omnid_fail(&a->end, OMNID_DEADLINE, "the deadline passed after %d tokens", a->tokens.n);
        if (a->end.status != OMNID_OK || a->stage == ANSWER_DONE)
            end_answer(e, a);
    }
}

/* ---- what other threads have asked for ---- */

static void cancel(omnid_engine *e, const uint64_t *ids, int n)
{
    for (answer *a = e->answers; a; a = a->next)
        for (int i = 0; i < n; i++)
            if (a->id == ids[i] && a->end.status == OMNID_OK)
                omnid_fail(&a->end, OMNID_CANCELLED, "the answer was cancelled after %d tokens", a->tokens.n);
}

static void forget(omnid_engine *e, omnid_timeline *tl)
{
    schedule_end_all(e, tl, OMNID_CANCELLED, "what was seen and heard has been forgotten");
    if (e->background.tl == tl)
        ingest_abandon(&e->background);
    timeline_clear(tl, tl->first + tl->n_window);
    tl->fresh = true;
    pthread_mutex_lock(&e->lock);
    timeline_publish(tl);
    pthread_mutex_unlock(&e->lock);
}

void schedule_take_new(omnid_engine *e)
{
    pthread_mutex_lock(&e->lock);
    answer **end = &e->answers;
    while (*end)
        end = &(*end)->next;
    *end = e->submitted;
    e->submitted = NULL;
    e->submitted_end = &e->submitted;
    uint64_t *ids = e->cancelled;
    int n = e->n_cancelled;
    e->cancelled = NULL;
    e->n_cancelled = e->cancelled_capacity = 0;
    pthread_mutex_unlock(&e->lock);
    cancel(e, ids, n);
    free(ids);
    for (omnid_timeline *tl = e->timelines; tl; tl = tl->next) {
        pthread_mutex_lock(&e->lock);
        bool wanted = tl->forget;
        tl->forget = false;
        pthread_mutex_unlock(&e->lock);
        if (wanted)
            forget(e, tl);
    }
    expire(e);
}

/* ---- ingest ---- */

/* The timeline whose segment has waited longest. */
static omnid_timeline *next_to_ingest(omnid_engine *e)
{
    omnid_timeline *best = NULL;
    for (omnid_timeline *tl = e->timelines; tl; tl = tl->next)
        if (can_ingest(tl) && (!best || tl->queue->queued_us < best->queue->queued_us))
            best = tl;
    return best;
}

static omnid_segment *pop_segment(omnid_timeline *tl)
{
    omnid_segment *s = tl->queue;
    tl->queue = s->next;
    s->next = NULL;
    if (!tl->queue)
        tl->queue_end = &tl->queue;
    tl->n_queued--;
    return s;
}

static omnid_status begin_ingest(omnid_engine *e, omnid_timeline *tl, omnid_error *err)
{
    if (tl->params.mel_clip && !tl->mel_known) {
        OMNID_TRY(ingest_clip_reference(tl, &tl->mel_reference, err));
        tl->mel_known = true;
    }
    pthread_mutex_lock(&e->lock);
    omnid_segment *s = pop_segment(tl);
    pthread_mutex_unlock(&e->lock);
    if (tl->fresh) {
        tl->first = tl->params.first_segment = s->index;
        tl->fresh = false;
    }
    omnid_status status = ingest_begin(&e->background, tl, &s, NULL, tl->params.modes, err);
    omnid_segment_destroy(&s);
    return status;
}

static void publish_segment(omnid_engine *e, omnid_timeline *tl, const omnid_segment_report *r)
{
    double used = (double)(r->encode_us + r->prefill_us) / 2e6;
    pthread_mutex_lock(&e->lock);
    double *factor = &tl->status.real_time_factor;
    *factor = *factor > 0 ? 0.9 * *factor + 0.1 * used : used;
    timeline_publish(tl);
    pthread_mutex_unlock(&e->lock);
    if (e->callbacks.on_segment)
        e->callbacks.on_segment(e->callbacks.user, tl, r);
}

static omnid_status ingest_slice(omnid_engine *e, omnid_error *err)
{
    ingest *in = &e->background;
    omnid_slice slice = {0};
    omnid_status status = OMNID_OK;
    if (in->stage == INGEST_IDLE)
        status = begin_ingest(e, next_to_ingest(e), err);
    if (status == OMNID_OK)
        status = ingest_step(in, &slice, err);
    omnid_timeline *tl = in->tl;
    if (status == OMNID_OK && in->stage == INGEST_DONE) {
        status = ingest_commit(in, err);
        if (status == OMNID_OK)
            publish_segment(e, tl, &tl->window[tl->n_window - 1]->report);
    }
    if (status != OMNID_OK) {
        ingest_abandon(in);
        return omnid_fail_in(err, "a segment is lost");
    }
    e->ingest_us += slice.end_us - slice.start_us;
    engine_tell_slice(e, &slice);
    return OMNID_OK;
}

/* ---- questions ---- */

static answer *first_unanswered(const omnid_engine *e)
{
    for (answer *a = e->answers; a; a = a->next)
        if (a->stage < ANSWER_DECODE)
            return a;
    return NULL;
}

static omnid_status question_slice(omnid_engine *e, answer *a)
{
    omnid_slice slice = {0};
    omnid_error failure = {0};
    if (answer_step(a, &slice, &failure) != OMNID_OK)
        a->end = failure;
    engine_tell_slice(e, &slice);
    if (a->end.status != OMNID_OK || a->stage == ANSWER_DONE)
        end_answer(e, a);
    return OMNID_OK;
}

static void end_batch(omnid_engine *e, const omnid_error *failure)
{
    for (int i = 0; i < e->batch.n; i++)
        if (e->batch.answers[i])
            e->batch.answers[i]->end = *failure;
    e->batch.n = 0;
}

static omnid_status decode_slice(omnid_engine *e, omnid_error *err)
{
    omnid_slice slice = {0};
    omnid_status status = OMNID_OK;
    if (e->batch.n == 0)
        status = decode_begin(e, &e->batch, err);
    if (status == OMNID_OK && e->batch.n > 0)
        status = decode_step(e, &e->batch, &slice, err);
    if (status != OMNID_OK) {
        for (answer *a = e->answers; e->batch.n == 0 && a; a = a->next)
            if (a->stage == ANSWER_DECODE)
                a->end = *err;
        end_batch(e, err);
    }
    e->decode_us += slice.end_us - slice.start_us;
    engine_tell_slice(e, &slice);
    expire(e);
    return OMNID_OK;
}

static bool decodes(const omnid_engine *e)
{
    for (const answer *a = e->answers; a; a = a->next)
        if (a->stage == ANSWER_DECODE)
            return true;
    return false;
}

omnid_status schedule_run_slice(omnid_engine *e, omnid_error *err)
{
    answer *a = first_unanswered(e);
    if (a)
        return question_slice(e, a);
    pthread_mutex_lock(&e->lock);
    bool waiting = next_to_ingest(e) != NULL;
    pthread_mutex_unlock(&e->lock);
    bool under_way = e->background.stage != INGEST_IDLE, segments = waiting || under_way, decode = decodes(e);
    if (!decode && !segments)
        return OMNID_AGAIN;
    if (!decode || !segments)
        e->ingest_us = e->decode_us = 0;
    bool lags = waiting && under_way;
    if (decode && (!segments || !lags || e->decode_us <= e->ingest_us))
        return decode_slice(e, err);
    return ingest_slice(e, err);
}

void schedule_publish(omnid_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->slice_started_us = 0;
    pthread_mutex_unlock(&e->lock);
}
