/* answer.h: one question under way: its fork of the timeline, its place in the schedule of slices, its result. */
#ifndef ENGINE_ANSWER_H
#define ENGINE_ANSWER_H

#include "engine/decoder.h"
#include "engine/prune/prune.h"
#include "engine/random.h"
#include "engine/retention.h"
#include "engine/timeline.h"
#include "engine/utf8_stream.h"

typedef enum {
    ANSWER_QUEUED,
    ANSWER_NOW,    /* the open segment is taken into the fork */
    ANSWER_LISTED, /* the query's rows over listed keys: all layers (eager) or the lower half (deferred) */
    ANSWER_OWN,    /* survivors and query over the fork's own keys: all layers (offline) or the upper half */
    ANSWER_HEAD,   /* logits of the first position */
    ANSWER_DECODE,
    ANSWER_DONE
} answer_stage;

/* What was asked, copied. */
typedef struct {
    omnid_mode mode;
    const prune_policy *policy;
    retention_plan plan;
    int first_prune, max_tokens;
    kernels_sampling sampling;
    uint64_t seed;
    int64_t deadline_us;
    double last_s;
    bool trace;
    id_list query; /* closers, history, question, template */
    int first_score_row;
    id_list *choices; /* [n_choices] tokens and the end after them */
    int n_choices;
} answer_request;

typedef struct answer {
    struct answer *next;
    uint64_t id;
    omnid_timeline *timeline;
    answer_request ask;
    omnid_segment *now; /* owned; NULL = none */
    answer_stage stage;
    omnid_error end; /* status OK while under way; CANCELLED, DEADLINE, … once it has to end without a result */
    int layer, chunk;

    page_view view;     /* the fork: pages and δ it started with */
    int64_t closers_at; /* e */
    int64_t answer_at;  /* position of the first generated token */
    int n_before;       /* audio and video tokens before any pruning */
    int c_last;
    bool whole;        /* all layers in one slice */
    int listed_layers; /* layers below read listed keys; from here on the fork's own */
    int64_t n[CONFIG_MAX_LAYERS], k[CONFIG_MAX_LAYERS];
    bool selects[CONFIG_MAX_LAYERS];      /* layers after which a selection runs: k > 0; whole: k may be > 0 */
    int64_t list_of[CONFIG_MAX_LAYERS];   /* where layer l's list starts in lists */
    int64_t scores_of[CONFIG_MAX_LAYERS]; /* where its scores start in S; -1 = not needed */
    buffer lists;     /* kernels_key: tokens in at each layer; a layer after which nobody left shares the one before */
    buffer S;         /* F32 */
    buffer rows;      /* I32 [n_0 + n query]: places of the last selection; rows to gather */
    double *S_sum;    /* host [n_0]: a layer's scores over several chunks of query rows */
    int64_t max_keys; /* n_0, rounded up: launches know no more of how many tokens there are */
    row_set own_rows; /* survivors and query */
    buffer spare_x;   /* the other half of own_rows.x while rows leave */
    kernels_key *host_list; /* own path: the present list */
    buffer in_cos, in_sin;  /* own path: F32 [n_tables][n entered + n query][head_dim / 2] of the rows that came in */
    buffer places;          /* own path: I32, the rows of those that own_rows' tables are made of */
    uint8_t *classes;       /* own path: of the rows that came in */
    int32_t *in_rows;       /* own path: present row -> row that came in */
    kv_store own;           /* query and answer rows; survivors' too on the own path */
    buffer seen;            /* I32: ids the repetition penalty counts */

    int n_fed;          /* answer tokens that have run through the decoder */
    int32_t next_token; /* to run next */
    random_pcg32 random;
    utf8_stream *text;
    char *out; /* the whole text so far */
    size_t n_out, out_capacity;
    id_list tokens;
    float *host_logits;  /* of the present position, where the host needs them */
    float *first_logits; /* choices: of the first position */
    int choice, choice_token;
    double *choice_logprobs;
    const char *stop_reason;

    omnid_layer_report *layers;
    omnid_timings timings;
    int64_t newest_wall_us, first_segment, last_segment;
} answer;

answer *answer_create(void);
/* Checks and copies p; ARGUMENT, LIMIT, NOMEM. Any thread. */
omnid_status answer_request_fill(answer *a, const omnid_timeline *tl, const omnid_question_params *p, omnid_error *err);
/* Gives back pages and what was asked; memory stays for the next question. */
void answer_reset(memory *mem, answer *a);
void answer_free(memory *mem, answer *a);

/* question.c: one slice of everything before the first token. Sets a->stage. */
omnid_status answer_step(answer *a, omnid_slice *slice, omnid_error *err);

/* question_whole.c: whether all layers may run in one slice that the backend records; rows of its launches; that slice. */
bool answer_is_whole(const answer *a);
int answer_launch_rows(const answer *a);
omnid_status answer_step_whole(answer *a, omnid_slice *slice, omnid_error *err);

/* question_own.c: from pages' kept rows to the fork's own rows, and one slice over them. */
omnid_status answer_begin_own(answer *a, omnid_error *err);
omnid_status answer_step_own(answer *a, omnid_slice *slice, omnid_error *err);

/* question_prune.c: what the rows of r see in a layer and what is scored and leaves there, as the descriptors of a set of r
 * (n_before rows of r are no query rows); scores of the chunk just run; selection after a layer's last chunk. query_row:
 * the query row that is the chunk's first row (negative: rows before the query's). */
void answer_describe(const answer *a, int layer, row_set *r, int set, int n_before);
omnid_status answer_score(answer *a, row_set *r, int chunk, int query_row, omnid_error *err);
omnid_status answer_select(answer *a, const row_set *r, omnid_error *err);
/* n, k, lists and scores of every layer from the tokens that enter. NOMEM. */
omnid_status answer_plan(answer *a, int64_t n_0, omnid_error *err);
static inline kernels_key *answer_list(const answer *a, int layer)
{
    return (kernels_key *)a->lists.data + a->list_of[layer];
}
/* Powers of two from 256 on: how many tokens there are changes with every segment, launches' sizes seldom. */
static inline int64_t answer_key_bucket(int64_t n)
{
    int64_t bucket = 256;
    while (bucket < n)
        bucket *= 2;
    return bucket;
}
static inline int answer_max_new(const answer *a)
{
    int n = a->ask.n_choices ? 1 : a->ask.max_tokens;
    for (int i = 0; i < a->ask.n_choices; i++)
        n = a->ask.choices[i].n > n ? a->ask.choices[i].n : n;
    return n;
}

/* Answers of one step whose queries have as many tables; rows first .. first + n - 1 of the step's. */
typedef struct {
    int first, n, n_tables;
    int64_t cos, sin; /* bytes from the beginning of decode_batch.given: F32 [n_tables * n][head_dim / 2] */
} decode_group;

enum { DECODE_GROUPS = 2 };

/* decode.c: several answers, one token each, layer by layer. */
typedef struct {
    answer **answers; /* [n] of the step's rows; NULL: nobody's, any more */
    int n, capacity, layer;
    int n_answers; /* when the step began */
    bool whole;    /* the step is one slice, of rounded numbers of rows, that the backend may record */
    decode_group groups[DECODE_GROUPS];
    bool dropped;     /* host has descriptors that `given` has not */
    buffer x, logits; /* F32 [n][hidden], [n][vocabulary] */
    buffer given;     /* kernels_descriptor [n_layers][n], then the groups' angles */
    char *host;       /* the same, as it is uploaded */
    size_t host_size;
} decode_batch;

/* Takes the answers that are decoding (one when deterministic). */
omnid_status decode_begin(omnid_engine *e, decode_batch *b, omnid_error *err);
omnid_status decode_step(omnid_engine *e, decode_batch *b, omnid_slice *slice, omnid_error *err);
void decode_batch_free(decode_batch *b, memory *mem);
/* Gives up an answer's row of the step under way. */
void decode_batch_drop(decode_batch *b, const answer *a);

/* sampling.c: logits F32 [1][vocabulary] of the present position: choose a token and tell it, or go on to the next choice.
 * Sets next_token, or stage ANSWER_DONE. */
omnid_status answer_take_logits(answer *a, const tensor *logits, omnid_error *err);

/* result.c: tells on_done, or on_error where a->end is set. */
void answer_tell(omnid_engine *e, answer *a);

#endif
