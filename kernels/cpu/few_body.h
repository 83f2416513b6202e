/* few_body.h: the loops of few_tile.h for one instruction set; few_tile.c includes this file once for each. Before:
 *
 *   FEW(name)     name with the instruction set's suffix
 *   FEW_NAME      of the set
 *   FEW_TARGET    attribute that allows its instructions
 *   FEW_BYTES     of a vector
 *   FEW_VECTORS   of a register tile: FEW_TILE * FEW_VECTORS sums, FEW_VECTORS weights and a number of x must fit
 *   FEW_LOAD(q)   a vector of the numbers q [lanes] of int8
 *   FEW_PREFETCH  1 where a tile asks for lines ahead; a tile is a whole panel wide then
 *   FEW_USABLE    expression: this processor has it */

typedef float FEW(vec) __attribute__((vector_size(FEW_BYTES)));
#define VEC   FEW(vec)
#define LANES ((int)(FEW_BYTES / 4))

CPU_TILE FEW_TARGET void FEW(tile)(const int rows, const int lines, float *sums, const float *x, const float *w,
                                   int64_t depth, const float *ahead)
{
    for (int c = 0; c < FEW_WIDTH; c += FEW_VECTORS * LANES) {
        VEC acc[FEW_TILE][FEW_VECTORS];
        CPU_UNROLL
        for (int r = 0; r < rows; r++) {
            CPU_UNROLL
            for (int v = 0; v < FEW_VECTORS; v++)
                acc[r][v] = *(const VEC *)(sums + r * FEW_WIDTH + c + v * LANES);
        }
        for (int64_t d = 0; d < depth; d++) {
            VEC col[FEW_VECTORS];
            CPU_UNROLL
            for (int v = 0; v < FEW_VECTORS; v++)
                col[v] = *(const VEC *)(w + d * FEW_WIDTH + c + v * LANES);
            CPU_UNROLL
            for (int l = 0; l < lines; l++)
                __builtin_prefetch(ahead + (l * depth + d) * LANES, 0, 2);
            CPU_UNROLL
            for (int r = 0; r < rows; r++) {
                VEC a = x[d * rows + r] - (VEC){0};
                CPU_UNROLL
                for (int v = 0; v < FEW_VECTORS; v++)
                    acc[r][v] += a * col[v];
            }
        }
        CPU_UNROLL
        for (int r = 0; r < rows; r++) {
            CPU_UNROLL
            for (int v = 0; v < FEW_VECTORS; v++)
                *(VEC *)(sums + r * FEW_WIDTH + c + v * LANES) = acc[r][v];
        }
    }
}

/* The scales of a panel's columns. */
static inline FEW_TARGET void FEW(factors)(VEC factor[FEW_WIDTH / LANES], const uint16_t *scale)
{
    float wide[FEW_WIDTH] __attribute__((aligned(64)));
    for (int c = 0; c < FEW_WIDTH; c++)
        wide[c] = f32_from_bf16(scale[c]);
    CPU_UNROLL
    for (int v = 0; v < FEW_WIDTH / LANES; v++)
        factor[v] = *(const VEC *)(wide + v * LANES);
}

/* The scale comes last: depth is within one group. */
CPU_TILE FEW_TARGET void FEW(int8)(const int rows, float *sums, const float *x, const int8_t *q, const uint16_t *scale,
                                   int64_t depth)
{
    VEC factor[FEW_WIDTH / LANES];
    FEW(factors)(factor, scale);
    for (int c = 0; c < FEW_WIDTH; c += FEW_VECTORS * LANES) {
        VEC acc[FEW_TILE][FEW_VECTORS];
        CPU_UNROLL
        for (int r = 0; r < rows; r++) {
            CPU_UNROLL
            for (int v = 0; v < FEW_VECTORS; v++)
                acc[r][v] = (VEC){0};
        }
        for (int64_t d = 0; d < depth; d++) {
            VEC col[FEW_VECTORS];
            CPU_UNROLL
            for (int v = 0; v < FEW_VECTORS; v++)
                col[v] = FEW_LOAD(q + d * FEW_WIDTH + c + v * LANES);
            __builtin_prefetch(q + (d + FEW_AHEAD) * FEW_WIDTH, 0, 2);
            CPU_UNROLL
            for (int r = 0; r < rows; r++) {
                VEC a = x[d * rows + r] - (VEC){0};
                CPU_UNROLL
                for (int v = 0; v < FEW_VECTORS; v++)
                    acc[r][v] += a * col[v];
            }
        }
        CPU_UNROLL
        for (int r = 0; r < rows; r++) {
            CPU_UNROLL
            for (int v = 0; v < FEW_VECTORS; v++)
                *(VEC *)(sums + r * FEW_WIDTH + c + v * LANES) += acc[r][v] * factor[c / LANES + v];
        }
    }
}

#if FEW_PREFETCH
#define FEW_LINES(rows)                                                                                                \
    if (lines == 4)                                                                                                    \
        FEW(tile)(rows, 4, sums, x, w, depth, ahead);                                                                  \
    else if (lines == 2)                                                                                               \
        FEW(tile)(rows, 2, sums, x, w, depth, ahead);                                                                  \
    else if (lines == 1)                                                                                               \
        FEW(tile)(rows, 1, sums, x, w, depth, ahead);                                                                  \
    else
#else
#define FEW_LINES(rows) (void)lines;
#endif
#define FEW_CASE(rows)                                                                                                 \
    static FEW_TARGET void FEW(tile_##rows)(int lines, float *sums, const float *x, const float *w, int64_t depth,     \
                                            const float *ahead)                                                        \
    {                                                                                                                  \
        FEW_LINES(rows)                                                                                                \
        FEW(tile)(rows, 0, sums, x, w, depth, ahead);                                                                  \
    }                                                                                                                  \
    static FEW_TARGET void FEW(int8_##rows)(float *sums, const float *x, const int8_t *q, const uint16_t *scale,       \
                                            int64_t depth)                                                             \
    {                                                                                                                  \
        FEW(int8)(rows, sums, x, q, scale, depth);                                                                     \
    }
FEW_CASE(1)
FEW_CASE(2)
FEW_CASE(3)
FEW_CASE(4)
FEW_CASE(5)
FEW_CASE(6)

static FEW_TARGET void FEW(widen)(float *to, const int8_t *q, const uint16_t *scale, int64_t depth)
{
    VEC factor[FEW_WIDTH / LANES];
    FEW(factors)(factor, scale);
    for (int64_t d = 0; d < depth; d++) {
        __builtin_prefetch(q + (d + FEW_AHEAD) * FEW_WIDTH, 0, 2);
        CPU_UNROLL
        for (int v = 0; v < FEW_WIDTH / LANES; v++)
            *(VEC *)(to + d * FEW_WIDTH + v * LANES) = FEW_LOAD(q + d * FEW_WIDTH + v * LANES) * factor[v];
    }
}

static bool FEW(usable)(void)
{
    return FEW_USABLE;
}

static const few_isa FEW(isa) = {
    .name = FEW_NAME,
    .prefetch = FEW_PREFETCH,
    .usable = FEW(usable),
    .tile = {NULL, FEW(tile_1), FEW(tile_2), FEW(tile_3), FEW(tile_4), FEW(tile_5), FEW(tile_6)},
    .int8_tile = {NULL, FEW(int8_1), FEW(int8_2), FEW(int8_3), FEW(int8_4), FEW(int8_5), FEW(int8_6)},
    .widen = FEW(widen)};

#undef VEC
#undef LANES
#undef FEW
#undef FEW_NAME
#undef FEW_TARGET
#undef FEW_BYTES
#undef FEW_VECTORS
#undef FEW_LOAD
#undef FEW_PREFETCH
#undef FEW_USABLE
#undef FEW_LINES
#undef FEW_CASE
