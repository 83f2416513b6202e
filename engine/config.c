/* config.c: config.json -> dimensions, every field bounded and every relation between fields checked. */
#include "engine/config.h"
#include "engine/json_field.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Bounds far above any model of this architecture and far below overflow: rows x columns fits 2^44 elements. */
enum {
    MAX_HIDDEN = 1 << 16,
    MAX_INTERMEDIATE = 1 << 18,
    MAX_HEADS = 1 << 10,
    MAX_HEAD_DIM = 1 << 10,
    MAX_VOCABULARY = 1 << 22,
    MAX_POSITIONS = 1 << 26,
    MAX_WINDOW_PX = 28 << 10
};

omnid_status config_read_file(char **out, size_t *n, const char *path, size_t max, omnid_error *err)
{
    *out = NULL;
    *n = 0;
    FILE *f = fopen(path, "rbe");
    if (!f)
        return omnid_fail(err, errno == ENOENT || errno == ENOTDIR ? OMNID_NOT_FOUND : OMNID_IO, "%s: %s", path,
                          strerror(errno));
    struct stat st;
    omnid_status status = OMNID_OK;
    char *text = NULL;
    if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode))
        status = omnid_fail(err, OMNID_IO, "%s: not a regular file", path);
    else if ((uint64_t)st.st_size > max)
        status =
            omnid_fail(err, OMNID_LIMIT, "%s: want at most %zu bytes, found %lld", path, max, (long long)st.st_size);
    else if (!(text = malloc((size_t)st.st_size + 1)))
        status = omnid_fail(err, OMNID_NOMEM, "%s: no memory for %lld bytes", path, (long long)st.st_size);
    else if (fread(text, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        status = omnid_fail(err, OMNID_IO, "%s: read fewer bytes than the file has", path);
    fclose(f);
    if (status != OMNID_OK) {
        free(text);
        return status;
    }
    text[st.st_size] = '\0';
    *out = text;
    *n = (size_t)st.st_size;
    return OMNID_OK;
}

static bool is_omni(const char *name)
{
    return name && (strncmp(name, "qwen2_5_omni", 12) == 0 || strncmp(name, "Qwen2_5Omni", 11) == 0 ||
                    strncmp(name, "Qwen2OmniNaViTThinker", 21) == 0);
}

/* model_type or one of architectures must be Qwen2.5-Omni's; a file with neither is judged by its parts. */
static omnid_status check_architecture(const json_t *root, omnid_error *err)
{
    const char *type = json_string_value(json_field_get(root, "model_type"));
    const json_t *list = json_field_get(root, "architectures");
    const char *first = json_string_value(json_array_get(list, 0));
    const char *found = type ? type : first;
    if (found && !is_omni(found))
        return omnid_fail(err, OMNID_UNSUPPORTED, "config.json: want the architecture qwen2_5_omni, found \"%.64s\"",
                          found);
    return OMNID_OK;
}

static omnid_status get_part(const json_t *root, const char *key, const json_t **out, omnid_error *err)
{
    *out = json_field_get(root, key);
    if (!json_is_object(*out))
        return omnid_fail(err, OMNID_UNSUPPORTED, "config.json: want an object %s, as a Qwen2.5-Omni thinker has", key);
    return OMNID_OK;
}

static omnid_status expect_int(const json_t *object, const char *where, const char *key, int want, omnid_error *err)
{
    int found = want;
    OMNID_TRY(json_field_int(object, where, key, INT32_MIN, INT32_MAX, true, &found, err));
    if (found != want)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s.%s: want %d, found %d", where, key, want, found);
    return OMNID_OK;
}

static omnid_status expect_false(const json_t *object, const char *where, const char *key, omnid_error *err)
{
    bool found = false;
    OMNID_TRY(json_field_bool(object, where, key, &found, err));
    if (found)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s.%s: want false, found true", where, key);
    return OMNID_OK;
}

static omnid_status expect_multiple(const char *where, const char *what, int value, const char *by, int divisor,
                                    omnid_error *err)
{
    if (value % divisor != 0)
        return omnid_fail(err, OMNID_SHAPE, "%s: want %s (%d) to be a multiple of %s (%d)", where, what, value, by,
                          divisor);
    return OMNID_OK;
}

/* ------------------------------------------------------------------ vision */

static omnid_status parse_full_blocks(vision_config *v, const json_t *o, omnid_error *err)
{
    const json_t *list = json_field_get(o, "fullatt_block_indexes");
    if (!json_is_array(list))
        return omnid_fail(err, OMNID_FORMAT, "vision_config has no list fullatt_block_indexes");
    size_t i;
    const json_t *x;
    json_array_foreach(list, i, x)
    {
        int64_t block = json_is_integer(x) ? json_integer_value(x) : -1;
        if (block < 0 || block >= v->depth)
            return omnid_fail(err, OMNID_LIMIT, "vision_config.fullatt_block_indexes[%zu]: want 0 .. %d", i,
                              v->depth - 1);
        v->full_attention[block] = 1;
    }
    return OMNID_OK;
}

static omnid_status parse_vision(vision_config *v, const json_t *o, int text_hidden, omnid_error *err)
{
    const char *w = "vision_config";
    *v = (vision_config){
        .patch = 14, .merge = 2, .temporal = 2, .window_px = 112, .tokens_per_second = 25, .norm_eps = 1e-6f};
    OMNID_TRY(json_field_expect(o, w, "hidden_act", "silu", err));
    OMNID_TRY(json_field_int(o, w, "depth", 1, CONFIG_MAX_LAYERS, false, &v->depth, err));
    OMNID_TRY(json_field_int(o, w, "hidden_size", 4, MAX_HIDDEN / 4, false, &v->hidden, err));
    OMNID_TRY(json_field_int(o, w, "intermediate_size", 1, MAX_INTERMEDIATE, false, &v->intermediate, err));
    OMNID_TRY(json_field_int(o, w, "num_heads", 1, MAX_HEADS, false, &v->n_heads, err));
    OMNID_TRY(json_field_int(o, w, "window_size", 28, MAX_WINDOW_PX, true, &v->window_px, err));
    OMNID_TRY(expect_int(o, w, "patch_size", v->patch, err));
    OMNID_TRY(expect_int(o, w, "spatial_merge_size", v->merge, err));
    OMNID_TRY(expect_int(o, w, "temporal_patch_size", v->temporal, err));
    OMNID_TRY(expect_int(o, w, "in_channels", 3, err));
    OMNID_TRY(expect_int(o, w, "in_chans", 3, err));
    OMNID_TRY(expect_int(o, w, "tokens_per_second", 25, err));
    int out = text_hidden;
    OMNID_TRY(json_field_int(o, w, "out_hidden_size", 1, MAX_HIDDEN, true, &out, err));
    if (out != text_hidden)
        return omnid_fail(err, OMNID_SHAPE, "vision_config.out_hidden_size: want the decoder's %d, found %d",
                          text_hidden, out);
    OMNID_TRY(
        expect_multiple(w, "window_size", v->window_px, "patch_size x spatial_merge_size", v->patch * v->merge, err));
    OMNID_TRY(expect_multiple(w, "hidden_size", v->hidden, "num_heads", v->n_heads, err));
    OMNID_TRY(expect_multiple(w, "size of a head", v->hidden / v->n_heads, "rows, columns and rotated pairs", 4, err));
    return parse_full_blocks(v, o, err);
}

/* ------------------------------------------------------------------ audio */

static omnid_status parse_audio(audio_config *a, const json_t *o, int text_hidden, omnid_error *err)
{
    const char *w = "audio_config";
    *a = (audio_config){.n_mels = 128, .n_window = 100, .max_positions = 1500, .norm_eps = 1e-5f};
    OMNID_TRY(json_field_expect(o, w, "activation_function", "gelu", err));
    OMNID_TRY(expect_false(o, w, "scale_embedding", err));
    OMNID_TRY(json_field_int(o, w, "encoder_layers", 1, CONFIG_MAX_LAYERS, false, &a->n_layers, err));
    OMNID_TRY(json_field_int(o, w, "d_model", 4, MAX_HIDDEN / 4, false, &a->hidden, err));
    OMNID_TRY(json_field_int(o, w, "encoder_ffn_dim", 1, MAX_INTERMEDIATE, false, &a->intermediate, err));
    OMNID_TRY(json_field_int(o, w, "encoder_attention_heads", 1, MAX_HEADS, false, &a->n_heads, err));
    OMNID_TRY(json_field_int(o, w, "max_source_positions", 100, 1 << 20, true, &a->max_positions, err));
    OMNID_TRY(expect_int(o, w, "num_mel_bins", a->n_mels, err));
    OMNID_TRY(expect_int(o, w, "n_window", a->n_window, err)); /* a segment of 2 s is one block of the encoder */
    int out = text_hidden;
    OMNID_TRY(json_field_int(o, w, "output_dim", 1, MAX_HIDDEN, true, &out, err));
    if (out != text_hidden)
        return omnid_fail(err, OMNID_SHAPE, "audio_config.output_dim: want the decoder's %d, found %d", text_hidden,
                          out);
    OMNID_TRY(expect_multiple(w, "d_model", a->hidden, "encoder_attention_heads", a->n_heads, err));
    return expect_multiple(w, "d_model", a->hidden, "sine and cosine", 2, err);
}

/* ------------------------------------------------------------------ text */

/* rope_scaling beside rope_theta (as published), or both in rope_parameters (files saved by transformers 5). */
static omnid_status parse_rope(text_config *t, const json_t *o, omnid_error *err)
{
    const json_t *rope = json_field_get(o, "rope_parameters");
    const json_t *theta_in = rope ? rope : o;
    const char *w = rope ? "text_config.rope_parameters" : "text_config.rope_scaling";
    if (!rope)
        rope = json_field_get(o, "rope_scaling");
    if (!json_is_object(rope))
        return omnid_fail(err, OMNID_FORMAT, "text_config has neither rope_scaling nor rope_parameters");
    const char *type = json_string_value(json_field_get(rope, "rope_type"));
    if (!type)
        type = json_string_value(json_field_get(rope, "type"));
    if (type && strcmp(type, "default") != 0 && strcmp(type, "mrope") != 0)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s.rope_type: want \"default\", found \"%.64s\"", w, type);
    if (!json_field_get(theta_in, "rope_theta"))
        theta_in = o;
    t->rope_theta = 1e6;
    OMNID_TRY(json_field_real(theta_in, "text_config", "rope_theta", 1.0, 1e15, true, &t->rope_theta, err));
    const json_t *list = json_field_get(rope, "mrope_section");
    if (json_array_size(list) != 3)
        return omnid_fail(err, OMNID_FORMAT, "%s.mrope_section: want a list of three integers", w);
    int64_t sum = 0;
    for (size_t i = 0; i < 3; i++) {
        const json_t *x = json_array_get(list, i);
        int64_t part = json_is_integer(x) ? json_integer_value(x) : -1;
        if (part < 0 || part > MAX_HEAD_DIM)
            return omnid_fail(err, OMNID_LIMIT, "%s.mrope_section[%zu]: want 0 .. %d", w, i, MAX_HEAD_DIM);
        t->mrope_section[i] = (int)part;
        sum += part;
    }
    if (sum * 2 != t->head_dim)
        return omnid_fail(err, OMNID_SHAPE,
                          "%s.mrope_section: want parts that add up to %d, half of head_dim, found %lld", w,
                          t->head_dim / 2, (long long)sum);
    return OMNID_OK;
}

static omnid_status parse_text(text_config *t, const json_t *o, omnid_error *err)
{
    const char *w = "text_config";
    *t = (text_config){.max_positions = 32768};
    OMNID_TRY(json_field_expect(o, w, "hidden_act", "silu", err));
    OMNID_TRY(expect_false(o, w, "use_sliding_window", err));
    OMNID_TRY(json_field_int(o, w, "num_hidden_layers", 3, CONFIG_MAX_LAYERS, false, &t->n_layers, err));
    OMNID_TRY(json_field_int(o, w, "hidden_size", 2, MAX_HIDDEN, false, &t->hidden, err));
    OMNID_TRY(json_field_int(o, w, "intermediate_size", 1, MAX_INTERMEDIATE, false, &t->intermediate, err));
    OMNID_TRY(json_field_int(o, w, "num_attention_heads", 1, MAX_HEADS, false, &t->n_heads, err));
    t->n_kv_heads = t->n_heads;
    OMNID_TRY(json_field_int(o, w, "num_key_value_heads", 1, MAX_HEADS, true, &t->n_kv_heads, err));
    OMNID_TRY(json_field_int(o, w, "vocab_size", 1, MAX_VOCABULARY, false, &t->vocabulary, err));
    OMNID_TRY(json_field_int(o, w, "max_position_embeddings", 1, MAX_POSITIONS, true, &t->max_positions, err));
    double eps = 1e-6;
    OMNID_TRY(json_field_real(o, w, "rms_norm_eps", 0.0, 0.1, true, &eps, err));
    t->rms_eps = (float)eps;
    if (!json_field_get(o, "head_dim"))
        OMNID_TRY(expect_multiple(w, "hidden_size", t->hidden, "num_attention_heads", t->n_heads, err));
    t->head_dim = t->hidden / t->n_heads;
    OMNID_TRY(json_field_int(o, w, "head_dim", 2, MAX_HEAD_DIM, true, &t->head_dim, err));
    OMNID_TRY(expect_multiple(w, "head_dim", t->head_dim, "a rotated pair", 2, err));
    OMNID_TRY(expect_multiple(w, "num_attention_heads", t->n_heads, "num_key_value_heads", t->n_kv_heads, err));
    if (t->head_dim < 2 || t->head_dim > MAX_HEAD_DIM)
        return omnid_fail(err, OMNID_LIMIT, "text_config: want a head_dim of 2 .. %d, found %d", MAX_HEAD_DIM,
                          t->head_dim);
    return parse_rope(t, o, err);
}

/* ------------------------------------------------------------------ the whole */

static omnid_status parse_ids(model_config *c, const json_t *o, omnid_error *err)
{
    const struct {
        const char *key;
        int *out;
    } ids[] = {{"audio_token_index", &c->audio_token},
               {"audio_token_id", &c->audio_token},
               {"video_token_index", &c->video_token},
               {"video_token_id", &c->video_token},
               {"image_token_index", &c->image_token},
               {"image_token_id", &c->image_token},
               {"audio_start_token_id", &c->audio_start},
               {"audio_end_token_id", &c->audio_end},
               {"vision_start_token_id", &c->vision_start},
               {"vision_end_token_id", &c->vision_end},
               {"bos_token_id", &c->bos},
               {"eos_token_id", &c->eos},
               {"pad_token_id", &c->pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        *ids[i].out = -1;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (json_is_array(json_field_get(o, ids[i].key))) /* several ends: generation_config.json lists them too */
            continue;
        OMNID_TRY(json_field_int(o, "thinker_config", ids[i].key, 0, c->text.vocabulary - 1, true, ids[i].out, err));
    }
    return OMNID_OK;
}

static omnid_status parse_root(model_config *c, const json_t *root, omnid_error *err)
{
    if (!json_is_object(root))
        return omnid_fail(err, OMNID_FORMAT, "config.json: want a JSON object");
    OMNID_TRY(check_architecture(root, err));
    const json_t *thinker = json_field_get(root, "thinker_config");
    if (thinker && !json_is_object(thinker))
        return omnid_fail(err, OMNID_FORMAT, "config.json: want an object thinker_config");
    if (!thinker)
        thinker = root;
    const json_t *text, *vision, *audio;
    OMNID_TRY(get_part(thinker, "text_config", &text, err));
    OMNID_TRY(get_part(thinker, "vision_config", &vision, err));
    OMNID_TRY(get_part(thinker, "audio_config", &audio, err));
    OMNID_TRY(parse_text(&c->text, text, err));
    OMNID_TRY(parse_vision(&c->vision, vision, c->text.hidden, err));
    OMNID_TRY(parse_audio(&c->audio, audio, c->text.hidden, err));
    /* The one inside text_config says true in published files and is ignored by the reference. */
    OMNID_TRY(json_field_bool(thinker, "thinker_config", "tie_word_embeddings", &c->text.tied, err));
    c->position_id_per_seconds = 25;
    OMNID_TRY(expect_int(thinker, "thinker_config", "position_id_per_seconds", 25, err));
    return parse_ids(c, thinker, err);
}

omnid_status config_parse(model_config *out, const char *json, size_t n, omnid_error *err)
{
    memset(out, 0, sizeof *out);
    json_t *root;
    OMNID_TRY(json_field_parse(&root, json, n, "config.json", err));
    omnid_status status = parse_root(out, root, err);
    json_decref(root);
    return status;
}
