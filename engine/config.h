/* config.h: dimensions of a thinker, read from config.json (the published nested form or the thinker's own) and checked:
 * after config_parse every product of two dimensions and every tensor's size fits its type. */
#ifndef ENGINE_CONFIG_H
#define ENGINE_CONFIG_H

#include "base/base.h"

enum { CONFIG_MAX_LAYERS = 512 };

typedef struct {
    int depth, hidden, intermediate, n_heads;
    int patch, merge, temporal;                /* 14 px, 2 patches, 2 frames: always so */
    int window_px;                             /* side of an attention window, a multiple of patch * merge */
    int tokens_per_second;                     /* positions a second of video takes: 25 */
    float norm_eps;                            /* 1e-6 */
    uint8_t full_attention[CONFIG_MAX_LAYERS]; /* 1 = block attends within the whole grid, 0 = within its window */
} vision_config;

typedef struct {
    int n_layers, hidden, intermediate, n_heads;
    int n_mels;        /* 128 */
    int n_window;      /* half a segment in mel frames: 100 */
    int max_positions; /* of the sinusoids */
    float norm_eps;    /* LayerNorm: 1e-5 */
} audio_config;

typedef struct {
    int n_layers, hidden, intermediate, n_heads, n_kv_heads, head_dim;
    int vocabulary; /* rows of embedding and head */
    int max_positions;
    float rms_eps;
    double rope_theta;
    int mrope_section[3]; /* t, h, w parts of head_dim / 2 */
    bool tied;            /* the head is the embedding where the file has no lm_head */
} text_config;

typedef struct {
    vision_config vision;
    audio_config audio;
    text_config text;
    int position_id_per_seconds; /* 25 */
    /* Token ids; -1 = not in the file (tokenizer.json knows them). */
    int audio_token, video_token, image_token, audio_start, audio_end, vision_start, vision_end, bos, eos, pad;
} model_config;

/* Reads n bytes of config.json. FORMAT: not JSON or a field of another type; UNSUPPORTED: another architecture or a
 * setting this engine has no code for; LIMIT or SHAPE: dimensions out of bounds or not fitting each other. */
omnid_status config_parse(model_config *out, const char *json, size_t n, omnid_error *err);

/* Text of a built-in config.json: "3b" or "7b" (the published models); NULL = no such name. */
const char *config_builtin(const char *name);

/* A whole file of at most max bytes, '\0' added after *n of them; malloc'ed for the caller (free).
 * NOT_FOUND, IO, LIMIT or NOMEM. */
omnid_status config_read_file(char **out, size_t *n, const char *path, size_t max, omnid_error *err);

#endif
