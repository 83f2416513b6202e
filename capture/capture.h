/* capture.h: from cameras, microphones and files to 2-second segments.
 *
 * A capture is one camera: a picture source, a sound source, or both. It runs its own threads, cuts what arrives into
 * segments by one clock (segment s covers [T0 + 2 s, T0 + 2 s + 2)) and hands each closed segment to a callback. Capture
 * delivers frames at their native size, RGB; the engine resizes. A source that is lost is retried for ever. */
#ifndef OMNID_CAPTURE_H
#define OMNID_CAPTURE_H

#include "base/base.h"

typedef struct omnid_capture omnid_capture;

enum { CAPTURE_FRAMES = 4, CAPTURE_SAMPLES = 32000, CAPTURE_AWAITED = 40, CAPTURE_RATE = 16000 };

/* One frame; rgb is borrowed from the segment. */
typedef struct {
    const uint8_t *rgb;
    int width, height;
    int stride;   /* bytes */
    int64_t t_us; /* when it was taken: omnid_clock_us (live), or the clip's time (fast) */
    /* The same frame as the source delivered it, when that was a JPEG file of its own; NULL and 0 otherwise. Borrowed. */
    const uint8_t *jpeg;
    size_t n_jpeg; /* bytes */
} capture_frame;

/* A closed segment, or a copy of the open one. A grid (two frames) with one frame missing repeats the other; a segment in
 * which a whole grid is missing has no picture (n_frames 0), except at the end of a clip and in the open segment. */
typedef struct {
    int64_t index;    /* s, from 0 */
    int64_t wall_us;  /* CLOCK_REALTIME of its start */
    int64_t start_us; /* omnid_clock_us of its start (live), or s * 2,000,000 (unpaced file) */
    capture_frame frames[CAPTURE_FRAMES];
    int n_frames;          /* 0..4 */
    const float *samples;  /* 16 kHz mono -1..1; NULL = no sound */
    int n_samples;         /* 0..32040 */
    int n_samples_missing; /* of them filled with zeros */
    bool last;             /* a clip's last segment */
} capture_segment;

/* PAUSED: closed because omnid_capture_pause asked for it; its segments are no gaps. */
typedef enum {
    CAPTURE_OFF,
    CAPTURE_STARTING,
    CAPTURE_RUNNING,
    CAPTURE_LOST,
    CAPTURE_ENDED,
    CAPTURE_PAUSED
} capture_state;
const char *capture_state_name(capture_state s);

typedef struct {
    const char *uri; /* as given, user and password hidden; borrowed from the capture */
    capture_state state;
    double fps;        /* frames a second that arrived, last 2 s; 0 for sound */
    int width, height; /* of the last frame */
    double level_dbfs; /* of the last 2 s of sound; -120 = silence */
    int64_t n_dropped; /* frames or samples that came too late */
    int64_t n_restarts;
    int64_t lost_since_us; /* omnid_clock_us of the loss while state is LOST; else 0 */
    int n_left_behind;     /* threads of a driver that hung while it was closed, over all */
    char message[256];     /* last error or warning sentence; "" = none */
} capture_source_status;

typedef struct {
    capture_source_status video, audio; /* state OFF where the camera has none */
    int64_t n_segments;                 /* closed */
    int64_t n_gaps_video, n_gaps_audio; /* segments without picture or sound that should have it */
} capture_status;

typedef struct {
    const char *video; /* URI or NULL: of a kind that omnid_capture_schemes lists */
    const char *audio; /* URI, NULL = none, "same" = the picture source's own sound */
    bool loop;         /* file: starts again at its end, time goes on */
    bool fast;         /* file: not paced in real time; the callback paces by blocking */
    void *user;
    /* A segment was closed. On the capture's own thread; seg is valid in the call. */
    void (*on_segment)(void *user, const capture_segment *seg);
    /* A source changed its state: video true or false. On the capture's own thread. */
    void (*on_source)(void *user, bool video, capture_state state, const char *message);
} capture_params;
OMNID_API capture_params capture_params_default(void);

/* Checks the URIs and starts. NOT_FOUND, UNSUPPORTED (unknown kind, names the known ones), FORMAT (a file without picture
 * or sound), NOMEM. A live source that does not start is not an error here: it is retried, status tells. */
OMNID_API omnid_status omnid_capture_start(omnid_capture **out, const capture_params *p, omnid_error *err);
/* Checks one URI's form and existence without opening it (omnid --check). */
OMNID_API omnid_status omnid_capture_check(const char *uri, omnid_error *err);
/* Puts three stars, in place, where any text has a user and a password: what stands before the @ of a URI's host, and the
 * value of user-id=, user-pw=, password= and the like in a pipeline's string. Every sentence that capture tells has gone
 * through it. size: bytes at text; what does not fit is cut off. */
OMNID_API void omnid_capture_hide_password(char *text, size_t size);
/* Stops within 2 s; *c may be NULL. */
OMNID_API void omnid_capture_stop(omnid_capture **c);

/* Pauses or resumes the picture (video true) or the sound of a live camera. A paused stream's device is closed (its light
 * goes out) and nothing of it is kept from that moment on, the open segment's part included; resuming opens it as after
 * a loss. A pipeline that carries both streams stays open for the other one, and what comes of the paused one is thrown
 * away. Pausing what is paused is OK. UNSUPPORTED: the camera has no such stream, or it is a clip. Any thread. */
OMNID_API omnid_status omnid_capture_pause(omnid_capture *c, bool video, bool paused, omnid_error *err);

/* A copy of the open segment up to now; NULL in *out when it holds nothing yet. Any thread. Free with capture_segment_free. */
OMNID_API omnid_status omnid_capture_open_segment(omnid_capture *c, capture_segment **out, omnid_error *err);
OMNID_API void capture_segment_free(capture_segment **seg);

OMNID_API capture_status omnid_capture_get_status(omnid_capture *c); /* any thread */
/* Blocks until a file source has ended and its last segment was handed over, or timeout_ms passed (-1 = for ever). */
OMNID_API omnid_status omnid_capture_wait_end(omnid_capture *c, int timeout_ms);

/* The table of sources: schemes and one-line descriptions; NULL at the end of names. */
typedef struct {
    const char *scheme, *description;
} capture_scheme;
OMNID_API const capture_scheme *omnid_capture_schemes(int *n);

#endif
