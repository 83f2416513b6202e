/* shape.c: dimensions and the counts that follow from them. */
#include "bench/shape.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What omnid's built-in "3b" and "7b" have (config.json of the published models). */
static const char published[] =
    "{\"model_type\": \"qwen2_5_omni\", \"thinker_config\": {"
    "\"vision_config\": {\"model_type\": \"qwen2_5_omni_vision_encoder\", \"depth\": 32, \"hidden_size\": 1280,"
    " \"intermediate_size\": 3420, \"num_heads\": 16, \"in_channels\": 3, \"patch_size\": 14, \"spatial_merge_size\": "
    "2,"
    " \"temporal_patch_size\": 2, \"tokens_per_second\": 25, \"window_size\": 112, \"out_hidden_size\": %d,"
    " \"fullatt_block_indexes\": [7, 15, 23, 31], \"hidden_act\": \"silu\"},"
    "\"audio_config\": {\"model_type\": \"qwen2_5_omni_audio_encoder\", \"d_model\": 1280, \"encoder_layers\": 32,"
    " \"encoder_attention_heads\": 20, \"encoder_ffn_dim\": 5120, \"num_mel_bins\": 128, \"n_window\": 100,"
    " \"max_source_positions\": 1500, \"output_dim\": %d, \"activation_function\": \"gelu\", \"scale_embedding\": "
    "false},"
    "\"text_config\": {\"model_type\": \"qwen2_5_omni_text\", \"hidden_size\": %d, \"intermediate_size\": %d,"
    " \"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"vocab_size\": %d,"
    " \"hidden_act\": \"silu\", \"max_position_embeddings\": 32768, \"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0,"
    " \"rope_scaling\": {\"mrope_section\": [16, 24, 24], \"rope_type\": \"default\"}},"
    "\"audio_token_index\": 151646, \"image_token_index\": 151655, \"video_token_index\": 151656,"
    " \"audio_start_token_id\": 151647, \"audio_end_token_id\": 151648, \"vision_start_token_id\": 151652,"
    " \"vision_end_token_id\": 151653, \"bos_token_id\": 151644, \"eos_token_id\": 151645, \"pad_token_id\": 151643,"
    " \"position_id_per_seconds\": 25, \"tie_word_embeddings\": false}}";

static json_t *load_published(int hidden, int ffn, int layers, int heads, int kv_heads, int vocabulary)
{
    char text[4096];
    snprintf(text, sizeof text, published, hidden, hidden, hidden, ffn, layers, heads, kv_heads, vocabulary);
    return json_loads(text, 0, NULL);
}

static omnid_status load(json_t **out, const char *name, omnid_error *err)
{
    json_error_t wrong = {.text = "no memory"};
    if (strcmp(name, "3b") == 0)
        *out = load_published(2048, 11008, 36, 16, 2, 151936);
    else if (strcmp(name, "7b") == 0)
        *out = load_published(3584, 18944, 28, 28, 4, 152064);
    else
        *out = json_load_file(name, 0, &wrong);
    if (!*out)
        return omnid_fail(err, OMNID_FORMAT, "%s: want 3b, 7b or a config.json: %s", name, wrong.text);
    return OMNID_OK;
}

static json_t *thinker_of(json_t *root)
{
    json_t *nested = json_object_get(root, "thinker_config");
    return nested ? nested : root;
}

static int number(const json_t *o, const char *key)
{
    return (int)json_integer_value(json_object_get(o, key));
}

static void fill(bench_shape *s, json_t *thinker)
{
    const json_t *t = json_object_get(thinker, "text_config"), *v = json_object_get(thinker, "vision_config");
    const json_t *a = json_object_get(thinker, "audio_config");
    s->n_layers = number(t, "num_hidden_layers");
    s->hidden = number(t, "hidden_size");
    s->intermediate = number(t, "intermediate_size");
    s->n_heads = number(t, "num_attention_heads");
    s->n_kv_heads = number(t, "num_key_value_heads");
    s->head_dim = number(t, "head_dim");
    if (s->head_dim == 0 && s->n_heads > 0)
        s->head_dim = s->hidden / s->n_heads;
    s->vocabulary = number(t, "vocab_size");
    s->vision.depth = number(v, "depth");
    s->vision.hidden = number(v, "hidden_size");
    s->vision.intermediate = number(v, "intermediate_size");
    s->vision.n_heads = number(v, "num_heads");
    s->vision.window_px = number(v, "window_size");
    s->vision.n_full = 0;
    size_t i;
    json_t *block;
    json_array_foreach(json_object_get(v, "fullatt_block_indexes"), i, block) s->vision.n_full +=
        json_integer_value(block) < s->vision.depth;
    s->audio.n_layers = number(a, "encoder_layers");
    s->audio.hidden = number(a, "d_model");
    s->audio.intermediate = number(a, "encoder_ffn_dim");
    s->audio.n_heads = number(a, "encoder_attention_heads");
}

static omnid_status check(const bench_shape *s, const char *name, omnid_error *err)
{
    if (s->n_layers < 1 || s->hidden < 1 || s->n_heads < 1 || s->vision.depth < 1 || s->vision.window_px < 28 ||
        s->audio.n_layers < 1)
        return omnid_fail(err, OMNID_FORMAT, "%s: lacks dimensions of text_config, vision_config or audio_config",
                          name);
    return OMNID_OK;
}

omnid_status shape_read(bench_shape *out, const char *name, omnid_error *err)
{
    json_t *root;
    memset(out, 0, sizeof *out);
    OMNID_TRY(load(&root, name, err));
    fill(out, thinker_of(root));
    json_decref(root);
    snprintf(out->name, sizeof out->name, "%s", name);
    return check(out, name, err);
}

/* The published towers attend fully in the last block of each quarter; a cut tower in its last block, and every eighth. */
static json_t *full_blocks(int depth)
{
    json_t *list = json_array();
    for (int i = 0; i < depth; i++)
        if (i % 8 == 7 || i == depth - 1)
            json_array_append_new(list, json_integer(i));
    return list;
}

static void cut(json_t *thinker, int n_layers)
{
    json_t *t = json_object_get(thinker, "text_config"), *v = json_object_get(thinker, "vision_config");
    json_t *a = json_object_get(thinker, "audio_config");
    if (number(t, "num_hidden_layers") > n_layers)
        json_object_set_new(t, "num_hidden_layers", json_integer(n_layers));
    if (number(v, "depth") > n_layers) {
        json_object_set_new(v, "depth", json_integer(n_layers));
        json_object_set_new(v, "fullatt_block_indexes", full_blocks(n_layers));
    }
    if (number(a, "encoder_layers") > n_layers)
        json_object_set_new(a, "encoder_layers", json_integer(n_layers));
}

static omnid_status write_config(const json_t *root, char *path, size_t size, omnid_error *err)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, size, "%s/omnid-bench-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0)
        return omnid_fail(err, OMNID_IO, "%s: %s", path, strerror(errno));
    int failed = json_dumpfd(root, fd, 0);
    close(fd);
    if (!failed)
        return OMNID_OK;
    unlink(path);
    return omnid_fail(err, OMNID_IO, "%s: cannot be written", path);
}

omnid_status shape_cut(bench_shape *s, const char *name, int n_layers, char *path, size_t size, omnid_error *err)
{
    json_t *root;
    OMNID_TRY(load(&root, name, err));
    cut(thinker_of(root), n_layers);
    fill(s, thinker_of(root));
    snprintf(s->name, sizeof s->name, "%.40s (%d layers)", name, n_layers);
    omnid_status st = write_config(root, path, size, err);
    json_decref(root);
    return st;
}

static double layer_weights(const bench_shape *s)
{
    double q = (double)s->n_heads * s->head_dim, kv = (double)s->n_kv_heads * s->head_dim;
    return s->hidden * (q + 2 * kv) + q * s->hidden + 3.0 * s->hidden * s->intermediate;
}

double shape_layer_flops(const bench_shape *s, double rows, double context)
{
    double pairs = rows * context + rows * (rows + 1) / 2;
    return 2 * rows * layer_weights(s) + 4.0 * s->n_heads * s->head_dim * pairs;
}

double shape_decode_weights(const bench_shape *s)
{
    return s->n_layers * layer_weights(s) + (double)s->hidden * s->vocabulary;
}

/* Sum over a side's windows of patches squared: windows of `window` patches, the last one smaller. */
static double squares(int patches, int window)
{
    int whole = patches / window, rest = patches % window;
    return (double)whole * window * window + (double)rest * rest;
}

double shape_vision_flops(const bench_shape *s, int columns, int rows)
{
    double d = s->vision.hidden, f = s->vision.intermediate, patches = 4.0 * columns * rows,
           tokens = (double)columns * rows;
    int window = s->vision.window_px / 14;
    double products = 2 * patches * (1176 * d + s->vision.depth * (4 * d * d + 3 * d * f));
    double merger = 2 * tokens * (16 * d * d + 4 * d * s->hidden);
    double windowed = squares(2 * columns, window) * squares(2 * rows, window);
    double attention = 4 * d * (s->vision.n_full * patches * patches + (s->vision.depth - s->vision.n_full) * windowed);
    return products + merger + attention;
}

double shape_audio_flops(const bench_shape *s, int n_mel)
{
    double d = s->audio.hidden, frames = (n_mel + 1) / 2, tokens = (n_mel + 1) / 4;
    double convolutions = 2.0 * n_mel * 3 * 128 * d + 2 * frames * 3 * d * d;
    double layer = 2 * frames * (4 * d * d + 2 * d * s->audio.intermediate) + 4 * frames * frames * d;
    return convolutions + s->audio.n_layers * layer + 2 * tokens * d * s->hidden;
}
