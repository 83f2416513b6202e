/* device_ceiling.cu: what a GPU can do at best, measured in the run whose figures are compared with it: a copy from device
 * memory to device memory, a read alone, and bf16 products with float32 sums by cuBLASLt (loaded at run time).
 *
 *     nvcc -O3 -o device-ceiling bench/device_ceiling.cu -ldl        prints one JSON object; exit status 77: no GPU
 *
 * GB/s and TFLOP/s (10^9, 10^12). Medians of rounds, timed by events. Copies count the bytes read and the bytes written.
 * The buffers are larger than any cache, their contents random numbers. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>

#include <algorithm>
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

enum { ROUNDS = 15, BLOCK = 256 };

static void check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return;
    fprintf(stderr, "device-ceiling: %s: %s\n", what, cudaGetErrorString(error));
    exit(1);
}

static __global__ void fill(uint16_t *out, size_t n, uint32_t seed)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        uint32_t h = ((uint32_t)i * 2654435769u) ^ seed;
        h = (h ^ (h >> 16)) * 0x7feb352du;
        h = (h ^ (h >> 15)) * 0x846ca68bu;
        out[i] = (uint16_t)(0x3c00 | (h & 0x807f)); /* about ±0.01, bf16 */
    }
}

static __global__ void read_all(unsigned *sum, const uint4 *from, size_t n)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    unsigned total = 0;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        uint4 v = from[i];
        total += v.x ^ v.y ^ v.z ^ v.w;
    }
    if (total == 0x12345678) /* never left out by the compiler, nearly never done */
        *sum = total;
}

template <typename Work> static double median_ms(Work work)
{
    cudaEvent_t start, end;
    float ms[ROUNDS];
    check(cudaEventCreate(&start), "event");
    check(cudaEventCreate(&end), "event");
    for (int i = -3; i < ROUNDS; i++) { /* the first three warm up */
        check(cudaEventRecord(start), "event");
        work();
        check(cudaEventRecord(end), "event");
        check(cudaEventSynchronize(end), "work");
        float t;
        check(cudaEventElapsedTime(&t, start, end), "time");
        if (i >= 0)
            ms[i] = t;
    }
    check(cudaGetLastError(), "launch");
    std::sort(ms, ms + ROUNDS);
    return ms[ROUNDS / 2];
}

/* ---- products ---- */

static void *library;

template <typename F> static F *function(const char *name)
{
    void *f = dlsym(library, name);
    if (!f) {
        fprintf(stderr, "device-ceiling: cuBLASLt has no %s\n", name);
        exit(1);
    }
    return reinterpret_cast<F *>(f);
}
#define LT(name) function<decltype(name)>(#name)

static void check_lt(cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return;
    fprintf(stderr, "device-ceiling: %s: cuBLASLt status %d\n", what, (int)status);
    exit(1);
}

/* y [m][n] = x [m][k] w [n][k] transposed, bf16 with float32 sums: TFLOP/s; weights in turn, so that small ones are read. */
static double product(cublasLtHandle_t handle, int64_t m, int64_t n, int64_t k, uint16_t *data, size_t size)
{
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    cublasOperation_t transposed = CUBLAS_OP_T;
    int n_found = 0;
    size_t work_size = (size_t)64 << 20;
    check_lt(LT(cublasLtMatmulDescCreate)(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "description");
    LT(cublasLtMatmulDescSetAttribute)(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    LT(cublasLtMatrixLayoutCreate)(&a, CUDA_R_16BF, (uint64_t)k, (uint64_t)n, k);
    LT(cublasLtMatrixLayoutCreate)(&b, CUDA_R_16BF, (uint64_t)k, (uint64_t)m, k);
    LT(cublasLtMatrixLayoutCreate)(&c, CUDA_R_16BF, (uint64_t)n, (uint64_t)m, n);
    LT(cublasLtMatmulPreferenceCreate)(&preference);
    LT(cublasLtMatmulPreferenceSetAttribute)
    (preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &work_size, sizeof work_size);
    check_lt(LT(cublasLtMatmulAlgoGetHeuristic)(handle, desc, a, b, c, c, preference, 1, &found, &n_found),
             "algorithm");
    uint16_t *work = data, *x = work + work_size / 2, *y = x + m * k, *w = y + m * n;
    size_t n_weights = (size / 2 - (size_t)(w - data)) / (size_t)(n * k), turn = 0;
    if (n_weights == 0 || n_found == 0)
        return 0;
    n_weights = n_weights > 64 ? 64 : n_weights;
    float one = 1, zero = 0;
    int inside = m * n > (1 << 24) ? 1 : 8;
    double ms = median_ms([&] {
        for (int i = 0; i < inside; i++, turn++)
            check_lt(LT(cublasLtMatmul)(handle, desc, &one, w + turn % n_weights * (size_t)(n * k), a, x, b, &zero, y,
                                        c, y, c, &found.algo, work, work_size, 0),
                     "product");
    });
    return 2.0 * (double)m * (double)n * (double)k * inside / ms / 1e9;
}

static bool open_library()
{
    static const char *const names[] = {"libcublasLt.so", "libcublasLt.so.13", "libcublasLt.so.12"};
    for (const char *name : names)
        if (!library)
            library = dlopen(name, RTLD_NOW);
    return library != nullptr;
}

static void report_products(uint16_t *data, size_t size)
{
    static const int64_t shapes[][3] = {{8192, 8192, 8192}, {4864, 37888, 3584}, {676, 37888, 3584},
                                        {338, 37888, 3584}, {152, 37888, 3584},  {30, 37888, 3584},
                                        {30, 3584, 18944},  {30, 22016, 2048},   {1, 37888, 3584}};
    cublasLtHandle_t handle;
    if (!open_library()) {
        printf(", \"products\": []");
        return;
    }
    check_lt(LT(cublasLtCreate)(&handle), "opening it");
    printf(", \"products\": [");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        printf("%s{\"m\": %d, \"n\": %d, \"k\": %d, \"tflops\": %.2f}", i ? ", " : "", (int)shapes[i][0],
               (int)shapes[i][1], (int)shapes[i][2],
               product(handle, shapes[i][0], shapes[i][1], shapes[i][2], data, size));
    printf("]");
}

int main()
{
    int n_devices = 0;
    if (cudaGetDeviceCount(&n_devices) != cudaSuccess || n_devices == 0) {
        fprintf(stderr, "device-ceiling: no GPU\n");
        return 77;
    }
    cudaDeviceProp p;
    size_t half = (size_t)2 << 30, free_bytes, total;
    char *data;
    check(cudaGetDeviceProperties(&p, 0), "properties");
    check(cudaMemGetInfo(&free_bytes, &total), "memory");
    while (2 * half > free_bytes / 2)
        half /= 2;
    check(cudaMalloc(&data, 2 * half), "memory");
    fill<<<1024, BLOCK>>>((uint16_t *)data, half, 1); /* 2 * half bytes are half numbers of 2 */
    double copy = median_ms([&] { check(cudaMemcpyAsync(data + half, data, half, cudaMemcpyDeviceToDevice), "copy"); });
    double read = median_ms([&] {
        read_all<<<p.multiProcessorCount * 8, BLOCK>>>((unsigned *)data, (const uint4 *)data, 2 * half / sizeof(uint4));
    });
    printf("{\"device\": \"%s\", \"multiprocessors\": %d, \"arch\": %d, \"memory_bytes\": %zu", p.name,
           p.multiProcessorCount, 10 * p.major + p.minor, total);
    printf(", \"copy_gb_s\": %.1f, \"read_gb_s\": %.1f", 2e-6 * (double)half / copy, 2e-6 * (double)half / read);
    report_products((uint16_t *)data, 2 * half);
    printf("}\n");
    return 0;
}
