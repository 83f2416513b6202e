/* panel.h: private to kernels/cpu: the two inner loops of attention, compiled once for each instruction set.
 *
 * A panel is a few dozen query columns kept side by side: column c of every array below belongs to one (query row, head).
 * Because the columns are the vector lanes, keys are read where they lie (row by row, one number spread over the lanes) and
 * the softmax over keys needs no sum across lanes. Values are packed PANEL_PACK numbers of a row at a time, once a block:
 * the second product reads them down the keys, and rows a power of two apart would fall into a few sets of the cache.
 *
 *     scores  S [n keys][width] = K [n][head_dim] · Q [head_dim][width]
 *     output  O [head_dim][width] += Vᵀ [head_dim][n] · P [n][width]
 *
 * The softmax is the running one of Milakov and Gimelshein (2018): m is the highest score so far, l the sum of
 * 2^(score - m), and O is scaled down when m rises. Scores are in units of log2: `scale` is log2(e) / sqrt(head_dim).
 *
 * In a bf16 kernel the operands are pairs of bf16 in 32 bits, the lower index in the lower half: a K row as it lies, Q
 * [head_dim / 2][width], V as [n / 2][head_dim] pairs of neighbouring keys. Sums stay float32. */
#ifndef OMNID_KERNELS_PANEL_H
#define OMNID_KERNELS_PANEL_H

#include "kernels/kernels.h"
#include "kernels/number.h"

/* Keys in a block; numbers of a value row that lie together. The scratch of a step is [PANEL_KEYS][width] floats. */
enum {
    PANEL_KEYS = 128,
    PANEL_PACK = 8,
    PANEL_VECTORS = 3 /* vectors of a full panel */,
    PANEL_LANES = 16 /* of the widest vector */
};

/* State of one panel; width = vectors * lanes. Arrays 64-byte aligned. */
typedef struct {
    int vectors;    /* 1 .. PANEL_VECTORS */
    const float *q; /* [head_dim][width]; bf16 kernels: pairs, [(head_dim + 1) / 2][width] */
    float *o;       /* [head_dim][width] */
    float *m, *l;   /* [width] */
} panel;

/* n keys with their values; strides in floats (bf16 kernels: in pairs). */
typedef struct {
    const float *k; /* [n] rows of head_dim */
    int64_t k_stride;
    const float *v; /* [⌈head_dim / PANEL_PACK⌉][n_packed][PANEL_PACK]; bf16 kernels: [⌈n_packed / 2⌉] rows of pairs */
    int n;          /* the first n are used */
    int n_packed;
} panel_block;

typedef struct {
    const char *name;
    int lanes;  /* floats of a vector */
    bool pairs; /* a bf16 kernel */
    bool (*usable)(void);
    /* O = 0, l = 0, m = lower than every score. */
    void (*clear)(const panel *p, int head_dim);
    /* Adds a block of keys. limit: [width] or NULL; column c sees the block's keys below limit[c]. */
    void (*step)(const panel *p, const panel_block *b, int head_dim, float scale, const int32_t *limit, float *scratch);
    /* sums[j * lanes + …] += e^(q·k_j / sqrt(head_dim) - lse) of the panel's columns, in p->m: lse in units of log2 (a
     * column with 1e30 adds nothing). o and l are not used. */
    void (*weigh)(const panel *p, const panel_block *b, int head_dim, float scale, float *sums, float *scratch);
    /* to[d * width + c] = from[c][d] for c < n, 0 for n <= c < width; width is a multiple of lanes. Float32. */
    void (*gather)(float *to, int width, const float *const *from, int n, int head_dim);
    /* to[c][d] = from[d * width + c] * scale[c] for c < n. */
    void (*scatter)(float *const *to, const float *from, int width, const float *scale, int n, int head_dim);
} panel_ops;

/* Every kernel that was compiled, fastest first, NULL at the end; the last ones run anywhere. */
extern const panel_ops *const panel_all[];
/* The fastest that this processor has. pairs: a bf16 kernel, NULL when the processor has no bf16 instructions. */
const panel_ops *panel_choose(bool pairs);
/* The one for keys of a dtype: bf16 products for bf16 keys where the processor has them. */
const panel_ops *panel_for(kernels_dtype dtype);

/* Floats that the packed values of a block take. */
size_t panel_values_size(int head_dim);
/* Packs row i of n values (pairs: rows i and i + 1, hi NULL = zeros) into `to`. */
void panel_pack_f32(float *to, const float *row, int i, int n, int head_dim);
void panel_pack_bf16(float *to, const uint16_t *row, int i, int n, int head_dim);
void panel_pack_pairs(float *to, const uint16_t *lo, const uint16_t *hi, int i, int n, int head_dim);

#endif
