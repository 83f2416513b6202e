/* timeline_api.c: the public functions of timelines and questions: checked, copied and queued on the caller's thread. */
#include <stdlib.h>
#include <string.h>

#include "engine/schedule.h"

static const struct {
    omnid_mode mode;
    const char *name;
} modes[] = {{OMNID_MODE_EAGER, "eager"}, {OMNID_MODE_DEFERRED, "deferred"}, {OMNID_MODE_OFFLINE, "offline"}};

const char *omnid_mode_name(omnid_mode m)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (modes[i].mode == m)
            return modes[i].name;
    return "unknown";
}

omnid_status omnid_mode_parse(omnid_mode *out, const char *name, omnid_error *err)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0) {
            *out = modes[i].mode;
            return OMNID_OK;
        }
    return omnid_fail(err, OMNID_ARGUMENT, "mode '%s' is not one of eager, deferred, offline", name);
}

omnid_timeline_params omnid_timeline_params_default(void)
{
    return (omnid_timeline_params){.has_video = true,
                                   .has_audio = true,
                                   .window_segments = 32,
                                   .modes = OMNID_MODE_EAGER,
                                   .intra = true,
                                   .rho_a = 0.3,
                                   .rho_v = 0.8};
}

static omnid_status check_params(const omnid_timeline_params *p, omnid_error *err)
{
    if (!p->has_video && !p->has_audio)
        return omnid_fail(err, OMNID_ARGUMENT, "a timeline needs picture or sound");
    if (p->window_segments < 1 || p->window_segments > 43200 || p->hop_segments < 0)
        return omnid_fail(err, OMNID_ARGUMENT, "window of %d segments, hop %d: want 1..43200, 0 or more",
                          p->window_segments, p->hop_segments);
    if (p->modes == 0 || p->modes > 7)
        return omnid_fail(err, OMNID_ARGUMENT, "modes %u: want eager, deferred, offline or several of them", p->modes);
    if (!(p->rho_a >= 0 && p->rho_a <= 1 && p->rho_v >= 0 && p->rho_v <= 1))
        return omnid_fail(err, OMNID_ARGUMENT, "rho_a %g, rho_v %g: want 0..1", p->rho_a, p->rho_v);
    if (p->first_segment < 0 || p->first_segment > TIMELINE_MAX_SEGMENT || p->max_pixels < 0 ||
        (p->max_pixels > 0 && p->max_pixels < 784))
        return omnid_fail(err, OMNID_ARGUMENT, "first_segment %lld, max_pixels %d: want 0..%lld, 0 or 784 and more",
                          (long long)p->first_segment, p->max_pixels, (long long)TIMELINE_MAX_SEGMENT);
    return OMNID_OK;
}

omnid_status omnid_timeline_create(omnid_timeline **out, omnid_engine *e, const omnid_timeline_params *p,
                                   omnid_error *err)
{
    *out = NULL;
    OMNID_TRY(check_params(p, err));
    omnid_timeline *tl = calloc(1, sizeof *tl);
    if (!tl)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a timeline");
    tl->engine = e;
    tl->params = *p;
    tl->params.system = NULL;
    if (!p->hop_segments)
        tl->params.hop_segments = p->window_segments / 8 > 1 ? 2 * (p->window_segments / 8) : 2;
    if (!p->max_pixels)
        tl->params.max_pixels = e->model->max_pixels;
    tl->parts = (stream_parts){p->has_video, p->has_audio};
    tl->queue_end = &tl->queue;
    tl->last_index = p->first_segment - 1;
    timeline_clear(tl, p->first_segment);
    omnid_status status = layout_prefix(&tl->prefix_ids, e->model,
                                        p->system ? p->system : "You are a helpful assistant.", tl->parts, err);
    if (status != OMNID_OK) {
        timeline_free(tl);
        return status;
    }
    tl->st = layout_st(tl->prefix_ids.n, tl->parts);
    if (25 * 2 * (int64_t)p->window_segments > e->model->config.text.max_positions - 1024)
        omnid_log(OMNID_LOG_WARNING, "a window of %d segments takes %d positions, the model was made for %d",
                  p->window_segments, 50 * p->window_segments, e->model->config.text.max_positions);
    pthread_mutex_lock(&e->lock);
    timeline_publish(tl);
    tl->next = e->timelines;
    e->timelines = tl;
    pthread_mutex_unlock(&e->lock);
    *out = tl;
    return OMNID_OK;
}

void omnid_timeline_destroy(omnid_timeline **slot)
{
    omnid_timeline *tl = *slot;
    *slot = NULL;
    if (!tl)
        return;
    omnid_engine *e = tl->engine;
    schedule_take_new(e);
    schedule_end_all(e, tl, OMNID_CANCELLED, "the camera has been removed");
    schedule_abandon(e, tl);
    pthread_mutex_lock(&e->lock);
    omnid_timeline **link = &e->timelines;
    while (*link && *link != tl)
        link = &(*link)->next;
    if (*link)
        *link = tl->next;
    pthread_mutex_unlock(&e->lock);
    timeline_free(tl);
}

static void wake_locked(omnid_engine *e)
{
    pthread_cond_signal(&e->work);
}

void omnid_timeline_forget(omnid_timeline *tl)
{
    omnid_engine *e = tl->engine;
    pthread_mutex_lock(&e->lock);
    omnid_segment *queue = tl->queue;
    tl->queue = NULL;
    tl->queue_end = &tl->queue;
    tl->n_queued = 0;
    tl->forget = tl->any_index = true;
    tl->forget_id = e->last_id;
    tl->ended = false;
    wake_locked(e);
    pthread_mutex_unlock(&e->lock);
    timeline_free_segments(queue);
}

omnid_status omnid_timeline_submit(omnid_timeline *tl, omnid_segment **seg, omnid_error *err)
{
    omnid_engine *e = tl->engine;
    omnid_segment *s = *seg;
    omnid_status status = OMNID_OK;
    pthread_mutex_lock(&e->lock);
    if (tl->ended)
        status = omnid_fail(err, OMNID_ARGUMENT, "segment %lld comes after the clip's end", (long long)s->index);
    else if (!tl->any_index && s->index <= tl->last_index)
        status = omnid_fail(err, OMNID_ARGUMENT, "segment %lld is not later than segment %lld", (long long)s->index,
                            (long long)tl->last_index);
    else if (!tl->params.mel_clip && tl->n_queued >= e->params.max_queued_segments)
        status = omnid_fail(err, OMNID_BUSY, "%d segments wait already", tl->n_queued);
    if (status == OMNID_OK) {
        s->queued_us = omnid_clock_us();
        tl->last_index = s->index;
        tl->any_index = false;
        *tl->queue_end = s;
        tl->queue_end = &s->next;
        tl->n_queued++;
        *seg = NULL;
        wake_locked(e);
    }
    pthread_mutex_unlock(&e->lock);
    return status;
}

omnid_status omnid_timeline_end(omnid_timeline *tl, omnid_error *err)
{
    (void)err;
    pthread_mutex_lock(&tl->engine->lock);
    tl->ended = true;
    wake_locked(tl->engine);
    pthread_mutex_unlock(&tl->engine->lock);
    return OMNID_OK;
}

omnid_timeline_status omnid_timeline_get_status(omnid_timeline *tl)
{
    pthread_mutex_lock(&tl->engine->lock);
    omnid_timeline_status s = tl->status;
    s.n_queued = tl->n_queued;
    s.lag_s = tl->queue ? (double)(omnid_clock_us() - tl->queue->queued_us) / 1e6 : 0;
    pthread_mutex_unlock(&tl->engine->lock);
    return s;
}

int omnid_timeline_get_segments(omnid_timeline *tl, omnid_segment_report *out, int n)
{
    pthread_mutex_lock(&tl->engine->lock);
    int all = tl->n_reports;
    for (int i = 0; i < n && i < all; i++)
        out[i] = tl->reports[i];
    pthread_mutex_unlock(&tl->engine->lock);
    return all;
}

/* An answer whose memory can be used again, or a new one. */
static answer *take_spare(omnid_engine *e)
{
    pthread_mutex_lock(&e->lock);
    answer *a = e->spare;
    if (a) {
        e->spare = a->next;
        e->n_spare--;
        a->next = NULL;
    }
    pthread_mutex_unlock(&e->lock);
    return a ? a : answer_create();
}

static omnid_status queue_answer(omnid_timeline *tl, answer *a, omnid_segment **now, uint64_t *id, omnid_error *err)
{
    omnid_engine *e = tl->engine;
    omnid_status status = OMNID_OK;
    bool has_now = now && *now;
    pthread_mutex_lock(&e->lock);
    if (e->n_open >= e->params.max_open_questions)
        status = omnid_fail(err, OMNID_LIMIT, "%d questions are open already", e->n_open);
    else if ((tl->status.n_segments == 0 || tl->forget) && !has_now)
        status =
            omnid_fail(err, OMNID_EMPTY, "nothing has been seen or heard yet: the first segment takes two seconds");
    if (status == OMNID_OK) {
        if (has_now) {
            a->now = *now;
            *now = NULL;
        }
        a->id = *id = ++e->last_id;
        a->timeline = tl;
        a->timings.queued_us = omnid_clock_us();
        *e->submitted_end = a;
        e->submitted_end = &a->next;
        e->open_answers[e->n_open++] = (open_answer){.id = a->id};
        wake_locked(e);
    }
    pthread_mutex_unlock(&e->lock);
    return status;
}

omnid_status omnid_timeline_ask(omnid_timeline *tl, const omnid_question_params *p, omnid_segment **now, uint64_t *id,
                                omnid_error *err)
{
    omnid_engine *e = tl->engine;
    answer *a = take_spare(e);
    if (!a)
        return omnid_fail(err, OMNID_NOMEM, "no memory for an answer");
    omnid_status status = answer_request_fill(a, tl, p, err);
    if (status == OMNID_OK)
        status = queue_answer(tl, a, now, id, err);
    if (status != OMNID_OK)
        schedule_keep_answer(e, a);
    return status;
}

void omnid_engine_cancel(omnid_engine *e, uint64_t id)
{
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < e->n_open; i++)
        if (e->open_answers[i].id == id && !e->open_answers[i].cancelled) {
            e->open_answers[i].cancelled = true;
            e->n_cancelled++;
        }
    wake_locked(e);
    pthread_mutex_unlock(&e->lock);
}
