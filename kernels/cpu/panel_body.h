/* panel_body.h: the loops of panel.h for one instruction set; panel.c includes this file once for each. Before:
 *
 *   PANEL(name)        name with the instruction set's suffix
 *   PANEL_TARGET       attribute that allows its instructions
 *   PANEL_BYTES        of a vector
 *   PANEL_ROWS         rows of a register tile; PANEL_ROWS * PANEL_VECTORS accumulators and a few more must fit
 *   PANEL_FMA(c, a, b) c + a * b, or the bf16 pair product
 *   PANEL_MAX(a, b), PANEL_EXP2(x) with 0 for very low x
 *   PANEL_PAIRS        1 for a bf16 kernel
 *   PANEL_GATHER, PANEL_SCATTER  functions of panel_ops
 *   PANEL_USABLE       expression: this processor has it */

typedef float PANEL(vec) __attribute__((vector_size(PANEL_BYTES)));
typedef int32_t PANEL(ivec) __attribute__((vector_size(PANEL_BYTES)));
typedef PANEL(ivec) PANEL(iload) __attribute__((may_alias));
#define VEC      PANEL(vec)
#define IVEC     PANEL(ivec)
#define LANES    ((int)(PANEL_BYTES / 4))
#define PANEL_FN static inline __attribute__((always_inline)) PANEL_TARGET

/* c [rows][nv] = (c * scale if scale else 0) + a b over `depth`. a: row r, depth d at a[r * row + d * step]. */
CPU_TILE PANEL_TARGET void PANEL(tile)(const int rows, const int nv, float *c, const float *a, int64_t row,
                                       int64_t step, const float *b, int depth, const VEC *scale)
{
    VEC acc[PANEL_ROWS][PANEL_VECTORS];
    const int64_t width = (int64_t)nv * LANES;
    CPU_UNROLL
    for (int r = 0; r < rows; r++) {
        CPU_UNROLL
        for (int v = 0; v < nv; v++) {
            acc[r][v] = (VEC){0};
            if (scale)
                acc[r][v] = *(const VEC *)(c + r * width + v * LANES) * scale[v];
        }
    }
    for (int d = 0; d < depth; d++) {
        VEC col[PANEL_VECTORS];
        CPU_UNROLL
        for (int v = 0; v < nv; v++)
            col[v] = *(const VEC *)(b + d * width + v * LANES);
        CPU_UNROLL
        for (int r = 0; r < rows; r++) {
            VEC x = (VEC)(*(const panel_word *)(a + r * row + d * step) + (IVEC){0}); /* any bits, in all lanes */
            CPU_UNROLL
            for (int v = 0; v < nv; v++)
                acc[r][v] = PANEL_FMA(acc[r][v], x, col[v]);
        }
    }
    CPU_UNROLL
    for (int r = 0; r < rows; r++) {
        CPU_UNROLL
        for (int v = 0; v < nv; v++)
            *(VEC *)(c + r * width + v * LANES) = acc[r][v];
    }
}

/* All n rows of a product, the last few one tile of 4, 2 or 1 rows at a time. Row r begins at a + OFFSET(r): packed
 * values have `row` rows of PANEL_PACK together, keys have rows of their own, `row` apart. */
#define OFFSET(r) (packed ? (int64_t)((r) / PANEL_PACK * PANEL_PACK) * row + (r) % PANEL_PACK : (r)*row)
CPU_TILE PANEL_TARGET void PANEL(product_of)(const int nv, float *c, int n, const float *a, const bool packed,
                                             int64_t row, const float *b, int depth, const VEC *scale)
{
    const int64_t width = (int64_t)nv * LANES, step = packed ? PANEL_PACK : 1, next = packed ? 1 : row;
    int r = 0;
    for (; r + PANEL_ROWS <= n; r += PANEL_ROWS)
        PANEL(tile)(PANEL_ROWS, nv, c + r * width, a + OFFSET(r), next, step, b, depth, scale);
    if (PANEL_ROWS > 4 && r + 4 <= n) {
        PANEL(tile)(4, nv, c + r * width, a + OFFSET(r), next, step, b, depth, scale);
        r += 4;
    }
    if (r + 2 <= n) {
        PANEL(tile)(2, nv, c + r * width, a + OFFSET(r), next, step, b, depth, scale);
        r += 2;
    }
    if (r < n)
        PANEL(tile)(1, nv, c + r * width, a + OFFSET(r), next, step, b, depth, scale);
}

/* Calls, not inlined: the constants of a caller's loops would push a tile's sums out of the registers. */
static __attribute__((noinline)) PANEL_TARGET void PANEL(product)(const int nv, float *c, int n, const float *a,
                                                                  const bool packed, int64_t row, const float *b,
                                                                  int depth, const VEC *scale)
{
    if (nv == 3)
        packed ? PANEL(product_of)(3, c, n, a, true, row, b, depth, scale)
               : PANEL(product_of)(3, c, n, a, false, row, b, depth, NULL);
    else if (nv == 2)
        packed ? PANEL(product_of)(2, c, n, a, true, row, b, depth, scale)
               : PANEL(product_of)(2, c, n, a, false, row, b, depth, NULL);
    else
        packed ? PANEL(product_of)(1, c, n, a, true, row, b, depth, scale)
               : PANEL(product_of)(1, c, n, a, false, row, b, depth, NULL);
}

PANEL_FN VEC PANEL(load)(const float *p)
{
    return *(const VEC *)p;
}

/* Scores of the keys that a column may not see become very low. */
PANEL_FN void PANEL(mask)(const int nv, float *s, int n, const int32_t *limit)
{
    for (int v = 0; v < nv; v++) {
        IVEC lim = *(const PANEL(iload) *)(limit + v * LANES);
        for (int j = 0; j < n; j++) {
            VEC *at = (VEC *)(s + ((int64_t)j * nv + v) * LANES);
            IVEC seen = lim > ((IVEC){0} + j);
            *at = (VEC)((seen & (IVEC)(*at)) | (~seen & (IVEC)((VEC){0} - 1e37f)));
        }
    }
}

#if PANEL_PAIRS
/* Rounds rows 2 i and 2 i + 1 of P to bf16 and puts them side by side as row i; an odd last row is joined by zeros. */
PANEL_FN void PANEL(pair_rows)(const int nv, float *s, int n)
{
    for (int j = 0; j < n; j += 2)
        for (int v = 0; v < nv; v++) {
            IVEC lo = (IVEC)PANEL(load)(s + ((int64_t)j * nv + v) * LANES);
            IVEC hi = j + 1 < n ? (IVEC)PANEL(load)(s + ((int64_t)(j + 1) * nv + v) * LANES) : (IVEC){0};
            lo = ((lo + 0x7fff + ((lo >> 16) & 1)) >> 16) & 0xffff;
            hi = (hi + 0x7fff + ((hi >> 16) & 1)) & ~0xffff;
            *(PANEL(iload) *)(s + ((int64_t)(j / 2) * nv + v) * LANES) = lo | hi;
        }
}
#endif

PANEL_FN void PANEL(step_of)(const int nv, const panel *p, const panel_block *b, int head_dim, float scale,
                             const int32_t *limit, float *s)
{
    const int depth = PANEL_PAIRS ? (head_dim + 1) / 2 : head_dim;
    PANEL(product)(nv, s, b->n, b->k, false, b->k_stride, p->q, depth, NULL);
    if (limit)
        PANEL(mask)(nv, s, b->n, limit);
    VEC rescale[PANEL_VECTORS];
    for (int v = 0; v < nv; v++) {
        float *col = s + v * LANES;
        VEC top = PANEL(load)(col);
        for (int j = 1; j < b->n; j++)
            top = PANEL_MAX(top, PANEL(load)(col + (int64_t)j * nv * LANES));
        VEC before = PANEL(load)(p->m + v * LANES), m = PANEL_MAX(before, top * scale), sum = {0};
        for (int j = 0; j < b->n; j++) {
            VEC *at = (VEC *)(col + (int64_t)j * nv * LANES), e = PANEL_EXP2(*at * scale - m);
            sum += e;
            *at = e;
        }
        rescale[v] = PANEL_EXP2(before - m);
        VEC *l = (VEC *)(p->l + v * LANES);
        *l = *l * rescale[v] + sum;
        *(VEC *)(p->m + v * LANES) = m;
    }
    int rows = b->n, packed = b->n_packed;
#if PANEL_PAIRS
    PANEL(pair_rows)(nv, s, b->n);
    rows = (b->n + 1) / 2;
    packed = (b->n_packed + 1) / 2;
#endif
    PANEL(product)(nv, p->o, head_dim, b->v, true, packed, s, rows, rescale);
}

PANEL_FN void PANEL(weigh_of)(const int nv, const panel *p, const panel_block *b, int head_dim, float scale,
                              float *sums, float *s)
{
    const int depth = PANEL_PAIRS ? (head_dim + 1) / 2 : head_dim;
    PANEL(product)(nv, s, b->n, b->k, false, b->k_stride, p->q, depth, NULL);
    for (int j = 0; j < b->n; j++) {
        VEC *sum = (VEC *)(sums + (int64_t)j * LANES);
        for (int v = 0; v < nv; v++) {
            VEC x = PANEL(load)(s + ((int64_t)j * nv + v) * LANES);
            *sum += PANEL_EXP2(x * scale - PANEL(load)(p->m + v * LANES));
        }
    }
}

static PANEL_TARGET void PANEL(clear)(const panel *p, int head_dim)
{
    for (int i = 0; i < head_dim * p->vectors * LANES; i++)
        p->o[i] = 0;
    for (int i = 0; i < p->vectors * LANES; i++) {
        p->l[i] = 0;
        p->m[i] = -1e30f;
    }
}

static PANEL_TARGET void PANEL(step)(const panel *p, const panel_block *b, int head_dim, float scale,
                                     const int32_t *limit, float *s)
{
    if (p->vectors == 3)
        PANEL(step_of)(3, p, b, head_dim, scale, limit, s);
    else if (p->vectors == 2)
        PANEL(step_of)(2, p, b, head_dim, scale, limit, s);
    else
        PANEL(step_of)(1, p, b, head_dim, scale, limit, s);
}

static PANEL_TARGET void PANEL(weigh)(const panel *p, const panel_block *b, int head_dim, float scale, float *sums,
                                      float *s)
{
    if (p->vectors == 3)
        PANEL(weigh_of)(3, p, b, head_dim, scale, sums, s);
    else if (p->vectors == 2)
        PANEL(weigh_of)(2, p, b, head_dim, scale, sums, s);
    else
        PANEL(weigh_of)(1, p, b, head_dim, scale, sums, s);
}

static bool PANEL(usable)(void)
{
    return PANEL_USABLE;
}

static const panel_ops PANEL(ops) = {.name = PANEL_NAME,
                                     .lanes = LANES,
                                     .pairs = PANEL_PAIRS,
                                     .usable = PANEL(usable),
                                     .clear = PANEL(clear),
                                     .step = PANEL(step),
                                     .weigh = PANEL(weigh),
                                     .gather = PANEL_GATHER,
                                     .scatter = PANEL_SCATTER};

#undef VEC
#undef IVEC
#undef LANES
#undef OFFSET
#undef PANEL_FN
#undef PANEL
#undef PANEL_NAME
#undef PANEL_TARGET
#undef PANEL_BYTES
#undef PANEL_ROWS
#undef PANEL_FMA
#undef PANEL_MAX
#undef PANEL_EXP2
#undef PANEL_PAIRS
#undef PANEL_GATHER
#undef PANEL_SCATTER
#undef PANEL_USABLE
