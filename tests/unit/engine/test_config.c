/* test_config.c: config.json in its published forms, and what is refused. */
#include "engine/config.h"
#include "tests/unit/engine/fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void parse(model_config *c, const char *json)
{
    omnid_error err = {0};
    if (config_parse(c, json, strlen(json), &err) != OMNID_OK)
        fail_msg("%s", err.text);
}

static void test_builtin_shapes(void **state)
{
    (void)state;
    model_config c;
    parse(&c, config_builtin("3b"));
    assert_int_equal(c.text.n_layers, 36);
    assert_int_equal(c.text.hidden, 2048);
    assert_int_equal(c.text.intermediate, 11008);
    assert_int_equal(c.text.n_heads, 16);
    assert_int_equal(c.text.n_kv_heads, 2);
    assert_int_equal(c.text.head_dim, 128);
    assert_int_equal(c.text.vocabulary, 151936);
    parse(&c, config_builtin("7b"));
    assert_int_equal(c.text.n_layers, 28);
    assert_int_equal(c.text.hidden, 3584);
    assert_int_equal(c.text.n_kv_heads, 4);
    assert_int_equal(c.text.vocabulary, 152064);
    assert_int_equal(c.text.mrope_section[0] + c.text.mrope_section[1] + c.text.mrope_section[2], 64);
    assert_int_equal(c.vision.depth, 32);
    assert_int_equal(c.vision.intermediate, 3420);
    for (int i = 0; i < 32; i++)
        assert_int_equal(c.vision.full_attention[i], i == 7 || i == 15 || i == 23 || i == 31);
    assert_int_equal(c.audio.n_layers, 32);
    assert_int_equal(c.audio.intermediate, 5120);
    assert_int_equal(c.audio.n_heads, 20);
    assert_int_equal(c.video_token, 151656);
    assert_false(c.text.tied);
    assert_null(config_builtin("4b"));
}

static void test_fields(void **state)
{
    (void)state;
    model_config c;
    parse(&c, fixture_config);
    assert_int_equal(c.text.head_dim, 8);
    assert_false(c.text.tied); /* the one inside text_config does not count */
    assert_true(c.text.rms_eps == 1e-6f);
    assert_true(c.text.rope_theta == 10000.0);
    assert_int_equal(c.text.mrope_section[2], 2);
    assert_int_equal(c.vision.full_attention[1], 1);
    assert_int_equal(c.vision.full_attention[0] + c.vision.full_attention[2], 0);
    assert_int_equal(c.audio.max_positions, 128);
    assert_int_equal(c.vision_end, 297);
    assert_int_equal(c.pad, 290);
}

/* The thinker's own configuration, not nested, gives the same. */
static void test_flat_is_nested(void **state)
{
    (void)state;
    model_config nested, flat;
    parse(&nested, fixture_config);
    char *text = fixture_replace(fixture_config, "\"thinker_config\": {", "\"vocoder\": 1, ");
    text[strlen(text) - 1] = '\0';
    parse(&flat, text);
    assert_memory_equal(&nested, &flat, sizeof nested);
    free(text);
}

static void test_rope_parameters(void **state)
{
    (void)state;
    model_config old, new;
    parse(&old, fixture_config);
    char *text = fixture_replace(
        fixture_config,
        "\"rope_theta\": 10000.0, \"rope_scaling\": {\"mrope_section\": [1, 1, 2], \"rope_type\": \"default\"}",
        "\"rope_parameters\": {\"mrope_section\": [1, 1, 2], \"rope_theta\": 10000.0}");
    parse(&new, text);
    assert_memory_equal(&old, &new, sizeof old);
    free(text);
}

static void test_explicit_head_dim(void **state)
{
    (void)state;
    model_config c;
    char *text =
        fixture_replace(fixture_config, "\"num_key_value_heads\": 1", "\"num_key_value_heads\": 1, \"head_dim\": 16");
    char *more = fixture_replace(text, "[1, 1, 2]", "[2, 3, 3]");
    parse(&c, more);
    assert_int_equal(c.text.head_dim, 16);
    free(text);
    free(more);
}

typedef struct {
    const char *from, *to;
    omnid_status status;
    const char *sentence; /* part of it */
} edit;

static void test_refused(void **state)
{
    (void)state;
    static const edit edits[] = {
        {"qwen2_5_omni\"", "llama\"", OMNID_UNSUPPORTED, "found \"llama\""},
        {"\"text_config\"", "\"text\"", OMNID_UNSUPPORTED, "text_config"},
        {"\"num_hidden_layers\": 4", "\"num_hidden_layers\": 2", OMNID_LIMIT,
         "num_hidden_layers: want 3 .. 512, found 2"},
        {"\"num_hidden_layers\": 4", "\"num_hidden_layers\": 1000000", OMNID_LIMIT, "found 1000000"},
        {"\"num_hidden_layers\": 4", "\"num_hidden_layers\": \"4\"", OMNID_FORMAT, "want an integer"},
        {"\"num_hidden_layers\": 4", "\"num_hidden_layers\": 4.5", OMNID_FORMAT, "want an integer"},
        {"\"num_hidden_layers\": 4", "\"layers\": 4", OMNID_FORMAT, "text_config has no num_hidden_layers"},
        {"\"hidden_size\": 24", "\"hidden_size\": 25", OMNID_SHAPE, "multiple of num_attention_heads (3)"},
        {"\"hidden_size\": 24", "\"hidden_size\": 9223372036854775807", OMNID_LIMIT, "hidden_size"},
        {"\"hidden_size\": 24", "\"hidden_size\": 99999999999999999999", OMNID_FORMAT, "config.json"},
        {"\"hidden_size\": 24", "\"hidden_size\": -24", OMNID_LIMIT, "found -24"},
        {"\"vocab_size\": 310", "\"vocab_size\": 2000000000", OMNID_LIMIT, "vocab_size"},
        {"\"num_key_value_heads\": 1", "\"num_key_value_heads\": 2", OMNID_SHAPE, "num_key_value_heads (2)"},
        {"[1, 1, 2]", "[1, 1, 3]", OMNID_SHAPE, "half of head_dim, found 5"},
        {"[1, 1, 2]", "[1, 3]", OMNID_FORMAT, "three integers"},
        {"[1, 1, 2]", "[5, -3, 2]", OMNID_LIMIT, "mrope_section[1]"},
        {"\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"", OMNID_UNSUPPORTED, "found \"yarn\""},
        {"\"rope_theta\": 10000.0", "\"rope_theta\": 0.5", OMNID_LIMIT, "rope_theta"},
        {"\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": -1", OMNID_LIMIT, "rms_norm_eps"},
        {"\"hidden_act\": \"silu\", \"max", "\"hidden_act\": \"relu\", \"max", OMNID_UNSUPPORTED, "found \"relu\""},
        {"\"n_window\": 100", "\"n_window\": 50", OMNID_UNSUPPORTED, "n_window: want 100, found 50"},
        {"\"num_mel_bins\": 128", "\"num_mel_bins\": 80", OMNID_UNSUPPORTED, "want 128, found 80"},
        {"\"output_dim\": 24", "\"output_dim\": 32", OMNID_SHAPE, "output_dim: want the decoder's 24, found 32"},
        {"\"out_hidden_size\": 24", "\"out_hidden_size\": 32", OMNID_SHAPE, "out_hidden_size"},
        {"\"encoder_attention_heads\": 2", "\"encoder_attention_heads\": 3", OMNID_SHAPE, "d_model (8)"},
        {"\"encoder_attention_heads\": 2", "\"encoder_attention_heads\": 0", OMNID_LIMIT, "found 0"},
        {"\"window_size\": 112", "\"window_size\": 100", OMNID_SHAPE, "window_size (100)"},
        {"\"patch_size\": 14", "\"patch_size\": 16", OMNID_UNSUPPORTED, "patch_size: want 14, found 16"},
        {"\"fullatt_block_indexes\": [1]", "\"fullatt_block_indexes\": [3]", OMNID_LIMIT, "fullatt_block_indexes[0]"},
        {"\"fullatt_block_indexes\": [1]", "\"fullatt_block_indexes\": 1", OMNID_FORMAT, "fullatt_block_indexes"},
        {"\"num_heads\": 2", "\"num_heads\": 8", OMNID_SHAPE, "size of a head"},
        {"\"video_token_index\": 299", "\"video_token_index\": 310", OMNID_LIMIT, "video_token_index: want 0 .. 309"},
        {"\"position_id_per_seconds\": 25", "\"position_id_per_seconds\": 50", OMNID_UNSUPPORTED, "want 25, found 50"},
        {"\"model_type\"", "\"thinker_config\": 1, \"model_type\"", OMNID_FORMAT, "duplicate"},
        {"{\"model_type\": ", "[\"model_type\", ", OMNID_FORMAT, "config.json"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char *text = fixture_replace(fixture_config, edits[i].from, edits[i].to);
        assert_non_null(text);
        model_config c;
        omnid_error err = {0};
        omnid_status status = config_parse(&c, text, strlen(text), &err);
        if (status != edits[i].status || !strstr(err.text, edits[i].sentence))
            fail_msg("%s -> %s: %s: %s", edits[i].from, edits[i].to, omnid_status_name(status), err.text);
        free(text);
    }
}

static void test_torn_files(void **state)
{
    (void)state;
    model_config c;
    omnid_error err;
    for (size_t n = 0; n < strlen(fixture_config); n++)
        assert_int_equal(config_parse(&c, fixture_config, n, &err), OMNID_FORMAT);
}

static void test_read_file(void **state)
{
    (void)state;
    char *folder = fixture_folder(), path[600], *text;
    size_t n;
    omnid_error err = {0};
    fixture_text(folder, "a", "hello");
    snprintf(path, sizeof path, "%s/a", folder);
    assert_int_equal(config_read_file(&text, &n, path, 5, &err), OMNID_OK);
    assert_string_equal(text, "hello");
    free(text);
    assert_int_equal(config_read_file(&text, &n, path, 4, &err), OMNID_LIMIT);
    assert_null(text);
    assert_int_equal(config_read_file(&text, &n, folder, 4096, &err), OMNID_IO);
    snprintf(path, sizeof path, "%s/b", folder);
    assert_int_equal(config_read_file(&text, &n, path, 5, &err), OMNID_NOT_FOUND);
    fixture_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_builtin_shapes),    cmocka_unit_test(test_fields),
                                       cmocka_unit_test(test_flat_is_nested),    cmocka_unit_test(test_rope_parameters),
                                       cmocka_unit_test(test_explicit_head_dim), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_torn_files),        cmocka_unit_test(test_read_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
