/* source.h: what gives pictures and sound: one file and one line in the table (sources.c) a kind.
 *
 * A source has a thread of its own, made by capture.c, from which every call of open, read and close comes. */
#ifndef OMNID_CAPTURE_SOURCE_H
#define OMNID_CAPTURE_SOURCE_H

#include "capture/capture.h"
#include "capture/picture.h"

#include <stdatomic.h>

enum { SOURCE_MEMORY = 512 };

typedef struct {
    const char *uri;   /* whole, with its scheme; borrowed until close, as `shown` is */
    const char *shown; /* the same without user and password: what sentences call the source */
    bool want_video, want_audio;
    bool loop, fast;           /* capture_params */
    const atomic_bool *stop;   /* set: open must return soon (OMNID_CANCELLED) */
    atomic_int *n_left_behind; /* close adds one when it leaves a thread that hangs; NULL = not counted */
    /* What a source wants to know at its next open, e.g. which camera it had: SOURCE_MEMORY bytes, zero before the first;
     * kept by the camera from one open to the next. NULL: not kept. Borrowed during open. */
    char *memory;
} source_params;

typedef struct {
    bool has_video, has_audio; /* of what was wanted */
    bool clip;                 /* has an end, is not retried, and never waits for a camera */
    int64_t start_us;          /* time of the first picture or sample; INT64_MIN = not known before it comes */
} source_info;

typedef enum { SOURCE_PICTURE, SOURCE_SOUND, SOURCE_PICTURE_END, SOURCE_SOUND_END } source_kind;

/* One thing that came. Times are CLOCK_MONOTONIC in us, or, with source_params.fast, us since the clip's start. */
typedef struct {
    source_kind kind;
    int64_t t_us;         /* of the picture, of the first sample, or the end of the stream that has ended */
    picture *pic;         /* SOURCE_PICTURE: one reference, the reader's */
    const float *samples; /* SOURCE_SOUND: 16 kHz mono; borrowed until the next read or close */
    int n_samples;
    const char *warning; /* a sentence worth telling; NULL = none; borrowed as samples are */
} source_data;

typedef struct {
    const char *scheme;      /* "test", "file", …: a URI is scheme:rest */
    const char *description; /* one line: the URI's form and what it is */
    bool local;              /* opened before the capture starts: its failure to open is the capture's failure */
    /* Form and existence of the URI, nothing opened. Any thread. */
    omnid_status (*check)(const char *uri, omnid_error *err);
    /* On failure *self is NULL. May take seconds. A live source is opened again after a failure: in a moment, or in half a
     * minute where only a person can help (ARGUMENT, UNSUPPORTED). */
    omnid_status (*open)(void **self, const source_params *p, source_info *info, omnid_error *err);
    /* OMNID_AGAIN: nothing within timeout_ms. OMNID_END: every stream has ended and was told. Other: the source is lost. */
    omnid_status (*read)(void *self, source_data *out, int timeout_ms, omnid_error *err);
    /* *self may be NULL. Takes at most 2 s. */
    void (*close)(void **self);
} source_ops;

extern const source_ops source_test, source_file, source_v4l2, source_mic;
extern const source_ops source_rtsp, source_rtspt, source_rtsps, source_pipeline, source_csi;

/* The table's row for a URI. UNSUPPORTED names the known kinds. */
omnid_status sources_find(const source_ops **out, const char *uri, omnid_error *err);
/* What stands behind "scheme:". */
const char *source_rest(const char *uri);
/* A copy of it as it may be told, to be freed; NULL: out of memory. Shorten it afterwards only: half a password is nobody's to
 * recognize. */
char *source_show(const char *uri);
/* Adds a row (tests' fake sources). Before any capture starts. LIMIT past 8 added rows. */
omnid_status sources_add(const source_ops *ops);

#endif
