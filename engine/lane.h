/* lane.h: a stream with the work space of what runs on it. Questions and decode steps have one, prefill of segments one, the
 * encoders one; where a backend has run an op when it returns, all three are the same. */
#ifndef ENGINE_LANE_H
#define ENGINE_LANE_H

#include "engine/decoder.h"
#include "engine/encoders.h"

typedef struct {
    memory *mem;
    kernels_stream *stream;
    decoder_work *decoder; /* NULL: this lane never needs it */
    encoder_work *encoder; /* the same */
    buffer ids;            /* I32, for embeddings */
    buffer iota;           /* I32 0, 1, 2 … */
    int64_t n_iota;
} lane;

omnid_status lane_open(lane *l, memory *mem, kernels_priority priority, omnid_error *err);
/* Waits for its work. The work spaces are others'. */
void lane_close(lane *l);
/* x F32 [n][hidden] (backend's memory) = embeddings of host ids. */
omnid_status lane_embed(lane *l, void *x, const int32_t *ids, int n, omnid_error *err);
/* to = from, dense F32 rows in the backend's memory. */
omnid_status lane_copy_rows(lane *l, tensor *to, const tensor *from, omnid_error *err);
/* What is enqueued on l from now on begins after all that was enqueued on `other` so far. */
void lane_follow(lane *l, lane *other);
/* Waits for all work of l; what it found wrong. */
omnid_status lane_finish(lane *l, omnid_error *err);
/* What its work has been found wrong so far, without waiting. */
omnid_status lane_look(lane *l, omnid_error *err);

/* How far the host runs ahead: a mark behind the slice that was enqueued last, and how many marks are still to be reached, after
 * waiting until there are `most` (negative: without waiting). 0 where ops have run when they return. */
void lane_mark(lane *l);
int lane_behind(lane *l, int most);
/* Waits until l has at most `most` of them left, or other at most other_most. */
void lane_wait_either(lane *l, int most, lane *other, int other_most);

#endif
