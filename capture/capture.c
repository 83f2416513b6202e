/* capture.c: a camera's threads: one a source that reads it (again, when it is lost), one that closes segments and calls
 * back. One lock guards the segmenter and everything else that they share. */
#include "capture/capture.h"

#include "capture/meter.h"
#include "capture/segmenter.h"
#include "capture/source.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_READERS = 2,
    N_EVENTS = 16,
    READ_TIMEOUT_MS = 100,
    FIRST_DATA_US = 10000000, /* a source that opened has this long until its first data */
    STALL_US = 3000000,       /* then no data for so long means it is lost */
    BACKOFF_MIN_US = 250000,
    BACKOFF_MAX_US = 4000000,    /* a device that is back is found within 5 s */
    BACKOFF_FORGET_US = 5000000, /* a source that ran for so long starts over with the shortest wait */
    STOP_TIMEOUT_US = 2000000,
    SOUND_PIECE = 8000,
};

/* What arrives on one of the two streams, under the lock. */
typedef struct {
    capture_source_status status;
    meter meter;
    int64_t newest_us; /* when the last data arrived; 0 = none since the source was opened */
} stream_state;

typedef struct {
    omnid_capture *c;
    const source_ops *ops;
    char *uri;
    bool video, audio; /* what it is asked for */
    pthread_t thread;
    bool launched;
    void *source; /* the thread's own */
    bool tried;   /* the first open returned; with: */
    omnid_status open_status;
    omnid_error open_error;
    source_info info;
    unsigned seed;
} reader;

typedef struct {
    bool video;
    capture_state state;
    char message[256];
} source_event;

struct omnid_capture {
    atomic_int n_refs; /* the owner and each reader: one that hangs frees what it used when it comes back at last */
    capture_params p;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    reader readers[N_READERS];
    int n_readers;
    pthread_t cutter;
    bool cutting; /* the segmenter is there and readers may read */
    bool finished;
    int64_t wall_start_us;
    segmenter *seg;
    stream_state streams[2]; /* video, audio */
    source_event events[N_EVENTS];
    int n_events;
};

enum { VIDEO, AUDIO };

capture_params capture_params_default(void)
{
    return (capture_params){.audio = "same"};
}

const char *capture_state_name(capture_state s)
{
    static const char *const names[] = {"off", "starting", "running", "lost", "ended", "paused"};
    return (unsigned)s < sizeof names / sizeof *names ? names[s] : "unknown";
}

omnid_status omnid_capture_check(const char *uri, omnid_error *err)
{
    const source_ops *ops;
    OMNID_TRY(sources_find(&ops, uri, err));
    return ops->check(uri, err);
}

/* Waits for `changed` until until_us of CLOCK_MONOTONIC at most. */
static void wait_changed(omnid_capture *c, int64_t until_us)
{
    if (until_us == INT64_MAX) {
        pthread_cond_wait(&c->changed, &c->lock);
        return;
    }
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    pthread_cond_timedwait(&c->changed, &c->lock, &until);
}

static bool stopping(const omnid_capture *c)
{
    return atomic_load(&c->stop);
}

/* ---- states and events (under the lock) ---- */

static void set_state(omnid_capture *c, int which, capture_state state, const char *message)
{
    capture_source_status *s = &c->streams[which].status;
    if (message)
        snprintf(s->message, sizeof s->message, "%s", message);
    if (s->state == CAPTURE_OFF || s->state == state)
        return;
    s->state = state;
    int i = c->n_events < N_EVENTS ? c->n_events++ : N_EVENTS - 1; /* the newest state is what counts */
    c->events[i] = (source_event){.video = which == VIDEO, .state = state};
    snprintf(c->events[i].message, sizeof c->events[i].message, "%s", message ? message : "");
    pthread_cond_broadcast(&c->changed);
}

static void set_states(reader *r, capture_state state, const char *message)
{
    if (r->video)
        set_state(r->c, VIDEO, state, message);
    if (r->audio)
        set_state(r->c, AUDIO, state, message);
}

static void note_arrival(omnid_capture *c, int which, int64_t n, double sum_squares)
{
    stream_state *s = &c->streams[which];
    s->newest_us = omnid_clock_us();
    meter_add(&s->meter, s->newest_us, n, sum_squares);
    set_state(c, which, CAPTURE_RUNNING, NULL);
}

/* ---- data from a source to the segmenter ---- */

/* An unpaced clip is held up here until every segment that can be closed was handed over. False: stop. Under the lock. */
static bool wait_for_room(omnid_capture *c)
{
    while (c->p.fast && segmenter_ready(c->seg, 0) && !stopping(c)) {
        pthread_cond_broadcast(&c->changed);
        wait_changed(c, INT64_MAX);
    }
    return !stopping(c);
}

static void put_picture(omnid_capture *c, picture **pic)
{
    note_arrival(c, VIDEO, 1, 0.0);
    c->streams[VIDEO].status.width = (*pic)->width;
    c->streams[VIDEO].status.height = (*pic)->height;
    while (wait_for_room(c) && segmenter_put_picture(c->seg, pic) == OMNID_AGAIN)
        continue;
    picture_unref(pic);
}

static void put_sound(omnid_capture *c, int64_t t_us, const float *samples, int n)
{
    note_arrival(c, AUDIO, n, meter_sum_squares(samples, n));
    for (int i = 0; i < n; i += SOUND_PIECE) {
        int piece = n - i < SOUND_PIECE ? n - i : SOUND_PIECE;
        while (wait_for_room(c) &&
               segmenter_put_sound(c->seg, t_us + (int64_t)i * 125 / 2, samples + i, piece) == OMNID_AGAIN)
            continue;
    }
}

static void put(reader *r, source_data *d)
{
    omnid_capture *c = r->c;
    pthread_mutex_lock(&c->lock);
    switch (d->kind) {
    case SOURCE_PICTURE:
        put_picture(c, &d->pic);
        break;
    case SOURCE_SOUND:
        put_sound(c, d->t_us, d->samples, d->n_samples);
        break;
    case SOURCE_PICTURE_END:
        segmenter_end_video(c->seg, d->t_us);
        break;
    case SOURCE_SOUND_END:
        segmenter_end_audio(c->seg);
        break;
    }
    if (d->kind == SOURCE_PICTURE_END || d->kind == SOURCE_SOUND_END)
        set_state(c, d->kind == SOURCE_PICTURE_END ? VIDEO : AUDIO, CAPTURE_ENDED, NULL);
    if (segmenter_ready(c->seg, omnid_clock_us()))
        pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void note_warning(reader *r, const char *warning)
{
    omnid_log(OMNID_LOG_WARNING, "%s", warning);
    pthread_mutex_lock(&r->c->lock);
    capture_source_status *s = &r->c->streams[r->video ? VIDEO : AUDIO].status;
    snprintf(s->message, sizeof s->message, "%s", warning);
    pthread_mutex_unlock(&r->c->lock);
}

/* Whether a stream of a live source has been silent for too long. */
static omnid_status check_stall(reader *r, int64_t opened_us, omnid_error *err)
{
    omnid_capture *c = r->c;
    int64_t now_us = omnid_clock_us();
    const bool has[2] = {r->video && r->info.has_video, r->audio && r->info.has_audio};
    omnid_status status = OMNID_OK;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < 2 && status == OMNID_OK && !r->info.clip; i++) {
        int64_t newest_us = c->streams[i].newest_us;
        bool stalled = newest_us ? now_us - newest_us > STALL_US : now_us - opened_us > FIRST_DATA_US;
        if (has[i] && stalled && c->streams[i].status.state != CAPTURE_ENDED)
            status = omnid_fail(err, OMNID_DEVICE, "%s: no %s for %d s", r->uri, i == VIDEO ? "picture" : "sound",
                                (newest_us ? STALL_US : FIRST_DATA_US) / 1000000);
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* Reads until the source ends (OMNID_END), is lost (another status) or the capture stops (OMNID_OK). */
static omnid_status read_source(reader *r, omnid_error *err)
{
    int64_t opened_us = omnid_clock_us();
    while (!stopping(r->c)) {
        source_data data = {0};
        omnid_status status = r->ops->read(r->source, &data, READ_TIMEOUT_MS, err);
        if (data.warning)
            note_warning(r, data.warning);
        if (status == OMNID_OK)
            put(r, &data);
        else if (status != OMNID_AGAIN)
            return status;
        OMNID_TRY(check_stall(r, opened_us, err));
    }
    return OMNID_OK;
}

/* ---- a reader's life ---- */

/* Opens the source and, the first time, tells how it went and waits until the segmenter is there. */
static omnid_status open_source(reader *r, omnid_error *err)
{
    omnid_capture *c = r->c;
    const source_params p = {r->uri, r->video, r->audio, c->p.loop, c->p.fast, &c->stop};
    source_info info = {0};
    *err = (omnid_error){0};
    omnid_status status = r->ops->open(&r->source, &p, &info, err);
    pthread_mutex_lock(&c->lock);
    if (!r->tried) {
        r->open_status = status;
        r->open_error = *err;
    }
    r->tried = true;
    r->info = info;
    pthread_cond_broadcast(&c->changed);
    while (!c->cutting && !stopping(c))
        wait_changed(c, INT64_MAX);
    if (status == OMNID_OK && c->cutting) {
        if (info.start_us != INT64_MIN)
            segmenter_begin(c->seg, info.start_us);
        if (r->video)
            c->streams[VIDEO].newest_us = 0;
        if (r->audio) {
            c->streams[AUDIO].newest_us = 0;
            segmenter_restart_audio(c->seg);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

/* No more will come of this source: whatever streams had no end of their own end here. */
static void end_streams(reader *r, const char *message)
{
    omnid_capture *c = r->c;
    pthread_mutex_lock(&c->lock);
    if (message)
        set_states(r, CAPTURE_LOST, message);
    if (r->video)
        segmenter_end_video(c->seg, 0);
    if (r->audio)
        segmenter_end_audio(c->seg);
    set_states(r, CAPTURE_ENDED, message);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* Marks the source lost and sleeps until the next attempt: *wait_us ± 25 %, then twice as long up to the ceiling. */
static void back_off(reader *r, int64_t *wait_us, const omnid_error *err)
{
    omnid_capture *c = r->c;
    omnid_log(OMNID_LOG_WARNING, "%s; trying again", err->text);
    int64_t jitter_us = rand_r(&r->seed) % (*wait_us / 2) - *wait_us / 4;
    int64_t until_us = omnid_clock_us() + *wait_us + jitter_us;
    pthread_mutex_lock(&c->lock);
    set_states(r, CAPTURE_LOST, err->text);
    for (int i = 0; i < 2; i++)
        c->streams[i].status.n_restarts += i == VIDEO ? r->video : r->audio;
    while (!stopping(c) && omnid_clock_us() < until_us)
        wait_changed(c, until_us);
    pthread_mutex_unlock(&c->lock);
    *wait_us = *wait_us * 2 < BACKOFF_MAX_US ? *wait_us * 2 : BACKOFF_MAX_US;
}

static void live(reader *r)
{
    pthread_setname_np(pthread_self(), r->video ? "capture-video" : "capture-audio");
    int64_t wait_us = BACKOFF_MIN_US;
    while (!stopping(r->c)) {
        omnid_error err;
        int64_t opened_us = omnid_clock_us();
        omnid_status status = open_source(r, &err);
        bool clip = r->info.clip;
        if (status == OMNID_OK)
            status = read_source(r, &err);
        r->ops->close(&r->source);
        if (stopping(r->c))
            break;
        if (status == OMNID_END || clip) {
            end_streams(r, status == OMNID_END ? NULL : err.text);
            break;
        }
        if (omnid_clock_us() - opened_us > BACKOFF_FORGET_US)
            wait_us = BACKOFF_MIN_US;
        back_off(r, &wait_us, &err);
    }
}

static void release_capture(omnid_capture *c)
{
    if (atomic_fetch_sub(&c->n_refs, 1) != 1)
        return;
    segmenter_destroy(&c->seg);
    for (int i = 0; i < N_READERS; i++)
        free(c->readers[i].uri);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static void *run_reader(void *arg)
{
    reader *r = arg;
    live(r);
    release_capture(r->c);
    return NULL;
}

/* ---- the cutter: closes segments by the clock, calls back ---- */

static void tell_event(omnid_capture *c)
{
    source_event e = c->events[0];
    memmove(c->events, c->events + 1, (size_t)--c->n_events * sizeof *c->events);
    pthread_mutex_unlock(&c->lock);
    if (c->p.on_source)
        c->p.on_source(c->p.user, e.video, e.state, e.message);
    pthread_mutex_lock(&c->lock);
}

static void hand_over(omnid_capture *c, int64_t now_us)
{
    capture_segment *seg;
    omnid_error err;
    int64_t wall_us = c->p.fast ? c->wall_start_us : omnid_wall_us();
    omnid_status status = segmenter_take(c->seg, c->p.fast ? 0 : now_us, wall_us, &seg, &err);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (status == OMNID_NOMEM)
        omnid_log(OMNID_LOG_ERROR, "a segment is lost: %s", err.text);
    if (seg && c->p.on_segment)
        c->p.on_segment(c->p.user, seg);
    capture_segment_free(&seg);
    pthread_mutex_lock(&c->lock);
}

static void *run_cutter(void *arg)
{
    omnid_capture *c = arg;
    pthread_setname_np(pthread_self(), "capture-cut");
    pthread_mutex_lock(&c->lock);
    while (!stopping(c)) {
        int64_t now_us = omnid_clock_us();
        bool ready = segmenter_ready(c->seg, now_us);
        if (c->n_events &&
            !(ready && c->events[0].state == CAPTURE_ENDED)) { /* the end is told after the last segment */
            tell_event(c);
        } else if (ready) {
            hand_over(c, now_us);
        } else {
            if (segmenter_finished(c->seg) && !c->finished) {
                c->finished = true;
                pthread_cond_broadcast(&c->changed);
            }
            wait_changed(c, segmenter_next_us(c->seg, now_us));
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- start and stop ---- */

static omnid_status add_reader(omnid_capture *c, const char *uri, bool video, bool audio, omnid_error *err)
{
    reader *r = &c->readers[c->n_readers];
    OMNID_TRY(sources_find(&r->ops, uri, err));
    OMNID_TRY(r->ops->check(uri, err));
    if (c->p.fast && !r->ops->local)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: a live source cannot be read faster than real time", uri);
    r->uri = strdup(uri);
    if (!r->uri)
        return omnid_fail(err, OMNID_NOMEM, "%s: out of memory for a source", uri);
    r->c = c;
    r->video = video;
    r->audio = audio;
    r->seed = (unsigned)omnid_clock_us() + (unsigned)c->n_readers;
    c->n_readers++;
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
        c->readers[i].launched = !launch(&c->readers[i].thread, run_reader, &c->readers[i], err);
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
            wait_changed(c, INT64_MAX);
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
        if (r->video)
            c->streams[VIDEO].status = (capture_source_status){.uri = r->uri, .state = CAPTURE_STARTING};
        if (r->audio)
            c->streams[AUDIO].status = (capture_source_status){.uri = r->uri, .state = CAPTURE_STARTING};
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
        status = launch(&c->cutter, run_cutter, c, err);
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
    omnid_log(OMNID_LOG_ERROR, "%s: does not stop within 2 s; its thread is left behind", r->uri);
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
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (c->cutting)
        pthread_join(c->cutter, NULL);
    for (int i = 0; i < c->n_readers; i++)
        join_reader(&c->readers[i], until_us);
    release_capture(c);
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
    if (*segmenter_warning(c->seg))
        snprintf(out.video.message, sizeof out.video.message, "%s", segmenter_warning(c->seg));
    out.audio = c->streams[AUDIO].status;
    out.audio.level_dbfs = meter_dbfs(&c->streams[AUDIO].meter, now_us);
    out.audio.n_dropped = stats.n_dropped_samples;
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
    while (!c->finished && !stopping(c) && (until_us == INT64_MAX || omnid_clock_us() < until_us))
        wait_changed(c, until_us);
    omnid_status status = c->finished ? OMNID_OK : stopping(c) ? OMNID_CANCELLED : OMNID_DEADLINE;
    pthread_mutex_unlock(&c->lock);
    return status;
}
