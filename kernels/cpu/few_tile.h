/* few_tile.h: private to kernels/cpu: the inner loops of few.c, one set for each instruction set. */
#ifndef OMNID_KERNELS_CPU_FEW_TILE_H
#define OMNID_KERNELS_CPU_FEW_TILE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FEW_WIDTH = 64, /* columns of a panel */
    FEW_TILE = 6    /* rows of x at once */
};

/* sums [rows][FEW_WIDTH] += x [depth][rows] · w [depth][FEW_WIDTH]; lines: cache lines at `ahead` to ask for a step, where
 * the set has prefetch. */
typedef void few_function(int lines, float *sums, const float *x, const float *w, int64_t depth, const float *ahead);

/* The same with q [depth][FEW_WIDTH] times its column's scale [FEW_WIDTH] (bf16) for w; asks for what lies behind. */
typedef void few_int8_function(float *sums, const float *x, const int8_t *q, const uint16_t *scale, int64_t depth);

typedef struct {
    const char *name;
    bool prefetch; /* float32 panels are read ahead of time as well: fast enough for them */
    bool (*usable)(void);
    few_function *tile[FEW_TILE + 1]; /* by the number of rows; [0] is none */
    few_int8_function *int8_tile[FEW_TILE + 1];
    /* to [depth][FEW_WIDTH] = that product itself, for several tiles. */
    void (*widen)(float *to, const int8_t *q, const uint16_t *scale, int64_t depth);
} few_isa;

/* Every set that was compiled, fastest first, NULL at the end; the last one runs anywhere. */
extern const few_isa *const few_all[];
/* The fastest that this processor has. */
const few_isa *few_choose(void);

#endif
