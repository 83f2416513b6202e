/* few_rows.cu     y = activation(x Wᵀ + b) + residual     x: [m][k]     W: [n][stride], int8 rows too     y: [m][n]
 * A warp, or up to four where features are few, has a feature: its lanes read the feature's weights in packs of 16 bytes, each
 * once for ROWS rows of x, which come out of the caches. For decoding the weights are nearly all that is read, and the memory
 * is busy only while tens of KB a multiprocessor are on their way: so a lane asks for several packs before it uses those it
 * has. Any m goes: blocks along y take ROWS rows each. A row's sums do not depend on how many rows there are. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/device.cuh"

enum { WARPS = 8, ROWS = 4, MOST_PACKS = 4, MOST_SHARE = 4 };

/* Packs that a lane asks for at once: int8 ones are twice the numbers, for several rows twice the registers. */
template <typename W, int R> struct few_round {
    enum { PACKS = sizeof(W) == 1 && R > 1 ? MOST_PACKS / 2 : MOST_PACKS };
};

template <typename Y, typename X, typename W> struct few_arguments {
    Y *y;
    const X *x;
    const W *w;
    const float *bias, *residual; /* or NULL */
    int64_t y_stride, x_stride, w_stride, residual_stride, m, n, k;
    int64_t numbers; /* of an int8 row: where its scales begin */
    int share;       /* warps of a feature */
    kernels_activation activation;
};

/* PACKS packs of N weights of a row as they lie there, and the scales of int8 ones. */
template <typename W, int PACKS> struct few_packs {
    cuda_words words[PACKS];
    float scale[PACKS];
};

/* Packs at `at` and every `step` behind it; zeros from column k on. */
template <int N, int PACKS, typename W>
static __device__ __forceinline__ void few_load(few_packs<W, PACKS> &to, const W *row, int64_t at, int64_t step,
                                                int64_t k, int64_t numbers)
{
#pragma unroll
    for (int p = 0; p < PACKS; p++, at += step) {
        to.words[p] = {};
        if (N > 1 && at < k)
            to.words[p] = cuda_load_once(row + at);
        else if (at < k) {
            const W one = row[at];
            memcpy(&to.words[p], &one, sizeof one);
        }
        if constexpr (sizeof(W) == 1)
            to.scale[p] = at < k ? cuda_int8_scale(row, numbers, at) : 0.0f;
    }
}

template <int N, int PACKS, typename W>
static __device__ __forceinline__ void few_weights(float to[N], const few_packs<W, PACKS> &packs, int p)
{
    W from[N];
    memcpy(from, &packs.words[p], sizeof from);
#pragma unroll
    for (int i = 0; i < N; i++) {
        to[i] = cuda_load(&from[i]);
        if constexpr (sizeof(W) == 1)
            to[i] *= packs.scale[p];
    }
}

/* sums[r] += this lane's share of row r · w in PACKS packs; those from column k on are left out where WHOLE is false. */
template <int N, int R, bool WHOLE, int PACKS, typename X, typename W>
static __device__ __forceinline__ void few_add(float sums[R], const X *const rows[R], const few_packs<W, PACKS> &packs,
                                               int64_t at, int64_t step, int64_t k)
{
#pragma unroll
    for (int p = 0; p < PACKS; p++, at += step) {
        if (!WHOLE && at >= k)
            return;
        float weights[N];
        few_weights<N>(weights, packs, p);
#pragma unroll
        for (int r = 0; r < R; r++) {
            float values[N];
            cuda_load_pack<N>(values, rows[r] + at);
#pragma unroll
            for (int i = 0; i < N; i++)
                sums[r] += values[i] * weights[i];
        }
    }
}

/* sums[r] = row r · w, the share of the lane whose packs begin at column `at`. */
template <int N, int R, typename X, typename W>
static __device__ __forceinline__ void few_sums(float sums[R], const X *const rows[R], const W *w, int64_t at,
                                                int64_t step, int64_t k, int64_t numbers)
{
    enum { PACKS = few_round<W, R>::PACKS };
    few_packs<W, PACKS> now, next;
    int64_t end = PACKS * step; /* of the columns that are whole rounds */
    few_load<N>(now, w, at, step, k, numbers);
    for (; end <= k; end += PACKS * step, at += PACKS * step) {
        few_load<N>(next, w, at + PACKS * step, step, k, numbers);
        few_add<N, R, true>(sums, rows, now, at, step, k);
        now = next;
    }
    few_add<N, R, false>(sums, rows, now, at, step, k);
}

template <typename Y, typename X, typename W, int N, int R>
static __global__ void __launch_bounds__(WARPS *CUDA_WARP) few_kernel(few_arguments<Y, X, W> a)
{
    cuda_carve carve;
    float *room = carve.take<float>(WARPS * R);
    const int warp = threadIdx.x / CUDA_WARP, lane = threadIdx.x % CUDA_WARP, part = warp % a.share;
    const int64_t feature = (int64_t)blockIdx.x * (WARPS / a.share) + warp / a.share, row = (int64_t)blockIdx.y * R;
    const W *w = a.w + (feature < a.n ? feature : a.n - 1) * a.w_stride; /* all come to the barrier */
    const X *rows[R];
    float sums[R] = {};
#pragma unroll
    for (int r = 0; r < R; r++) /* behind the last one the last one: these sums are not stored */
        rows[r] = a.x + (row + r < a.m ? row + r : a.m - 1) * a.x_stride;
    few_sums<N, R>(sums, rows, w, N * (part * CUDA_WARP + lane), (int64_t)N * CUDA_WARP * a.share, a.k, a.numbers);
#pragma unroll
    for (int r = 0; r < R; r++) {
        sums[r] = cuda_warp_sum(sums[r]);
        if (lane == 0)
            room[warp * R + r] = sums[r];
    }
    __syncthreads();
    if (part != 0 || lane >= R || row + lane >= a.m || feature >= a.n)
        return; /* lane r of a feature's first warp finishes row r */
    float sum = 0;
    for (int i = 0; i < a.share; i++)
        sum += room[(warp + i) * R + lane];
    float value = cuda_activate(sum + (a.bias ? a.bias[feature] : 0.0f), a.activation);
    if (a.residual)
        value += a.residual[(row + lane) * a.residual_stride + feature];
    cuda_store(a.y + (row + lane) * a.y_stride + feature, value);
}

/* Warps that a feature is given: as many as the device has room for, with a whole round of packs a lane at least. */
static int few_share(const kernels_stream *s, int64_t n, int64_t k, int64_t pack)
{
    int share = 1;
    while (share < MOST_SHARE && n * share < (int64_t)64 * s->backend->n_sms &&
           2 * share * MOST_PACKS * CUDA_WARP * pack <= k)
        share *= 2;
    return share;
}

template <typename Y, typename X, typename W>
static void few_launch(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                       kernels_activation activation, const tensor *residual)
{
    const int pack = 16 / sizeof(W);
    const bool packs = cuda_in_packs(x, pack), one = packs && y->dim[0] == 1;
    const int rows = one ? 1 : ROWS, share = few_share(s, w->n, w->k, packs ? pack : 1);
    few_arguments<Y, X, W> a = {cuda_data<Y>(y),
                                cuda_data<X>(x),
                                static_cast<const W *>(w->w),
                                w->bias,
                                residual ? cuda_data<float>(residual) : nullptr,
                                y->stride,
                                x->stride,
                                w->stride,
                                residual ? residual->stride : 0,
                                y->dim[0],
                                w->n,
                                w->k,
                                kernels_int8_numbers(w->k),
                                share,
                                activation};
    void (*kernel)(few_arguments<Y, X, W>) = one     ? few_kernel<Y, X, W, pack, 1>
                                             : packs ? few_kernel<Y, X, W, pack, ROWS>
                                                     : few_kernel<Y, X, W, 1, ROWS>;
    int64_t at_once = 65535 * (int64_t)ROWS;
    for (int64_t row = 0; row < y->dim[0]; row += at_once) {
        a.m = y->dim[0] - row < at_once ? y->dim[0] - row : at_once;
        dim3 grid(cuda_blocks(w->n, WARPS / share), cuda_blocks(a.m, rows));
        cuda_launch(s, "linear", kernel, grid, WARPS * CUDA_WARP, cuda_shared<float>(WARPS * rows), a);
        a.y += at_once * a.y_stride;
        a.x += at_once * a.x_stride;
        a.residual = a.residual ? a.residual + at_once * a.residual_stride : nullptr;
    }
}

void cuda_linear_few_rows(kernels_stream *s, tensor *y, const tensor *x, const kernels_weight *w,
                          kernels_activation activation, const tensor *residual)
{
    cuda_by_dtype(y->dtype, [&](auto to) {
        cuda_by_dtype(x->dtype, [&](auto from) {
            typedef decltype(to) Y;
            typedef decltype(from) X;
            if (w->dtype == KERNELS_I8)
                few_launch<Y, X, int8_t>(s, y, x, w, activation, residual);
            else
                few_launch<Y, X, X>(s, y, x, w, activation, residual);
        });
    });
}
