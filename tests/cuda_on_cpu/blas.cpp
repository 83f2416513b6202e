// blas.cpp: cuBLASLt's calls answered by the plain product, sums in float64. Knows which types and alignments cuBLASLt takes
// together, refuses the others, and answers a third of the small ones with "no algorithm", so that the way around is run too.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <cublasLt.h>
#include <cuda_bf16.h>

#include "block.h"
#include "memory.h"

extern "C" {
#include "kernels/cuda/blas.h"
}

using namespace cuda_emulation;

struct cublasLtContext {
    int unused;
};

struct cublasLtMatmulDesc {
    cublasOperation_t a, b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
    cublasComputeType_t compute;
};

struct cublasLtMatrixLayout {
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld;
};

struct cublasLtMatmulPreference {
    uint32_t align[4];
};

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = new cublasLtContext();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS         ? "CUBLAS_STATUS_SUCCESS"
           : status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                                   : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale)
{
    *desc = new cublasLtMatmulDesc{CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr, compute};
    return scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    delete desc;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t size)
{
    void *to = attribute == CUBLASLT_MATMUL_DESC_TRANSA     ? static_cast<void *>(&desc->a)
               : attribute == CUBLASLT_MATMUL_DESC_TRANSB   ? static_cast<void *>(&desc->b)
               : attribute == CUBLASLT_MATMUL_DESC_EPILOGUE ? static_cast<void *>(&desc->epilogue)
                                                            : static_cast<void *>(&desc->bias);
    if (size != (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void *) : 4))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    *layout = new cublasLtMatrixLayout{type, rows, cols, ld};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    delete layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = new cublasLtMatmulPreference{{256, 256, 256, 256}};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                                                    size_t size)
{
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        return size == sizeof(uint64_t) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
    if (size != sizeof(uint32_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        return CUBLAS_STATUS_SUCCESS; /* sums here are never split */
    memcpy(&preference->align[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, size);
    return CUBLAS_STATUS_SUCCESS;
}

/* What kernels/cuda may ask for, and cuBLASLt's table of types has. */
static bool fits(const cublasLtMatmulDesc *desc, const cublasLtMatrixLayout *a, const cublasLtMatrixLayout *b,
                 const cublasLtMatrixLayout *c, const cublasLtMatrixLayout *d)
{
    bool types = a->type == b->type && c->type == d->type &&
                 (d->type == CUDA_R_32F || (d->type == CUDA_R_16BF && a->type == CUDA_R_16BF));
    bool shapes =
        a->rows == b->rows && a->cols == d->rows && b->cols == d->cols && c->rows == d->rows && c->cols == d->cols;
    bool strides = a->ld >= static_cast<int64_t>(a->rows) && b->ld >= static_cast<int64_t>(b->rows) &&
                   c->ld >= static_cast<int64_t>(c->rows) && d->ld >= static_cast<int64_t>(d->rows);
    if (desc->compute != CUBLAS_COMPUTE_32F)
        die("cublasLtMatmul: sums have to be true float32");
    return types && shapes && strides && desc->a == CUBLAS_OP_T && desc->b == CUBLAS_OP_N;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int n_wanted, cublasLtMatmulHeuristicResult_t *results, int *n_found)
{
    *n_found = 0;
    if (n_wanted < 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!fits(desc, a, b, c, d) || (a->rows * a->cols * b->cols < 200000 && (a->rows + a->cols + b->cols) % 3 == 0))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *n_found = n_wanted < 3 ? n_wanted : 3;
    for (int r = 0; r < *n_found; r++) {
        results[r] = {};
        results[r].state = r == 1 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
        for (int i = 0; i < 4 && r != 1; i++) /* what the caller promised, kept with the algorithm */
            results[r].algo.data[i] = preference->align[i];
    }
    return CUBLAS_STATUS_SUCCESS;
}

static float number_at(const void *data, cudaDataType_t type, int64_t i)
{
    return type == CUDA_R_16BF ? __bfloat162float(static_cast<const __nv_bfloat16 *>(data)[i])
                               : static_cast<const float *>(data)[i];
}

static void load(std::vector<float> *to, const void *data, const cublasLtMatrixLayout &layout)
{
    to->resize(layout.rows * layout.cols);
    for (uint64_t j = 0; j < layout.cols; j++)
        for (uint64_t i = 0; i < layout.rows; i++)
            (*to)[j * layout.rows + i] =
                number_at(data, layout.type, static_cast<int64_t>(j) * layout.ld + static_cast<int64_t>(i));
}

/* Four sums side by side, as the reference has them. */
static double dot(const float *a, const float *b, uint64_t n)
{
    double sum[4] = {0, 0, 0, 0};
    uint64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++)
            sum[j] += static_cast<double>(a[i + static_cast<uint64_t>(j)]) * b[i + static_cast<uint64_t>(j)];
    for (; i < n; i++)
        sum[0] += static_cast<double>(a[i]) * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

struct job {
    cublasLtMatmulDesc desc;
    cublasLtMatrixLayout la, lb, lc, ld;
    const void *a, *b, *c;
    void *d;
    float beta;
};

static void multiply(const job &j)
{
    std::vector<float> a, b;
    load(&a, j.a, j.la);
    load(&b, j.b, j.lb);
    for (uint64_t col = 0; col < j.ld.cols; col++)
        for (uint64_t row = 0; row < j.ld.rows; row++) {
            int64_t at = static_cast<int64_t>(col) * j.ld.ld + static_cast<int64_t>(row);
            double sum = dot(&a[row * j.la.rows], &b[col * j.lb.rows], j.la.rows);
            if (j.desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
                sum += static_cast<double>(number_at(j.desc.bias, j.ld.type, static_cast<int64_t>(row)));
            if (j.beta != 0)
                sum += static_cast<double>(
                    number_at(j.c, j.lc.type, static_cast<int64_t>(col) * j.lc.ld + static_cast<int64_t>(row)));
            if (j.ld.type == CUDA_R_16BF)
                static_cast<__nv_bfloat16 *>(j.d)[at] = __float2bfloat16_rn(static_cast<float>(sum));
            else
                static_cast<float *>(j.d)[at] = static_cast<float>(sum);
        }
}

static void check_place(const char *name, const void *data, const cublasLtMatrixLayout &layout, uint64_t align)
{
    size_t size = layout.type == CUDA_R_16BF ? 2 : 4;
    size_t bytes = (static_cast<size_t>(layout.cols - 1) * static_cast<size_t>(layout.ld) + layout.rows) * size;
    if (!device_holds(data, bytes))
        die("cublasLtMatmul: %s, %zu bytes, is not inside one block of device memory", name, bytes);
    if (reinterpret_cast<uintptr_t>(data) % align || (layout.cols > 1 && static_cast<size_t>(layout.ld) * size % align))
        die("cublasLtMatmul: %s is not aligned to %llu bytes, as the heuristic was told", name,
            static_cast<unsigned long long>(align));
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                              const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_size, cudaStream_t stream)
{
    if (!fits(desc, a_layout, b_layout, c_layout, d_layout) || *static_cast<const float *>(alpha) != 1.0f)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    job j = {*desc, *a_layout, *b_layout, *c_layout, *d_layout, a, b, c, d, *static_cast<const float *>(beta)};
    check_place("A", a, j.la, algo->data[0]);
    check_place("B", b, j.lb, algo->data[1]);
    check_place("C", c, j.lc, algo->data[2]);
    check_place("D", d, j.ld, algo->data[3]);
    if (!device_holds(workspace, workspace_size))
        die("cublasLtMatmul: the workspace is not device memory");
    size_t size = j.ld.type == CUDA_R_16BF ? 2 : 4;
    if (desc->epilogue == CUBLASLT_EPILOGUE_BIAS && !device_holds(desc->bias, j.ld.rows * size))
        die("cublasLtMatmul: the bias is not device memory of the result's type");
    return enqueue_work(stream, [j] { multiply(j); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                                                                     : CUBLAS_STATUS_INVALID_VALUE;
}

omnid_status cuda_blas_load(cuda_blas_functions *out, omnid_error *err)
{
    const char *wanted = getenv("OMNID_CUDA_EMULATE");
    if (wanted && strcmp(wanted, "no cublas") == 0)
        return omnid_fail(err, OMNID_NOT_FOUND, "libcublasLt.so does not load: no such file");
#define TAKE(name, function) out->name = function;
    CUDA_BLAS_FUNCTIONS(TAKE)
#undef TAKE
    return OMNID_OK;
}
