/* camera.c: closed segments from capture's thread to the engine: cheaper ones when it is behind, the oldest dropped when that
 * is not enough. */
#include "daemon/camera.h"
#include "daemon/load.h"
#include "daemon/plan.h"
#include "daemon/settings.h"

#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct camera {
    const options_camera *settings;
    const options_daemon *daemon;
    size_t index;
    outbox *outbox;
    frames *frames; /* has a lock of its own, taken inside this one */

    pthread_mutex_t lock;   /* of everything below */
    pthread_cond_t changed; /* the timeline exists, room was made, or stopping */
    omnid_capture *capture;
    omnid_timeline *timeline;
    GQueue waiting; /* waiting_segment *, oldest first */
    load_state load;
    int64_t n_skipped;
    unsigned n_forgotten; /* how often */
    bool stopping;
};

typedef struct {
    omnid_segment *segment;
    int64_t index;
} waiting_segment;

static void waiting_free(void *data)
{
    waiting_segment *w = data;
    omnid_segment_destroy(&w->segment);
    g_free(w);
}

camera *camera_create(const options_camera *own, const options_daemon *daemon, size_t index, outbox *o)
{
    camera *c = g_new0(camera, 1);
    c->settings = own;
    c->daemon = daemon;
    c->index = index;
    c->outbox = o;
    c->frames = frames_create((size_t)daemon->timeline_frames_mib << 20, (int)daemon->timeline_frames_quality);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    g_queue_init(&c->waiting);
    return c;
}

void camera_destroy(camera **c)
{
    if (!*c)
        return;
    g_queue_clear_full(&(*c)->waiting, waiting_free);
    omnid_timeline_destroy(&(*c)->timeline);
    frames_destroy(&(*c)->frames);
    pthread_cond_destroy(&(*c)->changed);
    pthread_mutex_destroy(&(*c)->lock);
    g_clear_pointer(c, g_free);
}

const options_camera *camera_settings(const camera *c)
{
    return c->settings;
}

omnid_timeline *camera_timeline(camera *c)
{
    pthread_mutex_lock(&c->lock);
    omnid_timeline *timeline = c->timeline;
    pthread_mutex_unlock(&c->lock);
    return timeline;
}

/* Counts a segment that will never be seen, and tells. The lock is held. */
static void skip(camera *c, int64_t index, const char *why)
{
    outbox_news news = {.kind = OUTBOX_SKIPPED, .camera = c->index, .skipped = index, .n_skipped = ++c->n_skipped};
    snprintf(news.text, sizeof news.text, "segment %lld skipped: %.400s", (long long)index, why);
    outbox_add_news(c->outbox, &news);
}

/* Gives waiting segments to the engine until it has enough. The lock is held. */
static void submit_waiting(camera *c)
{
    omnid_error err;
    while (!g_queue_is_empty(&c->waiting)) {
        waiting_segment *w = g_queue_peek_head(&c->waiting);
        omnid_status status = omnid_timeline_submit(c->timeline, &w->segment, &err);
        if (status == OMNID_BUSY)
            return;
        if (status != OMNID_OK)
            skip(c, w->index, err.text);
        waiting_free(g_queue_pop_head(&c->waiting));
        pthread_cond_broadcast(&c->changed);
    }
}

static guint room(const camera *c)
{
    int64_t n = c->daemon->timeline_max_queued - CAMERA_ENGINE_QUEUE;
    return n > 1 ? (guint)n : 1;
}

/* Queues w behind the others. A live source drops the oldest when there is no room, a file read fast waits. What was forgotten
 * since it came (n_forgotten) is not to come back. */
static void enqueue(camera *c, waiting_segment *w, unsigned n_forgotten)
{
    pthread_mutex_lock(&c->lock);
    submit_waiting(c);
    while (c->settings->fast && c->waiting.length >= room(c) && !c->stopping)
        pthread_cond_wait(&c->changed, &c->lock);
    if (n_forgotten != c->n_forgotten) {
        pthread_mutex_unlock(&c->lock);
        waiting_free(w);
        return;
    }
    if (c->waiting.length >= room(c)) {
        waiting_segment *oldest = g_queue_pop_head(&c->waiting);
        skip(c, oldest->index, "the engine is behind");
        waiting_free(oldest);
    }
    g_queue_push_tail(&c->waiting, w);
    submit_waiting(c);
    pthread_mutex_unlock(&c->lock);
}

/* How a segment is taken in that closes now. The lock is held. */
static omnid_segment_load judge_load(camera *c, int64_t index)
{
    if (c->settings->fast || !c->daemon->timeline_lighten)
        return load_of(0);
    submit_waiting(c);
    int before = c->load.step, n = (int)c->waiting.length + omnid_timeline_get_status(c->timeline).n_queued;
    if (load_judge(&c->load, n, (int)c->daemon->timeline_max_queued)) {
        outbox_news news = {.kind = OUTBOX_LOAD, .camera = c->index, .load = c->load.step};
        snprintf(news.text, sizeof news.text,
                 c->load.step > before
                     ? "the engine is behind: segments from %lld on are taken in with %s, step %d of %d"
                     : "the engine keeps up: segments from %lld on are taken in with %s, step %d of %d",
                 (long long)index, c->load.step ? load_name(c->load.step) : "all that is configured", c->load.step,
                 LOAD_STEPS - 1);
        outbox_add_news(c->outbox, &news);
    }
    return load_of(c->load.step);
}

static omnid_status convert(const camera *c, omnid_timeline *timeline, const capture_segment *s,
                            omnid_segment_load load, omnid_segment **out, omnid_error *err)
{
    omnid_segment_params p = {.index = s->index,
                              .wall_us =
                                  c->settings->fast ? 0 : s->wall_us, /* read ahead of the clock: no moment is right */
                              .n_frames = s->n_frames,
                              .samples = s->samples,
                              .load = load,
                              .n_samples = s->samples ? s->n_samples : 0};
    for (int i = 0; i < s->n_frames; i++)
        p.frames[i] = (omnid_frame){s->frames[i].rgb, s->frames[i].width, s->frames[i].height, s->frames[i].stride};
    return omnid_segment_create(out, timeline, &p, err);
}

/* Frames stay as long as their segment is in the window. The lock is held. */
static void trim_frames(camera *c)
{
    omnid_timeline_status t = omnid_timeline_get_status(c->timeline);
    if (t.n_segments > 0)
        frames_trim(c->frames, t.first_segment);
}

/* Capture's thread: a segment was closed. */
static void on_segment(void *user, const capture_segment *segment)
{
    camera *c = user;
    pthread_mutex_lock(&c->lock);
    while (!c->timeline && !c->stopping)
        pthread_cond_wait(&c->changed, &c->lock);
    omnid_timeline *timeline = c->stopping ? NULL : c->timeline;
    unsigned n_forgotten = c->n_forgotten;
    omnid_segment_load how = timeline ? judge_load(c, segment->index) : load_of(0);
    pthread_mutex_unlock(&c->lock);
    if (!timeline)
        return;
    frames_add(c->frames, segment, !c->settings->fast);
    omnid_error err;
    waiting_segment *w = g_new0(waiting_segment, 1);
    w->index = segment->index;
    if (convert(c, timeline, segment, how, &w->segment, &err) == OMNID_OK) {
        enqueue(c, w, n_forgotten);
        return;
    }
    pthread_mutex_lock(&c->lock);
    skip(c, segment->index, err.text);
    pthread_mutex_unlock(&c->lock);
    waiting_free(w);
}

/* Capture's thread: a source changed its state. */
static void on_source(void *user, bool video, capture_state state, const char *message)
{
    camera *c = user;
    outbox_news news = {.kind = OUTBOX_SOURCE, .camera = c->index, .video = video, .state = state};
    snprintf(news.text, sizeof news.text, "%s", message ? message : "");
    outbox_add_news(c->outbox, &news);
}

static omnid_status start_capture(camera *c, omnid_capture **capture, capture_status *status, omnid_error *err)
{
    const options_camera *s = c->settings;
    bool none = s->audio[0] == '\0' || strcmp(s->audio, "none") == 0;
    capture_params p = capture_params_default();
    p.video = s->video[0] ? s->video : NULL;
    p.audio = none ? NULL : s->audio;
    p.loop = s->loop;
    p.fast = s->fast;
    p.user = c;
    p.on_segment = on_segment;
    p.on_source = on_source;
    OMNID_TRY(omnid_capture_start(capture, &p, err));
    *status = omnid_capture_get_status(*capture);
    return OMNID_OK;
}

static omnid_status make_timeline(camera *c, omnid_engine *e, const capture_status *has, omnid_timeline **out,
                                  omnid_error *err)
{
    omnid_timeline_params p;
    OMNID_TRY(plan_timeline(&p, c->settings, c->daemon, err));
    p.has_video = has->video.state != CAPTURE_OFF;
    p.has_audio = has->audio.state != CAPTURE_OFF;
    return omnid_timeline_create(out, e, &p, err);
}

omnid_status camera_start(camera *c, omnid_engine *e, omnid_error *err)
{
    capture_status has;
    omnid_capture *capture = NULL;
    omnid_timeline *timeline = NULL;
    OMNID_TRY(start_capture(c, &capture, &has, err));
    omnid_status status = make_timeline(c, e, &has, &timeline, err);
    pthread_mutex_lock(&c->lock);
    c->capture = capture; /* camera_stop stops it, after a failure too */
    c->timeline = timeline;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return status;
}

void camera_stop(camera *c)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    omnid_capture *capture = c->capture;
    c->capture = NULL;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    omnid_capture_stop(&capture);
}

void camera_on_visible(camera *c)
{
    pthread_mutex_lock(&c->lock);
    if (!c->stopping && c->timeline) {
        submit_waiting(c);
        trim_frames(c);
    }
    pthread_mutex_unlock(&c->lock);
}

/* A copy of the open segment, NULL when there is none. */
static omnid_status copy_open(camera *c, capture_segment **out, omnid_error *err)
{
    omnid_status status = OMNID_OK;
    *out = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->timeline && c->capture) /* under the lock: camera_stop must not take the capture away meanwhile */
        status = omnid_capture_open_segment(c->capture, out, err);
    pthread_mutex_unlock(&c->lock);
    return status;
}

omnid_status camera_open_segment(camera *c, omnid_segment **out, int64_t *frame_wall_us, omnid_error *err)
{
    *out = NULL;
    *frame_wall_us = 0;
    capture_segment *open;
    OMNID_TRY(copy_open(c, &open, err));
    if (!open)
        return OMNID_OK;
    if (open->n_frames > 0 && !c->settings->fast)
        *frame_wall_us = open->wall_us + (open->frames[open->n_frames - 1].t_us - open->start_us);
    pthread_mutex_lock(&c->lock);
    omnid_segment_load how = load_of(c->load.step);
    pthread_mutex_unlock(&c->lock);
    omnid_status status = convert(c, camera_timeline(c), open, how, out, err);
    capture_segment_free(&open);
    return status;
}

int64_t camera_newest_frame(camera *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t next = c->timeline ? omnid_timeline_get_status(c->timeline).next_segment : 0;
    pthread_mutex_unlock(&c->lock);
    frames_one newest = frames_get_range(c->frames).newest;
    return newest.segment < next ? newest.wall_us : 0;
}

void camera_forget(camera *c)
{
    pthread_mutex_lock(&c->lock);
    g_queue_clear_full(&c->waiting, waiting_free);
    g_queue_init(&c->waiting);
    if (c->timeline)
        omnid_timeline_forget(c->timeline);
    frames_clear(c->frames);
    c->n_forgotten++;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* Whether what is asked for may be newer than all that is kept. */
static bool is_newer(const frames_query *q, const frames_range *kept)
{
    return kept->n == 0 || q->segment > kept->newest.segment ||
           (q->segment < 0 && (q->wall_us == 0 || q->wall_us > kept->newest.wall_us));
}

omnid_status camera_frame(camera *c, const frames_query *q, frames_one *out, omnid_error *err)
{
    capture_segment *open = NULL;
    frames_range kept = frames_get_range(c->frames);
    omnid_status status = OMNID_NOT_FOUND;
    *out = (frames_one){0};
    if (is_newer(q, &kept))
        OMNID_TRY(copy_open(c, &open, err));
    if (open)
        status = frames_find_in(c->frames, open, !c->settings->fast, q, out, err);
    capture_segment_free(&open);
    return status == OMNID_NOT_FOUND ? frames_find(c->frames, q, out) : status;
}

/* The lock is held. */
static omnid_status pause_streams(omnid_capture *capture, bool video, bool audio, bool paused, omnid_error *err)
{
    capture_status s = omnid_capture_get_status(capture);
    bool has_video = s.video.state != CAPTURE_OFF, has_audio = s.audio.state != CAPTURE_OFF;
    bool both = video && audio, was_paused = s.video.state == CAPTURE_PAUSED;
    video = both ? has_video : video;
    audio = both ? has_audio : audio;
    if (video)
        OMNID_TRY(omnid_capture_pause(capture, true, paused, err));
    omnid_status status = audio ? omnid_capture_pause(capture, false, paused, err) : OMNID_OK;
    if (status != OMNID_OK && video)
        omnid_capture_pause(capture, true, was_paused, NULL);
    return status;
}

omnid_status camera_pause(camera *c, bool video, bool audio, bool paused, omnid_error *err)
{
    pthread_mutex_lock(&c->lock);
    omnid_status status = c->capture ? pause_streams(c->capture, video, audio, paused, err)
                                     : omnid_fail(err, OMNID_CANCELLED, "the camera has stopped");
    pthread_mutex_unlock(&c->lock);
    return status;
}

bool camera_get_status(camera *c, camera_status *out)
{
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&c->lock);
    bool started = c->capture && c->timeline;
    out->n_skipped = c->n_skipped;
    out->n_waiting = (int)c->waiting.length;
    out->load = c->load.step;
    if (started) { /* under the lock: camera_stop on another thread must not take the capture away meanwhile */
        out->capture = omnid_capture_get_status(c->capture);
        out->timeline = omnid_timeline_get_status(c->timeline);
        out->frames = frames_get_range(c->frames);
    }
    pthread_mutex_unlock(&c->lock);
    return started;
}
