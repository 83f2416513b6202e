/* model.h: weights as the encoders and the decoder use them. Filled by model.c (from a checkpoint) or model_random.c;
 * immutable afterwards. Weight matrices are packed by the backend; norms and biases are F32 in the backend's memory. */
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include "engine/config.h"
#include "engine/omnid.h"
#include "engine/retention.h"
#include "engine/tokenizer.h"
#include "kernels/kernels.h"

/* Windowed or full attention block of the vision tower (RMSNorm, gated SiLU MLP; all with biases but the norms). */
typedef struct {
    tensor norm1, norm2;     /* [d] */
    kernels_weight *qkv;     /* [3 d][d] */
    kernels_weight *proj;    /* [d][d] */
    kernels_weight *gate_up; /* [2 f][d]: gate rows, then up rows */
    kernels_weight *down;    /* [d][f] */
} vision_block;

typedef struct {
    kernels_weight *patch_embed; /* [d][1176], no bias */
    vision_block *blocks;        /* [depth] */
    tensor merger_norm;          /* ln_q [d] */
    kernels_weight *merger_fc1;  /* [4 d][4 d], GELU after it */
    kernels_weight *merger_fc2;  /* [hidden][4 d] */
} vision_weights;

/* Layer of the audio tower (LayerNorm; k has no bias: zeros in the packed qkv). */
typedef struct {
    tensor norm1_w, norm1_b, norm2_w, norm2_b; /* self_attn_layer_norm, final_layer_norm [d] */
    kernels_weight *qkv, *out;                 /* [3 d][d], [d][d] */
    kernels_weight *fc1, *fc2;                 /* [f][d] GELU after it, [d][f] */
} audio_layer;

typedef struct {
    kernels_weight *conv1; /* [d][n_mels * 3] as [out][channel][3]; GELU after it */
    kernels_weight *conv2; /* [d][d * 3], stride 2; GELU after it */
    tensor positions;      /* sinusoids [max_source_positions][d] F32 (computed, not in the file) */
    audio_layer *layers;
    tensor post_w, post_b; /* ln_post [d] */
    kernels_weight *proj;  /* [hidden][d] */
} audio_weights;

typedef struct {
    tensor norm1, norm2;     /* input_layernorm, post_attention_layernorm [hidden] */
    kernels_weight *qkv;     /* [(n_heads + 2 n_kv_heads) head_dim][hidden]: q, k, v rows, with biases */
    kernels_weight *o;       /* [hidden][n_heads head_dim], no bias */
    kernels_weight *gate_up; /* [2 f][hidden] */
    kernels_weight *down;    /* [hidden][f] */
} decoder_layer;

typedef struct {
    tensor embedding; /* [vocabulary][hidden], the checkpoint's dtype or I8 */
    decoder_layer *layers;
    tensor norm;          /* [hidden] */
    kernels_weight *head; /* [vocabulary][hidden] (a packed copy of the embedding where tied) */
    double *inv_freq;     /* [head_dim / 2] host memory; transformers' float32 values widened */
} decoder_weights;

/* Ids of the prompt's special tokens, from config.json and tokenizer.json. */
typedef struct {
    int32_t im_start, im_end, end_of_text;
    int32_t vision_start, vision_end, audio_start, audio_end, video, audio;
    int32_t eos[8]; /* ends of an answer, from generation_config.json or im_end and end_of_text */
    int n_eos;
} special_ids;

struct omnid_model {
    char *name, *folder;
    model_config config;
    special_ids ids;
    omnid_tokenizer *tokenizer;
    const kernels_ops *ops;
    kernels_backend *backend;
    kernels_precision precision; /* of activations and KV, and of the matrices that int8 is not worth it for */
    kernels_precision weights;   /* of the others: the same, or INT8 */
    kernels_dtype activation;    /* dtype of what goes into matrix products and of KV: F32 or BF16 */
    int n_threads;
    vision_weights vision;
    audio_weights audio;
    decoder_weights decoder;
    uint64_t n_parameters, weight_bytes;
    omnid_memory_plan plan;
    /* from omnid.json, where the folder has one */
    int max_pixels; /* default 336 * 336 */
    retention_named schedules[8];
    int n_schedules;
};

/* The tensor memory of small parameters; *t is set. */
omnid_status model_upload(omnid_model *m, tensor *t, const float *values, int64_t n, omnid_error *err);

#endif
