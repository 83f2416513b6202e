/* sample.cu: the next token of one row of logits [v]; reference/sample.c says by which rule, and this gives the same token.
 *
 * Tokens are not sorted. Masses become integers of 44 binary places, whose sums have no rounding and so no order. Each falls
 * into a bin by its logit's distance to the highest; the token at which the running mass passes a limit is in the bin where
 * the bins' running mass does, and among that bin's few tokens it is found digit by digit of (logit, id), as a radix sort
 * would go. Where an integer sum comes so near the limit that the float64 sums of the reference may fall on its other side
 * (one draw in ten million), the kernel says so and sample_host.c draws by the reference itself. */
#include "kernels/cuda/rank.cuh"

enum { THREADS = 1024, SMALL_THREADS = 128, DIGIT_BITS = 11, N_BINS = 1 << DIGIT_BITS, AMBIGUOUS = -1, NO_TOKEN = -2 };
enum { BLOCKS = CUDA_WARP, AT_ONCE = 8, BINS_A_UNIT = 64 /* so 32 units of logit / temperature: masses end at 31.2 */ };

typedef unsigned long long mass;

/* In scratch memory, before the masses. */
struct sample_head {
    float highest;
    int32_t best;
    int32_t pad[2];
    mass parts[BLOCKS]; /* each block's highest, (order of logit, ~id) */
    mass bins[N_BINS];
};

struct sample_room {
    mass bins[N_BINS];
    mass warps[CUDA_WARP];
    mass before; /* Σ of the tokens before those that the digits so far leave */
    uint32_t digit;
    bool found;
    int n;                /* tokens of the list */
    uint32_t least, most; /* rank_order of their logits */
};

/* ---- the highest ---- */

static __global__ void penalty_kernel(float *to, const float *logits, int64_t v, const int32_t *seen, int64_t n_seen,
                                      float penalty)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n_seen || seen[i] < 0 || seen[i] >= v)
        return;
    float l = logits[seen[i]]; /* as it was: an id that is listed twice is penalised once */
    to[seen[i]] = l < 0 ? l * penalty : l / penalty;
}

/* NaN counts as -infinity. */
static __device__ __forceinline__ float sample_logit(const float *logits, int64_t i)
{
    return logits[i] == logits[i] ? logits[i] : -INFINITY;
}

static __device__ __forceinline__ mass sample_warp_max(mass value)
{
#pragma unroll
    for (int bits = CUDA_WARP / 2; bits > 0; bits /= 2)
        value = max(value, __shfl_xor_sync(0xffffffffu, value, bits));
    return value;
}

/* BLOCKS blocks: the first highest of every BLOCKS-th piece of packs of N; AT_ONCE packs of a thread are on their way. */
template <int N>
static __global__ void __launch_bounds__(THREADS / 4) highest_kernel(sample_head *head, const float *logits, int64_t v)
{
    cuda_carve carve;
    mass *room = carve.take<mass>(CUDA_WARP);
    float highest = -INFINITY;
    int64_t best = 0, step = (int64_t)N * BLOCKS * blockDim.x;
    for (int64_t at = (int64_t)N * (blockIdx.x * blockDim.x + threadIdx.x); at < v; at += AT_ONCE * step) {
        float some[AT_ONCE][N];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            if (at + j * step < v)
                cuda_load_pack<N>(some[j], logits + at + j * step);
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
#pragma unroll
            for (int i = 0; i < N; i++)
                if (at + j * step < v && some[j][i] > highest) { /* so NaN counts as -infinity */
                    highest = some[j][i];
                    best = at + j * step + i;
                }
    }
    mass part = sample_warp_max((mass)rank_order(highest) << 32 | (uint32_t)~best);
    if (threadIdx.x % CUDA_WARP == 0)
        room[threadIdx.x / CUDA_WARP] = part;
    __syncthreads();
    if (threadIdx.x >= CUDA_WARP)
        return;
    part = sample_warp_max(threadIdx.x < blockDim.x / CUDA_WARP ? room[threadIdx.x] : 0);
    if (threadIdx.x == 0)
        head->parts[blockIdx.x] = part;
}

/* One block: the highest of the blocks'; empty bins. */
static __global__ void head_kernel(sample_head *head, int64_t v, int32_t *result, cuda_faults *faults)
{
    for (int i = threadIdx.x; i < N_BINS; i += blockDim.x)
        head->bins[i] = 0;
    if (threadIdx.x >= CUDA_WARP)
        return;
    const mass part = sample_warp_max(head->parts[threadIdx.x]);
    const float highest = rank_number((uint32_t)(part >> 32));
    if (threadIdx.x > 0)
        return;
    head->best = (int32_t) ~(uint32_t)part;
    head->highest = highest;
    *result = highest == -INFINITY ? (int32_t)NO_TOKEN : head->best;
    if (highest == -INFINITY)
        cuda_fault_at(faults, CUDA_FAULT_LOGITS, 0, (int32_t)v);
}

/* Rises as logits fall. per_logit: bins a unit of logit. */
static __device__ __forceinline__ int sample_bin(float logit, float highest, float per_logit)
{
    float at = (highest - logit) * per_logit;
    return at < (float)(N_BINS - 1) ? (int)at : N_BINS - 1;
}

static __global__ void mass_kernel(mass *masses, sample_head *head, const float *logits, int64_t v, float temperature,
                                   float per_logit)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    float highest = head->highest;
    if (i >= v || !isfinite(highest))
        return;
    float logit = sample_logit(logits, i);
    mass own = (mass)(exp(((double)logit - (double)highest) / (double)temperature) * 0x1p44 + 0.5);
    masses[i] = own;
    if (own)
        atomicAdd(&head->bins[sample_bin(logit, highest, per_logit)], own);
}

/* ---- drawing ---- */

struct sample_tokens {
    const float *logits;
    const mass *masses;
    int32_t *list; /* [v] ids of the tokens of one bin */
    int64_t v;
    float per_logit;
    int32_t unused; /* whole words: the emulation looks at arguments word by word */
};

/* Rises as tokens come later in the order: higher logits first, then lower ids. */
static __device__ __forceinline__ uint64_t sample_key(const sample_tokens &t, int64_t i)
{
    return (uint64_t)~rank_order(sample_logit(t.logits, i)) << 2 * DIGIT_BITS | (uint64_t)i;
}

/* Exclusive sum over the block. Two barriers. */
static __device__ __forceinline__ mass sample_scan(sample_room *room, mass value, mass *total)
{
    int lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
    mass sum = value;
    for (int by = 1; by < CUDA_WARP; by *= 2) {
        mass other = __shfl_up_sync(0xffffffffu, sum, by);
        sum += lane >= by ? other : 0;
    }
    __syncthreads();
    if (lane == CUDA_WARP - 1)
        room->warps[warp] = sum;
    __syncthreads();
    mass before = 0, all = 0;
    for (int w = 0; w < (int)(blockDim.x / CUDA_WARP); w++) {
        before += w < warp ? room->warps[w] : 0;
        all += room->warps[w];
    }
    *total = all;
    return before + sum - value;
}

/* The bin at which the running mass, `before` before the first, first exceeds the limit: into room->digit and ->before. */
static __device__ __forceinline__ void sample_pick(sample_room *room, mass before, mass limit)
{
    int each = N_BINS / (int)blockDim.x;
    mass own = 0, total;
    for (int i = 0; i < each; i++)
        own += room->bins[threadIdx.x * each + i];
    mass running = before + sample_scan(room, own, &total);
    if (running > limit || running + own <= limit)
        return; /* another thread's */
    for (int i = 0; i < each; i++) {
        mass here = room->bins[threadIdx.x * each + i];
        if (running + here > limit) {
            room->digit = threadIdx.x * each + i;
            room->before = running;
            room->found = true;
            return;
        }
        running += here;
    }
}

/* A token and the running mass before it. */
struct sample_place {
    int64_t id;
    mass before;
    bool found;
};

/* Lists the tokens of a bin that have a mass, in any order: what is made of them are sums of integers. The whole block. */
static __device__ int sample_list(sample_room *room, const sample_head *head, const sample_tokens &t, int bin)
{
    if (threadIdx.x == 0) {
        room->n = 0;
        room->least = 0xffffffffu;
        room->most = 0;
    }
    __syncthreads();
    const float highest = head->highest;
    const int v = (int)t.v, step = (int)blockDim.x;
    for (int at = threadIdx.x; at < v; at += AT_ONCE * step) {
        float some[AT_ONCE]; /* the last again where there is none: a read that is not asked about can go ahead */
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            some[j] = t.logits[min(at + j * step, v - 1)];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            const int i = at + j * step;
            const float logit = some[j] == some[j] ? some[j] : -INFINITY;
            if (i >= v || sample_bin(logit, highest, t.per_logit) != bin || t.masses[i] == 0)
                continue;
            t.list[atomicAdd(&room->n, 1)] = i;
            atomicMin(&room->least, ~rank_order(logit));
            atomicMax(&room->most, ~rank_order(logit));
        }
    }
    __syncthreads();
    return room->n;
}

/* Σ of the masses of the listed tokens whose key begins with `found`, by the digit that follows it. The whole block. */
static __device__ void sample_count(sample_room *room, const sample_tokens &t, int n, uint64_t found, int high, int low)
{
    for (int i = threadIdx.x; i < N_BINS; i += blockDim.x)
        room->bins[i] = 0;
    if (threadIdx.x == 0)
        room->found = false;
    __syncthreads();
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        uint64_t key = sample_key(t, t.list[j]);
        if (key >> high == found)
            atomicAdd(&room->bins[(key >> low) - (found << (high - low))], t.masses[t.list[j]]);
    }
    __syncthreads();
}

/* The first token at which the running mass exceeds the limit. The whole block. */
static __device__ sample_place sample_find(sample_room *room, const sample_head *head, const sample_tokens &t,
                                           mass limit)
{
    __syncthreads();
    for (int i = threadIdx.x; i < N_BINS; i += blockDim.x)
        room->bins[i] = head->bins[i];
    if (threadIdx.x == 0)
        room->found = false;
    __syncthreads();
    sample_pick(room, 0, limit);
    __syncthreads();
    if (!room->found)
        return {0, 0, false};
    mass before = room->before;
    const int n = sample_list(room, head, t, (int)room->digit);
    /* The digits that all of the bin have in common need no count. */
    int high = 2 * DIGIT_BITS + (room->least == room->most ? 0 : 32 - __clz((int)(room->least ^ room->most)));
    uint64_t found = (uint64_t)room->least << 2 * DIGIT_BITS >> high;
    while (high > 0) {
        const int low = high > DIGIT_BITS ? high - DIGIT_BITS : 0;
        sample_count(room, t, n, found, high, low);
        sample_pick(room, before, limit);
        __syncthreads();
        if (!room->found)
            return {0, 0, false};
        found = found << (high - low) | room->digit;
        before = room->before;
        high = low;
        __syncthreads();
    }
    return {(int64_t)(found & ((1u << 2 * DIGIT_BITS) - 1)), before, true};
}

/* The limit is farther from both ends of the token's mass than sums may err. */
static __device__ __forceinline__ bool sample_sure(const sample_tokens &t, sample_place p, mass limit)
{
    mass error = 2 * (mass)t.v + 4096;
    return p.found && (p.before == 0 || limit > p.before + error) && limit + error < p.before + t.masses[p.id];
}

static __global__ void __launch_bounds__(THREADS, 1)
    draw_kernel(int32_t *result, const sample_head *head, sample_tokens t, float top_p, double u)
{
    cuda_carve carve;
    sample_room *room = carve.take<sample_room>(1);
    mass own = 0, kept;
    if (!isfinite(head->highest))
        return; /* infinity is drawn without looking further */
    for (int i = threadIdx.x; i < N_BINS; i += blockDim.x)
        own += head->bins[i];
    sample_scan(room, own, &kept);
    bool sure = true;
    if (top_p < 1) { /* the smallest set that reaches top_p: up to the first running mass of that or more */
        mass limit = (mass)((double)top_p * (double)kept);
        sample_place last = sample_find(room, head, t, limit > 0 ? limit - 1 : 0);
        sure = sample_sure(t, last, limit);
        kept = last.found ? last.before + t.masses[last.id] : kept;
    }
    mass target = (mass)(u * (double)kept);
    sample_place drawn = sample_find(room, head, t, target);
    if (threadIdx.x == 0)
        *result = sure && sample_sure(t, drawn, target) ? (int32_t)drawn.id : (int32_t)AMBIGUOUS;
}

/* ---- host ---- */

/* What there is in scratch memory for v tokens. */
struct sample_scratch {
    sample_head *head;
    mass *masses;
    float *penalised;
    int32_t *list;
};

static bool sample_take(kernels_stream *s, sample_scratch *to, int64_t v)
{
    size_t n = ((size_t)v + 3) / 4 * 4; /* so that each begins at a multiple of 16 bytes */
    char *at = static_cast<char *>(
        cuda_scratch_take(s, sizeof(sample_head) + n * (sizeof(mass) + sizeof(float) + sizeof(int32_t))));
    if (!at)
        return false;
    to->head = reinterpret_cast<sample_head *>(at);
    to->masses = reinterpret_cast<mass *>(to->head + 1);
    to->penalised = reinterpret_cast<float *>(to->masses + n);
    to->list = reinterpret_cast<int32_t *>(to->penalised + n);
    return true;
}

/* Enqueues all of it; the token, AMBIGUOUS or NO_TOKEN comes in the stream's result. */
static void sample_enqueue(kernels_stream *s, const tensor *logits, const tensor *seen, const kernels_sampling *p,
                           double u)
{
    int64_t v = logits->dim[0] * tensor_cols(logits), n_seen = seen ? seen->dim[0] : 0;
    sample_scratch at;
    if (!sample_take(s, &at, v))
        return;
    float per_logit = p->temperature > 0 ? (float)BINS_A_UNIT / p->temperature : 0.0f;
    sample_tokens t = {cuda_data<float>(logits), at.masses, at.list, v, per_logit, 0};
    unsigned threads = v > 4096 ? THREADS : SMALL_THREADS;
    if (n_seen && p->repetition_penalty != 1.0f) {
        cuda_ok(s,
                cudaMemcpyAsync(at.penalised, logits->data, (size_t)v * sizeof(float), cudaMemcpyDeviceToDevice,
                                cuda_of(s)->stream),
                "sample");
        cuda_launch(s, "sample", penalty_kernel, cuda_blocks(n_seen, 128), 128, 0, at.penalised,
                    cuda_data<float>(logits), v, cuda_data<int32_t>(seen), n_seen, p->repetition_penalty);
        t.logits = at.penalised;
    }
    cuda_launch(s, "sample", cuda_at_pack(t.logits) && v % 4 == 0 ? highest_kernel<4> : highest_kernel<1>, BLOCKS,
                threads / 4, cuda_shared<mass>(CUDA_WARP), at.head, t.logits, v);
    cuda_launch(s, "sample", head_kernel, 1, 256, 0, at.head, v, cuda_of(s)->result, cuda_of(s)->faults);
    if (p->temperature == 0)
        return;
    cuda_launch(s, "sample", mass_kernel, cuda_blocks(v, 256), 256, 0, at.masses, at.head, t.logits, v, p->temperature,
                per_logit);
    cuda_launch(s, "sample", draw_kernel, 1, threads, cuda_shared<sample_room>(1), cuda_of(s)->result,
                (const sample_head *)at.head, t, p->top_p, u);
}

void cuda_sample(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen, const kernels_sampling *p,
                 double u)
{
    const int64_t most = (int64_t)1 << 2 * DIGIT_BITS; /* ids that a key has room for */
    if (!cuda_begin(s) || !check_sample(s, logits, seen, p, u))
        return;
    bool fits = logits->dim[0] * tensor_cols(logits) <= most;
    if (fits) {
        *cuda_of(s)->result = AMBIGUOUS;
        sample_enqueue(s, logits, seen, p, u);
        if (!cuda_wait(s))
            return;
        *out = *cuda_of(s)->result;
    }
    if (!fits || *out == AMBIGUOUS)
        cuda_sample_on_host(s, out, logits, seen, p, u);
}
