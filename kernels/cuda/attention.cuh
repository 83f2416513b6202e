/* attention.cuh: what attend and score share: an attention's arguments as kernels get them, and finding a key.
 *
 * The keys of an attention are numbered 0 .. n_prefix + n_keys + n_own - 1: the prefix's rows, the listed ones, the own
 * page's. A query row and one of the n_heads / n_kv_heads heads that share a key head are one flat row: row * group + head in
 * group; n_rows * group of them, of one set, meet the same keys. */
#ifndef OMNID_CUDA_ATTENTION_CUH
#define OMNID_CUDA_ATTENTION_CUH

#include "kernels/cuda/device.cuh"

/* Passed by value. */
struct cuda_attention {
    const kernels_descriptor *descriptors; /* [n_sets] */
    const void *q;                         /* [n_classes * max_rows], rows q_stride elements apart */
    int64_t q_stride, max_rows;
    int64_t
        room; /* rows of one set that q and the results have room for; n_rows is at most that. Sets begin so far apart */
    int n_sets, n_heads, n_kv_heads, head_dim, n_classes, group;
    float scale; /* 1 / sqrt(head_dim) */
    int unused;
    cuda_faults *faults;
};

/* Where attend leaves its results. */
struct cuda_attended {
    void *out;
    int64_t stride; /* elements */
    float *lse;     /* or NULL */
    int64_t lse_stride;
    int64_t is_bf16; /* whole words: the emulation looks at arguments word by word */
};

static inline cuda_attention cuda_attention_of(kernels_stream *s, const kernels_attention *a)
{
    cuda_attention view = {};
    view.descriptors = a->descriptors;
    view.q = a->q->data;
    view.q_stride = a->q->stride;
    view.max_rows = a->max_rows;
    view.room = a->max_rows / a->n_sets;
    view.n_sets = a->n_sets;
    view.n_heads = a->n_heads;
    view.n_kv_heads = a->n_kv_heads;
    view.head_dim = a->head_dim;
    view.n_classes = a->n_classes;
    view.group = a->n_heads / a->n_kv_heads;
    view.scale = 1.0f / sqrtf((float)a->head_dim);
    view.faults = cuda_of(s)->faults;
    return view;
}

/* The heads and rows that the matrix kernels take: bf16, whole fragments, 16-byte pieces. */
static inline bool cuda_attention_in_tiles(const kernels_attention *a)
{
    return a->dtype == KERNELS_BF16 && (a->head_dim == 32 || a->head_dim == 64 || a->head_dim == 128) &&
           (uintptr_t)a->q->data % 16 == 0 && a->q->stride % 8 == 0;
}

/* One set: its descriptor, its first row in q and the results, how many keys there are in each of the three parts. */
struct cuda_extent {
    const kernels_descriptor *d;
    const kernels_page *pages; /* the descriptor's, read once */
    const kernels_key *keys;
    int64_t first_row;
    int n_rows, n_prefix, n_keys, n_own, own_first;
};

/* Reads the counts; false, after leaving a fault, when they do not fit the room there is. */
static __device__ __forceinline__ bool cuda_attention_extent(const cuda_attention &a, int set, cuda_extent *e)
{
    const kernels_descriptor *c = a.descriptors + set;
    e->d = c;
    e->pages = c->pages;
    e->keys = c->keys;
    e->first_row = set * a.room;
    e->n_rows = c->n_rows;
    e->n_prefix = c->n_prefix;
    e->n_keys = c->n_keys;
    e->own_first = c->own_first;
    e->n_own = c->own.k && c->own_first + c->n_rows > 0 ? c->own_first + c->n_rows : 0;
    int fault = -1, value = 0;
    if (e->n_own > 0 && e->n_own > c->own.capacity) {
        fault = 3;
        value = e->n_own;
    }
    if (e->n_keys < 0) {
        fault = 2;
        value = e->n_keys;
    }
    if (e->n_prefix < 0 || e->n_prefix > (c->prefix.k ? c->prefix.capacity : 0)) {
        fault = 1;
        value = e->n_prefix;
    }
    if (e->n_rows < 0 || e->n_rows > a.room) {
        fault = 0;
        value = e->n_rows;
    }
    if (fault >= 0)
        cuda_fault_at(a.faults, CUDA_FAULT_ATTENTION, fault, value);
    return fault < 0;
}

/* Every query row sees a key of the prefix and of the list; a row of the own page only from query row own - own_first on. */
enum { CUDA_SEEN_BY_ALL = -0x7fffffff - 1, CUDA_SEEN_BY_NONE = 0x7fffffff };

struct cuda_key {
    const kernels_page *page;
    int64_t row;
    int own; /* row of the own page, or CUDA_SEEN_BY_ALL */
    int cls;
};

static __device__ __forceinline__ cuda_key cuda_key_in(const cuda_attention &a, const kernels_page *page, int64_t row,
                                                       int own)
{
    cuda_key key = {page, row, own, a.n_classes > 1 ? page->cls[row] : 0};
    return key;
}

/* Key j of the numbering above; j is one of them. */
static __device__ __forceinline__ cuda_key cuda_attention_key(const cuda_attention &a, const cuda_extent &e, int64_t j)
{
    if (j < e.n_prefix)
        return cuda_key_in(a, &e.d->prefix, j, CUDA_SEEN_BY_ALL);
    j -= e.n_prefix;
    if (j < e.n_keys)
        return cuda_key_in(a, &e.pages[e.keys[j].page], e.keys[j].row, CUDA_SEEN_BY_ALL);
    j -= e.n_keys;
    return cuda_key_in(a, &e.d->own, j, (int)j);
}

/* An entry of a list in which rows of the own page may stand too. */
static __device__ __forceinline__ cuda_key cuda_scored_key(const cuda_attention &a, const cuda_extent &e,
                                                           const kernels_key &entry)
{
    if (entry.page == KERNELS_OWN_PAGE)
        return cuda_key_in(a, &e.d->own, entry.row, entry.row);
    return cuda_key_in(a, &e.pages[entry.page], entry.row, CUDA_SEEN_BY_ALL);
}

/* The head_dim numbers of a key or of its value, for one key head. */
template <typename T>
static __device__ __forceinline__ const T *cuda_row_of(const cuda_attention &a, const void *rows, int32_t capacity,
                                                       int64_t row, int kv_head)
{
    return static_cast<const T *>(rows) + ((int64_t)kv_head * capacity + row) * a.head_dim;
}

/* Query of a row (of all sets) and head that keys of a class meet. */
template <typename T>
static __device__ __forceinline__ const T *cuda_query_of(const cuda_attention &a, int cls, int64_t row, int head)
{
    return static_cast<const T *>(a.q) + (cls * a.max_rows + row) * a.q_stride + (int64_t)head * a.head_dim;
}

static __device__ __forceinline__ void cuda_attended_store(const cuda_attended &to, int64_t row, int64_t column,
                                                           float value)
{
    if (to.is_bf16)
        cuda_store(static_cast<bf16 *>(to.out) + row * to.stride + column, value);
    else
        cuda_store(static_cast<float *>(to.out) + row * to.stride + column, value);
}

/* ---- attend_tiles.cu, score_tiles.cu: bf16 by matrix fragments; what cuda_attention_in_tiles says true of ---- */
void cuda_attend_tiles(kernels_stream *s, const cuda_attention &a, const cuda_attended &to);
/* sums [n_kv_heads][n]: Σ over rows and heads that share the key head. One set. */
void cuda_score_tiles(kernels_stream *s, const cuda_attention &a, const float *lse, int64_t lse_stride, float *sums,
                      int64_t n);

#endif
