/* outbox.h: what the engine's and capture's threads have to tell the server's thread.
 *
 * The engine must never wait for a client: its callbacks append here and write an eventfd that the server's loop polls.
 * Everything is bounded: text of one answer coalesces in one entry until it is taken, there are at most as many answers as
 * the engine has open, and news drop their oldest past OUTBOX_MAX_NEWS (counted). */
#ifndef OMNID_DAEMON_OUTBOX_H
#define OMNID_DAEMON_OUTBOX_H

#include "capture/capture.h"
#include "engine/omnid.h"

#include <glib.h>

enum { OUTBOX_MAX_NEWS = 512 };

typedef struct outbox outbox;

typedef enum { OUTBOX_OPEN, OUTBOX_DONE, OUTBOX_FAILED } outbox_state;

/* News of one answer since it was last taken. */
typedef struct {
    uint64_t answer;
    GString *text; /* new text; may be empty */
    outbox_state state;
    omnid_result *result;  /* DONE: a copy; trace NULL */
    omnid_error error;     /* FAILED */
    int64_t first_text_us; /* omnid_clock_us of the first text in this entry; 0 = none */
} outbox_answer;

typedef enum { OUTBOX_SEGMENT, OUTBOX_SOURCE, OUTBOX_SKIPPED, OUTBOX_LOAD, OUTBOX_HEALTH } outbox_news_kind;
typedef struct {
    outbox_news_kind kind;
    size_t camera;                /* index in the configuration; HEALTH: unused */
    omnid_segment_report segment; /* SEGMENT */
    int64_t skipped, n_skipped;   /* SKIPPED: the segment's number, and how many so far */
    int load;                     /* LOAD: the step taken, of load.h */
    bool video;                   /* SOURCE */
    capture_state state;          /* SOURCE */
    char text[512];               /* SOURCE, SKIPPED, LOAD, HEALTH: a sentence */
} outbox_news;

/* IO: no eventfd. */
omnid_status outbox_create(outbox **out, omnid_error *err);
void outbox_destroy(outbox **o);
int outbox_fd(const outbox *o); /* readable while something waits; the outbox's */

/* Any thread; n bytes are copied, the result deeply. */
void outbox_add_text(outbox *o, uint64_t answer, const char *text, size_t n);
void outbox_add_result(outbox *o, uint64_t answer, const omnid_result *r);
void outbox_add_error(outbox *o, uint64_t answer, const omnid_error *error);
void outbox_add_news(outbox *o, const outbox_news *news);
/* Only makes the fd readable: a state the server reads elsewhere has changed. */
void outbox_wake(outbox *o);

/* Takes everything: arrays of outbox_answer * and outbox_news *, in the order of their first entry; the caller unrefs
 * them, which frees the elements. *n_dropped: news dropped since the last call. */
void outbox_take(outbox *o, GPtrArray **answers, GPtrArray **news, int64_t *n_dropped);

#endif
