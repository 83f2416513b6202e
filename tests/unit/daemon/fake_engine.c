/* fake_engine.c: omnid.h without a model, for tests of the daemon. What it does is written in the question:
 *
 *   "tokens=N bytes=B delay_ms=D"   N tokens of B bytes, D ms before each (defaults 3, 4, 0)
 *   "fail"                          ends with an error of the engine (NOMEM)
 *   "endless"                       is refused as longer than the model's positions
 *   "hang"                          writes nothing until it is cancelled or its deadline passes
 *   "wedge"                         the same, and the engine says that it has been at one slice for 31 s
 *   anything else                   is echoed word by word
 *
 * and in the name of the model's folder: "slow" takes 1.5 s to load, "broken" does not load, "failing" steps never work,
 * "lost" has no device from the first step on and ends the process at the second, "behind" takes 100 ms a segment, "burdened" 60 ms for each
 * of two grids of whole frames and 5 ms for one of small ones. */
#include "engine/omnid.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FAKE_WINDOW = 32, FAKE_LAYERS = 4, FAKE_TIMELINES = 8, FAKE_ANSWERS = 1024 };

struct omnid_model {
    bool failing, lost, behind, burdened;
};

struct omnid_segment {
    omnid_segment_report report;
    int n_frames;
};

struct omnid_timeline {
    omnid_engine *engine;
    unsigned modes;
    omnid_segment *queue[64];
    int n_queue;
    omnid_segment_report window[FAKE_WINDOW];
    int n_window;
    int64_t next, n_left;
};

typedef struct {
    uint64_t number;
    omnid_timeline *timeline;
    char *question;
    int n_tokens, n_bytes, delay_ms, n_sent, n_choices;
    bool hang, wedge, fail, cancelled, had_now;
    omnid_mode mode;
    int64_t deadline_us, queued_us, first_us, next_us;
} fake_answer;

struct omnid_engine {
    const omnid_model *model;
    omnid_engine_params params;
    omnid_callbacks callbacks;
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool woken, told_lost;
    omnid_timeline *timelines[FAKE_TIMELINES];
    int n_timelines;
    fake_answer *answers[FAKE_ANSWERS];
    int n_answers;
    uint64_t last_number, n_done;
};

/* ------------------------------------------------------------------ model */

omnid_model_params omnid_model_params_default(void)
{
    return (omnid_model_params){.backend = "auto"};
}

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

omnid_status omnid_model_open(omnid_model **out, const char *folder, const omnid_model_params *p, omnid_error *err)
{
    *out = NULL;
    if (strstr(folder, "broken"))
        return omnid_fail(err, OMNID_FORMAT, "%s: model.safetensors: header is torn", folder);
    for (int i = 0; i < 30 && strstr(folder, "slow"); i++) {
        p->on_progress(p->user, i / 30.0);
        sleep_ms(50);
    }
    *out = calloc(1, sizeof **out);
    (*out)->failing = strstr(folder, "failing") != NULL;
    (*out)->lost = strstr(folder, "lost") != NULL;
    (*out)->behind = strstr(folder, "behind") != NULL;
    (*out)->burdened = strstr(folder, "burdened") != NULL;
    return OMNID_OK;
}

void omnid_model_destroy(omnid_model **m)
{
    free(*m);
    *m = NULL;
}

omnid_memory_plan omnid_model_get_plan(const omnid_model *m)
{
    (void)m;
    return (omnid_memory_plan){.device = "fake", .kv = 2048, .work = 1024, .total = 1 << 20, .free = 1 << 19};
}

omnid_status omnid_model_inspect(omnid_model_report *out, const char *folder, const omnid_model_params *p,
                                 omnid_error *err)
{
    *out = (omnid_model_report){.plan = {.device = "fake", .n_timelines = p->n_timelines}};
    return strstr(folder, "broken") ? omnid_fail(err, OMNID_FORMAT, "the fake model is broken") : OMNID_OK;
}

omnid_status omnid_model_fits(const omnid_model_report *r, omnid_error *err)
{
    (void)r;
    (void)err;
    return OMNID_OK;
}

omnid_model_info omnid_model_get_info(const omnid_model *m)
{
    (void)m;
    return (omnid_model_info){
        .name = "fake", .backend = "fake", .precision = OMNID_PRECISION_F32, .n_layers = FAKE_LAYERS};
}

/* ------------------------------------------------------------------ engine */

omnid_engine_params omnid_engine_params_default(void)
{
    return (omnid_engine_params){
        .max_open_questions = 16, .max_question_bytes = 16384, .max_queued_segments = 4, .slice_rows = 256};
}

omnid_status omnid_engine_create(omnid_engine **out, const omnid_model *m, const omnid_engine_params *p,
                                 const omnid_callbacks *callbacks, omnid_error *err)
{
    (void)err;
    omnid_engine *e = *out = calloc(1, sizeof *e);
    e->model = m;
    e->params = *p;
    e->callbacks = *callbacks;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, NULL);
    return OMNID_OK;
}

static void answer_free(fake_answer *a)
{
    free(a->question);
    free(a);
}

void omnid_engine_destroy(omnid_engine **e)
{
    if (!*e)
        return;
    omnid_error err;
    omnid_fail(&err, OMNID_CANCELLED, "the engine ended");
    for (int i = 0; i < (*e)->n_answers; i++) {
        (*e)->callbacks.on_error((*e)->callbacks.user, (*e)->answers[i]->number, &err);
        answer_free((*e)->answers[i]);
    }
    pthread_mutex_destroy(&(*e)->lock);
    pthread_cond_destroy(&(*e)->work);
    free(*e);
    *e = NULL;
}

static omnid_result result_of(const fake_answer *a, omnid_layer_report *layers, omnid_evidence *evidence,
                              double *logprobs)
{
    const omnid_timeline *tl = a->timeline;
    omnid_result r = {.answer = a->number,
                      .text = a->question,
                      .n_tokens = a->n_tokens,
                      .stop_reason = "end",
                      .mode = a->mode,
                      .policy = "omnidrop",
                      .retained = 0.3,
                      .layers = layers,
                      .n_layers = FAKE_LAYERS,
                      .first_segment = -1,
                      .last_segment = -1};
    for (int i = 0; i < FAKE_LAYERS; i++)
        layers[i] = (omnid_layer_report){
            .n = 100 - 20 * i, .k = 20, .kv_rows_prefill = 130 - 20 * i, .kv_rows_decode = 140 - 20 * i};
    if (tl->n_window > 0) {
        const omnid_segment_report *newest = &tl->window[tl->n_window - 1];
        evidence[0] = (omnid_evidence){newest->index, newest->wall_us, 1.0, 0.25};
        r.evidence = evidence;
        r.n_evidence = 1;
        r.first_segment = tl->window[0].index;
        r.last_segment = newest->index;
        r.newest_wall_us = newest->wall_us + 2000000;
    }
    for (int i = 0; i < a->n_choices; i++)
        logprobs[i] = -1.0 - i;
    r.choice_logprobs = logprobs;
    r.n_choices = a->n_choices;
    r.timings = (omnid_timings){.queued_us = a->queued_us,
                                .started_us = a->queued_us + 1,
                                .first_token_us = a->first_us,
                                .done_us = omnid_clock_us(),
                                .encoder_calls = a->had_now ? 2 : 0,
                                .rows_prefilled = 40};
    return r;
}

static omnid_segment_report take_segment(omnid_timeline *tl)
{
    omnid_segment *s = tl->queue[0];
    memmove(tl->queue, tl->queue + 1, sizeof *tl->queue * (size_t)--tl->n_queue);
    if (tl->n_window == FAKE_WINDOW) {
        memmove(tl->window, tl->window + 1, sizeof *tl->window * (FAKE_WINDOW - 1));
        tl->n_window--;
        tl->n_left++;
    }
    s->report.visible_us = omnid_clock_us();
    tl->window[tl->n_window++] = s->report;
    tl->next = s->report.index + 1;
    omnid_segment_report report = s->report;
    free(s);
    return report;
}

/* One token, the end or an error of one answer; the lock is held and let go around callbacks. True: it ended. */
static bool step_answer(omnid_engine *e, fake_answer *a)
{
    omnid_error err = {0};
    omnid_callbacks c = e->callbacks;
    if (a->cancelled)
        omnid_fail(&err, OMNID_CANCELLED, "the answer was cancelled");
    else if (a->deadline_us && omnid_clock_us() > a->deadline_us)
        omnid_fail(&err, OMNID_DEADLINE, "the answer's deadline has passed");
    else if (a->fail)
        omnid_fail(&err, OMNID_NOMEM, "out of memory in layer 3");
    if (err.status != OMNID_OK) {
        pthread_mutex_unlock(&e->lock);
        c.on_error(c.user, a->number, &err);
        pthread_mutex_lock(&e->lock);
        return true;
    }
    if (a->n_sent < a->n_tokens && a->n_choices == 0) {
        char *text = malloc((size_t)a->n_bytes + 1);
        memset(text, 'a' + a->n_sent % 26, (size_t)a->n_bytes);
        a->n_sent++;
        a->next_us = omnid_clock_us() + a->delay_ms * 1000;
        if (!a->first_us)
            a->first_us = omnid_clock_us();
        pthread_mutex_unlock(&e->lock);
        c.on_text(c.user, a->number, text, (size_t)a->n_bytes);
        free(text);
        pthread_mutex_lock(&e->lock);
        return false;
    }
    omnid_layer_report layers[FAKE_LAYERS];
    omnid_evidence evidence[1];
    double logprobs[64];
    omnid_result r = result_of(a, layers, evidence, logprobs);
    if (a->n_choices == 0)
        r.n_choices = 0;
    e->n_done++;
    pthread_mutex_unlock(&e->lock);
    c.on_done(c.user, a->number, &r);
    pthread_mutex_lock(&e->lock);
    return true;
}

static bool due(const fake_answer *a)
{
    bool late = a->deadline_us && omnid_clock_us() > a->deadline_us;
    return a->cancelled || late || (!a->hang && omnid_clock_us() >= a->next_us);
}

static void move_to_end(omnid_engine *e, fake_answer *a)
{
    int i = 0;
    while (e->answers[i] != a)
        i++;
    memmove(e->answers + i, e->answers + i + 1, sizeof *e->answers * (size_t)(e->n_answers - i - 1));
    e->answers[e->n_answers - 1] = a;
}

/* Runs one thing; the lock is held. */
static bool run_one(omnid_engine *e)
{
    for (int t = 0; t < e->n_timelines; t++) {
        omnid_timeline *tl = e->timelines[t];
        if (tl->n_queue == 0)
            continue;
        omnid_segment_report report = take_segment(tl);
        pthread_mutex_unlock(&e->lock);
        if (e->model->behind)
            sleep_ms(100);
        if (e->model->burdened)
            sleep_ms(report.n_grids == 1 ? 5 : 120);
        e->callbacks.on_segment(e->callbacks.user, tl, &report);
        pthread_mutex_lock(&e->lock);
        return true;
    }
    for (int i = 0; i < e->n_answers; i++) {
        fake_answer *a = e->answers[i];
        if (!due(a))
            continue;
        move_to_end(e, a); /* so that answers take turns; it stays in the list, where cancel looks for it */
        if (step_answer(e, a)) {
            move_to_end(e, a);
            e->n_answers--;
            answer_free(a);
        }
        return true;
    }
    return false;
}

omnid_status omnid_engine_step(omnid_engine *e, int timeout_ms, omnid_error *err)
{
    if (e->model->failing)
        return omnid_fail(err, OMNID_DEVICE, "the fake device does not answer");
    if (e->model->lost) {
        if (e->told_lost)
            abort();
        e->told_lost = true;
        return omnid_fail(err, OMNID_DEVICE, "the fake device is lost");
    }
    (void)timeout_ms;
    struct timespec until;
    pthread_mutex_lock(&e->lock);
    bool ran = run_one(e);
    if (!ran && !e->woken) { /* answers may be waiting for their delay: look again soon */
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 2000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&e->work, &e->lock, &until);
        ran = run_one(e);
    }
    e->woken = false;
    pthread_mutex_unlock(&e->lock);
    return ran ? OMNID_OK : OMNID_AGAIN;
}

omnid_status omnid_engine_warm_up(omnid_engine *e, const omnid_timeline_params *p, int at_most_ms, omnid_error *err)
{
    (void)e, (void)p, (void)at_most_ms, (void)err;
    return OMNID_OK;
}

void omnid_engine_wake(omnid_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->woken = true;
    pthread_cond_broadcast(&e->work);
    pthread_mutex_unlock(&e->lock);
}

omnid_engine_status omnid_engine_get_status(omnid_engine *e)
{
    pthread_mutex_lock(&e->lock);
    omnid_engine_status s = {.n_timelines = e->n_timelines,
                             .n_open_answers = e->n_answers,
                             .memory_bytes = 4096,
                             .n_answers = e->n_done,
                             .lost = e->told_lost};
    for (int i = 0; i < e->n_answers; i++)
        if (e->answers[i]->wedge)
            s.oldest_work_us = 31000000;
    pthread_mutex_unlock(&e->lock);
    return s;
}

/* ------------------------------------------------------------------ timeline */

const char *omnid_mode_name(omnid_mode m)
{
    return m == OMNID_MODE_OFFLINE ? "offline" : m == OMNID_MODE_DEFERRED ? "deferred" : "eager";
}

omnid_status omnid_mode_parse(omnid_mode *out, const char *name, omnid_error *err)
{
    for (unsigned m = OMNID_MODE_EAGER; m <= OMNID_MODE_OFFLINE; m *= 2) {
        if (strcmp(name, omnid_mode_name((omnid_mode)m)) == 0) {
            *out = (omnid_mode)m;
            return OMNID_OK;
        }
    }
    return omnid_fail(err, OMNID_ARGUMENT, "want eager, deferred or offline, found '%s'", name);
}

omnid_timeline_params omnid_timeline_params_default(void)
{
    return (omnid_timeline_params){
        .has_video = true, .has_audio = true, .window_segments = 32, .modes = OMNID_MODE_EAGER, .intra = true};
}

omnid_status omnid_timeline_create(omnid_timeline **out, omnid_engine *e, const omnid_timeline_params *p,
                                   omnid_error *err)
{
    if (!p->has_video && !p->has_audio)
        return omnid_fail(err, OMNID_ARGUMENT, "a timeline has video, audio or both");
    omnid_timeline *tl = *out = calloc(1, sizeof *tl);
    tl->engine = e;
    tl->modes = p->modes;
    pthread_mutex_lock(&e->lock);
    e->timelines[e->n_timelines++] = tl;
    pthread_mutex_unlock(&e->lock);
    return OMNID_OK;
}

void omnid_timeline_destroy(omnid_timeline **tl)
{
    if (!*tl)
        return;
    omnid_engine *e = (*tl)->engine;
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < e->n_timelines; i++)
        if (e->timelines[i] == *tl)
            e->timelines[i] = e->timelines[--e->n_timelines];
    pthread_mutex_unlock(&e->lock);
    for (int i = 0; i < (*tl)->n_queue; i++)
        free((*tl)->queue[i]);
    free(*tl);
    *tl = NULL;
}

void omnid_timeline_forget(omnid_timeline *tl)
{
    pthread_mutex_lock(&tl->engine->lock);
    tl->n_window = 0;
    for (int i = 0; i < tl->engine->n_answers; i++)
        if (tl->engine->answers[i]->timeline == tl)
            tl->engine->answers[i]->cancelled = true;
    pthread_mutex_unlock(&tl->engine->lock);
}

omnid_status omnid_segment_create(omnid_segment **out, const omnid_timeline *tl, const omnid_segment_params *p,
                                  omnid_error *err)
{
    (void)tl;
    (void)err;
    *out = calloc(1, sizeof **out);
    (*out)->n_frames = p->n_frames;
    (*out)->report = (omnid_segment_report){.index = p->index,
                                            .wall_us = p->wall_us,
                                            .width = p->load.pixel_share > 0 ? 112 : 224,
                                            .height = 112,
                                            .n_grids = p->load.one_grid ? 1 : 2,
                                            .rho_v = p->load.rho_v > 0 ? p->load.rho_v : 0.8,
                                            .n_video_tokens = p->n_frames,
                                            .n_audio_tokens = p->n_samples / 640,
                                            .encoder_calls = 2,
                                            .rows_prefilled = 8,
                                            .queued_us = omnid_clock_us(),
                                            .started_us = omnid_clock_us()};
    return OMNID_OK;
}

void omnid_segment_destroy(omnid_segment **s)
{
    free(*s);
    *s = NULL;
}

omnid_status omnid_timeline_submit(omnid_timeline *tl, omnid_segment **seg, omnid_error *err)
{
    omnid_engine *e = tl->engine;
    omnid_status status = OMNID_OK;
    pthread_mutex_lock(&e->lock);
    if (tl->n_queue >= e->params.max_queued_segments) {
        status = omnid_fail(err, OMNID_BUSY, "%d segments wait already", tl->n_queue);
    } else {
        tl->queue[tl->n_queue++] = *seg;
        *seg = NULL;
        pthread_cond_broadcast(&e->work);
    }
    pthread_mutex_unlock(&e->lock);
    return status;
}

omnid_timeline_status omnid_timeline_get_status(omnid_timeline *tl)
{
    pthread_mutex_lock(&tl->engine->lock);
    omnid_timeline_status s = {
        .next_segment = tl->next, .n_segments = tl->n_window, .n_queued = tl->n_queue, .n_left = tl->n_left};
    if (tl->n_window > 0) {
        s.first_segment = tl->window[0].index;
        s.first_wall_us = tl->window[0].wall_us;
        s.last_wall_us = tl->window[tl->n_window - 1].wall_us + 2000000;
    }
    pthread_mutex_unlock(&tl->engine->lock);
    return s;
}

int omnid_timeline_get_segments(omnid_timeline *tl, omnid_segment_report *out, int n)
{
    pthread_mutex_lock(&tl->engine->lock);
    int n_have = tl->n_window;
    for (int i = 0; i < n && i < n_have; i++)
        out[i] = tl->window[i];
    pthread_mutex_unlock(&tl->engine->lock);
    return n_have;
}

/* ------------------------------------------------------------------ questions */

omnid_question_params omnid_question_params_default(void)
{
    return (omnid_question_params){.mode = OMNID_MODE_EAGER, .max_tokens = 256, .top_p = 1, .repetition_penalty = 1};
}

static int number_in(const char *question, const char *name, int otherwise)
{
    const char *at = strstr(question, name);
    return at ? atoi(at + strlen(name)) : otherwise;
}

static fake_answer *answer_of(omnid_timeline *tl, const omnid_question_params *p, bool had_now)
{
    fake_answer *a = calloc(1, sizeof *a);
    a->timeline = tl;
    a->question = strdup(p->question);
    a->n_tokens = number_in(p->question, "tokens=", 3);
    a->n_bytes = number_in(p->question, "bytes=", 4);
    a->delay_ms = number_in(p->question, "delay_ms=", 0);
    a->wedge = strcmp(p->question, "wedge") == 0;
    a->hang = a->wedge || strcmp(p->question, "hang") == 0;
    a->fail = strcmp(p->question, "fail") == 0;
    a->n_choices = p->n_choices;
    a->mode = p->mode;
    a->had_now = had_now;
    a->deadline_us = p->deadline_us;
    a->queued_us = omnid_clock_us();
    a->next_us = a->queued_us + a->delay_ms * 1000;
    return a;
}

omnid_status omnid_timeline_ask(omnid_timeline *tl, const omnid_question_params *p, omnid_segment **now,
                                uint64_t *answer, omnid_error *err)
{
    omnid_engine *e = tl->engine;
    omnid_status status = OMNID_OK;
    bool has_now = now && *now;
    pthread_mutex_lock(&e->lock);
    if (!(tl->modes & (unsigned)p->mode))
        status = omnid_fail(err, OMNID_ARGUMENT, "mode %s: this timeline keeps eager only", omnid_mode_name(p->mode));
    else if (strcmp(p->question, "endless") == 0)
        status = omnid_fail(err, OMNID_LIMIT, "the question has 40000 tokens");
    else if (tl->n_window == 0 && !has_now)
        status = omnid_fail(err, OMNID_EMPTY, "no segment has been seen or heard yet; the first takes 2 seconds");
    else if (e->n_answers >= e->params.max_open_questions)
        status = omnid_fail(err, OMNID_LIMIT, "%d questions are open", e->n_answers);
    if (status == OMNID_OK) {
        fake_answer *a = answer_of(tl, p, has_now);
        *answer = a->number = ++e->last_number;
        e->answers[e->n_answers++] = a;
        if (has_now)
            omnid_segment_destroy(now);
        pthread_cond_broadcast(&e->work);
    }
    pthread_mutex_unlock(&e->lock);
    return status;
}

void omnid_engine_cancel(omnid_engine *e, uint64_t answer)
{
    pthread_mutex_lock(&e->lock);
    for (int i = 0; i < e->n_answers; i++)
        if (e->answers[i]->number == answer)
            e->answers[i]->cancelled = true;
    pthread_cond_broadcast(&e->work);
    pthread_mutex_unlock(&e->lock);
}
