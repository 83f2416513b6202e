/* blas.c: matrix products by cuBLASLt. What it is told is column-major: yᵀ [n x m] = (wᵀ)ᵀ [n x k] xᵀ [k x m], so w is its
 * A (transposed), x its B, and a bias of n numbers lies along the rows, as its epilogue wants it.
 * Its GELU is the one with tanh, and ours is exact, so that activation is left to epilogue.cu. */
#include "kernels/cuda/blas.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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
    cublasLtMatmulAlgo_t algo;
} plan;

struct cuda_blas {
    cuda_blas_functions f;
    cublasLtHandle_t handle;
    pthread_mutex_t lock;
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

static bool plan_algorithm(const cuda_blas *blas, plan *p)
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
    cublasLtMatmulHeuristicResult_t best;
    int n_found = 0;
    if (blas->f.preference_create(&preference) != CUBLAS_STATUS_SUCCESS)
        return false;
    bool set = blas->f.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room) ==
                   CUBLAS_STATUS_SUCCESS &&
               blas->f.preference_set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                      sizeof reductions) == CUBLAS_STATUS_SUCCESS;
    for (size_t i = 0; i < sizeof aligned / sizeof *aligned; i++)
        set = set && blas->f.preference_set(preference, aligned[i].attribute, &aligned[i].bytes,
                                            sizeof aligned[i].bytes) == CUBLAS_STATUS_SUCCESS;
    set = set && blas->f.heuristic(blas->handle, p->desc, p->w, p->x, p->c, p->y, preference, 1, &best, &n_found) ==
                     CUBLAS_STATUS_SUCCESS;
    blas->f.preference_destroy(preference);
    if (!set || n_found == 0 || best.state != CUBLAS_STATUS_SUCCESS)
        return false;
    p->algo = best.algo;
    return true;
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
        p->usable = plan_layouts(blas, p) && plan_desc(blas, p, bias) && plan_algorithm(blas, p);
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

bool cuda_blas_multiply(kernels_stream *s, const cuda_product *p)
{
    cuda_blas *blas = s->backend->blas;
    const float one = 1, zero = 0;
    plan_key key = key_of(p);
    pthread_mutex_lock(&blas->lock);
    plan *chosen = plan_of(blas, &key, p->bias);
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (chosen && p->bias)
        status = blas->f.desc_set(chosen->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias);
    if (chosen && status == CUBLAS_STATUS_SUCCESS)
        status =
            blas->f.matmul(blas->handle, chosen->desc, &one, p->w, chosen->w, p->x, chosen->x,
                           p->residual ? &one : &zero, p->residual ? (const void *)p->residual : p->y, chosen->c, p->y,
                           chosen->y, &chosen->algo, cuda_of(s)->blas_work, CUDA_BLAS_WORK, cuda_of(s)->stream);
    if (chosen && (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
                   status == CUBLAS_STATUS_ARCH_MISMATCH)) { /* nothing was launched: the own kernels do without it */
        chosen->usable = false;
        chosen = NULL;
    } else if (chosen && status != CUBLAS_STATUS_SUCCESS) {
        kernels_stream_fail(s, OMNID_DEVICE, "cuda backend: cublasLtMatmul [%lld][%lld] x [%lld]: %s", (long long)p->m,
                            (long long)p->k, (long long)p->n, blas->f.status_string(status));
    }
    pthread_mutex_unlock(&blas->lock);
    return chosen != NULL;
}
