/* few.c: see few.h. A panel of FEW_WIDTH columns is one thread's work: blocks of FEW_DEPTH of its k stay in the first-level
 * cache while tiles of up to FEW_TILE rows of x meet them; each tile asks for its share of the next block. */
#include "kernels/cpu/cpu_math.h"
#include "kernels/cpu/few.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

enum {
    FEW_TILE = 6,   /* rows: 24 sums, 4 weights and a number of x fill the 32 registers */
    FEW_DEPTH = 96, /* of a block: 24 KiB of weights */
    FEW_LANES = 16,
    FEW_VECTORS = FEW_WIDTH / FEW_LANES,
    FEW_MAX_TILES = (FEW_ROWS + FEW_TILE - 1) / FEW_TILE
};

#define FEW_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

typedef float few_vec __attribute__((vector_size(64)));

bool few_usable(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* sums [rows][FEW_WIDTH] += x [depth][rows] · w [depth][FEW_WIDTH]; lines: cache lines at `ahead` to ask for a step. */
CPU_TILE FEW_TARGET void few_tile(const int rows, const int lines, float *sums, const float *x, const float *w,
                                  int64_t depth, const float *ahead)
{
    few_vec acc[FEW_TILE][FEW_VECTORS];
    CPU_UNROLL
    for (int r = 0; r < rows; r++) {
        CPU_UNROLL
        for (int v = 0; v < FEW_VECTORS; v++)
            acc[r][v] = *(const few_vec *)(sums + r * FEW_WIDTH + v * FEW_LANES);
    }
    for (int64_t d = 0; d < depth; d++) {
        few_vec col[FEW_VECTORS];
        CPU_UNROLL
        for (int v = 0; v < FEW_VECTORS; v++)
            col[v] = *(const few_vec *)(w + d * FEW_WIDTH + v * FEW_LANES);
        CPU_UNROLL
        for (int l = 0; l < lines; l++)
            _mm_prefetch((const char *)(ahead + (l * depth + d) * FEW_LANES), _MM_HINT_T1);
        CPU_UNROLL
        for (int r = 0; r < rows; r++) {
            few_vec a = (few_vec)_mm512_set1_ps(x[d * rows + r]);
            CPU_UNROLL
            for (int v = 0; v < FEW_VECTORS; v++)
                acc[r][v] += a * col[v];
        }
    }
    CPU_UNROLL
    for (int r = 0; r < rows; r++) {
        CPU_UNROLL
        for (int v = 0; v < FEW_VECTORS; v++)
            *(few_vec *)(sums + r * FEW_WIDTH + v * FEW_LANES) = acc[r][v];
    }
}

#define FEW_CASE(rows)                                                                                                 \
    static FEW_TARGET void few_tile_##rows(int lines, float *sums, const float *x, const float *w, int64_t depth,      \
                                           const float *ahead)                                                         \
    {                                                                                                                  \
        if (lines == 4)                                                                                                \
            few_tile(rows, 4, sums, x, w, depth, ahead);                                                               \
        else if (lines == 2)                                                                                           \
            few_tile(rows, 2, sums, x, w, depth, ahead);                                                               \
        else if (lines == 1)                                                                                           \
            few_tile(rows, 1, sums, x, w, depth, ahead);                                                               \
        else                                                                                                           \
            few_tile(rows, 0, sums, x, w, depth, ahead);                                                               \
    }
FEW_CASE(1)
FEW_CASE(2)
FEW_CASE(3)
FEW_CASE(4)
FEW_CASE(5)
FEW_CASE(6)

typedef void few_function(int lines, float *sums, const float *x, const float *w, int64_t depth, const float *ahead);
static few_function *const few_tiles[FEW_TILE + 1] = {NULL,       few_tile_1, few_tile_2, few_tile_3,
                                                      few_tile_4, few_tile_5, few_tile_6};

/* x cut into n tiles as even as can be: rows first[t] .. first[t + 1] - 1. */
typedef struct {
    int n, first[FEW_MAX_TILES + 1];
} few_cut;

static few_cut few_cut_rows(int m)
{
    few_cut cut = {.n = (m + FEW_TILE - 1) / FEW_TILE};
    for (int t = 0; t <= cut.n; t++)
        cut.first[t] = m * t / cut.n;
    return cut;
}

/* Tile t of x as [k_rounded][rows], zeros past k. */
static void few_pack(float *to, const tensor *x, const few_cut *cut, int t, int64_t k, int64_t k_rounded)
{
    int rows = cut->first[t + 1] - cut->first[t];
    float *tile = to + cut->first[t] * k_rounded;
    for (int r = 0; r < rows; r++) {
        const float *from = tensor_row(x, cut->first[t] + r);
        for (int64_t d = 0; d < k; d++)
            tile[d * rows + r] = from[d];
    }
    memset(tile + k * rows, 0, (size_t)((k_rounded - k) * rows) * sizeof *tile);
}

/* One panel: sums [m][FEW_WIDTH]. */
static void few_panel(float *sums, const float *x, const float *w, const few_cut *cut, int64_t k_rounded)
{
    /* The next block has 4 lines a step; t tiles share them: 1 each for four tiles, 2 each for two, or 4. */
    int lines = cut->n >= 4 ? 1 : cut->n >= 2 ? 2 : 4, sharing = FEW_VECTORS / lines;
    for (int64_t first = 0; first < k_rounded; first += FEW_DEPTH) {
        int64_t depth = k_rounded - first < FEW_DEPTH ? k_rounded - first : FEW_DEPTH;
        const float *block = w + first * FEW_WIDTH, *next = block + depth * FEW_WIDTH;
        for (int t = 0; t < cut->n; t++) {
            int rows = cut->first[t + 1] - cut->first[t];
            few_tiles[rows](t < sharing ? lines : 0, sums + cut->first[t] * FEW_WIDTH,
                            x + cut->first[t] * k_rounded + first * rows, block, depth,
                            next + t * depth * lines * FEW_LANES);
        }
    }
}

static void few_write(const tensor *y, const float *sums, const float *bias, int64_t first, int n, bool add)
{
    for (int64_t i = 0; i < y->dim[0]; i++) {
        float *to = (float *)tensor_row(y, i) + first;
        const float *sum = sums + i * FEW_WIDTH;
        if (add)
            for (int j = 0; j < n; j++)
                to[j] += sum[j] + bias[first + j];
        else
            for (int j = 0; j < n; j++)
                to[j] = sum[j] + bias[first + j];
    }
}

void few_linear(kernels_stream *s, const tensor *y, const tensor *x, const float *packed, const float *bias, int64_t n,
                int64_t k, int64_t k_rounded, bool add)
{
    int m = (int)x->dim[0];
    few_cut cut = few_cut_rows(m);
    int n_threads = cpu_threads(s, n * k / 32 * (m < 8 ? 8 : m)); /* one row waits for memory, thirty do not */
    float *rows = cpu_scratch(s, (size_t)m * (size_t)k_rounded * sizeof *rows);
    float *work = cpu_scratch(s, (size_t)n_threads * FEW_ROWS * FEW_WIDTH * sizeof *work);
    if (!rows || !work)
        return;
    int64_t n_panels = (n + FEW_WIDTH - 1) / FEW_WIDTH;
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
#pragma omp for
        for (int t = 0; t < cut.n; t++)
            few_pack(rows, x, &cut, t, k, k_rounded);
#pragma omp for schedule(dynamic)
        for (int64_t p = 0; p < n_panels; p++) {
            float *sums = work + (size_t)cpu_thread() * FEW_ROWS * FEW_WIDTH;
            memset(sums, 0, (size_t)m * FEW_WIDTH * sizeof *sums);
            few_panel(sums, rows, packed + p * k_rounded * FEW_WIDTH, &cut, k_rounded);
            int64_t left = n - p * FEW_WIDTH;
            few_write(y, sums, bias, p * FEW_WIDTH, left < FEW_WIDTH ? (int)left : FEW_WIDTH, add);
        }
    }
}

#else

bool few_usable(void)
{
    return false;
}

void few_linear(kernels_stream *s, const tensor *y, const tensor *x, const float *packed, const float *bias, int64_t n,
                int64_t k, int64_t k_rounded, bool add)
{
    (void)y, (void)x, (void)packed, (void)bias, (void)n, (void)k, (void)k_rounded, (void)add;
    kernels_stream_fail(s, OMNID_UNSUPPORTED, "products of few rows: this processor has no AVX-512");
}

#endif
