/* video.c: a clip out of any file that capture reads, as fast as it can be decoded.
 *
 * Capture closes segments on its own thread and waits in its callback until this side has used them: `given` is the one
 * segment between them, valid from the callback's hand-over until the next call of next(). */
#include "tools/run/run.h"

#ifdef OMNID_HAVE_CAPTURE
#include "capture/capture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    clip base;
    omnid_capture *capture;
    char *uri;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const capture_segment *given; /* NULL = none */
    bool used;                    /* next() has returned it, so the next next() gives it back */
    bool closing;                 /* the callback waits no longer */
    bool lost;
    char message[256]; /* of the loss */
} video_clip;

static void on_segment(void *user, const capture_segment *seg)
{
    video_clip *v = user;
    pthread_mutex_lock(&v->lock);
    v->given = seg;
    pthread_cond_broadcast(&v->changed);
    while (v->given && !v->closing)
        pthread_cond_wait(&v->changed, &v->lock);
    v->given = NULL;
    pthread_mutex_unlock(&v->lock);
}

static void on_source(void *user, bool video, capture_state state, const char *message)
{
    video_clip *v = user;
    (void)video;
    if (state != CAPTURE_LOST)
        return;
    pthread_mutex_lock(&v->lock);
    v->lost = true;
    snprintf(v->message, sizeof v->message, "%s", message ? message : "");
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

/* Waits at most 100 ms for a segment; true: there is one. */
static bool wait_segment(video_clip *v)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 100000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&v->lock);
    if (!v->given && !v->lost)
        pthread_cond_timedwait(&v->changed, &v->lock, &until);
    bool there = v->given != NULL;
    pthread_mutex_unlock(&v->lock);
    return there;
}

/* Gives back the segment of the last call, then waits for the next one. */
static omnid_status take_segment(video_clip *v, omnid_error *err)
{
    pthread_mutex_lock(&v->lock);
    if (v->used) {
        v->given = NULL;
        v->used = false;
        pthread_cond_broadcast(&v->changed);
    }
    pthread_mutex_unlock(&v->lock);
    while (!wait_segment(v)) {
        if (v->lost)
            return omnid_fail(err, OMNID_FORMAT, "%s: %s", v->uri, v->message);
        if (omnid_capture_wait_end(v->capture, 0) == OMNID_OK)
            return wait_segment(v) ? OMNID_OK : OMNID_END;
    }
    return OMNID_OK;
}

static omnid_status video_next(clip *c, omnid_segment_params *out, omnid_error *err)
{
    video_clip *v = (video_clip *)c;
    OMNID_TRY(take_segment(v, err));
    const capture_segment *g = v->given;
    v->used = true;
    *out = (omnid_segment_params){
        .index = g->index, .n_frames = g->n_frames, .samples = g->samples, .n_samples = g->samples ? g->n_samples : 0};
    for (int i = 0; i < g->n_frames; i++)
        out->frames[i] = (omnid_frame){.rgb = g->frames[i].rgb,
                                       .width = g->frames[i].width,
                                       .height = g->frames[i].height,
                                       .stride = g->frames[i].stride};
    return OMNID_OK;
}

static void video_close(clip *c)
{
    video_clip *v = (video_clip *)c;
    pthread_mutex_lock(&v->lock);
    v->closing = true;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    omnid_capture_stop(&v->capture);
    pthread_cond_destroy(&v->changed);
    pthread_mutex_destroy(&v->lock);
    free(v->uri);
    free(v);
}

/* A file may have picture and sound, or one of them. */
static omnid_status start(video_clip *v, omnid_error *err)
{
    capture_params p = capture_params_default();
    p.fast = true;
    p.user = v;
    p.on_segment = on_segment;
    p.on_source = on_source;
    p.video = v->uri;
    p.audio = "same";
    omnid_status st = omnid_capture_start(&v->capture, &p, err);
    if (st == OMNID_FORMAT) {
        p.audio = NULL;
        st = omnid_capture_start(&v->capture, &p, err);
    }
    if (st == OMNID_FORMAT) {
        p.video = NULL;
        p.audio = v->uri;
        st = omnid_capture_start(&v->capture, &p, err);
    }
    return st;
}

/* The first segment tells what the file has. */
static omnid_status look(video_clip *v, omnid_error *err)
{
    omnid_status st = take_segment(v, err);
    if (st == OMNID_END)
        return omnid_fail(err, OMNID_EMPTY, "%s: holds no picture and no sound", v->uri);
    capture_status status = omnid_capture_get_status(v->capture);
    v->base.has_video = status.video.state != CAPTURE_OFF;
    v->base.has_audio = status.audio.state != CAPTURE_OFF;
    return st;
}

omnid_status clip_open_video(clip **out, const char *path, omnid_error *err)
{
    *out = NULL;
    video_clip *v = calloc(1, sizeof *v);
    if (!v || asprintf(&v->uri, "file:%s", path) < 0) {
        free(v);
        return omnid_fail(err, OMNID_NOMEM, "no memory for a clip");
    }
    v->base = (clip){.n_segments = -1, .next = video_next, .close = video_close};
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->changed, NULL);
    omnid_status st = start(v, err);
    if (st == OMNID_OK)
        st = look(v, err);
    if (st == OMNID_OK)
        *out = &v->base;
    else
        video_close(&v->base);
    return st;
}

#else

omnid_status clip_open_video(clip **out, const char *path, omnid_error *err)
{
    *out = NULL;
    return omnid_fail(err, OMNID_UNSUPPORTED,
                      "%s: this omnid-run was built without GStreamer; want --frames and --audio", path);
}

#endif
