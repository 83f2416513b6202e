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
    const kernels_key *in;        /* [n] tokens that entered the layer, in stream order */
    const tensor *S;              /* F32 [n] of this layer; NULL when the policy does not use it */
    const kernels_counts *counts; /* n_score, k_leave, tds, c_last, lambda: backend's memory */
    int n, k;                     /* the same numbers on the host */
    kernels_key *out;             /* [n - k] survivors, in stream order */
    tensor *kept;                 /* I32 [n - k] their places in `in` */
} prune_call;

typedef struct {
    const char *name, *description;
    bool prunes;                                                  /* false: k_l = 0 everywhere */
    bool uses_scores;                                             /* S of the layer is needed */
    omnid_status (*leave)(const prune_call *c, omnid_error *err); /* NULL when it does not prune */
} prune_policy;

/* By name; NULL or "" = omnidrop. ARGUMENT names those there are. */
omnid_status prune_find(const prune_policy **out, const char *name, omnid_error *err);

extern const prune_policy prune_none, prune_omnidrop, prune_random;

#endif
