/* capture.c: one camera: started, stopped, paused, asked. Its threads live in capture_reader.c and capture_cutter.c. */
#include "capture/capture_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STOP_TIMEOUT_US = 2000000 };

capture_params capture_params_default(void)
{
    return (capture_params){.audio = "same"};
}

const char *capture_state_name(capture_state s)
{
    static const char *const names[] = {"off", "starting", "running", "lost", "ended", "paused"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

static omnid_status check_source(const source_ops **ops, const char *uri, omnid_error *err)
{
    omnid_status status = sources_find(ops, uri, err);
    if (status == OMNID_OK)
        status = (*ops)->check(uri, err);
    if (status != OMNID_OK && err)
        omnid_capture_hide_password(err->text, sizeof err->text);
    return status;
}

omnid_status omnid_capture_check(const char *uri, omnid_error *err)
{
    const source_ops *ops;
    return check_source(&ops, uri, err);
}

void capture_release(omnid_capture *c)
{
    if (atomic_fetch_sub(&c->n_refs, 1) != 1)
        return;
    segmenter_destroy(&c->seg);
    for (int i = 0; i < N_READERS; i++) {
        free(c->readers[i].uri);
        free(c->readers[i].shown);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- start and stop ---- */

static omnid_status add_reader(omnid_capture *c, const char *uri, bool video, bool audio, omnid_error *err)
{
    reader *r = &c->readers[c->n_readers];
    OMNID_TRY(check_source(&r->ops, uri, err));
    r->uri = strdup(uri);
    r->shown = r->uri ? source_show(uri) : NULL;
    r->c = c;
    r->video = video;
    r->audio = audio;
    r->seed = (unsigned)omnid_clock_us() + (unsigned)c->n_readers;
    atomic_init(&r->halt, false);
    atomic_init(&r->n_left_behind, 0);
    c->n_readers++;
    if (!r->shown)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a source");
    if (c->p.fast && !r->ops->local)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%.300s: a live source cannot be read faster than real time",
                          r->shown);
    return OMNID_OK;
}

static omnid_status add_readers(omnid_capture *c, omnid_error *err)
{
    const char *video = c->p.video, *audio = c->p.audio;
    bool same = video && audio && (!strcmp(audio, "same") || !strcmp(audio, video));
    if (!video && (!audio || !strcmp(audio, "same")))
        return omnid_fail(err, OMNID_ARGUMENT, "a camera needs a source: want a URI of video or audio, found neither");
    if (video)
        OMNID_TRY(add_reader(c, video, true, same, err));
    if (audio && !same)
        OMNID_TRY(add_reader(c, audio, false, true, err));
    return OMNID_OK;
}

static omnid_status launch(pthread_t *thread, void *(*run)(void *), void *arg, omnid_error *err)
{
    int error = pthread_create(thread, NULL, run, arg);
    return error ? omnid_fail(err, OMNID_NOMEM, "a camera's thread does not start: %s", strerror(error)) : OMNID_OK;
}

/* Starts the readers and waits until every source that must open at once has done so. */
static omnid_status open_all(omnid_capture *c, omnid_error *err)
{
    for (int i = 0; i < c->n_readers; i++) {
        atomic_fetch_add(&c->n_refs, 1);
        c->readers[i].launched = !launch(&c->readers[i].thread, reader_run, &c->readers[i], err);
        if (!c->readers[i].launched) {
            atomic_fetch_sub(&c->n_refs, 1);
            return OMNID_NOMEM;
        }
    }
    omnid_status status = OMNID_OK;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->n_readers && status == OMNID_OK; i++) {
        reader *r = &c->readers[i];
        while (r->ops->local && !r->tried)
            capture_wait(c, INT64_MAX);
        if (r->ops->local && r->open_status != OMNID_OK) {
            status = r->open_status;
            if (err)
                *err = r->open_error;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* What the camera has: what was asked for, less what a local source turned out not to have. */
static segmenter_params find_streams(omnid_capture *c)
{
    segmenter_params p = {.clocked = !c->p.fast, .clip = true};
    for (int i = 0; i < c->n_readers; i++) {
        reader *r = &c->readers[i];
        bool known = r->ops->local;
        if (known) {
            r->video = r->video && r->info.has_video;
            r->audio = r->audio && r->info.has_audio;
        }
        p.video = p.video || r->video;
        p.audio = p.audio || r->audio;
        p.clip = p.clip && known && r->info.clip;
        for (int k = 0; k < N_STREAMS; k++)
            if (k == VIDEO ? r->video : r->audio)
                c->streams[k] = (stream_state){.status = {.uri = r->shown, .state = CAPTURE_STARTING}, .wanted = true};
    }
    p.late_us = p.clip ? SEGMENTER_LATE_CLIP_US : SEGMENTER_LATE_US;
    return p;
}

static omnid_status begin(omnid_capture *c, omnid_error *err)
{
    OMNID_TRY(add_readers(c, err));
    OMNID_TRY(open_all(c, err));
    pthread_mutex_lock(&c->lock);
    segmenter_params p = find_streams(c);
    omnid_status status = segmenter_create(&c->seg, &p, err);
    if (status == OMNID_OK)
        status = launch(&c->cutter, cutter_run, c, err);
    c->cutting = status == OMNID_OK;
    c->wall_start_us = omnid_wall_us();
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return status;
}

omnid_status omnid_capture_start(omnid_capture **out, const capture_params *p, omnid_error *err)
{
    *out = NULL;
    omnid_capture *c = calloc(1, sizeof *c);
    if (!c)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a camera");
    c->p = *p;
    atomic_init(&c->n_refs, 1);
    atomic_init(&c->stop, false);
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    omnid_status status = begin(c, err);
    if (status != OMNID_OK)
        omnid_capture_stop(&c);
    *out = c;
    return status;
}

/* Joins a reader unless its source hangs until the deadline. */
static void join_reader(reader *r, int64_t until_us)
{
    if (!r->launched)
        return;
    int64_t wall_us =
        omnid_wall_us() + until_us - omnid_clock_us(); /* pthread_timedjoin_np knows CLOCK_REALTIME only */
    struct timespec until = {wall_us / 1000000, wall_us % 1000000 * 1000};
    if (!pthread_timedjoin_np(r->thread, NULL, &until))
        return;
    omnid_log(OMNID_LOG_ERROR, "%s: does not stop within 2 s; its thread is left behind", r->shown);
    pthread_detach(r->thread);
}

void omnid_capture_stop(omnid_capture **out)
{
    omnid_capture *c = *out;
    *out = NULL;
    if (!c)
        return;
    int64_t until_us = omnid_clock_us() + STOP_TIMEOUT_US;
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->stop, true);
    for (int i = 0; i < c->n_readers; i++)
        atomic_store(&c->readers[i].halt, true);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (c->cutting)
        pthread_join(c->cutter, NULL);
    for (int i = 0; i < c->n_readers; i++)
        join_reader(&c->readers[i], until_us);
    capture_release(c);
}

/* ---- pausing ---- */

static omnid_status check_pausable(const omnid_capture *c, int which, const reader **carrier, omnid_error *err)
{
    const stream_state *s = &c->streams[which];
    const char *name = which == VIDEO ? "picture" : "sound";
    *carrier = NULL;
    for (int i = 0; i < c->n_readers; i++)
        if (which == VIDEO ? c->readers[i].video : c->readers[i].audio)
            *carrier = &c->readers[i];
    if (!s->wanted || s->absent || !*carrier)
        return omnid_fail(err, OMNID_UNSUPPORTED, "the camera has no %s that could be paused", name);
    if ((*carrier)->info.clip)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: a file cannot be paused", s->status.uri);
    if (s->status.state == CAPTURE_ENDED)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: has ended and cannot be paused", s->status.uri);
    return OMNID_OK;
}

static void set_paused(omnid_capture *c, reader *r, int which, bool paused)
{
    stream_state *s = &c->streams[which];
    int64_t now_us = omnid_clock_us();
    s->paused = paused;
    s->since_us = s->resumed_us = now_us;
    s->newest_us = 0;
    segmenter_expect(c->seg, which == VIDEO, !paused, now_us);
    if (which == AUDIO)
        segmenter_restart_audio(c->seg);
    capture_set_state(c, which, paused ? CAPTURE_PAUSED : CAPTURE_STARTING, "");
    if (!reader_carries(r, VIDEO) && !reader_carries(r, AUDIO))
        atomic_store(&r->halt, true);
    pthread_cond_broadcast(&c->changed);
}

omnid_status omnid_capture_pause(omnid_capture *c, bool video, bool paused, omnid_error *err)
{
    int which = video ? VIDEO : AUDIO;
    const reader *r;
    pthread_mutex_lock(&c->lock);
    omnid_status status = check_pausable(c, which, &r, err);
    if (status == OMNID_OK && c->streams[which].paused != paused)
        set_paused(c, &c->readers[r - c->readers], which, paused);
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* ---- questions from any thread ---- */

omnid_status omnid_capture_open_segment(omnid_capture *c, capture_segment **out, omnid_error *err)
{
    pthread_mutex_lock(&c->lock);
    int64_t now_us = c->p.fast ? 0 : omnid_clock_us();
    omnid_status status = segmenter_snapshot(c->seg, now_us, c->p.fast ? c->wall_start_us : omnid_wall_us(), out, err);
    pthread_mutex_unlock(&c->lock);
    return status;
}

capture_status omnid_capture_get_status(omnid_capture *c)
{
    capture_status out = {0};
    pthread_mutex_lock(&c->lock);
    int64_t now_us = omnid_clock_us();
    segmenter_stats stats = segmenter_get_stats(c->seg);
    out.video = c->streams[VIDEO].status;
    out.video.fps = meter_rate(&c->streams[VIDEO].meter, now_us);
    out.video.level_dbfs = METER_SILENCE_DBFS;
    out.video.n_dropped = stats.n_dropped_frames;
    if (out.video.state == CAPTURE_RUNNING && *segmenter_warning(c->seg))
        snprintf(out.video.message, sizeof out.video.message, "%s", segmenter_warning(c->seg));
    out.audio = c->streams[AUDIO].status;
    out.audio.level_dbfs = meter_dbfs(&c->streams[AUDIO].meter, now_us);
    out.audio.n_dropped = stats.n_dropped_samples;
    for (int i = 0; i < c->n_readers; i++) {
        const reader *r = &c->readers[i];
        if (r->video)
            out.video.n_left_behind = atomic_load(&r->n_left_behind);
        if (r->audio)
            out.audio.n_left_behind = atomic_load(&r->n_left_behind);
    }
    out.n_segments = stats.n_segments;
    out.n_gaps_video = stats.n_gaps_video;
    out.n_gaps_audio = stats.n_gaps_audio;
    pthread_mutex_unlock(&c->lock);
    return out;
}

omnid_status omnid_capture_wait_end(omnid_capture *c, int timeout_ms)
{
    int64_t until_us = timeout_ms < 0 ? INT64_MAX : omnid_clock_us() + (int64_t)timeout_ms * 1000;
    pthread_mutex_lock(&c->lock);
    while (!c->finished && !capture_stopping(c) && (until_us == INT64_MAX || omnid_clock_us() < until_us))
        capture_wait(c, until_us);
    omnid_status status = c->finished ? OMNID_OK : capture_stopping(c) ? OMNID_CANCELLED : OMNID_DEADLINE;
    pthread_mutex_unlock(&c->lock);
    return status;
}
