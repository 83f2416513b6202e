/* capture_reader.c: a source's life on its own thread: opened, read, lost, waited for, opened again; or paused. */
#include "capture/capture_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    READ_TIMEOUT_MS = 100,
    FIRST_DATA_US = 10000000, /* a source that opened has this long until its first data */
    STALL_US = 3000000,       /* then no data for so long means it is lost */
    BACKOFF_MIN_US = 250000,
    BACKOFF_MAX_US = 2500000,    /* with the time that opening takes, a device that is back is found within 5 s */
    BACKOFF_FORGET_US = 5000000, /* a source that ran for so long starts over with the shortest wait */
    READER_NICE = -10,           /* where it is allowed: devices do not wait, the engine takes every core it is given */
    SLOW_US = 30000000, /* between attempts where only a person can help: a wrong password, a missing decoder */
    SOUND_PIECE = 8000,
};

bool reader_carries(const reader *r, int which)
{
    const stream_state *s = &r->c->streams[which];
    return (which == VIDEO ? r->video : r->audio) && !s->paused && !s->absent;
}

static void set_states(reader *r, capture_state state, const char *message)
{
    for (int i = 0; i < N_STREAMS; i++)
        if (reader_carries(r, i))
            capture_set_state(r->c, i, state, message);
}

static void note_arrival(omnid_capture *c, int which, int64_t n, double sum_squares)
{
    stream_state *s = &c->streams[which];
    s->newest_us = omnid_clock_us();
    meter_add(&s->meter, s->newest_us, n, sum_squares);
    capture_set_state(c, which, CAPTURE_RUNNING, NULL);
}

/* ---- data from a source to the segmenter ---- */

/* An unpaced clip is held up here until every segment that can be closed was handed over. False: stop. Under the lock. */
static bool wait_for_room(omnid_capture *c)
{
    while (c->p.fast && segmenter_ready(c->seg, 0) && !capture_stopping(c)) {
        pthread_cond_broadcast(&c->changed);
        capture_wait(c, INT64_MAX);
    }
    return !capture_stopping(c);
}

static void put_picture(omnid_capture *c, picture **pic)
{
    note_arrival(c, VIDEO, 1, 0.0);
    c->streams[VIDEO].status.width = (*pic)->width;
    c->streams[VIDEO].status.height = (*pic)->height;
    while (wait_for_room(c) && segmenter_put_picture(c->seg, pic) == OMNID_AGAIN)
        continue;
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

/* Whether the stream is wanted now, and was when this was taken. */
static bool welcome(const reader *r, int which, int64_t t_us)
{
    return reader_carries(r, which) && t_us >= r->c->streams[which].resumed_us;
}

static void put(reader *r, source_data *d)
{
    omnid_capture *c = r->c;
    pthread_mutex_lock(&c->lock);
    switch (d->kind) {
    case SOURCE_PICTURE:
        if (welcome(r, VIDEO, d->t_us))
            put_picture(c, &d->pic);
        picture_unref(&d->pic);
        break;
    case SOURCE_SOUND:
        if (welcome(r, AUDIO, d->t_us))
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
        capture_set_state(c, d->kind == SOURCE_PICTURE_END ? VIDEO : AUDIO, CAPTURE_ENDED, NULL);
    if (segmenter_ready(c->seg, omnid_clock_us()))
        pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void note_warning(reader *r, const char *warning)
{
    char text[256];
    snprintf(text, sizeof text, "%s", warning);
    omnid_capture_hide_password(text, sizeof text);
    omnid_log(OMNID_LOG_WARNING, "%s", text);
    pthread_mutex_lock(&r->c->lock);
    capture_source_status *s = &r->c->streams[r->video ? VIDEO : AUDIO].status;
    snprintf(s->message, sizeof s->message, "%s", text);
    pthread_mutex_unlock(&r->c->lock);
}

/* For how long nothing came of a stream that should give something, if that is too long; else 0. Seconds. */
static int stalled_s(const reader *r, int which, int64_t now_us)
{
    const stream_state *s = &r->c->streams[which];
    bool has = which == VIDEO ? r->info.has_video : r->info.has_audio;
    if (!has || !reader_carries(r, which) || s->status.state == CAPTURE_ENDED)
        return 0;
    int64_t limit_us = s->newest_us ? STALL_US : FIRST_DATA_US;
    return now_us - (s->newest_us ? s->newest_us : s->since_us) > limit_us ? (int)(limit_us / 1000000) : 0;
}

/* A source whose picture, or whose only stream, has been silent for too long is lost. Sound that stays away while the
 * same source gives a picture is told, and the picture goes on. */
static omnid_status check_stall(reader *r, omnid_error *err)
{
    omnid_capture *c = r->c;
    omnid_status status = OMNID_OK;
    bool sound_told = false;
    char sentence[256];
    if (r->info.clip)
        return OMNID_OK;
    pthread_mutex_lock(&c->lock);
    int64_t now_us = omnid_clock_us();
    int picture_s = stalled_s(r, VIDEO, now_us), sound_s = stalled_s(r, AUDIO, now_us);
    if (picture_s) {
        status = omnid_fail(err, OMNID_DEVICE, "%.200s: no picture for %d s", r->shown, picture_s);
    } else if (sound_s) {
        snprintf(sentence, sizeof sentence, "%.200s: no sound for %d s", r->shown, sound_s);
        sound_told = c->streams[AUDIO].status.state == CAPTURE_LOST;
        if (!reader_carries(r, VIDEO))
            status = omnid_fail(err, OMNID_DEVICE, "%s", sentence);
        else
            capture_set_state(c, AUDIO, CAPTURE_LOST, sentence);
    }
    pthread_mutex_unlock(&c->lock);
    if (sound_s && !sound_told && status == OMNID_OK)
        omnid_log(OMNID_LOG_WARNING, "%s; the picture goes on", sentence);
    return status;
}

/* Reads until the source ends (OMNID_END), is lost (another status) or is to be closed (OMNID_OK). */
static omnid_status read_source(reader *r, omnid_error *err)
{
    while (!atomic_load(&r->halt)) {
        source_data data = {0};
        omnid_status status = r->ops->read(r->source, &data, READ_TIMEOUT_MS, err);
        if (data.warning)
            note_warning(r, data.warning);
        if (status == OMNID_OK)
            put(r, &data);
        else if (status != OMNID_AGAIN)
            return status;
        OMNID_TRY(check_stall(r, err));
    }
    return OMNID_OK;
}

/* ---- a reader's life ---- */

/* A live source has, or has not, the stream that is wanted of it. Under the lock. */
static void note_presence(reader *r, int which, bool has)
{
    stream_state *s = &r->c->streams[which];
    bool came = s->absent && has;
    s->absent = !has;
    if (s->paused || s->status.state == CAPTURE_ENDED)
        return;
    char sentence[256];
    snprintf(sentence, sizeof sentence, "%.200s: has no %s", r->shown, which == VIDEO ? "picture" : "sound");
    segmenter_expect(r->c->seg, which == VIDEO, has, omnid_clock_us());
    if (came)
        capture_set_state(r->c, which, CAPTURE_STARTING, "");
    else if (!has)
        capture_set_state(r->c, which, CAPTURE_OFF, sentence);
}

/* The source is open: from here on its data counts. Under the lock. */
static void begin_reading(reader *r)
{
    omnid_capture *c = r->c;
    if (r->info.start_us != INT64_MIN)
        segmenter_begin(c->seg, r->info.start_us);
    for (int i = 0; i < N_STREAMS; i++) {
        if (!(i == VIDEO ? r->video : r->audio))
            continue;
        c->streams[i].since_us = omnid_clock_us();
        c->streams[i].newest_us = 0;
        note_presence(r, i, i == VIDEO ? r->info.has_video : r->info.has_audio);
    }
    if (r->audio)
        segmenter_restart_audio(c->seg);
}

/* Opens the source and, the first time, tells how it went and waits until the segmenter is there. */
static omnid_status open_source(reader *r, omnid_error *err)
{
    omnid_capture *c = r->c;
    const source_params p = {.uri = r->uri,
                             .shown = r->shown,
                             .want_video = r->video,
                             .want_audio = r->audio,
                             .loop = c->p.loop,
                             .fast = c->p.fast,
                             .stop = &r->halt,
                             .n_left_behind = &r->n_left_behind,
                             .memory = r->memory};
    source_info info = {0};
    *err = (omnid_error){0};
    omnid_status status = r->ops->open(&r->source, &p, &info, err);
    omnid_capture_hide_password(err->text, sizeof err->text);
    pthread_mutex_lock(&c->lock);
    if (!r->tried) {
        r->open_status = status;
        r->open_error = *err;
    }
    r->tried = true;
    r->info = info;
    pthread_cond_broadcast(&c->changed);
    while (!c->cutting && !capture_stopping(c))
        capture_wait(c, INT64_MAX);
    if (status == OMNID_OK && c->cutting)
        begin_reading(r);
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

/* Marks the source lost and sleeps until the next attempt: *wait_us ± 25 %, then twice as long up to the ceiling. What no
 * attempt can heal (a password, an option, something that is not installed) is tried seldom. */
static void back_off(reader *r, int64_t *wait_us, omnid_status status, const omnid_error *err)
{
    omnid_capture *c = r->c;
    bool slow = status == OMNID_ARGUMENT || status == OMNID_UNSUPPORTED;
    int64_t base_us = slow ? SLOW_US : *wait_us;
    int64_t until_us = omnid_clock_us() + base_us + rand_r(&r->seed) % (base_us / 2) - base_us / 4;
    bool again = strcmp(r->told, err->text) == 0; /* away for a night: one line, not ten thousand */
    omnid_log(again ? OMNID_LOG_DEBUG : OMNID_LOG_WARNING, "%s; trying again%s", err->text, slow ? " every 30 s" : "");
    snprintf(r->told, sizeof r->told, "%s", err->text);
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < N_STREAMS; i++)
        c->streams[i].status.n_restarts += reader_carries(r, i);
    set_states(r, CAPTURE_LOST, err->text);
    while (!atomic_load(&r->halt) && omnid_clock_us() < until_us)
        capture_wait(c, until_us);
    pthread_mutex_unlock(&c->lock);
    if (!slow)
        *wait_us = *wait_us * 2 < BACKOFF_MAX_US ? *wait_us * 2 : BACKOFF_MAX_US;
}

/* Sleeps while everything that the source carries is paused, its device closed. False: stop. */
static bool wait_until_wanted(reader *r)
{
    omnid_capture *c = r->c;
    pthread_mutex_lock(&c->lock);
    while (!reader_carries(r, VIDEO) && !reader_carries(r, AUDIO) && !capture_stopping(c))
        capture_wait(c, INT64_MAX);
    bool go_on = !capture_stopping(c);
    if (go_on)
        atomic_store(&r->halt, false);
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

static void let_pictures_go(reader *r)
{
    pthread_mutex_lock(&r->c->lock);
    if (r->video && r->c->seg)
        segmenter_let_go(r->c->seg);
    pthread_mutex_unlock(&r->c->lock);
}

static void live(reader *r)
{
    int64_t wait_us = BACKOFF_MIN_US;
    while (wait_until_wanted(r)) {
        omnid_error err;
        int64_t opened_us = omnid_clock_us();
        omnid_status status = open_source(r, &err);
        bool clip = r->info.clip;
        if (status == OMNID_OK) {
            *r->told = '\0';
            status = read_source(r, &err);
        }
        r->ops->close(&r->source);
        let_pictures_go(r);
        omnid_capture_hide_password(err.text, sizeof err.text);
        if (omnid_clock_us() - opened_us > BACKOFF_FORGET_US)
            wait_us = BACKOFF_MIN_US;
        if (atomic_load(&r->halt))
            continue; /* stopped or paused, whatever else went wrong */
        if (status == OMNID_END || clip) {
            end_streams(r, status == OMNID_END ? NULL : err.text);
            break;
        }
        back_off(r, &wait_us, status, &err);
    }
}

void *reader_run(void *arg)
{
    reader *r = arg;
    pthread_setname_np(pthread_self(), r->video ? "capture-video" : "capture-audio");
    setpriority(PRIO_PROCESS, (id_t)gettid(), READER_NICE); /* of this thread and of the helper that it may start */
    live(r);
    capture_release(r->c);
    return NULL;
}
