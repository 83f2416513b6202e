/* decoder.h: one slice of the text decoder: some rows through one layer. */
#ifndef ENGINE_DECODER_H
#define ENGINE_DECODER_H

#include "engine/kv.h"
#include "engine/rotary.h"

/* Work space of one slice; shared by everything the engine runs. */
typedef struct {
    memory *mem;
    kernels_stream *stream;
    int max_rows;        /* rows of the largest slice */
    buffer norm;         /* activation [max_rows][hidden] */
    buffer qkv;          /* F32 [max_rows][(n_heads + 2 n_kv_heads) head_dim] */
    buffer q;            /* activation [3 max_rows][n_heads head_dim] */
    buffer attn;         /* activation [max_rows][n_heads head_dim] */
    buffer lse;          /* F32 [max_rows][n_heads] */
    buffer gate_up, ffn; /* activation [max_rows][2 f], [max_rows][f] */
} decoder_work;

omnid_status decoder_work_create(decoder_work *w, memory *mem, kernels_stream *s, int max_rows, omnid_error *err);
void decoder_work_destroy(decoder_work *w);

/* Rows on their way through the decoder, cut into chunks of at most one slice. */
typedef struct {
    int n_rows, n_tables;
    buffer x;           /* F32 [n_rows][hidden]: the residual stream, in place */
    buffer cos, sin;    /* F32, chunk after chunk [n_tables][chunk rows][head_dim / 2] */
    buffer key_table;   /* I32 [n_rows]: table of a row's own key */
    buffer descriptors; /* kernels_descriptor [n_sets][n_chunks] */
    int n_chunks, chunk_capacity;
    int *first;               /* [n_chunks + 1] first row of each chunk */
    int n_sets, set;          /* sets of descriptors (one, or one a layer) and the one in use */
    kernels_descriptor *host; /* [n_sets][n_chunks] what is uploaded to descriptors */
} row_set;

/* Room for up to n_rows rows in one chunk, whatever the tables: cutting and placing so many moves nothing. NOMEM. */
omnid_status row_set_reserve(memory *mem, row_set *r, int n_rows, int n_sets, omnid_error *err);
/* Cuts n_rows into chunks: rows below `split` in chunks of max_rows, then the rest in chunks of its own. Descriptors are
 * all zeros but for n_rows and own_first. x keeps its contents only if it was large enough: reserve it first. NOMEM. */
omnid_status row_set_cut(memory *mem, row_set *r, int n_rows, int split, int max_rows, int n_sets, omnid_error *err);
/* Uploads the tables. cos, sin: host [n_tables][n_rows][head_dim / 2]; classes: host [n_rows]. After row_set_cut. NOMEM. */
omnid_status row_set_upload(memory *mem, kernels_stream *s, row_set *r, int n_tables, const float *cos,
                            const float *sin, const uint8_t *classes, omnid_error *err);
/* The same from tables in the backend's memory, cos and sin F32 [n_tables][n][head_dim / 2]: row i's is row rows[i] of each.
 * rows: host [n_rows]; list: the caller's memory for a list, in which it is left. NOMEM. */
omnid_status row_set_gather(memory *mem, kernels_stream *s, row_set *r, int n_tables, int n, const buffer *cos,
                            const buffer *sin, const int32_t *rows, const uint8_t *classes, buffer *list,
                            omnid_error *err);
/* The same from the rows' places (moved by delta), at and classes: host [n_rows]. NOMEM. */
omnid_status row_set_place(memory *mem, kernels_stream *s, row_set *r, const position *at, const uint8_t *classes,
                           int64_t delta, omnid_error *err);
/* What the rows see in set's layer besides themselves: d's pages, lists and counts for every chunk, but for n_rows and
 * own_first, which stay the chunk's. */
void row_set_describe(row_set *r, int set, const kernels_descriptor *d);
/* Uploads host descriptors. */
void row_set_upload_descriptors(kernels_stream *s, const row_set *r);
void row_set_free(memory *mem, row_set *r);

static inline kernels_descriptor *row_set_descriptor(const row_set *r, int set, int chunk)
{
    return &r->host[set * r->n_chunks + chunk];
}

/* The same in the backend's memory. */
static inline const kernels_descriptor *row_set_uploaded(const row_set *r, int set, int chunk)
{
    return (const kernels_descriptor *)r->descriptors.data + set * r->n_chunks + chunk;
}

static inline int row_set_chunk_rows(const row_set *r, int chunk)
{
    return r->first[chunk + 1] - r->first[chunk];
}

/* Runs a chunk of r through a layer: r's descriptor of the chunk, in the set in use, says what it sees. The work space then
 * still holds the chunk's rotated queries and log-sum-exps: decoder_score may follow. */
void decoder_layer_run(decoder_work *w, int layer, row_set *r, int chunk);

/* Scores of the chunk that decoder_layer_run ran last, as its descriptor says; at most max_keys. */
void decoder_score(decoder_work *w, const row_set *r, int chunk, int64_t max_keys);

/* logits F32 [n][vocabulary] of rows of x [n][hidden]: final norm and head. n <= max_rows. */
void decoder_head(decoder_work *w, tensor *logits, const tensor *x);

#endif
