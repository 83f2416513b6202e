/* timeline.c: the window of pages. */
#include "engine/timeline.h"

#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

int64_t timeline_first_with(const omnid_timeline *tl, int64_t segment)
{
    int64_t first = tl->first, hop = tl->params.hop_segments;
    int64_t over = segment - first + 1 - tl->params.window_segments;
    if (over <= 0)
        return first;
    first += (over + hop - 1) / hop * hop;
    return first < segment ? first : segment;
}

static void drop_oldest(omnid_timeline *tl, int n)
{
    if (n == 0)
        return;
    for (int i = 0; i < n; i++)
        page_unref(&tl->engine->memory, &tl->window[i]);
    memmove(tl->window, tl->window + n, (size_t)(tl->n_window - n) * sizeof *tl->window);
    tl->n_window -= n;
}

/* Room for more pages and their reports. */
static omnid_status grow(omnid_timeline *tl, omnid_error *err)
{
    int capacity = tl->window_capacity ? 2 * tl->window_capacity : 16;
    page **window = realloc(tl->window, (size_t)capacity * sizeof *window);
    if (window)
        tl->window = window;
    pthread_mutex_lock(&tl->engine->lock);
    omnid_segment_report *reports = realloc(tl->reports, (size_t)capacity * sizeof *reports);
    if (reports)
        tl->reports = reports;
    pthread_mutex_unlock(&tl->engine->lock);
    if (!window || !reports)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a window of %d segments", capacity);
    tl->window_capacity = capacity;
    return OMNID_OK;
}

static omnid_status push(omnid_timeline *tl, page *p, omnid_error *err)
{
    if (tl->n_window == tl->window_capacity)
        OMNID_TRY(grow(tl, err));
    tl->window[tl->n_window++] = p;
    return OMNID_OK;
}

omnid_status timeline_append(omnid_timeline *tl, page *p, omnid_error *err)
{
    int64_t first = timeline_first_with(tl, p->segment);
    int64_t leaving = first - tl->first;
    drop_oldest(tl, leaving < tl->n_window ? (int)leaving : tl->n_window);
    tl->left += leaving;
    tl->first = first;
    while (tl->first + tl->n_window < p->segment) {
        page *gap = page_create(tl->first + tl->n_window);
        omnid_status status = gap ? push(tl, gap, err) : omnid_fail(err, OMNID_NOMEM, "no memory for a page");
        if (status != OMNID_OK) {
            free(gap);
            return status;
        }
        gap->end_s = 2.0 * (double)(gap->segment + 1);
        tl->gaps++;
    }
    if ((tl->parts.video && !p->n_video) || (tl->parts.audio && !p->n_audio))
        tl->gaps++;
    return push(tl, p, err);
}

void front_state_reset(front_state *f)
{
    f->next_segment = -1;
    f->group_place = 0;
    f->columns = f->rows = 0;
    f->tail_segment = -1;
    for (int i = 0; i < TIMELINE_MEL_SEGMENTS; i++)
        f->maxima_of[i] = -1;
}

void timeline_clear(omnid_timeline *tl, int64_t next)
{
    drop_oldest(tl, tl->n_window);
    front_state_reset(&tl->front);
    tl->first = next;
}

void timeline_free_segments(omnid_segment *first)
{
    while (first) {
        omnid_segment *s = first;
        first = s->next;
        omnid_segment_destroy(&s);
    }
}

void timeline_free(omnid_timeline *tl)
{
    memory *mem = &tl->engine->memory;
    drop_oldest(tl, tl->n_window);
    free(tl->window);
    buffer_free(mem, &tl->front.first);
    buffer_free(mem, &tl->front.third);
    kv_store_free(mem, &tl->prefix_kv);
    id_list_free(&tl->prefix_ids);
    timeline_free_segments(tl->queue);
    free(tl->reports);
    free(tl);
}

void timeline_publish(omnid_timeline *tl)
{
    omnid_timeline_status *st = &tl->status;
    st->first_segment = tl->first;
    st->next_segment = tl->first + tl->n_window;
    st->n_segments = tl->n_window;
    st->n_left = tl->left;
    st->n_gaps = tl->gaps;
    st->n_tokens = 0;
    st->memory_bytes = tl->prefix_kv.memory.size + tl->front.first.size + tl->front.third.size;
    st->first_wall_us = st->last_wall_us = 0;
    tl->n_reports = tl->n_window;
    for (int i = 0; i < tl->n_window; i++) {
        const page *p = tl->window[i];
        st->n_tokens += page_n_kept(p);
        st->memory_bytes += page_bytes(p);
        tl->reports[i] = p->report;
        if (p->wall_us) {
            st->first_wall_us = st->first_wall_us ? st->first_wall_us : p->wall_us;
            st->last_wall_us = p->wall_us + (int64_t)((p->end_s - 2.0 * (double)p->segment) * 1e6);
        }
    }
}
