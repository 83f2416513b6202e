/* attend.cu     out = softmax(q kᵀ / sqrt(head_dim)) v over prefix rows, listed keys and the own page's rows
 * 0 .. own_first + i of query row i; each key meets the query of its own class.     lse = ln Σ e^score
 *
 * Here for float32 and for heads of any size: one warp a row and head, keys in pieces with a running maximum (Milakov and
 * Gimelshein, "Online normalizer calculation for softmax", 2018). attend_tiles.cu has the fast path. */
#include "kernels/cuda/attention.cuh"

enum { PER_LANE = 4, PIECE = PER_LANE * CUDA_WARP };

/* What one warp works on; all in shared memory. */
template <typename T> struct piece {
    float *q;         /* [n_classes][head_dim], scaled */
    float *p;         /* [PIECE] */
    float *value;     /* [head_dim], not yet divided */
    const T **values; /* [PIECE] rows of v; NULL = not seen */
};

/* Scores of the lane's keys of a piece; the rows of their values. */
template <typename T>
static __device__ void score_piece(const cuda_attention &a, const cuda_extent &e, const piece<T> &w, int64_t first,
                                   int64_t n, int kv_head, float score[PER_LANE])
{
    for (int i = 0; i < PER_LANE; i++) {
        int at = i * CUDA_WARP + (int)threadIdx.x;
        score[i] = -INFINITY;
        w.values[at] = nullptr;
        if (first + at >= n)
            continue;
        cuda_key key = cuda_attention_key(a, e, first + at);
        const T *k = cuda_row_of<T>(a, key.page->k, key.page->capacity, key.row, kv_head);
        const float *q = w.q + key.cls * a.head_dim;
        float sum = 0;
        for (int d = 0; d < a.head_dim; d++)
            sum = fmaf(q[d], cuda_load(k + d), sum);
        score[i] = sum;
        w.values[at] = cuda_row_of<T>(a, key.page->v, key.page->capacity, key.row, kv_head);
    }
}

/* value = value * shrink + Σ p v over the piece: a lane has every 32nd column. */
template <typename T> static __device__ void add_values(const cuda_attention &a, const piece<T> &w, int n, float shrink)
{
    for (int d = threadIdx.x; d < a.head_dim; d += CUDA_WARP) {
        float sum = w.value[d] * shrink;
        for (int j = 0; j < n; j++)
            sum = fmaf(w.p[j], cuda_load(w.values[j] + d), sum);
        w.value[d] = sum;
    }
}

/* Block (row of all sets, head): one warp. */
template <typename T>
static __global__ void attend_kernel(const __grid_constant__ cuda_attention a, const cuda_attended to)
{
    cuda_carve shared;
    piece<T> w = {shared.take<float>(a.n_classes * a.head_dim), shared.take<float>(PIECE),
                  shared.take<float>(a.head_dim), shared.take<const T *>(PIECE)};
    cuda_extent e;
    int row = blockIdx.x % (int)a.room, head = blockIdx.y, kv_head = head / a.group;
    if (!cuda_attention_extent(a, blockIdx.x / (int)a.room, &e) || row >= e.n_rows)
        return;
    int64_t at = e.first_row + row;
    for (int d = threadIdx.x; d < a.head_dim; d += CUDA_WARP) {
        for (int c = 0; c < a.n_classes; c++)
            w.q[c * a.head_dim + d] = a.scale * cuda_load(cuda_query_of<T>(a, c, at, head) + d);
        w.value[d] = 0;
    }
    int64_t n_own = e.d->own.k && e.own_first + row + 1 > 0 ? e.own_first + row + 1 : 0;
    int64_t n = (int64_t)e.n_prefix + e.n_keys + n_own;
    float highest = -INFINITY, sum = 0;
    for (int64_t first = 0; first < n; first += PIECE) {
        float score[PER_LANE], here = highest;
        __syncwarp();
        score_piece(a, e, w, first, n, kv_head, score);
        for (int i = 0; i < PER_LANE; i++)
            here = fmaxf(here, score[i]);
        here = cuda_warp_max(here);
        float shrink = expf(highest - here);
        sum *= shrink;
        for (int i = 0; i < PER_LANE; i++) {
            float p = score[i] == -INFINITY ? 0.0f : expf(score[i] - here);
            w.p[i * CUDA_WARP + threadIdx.x] = p;
            sum += p;
        }
        highest = here;
        __syncwarp();
        add_values(a, w, n - first < PIECE ? (int)(n - first) : PIECE, shrink);
    }
    sum = cuda_warp_sum(sum);
    for (int d = threadIdx.x; d < a.head_dim; d += CUDA_WARP)
        cuda_attended_store(to, at, (int64_t)head * a.head_dim + d, n > 0 ? w.value[d] / sum : 0.0f);
    if (to.lse && threadIdx.x == 0)
        to.lse[at * to.lse_stride + head] = n > 0 ? highest + logf(sum) : -INFINITY;
}

void cuda_attend(kernels_stream *s, tensor *out, tensor *lse, const kernels_attention *attention)
{
    if (!cuda_begin(s) || !check_attention(s, "attend", out, lse, attention))
        return;
    cuda_attention a = cuda_attention_of(s, attention);
    cuda_attended to = {out->data, out->stride, NULL, 0, out->dtype == KERNELS_BF16};
    a.room = a.room < out->dim[0] ? a.room : out->dim[0];
    if (lse) {
        to.lse = cuda_data<float>(lse);
        to.lse_stride = lse->stride;
        a.room = a.room < lse->dim[0] ? a.room : lse->dim[0];
    }
    if (a.room == 0)
        return;
    if (cuda_attention_in_tiles(attention)) {
        cuda_attend_tiles(s, a, to);
        return;
    }
    cuda_by_dtype(attention->dtype, [&](auto type) {
        typedef decltype(type) T;
        size_t shared = cuda_shared<float>(a.n_classes * a.head_dim) + cuda_shared<float>(PIECE) +
                        cuda_shared<float>(a.head_dim) + cuda_shared<const T *>(PIECE);
        if (cuda_allow_shared(s, "attend", attend_kernel<T>, shared))
            cuda_launch(s, "attend", attend_kernel<T>, dim3((unsigned)(a.n_sets * a.room), (unsigned)a.n_heads),
                        CUDA_WARP, shared, a, to);
    });
}
