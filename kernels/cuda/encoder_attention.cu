/* encoder_attention.cu     y = softmax(q kᵀ / sqrt(head_dim)) v inside each span of rows
 * qkv: [n][3 d]     y: [n][d]     saliency[j] = mean over heads and over rows i of j's span of the probability i -> j.
 *
 * Float32, any head_dim up to MAX_DIM: tiles of keys pass by in shared memory, and each row keeps a running maximum. bf16 of
 * the encoders' own shapes goes to encoder_tiles.cu. The saliency takes a second product of queries and keys against the
 * rows' norms, so no matrix of probabilities is kept; its sums have one order. */
#include "kernels/cuda/encoder.cuh"

enum { WARPS = 4, ROWS = 16, EACH = ROWS / WARPS, KEYS = CUDA_WARP, MAX_DIM = 256, DIMS = MAX_DIM / CUDA_WARP };

/* Copies `n` rows of a part from `row` on as float32, `pitch` apart, zeros from `end` on. The whole block. */
template <typename T>
static __device__ __forceinline__ void load_rows(float *to, const encoder_attention &a, int part, int row, int n,
                                                 int end, int head, int pitch)
{
    for (int i = threadIdx.x; i < n * a.head_dim; i += WARPS * CUDA_WARP) {
        int at = i / a.head_dim, column = i % a.head_dim;
        to[at * pitch + column] = row + at < end ? cuda_load(encoder_row<T>(a, part, row + at, head) + column) : 0.0f;
    }
}

/* Score of a query (every lane the same) and lane's key. */
static __device__ __forceinline__ float score_of(const float *q, const float *k, int head_dim, int pitch)
{
    const float *key = k + threadIdx.x % CUDA_WARP * pitch;
    float sum = 0;
    for (int i = 0; i < head_dim; i++)
        sum += q[i] * key[i];
    return sum;
}

/* One row's running softmax; lane has columns lane, lane + 32, … */
struct encoder_running {
    float highest, sum, value[DIMS];
};

/* Lane's key has this score (-infinity: none); v: the keys' values in shared memory; weights: [KEYS] there, of this row. */
static __device__ __forceinline__ void add_keys(encoder_running *r, float score, float *weights, const float *v,
                                                int head_dim, int pitch)
{
    int lane = threadIdx.x % CUDA_WARP;
    float highest = fmaxf(r->highest, cuda_warp_max(score)), shrink = expf(r->highest - highest);
    float p = expf(score - highest);
    weights[lane] = p;
    __syncwarp();
    r->highest = highest;
    r->sum = r->sum * shrink + p; /* of this lane's keys, until the end */
#pragma unroll
    for (int c = 0; c < DIMS; c++)
        r->value[c] *= shrink;
    for (int j = 0; j < KEYS; j++) {
#pragma unroll
        for (int c = 0; c < DIMS; c++)
            if (c * CUDA_WARP + lane < head_dim)
                r->value[c] += weights[j] * v[j * pitch + c * CUDA_WARP + lane];
    }
}

/* Block (tile of ROWS rows, head); a warp has EACH rows. */
template <typename T>
static __global__ void __launch_bounds__(WARPS *CUDA_WARP)
    encoder_kernel(const __grid_constant__ encoder_attention a, const __grid_constant__ encoder_spans spans)
{
    const int pitch = a.head_dim + 1, head = blockIdx.y; /* a lane's keys in banks of their own */
    const int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
    const encoder_tile t = encoder_tile_of(spans, blockIdx.x, ROWS);
    cuda_carve carve;
    float *q = carve.take<float>(ROWS * pitch), *k = carve.take<float>(KEYS * pitch);
    float *v = carve.take<float>(KEYS * pitch), *weights = carve.take<float>(ROWS * KEYS);
    load_rows<T>(q, a, 0, t.row, ROWS, t.end, head, pitch);
    encoder_running r[EACH];
    for (int i = 0; i < EACH; i++)
        r[i] = {-INFINITY, 0, {}};
    for (int first = t.first; first < t.end; first += KEYS) {
        __syncthreads();
        load_rows<T>(k, a, 1, first, KEYS, t.end, head, pitch);
        load_rows<T>(v, a, 2, first, KEYS, t.end, head, pitch);
        __syncthreads();
        for (int i = 0; i < EACH; i++) {
            int row = warp * EACH + i;
            float score = score_of(q + row * pitch, k, a.head_dim, pitch) * a.scale;
            add_keys(&r[i], first + lane < t.end ? score : -INFINITY, weights + row * KEYS, v, a.head_dim, pitch);
        }
    }
    for (int i = 0; i < EACH; i++) {
        int64_t row = t.row + warp * EACH + i;
        float sum = cuda_warp_sum(r[i].sum);
        if (row >= t.end)
            continue;
        T *to = static_cast<T *>(a.y) + row * a.y_stride + (int64_t)head * a.head_dim;
        for (int c = 0; c < DIMS; c++)
            if (c * CUDA_WARP + lane < a.head_dim)
                cuda_store(to + c * CUDA_WARP + lane, r[i].value[c] / sum);
        if (a.norm && lane == 0)
            a.norm[head * a.n + row] = r[i].highest + logf(sum);
    }
}

/* Block (tile of KEYS keys, head): seen[head][j] = Σ over the span's rows i of the probability i -> j, in float64. */
template <typename T>
static __global__ void __launch_bounds__(WARPS *CUDA_WARP)
    saliency_kernel(double *seen, const __grid_constant__ encoder_attention a,
                    const __grid_constant__ encoder_spans spans)
{
    const int pitch = a.head_dim + 1, head = blockIdx.y;
    const int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
    const encoder_tile t = encoder_tile_of(spans, blockIdx.x, KEYS);
    cuda_carve carve;
    float *q = carve.take<float>(ROWS * pitch), *k = carve.take<float>(KEYS * pitch);
    double *sums = carve.take<double>(WARPS * KEYS), sum = 0;
    load_rows<T>(k, a, 1, t.row, KEYS, t.end, head, pitch);
    for (int first = t.first; first < t.end; first += ROWS) {
        __syncthreads();
        load_rows<T>(q, a, 0, first, ROWS, t.end, head, pitch);
        __syncthreads();
        for (int i = warp * EACH; i < (warp + 1) * EACH && first + i < t.end; i++)
            sum +=
                (double)expf(score_of(q + i * pitch, k, a.head_dim, pitch) * a.scale - a.norm[head * a.n + first + i]);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (warp > 0 || t.row + lane >= t.end)
        return;
    for (int w = 1; w < WARPS; w++)
        sum += sums[w * KEYS + lane];
    seen[head * a.n + t.row + lane] = sum;
}

/* saliency[j] = Σ over heads of seen[head][j] / (n_heads * rows of the span); a block a tile of KEYS rows, a warp. */
static __global__ void saliency_mean_kernel(float *saliency, const double *seen, int64_t n, int n_heads,
                                            const __grid_constant__ encoder_spans spans)
{
    const encoder_tile t = encoder_tile_of(spans, blockIdx.x, KEYS);
    int row = t.row + threadIdx.x;
    if (row >= t.end)
        return;
    double sum = 0;
    for (int head = 0; head < n_heads; head++)
        sum += seen[head * n + row];
    saliency[row] = (float)(sum / ((double)n_heads * (double)(t.end - t.first)));
}

template <typename T>
static void run_plain(kernels_stream *s, const encoder_attention &a, const int32_t *spans, int n_spans)
{
    encoder_spans some;
    int pitch = a.head_dim + 1;
    size_t shared =
        cuda_shared<float>(ROWS * pitch) + 2 * cuda_shared<float>(KEYS * pitch) + cuda_shared<float>(ROWS * KEYS);
    if (!cuda_allow_shared(s, "encoder_attention", encoder_kernel<T>, shared))
        return;
    for (int next = 0; encoder_take_spans(&some, spans, n_spans, ROWS, &next);)
        cuda_launch(s, "encoder_attention", encoder_kernel<T>, dim3((unsigned)some.tile[some.n], (unsigned)a.n_heads),
                    WARPS * CUDA_WARP, shared, a, some);
}

template <typename T>
static void run_saliency(kernels_stream *s, float *saliency, double *seen, const encoder_attention &a,
                         const int32_t *spans, int n_spans)
{
    encoder_spans some;
    int pitch = a.head_dim + 1;
    size_t shared =
        cuda_shared<float>(ROWS * pitch) + cuda_shared<float>(KEYS * pitch) + cuda_shared<double>(WARPS * KEYS);
    if (!cuda_allow_shared(s, "encoder_attention", saliency_kernel<T>, shared))
        return;
    for (int next = 0; encoder_take_spans(&some, spans, n_spans, KEYS, &next);) {
        unsigned tiles = (unsigned)some.tile[some.n];
        cuda_launch(s, "encoder_attention", saliency_kernel<T>, dim3(tiles, (unsigned)a.n_heads), WARPS * CUDA_WARP,
                    shared, seen, a, some);
        cuda_launch(s, "encoder_attention", saliency_mean_kernel, tiles, CUDA_WARP, 0, saliency, seen, a.n, a.n_heads,
                    some);
    }
}

void cuda_encoder_attention(kernels_stream *s, tensor *y, const tensor *qkv, int n_heads, int head_dim,
                            const int32_t *spans, int n_spans, tensor *saliency)
{
    if (!cuda_begin(s) || !check_encoder_attention(s, y, qkv, n_heads, head_dim, spans, n_spans, saliency) ||
        cuda_nothing(y))
        return;
    if (head_dim > MAX_DIM) {
        kernels_stream_fail(s, OMNID_UNSUPPORTED, "encoder_attention: head_dim is %d, the cuda backend has %d at most",
                            head_dim, MAX_DIM);
        return;
    }
    encoder_attention a = {qkv->data, y->data,        nullptr, qkv->stride, y->stride,
                           y->dim[0], tensor_cols(y), n_heads, head_dim,    1.0f / sqrtf((float)head_dim),
                           0};
    double *seen = nullptr;
    if (saliency) {
        size_t cells = (size_t)n_heads * (size_t)a.n;
        seen = static_cast<double *>(cuda_scratch_take(s, cells * (sizeof(double) + sizeof(float))));
        if (!seen)
            return;
        a.norm = reinterpret_cast<float *>(seen + cells);
    }
    cuda_by_dtype(qkv->dtype, [&](auto type) {
        typedef decltype(type) T;
        if (encoder_in_tiles(y, qkv, head_dim))
            encoder_tiles(s, a, spans, n_spans);
        else
            run_plain<T>(s, a, spans, n_spans);
        if (saliency)
            run_saliency<T>(s, cuda_data<float>(saliency), seen, a, spans, n_spans);
    });
}
