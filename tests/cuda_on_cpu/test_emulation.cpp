// test_emulation.cpp: what the emulation promises to find, one small kernel each, in a process of its own: an error that it
// finds ends the process with a sentence. And what it promises to compute: collectives, fragments, graphs, order of streams.
#include <cstdio>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include <device_inline.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
}

template <typename... Parameters, typename... Arguments>
static cudaError_t start(cudaStream_t stream, void (*kernel)(Parameters...), unsigned grid, unsigned block,
                         size_t shared, Arguments... arguments)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(grid);
    config.blockDim = dim3(block);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

template <typename T> static T *device_of(int n)
{
    void *data = nullptr;
    assert_int_equal(cudaMalloc(&data, static_cast<size_t>(n) * sizeof(T)), cudaSuccess);
    return static_cast<T *>(data);
}

/* f in another process ends with a sentence that holds `words`. */
static void assert_dies(const char *words, const std::function<void()> &f)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        signal(SIGABRT, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        f();
        cudaDeviceSynchronize();
        _exit(0);
    }
    close(ends[1]);
    std::string said;
    char some[512];
    for (ssize_t n; (n = read(ends[0], some, sizeof some)) > 0;)
        said.append(some, static_cast<size_t>(n));
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        fail_msg("nothing was found; wanted '%s'", words);
    if (said.find(words) == std::string::npos)
        fail_msg("wanted '%s', it said: %s", words, said.c_str());
}

// ---- errors ----

static void early_exit_kernel()
{
    if (threadIdx.x == 3)
        return;
    __syncthreads();
}

static void half_barrier_kernel(int *out)
{
    if (threadIdx.x < 32)
        __syncthreads();
    out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
}

static void lonely_lane_kernel(int *out)
{
    if (threadIdx.x != 5)
        out[threadIdx.x] = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x), 0);
}

static void wrong_mask_kernel(int *out)
{
    out[threadIdx.x] = __shfl_sync(0x0000fffeu, 1, 1);
}

static void two_collectives_kernel(int *out)
{
    if (threadIdx.x % 2)
        out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
    else
        out[threadIdx.x] = __any_sync(0xffffffffu, 1);
}

static void too_much_shared_kernel()
{
    cuda_carve carve;
    carve.take<float>(10);
    carve.take<float>(10);
}

static void forgotten_copy_kernel(const float *from)
{
    cuda_carve carve;
    float *to = carve.take<float>(4);
    cuda_copy_async(to, from, true);
}

static void test_errors_are_found(void **)
{
    int *out = device_of<int>(64);
    float *numbers = device_of<float>(64);
    int host[4] = {};
    assert_dies("waits in __syncthreads", [] { start(nullptr, early_exit_kernel, 1, 64, 0); });
    assert_dies("waits", [=] { start(nullptr, half_barrier_kernel, 1, 64, 0, out); });
    assert_dies("waits for ever", [=] { start(nullptr, lonely_lane_kernel, 1, 32, 0, out); });
    assert_dies("lacks the caller", [=] { start(nullptr, wrong_mask_kernel, 1, 32, 0, out); });
    assert_dies("others of its warp", [=] { start(nullptr, two_collectives_kernel, 1, 32, 0, out); });
    assert_dies("the launch gave 64", [] { start(nullptr, too_much_shared_kernel, 1, 32, 64); });
    assert_dies("has not waited for",
                [=] { start(nullptr, forgotten_copy_kernel, 1, 32, 16, static_cast<const float *>(numbers)); });
    assert_dies("host memory", [&] { start(nullptr, wrong_mask_kernel, 1, 32, 0, static_cast<int *>(host)); });
    assert_dies("behind a block's end", [=] {
        void *pinned = nullptr;
        cudaHostAlloc(&pinned, 1024, 0);
        cudaMemcpyAsync(out, pinned, 1024, cudaMemcpyHostToDevice, nullptr);
    });
    assert_dies("pinned", [&] { cudaMemcpyAsync(out, host, sizeof host, cudaMemcpyHostToDevice, nullptr); });
    cudaFree(out);
    cudaFree(numbers);
}

static void past_the_end_kernel(int *out)
{
    out[threadIdx.x] = 1;
}

static void past_the_piece_kernel()
{
    cuda_carve carve;
    float *piece = carve.take<float>(31);
    piece[threadIdx.x] = 1;
}

/* A byte behind a block: AddressSanitizer's report at once, the emulation's at cudaFree. */
static void test_bytes_behind_are_found(void **)
{
    assert_dies("", [] {
        int *out = device_of<int>(31);
        start(nullptr, past_the_end_kernel, 1, 32, 0, out);
        cudaFree(out);
    });
    assert_dies("", [] { start(nullptr, past_the_piece_kernel, 1, 32, 128); });
}

static void test_limits(void **)
{
    assert_int_equal(start(nullptr, early_exit_kernel, 1, 1025, 0), cudaErrorInvalidConfiguration);
    assert_int_equal(start(nullptr, early_exit_kernel, 0, 32, 0), cudaErrorInvalidConfiguration);
    assert_int_equal(start(nullptr, too_much_shared_kernel, 1, 32, 49 * 1024), cudaErrorInvalidValue);
    assert_int_equal(
        cudaFuncSetAttribute(too_much_shared_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 * 1024),
        cudaSuccess);
    assert_int_equal(start(nullptr, too_much_shared_kernel, 1, 32, 49 * 1024), cudaSuccess);
    assert_int_equal(
        cudaFuncSetAttribute(too_much_shared_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 * 1024),
        cudaErrorInvalidValue);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    cudaGetLastError();
}

// ---- computing ----

/* Pinned memory is read by kernels and by the host. */
template <typename T> static T *pinned_of(int n)
{
    void *data = nullptr;
    assert_int_equal(cudaHostAlloc(&data, static_cast<size_t>(n) * sizeof(T), cudaHostAllocMapped), cudaSuccess);
    return static_cast<T *>(data);
}

static void collectives_kernel(int *out)
{
    int lane = static_cast<int>(threadIdx.x % 32);
    int *mine = out + threadIdx.x * 6;
    mine[0] = __shfl_sync(0xffffffffu, lane, 7);
    mine[1] = __shfl_xor_sync(0xffffffffu, lane, 5);
    mine[2] = __shfl_up_sync(0xffffffffu, lane, 3);
    mine[3] = __shfl_down_sync(0xffffffffu, lane, 4, 8);
    mine[4] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
    mine[5] = lane < 16 ? __reduce_add_sync(0x0000ffffu, lane) : __reduce_max_sync(0xffff0000u, lane);
}

static void test_collectives(void **)
{
    int *out = pinned_of<int>(64 * 6);
    assert_int_equal(start(nullptr, collectives_kernel, 1, 64, 0, out), cudaSuccess);
    assert_int_equal(out[0], -1); /* nothing has run yet */
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    unsigned thirds = 0;
    for (int lane = 0; lane < 32; lane += 3)
        thirds |= 1u << lane;
    for (int i = 0; i < 64; i++) {
        int lane = i % 32, *mine = out + i * 6;
        assert_int_equal(mine[0], 7);
        assert_int_equal(mine[1], lane ^ 5);
        assert_int_equal(mine[2], lane < 3 ? lane : lane - 3);
        assert_int_equal(mine[3], lane % 8 < 4 ? lane + 4 : lane);
        assert_int_equal(mine[4], static_cast<int>(thirds));
        assert_int_equal(mine[5], lane < 16 ? 120 : 31);
    }
    cudaFreeHost(out);
}

/* c = a b for a [16][16], b [16][8] in shared memory, through the fragments' loads. */
static void product_kernel(float *out)
{
    cuda_carve carve;
    uint16_t *a = carve.take<uint16_t>(16 * 16), *b = carve.take<uint16_t>(16 * 16);
    for (int i = static_cast<int>(threadIdx.x); i < 256; i += 32) {
        a[i] = bf16_from_f32(static_cast<float>(i / 16 - 2 * (i % 16)));
        b[i] = bf16_from_f32(static_cast<float>(i % 16 < 8 ? 3 * (i / 16) + i % 16 : 0)); /* [k][n], rows 16 apart */
    }
    __syncwarp();
    unsigned left[4], right[4];
    int lane = static_cast<int>(threadIdx.x), row = lane % 16, column = lane / 16 * 8;
    cuda_load_matrices(left, a + row * 16 + column);
    cuda_load_matrices_transposed(right, b + row * 16 + column);
    float c[4] = {};
    cuda_multiply_fragments(c, left, right);
    for (int i = 0; i < 4; i++)
        out[(lane / 4 + i / 2 * 8) * 8 + 2 * (lane % 4) + i % 2] = c[i];
}

static void test_fragments(void **)
{
    float *out = pinned_of<float>(16 * 8);
    assert_int_equal(start(nullptr, product_kernel, 1, 32, 1024, out), cudaSuccess);
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            float want = 0;
            for (int k = 0; k < 16; k++)
                want += static_cast<float>(i - 2 * k) * static_cast<float>(3 * k + j);
            assert_true(out[i * 8 + j] == want);
        }
    cudaFreeHost(out);
}

static void count_kernel(int *counter, int by)
{
    atomicAdd(counter, by);
}

static void test_graphs(void **)
{
    int *counter = pinned_of<int>(1);
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t event;
    *counter = 0;
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    int by = 2;
    start(stream, count_kernel, 3, 5, 0, counter, by);
    by = 100; /* the launch has its own copy */
    start(stream, count_kernel, 1, 1, 0, counter, 1);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(*counter, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cudaGraphLaunch(exec, stream), cudaSuccess);
    assert_int_equal(cudaEventRecord(event, stream), cudaSuccess);
    assert_int_equal(cudaEventQuery(event), cudaErrorNotReady);
    assert_int_equal(cudaEventSynchronize(event), cudaSuccess);
    assert_int_equal(*counter, 3 * 31);

    void *data;
    cudaGraphDestroy(graph);
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    assert_int_equal(cudaMalloc(&data, 16), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
    cudaGraphExecDestroy(exec);
    cudaEventDestroy(event);
    cudaStreamDestroy(stream);
    cudaFreeHost(counter);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_found), cmocka_unit_test(test_bytes_behind_are_found),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_collectives),
        cmocka_unit_test(test_fragments),        cmocka_unit_test(test_graphs),
    };
    return cmocka_run_group_tests_name("emulation", tests, nullptr, nullptr);
}
