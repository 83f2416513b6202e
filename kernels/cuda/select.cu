/* select.cu: who leaves after a layer (docs/semantics.md, section 5), in one block.
 * Without the diversity term: the k tokens of lowest S. With it: of the min(2 k, n) tokens of lowest S the k with the lowest
 * S + λ |c_max - c| / C, the term in float64, cast to float32, added in float32. Ties: the earlier leaves first. A NaN
 * counts as higher than every number. */
#include "kernels/cuda/rank.cuh"

struct selection {
    const kernels_descriptor *d;
    int64_t room;       /* n_score is at most that */
    uint32_t *value;    /* [room], with: */
    uint8_t *candidate; /* [room]; value and candidate are used with the diversity term only */
    cuda_faults *faults;
};

/* c of the first token with the highest S; n > 0. The whole block. */
static __device__ int32_t segment_of_highest(rank_room *room, const selection &a, int n)
{
    const float *S = a.d->S;
    if (threadIdx.x == 0) {
        room->highest = 0;
        room->place = n;
    }
    __syncthreads();
    uint32_t highest = 0;
    for (int i = threadIdx.x; i < n; i += RANK_THREADS)
        highest = max(highest, rank_order(S[i]));
    atomicMax(&room->highest, highest);
    __syncthreads();
    highest = room->highest;
    for (int i = threadIdx.x; i < n; i += RANK_THREADS)
        if (rank_order(S[i]) == highest) {
            atomicMin(&room->place, i);
            break; /* the thread's first is its earliest */
        }
    __syncthreads();
    return a.d->scored[room->place].segment;
}

/* Fills value and candidate: S with the diversity term for the 2 k lowest. The whole block. */
static __device__ void add_diversity(rank_room *room, const selection &a, int n, int k)
{
    const float *S = a.d->S;
    const kernels_key *scored = a.d->scored;
    auto by_S = [&](int i, uint32_t *value) {
        *value = rank_order(S[i]);
        return true;
    };
    int32_t c_max = segment_of_highest(room, a, n);
    rank_cut cut = rank_find(room, n, 2 * (int64_t)k < n ? 2 * k : n, by_S);
    const double lambda = a.d->lambda, last = a.d->c_last;
    rank_walk(room, n, cut, by_S, [&](int i, int stays) {
        a.candidate[i] = stays < 0;
        if (stays >= 0)
            return;
        float term = (float)(lambda * fabs((double)c_max - scored[i].segment) / last);
        a.value[i] = rank_order(S[i] + term);
    });
    __syncthreads();
}

static __global__ void __launch_bounds__(RANK_THREADS) select_kernel(const selection a)
{
    cuda_carve shared;
    rank_room *room = shared.take<rank_room>(1);
    const int n = a.d->n_score, k = a.d->k_leave;
    if (n < 0 || k < 0 || k > n || n > a.room) {
        cuda_fault_at(a.faults, CUDA_FAULT_SELECT, n, k);
        return;
    }
    const float *S = a.d->S;
    const kernels_key *scored = a.d->scored;
    kernels_key *keys_out = a.d->keys_out;
    int32_t *kept = a.d->kept;
    const bool diverse = a.d->tds && a.d->c_last != 0 && k > 0;
    if (diverse)
        add_diversity(room, a, n, k);
    auto value_of = [&](int i, uint32_t *value) {
        *value = diverse ? a.value[i] : rank_order(S[i]);
        return !diverse || a.candidate[i];
    };
    rank_cut cut = {0, 0};
    if (k > 0)
        cut = rank_find(room, n, k, value_of);
    rank_walk(room, n, cut, value_of, [&](int i, int to) {
        if (to < 0)
            return;
        if (keys_out)
            keys_out[to] = scored[i];
        if (kept)
            kept[to] = i;
    });
}

void cuda_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys)
{
    if (!cuda_begin(s) || max_keys <= 0)
        return;
    size_t n = (size_t)max_keys, values = (n * sizeof(uint32_t) + CUDA_ALIGN - 1) / CUDA_ALIGN * CUDA_ALIGN;
    char *scratch = static_cast<char *>(cuda_scratch_take(s, values + n));
    if (!scratch)
        return;
    selection a = {d, max_keys, reinterpret_cast<uint32_t *>(scratch), reinterpret_cast<uint8_t *>(scratch + values),
                   cuda_of(s)->faults};
    cuda_launch(s, "select", select_kernel, 1, RANK_THREADS, cuda_shared<rank_room>(1), a);
}
