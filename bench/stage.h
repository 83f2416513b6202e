/* stage.h: an engine at work on a thread of its own, as in the daemon, with any number of timelines; this side submits
 * segments and questions and waits. Times are the engine's own: omnid_clock_us at submit, first sampled id and end. */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "bench/synthetic.h"

enum { STAGE_MAX_TIMELINES = 16, STAGE_MAX_SAMPLES = 4096 };

/* Of answers or segments since the last stage_clear; what is too much is counted but not kept. */
typedef struct {
    double ttft_ms[STAGE_MAX_SAMPLES], token_ms[STAGE_MAX_SAMPLES]; /* to the first id; each id after it */
    double latency_ms[STAGE_MAX_SAMPLES];                           /* a segment: queued to visible */
    int n_answers, n_segments;
    int64_t n_ids;             /* generated */
    int64_t n_tokens, n_kept;  /* of segments: before and after section 4 of docs/semantics.md */
    int64_t first_us, last_us; /* first answer queued, last one done */
    double retained;           /* of the last answer */
} stage_samples;

typedef struct {
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool stop;
    omnid_engine *engine;
    synthetic *source;
    int side;
    omnid_timeline *tl[STAGE_MAX_TIMELINES];
    int64_t next[STAGE_MAX_TIMELINES]; /* the next segment's number */
    int n_timelines;
    /* under the lock */
    int64_t n_submitted, n_visible;
    int n_asked, n_ended;
    int query_rows; /* of the last question */
    stage_samples samples;
    omnid_error error; /* the first */
} stage;

/* Starts the engine's thread. s must stay where it is. On failure nothing is left to close. */
omnid_status stage_open(stage *s, const omnid_model *m, synthetic *source, int side, omnid_error *err);
void stage_close(stage *s);
/* Forgets the samples. */
void stage_clear(stage *s);

/* A timeline of one mode whose window holds n_segments and one more; two leave at once. Its number in s->tl goes to *at. */
omnid_status stage_add(stage *s, int *at, omnid_mode mode, bool intra, int n_segments, omnid_error *err);
/* Submits a whole segment; waits while the queue is full. */
omnid_status stage_submit(stage *s, int at, omnid_error *err);
/* Segments that are not visible yet. */
int64_t stage_open_segments(stage *s);
/* The first error so far. */
omnid_status stage_state(stage *s, omnid_error *err);
/* Waits until all submitted segments are visible and all answers have ended. */
omnid_status stage_settle(stage *s, omnid_error *err);
/* Submits n segments one after the other and settles. */
omnid_status stage_feed(stage *s, int at, int n, omnid_error *err);
/* Asks without waiting. */
omnid_status stage_ask(stage *s, int at, const omnid_question_params *q, omnid_error *err);
/* Questions under way. */
int stage_open_answers(stage *s);
/* Waits at most so long for a segment or an answer. */
void stage_wait(stage *s, int64_t us);

#endif
