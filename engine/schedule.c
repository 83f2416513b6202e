/* schedule.c: which slice runs next. */
#include "engine/schedule.h"

#include <stdlib.h>
#include <string.h>

static bool can_ingest(const omnid_timeline *tl)
{
    return tl->queue && !tl->forget && (!tl->params.mel_clip || tl->ended);
}

static bool any_under_way(const omnid_engine *e)
{
    for (int i = 0; i < ENGINE_SEGMENTS; i++)
        if (e->background[i].stage != INGEST_IDLE)
            return true;
    return false;
}

bool schedule_has_work(const omnid_engine *e)
{
    if (e->submitted || e->answers || e->n_cancelled || any_under_way(e))
        return true;
    for (const omnid_timeline *tl = e->timelines; tl; tl = tl->next)
        if (tl->forget || can_ingest(tl))
            return true;
    return false;
}

/* ---- ends of answers ---- */

void schedule_keep_answer(omnid_engine *e, answer *a)
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

/* Under the lock. */
static void close_answer(omnid_engine *e, uint64_t id)
{
    int i = 0;
    while (e->open_answers[i].id != id)
        i++;
    e->n_cancelled -= e->open_answers[i].cancelled;
    e->open_answers[i] = e->open_answers[--e->n_open];
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
    engine_look_for_loss(e, &a->end);
    answer_tell(e, a);
    pthread_mutex_lock(&e->lock);
    close_answer(e, a->id);
    if (a->end.status == OMNID_OK) {
        int64_t ttft_us = a->timings.first_token_us - a->timings.queued_us;
        e->ttft_ms[e->status.n_answers++ % ENGINE_TTFT_SAMPLES] = (float)ttft_us / 1000.0f;
    }
    pthread_mutex_unlock(&e->lock);
    schedule_keep_answer(e, a);
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

/* Under the lock. */
static void cancel(omnid_engine *e)
{
    for (answer *a = e->answers; a && e->n_cancelled; a = a->next)
        for (int i = 0; i < e->n_open; i++)
            if (e->open_answers[i].id == a->id && e->open_answers[i].cancelled && a->end.status == OMNID_OK)
                omnid_fail(&a->end, OMNID_CANCELLED, "the answer was cancelled after %d tokens", a->tokens.n);
}

/* What segments that were given up have left on their lanes ends, and what it found wrong is nobody's. */
static void forget_work(omnid_engine *e)
{
    if (!engine_has_lanes(e))
        return;
    lane_finish(e->encode, NULL);
    lane_finish(e->fill, NULL);
}

void schedule_abandon(omnid_engine *e, const omnid_timeline *tl)
{
    bool any = false;
    for (int i = 0; i < ENGINE_SEGMENTS; i++)
        if (e->background[i].tl == tl) {
            ingest_abandon(&e->background[i]);
            any = true;
        }
    if (any)
        forget_work(e);
}

static void forget(omnid_engine *e, omnid_timeline *tl)
{
    for (answer *a = e->answers, *next; a; a = next) {
        next = a->next;
        if (a->timeline != tl || a->id > tl->forgotten)
            continue;
        omnid_fail(&a->end, OMNID_CANCELLED, "what was seen and heard has been forgotten");
        end_answer(e, a);
    }
    schedule_abandon(e, tl);
    timeline_clear(tl, tl->first + tl->n_window);
    tl->fresh = true;
    tl->mel_known = false;
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
    cancel(e);
    omnid_timeline *first = e->timelines; /* others come before it; only this thread takes one out */
    for (omnid_timeline *tl = first; tl; tl = tl->next) {
        tl->forgetting = tl->forget;
        tl->forgotten = tl->forget_id;
        tl->forget = false;
    }
    pthread_mutex_unlock(&e->lock);
    for (omnid_timeline *tl = first; tl; tl = tl->next)
        if (tl->forgetting)
            forget(e, tl);
    expire(e);
}

/* ---- ingest ---- */

/* The timeline whose segment has waited longest; under the lock. */
static omnid_timeline *next_to_ingest(const omnid_engine *e)
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

/* clip: all its segments, taken out of the queue so that no other thread frees them; they go back into it. */
static omnid_status learn_reference(omnid_engine *e, omnid_timeline *tl, omnid_segment *clip, omnid_error *err)
{
    omnid_status status = ingest_clip_reference(tl, clip, &tl->mel_reference, err);
    tl->mel_known = status == OMNID_OK;
    pthread_mutex_lock(&e->lock);
    bool forgotten = tl->forget;
    if (!forgotten)
        tl->queue = clip;
    pthread_mutex_unlock(&e->lock);
    if (forgotten)
        timeline_free_segments(clip);
    return status;
}

/* in stays idle: nothing is waiting any more (another thread has had it forgotten), or a clip's reference has been learnt.
 * before: the one that began before it, may be idle. */
static omnid_status begin_ingest(omnid_engine *e, ingest *in, const ingest *before, omnid_error *err)
{
    pthread_mutex_lock(&e->lock);
    omnid_timeline *tl = next_to_ingest(e);
    bool first = tl && tl->params.mel_clip && !tl->mel_known;
    omnid_segment *s = tl && !first ? pop_segment(tl) : NULL, *clip = first ? tl->queue : NULL;
    if (first)
        tl->queue = NULL;
    pthread_mutex_unlock(&e->lock);
    if (first)
        return learn_reference(e, tl, clip, err);
    if (!s)
        return OMNID_OK;
    if (tl->fresh) {
        tl->first = tl->params.first_segment = s->index;
        tl->fresh = false;
    }
    omnid_status status = ingest_begin(in, tl, &s, NULL, tl->params.modes, before->tl == tl ? before : NULL, err);
    in->number = ++e->n_begun;
    if (status != OMNID_OK)
        omnid_fail_in(err, "segment %lld is lost", (long long)s->index);
    omnid_segment_destroy(&s);
    return status;
}

static void publish_segment(omnid_engine *e, omnid_timeline *tl, const omnid_segment_report *r)
{
    engine_ask_memory(e);
    double used = (double)(r->encode_us + r->prefill_us) / 2e6;
    pthread_mutex_lock(&e->lock);
    double *factor = &tl->status.real_time_factor;
    *factor = *factor > 0 ? 0.9 * *factor + 0.1 * used : used;
    timeline_publish(tl);
    pthread_mutex_unlock(&e->lock);
    if (e->callbacks.on_segment)
        e->callbacks.on_segment(e->callbacks.user, tl, r);
}

/* The one that began first, and the other. */
static void order_background(omnid_engine *e, ingest **first, ingest **second)
{
    ingest *a = &e->background[0], *b = &e->background[1];
    bool swapped = b->stage != INGEST_IDLE && (a->stage == INGEST_IDLE || b->number < a->number);
    *first = swapped ? b : a;
    *second = swapped ? a : b;
}

/* A segment is lost: its failure must not be another's, and the one behind it (NULL = none) has nothing to go on from. */
static omnid_status lose_segment(omnid_engine *e, ingest *in, ingest *behind, omnid_error *err)
{
    const omnid_timeline *tl = in->tl;
    omnid_fail_in(err, "segment %lld is lost", (long long)in->segment->index);
    ingest_abandon(in);
    forget_work(e);
    if (behind && behind->tl == tl)
        ingest_again(behind);
    return err->status;
}

/* How many slices of its lane the host may be ahead of the one that runs: few, so that a question finds the device free soon.
 * One of prefill takes as long as several of an encoder. */
static int most_ahead(const ingest *in)
{
    return in->stage == INGEST_DONE ? 0 : ingest_lane(in) == in->fill ? 1 : 3;
}

static bool has_room(const ingest *in)
{
    return lane_behind(ingest_lane(in), -1) <= most_ahead(in);
}

/* Lanes: the encoders of the second segment run beside the prefill of the first, as far as where it compares itself with that;
 * the device has some of them to do while the host chooses the first one's tokens. */
static ingest *choose_ingest(ingest *first, ingest *second)
{
    bool encodes = second->stage != INGEST_IDLE && second->stage < INGEST_INTRA;
    bool goes_before = first->stage == INGEST_INTRA && encodes && ingest_lane(second) == second->encode;
    if (goes_before && has_room(second))
        return second;
    if (has_room(first))
        return first;
    if (!encodes) {
        lane_behind(ingest_lane(first), most_ahead(first));
        return first;
    }
    lane_wait_either(ingest_lane(first), most_ahead(first), ingest_lane(second), most_ahead(second));
    return has_room(first) ? first : second;
}

static omnid_status ingest_slice(omnid_engine *e, omnid_error *err)
{
    ingest *first, *second;
    omnid_slice slice = {0};
    omnid_status status = OMNID_OK;
    int64_t start = omnid_clock_us();
    order_background(e, &first, &second);
    if (first->stage == INGEST_IDLE)
        status = begin_ingest(e, first, second, err);
    else if (engine_has_lanes(e) && second->stage == INGEST_IDLE && first->stage >= INGEST_INTRA)
        status = begin_ingest(e, second, first, err);
    if (status != OMNID_OK || first->stage == INGEST_IDLE)
        return status;
    ingest *in = engine_has_lanes(e) ? choose_ingest(first, second) : first;
    omnid_timeline *tl = in->tl;
    lane *on = ingest_lane(in);
    int64_t waited_us = omnid_clock_us() - start;
    *(on == in->fill ? &in->page->report.prefill_us : &in->page->report.encode_us) += waited_us;
    if (in->stage != INGEST_DONE) {
        status = ingest_step(in, &slice, err);
        lane_mark(on);
    }
    bool commit = status == OMNID_OK && in->stage == INGEST_DONE && lane_behind(in->fill, -1) == 0;
    if (commit)
        status = ingest_commit(in, err);
    if (status != OMNID_OK)
        return lose_segment(e, in, in == first ? second : NULL, err);
    if (commit)
        publish_segment(e, tl, &tl->window[tl->n_window - 1]->report);
    e->ingest_us += omnid_clock_us() - start;
    if (slice.end_us)
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

/* A step could not be made. Where memory is short the answer asked last ends, and the others begin the step anew. */
static void fail_step(omnid_engine *e, const omnid_error *failure)
{
    answer *newest = NULL;
    for (answer *a = e->answers; a; a = a->next)
        if (a->stage == ANSWER_DECODE && a->end.status == OMNID_OK) {
            newest = a;
            if (failure->status != OMNID_NOMEM && e->batch.n == 0)
                a->end = *failure;
        }
    if (failure->status != OMNID_NOMEM)
        end_batch(e, failure);
    else if (newest)
        newest->end = *failure;
    e->batch.n = 0;
}

static omnid_status decode_slice(omnid_engine *e)
{
    omnid_slice slice = {0};
    omnid_error failure = {0};
    omnid_status status = OMNID_OK;
    if (e->batch.n == 0)
        status = decode_begin(e, &e->batch, &failure);
    if (status == OMNID_OK && e->batch.n > 0)
        status = decode_step(e, &e->batch, &slice, &failure);
    if (status != OMNID_OK)
        fail_step(e, &failure);
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
    bool under_way = any_under_way(e), segments = waiting || under_way, decode = decodes(e);
    if (!decode && !segments)
        return OMNID_AGAIN;
    if (!decode || !segments)
        e->ingest_us = e->decode_us = 0;
    bool lags = waiting && under_way;
    if (decode && (!segments || !lags || e->decode_us <= e->ingest_us))
        return decode_slice(e);
    return ingest_slice(e, err);
}

void schedule_publish(omnid_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->slice_started_us = 0;
    pthread_mutex_unlock(&e->lock);
}
