/* kv.h: keys and values of some rows in some layers, and the page of one segment. */
#ifndef ENGINE_KV_H
#define ENGINE_KV_H

#include "engine/layout.h"
#include "engine/memory.h"

/* Rows' keys and values, one kernels_page a layer. Memory is used again when the store is laid out anew. */
typedef struct {
    buffer memory;
    kernels_page *layers; /* [n_layers] */
    int n_layers, layers_capacity;
} kv_store;

/* Room for capacity[l] rows in layer l (classes of key beside them, not set). NOMEM. */
omnid_status kv_store_lay_out(memory *mem, kv_store *kv, int n_layers, const int32_t *capacity, omnid_error *err);
/* The same capacity in every layer. */
omnid_status kv_store_lay_out_even(memory *mem, kv_store *kv, int n_layers, int32_t capacity, omnid_error *err);
/* Sets the classes of rows first .. first + n - 1 of a layer from host memory. */
void kv_store_set_classes(kernels_stream *s, kv_store *kv, int layer, int first, const uint8_t *classes, int n);
void kv_store_free(memory *mem, kv_store *kv);

/* A page: what one segment left in the timeline. Immutable once visible; shared by counted references (engine's thread
 * only). Rows: kept video tokens, then kept audio tokens. */
typedef struct page {
    int refs;
    int64_t segment;      /* stream number */
    int64_t wall_us;      /* of its start; 0 = unknown */
    double end_s;         /* stream time at which its data ends */
    int columns, rows;    /* tokens of a grid */
    int n_video, n_audio; /* tokens before section 4 */
    int n_video_kept, n_audio_kept;
    int32_t *video_kept, *audio_kept; /* inside the segment's own video and audio tokens */
    position *at;                     /* [n_kept] stream positions */
    uint8_t *classes;                 /* [n_kept] host copy of each row's KERNELS_CLASS_ */
    kv_store kv;                      /* layers 0 .. kv.n_layers - 1 */
    buffer hidden; /* deferred: F32 [n_kept][hidden], rows as they enter layer L/2; empty otherwise */
    buffer embeds; /* offline: F32 [n_kept][hidden], rows as they enter layer 0; empty otherwise */
    omnid_segment_report report;
} page;

static inline int page_n_kept(const page *p)
{
    return p->n_video_kept + p->n_audio_kept;
}

page *page_create(int64_t segment);
page *page_ref(page *p);
/* Drops one reference; *p may be NULL and is set to NULL. */
void page_unref(memory *mem, page **p);
uint64_t page_bytes(const page *p);

#endif
