/* capture_cutter.c: a camera's thread that closes segments by the clock and calls back; states and their events. */
#include "capture/capture_internal.h"

#include <stdio.h>
#include <string.h>

void capture_wait(omnid_capture *c, int64_t until_us)
{
    if (until_us == INT64_MAX) {
        pthread_cond_wait(&c->changed, &c->lock);
        return;
    }
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    pthread_cond_timedwait(&c->changed, &c->lock, &until);
}

bool capture_stopping(const omnid_capture *c)
{
    return atomic_load(&c->stop);
}

void capture_set_state(omnid_capture *c, int which, capture_state state, const char *message)
{
    capture_source_status *s = &c->streams[which].status;
    if (message)
        snprintf(s->message, sizeof s->message, "%s", message);
    if (!c->streams[which].wanted || s->state == state)
        return;
    s->state = state;
    s->lost_since_us = state == CAPTURE_LOST ? omnid_clock_us() : 0;
    int i = c->n_events < N_EVENTS ? c->n_events++ : N_EVENTS - 1; /* the newest state is what counts */
    c->events[i] = (source_event){.video = which == VIDEO, .state = state};
    snprintf(c->events[i].message, sizeof c->events[i].message, "%s", message ? message : "");
    pthread_cond_broadcast(&c->changed);
}

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

void *cutter_run(void *arg)
{
    omnid_capture *c = arg;
    pthread_setname_np(pthread_self(), "capture-cut");
    pthread_mutex_lock(&c->lock);
    while (!capture_stopping(c)) {
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
            capture_wait(c, segmenter_next_us(c->seg, now_us));
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}
