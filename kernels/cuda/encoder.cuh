/* encoder.cuh: what the kernels of encoder_attention share.
 *
 * A launch takes at most ENCODER_SPANS spans, passed by value: nothing has to be copied to the device, and the caller's list
 * is free at once. Blocks are numbered over the tiles of all spans, so that short windows and long blocks fill the device alike. */
#ifndef OMNID_CUDA_ENCODER_CUH
#define OMNID_CUDA_ENCODER_CUH

#include "kernels/cuda/device.cuh"

enum { ENCODER_SPANS = 64 };

struct encoder_spans {
    int32_t first[ENCODER_SPANS + 1]; /* rows first[i] .. first[i + 1] - 1 */
    int32_t tile[ENCODER_SPANS + 1];  /* number of the span's first tile; the last: of all tiles */
    int32_t n;
};

/* Passed by value. */
struct encoder_attention {
    const void *qkv; /* [n][3 d], rows qkv_stride elements apart */
    void *y;         /* [n][d] */
    float *norm;     /* [n_heads][n] ln Σ e^score of each row, for the saliency; or NULL */
    int64_t qkv_stride, y_stride, n, d;
    int n_heads, head_dim;
    float scale; /* 1 / sqrt(head_dim) */
    int unused;  /* whole words: the emulation looks at arguments word by word */
};

/* A tile of rows of one span. */
struct encoder_tile {
    int first, end; /* of the span */
    int row;        /* the tile's first */
};

static __device__ __forceinline__ encoder_tile encoder_tile_of(const encoder_spans &spans, int tile, int rows)
{
    int i = 0;
    while (spans.tile[i + 1] <= tile)
        i++;
    encoder_tile t = {spans.first[i], spans.first[i + 1], spans.first[i] + (tile - spans.tile[i]) * rows};
    return t;
}

/* Part 0: queries, 1: keys, 2: values, of a row and head. */
template <typename T>
static __device__ __forceinline__ const T *encoder_row(const encoder_attention &a, int part, int64_t row, int head)
{
    return static_cast<const T *>(a.qkv) + row * a.qkv_stride + part * a.d + (int64_t)head * a.head_dim;
}

/* ---- encoder_tiles.cu: bf16 by matrix fragments; what encoder_in_tiles says true of ---- */
bool encoder_in_tiles(const tensor *y, const tensor *qkv, int head_dim);
void encoder_tiles(kernels_stream *s, const encoder_attention &a, const int32_t *spans, int n_spans);

/* Fills `to` with the spans from *next on, in tiles of `rows` rows, and moves *next on; false when none is left. */
static inline bool encoder_take_spans(encoder_spans *to, const int32_t *spans, int n_spans, int rows, int *next)
{
    *to = {};
    while (*next < n_spans && to->n < ENCODER_SPANS) {
        int32_t first = spans[*next], end = spans[*next + 1];
        to->first[to->n] = first;
        to->first[to->n + 1] = end;
        to->tile[to->n + 1] = to->tile[to->n] + (end - first + rows - 1) / rows;
        to->n++;
        ++*next;
    }
    return to->tile[to->n] > 0 || (*next < n_spans && encoder_take_spans(to, spans, n_spans, rows, next));
}

#endif
