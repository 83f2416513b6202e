/* test_inspect.c: what a folder would take, and every way it can be wrong, without its weights. */
#include "engine/omnid.h"
#include "tests/unit/engine/fixtures.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const fixture_model_options plain = {.prefix = "thinker.", .dtype = "BF16"};

static omnid_model_params reference_params(void)
{
    omnid_model_params p = omnid_model_params_default();
    p.backend = "reference";
    p.n_threads = 1;
    return p;
}

static void inspect_fails(const char *folder, omnid_status want, const char *sentence)
{
    omnid_model_params p = reference_params();
    omnid_model_report r;
    omnid_error err = {0};
    omnid_status status = omnid_model_inspect(&r, folder, &p, &err);
    if (status != want || !strstr(err.text, sentence))
        fail_msg("want %s with \"%s\": %s: %s", omnid_status_name(want), sentence, omnid_status_name(status), err.text);
}

static omnid_model_report inspect(const char *folder, omnid_precision precision)
{
    omnid_model_params p = reference_params();
    omnid_model_report r;
    omnid_error err = {0};
    p.precision = precision;
    if (omnid_model_inspect(&r, folder, &p, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    return r;
}

/* The report agrees with the model that opening gives. */
static void test_a_sound_folder(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model_options o = plain;
    o.sharded = true;
    fixture_model(folder, &o);
    for (int precision = OMNID_PRECISION_F32; precision <= OMNID_PRECISION_BF16; precision++) {
        omnid_model_report r = inspect(folder, (omnid_precision)precision);
        omnid_model_params p = reference_params();
        p.precision = (omnid_precision)precision;
        omnid_model *m;
        omnid_error err = {0};
        assert_int_equal(omnid_model_open(&m, folder, &p, &err), OMNID_OK);
        omnid_model_info info = omnid_model_get_info(m);
        assert_string_equal(r.name, info.name);
        assert_string_equal(r.backend, "reference");
        assert_int_equal(r.precision, precision);
        assert_int_equal(r.n_parameters, info.n_parameters);
        assert_int_equal(r.kv_bytes_per_token, info.kv_bytes_per_token);
        assert_int_equal(r.n_layers, 4);
        assert_true(r.plan.work > 0 && r.need_bytes > r.plan.weights + r.plan.work); /* and the program */
        if (precision == OMNID_PRECISION_F32) /* nothing that is packed is left out */
            assert_true(r.plan.weights + (1 << 20) >= info.weight_bytes);
        assert_true(r.need_bytes == (precision == OMNID_PRECISION_F32 ? r.f32_bytes : r.bf16_bytes));
        assert_true(r.bf16_bytes < r.f32_bytes && r.int8_bytes < r.f32_bytes);
        assert_int_equal(r.weights, OMNID_WEIGHTS_AUTO);
        omnid_model_destroy(&m);
    }
    omnid_model_report r = inspect(folder, OMNID_PRECISION_F32);
    assert_string_equal(r.dtype, "bf16");
    assert_int_equal(r.n_unused, 1);
    assert_string_equal(r.first_unused, "thinker.audio_tower.audio_bos_eos_token.weight");
    assert_true(r.n_tensors > 100);
    assert_true(r.limit_bytes > 64 << 20);
    assert_true(r.tokens_per_segment > 150 && r.tokens_per_segment < 151); /* 336 x 336: 115.2 + 35 */
    fixture_remove(&folder);
}

static void test_what_is_wrong_is_counted(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model_options o = plain;
    o.leave_out = "model.layers.2.self_attn.k_proj.bias";
    fixture_model(folder, &o);
    inspect_fails(folder, OMNID_NOT_FOUND, "model.layers.2.self_attn.k_proj.bias is not in the checkpoint");
    o.reshape = "audio_tower.conv2.weight";
    fixture_model(folder, &o);
    inspect_fails(folder, OMNID_NOT_FOUND,
                  "model.layers.2.self_attn.k_proj.bias is not in the checkpoint (and 1 more that are missing");
    o.leave_out = NULL;
    fixture_model(folder, &o);
    inspect_fails(folder, OMNID_SHAPE, "audio_tower.conv2.weight: want [8, 8, 3], file has [9, 8, 3]");
    char path[700];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    remove(path);
    inspect_fails(folder, OMNID_NOT_FOUND, "tokenizer.json");
    snprintf(path, sizeof path, "%s/none", folder);
    inspect_fails(path, OMNID_NOT_FOUND, "no such model folder");
    fixture_remove(&folder);
}

static void test_a_missing_shard_is_named(void **state)
{
    (void)state;
    char *folder = fixture_folder(), path[700];
    fixture_model_options o = plain;
    o.sharded = true;
    fixture_model(folder, &o);
    snprintf(path, sizeof path, "%s/model-00002-of-00003.safetensors", folder);
    assert_int_equal(remove(path), 0);
    inspect_fails(folder, OMNID_NOT_FOUND, "shard model-00002-of-00003.safetensors is missing (thinker.");
    omnid_model_params p = reference_params();
    omnid_model *m;
    omnid_error err = {0};
    assert_int_equal(omnid_model_open(&m, folder, &p, &err), OMNID_NOT_FOUND); /* the same sentence */
    assert_non_null(strstr(err.text, "shard model-00002-of-00003.safetensors is missing (thinker."));
    fixture_remove(&folder);
}

static void test_the_limit_is_the_callers(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model(folder, &plain);
    omnid_model_params p = reference_params();
    omnid_model_report r;
    omnid_error err = {0};
    p.memory_limit = 1000;
    assert_int_equal(omnid_model_inspect(&r, folder, &p, &err), OMNID_OK);
    assert_int_equal(r.limit_bytes, 1000);
    assert_true(r.need_bytes > r.limit_bytes);
    fixture_remove(&folder);
}

/* With int8 weights: a byte and 1/64 a parameter. */
static void check_int8(const omnid_model_report *plain_weights, const char *config, size_t n)
{
    omnid_model_params p = reference_params();
    omnid_model_report r;
    omnid_error err = {0};
    p.precision = OMNID_PRECISION_BF16;
    p.weights = OMNID_WEIGHTS_INT8;
    assert_int_equal(omnid_model_estimate(&r, config, n, &p, &err), OMNID_OK);
    assert_int_equal(r.weights, OMNID_WEIGHTS_INT8);
    assert_int_equal(r.precision, OMNID_PRECISION_BF16);
    assert_int_equal(r.need_bytes, r.int8_bytes);
    assert_int_equal(r.need_bytes, plain_weights->int8_bytes);
    assert_int_equal(r.kv_bytes_per_token, plain_weights->kv_bytes_per_token);
    const double weights = (double)r.plan.weights, least = (double)r.n_parameters * (1 + 1.0 / 64);
    print_message("%.2f G parameters: %.2f GB of int8 weights\n", (double)r.n_parameters / 1e9, weights / 1e9);
    assert_true(weights > least && weights < least * 1.01);
}

/* config.json of the two published models with every key they have, and as transformers 5 writes it: nested
 * thinker_config beside talker and token2wav. Sizes are those of the published thinkers in bf16. */
static void test_published_configs(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        uint64_t n_parameters; /* the published count less the two rows of audio_bos_eos_token, which are not used */
        double gigabytes;      /* of weights in bf16 */
        uint64_t kv;           /* bytes a token in bf16 */
    } cases[] = {{"config-3b-hub.json", 4703460352, 9.4, 36864},
                 {"config-3b-t5.json", 4703460352, 9.4, 36864},
                 {"config-7b-hub.json", 8931806720, 17.9, 57344},
                 {"config-7b-t5.json", 8931806720, 17.9, 57344}};
    omnid_model_params p = reference_params();
    p.precision = OMNID_PRECISION_BF16;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        omnid_error err = {0};
        omnid_model_report r;
        char *text = fixture_read(OMNID_SOURCE_DIR "/tests/unit/engine/data", cases[i].file, &n);
        if (omnid_model_estimate(&r, text, n, &p, &err) != OMNID_OK)
            fail_msg("%s: %s", cases[i].file, err.text);
        assert_int_equal(r.n_parameters, cases[i].n_parameters);
        assert_true(fabs((double)r.n_parameters * 2e-9 - cases[i].gigabytes) < 0.1);
        assert_true(r.bf16_bytes > r.n_parameters * 2 && r.bf16_bytes < r.n_parameters * 3);
        assert_true(r.f32_bytes > r.n_parameters * 4 && r.f32_bytes < r.n_parameters * 5);
        assert_int_equal(r.kv_bytes_per_token, cases[i].kv);
        check_int8(&r, text, n);
        free(text);
    }
}

/* A folder's report and the estimate from its config agree. */
static void test_estimate(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model(folder, &plain);
    omnid_model_report r = inspect(folder, OMNID_PRECISION_F32), e;
    omnid_model_params p = reference_params();
    omnid_error err = {0};
    p.precision = OMNID_PRECISION_F32;
    assert_int_equal(omnid_model_estimate(&e, fixture_config, strlen(fixture_config), &p, &err), OMNID_OK);
    assert_int_equal(e.need_bytes, r.need_bytes);
    assert_int_equal(e.n_parameters, r.n_parameters);
    const char *other = "{\"model_type\": \"llama\"}";
    assert_int_equal(omnid_model_estimate(&e, other, strlen(other), &p, &err), OMNID_UNSUPPORTED);
    assert_non_null(strstr(err.text, "qwen2_5_omni"));
    fixture_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sound_folder),           cmocka_unit_test(test_what_is_wrong_is_counted),
        cmocka_unit_test(test_a_missing_shard_is_named), cmocka_unit_test(test_the_limit_is_the_callers),
        cmocka_unit_test(test_published_configs),        cmocka_unit_test(test_estimate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
