/* sample.cu: the next token of one row of logits [v]; reference/sample.c says by which rule, and this gives the same token.
 *
 * Tokens are not sorted. Masses become integers of 44 binary places, whose sums have no rounding and so no order, and the
 * token at which the running mass passes a limit is found digit by digit of (logit, id), as a radix sort would go. Where an
 * integer sum comes so near the limit that the float64 sums of the reference may fall on its other side (one draw in ten
 * million), the kernel says so and sample_host.c draws by the reference itself. */
#include "kernels/cuda/rank.cuh"

enum { THREADS = 1024, SMALL_THREADS = 128, DIGIT_BITS = 11, N_BINS = 1 << DIGIT_BITS, AMBIGUOUS = -1, NO_TOKEN = -2 };

typedef unsigned long long mass;

/* In scratch memory, before the masses. */
struct sample_head {
    float highest;
    int32_t best;
    int32_t pad[2];
};

struct sample_room {
    mass bins[N_BINS];
    mass warps[CUDA_WARP];
    mass before; /* Σ of the tokens before those that the digits so far leave */
    uint32_t digit;
    bool found;
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

/* One block: the first highest. */
static __global__ void __launch_bounds__(THREADS)
    highest_kernel(sample_head *head, const float *logits, int64_t v, int32_t *result, cuda_faults *faults)
{
    cuda_carve carve;
    uint64_t *room = carve.take<uint64_t>(CUDA_WARP), best = 0;
    for (int64_t i = threadIdx.x; i < v; i += blockDim.x)
        best = max(best, (uint64_t)rank_order(sample_logit(logits, i)) << 32 | (uint32_t)~i);
    for (int bits = CUDA_WARP / 2; bits > 0; bits /= 2)
        best = max(best, (uint64_t)__shfl_xor_sync(0xffffffffu, (mass)best, bits));
    if (threadIdx.x % CUDA_WARP == 0)
        room[threadIdx.x / CUDA_WARP] = best;
    __syncthreads();
    if (threadIdx.x > 0)
        return;
    for (unsigned w = 1; w < blockDim.x / CUDA_WARP; w++)
        best = max(best, room[w]);
    head->best = (int32_t) ~(uint32_t)best;
    head->highest = sample_logit(logits, head->best);
    *result = head->highest == -INFINITY ? (int32_t)NO_TOKEN : head->best;
    if (head->highest == -INFINITY)
        cuda_fault_at(faults, CUDA_FAULT_LOGITS, 0, (int32_t)v);
}

static __global__ void mass_kernel(mass *masses, const sample_head *head, const float *logits, int64_t v,
                                   float temperature)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    double highest = (double)head->highest;
    if (i < v && isfinite(head->highest))
        masses[i] = (mass)(exp(((double)sample_logit(logits, i) - highest) / (double)temperature) * 0x1p44 + 0.5);
}

/* ---- drawing ---- */

struct sample_tokens {
    const float *logits;
    const mass *masses;
    int64_t v;
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

/* The first token at which the running mass exceeds the limit. The whole block. */
static __device__ sample_place sample_find(sample_room *room, const sample_tokens &t, mass limit)
{
    uint64_t found = 0;
    const int top = 32 + 2 * DIGIT_BITS;
    mass before = 0;
    for (int high = top; high > 0;) {
        int low = high > DIGIT_BITS ? high - DIGIT_BITS : 0;
        __syncthreads();
        for (int i = threadIdx.x; i < N_BINS; i += blockDim.x)
            room->bins[i] = 0;
        if (threadIdx.x == 0)
            room->found = false;
        __syncthreads();
        for (int64_t i = threadIdx.x; i < t.v; i += blockDim.x) {
            uint64_t key = sample_key(t, i);
            if (t.masses[i] && key >> high == found)
                atomicAdd(&room->bins[(key >> low) - (found << (high - low))], t.masses[i]);
        }
        __syncthreads();
        sample_pick(room, before, limit);
        __syncthreads();
        if (!room->found)
            return {0, 0, false};
        found = found << (high - low) | room->digit;
        before = room->before;
        high = low;
    }
    return {(int64_t)(found & ((1u << 2 * DIGIT_BITS) - 1)), before, true};
}

/* The limit is farther from both ends of the token's mass than sums may err. */
static __device__ __forceinline__ bool sample_sure(const sample_tokens &t, sample_place p, mass limit)
{
    mass error = 2 * (mass)t.v + 4096;
    return p.found && (p.before == 0 || limit > p.before + error) && limit + error < p.before + t.masses[p.id];
}

static __global__ void __launch_bounds__(THREADS)
    draw_kernel(int32_t *result, const sample_head *head, sample_tokens t, float top_p, double u)
{
    cuda_carve carve;
    sample_room *room = carve.take<sample_room>(1);
    mass own = 0, kept;
    if (!isfinite(head->highest))
        return; /* infinity is drawn without looking further */
    for (int64_t i = threadIdx.x; i < t.v; i += blockDim.x)
        own += t.masses[i];
    sample_scan(room, own, &kept);
    bool sure = true;
    if (top_p < 1) { /* the smallest set that reaches top_p: up to the first running mass of that or more */
        mass limit = (mass)((double)top_p * (double)kept);
        sample_place last = sample_find(room, t, limit > 0 ? limit - 1 : 0);
        sure = sample_sure(t, last, limit);
        kept = last.found ? last.before + t.masses[last.id] : kept;
    }
    mass target = (mass)(u * (double)kept);
    sample_place drawn = sample_find(room, t, target);
    if (threadIdx.x == 0)
        *result = sure && sample_sure(t, drawn, target) ? (int32_t)drawn.id : (int32_t)AMBIGUOUS;
}

/* ---- host ---- */

/* Enqueues all of it; the token, AMBIGUOUS or NO_TOKEN comes in the stream's result. */
static void sample_enqueue(kernels_stream *s, const tensor *logits, const tensor *seen, const kernels_sampling *p,
                           double u)
{
    int64_t v = logits->dim[0] * tensor_cols(logits), n_seen = seen ? seen->dim[0] : 0;
    size_t masses = (size_t)v * sizeof(mass), copy = (size_t)v * sizeof(float);
    char *scratch = static_cast<char *>(cuda_scratch_take(s, sizeof(sample_head) + masses + copy));
    if (!scratch)
        return;
    sample_head *head = reinterpret_cast<sample_head *>(scratch);
    sample_tokens t = {cuda_data<float>(logits), reinterpret_cast<mass *>(scratch + sizeof *head), v};
    unsigned threads = v > 4096 ? THREADS : SMALL_THREADS;
    if (n_seen && p->repetition_penalty != 1.0f) {
        float *penalised = reinterpret_cast<float *>(scratch + sizeof *head + masses);
        cuda_ok(s, cudaMemcpyAsync(penalised, logits->data, copy, cudaMemcpyDeviceToDevice, cuda_of(s)->stream),
                "sample");
        cuda_launch(s, "sample", penalty_kernel, cuda_blocks(n_seen, 128), 128, 0, penalised, cuda_data<float>(logits),
                    v, cuda_data<int32_t>(seen), n_seen, p->repetition_penalty);
        t.logits = penalised;
    }
    cuda_launch(s, "sample", highest_kernel, 1, threads, cuda_shared<uint64_t>(CUDA_WARP), head, t.logits, v,
                cuda_of(s)->result, cuda_of(s)->faults);
    if (p->temperature == 0)
        return;
    cuda_launch(s, "sample", mass_kernel, cuda_blocks(v, 256), 256, 0, const_cast<mass *>(t.masses), head, t.logits, v,
                p->temperature);
    cuda_launch(s, "sample", draw_kernel, 1, threads, cuda_shared<sample_room>(1), cuda_of(s)->result, head, t,
                p->top_p, u);
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
