/* few.c: see few.h. A panel of FEW_WIDTH columns is one thread's work: blocks of its k stay in the first-level cache while
 * tiles of up to FEW_TILE rows of x meet them; each tile asks for its share of the next block. */
#include "kernels/cpu/few.h"

#include <string.h>

#include "kernels/cpu/cpu_math.h"
#include "kernels/int8.h"

enum {
    FEW_DEPTH = 96,      /* of a block: 24 KiB of weights */
    FEW_INT8_DEPTH = 64, /* of a block that becomes 16 KiB of float32; a part of a group */
    FEW_DIRECT = 2,      /* tiles; more are better off with a block in float32 */
    FEW_MAX_TILES = (FEW_ROWS + FEW_TILE - 1) / FEW_TILE
};
_Static_assert(KERNELS_INT8_GROUP % FEW_INT8_DEPTH == 0, "a block has one scale a column");

/* Of one thread. */
typedef struct {
    float sums[FEW_ROWS * FEW_WIDTH], block[FEW_INT8_DEPTH * FEW_WIDTH];
} few_work;

bool few_usable(void)
{
    return few_choose()->prefetch;
}

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
        const void *from = tensor_row(x, cut->first[t] + r);
        if (x->dtype == KERNELS_BF16)
            for (int64_t d = 0; d < k; d++)
                tile[d * rows + r] = cpu_load(from, true, d);
        else
            for (int64_t d = 0; d < k; d++)
                tile[d * rows + r] = cpu_load(from, false, d);
    }
    memset(tile + k * rows, 0, (size_t)((k_rounded - k) * rows) * sizeof *tile);
}

/* One panel: sums [m][FEW_WIDTH]. */
static void few_panel(const few_isa *isa, float *sums, const float *x, const float *w, const few_cut *cut,
                      int64_t k_rounded)
{
    enum { LINE = 16, LINES = FEW_WIDTH / LINE };
    /* The next block has 4 lines a step; t tiles share them: 1 each for four tiles, 2 each for two, or 4. */
    int lines = cut->n >= 4 ? 1 : cut->n >= 2 ? 2 : 4, sharing = LINES / lines;
    for (int64_t first = 0; first < k_rounded; first += FEW_DEPTH) {
        int64_t depth = k_rounded - first < FEW_DEPTH ? k_rounded - first : FEW_DEPTH;
        const float *block = w + first * FEW_WIDTH, *next = block + depth * FEW_WIDTH;
        for (int t = 0; t < cut->n; t++) {
            int rows = cut->first[t + 1] - cut->first[t];
            isa->tile[rows](t < sharing ? lines : 0, sums + cut->first[t] * FEW_WIDTH,
                            x + cut->first[t] * k_rounded + first * rows, block, depth,
                            next + t * depth * lines * LINE);
        }
    }
}

/* For one tile of rows or two: each takes the numbers of the weight as they are. */
static void few_int8_direct(const few_isa *isa, float *sums, const float *x, const int8_t *q, const uint16_t *scale,
                            const few_cut *cut, int64_t k)
{
    for (int64_t first = 0; first < k; first += KERNELS_INT8_GROUP) {
        int64_t depth = k - first < KERNELS_INT8_GROUP ? k - first : KERNELS_INT8_GROUP;
        for (int t = 0; t < cut->n; t++) {
            int rows = cut->first[t + 1] - cut->first[t];
            isa->int8_tile[rows](sums + cut->first[t] * FEW_WIDTH, x + cut->first[t] * k + first * rows,
                                 q + first * FEW_WIDTH, scale + first / KERNELS_INT8_GROUP * FEW_WIDTH, depth);
        }
    }
}

/* For more: a block becomes float32 once. */
static void few_int8_panel(const few_isa *isa, few_work *work, const float *x, const int8_t *q, const uint16_t *scale,
                           const few_cut *cut, int64_t k)
{
    for (int64_t first = 0; first < k; first += FEW_INT8_DEPTH) {
        int64_t depth = k - first < FEW_INT8_DEPTH ? k - first : FEW_INT8_DEPTH;
        isa->widen(work->block, q + first * FEW_WIDTH, scale + first / KERNELS_INT8_GROUP * FEW_WIDTH, depth);
        for (int t = 0; t < cut->n; t++) {
            int rows = cut->first[t + 1] - cut->first[t];
            isa->tile[rows](0, work->sums + cut->first[t] * FEW_WIDTH, x + cut->first[t] * k + first * rows,
                            work->block, depth, work->block);
        }
    }
}

/* n numbers of a row: to = activation(sum + bias) (+ to when add). */
CPU_CLONES static void few_write(float *restrict to, const float *restrict sum, const float *restrict bias, int n,
                                 bool gelu, bool add)
{
    for (int j = 0; j < n; j++) {
        float value = sum[j] + bias[j];
        value = gelu ? cpu_gelu(value) : value;
        to[j] = add ? to[j] + value : value;
    }
}

static void few_one(const few_isa *isa, few_work *work, const tensor *y, const float *rows, const few_weight *w,
                    const few_cut *cut, int64_t p, bool gelu, bool add)
{
    int64_t first = p * FEW_WIDTH, at = first * w->k_rounded, m = y->dim[0];
    int n = w->n - first < FEW_WIDTH ? (int)(w->n - first) : FEW_WIDTH;
    memset(work->sums, 0, (size_t)m * FEW_WIDTH * sizeof *work->sums);
    if (w->packed)
        few_panel(isa, work->sums, rows, w->packed + at, cut, w->k_rounded);
    else if (cut->n <= FEW_DIRECT)
        few_int8_direct(isa, work->sums, rows, w->q + at, w->scale + first * int8_groups(w->k), cut, w->k_rounded);
    else
        few_int8_panel(isa, work, rows, w->q + at, w->scale + first * int8_groups(w->k), cut, w->k_rounded);
    for (int64_t i = 0; i < m; i++)
        few_write((float *)tensor_row(y, i) + first, work->sums + i * FEW_WIDTH, w->bias + first, n, gelu, add);
}

/* At most FEW_ROWS rows. */
static void few_some(const few_isa *isa, kernels_stream *s, const tensor *y, const tensor *x, const few_weight *w,
                     float *rows, few_work *work, bool gelu, bool add)
{
    int m = (int)x->dim[0];
    few_cut cut = few_cut_rows(m);
    int n_threads = cpu_threads(s, w->n * w->k / 32 * (m < 8 ? 8 : m)); /* one row waits for memory, thirty do not */
    int64_t n_panels = (w->n + FEW_WIDTH - 1) / FEW_WIDTH;
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
#pragma omp for
        for (int t = 0; t < cut.n; t++)
            few_pack(rows, x, &cut, t, w->k, w->k_rounded);
#pragma omp for schedule(dynamic)
        for (int64_t p = 0; p < n_panels; p++)
            few_one(isa, work + cpu_thread(), y, rows, w, &cut, p, gelu, add);
    }
}

void few_linear_by(const few_isa *isa, kernels_stream *s, const tensor *y, const tensor *x, const few_weight *w,
                   kernels_activation activation, bool add)
{
    int64_t m = x->dim[0], n_times = (m + FEW_ROWS - 1) / FEW_ROWS, at_once = (m + n_times - 1) / n_times;
    int n_threads = cpu_threads(s, INT64_MAX);
    float *rows = cpu_scratch(s, (size_t)at_once * (size_t)w->k_rounded * sizeof *rows);
    few_work *work = cpu_scratch(s, (size_t)n_threads * sizeof *work);
    if (!rows || !work)
        return;
    for (int64_t first = 0; first < m; first += at_once) {
        int64_t n = m - first < at_once ? m - first : at_once;
        tensor some_y = tensor_rows(y, first, n), some_x = tensor_rows(x, first, n);
        few_some(isa, s, &some_y, &some_x, w, rows, work, activation == KERNELS_GELU, add);
    }
}

void few_linear(kernels_stream *s, const tensor *y, const tensor *x, const few_weight *w, kernels_activation activation,
                bool add)
{
    few_linear_by(few_choose(), s, y, x, w, activation, add);
}
