/* worker.c: one thread that owns model and engine. Everything it tells goes through the outbox. */
#include "daemon/worker.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/cpus.h"
#include "daemon/plan.h"

/* Steps that may fail one after another before the daemon gives up and lets its supervisor start it afresh. */
enum { WORKER_MAX_FAILURES = 20, WORKER_STEP_MS = 500, WORKER_RETRY_MS = 50, WORKER_WARM_UP_MS = 1500 };
enum { PACE_SKIPPED = 1 /* compiles and loads code */, PACE_SEGMENTS = 3 };

/* What a camera's first segments take. */
typedef struct {
    int n_segments;
    int64_t work_us; /* of those that count */
} pace;

struct worker {
    const settings *settings;
    camera *const *cameras;
    outbox *outbox;
    pthread_t thread;
    atomic_bool stopping;
    atomic_int percent;
    pace *paces;             /* [n_cameras] the engine's thread only */
    int n_paces;             /* told */
    double real_time_factor; /* of those, together */

    pthread_mutex_t lock; /* of the rest */
    worker_state state;
    omnid_error failure;
    int exit_code;
    omnid_model *model; /* set before READY, constant afterwards */
    omnid_engine *engine;
};

/* ------------------------------------------------------------------ callbacks of the engine, on its thread */

static void on_text(void *user, uint64_t answer, const char *text, size_t n)
{
    outbox_add_text(((worker *)user)->outbox, answer, text, n);
}

static void on_done(void *user, uint64_t answer, const omnid_result *r)
{
    outbox_add_result(((worker *)user)->outbox, answer, r);
}

static void on_error(void *user, uint64_t answer, const omnid_error *error)
{
    outbox_add_error(((worker *)user)->outbox, answer, error);
}

/* Once, early: whether this machine keeps up with its cameras. */
static void tell_pace(worker *w, size_t i, const omnid_segment_report *r)
{
    pace *p = &w->paces[i];
    if (p->n_segments >= PACE_SKIPPED + PACE_SEGMENTS)
        return;
    if (p->n_segments++ >= PACE_SKIPPED)
        p->work_us += r->encode_us + r->prefill_us;
    if (p->n_segments < PACE_SKIPPED + PACE_SEGMENTS)
        return;
    double s = (double)p->work_us / PACE_SEGMENTS / 1e6;
    w->real_time_factor += s / 2;
    omnid_log(OMNID_LOG_INFO, "camera %s: its segments of 2 s take %.2f s each (real-time factor %.2f)",
              w->settings->cameras[i].name, s, s / 2);
    if ((size_t)++w->n_paces == w->settings->n_cameras && w->real_time_factor > 1)
        omnid_log(
            OMNID_LOG_WARNING,
            "a second of all cameras takes %.2f s: this machine does not keep up with this model; make max_pixels "
            "smaller, look at fewer cameras, or take a smaller model",
            w->real_time_factor);
}

static void on_segment(void *user, omnid_timeline *timeline, const omnid_segment_report *r)
{
    worker *w = user;
    for (size_t i = 0; i < w->settings->n_cameras; i++) {
        if (camera_timeline(w->cameras[i]) != timeline)
            continue;
        outbox_news news = {.kind = OUTBOX_SEGMENT, .camera = i, .segment = *r};
        outbox_add_news(w->outbox, &news);
        tell_pace(w, i, r);
        camera_on_visible(w->cameras[i]);
    }
}

static void on_progress(void *user, double done)
{
    worker *w = user;
    int percent = (int)(done * 100);
    percent = percent < 0 ? 0 : percent > 99 ? 99 : percent; /* 100 is said when questions are taken */
    if (atomic_exchange(&w->percent, percent) != percent)
        outbox_wake(w->outbox);
}

/* ------------------------------------------------------------------ the thread */

static void set_state(worker *w, worker_state state)
{
    pthread_mutex_lock(&w->lock);
    w->state = state;
    pthread_mutex_unlock(&w->lock);
    outbox_wake(w->outbox);
}

static void fail(worker *w, int exit_code, const omnid_error *err)
{
    omnid_log(OMNID_LOG_ERROR, "%s", err->text);
    pthread_mutex_lock(&w->lock);
    w->failure = *err;
    w->exit_code = exit_code;
    w->state = WORKER_FAILED;
    pthread_mutex_unlock(&w->lock);
    outbox_wake(w->outbox);
}

/* The model with room for what will run on it, then the engine. */
static omnid_status open_model(worker *w, plan *p, omnid_error *err)
{
    OMNID_TRY(plan_make(p, w->settings, err));
    p->model.on_progress = on_progress;
    p->model.user = w;
    return omnid_model_open(&w->model, w->settings->model_path, &p->model, err);
}

static omnid_status make_engine(worker *w, const plan *p, omnid_error *err)
{
    omnid_callbacks callbacks = {
        .user = w, .on_text = on_text, .on_done = on_done, .on_error = on_error, .on_segment = on_segment};
    return omnid_engine_create(&w->engine, w->model, &p->engine, &callbacks, err);
}

/* The first question is to be as fast as the others. */
static void warm_up(worker *w, const plan *p)
{
    omnid_error err = {0};
    int64_t start_us = omnid_clock_us();
    if (omnid_engine_warm_up(w->engine, &p->timelines[0], WORKER_WARM_UP_MS, &err) != OMNID_OK)
        omnid_log(OMNID_LOG_WARNING, "warming up: %s", err.text);
    omnid_log(OMNID_LOG_DEBUG, "warmed up in %.2f s", (double)(omnid_clock_us() - start_us) / 1e6);
}

/* False: w has failed. */
static bool open_engine(worker *w)
{
    omnid_error err = {0};
    plan p = {0};
    bool opened = open_model(w, &p, &err) == OMNID_OK, made = opened && make_engine(w, &p, &err) == OMNID_OK;
    if (made && !atomic_load(&w->stopping))
        warm_up(w, &p);
    plan_clear(&p);
    if (!made)
        fail(w, opened ? EXIT_ENGINE : EXIT_MODEL, &err);
    return made;
}

/* This thread, and those it starts to compute with, run on the processors that are configured. */
static void pin(const worker *w, cpu_set_t *all, cpu_set_t *own)
{
    omnid_error err = {0};
    cpus_parse(all, "", NULL);
    if (cpus_parse(own, w->settings->daemon.model_cpus, &err) != OMNID_OK) {
        omnid_log(OMNID_LOG_WARNING, "[model] %s", err.text);
        *own = *all; /* checked at the start: processors that have gone since */
    }
    sched_setaffinity(0, sizeof *own, own);
}

/* From nothing to READY; false: failed, or asked to stop. */
static bool prepare(worker *w)
{
    omnid_error err = {0};
    cpu_set_t all, own;
    pin(w, &all, &own);
    bool opened = open_engine(w);
    sched_setaffinity(0, sizeof all, &all); /* not of the cameras' threads, which begin as this one's copies */
    if (!opened)
        return false;
    for (size_t i = 0; i < w->settings->n_cameras && !atomic_load(&w->stopping); i++) {
        if (camera_start(w->cameras[i], w->engine, &err) != OMNID_OK) {
            omnid_fail_in(&err, "[camera %s]", w->settings->cameras[i].name);
            fail(w, EXIT_CONFIGURATION, &err);
            return false;
        }
    }
    sched_setaffinity(0, sizeof own, &own);
    atomic_store(&w->percent, 100);
    set_state(w, WORKER_READY);
    return !atomic_load(&w->stopping);
}

static void step_until_stopped(worker *w)
{
    int n_failures = 0;
    while (!atomic_load(&w->stopping)) {
        omnid_error err = {0};
        omnid_status status = omnid_engine_step(w->engine, WORKER_STEP_MS, &err);
        if (status == OMNID_OK || status == OMNID_AGAIN) {
            n_failures = 0;
            continue;
        }
        omnid_log(OMNID_LOG_ERROR, "engine: %s", err.text);
        outbox_news news = {.kind = OUTBOX_HEALTH};
        snprintf(news.text, sizeof news.text, "%s", err.text);
        outbox_add_news(w->outbox, &news);
        if (omnid_engine_get_status(w->engine).lost) {
            fail(w, EXIT_ENGINE, &err);
            return;
        }
        if (status == OMNID_NOMEM) /* a segment is lost, the next one may find memory: no reason to start afresh */
            n_failures = 0;
        else if (++n_failures >= WORKER_MAX_FAILURES) {
            fail(w, EXIT_ENGINE, &err);
            return;
        }
        nanosleep(&(struct timespec){0, WORKER_RETRY_MS * 1000000L}, NULL);
    }
}

static void *worker_main(void *user)
{
    worker *w = user;
    if (prepare(w))
        step_until_stopped(w);
    return NULL;
}

/* ------------------------------------------------------------------ its owner's side */

omnid_status worker_start(worker **out, const settings *s, camera *const *cameras, outbox *o, omnid_error *err)
{
    worker *w = g_new0(worker, 1);
    w->settings = s;
    w->cameras = cameras;
    w->outbox = o;
    w->paces = g_new0(pace, s->n_cameras);
    pthread_mutex_init(&w->lock, NULL);
    *out = NULL;
    int error = pthread_create(&w->thread, NULL, worker_main, w);
    if (error) {
        pthread_mutex_destroy(&w->lock);
        g_free(w->paces);
        g_free(w);
        return omnid_fail(err, OMNID_IO, "cannot start the engine's thread: %s", strerror(error));
    }
    pthread_setname_np(w->thread, "omnid-engine");
    *out = w;
    return OMNID_OK;
}

bool worker_stop(worker *w, int timeout_ms)
{
    struct timespec until;
    atomic_store(&w->stopping, true);
    pthread_mutex_lock(&w->lock);
    if (w->state == WORKER_READY)
        omnid_engine_wake(w->engine);
    pthread_mutex_unlock(&w->lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (timeout_ms % 1000) * 1000000L;
    until.tv_sec += timeout_ms / 1000 + until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return pthread_timedjoin_np(w->thread, NULL, &until) == 0;
}

void worker_destroy(worker **w)
{
    if (!*w)
        return;
    omnid_engine_destroy(&(*w)->engine);
    omnid_model_destroy(&(*w)->model);
    pthread_mutex_destroy(&(*w)->lock);
    g_free((*w)->paces);
    g_clear_pointer(w, g_free);
}

worker_state worker_get_state(worker *w, double *percent)
{
    pthread_mutex_lock(&w->lock);
    worker_state state = w->state;
    pthread_mutex_unlock(&w->lock);
    if (percent)
        *percent = atomic_load(&w->percent);
    return state;
}

int worker_failure(worker *w, omnid_error *err)
{
    pthread_mutex_lock(&w->lock);
    *err = w->failure;
    int code = w->exit_code;
    pthread_mutex_unlock(&w->lock);
    return code;
}

omnid_engine *worker_engine(worker *w)
{
    return w->engine;
}

const omnid_model *worker_model(worker *w)
{
    return w->model;
}
