/* blas.c: matrix products by cuBLASLt. What it is told is column-major: yᵀ [n x m] = (wᵀ)ᵀ [n x k] xᵀ [k x m], so w is its
 * A (transposed), x its B, and a bias of n numbers lies along the rows, as its epilogue wants it.
 * Its GELU is the one with tanh, and ours is exact, so that activation is left to epilogue.cu.
 * Its heuristic knows large products well. Those of few rows, which are bound by memory, are timed: its first answers and an own
 * kernel, once a shape. OMNID_CUDA_TIMING=off, or cuda_blas_repeatable: its first answer, as for float32 and in recordings. */
#include "kernels/cuda/blas.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { TIMED_ROWS = 64, TIMED_RUNS = 3, MOST_ALGORITHMS = 8, RIVAL = -1 };

/* What an algorithm depends on. Compared as bytes: built from zeros. */
typedef struct {
    int64_t m, n, k, x_stride, w_stride, y_stride, residual_stride;
    int32_t dtype, y_dtype, bias, residual;
    int32_t align_x, align_y, align_residual; /* bytes, at most 16 */
    int32_t unused;
} plan_key;

typedef struct {
    plan_key key;
    bool taken, usable;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, c, y;
    cublasLtMatmulAlgo_t algos[MOST_ALGORITHMS]; /* as the heuristic expects them, the fastest first */
    int n_algos, chosen;                         /* one of them, or RIVAL */
    bool timed;
} plan;

struct cuda_blas {
    cuda_blas_functions f;
    cublasLtHandle_t handle;
    pthread_mutex_t lock; /* of all below */
    bool timing;
    plan *plans; /* a hash table, never more than half full */
    size_t n_plans, room;
};

omnid_status cuda_blas_open(kernels_backend *b, omnid_error *err)
{
    omnid_error why = {0};
    cuda_blas *blas = calloc(1, sizeof *blas);
    plan *plans = calloc(256, sizeof *plans);
    if (!blas || !plans) {
        free(blas);
        free(plans);
        return omnid_fail(err, OMNID_NOMEM, "cuda backend: no memory for a list of products");
    }
    omnid_status status = cuda_blas_load(&blas->f, &why);
    if (status == OMNID_OK) {
        cublasStatus_t failed = blas->f.create(&blas->handle);
        if (failed != CUBLAS_STATUS_SUCCESS)
            status = omnid_fail(&why, OMNID_DEVICE, "cublasLtCreate: %s", blas->f.status_string(failed));
    }
    if (status != OMNID_OK) {
        free(blas);
        free(plans);
        return omnid_fail(err, status, "cuda backend: %s", why.text);
    }
    blas->plans = plans;
    blas->room = 256;
    const char *timing = getenv("OMNID_CUDA_TIMING");
    blas->timing = !timing || strcmp(timing, "off") != 0;
    pthread_mutex_init(&blas->lock, NULL);
    b->blas = blas;
    return OMNID_OK;
}

static void plan_close(const cuda_blas *blas, plan *p)
{
    cublasLtMatrixLayout_t layouts[] = {p->w, p->x, p->c, p->y};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i])
            blas->f.layout_destroy(layouts[i]);
    if (p->desc)
        blas->f.desc_destroy(p->desc);
}

void cuda_blas_close(kernels_backend *b)
{
    cuda_blas *blas = b->blas;
    if (!blas)
        return;
    for (size_t i = 0; i < blas->room; i++)
        plan_close(blas, &blas->plans[i]);
    blas->f.destroy(blas->handle);
    pthread_mutex_destroy(&blas->lock);
    free(blas->plans);
    free(blas);
    b->blas = NULL;
}

void cuda_blas_repeatable(kernels_backend *b)
{
    pthread_mutex_lock(&b->blas->lock);
    b->blas->timing = false;
    for (size_t i = 0; i < b->blas->room; i++)
        b->blas->plans[i].chosen = 0;
    pthread_mutex_unlock(&b->blas->lock);
}

/* ---- choosing an algorithm ---- */

static cudaDataType_t type_of(int32_t dtype)
{
    return dtype == KERNELS_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static bool plan_layouts(const cuda_blas *blas, plan *p)
{
    const plan_key *k = &p->key;
    uint64_t m = (uint64_t)k->m, n = (uint64_t)k->n, depth = (uint64_t)k->k;
    int64_t c_stride = k->residual ? k->residual_stride : k->y_stride;
    return blas->f.layout_create(&p->w, type_of(k->dtype), depth, n, k->w_stride) == CUBLAS_STATUS_SUCCESS &&
           blas->f.layout_create(&p->x, type_of(k->dtype), depth, m, k->x_stride) == CUBLAS_STATUS_SUCCESS &&
           blas->f.layout_create(&p->c, type_of(k->y_dtype), n, m, c_stride) == CUBLAS_STATUS_SUCCESS &&
           blas->f.layout_create(&p->y, type_of(k->y_dtype), n, m, k->y_stride) == CUBLAS_STATUS_SUCCESS;
}

/* bias: of the product asked for; the choice may depend on its alignment. */
static bool plan_desc(const cuda_blas *blas, plan *p, const void *bias)
{
    cublasOperation_t transposed = CUBLAS_OP_T;
    cublasLtEpilogue_t epilogue = p->key.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    return blas->f.desc_create(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
           blas->f.desc_set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) ==
               CUBLAS_STATUS_SUCCESS &&
           blas->f.desc_set(p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) ==
               CUBLAS_STATUS_SUCCESS &&
           (!bias ||
            blas->f.desc_set(p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias) == CUBLAS_STATUS_SUCCESS);
}

/* float32 products are compared with golden answers, so they stay with the first. */
static bool is_timed(const plan_key *key)
{
    return key->m <= TIMED_ROWS && key->dtype == KERNELS_BF16;
}

static bool plan_algorithms(const cuda_blas *blas, plan *p)
{
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        uint32_t bytes;
    } aligned[] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 16},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)p->key.align_x},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                    (uint32_t)(p->key.residual ? p->key.align_residual : p->key.align_y)},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)p->key.align_y}};
    uint64_t room = CUDA_BLAS_WORK;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; /* partial sums in f32, never in bf16; or none */
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found[MOST_ALGORITHMS];
    int n_wanted = is_timed(&p->key) ? MOST_ALGORITHMS : 1, n_found = 0;
    if (blas->f.preference_create(&preference) != CUBLAS_STATUS_SUCCESS)
        return false;
    bool set = blas->f.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room) ==
                   CUBLAS_STATUS_SUCCESS &&
               blas->f.preference_set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                      sizeof reductions) == CUBLAS_STATUS_SUCCESS;
    for (size_t i = 0; i < sizeof aligned / sizeof *aligned; i++)
        set = set && blas->f.preference_set(preference, aligned[i].attribute, &aligned[i].bytes,
                                            sizeof aligned[i].bytes) == CUBLAS_STATUS_SUCCESS;
    set = set && blas->f.heuristic(blas->handle, p->desc, p->w, p->x, p->c, p->y, preference, n_wanted, found,
                                   &n_found) == CUBLAS_STATUS_SUCCESS;
    blas->f.preference_destroy(preference);
    for (int i = 0; set && i < n_found; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS)
            p->algos[p->n_algos++] = found[i].algo;
    return p->n_algos > 0;
}

/* ---- the table of plans ---- */

static size_t hash_of(const plan_key *key)
{
    const unsigned char *bytes = (const unsigned char *)key;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < sizeof *key; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return (size_t)(hash ^ hash >> 32);
}

static plan *plan_place(plan *plans, size_t room, const plan_key *key)
{
    size_t i = hash_of(key) % room;
    while (plans[i].taken && memcmp(&plans[i].key, key, sizeof *key) != 0)
        i = (i + 1) % room;
    return &plans[i];
}

static bool plans_grow(cuda_blas *blas)
{
    plan *plans = calloc(2 * blas->room, sizeof *plans);
    if (!plans)
        return false;
    for (size_t i = 0; i < blas->room; i++)
        if (blas->plans[i].taken)
            *plan_place(plans, 2 * blas->room, &blas->plans[i].key) = blas->plans[i];
    free(blas->plans);
    blas->plans = plans;
    blas->room *= 2;
    return true;
}

/* The plan of this key, made when it is asked for the first time; NULL: no algorithm, or no memory for another plan. */
static plan *plan_of(cuda_blas *blas, const plan_key *key, const void *bias)
{
    plan *p = plan_place(blas->plans, blas->room, key);
    if (!p->taken) {
        if (2 * (blas->n_plans + 1) > blas->room) {
            if (!plans_grow(blas))
                return NULL;
            p = plan_place(blas->plans, blas->room, key);
        }
        p->key = *key;
        p->taken = true;
        blas->n_plans++;
        p->usable = plan_layouts(blas, p) && plan_desc(blas, p, bias) && plan_algorithms(blas, p);
    }
    return p->usable ? p : NULL;
}

/* ---- multiplying ---- */

/* The largest power of two, 16 at most, that address and stride are multiples of. */
static int32_t alignment_of(const void *data, int64_t stride, kernels_dtype dtype)
{
    uint64_t bits = (uint64_t)(uintptr_t)data | (uint64_t)stride * kernels_dtype_size(dtype) | 16;
    return (int32_t)(bits & -bits);
}

static plan_key key_of(const cuda_product *p)
{
    plan_key key;
    memset(&key, 0, sizeof key);
    key.m = p->m;
    key.n = p->n;
    key.k = p->k;
    key.x_stride = p->x_stride;
    key.w_stride = p->w_stride;
    key.y_stride = p->y_stride;
    key.dtype = (int32_t)p->dtype;
    key.y_dtype = (int32_t)p->y_dtype;
    key.bias = p->bias != NULL;
    key.align_x = alignment_of(p->x, p->x_stride, p->dtype);
    key.align_y = alignment_of(p->y, p->y_stride, p->y_dtype);
    if (p->residual) {
        key.residual = 1;
        key.residual_stride = p->residual_stride;
        key.align_residual = alignment_of(p->residual, p->residual_stride, KERNELS_F32);
    }
    return key;
}

/* Enqueues an algorithm of the plan; p->y goes to y. */
static cublasStatus_t plan_run(kernels_stream *s, const plan *chosen, int algorithm, const cuda_product *p, void *y)
{
    const cuda_blas *blas = s->backend->blas;
    const float one = 1, zero = 0;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (p->bias)
        status = blas->f.desc_set(chosen->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    return blas->f.matmul(blas->handle, chosen->desc, &one, p->w, chosen->w, p->x, chosen->x,
                          p->residual ? &one : &zero, p->residual ? (const void *)p->residual : y, chosen->c, y,
                          chosen->y, &chosen->algos[algorithm], cuda_of(s)->blas_work, CUDA_BLAS_WORK,
                          cuda_of(s)->stream);
}

/* ---- timing ---- */

typedef struct {
    const cuda_product *product;
    const cuda_rival *rival; /* or NULL */
    void *y;                 /* where results go meanwhile */
    size_t reserved;
    cudaEvent_t begin, end;
} contest;

/* Milliseconds of one run, INFINITY where it fails. As much of the work space as the L2 holds is cleared before it: so the
 * weights have left that, as they will have whenever all layers run, and the host has enqueued the run before the device comes
 * to it. */
static float time_run(kernels_stream *s, const contest *c, const plan *p, int i)
{
    cudaStream_t stream = cuda_of(s)->stream;
    float ms = INFINITY;
    size_t cleared = s->backend->l2_size < CUDA_BLAS_WORK ? s->backend->l2_size : CUDA_BLAS_WORK;
    if (cudaMemsetAsync(cuda_of(s)->blas_work, 0, cleared, stream) != cudaSuccess ||
        cudaEventRecord(c->begin, stream) != cudaSuccess)
        return INFINITY;
    if (i == RIVAL)
        c->rival->run(s, c->rival->what, c->y, c->reserved);
    else if (plan_run(s, p, i, c->product, c->y) != CUBLAS_STATUS_SUCCESS)
        return INFINITY;
    if (s->error.status != OMNID_OK || cudaEventRecord(c->end, stream) != cudaSuccess ||
        cudaEventSynchronize(c->end) != cudaSuccess || cudaEventElapsedTime(&ms, c->begin, c->end) != cudaSuccess)
        return INFINITY;
    return ms;
}

/* The fastest of the rival and the algorithms; of those that are even the first. */
static int fastest(kernels_stream *s, const contest *c, const plan *p)
{
    int best = 0;
    float least = INFINITY;
    for (int i = c->rival ? RIVAL : 0; i < p->n_algos && s->error.status == OMNID_OK; i++)
        for (int run = 0; run < TIMED_RUNS; run++) {
            float ms = time_run(s, c, p, i);
            if (ms < least) {
                least = ms;
                best = i;
            }
        }
    return best;
}

/* Chooses for a plan, once, whatever comes of it. Results go to y, or to scratch memory where y is the residual too. What
 * fails here is no failure of the stream: a device that is lost will tell again. */
static void plan_time(kernels_stream *s, plan *p, const cuda_product *product, const cuda_rival *rival)
{
    contest c = {.product = product, .rival = rival, .y = product->y, .reserved = product->reserved};
    p->timed = true;
    if (p->n_algos + (rival != NULL) < 2)
        return;
    if (product->residual == product->y) {
        size_t bytes = (size_t)(product->m * product->y_stride) * kernels_dtype_size(product->y_dtype);
        bytes = cuda_aligned(bytes);
        char *scratch = cuda_scratch_take(s, c.reserved + bytes);
        c.y = scratch ? scratch + c.reserved : NULL;
        c.reserved += bytes;
    }
    if (c.y && cudaEventCreateWithFlags(&c.begin, cudaEventDefault) == cudaSuccess &&
        cudaEventCreateWithFlags(&c.end, cudaEventDefault) == cudaSuccess)
        p->chosen = fastest(s, &c, p);
    if (c.begin)
        cudaEventDestroy(c.begin);
    if (c.end)
        cudaEventDestroy(c.end);
    s->error = (omnid_error){0};
    cudaGetLastError();
}

/* What multiplies: the plan's algorithm, or NULL: the rival, or nothing. */
static plan *choose(kernels_stream *s, const cuda_product *p, const cuda_rival *rival)
{
    cuda_blas *blas = s->backend->blas;
    plan_key key = key_of(p);
    plan *chosen = plan_of(blas, &key, p->bias);
    if (chosen && !chosen->timed && is_timed(&key) && blas->timing && !cuda_recording(cuda_of(s)) &&
        s->error.status == OMNID_OK)
        plan_time(s, chosen, p, rival);
    return chosen && (chosen->chosen != RIVAL || !rival) ? chosen : NULL;
}

bool cuda_blas_multiply(kernels_stream *s, const cuda_product *p, const cuda_rival *rival)
{
    cuda_blas *blas = s->backend->blas;
    pthread_mutex_lock(&blas->lock);
    plan *chosen = choose(s, p, rival);
    int algorithm = chosen && chosen->chosen != RIVAL ? chosen->chosen : 0;
    cublasStatus_t status = chosen ? plan_run(s, chosen, algorithm, p, p->y) : CUBLAS_STATUS_SUCCESS;
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
        status == CUBLAS_STATUS_ARCH_MISMATCH) { /* nothing was launched: the own kernels do without it */
        chosen->usable = false;
        chosen = NULL;
    } else if (status != CUBLAS_STATUS_SUCCESS) {
        kernels_stream_fail(s, OMNID_DEVICE, "cuda backend: cublasLtMatmul [%lld][%lld] x [%lld]: %s", (long long)p->m,
                            (long long)p->k, (long long)p->n, blas->f.status_string(status));
    }
    pthread_mutex_unlock(&blas->lock);
    if (!chosen && rival)
        rival->run(s, rival->what, p->y, p->reserved);
    return chosen || rival;
}
