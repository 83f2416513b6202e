/* capture_internal.h: what capture.c (a camera), capture_reader.c (its sources' threads) and capture_cutter.c (its
 * segments' thread) share. One lock guards the segmenter and everything that more than one thread uses. */
#ifndef OMNID_CAPTURE_INTERNAL_H
#define OMNID_CAPTURE_INTERNAL_H

#include "capture/capture.h"
#include "capture/meter.h"
#include "capture/segmenter.h"
#include "capture/source.h"

#include <pthread.h>

enum { VIDEO, AUDIO, N_STREAMS };
enum { N_READERS = 2, N_EVENTS = 16 };

/* One of the two streams, under the lock. */
typedef struct {
    capture_source_status status;
    meter meter;
    bool wanted;        /* the camera has, or may have, it */
    bool paused;        /* by omnid_capture_pause */
    bool absent;        /* the source that is open turned out not to have it */
    int64_t since_us;   /* when its source was opened or it was resumed */
    int64_t newest_us;  /* when the last data arrived; 0 = none since then */
    int64_t resumed_us; /* what was taken before is thrown away */
} stream_state;

/* A source's thread and what is its own. */
typedef struct {
    omnid_capture *c;
    const source_ops *ops;
    char *uri;         /* as given */
    char *shown;       /* as it may be told */
    bool video, audio; /* what it is asked for */
    pthread_t thread;
    bool launched;
    /* Set by a stop, and by a pause of all that it carries: the source is to be closed. The thread takes it back. */
    atomic_bool halt;
    void *source;
    bool tried; /* the first open returned; with: */
    omnid_status open_status;
    omnid_error open_error;
    source_info info;
    atomic_int n_left_behind;
    char memory[SOURCE_MEMORY]; /* the source's, from one open to the next */
    unsigned seed;
    char told[sizeof((omnid_error *)0)->text]; /* the warning of the last attempt; "": it was running since */
} reader;

typedef struct {
    bool video;
    capture_state state;
    char message[256];
} source_event;

struct omnid_capture {
    atomic_int n_refs; /* the owner and each reader: one that hangs frees what it used when it comes back at last */
    capture_params p;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    reader readers[N_READERS];
    int n_readers;
    pthread_t cutter;
    bool cutting; /* the segmenter is there and readers may read */
    bool finished;
    int64_t wall_start_us;
    segmenter *seg;
    stream_state streams[N_STREAMS];
    source_event events[N_EVENTS];
    int n_events;
};

/* Waits for `changed` until until_us of CLOCK_MONOTONIC at most; INT64_MAX = for ever. Under the lock. */
void capture_wait(omnid_capture *c, int64_t until_us);
bool capture_stopping(const omnid_capture *c);
/* Gives one reference back; the last one frees. */
void capture_release(omnid_capture *c);
/* Sets a stream's state, which becomes an event, and its message (NULL: the old one stays). Under the lock. */
void capture_set_state(omnid_capture *c, int which, capture_state state, const char *message);

/* Threads: arg is the reader, the capture. */
void *reader_run(void *arg);
void *cutter_run(void *arg);

/* Whether the reader carries the stream and it is neither paused nor absent. Under the lock. */
bool reader_carries(const reader *r, int which);

#endif
