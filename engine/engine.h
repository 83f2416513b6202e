/* engine.h: the engine's own state; private to the library. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "engine/answer.h"
#include "engine/ingest.h"

enum { ENGINE_TTFT_SAMPLES = 256, ENGINE_SPARE_ANSWERS = 4, ENGINE_SEGMENTS = 2, ENGINE_MEMORY_US = 1000000 };

/* An answer that has not been told yet, as other threads see it. */
typedef struct {
    uint64_t id;
    bool cancelled;
} open_answer;

struct omnid_engine {
    const omnid_model *model;
    const kernels_ops *ops;
    omnid_engine_params params;
    omnid_callbacks callbacks;
    memory memory;

    /* engine's thread */
    lane asking; /* questions, decode steps, open segments; the only one where ops have run when they return */
    lane prefilling, encoding; /* segments: else, each on a stream of its own */
    lane *fill, *encode;       /* where segments run: these two, or asking */
    kernels_stream *stream;    /* asking's */
    mel *mel;
    decoder_work decoder, fill_decoder;  /* asking's, prefilling's */
    encoder_work encoder, later_encoder; /* asking's, encoding's */
    ingest background[ENGINE_SEGMENTS];  /* on their way: one, or where there are lanes a second behind the first */
    int64_t n_begun;
    int64_t memory_asked_us; /* when the device was last asked for its free memory */
    ingest open;             /* the open segment of the question being prefilled */
    row_set query;     /* rows of the question in its layers: one question at a time, the oldest that is not decoding */
    buffer logits;     /* F32 [vocabulary] of its first position */
    buffer last_row;   /* question_whole.c: the number of its last row, and 64 bytes on, what has become of it */
    bool path_refused; /* a path could not be recorded, which has been logged */
    answer *answers;   /* open, oldest first */
    answer *spare;     /* finished, their memory kept for the next */
    int n_spare;
    decode_batch batch;
    int64_t ingest_us, decode_us; /* spent since both had work: shares */
    omnid_error lost;             /* the device is lost: the sentence everything ends with from then on */

    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool woken;
    omnid_timeline *timelines;
    answer *submitted, **submitted_end; /* not yet seen by the engine's thread */
    open_answer *open_answers;          /* [n_open] of max_open_questions */
    int n_open, n_cancelled;
    uint64_t last_id;
    omnid_engine_status status;
    float ttft_ms[ENGINE_TTFT_SAMPLES];
    int64_t slice_started_us; /* of the slice in hand; 0 = none */
    uint64_t free_bytes;      /* of the device's memory, as last asked */
};

/* Both on the lane of questions (lane.h). */
omnid_status engine_copy_rows(omnid_engine *e, tensor *to, const tensor *from, omnid_error *err);
omnid_status engine_embed(omnid_engine *e, void *x, const int32_t *ids, int n, omnid_error *err);

/* Whether segments have lanes of their own, so that two can be on their way. */
static inline bool engine_has_lanes(const omnid_engine *e)
{
    return e->fill != &e->asking;
}

/* How much of the device's memory is free; get_status tells. Asked by the engine's thread, at most once a second, because a
 * device may be slow to say. */
void engine_ask_memory(omnid_engine *e);

/* A failure that may have come of the loss of the device, and did, becomes that: a lost device has no memory, either. */
void engine_look_for_loss(omnid_engine *e, omnid_error *failure);

/* Tells on_slice. */
void engine_tell_slice(omnid_engine *e, const omnid_slice *slice);

#endif
