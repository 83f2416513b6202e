/* prune.h: a policy decides which audio and video tokens leave after a layer; how many is the schedule's (retention.h).
 * A policy is one file of this folder and one line in policies.c. */
#ifndef ENGINE_PRUNE_H
#define ENGINE_PRUNE_H

#include "kernels/kernels.h"

/* What a policy sees after layer `layer`: lists and scores in the backend's memory. */
typedef struct {
    kernels_stream *stream;
    int layer;
    uint64_t seed;
    const kernels_descriptor *descriptor; /* backend's memory: all that select reads; what follows is in it */
    int64_t max_keys;                     /* of select */
    const kernels_key *in;                /* [n] tokens that entered the layer, in stream order */
    int n, k;
    kernels_key *out; /* [n - k] survivors, in stream order */
    int32_t *kept;    /* [n - k] their places in `in`; NULL = not wanted */
} prune_call;

typedef struct {
    const char *name, *description;
    bool prunes;      /* false: k_l = 0 everywhere */
    bool uses_scores; /* S of the layer is needed */
    bool on_device;   /* leave enqueues work whose arguments depend on descriptor and max_keys alone: may be recorded */
    omnid_status (*leave)(const prune_call *c, omnid_error *err); /* NULL when it does not prune */
} prune_policy;

/* By name; NULL or "" = omnidrop. ARGUMENT names those there are. */
omnid_status prune_find(const prune_policy **out, const char *name, omnid_error *err);

extern const prune_policy prune_none, prune_omnidrop, prune_random;

#endif
