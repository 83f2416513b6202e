/* camera.c: closed segments from capture's thread to the engine, the oldest dropped when the engine is behind. */
#include "daemon/camera.h"
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

    pthread_mutex_t lock;   /* of everything below */
    pthread_cond_t changed; /* the timeline exists, room was made, or stopping */
    omnid_capture *capture;
    omnid_timeline *timeline;
    GQueue waiting; /* waiting_segment *, oldest first */
    int64_t n_skipped;
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

/* Queues w behind the others. A live source drops the oldest when there is no room, a file read fast waits. */
static void enqueue(camera *c, waiting_segment *w)
{
    pthread_mutex_lock(&c->lock);
    submit_waiting(c);
    while (c->settings->fast && c->waiting.length >= room(c) && !c->stopping)
        pthread_cond_wait(&c->changed, &c->lock);
    if (c->waiting.length >= room(c)) {
        waiting_segment *oldest = g_queue_pop_head(&c->waiting);
        skip(c, oldest->index, "the engine is behind");
        waiting_free(oldest);
    }
    g_queue_push_tail(&c->waiting, w);
    submit_waiting(c);
    pthread_mutex_unlock(&c->lock);
}

static omnid_status convert(const camera *c, omnid_timeline *timeline, const capture_segment *s, omnid_segment **out,
                            omnid_error *err)
{
    omnid_segment_params p = {.index = s->index,
                              .wall_us =
                                  c->settings->fast ? 0 : s->wall_us, /* read ahead of the clock: no moment is right */
                              .n_frames = s->n_frames,
                              .samples = s->samples,
                              .n_samples = s->samples ? s->n_samples : 0};
    for (int i = 0; i < s->n_frames; i++)
        p.frames[i] = (omnid_frame){s->frames[i].rgb, s->frames[i].width, s->frames[i].height, s->frames[i].stride};
    return omnid_segment_create(out, timeline, &p, err);
}

/* Capture's thread: a segment was closed. */
static void on_segment(void *user, const capture_segment *segment)
{
    camera *c = user;
    pthread_mutex_lock(&c->lock);
    while (!c->timeline && !c->stopping)
        pthread_cond_wait(&c->changed, &c->lock);
    omnid_timeline *timeline = c->stopping ? NULL : c->timeline;
    pthread_mutex_unlock(&c->lock);
    if (!timeline)
        return;
    omnid_error err;
    waiting_segment *w = g_new0(waiting_segment, 1);
    w->index = segment->index;
    if (convert(c, timeline, segment, &w->segment, &err) == OMNID_OK) {
        enqueue(c, w);
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
    const options_camera *s = c->settings;
    omnid_timeline_params p = omnid_timeline_params_default();
    omnid_mode first = OMNID_MODE_EAGER;
    OMNID_TRY(settings_parse_modes(s->modes, &p.modes, &first, err));
    p.system = s->system[0] ? s->system : NULL;
    p.has_video = has->video.state != CAPTURE_OFF;
    p.has_audio = has->audio.state != CAPTURE_OFF;
    p.window_segments = (int)((s->window_s + 1) / 2);
    p.hop_segments = (int)((s->hop_s + 1) / 2);
    p.intra = c->daemon->timeline_intra;
    p.rho_a = c->daemon->timeline_rho_a;
    p.rho_v = c->daemon->timeline_rho_v;
    p.max_pixels = (int)s->max_pixels;
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
    if (!c->stopping && c->timeline)
        submit_waiting(c);
    pthread_mutex_unlock(&c->lock);
}

omnid_status camera_open_segment(camera *c, omnid_segment **out, omnid_error *err)
{
    *out = NULL;
    capture_segment *open = NULL;
    pthread_mutex_lock(&c->lock);
    omnid_timeline *timeline = c->timeline;
    omnid_status status = OMNID_OK;
    if (timeline && c->capture) /* under the lock: camera_stop must not take the capture away meanwhile */
        status = omnid_capture_open_segment(c->capture, &open, err);
    pthread_mutex_unlock(&c->lock);
    OMNID_TRY(status);
    if (!open)
        return OMNID_OK;
    status = convert(c, timeline, open, out, err);
    capture_segment_free(&open);
    return status;
}

void camera_forget(camera *c)
{
    pthread_mutex_lock(&c->lock);
    g_queue_clear_full(&c->waiting, waiting_free);
    g_queue_init(&c->waiting);
    if (c->timeline)
        omnid_timeline_forget(c->timeline);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

bool camera_get_status(camera *c, camera_status *out)
{
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&c->lock);
    bool started = c->capture && c->timeline;
    out->n_skipped = c->n_skipped;
    out->n_waiting = (int)c->waiting.length;
    if (started) { /* under the lock: camera_stop on another thread must not take the capture away meanwhile */
        out->capture = omnid_capture_get_status(c->capture);
        out->timeline = omnid_timeline_get_status(c->timeline);
    }
    pthread_mutex_unlock(&c->lock);
    return started;
}
