/* frames.h: what one camera saw, as JPEG, for as long as its window holds the segment. In memory only. */
#ifndef OMNID_DAEMON_FRAMES_H
#define OMNID_DAEMON_FRAMES_H

#include "capture/capture.h"

#include <glib.h>

/* A moment is shown by the newest frame at or before it, if that is not older than this. */
enum { FRAMES_STAND_US = 2000000 };

typedef struct frames frames;

/* A frame's place, and its file. */
typedef struct {
    int64_t segment;
    int index;       /* 0..3: it stands for that half second of the segment */
    int64_t wall_us; /* CLOCK_REALTIME of when it was taken; 0 = unknown */
    int width, height;
    GBytes *jpeg; /* a reference: frames_one_clear */
} frames_one;
void frames_one_clear(frames_one *one);

/* Which frame: of that segment and index, or of that moment, or the newest. */
typedef struct {
    int64_t segment; /* < 0: not by segment */
    int index;
    int64_t wall_us; /* 0: not by moment */
} frames_query;

/* limit_bytes of JPEG: past it the oldest segments leave (0: nothing is kept). quality: 1..100, of frames that the source
 * did not deliver as JPEG. Any function may be called from any thread. */
frames *frames_create(size_t limit_bytes, int quality);
void frames_destroy(frames **f); /* *f may be NULL */

/* Keeps a closed segment's frames: the source's own JPEG where there is one, else encoded here, on the caller's thread. Segments come
 * in order. timed: its wall clock means something. A frame that cannot be encoded is left out, with a line in the log. */
void frames_add(frames *f, const capture_segment *s, bool timed);
/* Lets go of the segments before that number. */
void frames_trim(frames *f, int64_t first_segment);
/* Lets go of everything; a segment that is being added meanwhile is not kept either. */
void frames_clear(frames *f);

/* The frame asked for, or NOT_FOUND. */
omnid_status frames_find(frames *f, const frames_query *q, frames_one *out);
/* The same of a segment that is not kept (the open one). Other errors are those of frames_encode. */
omnid_status frames_find_in(const frames *f, const capture_segment *s, bool timed, const frames_query *q,
                            frames_one *out, omnid_error *err);

typedef struct {
    int n; /* frames kept; with n = 0 the rest is zero */
    size_t n_bytes;
    frames_one oldest, newest; /* jpeg NULL */
} frames_range;
frames_range frames_get_range(frames *f);

/* A whole JPEG file: the source's own, else made of its pixels with 4:2:0 colours. FORMAT: libturbojpeg refuses it. */
omnid_status frames_encode(const capture_frame *frame, int quality, GBytes **out, omnid_error *err);
/* Makes one->jpeg at most max_width wide (the largest of M/8 of its size, M = 1..8, that is; 1/8 at least). FORMAT. */
omnid_status frames_scale(frames_one *one, int max_width, int quality, omnid_error *err);

#endif
