/* segmenter.h: cuts timed pictures and timed sound into 2-second segments. Pure: no thread, no lock, no clock of its own.
 *
 * All times are microseconds of one clock that the caller chooses: CLOCK_MONOTONIC (clocked), or a clip's own time from
 * 0 (not clocked). Segment s covers [T0 + 2 s, T0 + 2 s + 2). Memory is bounded: six segments of sound and of chosen
 * pictures. docs/capture.md tells the rules, docs/semantics.md section 2 their meaning. */
#ifndef OMNID_CAPTURE_SEGMENTER_H
#define OMNID_CAPTURE_SEGMENTER_H

#include "capture/capture.h"
#include "capture/picture.h"

enum {
    SEGMENTER_SEGMENT_US = 2000000,
    SEGMENTER_INSTANT_US = 500000,   /* one frame every half second */
    SEGMENTER_FRAME_AGE_US = 500000, /* an older frame does not stand for an instant */
    SEGMENTER_WARNING_US = 60000000, /* for so long a picture that could not be converted is spoken of */
    SEGMENTER_SLACK = 800,           /* samples (50 ms): smaller errors of a block's time are absorbed */
    SEGMENTER_HELD = 6,              /* segments that may be held, the open one included */
    SEGMENTER_AHEAD_US = 8000000,    /* not clocked: one stream may be this far ahead before the other is given up */
    SEGMENTER_END_US = 5000,         /* the end of a picture is not known better: Matroska rounds to 1 ms */
    SEGMENTER_LATE_US = 300000,      /* clocked: how long after its end a segment waits for late data; live sources */
    SEGMENTER_LATE_CLIP_US =
        3000000, /* and files played by the clock: nothing is urgent, a busy machine decodes late */
};

typedef struct segmenter segmenter;

typedef struct {
    bool video, audio; /* what the camera has */
    bool clocked;      /* a segment closes when the clock has passed; false: when the data has (unpaced file) */
    bool clip;         /* the streams end: a segment is closed only when what follows it, or the end, is there */
    int64_t late_us;   /* clocked: how long after its end a segment waits for what is missing */
} segmenter_params;

typedef struct {
    int64_t n_segments;                     /* closed and not empty */
    int64_t n_gaps_video, n_gaps_audio;     /* closed segments, the empty ones too, without what they should have */
    int64_t n_dropped_frames;               /* too late, out of order, too far ahead, or not convertible */
    int64_t n_dropped_samples;              /* too late, overlapping or too far ahead */
    int64_t n_sound_gaps, n_sound_overlaps; /* jumps of the sound's time by more than 50 ms */
    int64_t n_converted;                    /* pictures whose pixels were made */
} segmenter_stats;

omnid_status segmenter_create(segmenter **out, const segmenter_params *p, omnid_error *err);
void segmenter_destroy(segmenter **s); /* *s may be NULL */

/* Sets T0, unless it is set. Without it the first picture or block sets it. */
void segmenter_begin(segmenter *s, int64_t t0_us);
bool segmenter_begun(const segmenter *s);

/* Hands a picture over, in order of time; takes *p on OK (and then sets it to NULL), late or not. OMNID_AGAIN (not
 * clocked only): take the ready segments first, then hand it over again. */
omnid_status segmenter_put_picture(segmenter *s, picture **p);

/* Copies n samples (16 kHz mono, at most one second) whose first is of time t_us; they are clamped to -1..1, NaN counts as
 * missing. OMNID_AGAIN as above. */
omnid_status segmenter_put_sound(segmenter *s, int64_t t_us, const float *samples, int n);

/* A stream is over. end_us: end of its last picture's time on screen (0 = not known: right behind its start); sound ends
 * with its last sample. A second call changes nothing. */
void segmenter_end_video(segmenter *s, int64_t end_us);
void segmenter_end_audio(segmenter *s);

/* The picture's source is closed: what the segmenter still holds of it is made RGB, so that nothing of the device's is held.
 * A camera whose buffers somebody has is not gone for the kernel, and may not come back while that is so. */
void segmenter_let_go(segmenter *s);

/* The sound's source was opened again: the next block is placed by its time exactly. */
void segmenter_restart_audio(segmenter *s);

/* Whether picture (video true) or sound is there to be expected; both are at first. What is not is not waited for, its
 * absence is no gap, what comes of it and what there is of it from the open segment on is thrown away. Neither is the
 * absence a gap in the segments in which it was expected again and in which it came again. now_us: the clock's. */
void segmenter_expect(segmenter *s, bool video, bool expected, int64_t now_us);

/* Whether segmenter_take has something to do at now_us (unused when not clocked). */
bool segmenter_ready(const segmenter *s, int64_t now_us);
/* When to look again if no data comes; INT64_MAX = never. */
int64_t segmenter_next_us(const segmenter *s, int64_t now_us);
/* Every stream has ended and every segment was taken. */
bool segmenter_finished(const segmenter *s);

/* Takes the oldest closed segment. wall_us: CLOCK_REALTIME at now_us, from which the segment's start is reckoned.
 * OMNID_AGAIN: none. Segments with neither picture nor sound are skipped: the next index is higher by more than one.
 * NOMEM loses the segment. Free with capture_segment_free. */
omnid_status segmenter_take(segmenter *s, int64_t now_us, int64_t wall_us, capture_segment **out, omnid_error *err);

/* A copy of the open segment as if the clip ended now_us; sound is shared by copy, pictures by reference. When clocked its
 * last frame is the newest picture, even one that is younger than the last instant. *out is NULL when it holds nothing.
 * NOMEM. */
omnid_status segmenter_snapshot(segmenter *s, int64_t now_us, int64_t wall_us, capture_segment **out, omnid_error *err);

segmenter_stats segmenter_get_stats(const segmenter *s);
/* Sentence of the last picture that could not be converted; "" = none. Borrowed. */
const char *segmenter_warning(const segmenter *s);

#endif
