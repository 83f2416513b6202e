/* timeline.h: what one camera has shown and sounded: prefix, window of pages, and what section 4 and mel remember. */
#ifndef ENGINE_TIMELINE_H
#define ENGINE_TIMELINE_H

#include <pthread.h>

#include "engine/decoder.h"
#include "engine/mel.h"

enum { TIMELINE_MEL_SEGMENTS = 15 /* running reference maximum */ };

/* A segment on its way in: frames at the timeline's size. */
struct omnid_segment {
    omnid_segment *next; /* in the queue */
    int64_t index, wall_us, queued_us;
    int width, height; /* after resizing */
    int n_frames;
    uint8_t *frames[4]; /* [height][width][3] */
    double data_s;      /* how much of its 2 s there is */
    double rho_v;       /* share of video tokens that leave */
    bool has_audio;
    int n_samples, n_ahead; /* 0..32000 of the segment, 0..40 awaited */
    float *samples;         /* [n_samples + n_ahead] */
};

/* What the front ends remember from segment to segment. A fork works on a copy. */
typedef struct {
    int64_t next_segment; /* the segment that goes on with the group; another one starts a new group */
    int group_place;      /* 0..3: place of the next grid in its TTM group */
    int columns, rows;    /* grid size of the group */
    buffer first, third;  /* F32 [columns rows][hidden]: vectors of the group's g0 and g2 */
    int64_t tail_segment; /* segment whose last samples `tail` holds; -1 = none */
    float tail[MEL_LEFT];
    float maxima[TIMELINE_MEL_SEGMENTS];      /* by segment number modulo */
    int64_t maxima_of[TIMELINE_MEL_SEGMENTS]; /* segment of each; -1 = none */
} front_state;

struct omnid_timeline {
    omnid_engine *engine;
    omnid_timeline_params params; /* system NULL, max_pixels set */
    stream_parts parts;
    int64_t st;

    /* engine's thread */
    id_list prefix_ids;
    kv_store prefix_kv; /* all layers, n_prefix rows; classes TEXT for its own rows */
    bool prefix_ready;
    front_state front;
    page **window; /* [n_window] pages of segments first .. first + n_window - 1 */
    int n_window, window_capacity;
    int64_t first; /* D */
    int64_t left;  /* segments that have left */
    int64_t gaps;
    bool fresh; /* forgotten: the next segment begins the window, whatever its number */
    bool mel_known;
    float mel_reference; /* clip mode, once ended */
    bool forgetting;     /* forget, as the engine's thread has seen it */
    uint64_t forgotten;  /* answers up to this one end with it */

    /* under the engine's lock */
    omnid_segment *queue, **queue_end;
    int n_queued;
    bool ended, forget;
    uint64_t forget_id; /* last answer asked before */
    int64_t last_index; /* highest number submitted; first_segment - 1 before the first */
    bool any_index;     /* forget: the next number may be anything */
    omnid_timeline_status status;
    omnid_segment_report *reports; /* [n_reports] of the window's segments, copied for other threads */
    int n_reports;
    omnid_timeline *next;
};

/* Highest stream number: 70,000 years; 50 positions a segment stay far from the ends of 64 bits. */
#define TIMELINE_MAX_SEGMENT ((int64_t)1 << 40)

/* δ when D segments have left: 50 positions a segment. */
static inline int64_t timeline_delta(int64_t first)
{
    return 50 * first;
}

/* First segment of the window once `segment` is in it: the oldest hop leave whenever it would hold more than W. */
int64_t timeline_first_with(const omnid_timeline *tl, int64_t segment);

/* Puts a finished page in (takes the reference): gaps before it become empty pages, what no longer fits leaves. NOMEM. */
omnid_status timeline_append(omnid_timeline *tl, page *p, omnid_error *err);
/* Forgets groups, maxima and samples; memory stays. */
void front_state_reset(front_state *f);
/* Drops all pages and what the front ends remember; the next segment is `next`. */
void timeline_clear(omnid_timeline *tl, int64_t next);
void timeline_free(omnid_timeline *tl);
/* A list of segments, next by next. */
void timeline_free_segments(omnid_segment *first);
/* Copies the numbers other threads may read; under the engine's lock. */
void timeline_publish(omnid_timeline *tl);

/* Some pages of a timeline as attention sees them. */
typedef struct {
    page **pages; /* [n_pages] referenced */
    int n_pages;
    int64_t first; /* D of this view: c of a page is its segment - first */
    int64_t delta;
    kernels_key *keys; /* host: every kept token of the pages, in stream order */
    int n_keys;
    buffer keys_dev; /* the same in the backend's memory */
    buffer tables;   /* kernels_page [n_layers][n_pages] */
    int n_layers;
} page_view;

/* Takes references to the window's pages from segment `first` on. NOMEM leaves it empty. */
omnid_status page_view_take(page_view *v, omnid_timeline *tl, int64_t first, omnid_error *err);
/* Adds a page (takes the reference). */
omnid_status page_view_add(memory *mem, page_view *v, page *p, omnid_error *err);
/* Makes keys and tables of n_layers layers, tokens of pages whose data ends at or before from_s left out (-1: none).
 * Uploads the tables. */
omnid_status page_view_upload(memory *mem, kernels_stream *s, page_view *v, int n_layers, double from_s,
                              omnid_error *err);
/* Uploads the keys as well. */
omnid_status page_view_upload_keys(memory *mem, kernels_stream *s, page_view *v, omnid_error *err);
static inline const kernels_page *page_view_table(const page_view *v, int layer)
{
    return (const kernels_page *)v->tables.data + (int64_t)layer * v->n_pages;
}
void page_view_release(memory *mem, page_view *v);
/* Frees its memory as well. */
void page_view_free(memory *mem, page_view *v);

#endif
