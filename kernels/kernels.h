/* kernels.h: the list of ops. Model code is written once against this table; a backend is one table of functions.
 *
 *   reference   plain C, sums in float64: the truth every other backend is compared with
 *   cpu         oneDNN for matrix products, OpenMP for the rest
 *   cuda        a plugin loaded at run time
 *
 * Work is enqueued on a stream in order. An op returns nothing: the first failure is kept in the stream with its sentence,
 * later ops on that stream do nothing, and kernels_stream_status() tells. A host backend has run the op when it returns.
 *
 * A tensor is a view: dtype, shape, address in the backend's memory. Rows (the first dimension) may lie further apart than
 * they are long (stride); within a row everything is dense. Counts, pages and lists that change from question to question
 * are read from a kernels_descriptor in the backend's memory, so that a backend may record a path once and replay it. */
#ifndef OMNID_KERNELS_H
#define OMNID_KERNELS_H

#include "base/base.h"

/* I8: rows of numbers with scales, see kernels_int8_rows. */
typedef enum { KERNELS_F32, KERNELS_BF16, KERNELS_F16, KERNELS_I32, KERNELS_U8, KERNELS_I8 } kernels_dtype;

/* Bytes of one element. */
size_t kernels_dtype_size(kernels_dtype dtype);
const char *kernels_dtype_name(kernels_dtype dtype);

typedef struct {
    void *data; /* address in the backend's memory; borrowed */
    kernels_dtype dtype;
    int n_dims;     /* 1 .. 4 */
    int64_t dim[4]; /* dim[0] = rows; unused = 1 */
    int64_t stride; /* elements from one row to the next; = product of dim[1..] when dense */
} tensor;

/* Dense views. Rows by columns; a vector is one row of n columns' worth: dim[0] = n, stride 1. */
tensor tensor_2d(void *data, kernels_dtype dtype, int64_t n_rows, int64_t n_cols);
tensor tensor_1d(void *data, kernels_dtype dtype, int64_t n);
/* Rows [first, first + n) of t. */
tensor tensor_rows(const tensor *t, int64_t first, int64_t n);
/* Address of row i. */
void *tensor_row(const tensor *t, int64_t i);

/* ---- int8 with scales: how a KERNELS_INT8 weight and an I8 table are stored ----
 *
 * A row of k numbers w is cut into groups of KERNELS_INT8_GROUP, the last one maybe shorter. Of each group
 *
 *     scale = bf16(max |w| / 127)        q_j = clamp(round(w_j / scale), -127, 127), 0 where the scale is 0
 *
 * are kept (quotients in float32, both roundings to nearest even), and the row stands for q_j scale. A group that holds an
 * infinity or a NaN has a scale that is one. A stored row is k int8, zeros up to a multiple of 16 bytes, then the groups'
 * scales as BF16, zeros up to a multiple of 16 bytes. */
enum { KERNELS_INT8_GROUP = 128 };

/* Bytes of the q of a stored row of k, and of the whole row. */
int64_t kernels_int8_numbers(int64_t k);
int64_t kernels_int8_stride(int64_t k);
/* to [n][kernels_int8_stride(k)] of from [n][k], dense, F32, BF16 or F16; both in host memory. */
void kernels_int8_rows(void *to, const void *from, kernels_dtype dtype, int64_t n, int64_t k);

typedef struct kernels_backend kernels_backend; /* one device; owns weights and memory given out */
typedef struct kernels_weight kernels_weight;   /* a packed matrix with its bias; immutable */
typedef struct kernels_stream kernels_stream;   /* an order of work; used by one thread */

/* The memory that a backend's alloc takes from. */
typedef struct {
    const char *device;   /* its name in a sentence; borrowed from the backend, or constant */
    bool own;             /* a device's own; else the machine's, which files and all other processes share */
    uint64_t total, free; /* bytes. A machine's total: its control group's limit where that is less */
    uint64_t stream;      /* bytes that a stream takes by itself, scratch for its largest product not counted */
    const char *lost;     /* why the device does nothing any more, in this process; NULL: it is there. Constant */
} kernels_memory;

/* Of two streams' work that could begin, a device begins the first's. */
typedef enum { KERNELS_FIRST, KERNELS_LATER } kernels_priority;

/* One block of rows of a weight as the checkpoint has it: [n][k], dense, host memory. bias: [n] or NULL = zeros. */
typedef struct {
    const void *data;
    kernels_dtype dtype; /* F32, BF16 or F16 */
    int64_t n;           /* output features of this block */
    const void *bias;    /* same dtype */
} kernels_part;

typedef enum { KERNELS_LINEAR, KERNELS_GELU } kernels_activation; /* GELU is the exact one (erf) */

/* y = activation(x Wᵀ + b) + residual.  residual may be y itself (accumulate) or NULL. */
typedef struct {
    kernels_activation activation;
    const tensor *residual; /* F32 [m][n] or NULL */
} kernels_epilogue;

/* Which of the three rotated queries a key is compared with (docs/semantics.md, section 7). */
enum {
    KERNELS_CLASS_TEXT = 0 /* audio, and text of the same segment or fork */,
    KERNELS_CLASS_VIDEO = 1,
    KERNELS_CLASS_PREFIX = 2
};
enum { KERNELS_N_CLASSES = 3 };

/* KV rows of one segment, of the prefix or of a fork, in one layer. Rows never move. */
typedef struct {
    void *k, *v; /* dtype [n_kv_heads][capacity][head_dim], 16-byte aligned; keys rotated to their stream positions */
    const uint8_t *cls; /* [capacity] KERNELS_CLASS_… of each row */
    int32_t capacity;   /* rows a head has room for */
} kernels_page;

/* One audio or video token still in at a layer. */
typedef struct {
    int32_t page;    /* index into the page table, or KERNELS_OWN_PAGE */
    int32_t row;     /* row in that page */
    int32_t segment; /* c: counted from 0 at the first segment of the window */
    int32_t index;   /* among the audio and video tokens that entered the decoder */
} kernels_key;

enum { KERNELS_OWN_PAGE = -1 };

/* What varies from call to call, of one answer in one layer: counts, pages, and where the lists lie (in the backend's memory,
 * as the descriptor itself). Fields an op does not name are not read. All zeros: no rows, no keys; ops then write nothing. */
typedef struct {
    int32_t n_rows;    /* query rows; those behind them, up to what there is room for, are neither read nor written */
    int32_t n_prefix;  /* rows of the prefix page, seen by every query row */
    int32_t n_keys;    /* entries of keys, seen by every query row (their page != KERNELS_OWN_PAGE) */
    int32_t own_first; /* query row i is row own_first + i of its own page, and sees rows 0 .. own_first + i of it */
    int32_t n_score;   /* score, select: entries of scored (own page entries allowed) */
    int32_t first_score_row;   /* score: S averages the query rows from this one on */
    int32_t k_leave;           /* select: how many leave */
    int32_t tds;               /* select: 0 = lowest S leave; 1 = with the temporal diversity term */
    int32_t c_last;            /* select: C, the highest segment that entered the decoder */
    double lambda;             /* select: λ; double, so that 0.2 is the 0.2 of docs/semantics.md */
    kernels_page prefix;       /* of this layer; k NULL = none */
    kernels_page own;          /* of this layer; k NULL = none, nothing of it is seen */
    const kernels_page *pages; /* page table of this layer */
    const kernels_key *keys;   /* [n_keys] of this layer, in stream order */
    const kernels_key *scored; /* [n_score] whose S is wanted, and who of them leave */
    float *S;                  /* [n_score] written by score, read by select */
    kernels_key *keys_out;     /* select: [n_score - k_leave]; NULL = not wanted */
    int32_t *kept;             /* select: [n_score - k_leave]; NULL = not wanted */
} kernels_descriptor;

/* Grouped-query attention of one layer: queries over prefix page, listed keys and own page, of one answer or of several. The
 * rows are cut into n_sets sets of max_rows / n_sets, each with its own descriptor: row r of a class belongs to set
 * r / (max_rows / n_sets), and is that set's query row r % (max_rows / n_sets). */
typedef struct {
    const kernels_descriptor *descriptors; /* [n_sets] in the backend's memory */
    int n_sets;                            /* 1 or more; divides max_rows */
    int n_heads, n_kv_heads, head_dim;
    int n_classes;       /* queries given: 1 = every class shares q[0] (δ = 0), 3 = one a class */
    const tensor *q;     /* dtype [n_classes * max_rows][n_heads * head_dim]: class c's rows start at c * max_rows */
    int64_t max_rows;    /* rows a class has room for in q */
    kernels_dtype dtype; /* of q, and of k and v in every page */
} kernels_attention;

/* How a weight is packed. PLAIN: as numbers of the type that its x has. INT8: see kernels_int8_rows; x is F32 or BF16, and where
 * x is BF16 a backend may round q scale to BF16 before it multiplies. */
typedef enum { KERNELS_PLAIN_F32, KERNELS_PLAIN_BF16, KERNELS_INT8 } kernels_precision;

typedef struct {
    float temperature;        /* 0 = greedy */
    float top_p;              /* 0 < top_p <= 1 */
    float repetition_penalty; /* 1 = none */
} kernels_sampling;

typedef struct kernels_ops {
    const char *name;

    /* ---- life and memory: these return a status, the rest report through the stream ---- */
    /* n_threads 0 = all the process may use. *out is destroyed by close. */
    omnid_status (*open)(kernels_backend **out, int n_threads, omnid_error *err);
    void (*close)(kernels_backend **backend);
    /* What the device does natively: KERNELS_PLAIN_BF16 where it has bf16 instructions, else KERNELS_PLAIN_F32. */
    kernels_precision (*native_precision)(kernels_backend *b);
    /* 64-byte aligned memory of the backend, not cleared; NULL when there is none. free takes NULL, and at any time: work
     * that was enqueued before may still use the memory, nobody else gets it until that is done. Any thread. */
    void *(*alloc)(kernels_backend *b, size_t size);
    void (*free)(kernels_backend *b, void *data);
    void (*memory)(kernels_backend *b, kernels_memory *out);
    /* Holds size bytes for what alloc will be asked for, so that no other process can take them. NOMEM: there are not so
     * many. Where the machine's memory is used nothing is held. */
    omnid_status (*reserve)(kernels_backend *b, uint64_t size, omnid_error *err);
    omnid_status (*stream_open)(kernels_backend *b, kernels_stream **out, kernels_priority priority, omnid_error *err);
    void (*stream_close)(kernels_stream **s);
    void (*upload)(kernels_stream *s, void *to, const void *from_host, size_t size); /* from_host is free after it */
    /* Waits for all work of the stream, of size 0 too; what a device found wrong is a failure of the stream after it. */
    void (*download)(kernels_stream *s, void *to_host, const void *from, size_t size);

    /* Packs n_parts blocks of rows, one below the other, into one weight [Σ n][k]; reads the parts during the call only. */
    omnid_status (*pack)(kernels_backend *b, kernels_weight **out, const kernels_part *parts, int n_parts, int64_t k,
                         kernels_precision precision, omnid_error *err);
    void (*weight_free)(kernels_backend *b, kernels_weight **w);
    size_t (*weight_bytes)(const kernels_weight *w);

    /* ---- matrix product and what goes with it ---- */
    /* y [m][n] = x [m][k] · weight.  x is as the weight's precision says; y is F32 or BF16. */
    void (*linear)(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w, const kernels_epilogue *e);
    /* y [m][d] (F32 or BF16) of x [m][d] F32.  w, b: [d] F32.
     * rmsnorm  y = x * w / sqrt(mean(x²) + eps);  layernorm  y = (x - mean) / sqrt(var + eps) * w + b  (population variance). */
    void (*rmsnorm)(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps);
    void (*layernorm)(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, const tensor *b, float eps);
    /* y [m][f] = silu(x[:, :f]) * x[:, f:],  x [m][2f].  silu(g) = g / (1 + e^-g).  Dtypes F32 or BF16 each. */
    void (*swiglu)(kernels_stream *s, tensor *y, const tensor *x);
    /* y += x, row by row; y F32 [m][d], x F32 [m][d]. */
    void (*add)(kernels_stream *s, tensor *y, const tensor *x);
    /* y [m][d] = x with another dtype (F32 <-> BF16, round to nearest even). */
    void (*convert)(kernels_stream *s, tensor *y, const tensor *x);
    /* y [n][d] F32 = table[ids[i]], table [v][d] F32, BF16, F16 or I8 (rows of kernels_int8_rows, stride
     * kernels_int8_stride(d)), ids I32 [n] in 0 .. v-1 (others: a zero row). */
    void (*embed)(kernels_stream *s, tensor *y, const tensor *table, const tensor *ids);
    /* y [n][d] = x[rows[i]], rows I32 [n]; same dtype, y and x do not overlap. */
    void (*gather_rows)(kernels_stream *s, tensor *y, const tensor *x, const tensor *rows);

    /* ---- front ends and encoders ---- */
    /* Patches of the vision tower. frames: U8 [2][H][W][3], the two frames of one grid. y [n_units * 4][1176], F32 or BF16:
     * unit u = order[i] (raster number of a 28x28 square), its four 14x14 patches row by row, a patch as
     * [channel 3][frame 2][14][14]; value (x - 255 mean) / (255 std).  order: I32 [n_units]. */
    void (*patchify)(kernels_stream *s, tensor *y, const tensor *frames, const tensor *order, const float mean[3],
                     const float std[3]);
    /* Windows of a 1-d convolution of width 3, padding 1: y [n_out][3 c] from x [n][c] F32; n_out = (n - 1) / stride + 1;
     * y[i][c * 3 + t] = x[i * stride + t - 1][c], zero outside (the order of a [out][c][3] weight). y F32 or BF16. */
    void (*im2col3)(kernels_stream *s, tensor *y, const tensor *x, int stride);
    /* y [n / 2][d] = mean of rows 2i and 2i + 1 of x; an odd last row has no result. F32. */
    void (*pool2)(kernels_stream *s, tensor *y, const tensor *x);
    /* Rotates the first n_heads * head_dim columns of each row of x, in place, by half-split pairs:
     * (a, b) = (x[j], x[j + hd/2]) -> (a cos - b sin, b cos + a sin).  cos, sin: F32 [n][head_dim / 2]. */
    void (*rotate)(kernels_stream *s, tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim);
    /* Full attention inside each span of rows. qkv [n][3 d] (q, k, v side by side; F32 or BF16), y [n][d] (same dtype),
     * d = n_heads * head_dim, scale 1/sqrt(head_dim). spans: I32 [n_spans + 1], host memory, rows spans[i] .. spans[i+1]-1.
     * saliency: F32 [n] or NULL; saliency[j] = mean over heads and over the rows i of j's span of the probability i -> j. */
    void (*encoder_attention)(kernels_stream *s, tensor *y, const tensor *qkv, int n_heads, int head_dim,
                              const int32_t *spans, int n_spans, tensor *saliency);
    /* out F32 [n]: - min(cosine(a[i], b[i]), 1 - 1e-6), the three sums in float64; 0 where a norm is 0. a, b F32 [n][d].
     * (Lowest leaves first, so select's order serves: docs/semantics.md, section 4.) */
    void (*similarity)(kernels_stream *s, tensor *out, const tensor *a, const tensor *b);
    /* kept I32 [n - k], ascending: all of 0 .. n-1 but the k with the lowest score [n] F32; ties: the earlier leaves first. */
    void (*keep)(kernels_stream *s, tensor *kept, const tensor *score, int64_t k);

    /* ---- decoder ---- */
    /* qkv [m][(n_heads + 2 n_kv_heads) * head_dim] F32 -> rotated queries in a->q, and rows own_first + i of the own pages.
     * m <= max_rows, of several sets m = max_rows. cos, sin: F32 [n_classes * m][head_dim / 2], table t's rows start at
     * t * m, angles of the t-th key class in double, then rounded. The key of row r is rotated with table key_table[r]
     * (I32 [m]; NULL = table 0). v is copied. */
    void (*rotate_append)(kernels_stream *s, const kernels_attention *a, const tensor *qkv, const tensor *cos,
                          const tensor *sin, const tensor *key_table);
    /* out [max_rows][n_heads * head_dim] (F32 or BF16) = softmax(q kᵀ / sqrt(head_dim)) v over all keys a row sees.
     * lse F32 [max_rows][n_heads] or NULL: natural log of the sum of e^score. A row that sees no key gives zeros, -inf. */
    void (*attend)(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *a);
    /* The descriptor's S: mean over heads and over query rows first_score_row .. n_rows - 1 of
     * e^(q·k_j / sqrt(head_dim) - lse) for the keys of `scored`; zeros where there is no such row. One set. At most max_keys
     * of them. Fixed order of summation; float32 or better inside. */
    void (*score)(kernels_stream *s, const tensor *lse, const kernels_attention *a, int64_t max_keys);
    /* The survivors of `scored`: keys_out in stream order, and kept, their places in the list before. Who leaves:
     * docs/semantics.md, section 5; c of entry i is scored[i].segment. n_score is at most max_keys. */
    void (*select)(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys);
    /* Next token of one row of logits F32 [v]: repetition penalty over seen I32 [n_seen] (each id once), temperature,
     * top-p, then the uniform number u in [0, 1); out: host. Greedy ties: the lowest id. */
    void (*sample)(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen, const kernels_sampling *p,
                   double u);

    /* ---- streams side by side: NULL where an op has run when it returns ---- */
    /* What is enqueued on s from now on begins after all that was enqueued on `other` so far. */
    void (*wait)(kernels_stream *s, kernels_stream *other);
    /* A mark behind what was enqueued on s so far. */
    void (*mark)(kernels_stream *s);
    /* How many marks of s the device has not reached, after waiting until there are at most `most`; negative: without waiting. */
    int (*behind)(kernels_stream *s, int most);

    /* From now on nothing is chosen by the time it takes, so that every run gives the same bits. NULL where nothing is. */
    void (*repeatable)(kernels_backend *b);

    /* ---- replay: all three NULL where the backend has none ---- */
    /* A path is ops between begin_capture and end_capture, no upload, download or sample among them. `path` is a hash of all
     * that its ops are given: addresses, shapes, numbers; what the addresses hold may change. A backend runs it plainly the
     * first time, records it the second time, and from then on replays it:
     *
     *     if (!replay(s, path)) {
     *         begin_capture(s, path);
     *         ops…
     *         if (!end_capture(s, &why))
     *             the same ops…
     *     }
     *
     * end_capture: false = nothing has been done, and this path cannot be recorded, for the reason in *why; the ops are to
     * be run once more, and will be run plainly from then on. A backend keeps a bounded number of paths. */
    void (*begin_capture)(kernels_stream *s, uint64_t path);
    bool (*end_capture)(kernels_stream *s, omnid_error *why);
    bool (*replay)(kernels_stream *s, uint64_t path); /* false: not recorded yet */
} kernels_ops;

/* What every backend's stream starts with. */
struct kernels_stream {
    const kernels_ops *ops;
    kernels_backend *backend;
    omnid_error error; /* error.status != OMNID_OK: the first failure; ops do nothing */
};

/* Keeps the first failure of a stream. */
void kernels_stream_fail(kernels_stream *s, omnid_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The first failure since the last call, and forgets it. Does not wait: a device may still find one in work under way. */
omnid_status kernels_stream_status(kernels_stream *s, omnid_error *err);

/* Set i of a as an attention of one set; its queries lie in *q, which max_rows says how far its classes are apart in. */
kernels_attention kernels_attention_set(const kernels_attention *a, int i, tensor *q);

/* Of the machine, for backends that use its memory: its total or its control group's limit, whichever is less. */
void kernels_machine_memory(kernels_memory *out);

/* The table of a backend by name ("cpu", "reference", "cuda") or "auto": cuda where its plugin and a device can be used,
 * else the fastest that is linked in; the log says why. */
omnid_status kernels_find(const kernels_ops **out, const char *name, omnid_error *err);
/* Names of the backends that are linked in, fastest first, NULL at the end. */
const char *const *kernels_names(void);

#endif
