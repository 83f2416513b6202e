/* attend_tiles.cu: attend for bf16 by matrix fragments: tiles of 64 flat rows against tiles of keys that are gathered by
 * index, with a running maximum (Dao, "FlashAttention-2", 2023). The keys are split over blocks by a rule that knows only
 * the launch's room and the counts, and the splits are merged in order, so the sums of a question do not depend on what
 * else runs.
 *
 * Every tile of keys meets the queries of each class that one of its keys has; keys of other classes count as zeros in that
 * product. Tiles are of one class but where a segment changes from picture to sound. */
#include "kernels/cuda/attention_run.cuh"

using namespace attention_tile;

enum { MAX_SPLITS = CUDA_WARP };

/* What a split leaves for a flat row: its sum of values, not divided, and in [2]: highest score * log2 e, Σ 2^(… - highest). */
struct splits {
    float *value; /* [n_splits][n_kv_heads][n_sets * room * group][head_dim] */
    float *norm;  /* [n_splits][n_kv_heads][n_sets * room * group][2] */
    int64_t n;
};

static __device__ __forceinline__ int64_t split_row(const cuda_attention &a, const cuda_extent &e, int split,
                                                    int kv_head, int flat)
{
    return ((int64_t)split * a.n_kv_heads + kv_head) * (a.n_sets * a.room * a.group) + e.first_row * a.group + flat;
}

/* Where key j lies; from `end` on there are none. What the descriptor tells is read each time, out of the L1: kept in
 * registers, it would be in those of the warps that compute. */
static __device__ __forceinline__ key_place find_key(const cuda_attention &a, const kernels_descriptor *d, int64_t j,
                                                     int64_t end, int kv_head)
{
    key_place place = {nullptr, nullptr, CUDA_SEEN_BY_NONE, 0};
    if (j >= end)
        return place;
    const cuda_extent e = {d, d->pages, d->keys, 0, 0, d->n_prefix, d->n_keys, 0, 0};
    cuda_key key = cuda_attention_key(a, e, j);
    place.k = cuda_row_of<bf16>(a, key.page->k, key.page->capacity, key.row, kv_head);
    place.v = cuda_row_of<bf16>(a, key.page->v, key.page->capacity, key.row, kv_head);
    place.own = key.own;
    place.cls = key.cls;
    return place;
}

/* One row's result, or its share of one. */
template <int HD>
static __device__ __forceinline__ void store_row(const running<HD> &r, const cuda_attention &a, const cuda_extent &e,
                                                 const cuda_attended &to, const splits &parts, int flat, int kv_head,
                                                 int h)
{
    const int t = threadIdx.x % 4;
    int64_t row = e.first_row + flat / a.group, head = kv_head * a.group + flat % a.group;
    int64_t at = split_row(a, e, blockIdx.z, kv_head, flat);
    float factor = parts.n > 1 ? 1.0f : r.sum[h] > 0 ? 1.0f / r.sum[h] : 0.0f;
#pragma unroll
    for (int n = 0; n < HD / 8; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int column = 8 * n + 2 * t + i;
            float value = r.value[n][2 * h + i] * factor;
            if (parts.n > 1)
                parts.value[at * HD + column] = value;
            else
                cuda_attended_store(to, row, head * HD + column, value);
        }
    if (t > 0)
        return;
    if (parts.n > 1) {
        parts.norm[2 * at] = r.highest[h];
        parts.norm[2 * at + 1] = r.sum[h];
    } else if (to.lse) {
        to.lse[row * to.lse_stride + head] =
            r.sum[h] > 0 ? (r.highest[h] + log2f(r.sum[h])) * 0.693147180559945309f : -INFINITY;
    }
}

/* Block (tile of flat rows, set by set; key head; split): THREADS threads, and a warp that finds keys. */
template <int HD, int KEYS>
static __global__ void __launch_bounds__(THREADS + CUDA_WARP, 2)
    attend_tiles_kernel(const __grid_constant__ cuda_attention a, const cuda_attended to, const splits parts)
{
    const int n_blocks = gridDim.x / a.n_sets, set = blockIdx.x / n_blocks, first = blockIdx.x % n_blocks * ROWS;
    const int kv_head = blockIdx.y, split = blockIdx.z;
    cuda_carve shared;
    const tile_memory<HD, KEYS> m = take_tile_memory<HD, KEYS>(shared, a.n_classes);
    cuda_extent e;
    if (!cuda_attention_extent(a, set, &e) || first >= e.n_rows * a.group)
        return;
    const int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP, last = first + ROWS - 1;
    for (int c = 0; c < a.n_classes && warp < WARPS; c++)
        load_queries<HD>(m.q + c * ROWS * row_of<HD>::PITCH, a, e, c, first, kv_head);
    /* Own rows past those that this tile's last row sees are not worth a look. */
    int last_row = last / a.group < e.n_rows ? last / a.group : e.n_rows - 1;
    int64_t n_own = e.n_own == 0 || e.own_first + last_row + 1 < 0 ? 0 : e.own_first + last_row + 1;
    int64_t end = (int64_t)e.n_prefix + e.n_keys + n_own;
    const int n_tiles = (int)((end + KEYS - 1) / KEYS), share = (n_tiles + (int)parts.n - 1) / (int)parts.n;
    const int tile = split * share, past = tile + share < n_tiles ? tile + share : n_tiles;
    running<HD> r = {{}, {-INFINITY, -INFINITY}, {0, 0}};
    int flat[2], seen[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        flat[h] = first + 16 * warp + lane / 4 + 8 * h;
        seen[h] = e.own_first + flat[h] / a.group;
    }
    if (tile < past)
        run_tiles<HD, KEYS, true>(r, m, a.n_classes, a.scale, a.q, tile, past, seen,
                                  [&](int64_t j) { return find_key(a, e.d, j, end, kv_head); });
    if (warp == WARPS)
        return;
    cuda_copy_commit(); /* the queries, where there is no key */
    cuda_copy_wait<0>();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        r.sum[h] = quad_sum(r.sum[h]);
        if (flat[h] < e.n_rows * a.group)
            store_row<HD>(r, a, e, to, parts, flat[h], kv_head, h);
    }
}

/* Block (flat row, set by set; key head), one warp: the splits' shares in order. Lane i weighs split i. AT_ONCE splits are
 * read before the first of them is added, since one read takes as long as all: those without keys too, which left zeros,
 * and past the last split that one again, with no weight. */
template <int HD>
static __global__ void __launch_bounds__(CUDA_WARP)
    attend_merge_kernel(const __grid_constant__ cuda_attention a, const cuda_attended to, const splits parts)
{
    enum { EACH = HD / CUDA_WARP, AT_ONCE = 8 };
    const int rows = (int)a.room * a.group, set = blockIdx.x / rows, flat = blockIdx.x % rows, kv_head = blockIdx.y;
    const int lane = threadIdx.x, column = lane * EACH, n = (int)parts.n;
    cuda_extent e;
    if (!cuda_attention_extent(a, set, &e) || flat >= e.n_rows * a.group)
        return;
    const int64_t first = split_row(a, e, 0, kv_head, flat), step = split_row(a, e, 1, kv_head, flat) - first;
    float here = -INFINITY, share = 0, value[EACH] = {};
    if (lane < n) {
        here = parts.norm[2 * (first + lane * step)];
        share = parts.norm[2 * (first + lane * step) + 1];
    }
    const float highest = cuda_warp_max(here), factor = here == -INFINITY ? 0.0f : exp2f(here - highest);
    const float sum = cuda_warp_sum(factor * share);
    for (int i = 0; i < n; i += AT_ONCE) {
        float some[AT_ONCE][EACH];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            cuda_load_pack<EACH>(some[j], parts.value + (first + (i + j < n ? i + j : n - 1) * step) * HD + column);
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            float weight = __shfl_sync(0xffffffffu, factor, i + j);
#pragma unroll
            for (int c = 0; c < EACH; c++)
                value[c] += weight * some[j][c];
        }
    }
    const float whole = sum > 0 ? 1.0f / sum : 0.0f;
    int64_t row = e.first_row + flat / a.group, head = kv_head * a.group + flat % a.group;
#pragma unroll
    for (int c = 0; c < EACH; c++)
        cuda_attended_store(to, row, head * HD + column + c, value[c] * whole);
    if (to.lse && lane == 0)
        to.lse[row * to.lse_stride + head] = sum > 0 ? (highest + log2f(sum)) * 0.693147180559945309f : -INFINITY;
}

/* Two blocks a processor where its shared memory holds two, when the rows of a set alone do not make so many: other sets do
 * not change a set's sums. */
static int split_number(kernels_stream *s, const cuda_attention &a, size_t shared)
{
    const kernels_backend *b = s->backend;
    int64_t blocks = (int64_t)cuda_blocks(a.room * a.group, ROWS) * a.n_kv_heads;
    int64_t n = (2 * (shared + b->shared_reserved) <= b->shared_per_sm ? 2 : 1) * (int64_t)b->n_sms / blocks;
    return n < 1 ? 1 : n > MAX_SPLITS ? MAX_SPLITS : (int)n;
}

/* Room for the shares of n splits; false: there is none. */
static bool take_splits(kernels_stream *s, const cuda_attention &a, splits *parts)
{
    int64_t rows = parts->n * a.n_kv_heads * a.n_sets * a.room * a.group;
    if (parts->n == 1)
        return true;
    parts->value = static_cast<float *>(cuda_scratch_take(s, (size_t)(rows * (a.head_dim + 2)) * sizeof(float)));
    if (parts->value)
        parts->norm = parts->value + rows * a.head_dim;
    return parts->value != NULL;
}

template <int HD, int KEYS>
static void attend_tiles(kernels_stream *s, const cuda_attention &a, const cuda_attended &to)
{
    size_t shared = tile_memory_size<HD, KEYS>(a.n_classes);
    int64_t rows = a.room * a.group;
    splits parts = {NULL, NULL, split_number(s, a, shared)};
    dim3 grid((unsigned)a.n_sets * cuda_blocks(rows, ROWS), (unsigned)a.n_kv_heads, (unsigned)parts.n);
    if (!take_splits(s, a, &parts) || !cuda_allow_shared(s, "attend", attend_tiles_kernel<HD, KEYS>, shared))
        return;
    cuda_launch(s, "attend", attend_tiles_kernel<HD, KEYS>, grid, THREADS + CUDA_WARP, shared, a, to, parts);
    if (parts.n > 1)
        cuda_launch(s, "attend", attend_merge_kernel<HD>, dim3((unsigned)(a.n_sets * rows), (unsigned)a.n_kv_heads),
                    CUDA_WARP, 0, a, to, parts);
}

void cuda_attend_tiles(kernels_stream *s, const cuda_attention &a, const cuda_attended &to)
{
    /* Three classes of queries take three times the room: fewer keys then. */
    if (a.head_dim == 32)
        attend_tiles<32, 32>(s, a, to);
    else if (a.head_dim == 64)
        a.n_classes == 1 ? attend_tiles<64, 64>(s, a, to) : attend_tiles<64, 32>(s, a, to);
    else
        a.n_classes == 1 ? attend_tiles<128, 64>(s, a, to) : attend_tiles<128, 32>(s, a, to);
}
