/* select.cu: who leaves after a layer (docs/semantics.md, section 5), in one block.
 * Without the diversity term: the k tokens of lowest S. With it: of the min(2 k, n) tokens of lowest S the k with the lowest
 * S + λ |c_max - c| / C, the term in float64, cast to float32, added in float32. Ties: the earlier leaves first. A NaN
 * counts as higher than every number. */
#include "kernels/cuda/rank.cuh"

struct selection {
    const kernels_descriptor *d;
    int64_t room;       /* n_score is at most that */
    uint32_t *value;    /* [room], with: */
    uint8_t *candidate; /* [room]; both are used with the diversity term, where a block's registers do not hold all */
    cuda_faults *faults;
};

enum { TERMS = 1024, AT_ONCE = 4 };

/* c of the first token with the highest S; n > 0. The whole block. */
template <typename F>
static __device__ __forceinline__ int32_t segment_of_highest(rank_room *room, rank_part *part, const selection &a,
                                                             int n, F value_of)
{
    const bool leads = threadIdx.x % CUDA_WARP == 0;
    uint32_t highest = 0;
    int place = n;
    if (threadIdx.x == 0) {
        room->highest = 0;
        room->place = n;
    }
    __syncthreads();
    for (int start = 0; start < n; start += rank_whole()) {
        if (n > rank_whole())
            *part = rank_read(n, start, value_of);
#pragma unroll
        for (int j = 0; j < RANK_EACH; j++)
            if (part->in >> j & 1 && (place == n || part->value[j] > highest)) {
                highest = part->value[j];
                place = part->first + j;
            }
    }
    const uint32_t of_warp = __reduce_max_sync(0xffffffffu, highest);
    if (leads)
        atomicMax(&room->highest, of_warp);
    __syncthreads();
    const int first = __reduce_min_sync(0xffffffffu, highest == room->highest ? place : n);
    if (leads)
        atomicMin(&room->place, first);
    __syncthreads();
    return a.d->scored[room->place].segment;
}

/* λ distance / C. */
static __device__ __forceinline__ float term_of(const kernels_descriptor *d, uint32_t distance)
{
    return (float)(d->lambda * (double)distance / (double)d->c_last);
}

/* Leaves the 2 k of lowest S in the parts, with the diversity term added. terms: [TERMS] in shared memory, since a few
 * segments have all the tokens, and float64 is slow on many GPUs. The whole block. */
template <typename F>
static __device__ __forceinline__ void add_diversity(rank_room *room, float *terms, rank_part *part, const selection &a,
                                                     int n, int k, F value_of)
{
    const kernels_descriptor *d = a.d;
    const kernels_key *scored = d->scored;
    for (int i = threadIdx.x; i < TERMS && i <= d->c_last; i += (int)blockDim.x)
        terms[i] = term_of(d, (uint32_t)i);
    const int32_t c_max = segment_of_highest(room, part, a, n, value_of);
    const uint32_t n_terms = d->c_last < 0 ? 0 : d->c_last < TERMS ? (uint32_t)d->c_last + 1 : (uint32_t)TERMS;
    rank_cut cut = rank_find(room, part, n, 2 * (int64_t)k < n ? 2 * k : n, value_of);
    rank_walk(room, part, n, cut, value_of, [&](rank_part &at, unsigned leaves, int) {
        at.in = leaves;
#pragma unroll
        for (int j = 0; j < RANK_EACH; j++) {
            if (!(leaves >> j & 1))
                continue;
            const int32_t c = scored[at.first + j].segment;
            const uint32_t distance = c < c_max ? (uint32_t)c_max - (uint32_t)c : (uint32_t)c - (uint32_t)c_max;
            const float term = distance < n_terms ? terms[distance] : term_of(d, distance);
            at.value[j] = rank_order(rank_number(at.value[j]) + term);
        }
        for (int j = 0; n > rank_whole() && j < at.n; j++)
            a.candidate[at.first + j] = leaves >> j & 1;
#pragma unroll
        for (int j = 0; j < RANK_EACH; j++)
            if (n > rank_whole() && leaves >> j & 1)
                a.value[at.first + j] = at.value[j];
    });
    __syncthreads();
}

/* Stores a part's survivors, whose first has the given number. Reads AT_ONCE of them before it stores the first. */
static __device__ __forceinline__ void store_survivors(const kernels_descriptor *d, const rank_part &part,
                                                       unsigned leaves, int number)
{
    const kernels_key *scored = d->scored;
    kernels_key *keys_out = d->keys_out;
    int32_t *kept = d->kept;
    for (int first = 0; first < part.n; first += AT_ONCE) {
        kernels_key some[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            if (keys_out && first + j < part.n)
                some[j] = scored[part.first + first + j];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            if (first + j >= part.n || leaves >> (first + j) & 1)
                continue;
            if (keys_out)
                keys_out[number] = some[j];
            if (kept)
                kept[number] = part.first + first + j;
            number++;
        }
    }
}

static __global__ void __launch_bounds__(RANK_MANY) select_kernel(const selection a)
{
    cuda_carve shared;
    rank_room *room = shared.take<rank_room>(1);
    float *terms = shared.take<float>(TERMS);
    const int n = a.d->n_score, k = a.d->k_leave;
    if (n < 0 || k < 0 || k > n || n > a.room) {
        cuda_fault_at(a.faults, CUDA_FAULT_SELECT, n, k);
        return;
    }
    const float *S = a.d->S;
    bool diverse = false;
    auto value_of = [&](int i, uint32_t *value) {
        *value = diverse ? a.value[i] : rank_order(S[i]);
        return !diverse || a.candidate[i];
    };
    rank_part part = rank_read(n, 0, value_of);
    if (a.d->tds && a.d->c_last != 0 && k > 0) {
        add_diversity(room, terms, &part, a, n, k, value_of);
        diverse = true;
    }
    rank_cut cut = {0, 0};
    if (k > 0)
        cut = rank_find(room, &part, n, k, value_of);
    rank_walk(room, &part, n, cut, value_of,
              [&](const rank_part &at, unsigned leaves, int number) { store_survivors(a.d, at, leaves, number); });
}

void cuda_select(kernels_stream *s, const kernels_descriptor *d, int64_t max_keys)
{
    if (!cuda_begin(s) || max_keys <= 0)
        return;
    const unsigned threads = rank_threads(max_keys);
    selection a = {d, max_keys, NULL, NULL, cuda_of(s)->faults};
    if (max_keys > (int64_t)threads * RANK_EACH) {
        size_t n = (size_t)max_keys, values = cuda_aligned(n * sizeof(uint32_t));
        a.value = static_cast<uint32_t *>(cuda_scratch_take(s, values + n));
        if (!a.value)
            return;
        a.candidate = reinterpret_cast<uint8_t *>(a.value) + values;
    }
    cuda_launch(s, "select", select_kernel, 1, threads, cuda_shared<rank_room>(1) + cuda_shared<float>(TERMS), a);
}
