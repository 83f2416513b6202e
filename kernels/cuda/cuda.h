/* cuda.h: private to kernels/cuda: backend, stream, staging, scratch memory, and the ops that cuda.c puts into the table.
 *
 * An op is a host function in its own .cu file beside its kernels:
 *
 *     void cuda_add(kernels_stream *s, tensor *y, const tensor *x)
 *     {
 *         if (!cuda_begin(s) || !check_add(s, y, x) || cuda_nothing(y))
 *             return;
 *         cuda_launch(s, "add", add_kernel, grid, block, shared_bytes, arguments…);    (launch.cuh)
 *     }
 *
 * It enqueues and returns; README.md tells the rest. Plain C and C++ (.cu) both include this file. */
#ifndef OMNID_KERNELS_CUDA_H
#define OMNID_KERNELS_CUDA_H

#include <cuda_runtime_api.h>
#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/check.h"
#include "kernels/kernels.h"

typedef struct cuda_blas cuda_blas; /* blas.c: cuBLASLt's handle and the algorithms chosen so far */
typedef struct cuda_stream cuda_stream;
typedef struct cuda_graphs cuda_graphs; /* graph.c: paths recorded on a stream */

/* memory.c: where alloc takes from. */
typedef struct {
    cudaMemPool_t pool; /* NULL: the device has none, each block is the driver's own */
    cudaStream_t given_out, taken_back;
    cudaEvent_t event;
    bool own;             /* false: the device uses the machine's memory */
    cuda_stream *streams; /* all that are open, next by next */
    pthread_mutex_t lock; /* of all of this */
} cuda_memory;

struct kernels_backend {
    int device;
    char name[256]; /* of the device */
    int arch;       /* 10 * major + minor: 80, 86, 90 … */
    int n_sms;
    size_t shared_max;                     /* bytes of shared memory a block may ask for */
    size_t shared_per_sm, shared_reserved; /* a processor's, for all its blocks; what each takes besides its own */
    size_t l2_size;                        /* bytes */
    cuda_memory memory;
    cuda_blas *blas;
    cuda_stream *loader; /* what pack uses; its work is done when pack returns */
};

/* What kernels may find wrong in contents that the host does not see. Lies in pinned memory that the device writes to. */
typedef struct {
    volatile int32_t code; /* cuda_fault; the first one found stays */
    volatile int32_t index, value;
} cuda_faults;

typedef enum {
    CUDA_FAULT_NONE,
    CUDA_FAULT_GATHER_ROW, /* entry index names row value */
    CUDA_FAULT_PATCH_UNIT, /* entry index names unit value */
    CUDA_FAULT_KEY_TABLE,  /* row index names table value */
    CUDA_FAULT_LOGITS,     /* none of value logits is a number above -infinity */
    CUDA_FAULT_ATTENTION,  /* counts: which of them, its value (cuda_fault_count) */
    CUDA_FAULT_SELECT,     /* value of index tokens leave */
    CUDA_FAULT_OWN_PAGE,   /* row index does not fit a page of value rows */
    CUDA_N_FAULTS
} cuda_fault;

/* One growable piece of device memory. Kernels and graphs of this stream may hold older ones, so those live on with it. */
typedef struct {
    void *data;
    size_t size;
    void *older[48]; /* each grown at least twofold: more than memory has room for */
    int n_older;
} cuda_scratch;

/* Pinned memory that uploads pass through: two halves in turn, each waited for before it is written again. */
typedef struct {
    char *data;
    size_t half; /* bytes of one */
    size_t used; /* bytes of the current one */
    int current;
    cudaEvent_t done[2]; /* the copies out of each half */
    bool busy[2];        /* done[] has been recorded */
} cuda_staging;

enum { CUDA_MARKS = 8 };

/* Events behind work that was enqueued, the oldest not reached first. */
typedef struct {
    cudaEvent_t events[CUDA_MARKS];
    int first, n;
} cuda_marks;

struct cuda_stream {
    kernels_stream base;
    cuda_stream *next; /* of the backend's open ones */
    cudaStream_t stream;
    cuda_faults *faults;
    int32_t *result; /* pinned: one number that a kernel gives to the host (sample) */
    cuda_staging staging;
    cudaEvent_t passed; /* for streams that follow this one */
    cuda_marks marks;
    cuda_scratch scratch;
    void *blas_work; /* cuBLASLt's workspace, CUDA_BLAS_WORK bytes */
    cuda_graphs *graphs;
};

enum {
    CUDA_ALIGN = 256,
    CUDA_BLAS_WORK = 32 << 20,
    CUDA_TILE_ROWS = 32 /* that bf16_tiles.cu and int8_tiles.cu take */
};

/* size, up to where another piece of scratch memory may begin. */
static inline size_t cuda_aligned(size_t size)
{
    return (size + CUDA_ALIGN - 1) / CUDA_ALIGN * CUDA_ALIGN;
}

/* ---- stream.c ---- */
static inline cuda_stream *cuda_of(kernels_stream *s)
{
    return (cuda_stream *)s;
}
/* False when the stream has failed, kernels' faults told so far included: the op does nothing. */
bool cuda_begin(kernels_stream *s);
/* No elements: a launch of no blocks is an error, so the op returns. */
static inline bool cuda_nothing(const tensor *t)
{
    return t->dim[0] * tensor_cols(t) == 0;
}
/* True for cudaSuccess; else fails the stream: "cuda backend: WHAT: CUDA's own sentence". */
bool cuda_ok(kernels_stream *s, cudaError_t error, const char *what);
/* size bytes of device memory, 256-byte aligned, not cleared, until the next op of this stream asks. The steady state
 * allocates nothing. NULL: the stream has failed with NOMEM, the op returns. */
void *cuda_scratch_take(kernels_stream *s, size_t size);
/* Waits until all work of the stream is done and keeps what kernels found wrong. */
bool cuda_wait(kernels_stream *s);
omnid_status cuda_stream_create(kernels_backend *b, cuda_stream **out, kernels_priority priority, omnid_error *err);
omnid_status cuda_stream_open(kernels_backend *b, kernels_stream **out, kernels_priority priority, omnid_error *err);
void cuda_follow(kernels_stream *s, kernels_stream *other);
void cuda_mark(kernels_stream *s);
int cuda_behind(kernels_stream *s, int most);
void cuda_stream_close(kernels_stream **s);
void cuda_upload(kernels_stream *s, void *to, const void *from_host, size_t size);
void cuda_download(kernels_stream *s, void *to_host, const void *from, size_t size);

/* ---- graph.c ---- */
omnid_status cuda_graphs_open(cuda_stream *s, omnid_error *err);
void cuda_graphs_close(cuda_stream *s); /* s->graphs may be NULL */
bool cuda_replay(kernels_stream *s, uint64_t path);
void cuda_begin_capture(kernels_stream *s, uint64_t path);
bool cuda_end_capture(kernels_stream *s, omnid_error *why);
/* Between begin_capture and end_capture of a path that is recorded: nothing may wait or come from the host. */
bool cuda_recording(const cuda_stream *s);

/* ---- cuda.c ---- */
extern const kernels_ops cuda_ops;
/* Status and sentence of a failed call that belongs to no stream. */
omnid_status cuda_failed(omnid_error *err, cudaError_t error, const char *what);

/* ---- memory.c ---- */
omnid_status cuda_memory_open(kernels_backend *b, omnid_error *err);
void cuda_memory_close(kernels_backend *b); /* after the last stream; what was not freed goes with it */
/* Memory that is freed waits for what this stream has been given; from open to close. */
void cuda_memory_join(cuda_stream *s);
void cuda_memory_leave(cuda_stream *s);
void cuda_memory_tell(kernels_backend *b, kernels_memory *out);
omnid_status cuda_memory_reserve(kernels_backend *b, uint64_t size, omnid_error *err);
void *cuda_alloc(kernels_backend *b, size_t size);
void cuda_free(kernels_backend *b, void *data);

/* ---- blas.c ---- */
/* NOT_FOUND: no cuBLASLt that loads; DEVICE: it has no place on the device. */
omnid_status cuda_blas_open(kernels_backend *b, omnid_error *err);
void cuda_blas_close(kernels_backend *b); /* b->blas may be NULL */
/* y [m][n] = x [m][k] w [n][k]ᵀ + bias + residual; sums in float32, never TF32. Pointers to device memory, strides in
 * elements. */
typedef struct {
    int64_t m, n, k;
    const void *x, *w;
    void *y;
    const void *bias;      /* [n] of y's dtype, or NULL */
    const float *residual; /* [m][n], or NULL; only where y is F32; may be y */
    int64_t x_stride, w_stride, y_stride, residual_stride;
    kernels_dtype dtype;   /* of x and w: F32 or BF16 */
    kernels_dtype y_dtype; /* F32, or BF16 where dtype is that */
    size_t reserved;       /* bytes of scratch memory that are in use */
} cuda_product;
/* Another way to the same product: writes y, with the product's stride, and takes scratch memory behind `reserved`. */
typedef struct {
    void (*run)(kernels_stream *s, const void *what, void *y, size_t reserved);
    const void *what;
} cuda_rival;
/* The rival, which may be NULL, runs where cuBLASLt has no algorithm, and where it is the fastest: bf16 products of few rows
 * are timed, on this stream, the first time that they are asked for outside of a recording. False: no algorithm and no rival.
 * Nothing was done then, and the stream is as it was. */
bool cuda_blas_multiply(kernels_stream *s, const cuda_product *p, const cuda_rival *rival);
void cuda_blas_repeatable(kernels_backend *b); /* nothing is timed any more */

/* ---- linear.c, linear_int8.c, pack.cu, epilogue.cu, few_rows.cu, int8_widen.cu, bf16_tiles.cu, int8_tiles.cu ---- */
struct kernels_weight {
    int64_t n, k, stride; /* rows begin at multiples of 16 bytes */
    kernels_dtype dtype;  /* F32, BF16, or I8: rows of kernels_int8_rows */
    void *w;              /* [n][stride] */
    float *bias;          /* [n]; NULL = zeros */
    void *bias_bf16;      /* the same as BF16; NULL where that would round */
    size_t bytes;
};
omnid_status cuda_pack(kernels_backend *b, kernels_weight **out, const kernels_part *parts, int n_parts, int64_t k,
                       kernels_precision precision, omnid_error *err);
void cuda_weight_free(kernels_backend *b, kernels_weight **w);
size_t cuda_weight_bytes(const kernels_weight *w);
void cuda_linear(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w, const kernels_epilogue *e);
/* to [n][k] with rows `stride` apart, F32 or BF16, from [n][k] dense F32, BF16 or F16; both in device memory. */
void cuda_pack_rows(kernels_stream *s, void *to, kernels_dtype dtype, int64_t stride, const void *from,
                    kernels_dtype from_dtype, int64_t n, int64_t k);
/* y = activation(sums + bias) + residual; sums F32 [m][n] with a stride, bias F32 [n] or NULL; y may be sums. */
void cuda_epilogue(kernels_stream *s, tensor *y, const tensor *sums, const float *bias, kernels_activation activation,
                   const tensor *residual);
/* All of linear with a plain weight, after its checks. It takes scratch memory from `reserved` bytes on only. */
void cuda_linear_plain(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                       kernels_activation activation, const tensor *residual, size_t reserved);
/* The same with an I8 weight. */
void cuda_linear_int8(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                      kernels_activation activation, const tensor *residual);
/* to [n][kernels_int8_numbers(k)] F32 or BF16 from n stored rows of k. */
void cuda_int8_widen(kernels_stream *s, void *to, kernels_dtype dtype, const void *from, int64_t n, int64_t k);
/* Whether bf16_tiles.cu takes this x and weight; its product then. It takes scratch memory from `reserved` bytes on only. */
bool cuda_bf16_in_tiles(const tensor *x, const kernels_weight *w);
void cuda_bf16_tiles(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                     kernels_activation activation, const tensor *residual, size_t reserved);
/* Whether int8_tiles.cu takes this x; its product then, with an I8 weight. */
bool cuda_int8_in_tiles(const tensor *x);
void cuda_int8_tiles(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                     kernels_activation activation, const tensor *residual);
/* All of linear by an own kernel, a warp a feature: for few rows, and for what cuBLASLt has no algorithm for. */
void cuda_linear_few_rows(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                          kernels_activation activation, const tensor *residual);

/* ---- one op a file ---- */
void cuda_rmsnorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, float eps);
void cuda_layernorm(kernels_stream *s, tensor *y, const tensor *x, const tensor *w, const tensor *b, float eps);
void cuda_swiglu(kernels_stream *s, tensor *y, const tensor *x);
void cuda_add(kernels_stream *s, tensor *y, const tensor *x);
cudaError_t cuda_find_code(void); /* whether the plugin has code for the device; asks for that of add */
void cuda_convert(kernels_stream *s, tensor *y, const tensor *x);
void cuda_embed(kernels_stream *s, tensor *y, const tensor *table, const tensor *ids);
void cuda_gather_rows(kernels_stream *s, tensor *y, const tensor *x, const tensor *rows);
void cuda_patchify(kernels_stream *s, tensor *y, const tensor *frames, const tensor *order, const float mean[3],
                   const float std[3]);
void cuda_im2col3(kernels_stream *s, tensor *y, const tensor *x, int stride);
void cuda_pool2(kernels_stream *s, tensor *y, const tensor *x);
void cuda_rotate(kernels_stream *s, tensor *x, const tensor *cos, const tensor *sin, int n_heads, int head_dim);
void cuda_encoder_attention(kernels_stream *s, tensor *y, const tensor *qkv, int n_heads, int head_dim,
                            const int32_t *spans, int n_spans, tensor *saliency);
void cuda_similarity(kernels_stream *s, tensor *out, const tensor *a, const tensor *b);
void cuda_keep(kernels_stream *s, tensor *kept, const tensor *score, int64_t k);
void cuda_rotate_append(kernels_stream *s, const kernels_attention *a, const tensor *qkv, const tensor *cos,
                        const tensor *sin, const tensor *key_table);
void cuda_attend(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *a);
void cuda_score(kernels_stream *s, const tensor *lse, const kernels_attention *a, int64_t max_keys);
void cuda_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys);
void cuda_sample(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen, const kernels_sampling *p,
                 double u);
/* sample_host.c: the same by the reference, from host copies. */
void cuda_sample_on_host(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen,
                         const kernels_sampling *p, double u);

#ifdef __cplusplus
}
#endif

#endif
