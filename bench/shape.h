/* shape.h: dimensions of a model as a bench needs them: to count work, and to write a config.json of fewer layers.
 * Counting is arithmetic on dimensions; no model is computed here. */
#ifndef BENCH_SHAPE_H
#define BENCH_SHAPE_H

#include "base/base.h"

typedef struct {
    char name[64]; /* "3b", or the file's name, with " (N layers)" where the depth was cut */
    int n_layers, hidden, intermediate, n_heads, n_kv_heads, head_dim, vocabulary;
    struct {
        int depth, hidden, intermediate, n_heads, window_px, n_full;
    } vision;
    struct {
        int n_layers, hidden, intermediate, n_heads;
    } audio;
} bench_shape;

/* "3b", "7b" or the path of a config.json. */
omnid_status shape_read(bench_shape *out, const char *name, omnid_error *err);

/* Cuts decoder and towers to n_layers each and writes config.json of what is left into a temporary file, whose name goes to
 * path (the caller unlinks it). name: as for shape_read. */
omnid_status shape_cut(bench_shape *s, const char *name, int n_layers, char *path, size_t size, omnid_error *err);

/* Floating-point operations (a multiply and an add are two). */
/* One decoder layer over rows that see context keys and, causally, each other: products and attention. */
double shape_layer_flops(const bench_shape *s, double rows, double context);
/* Vision tower and merger over one grid of columns x rows tokens; windows at the borders are counted as they are. */
double shape_vision_flops(const bench_shape *s, int columns, int rows);
/* Audio tower over n_mel frames. */
double shape_audio_flops(const bench_shape *s, int n_mel);

/* Numbers of the decoder's matrices that one generated token reads: layers and head. */
double shape_decode_weights(const bench_shape *s);

#endif
