/* ingest.h: one segment on its way into a timeline, or the open segment into a question's fork, slice by slice. */
#ifndef ENGINE_INGEST_H
#define ENGINE_INGEST_H

#include "engine/lane.h"
#include "engine/timeline.h"

typedef enum {
    INGEST_IDLE,
    INGEST_PREFIX, /* the timeline's system prompt, once */
    INGEST_AUDIO_FRONT,
    INGEST_AUDIO_LAYERS,
    INGEST_AUDIO_FINISH,
    INGEST_VISION_FRONT,
    INGEST_VISION_BLOCKS,
    INGEST_VISION_FINISH,
    INGEST_INTRA, /* section 4, then the rows' places */
    INGEST_PREFILL,
    INGEST_DONE /* page and front hold what came out, once the lane has done it */
} ingest_stage;

typedef struct {
    omnid_timeline *tl;
    omnid_segment *segment; /* owned */
    bool open;              /* the open segment, for a fork: leaves no trace in the timeline */
    lane *encode, *fill;    /* where the encoders and section 4 run, and where the rest */
    int64_t number;         /* of those begun in the background */
    unsigned modes;         /* what the page must serve */
    ingest_stage stage;
    int layer, chunk, grid;
    int n_layers; /* of the decoder to run */

    front_state front; /* the timeline's, as it will be after this segment; its buffers are unused */
    buffer group[2]; /* F32 [columns rows][hidden]: what its first and third will be, where this segment changes them */
    int group_base
        [2]; /* place 1, 2 compare with g0, place 3 with g2: grid of this segment that holds it, -1 = stored */
    audio_run audio;
    vision_run vision;
    int n_grids, n_video, n_audio;
    buffer embeds;        /* F32 [n_video + n_audio][hidden], before section 4 */
    buffer scratch, list; /* scores; row lists */
    float *mel;           /* host [200][128] */
    page *page;           /* owned until taken */
    page_view *view;      /* what its rows see: own_view, or the fork's */
    page_view own_view;
    row_set rows;
    int64_t encode_started_us;
} ingest;

/* Begins with a segment (taken). view: NULL = the timeline's window as it will be with this segment; else the fork's.
 * before: the ingest of the timeline's segment before this one, if it has not been committed; this one may not go on to
 * INGEST_INTRA before that is. NOMEM: the segment stays the caller's. */
omnid_status ingest_begin(ingest *in, omnid_timeline *tl, omnid_segment **segment, page_view *view, unsigned modes,
                          const ingest *before, omnid_error *err);
/* From the beginning: the one before has been lost. */
void ingest_again(ingest *in);
/* The lane that its next slice runs on. */
lane *ingest_lane(const ingest *in);
/* Runs one slice and describes it in *slice (kind, layer, n_rows). After an error the ingest is to be abandoned. */
omnid_status ingest_step(ingest *in, omnid_slice *slice, omnid_error *err);
/* INGEST_DONE, not open: the page becomes visible and the front's state the timeline's. */
omnid_status ingest_commit(ingest *in, omnid_error *err);
/* Gives up what is under way; memory stays for the next. */
void ingest_abandon(ingest *in);
void ingest_free(ingest *in, memory *mem);

/* Reference maximum over a clip, segment by segment from the first. */
omnid_status ingest_clip_reference(omnid_timeline *tl, const omnid_segment *clip, float *reference, omnid_error *err);

#endif
