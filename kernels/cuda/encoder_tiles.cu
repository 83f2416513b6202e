/* encoder_tiles.cu: encoder_attention for bf16 heads of 64 and 80 by matrix fragments: tiles of 64 rows against tiles of 64
 * keys of the same span. */
#include "kernels/cuda/attention_run.cuh"
#include "kernels/cuda/encoder.cuh"

using namespace attention_tile;

enum { KEYS = 64 };

/* 16-byte pieces, and places that are all of this launch: rows of a span that are there. */
template <int HD>
static __device__ __forceinline__ void load_span_queries(bf16 *to, const encoder_attention &a, const encoder_tile &t,
                                                         int head)
{
    for (int i = threadIdx.x; i < ROWS * row_of<HD>::PIECES; i += THREADS) {
        int at = i / row_of<HD>::PIECES, piece = i % row_of<HD>::PIECES;
        bool there = t.row + at < t.end;
        cuda_copy_async(to + at * row_of<HD>::PITCH + 8 * piece,
                        encoder_row<bf16>(a, 0, there ? t.row + at : t.first, head) + 8 * piece, there);
    }
}

template <int HD>
static __device__ __forceinline__ void store_rows(const running<HD> &r, const encoder_attention &a,
                                                  const encoder_tile &t, int head, int h)
{
    const int lane = threadIdx.x % CUDA_WARP, row = t.row + threadIdx.x / CUDA_WARP * 16 + lane / 4 + 8 * h;
    float sum = quad_sum(r.sum[h]);
    if (row >= t.end)
        return;
    bf16 *to = static_cast<bf16 *>(a.y) + row * a.y_stride + head * HD + 2 * (lane % 4);
#pragma unroll
    for (int n = 0; n < HD / 8; n++) {
        const float pair[2] = {r.value[n][2 * h] / sum, r.value[n][2 * h + 1] / sum};
        cuda_store_pack<2>(to + 8 * n, pair);
    }
    if (a.norm && lane % 4 == 0)
        a.norm[head * a.n + row] = (r.highest[h] + log2f(sum)) * 0.693147180559945309f;
}

/* Block (tile of ROWS rows, head). */
template <int HD>
static __global__ void __launch_bounds__(THREADS)
    encoder_tiles_kernel(const __grid_constant__ encoder_attention a, const __grid_constant__ encoder_spans spans)
{
    const int head = blockIdx.y, seen[2] = {0, 0};
    const encoder_tile t = encoder_tile_of(spans, blockIdx.x, ROWS);
    cuda_carve shared;
    const tile_memory<HD, KEYS> m = take_tile_memory<HD, KEYS>(shared, 1);
    load_span_queries<HD>(m.q, a, t, head);
    auto find = [&](int64_t j) {
        int64_t row = t.first + j;
        key_place place = {nullptr, nullptr, CUDA_SEEN_BY_NONE, 0};
        if (row < t.end)
            place = {encoder_row<bf16>(a, 1, row, head), encoder_row<bf16>(a, 2, row, head), CUDA_SEEN_BY_ALL, 0};
        return place;
    };
    running<HD> r = {{}, {-INFINITY, -INFINITY}, {0, 0}};
    run_tiles<HD, KEYS, false>(r, m, 1, a.scale, a.qkv, 0, (t.end - t.first + KEYS - 1) / KEYS, seen, find);
    cuda_copy_wait<0>();
#pragma unroll
    for (int h = 0; h < 2; h++)
        store_rows<HD>(r, a, t, head, h);
}

bool encoder_in_tiles(const tensor *y, const tensor *qkv, int head_dim)
{
    return qkv->dtype == KERNELS_BF16 && (head_dim == 64 || head_dim == 80) && cuda_in_packs(y, 8) &&
           cuda_in_packs(qkv, 8);
}

template <int HD>
static void run_spans(kernels_stream *s, const encoder_attention &a, const int32_t *spans, int n_spans)
{
    encoder_spans some;
    size_t shared = tile_memory_size<HD, KEYS>(1);
    if (!cuda_allow_shared(s, "encoder_attention", encoder_tiles_kernel<HD>, shared))
        return;
    for (int next = 0; encoder_take_spans(&some, spans, n_spans, ROWS, &next);)
        cuda_launch(s, "encoder_attention", encoder_tiles_kernel<HD>,
                    dim3((unsigned)some.tile[some.n], (unsigned)a.n_heads), THREADS, shared, a, some);
}

void encoder_tiles(kernels_stream *s, const encoder_attention &a, const int32_t *spans, int n_spans)
{
    if (a.head_dim == 64)
        run_spans<64>(s, a, spans, n_spans);
    else
        run_spans<80>(s, a, spans, n_spans);
}
