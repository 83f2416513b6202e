/* test_model.c: opening whole folders: every tensor in its place, and each way a folder can be wrong. */
#include "engine/model.h"
#include "engine/model_load.h"
#include "tests/unit/engine/fixtures.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const fixture_model_options plain = {.prefix = "thinker.", .dtype = "BF16"};

static double last_progress;
static int n_progress;

static void on_progress(void *user, double done)
{
    assert_ptr_equal(user, &last_progress);
    assert_true(done >= last_progress && done <= 1.0);
    last_progress = done;
    n_progress++;
}

static omnid_model_params reference_params(void)
{
    omnid_model_params p = omnid_model_params_default();
    p.backend = "reference";
    p.n_threads = 1;
    p.precision = OMNID_PRECISION_F32;
    return p;
}

static omnid_model *open_model(const char *folder)
{
    omnid_model_params p = reference_params();
    p.on_progress = on_progress;
    p.user = &last_progress;
    last_progress = 0;
    n_progress = 0;
    omnid_model *m;
    omnid_error err = {0};
    if (omnid_model_open(&m, folder, &p, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    assert_true(last_progress == 1.0);
    assert_true(n_progress > 20);
    return m;
}

/* ------------------------------------------------------------------ what is packed */

/* Row `row` of a packed weight, read by multiplying with the unit vectors; bias added in y_0. */
static void read_row(omnid_model *m, const kernels_weight *w, int64_t n, int64_t k, int64_t row, float *out,
                     float *bias)
{
    kernels_stream *s;
    omnid_error err = {0};
    assert_int_equal(m->ops->stream_open(m->backend, &s, KERNELS_FIRST, &err), OMNID_OK);
    float *x = calloc((size_t)((k + 1) * k), sizeof *x), *y = calloc((size_t)((k + 1) * n), sizeof *y);
    for (int64_t i = 0; i < k; i++)
        x[(i + 1) * k + i] = 1.0f;
    tensor tx = tensor_2d(x, KERNELS_F32, k + 1, k), ty = tensor_2d(y, KERNELS_F32, k + 1, n);
    kernels_epilogue e = {0};
    m->ops->linear(s, &ty, &tx, w, &e);
    assert_int_equal(kernels_stream_status(s, &err), OMNID_OK);
    *bias = y[row];
    for (int64_t i = 0; i < k; i++)
        out[i] = y[(i + 1) * n + row] - y[row];
    m->ops->stream_close(&s);
    free(x);
    free(y);
}

static void check_row(omnid_model *m, const kernels_weight *w, int64_t n, int64_t k, int64_t row, const char *name,
                      int64_t row_in_file, bool has_bias)
{
    float *got = calloc((size_t)k, sizeof *got), bias;
    char full[200];
    read_row(m, w, n, k, row, got, &bias);
    snprintf(full, sizeof full, "%s.weight", name);
    for (int64_t i = 0; i < k; i++)
        if (got[i] != fixture_value(full, row_in_file * k + i))
            fail_msg("%s: row %d, column %d: %g", name, (int)row_in_file, (int)i, (double)got[i]);
    snprintf(full, sizeof full, "%s.bias", name);
    assert_true(bias == (has_bias ? fixture_value(full, row_in_file) : 0.0f));
    free(got);
}

static void check_vector(const tensor *t, const char *name, int64_t n)
{
    assert_int_equal(t->dtype, KERNELS_F32);
    assert_int_equal(t->dim[0], n);
    for (int64_t i = 0; i < n; i++)
        assert_true(((const float *)t->data)[i] == fixture_value(name, i));
}

static void check_weights(omnid_model *m)
{
    const vision_block *v = &m->vision.blocks[2];
    check_row(m, v->qkv, 48, 16, 3, "visual.blocks.2.attn.q", 3, true);
    check_row(m, v->qkv, 48, 16, 16, "visual.blocks.2.attn.k", 0, true);
    check_row(m, v->qkv, 48, 16, 47, "visual.blocks.2.attn.v", 15, true);
    check_row(m, v->gate_up, 40, 16, 19, "visual.blocks.2.mlp.gate_proj", 19, true);
    check_row(m, v->gate_up, 40, 16, 20, "visual.blocks.2.mlp.up_proj", 0, true);
    check_row(m, v->down, 16, 20, 5, "visual.blocks.2.mlp.down_proj", 5, true);
    check_row(m, v->proj, 16, 16, 5, "visual.blocks.2.attn.proj", 5, true);
    check_row(m, m->vision.patch_embed, 16, 1176, 9, "visual.patch_embed.proj", 9, false);
    check_row(m, m->vision.merger_fc1, 64, 64, 63, "visual.merger.mlp.0", 63, true);
    check_row(m, m->vision.merger_fc2, 24, 64, 1, "visual.merger.mlp.2", 1, true);
    check_vector(&v->norm2, "visual.blocks.2.norm2.weight", 16);
    const audio_layer *a = &m->audio.layers[1];
    check_row(m, a->qkv, 24, 8, 0, "audio_tower.layers.1.self_attn.q_proj", 0, true);
    check_row(m, a->qkv, 24, 8, 8, "audio_tower.layers.1.self_attn.k_proj", 0, false);
    check_row(m, a->qkv, 24, 8, 23, "audio_tower.layers.1.self_attn.v_proj", 7, true);
    check_row(m, a->fc2, 8, 12, 7, "audio_tower.layers.1.fc2", 7, true);
    check_row(m, m->audio.conv1, 8, 384, 2, "audio_tower.conv1", 2, true);
    check_row(m, m->audio.conv2, 8, 24, 2, "audio_tower.conv2", 2, true);
    check_vector(&a->norm1_b, "audio_tower.layers.1.self_attn_layer_norm.bias", 8);
    check_vector(&a->norm2_w, "audio_tower.layers.1.final_layer_norm.weight", 8);
    check_vector(&m->audio.post_b, "audio_tower.ln_post.bias", 8);
    const decoder_layer *d = &m->decoder.layers[3];
    check_row(m, d->qkv, 40, 24, 23, "model.layers.3.self_attn.q_proj", 23, true);
    check_row(m, d->qkv, 40, 24, 24, "model.layers.3.self_attn.k_proj", 0, true);
    check_row(m, d->qkv, 40, 24, 39, "model.layers.3.self_attn.v_proj", 7, true);
    check_row(m, d->o, 24, 24, 4, "model.layers.3.self_attn.o_proj", 4, false);
    check_row(m, d->gate_up, 80, 24, 40, "model.layers.3.mlp.up_proj", 0, false);
    check_row(m, d->down, 24, 40, 23, "model.layers.3.mlp.down_proj", 23, false);
    check_row(m, m->decoder.head, 310, 24, 309, "lm_head", 309, false);
    check_vector(&d->norm2, "model.layers.3.post_attention_layernorm.weight", 24);
    check_vector(&m->decoder.norm, "model.norm.weight", 24);
    assert_int_equal(m->decoder.embedding.dim[0], 310);
    assert_int_equal(m->decoder.embedding.dim[1], 24);
}

static void test_every_weight_is_in_its_place(void **state)
{
    (void)state;
    static const fixture_model_options kinds[] = {{.prefix = "thinker.", .dtype = "BF16", .sharded = true},
                                                  {.prefix = "", .dtype = "F32"},
                                                  {.prefix = "", .dtype = "BF16", .pad = 1}, /* odd addresses */
                                                  {.prefix = "thinker.", .dtype = "F32", .pad = 3}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char *folder = fixture_folder();
        fixture_model(folder, &kinds[i]);
        omnid_model *m = open_model(folder);
        check_weights(m);
        omnid_model_destroy(&m);
        assert_null(m);
        omnid_model_destroy(&m);
        fixture_remove(&folder);
    }
}

static void test_info_and_ids(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model(folder, &plain);
    omnid_model *m = open_model(folder);
    omnid_model_info i = omnid_model_get_info(m);
    assert_string_equal(i.name, strrchr(folder, '/') + 1);
    assert_string_equal(i.backend, "reference");
    assert_int_equal(i.precision, OMNID_PRECISION_F32);
    assert_int_equal(i.n_layers, 4);
    assert_int_equal(i.head_dim, 8);
    assert_int_equal(i.vocabulary, 310);
    assert_int_equal(i.max_pixels, 336 * 336);
    assert_int_equal(i.kv_bytes_per_token, 4 * 2 * 8 * 4);
    assert_int_equal(i.n_threads, 1);
    assert_true(i.weight_bytes >= 4 * (i.n_parameters - 310 * 24) + 2 * 310 * 24);
    assert_int_equal(m->ids.im_start, 291);
    assert_int_equal(m->ids.im_end, 292);
    assert_int_equal(m->ids.end_of_text, 290);
    assert_int_equal(m->ids.video, 299);
    assert_int_equal(m->ids.audio_end, 295);
    assert_int_equal(m->ids.n_eos, 2);
    assert_int_equal(m->ids.eos[0], 292);
    assert_ptr_equal(omnid_model_get_tokenizer(m), m->tokenizer);
    omnid_model_destroy(&m);
    fixture_remove(&folder);
}

/* torch, float32: 1.0 / (theta ** (arange(0, dim, 2) / dim)); transformers' sinusoids for d = 8 at position 37. */
static void test_constants(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model(folder, &plain);
    omnid_model *m = open_model(folder);
    static const double inv[] = {1.0, 0.10000000149011612, 0.009999999776482582, 0.0010000000474974513};
    for (int i = 0; i < 4; i++)
        assert_true(fabs(m->decoder.inv_freq[i] - inv[i]) < 1e-9 * inv[i]);
    const float *p = (const float *)m->audio.positions.data + 37 * 8;
    for (int j = 0; j < 4; j++) {
        double angle = 37.0 * exp(-j * log(10000.0) / 3.0);
        assert_true(fabs(p[j] - sin(angle)) < 1e-5);
        assert_true(fabs(p[4 + j] - cos(angle)) < 1e-5);
    }
    omnid_model_destroy(&m);
    fixture_remove(&folder);
}

/* No lm_head: the head is the embedding, whatever tie_word_embeddings says, and is counted once. */
static void test_tied_head(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model(folder, &plain);
    omnid_model *m = open_model(folder);
    uint64_t untied = omnid_model_get_info(m).n_parameters;
    omnid_model_destroy(&m);
    fixture_model_options o = plain;
    o.leave_out = "lm_head.weight";
    fixture_model(folder, &o);
    m = open_model(folder);
    check_row(m, m->decoder.head, 310, 24, 309, "model.embed_tokens", 309, false);
    assert_int_equal(omnid_model_get_info(m).n_parameters, untied - 310 * 24);
    omnid_model_destroy(&m);
    fixture_remove(&folder);
}

/* ------------------------------------------------------------------ what is refused */

static void refuse(const char *folder, const omnid_model_params *p, omnid_status want, const char *sentence)
{
    omnid_model_params reference = reference_params();
    omnid_model *m = (omnid_model *)1;
    omnid_error err = {0};
    omnid_status status = omnid_model_open(&m, folder, p ? p : &reference, &err);
    assert_null(m);
    if (status != want || err.status != want || !strstr(err.text, sentence))
        fail_msg("want %s with \"%s\": %s: %s", omnid_status_name(want), sentence, omnid_status_name(status), err.text);
}

static void test_missing_and_misshapen_tensors(void **state)
{
    (void)state;
    static const struct {
        const char *name, *sentence;
    } cases[] = {{"model.layers.2.self_attn.k_proj.bias", "want [8], file has [9]"},
                 {"model.embed_tokens.weight", "want [310, 24], file has [311, 24]"},
                 {"visual.patch_embed.proj.weight", "want [16, 3, 2, 14, 14], file has [17, 3, 2, 14, 14]"},
                 {"audio_tower.conv2.weight", "want [8, 8, 3], file has [9, 8, 3]"},
                 {"audio_tower.layers.1.final_layer_norm.bias", "want [8], file has [9]"}};
    char *folder = fixture_folder();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sentence[300];
        fixture_model_options o = plain;
        o.leave_out = cases[i].name;
        fixture_model(folder, &o);
        snprintf(sentence, sizeof sentence, "%s is not in the checkpoint", cases[i].name);
        refuse(folder, NULL, OMNID_NOT_FOUND, sentence);
        o.leave_out = NULL;
        o.reshape = cases[i].name;
        fixture_model(folder, &o);
        snprintf(sentence, sizeof sentence, "%s: %s", cases[i].name, cases[i].sentence);
        refuse(folder, NULL, OMNID_SHAPE, sentence);
    }
    fixture_remove(&folder);
}

static void test_missing_and_torn_files(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "tokenizer.json", "model.safetensors"};
    char *folder = fixture_folder(), path[700];
    snprintf(path, sizeof path, "%s/none", folder);
    refuse(path, NULL, OMNID_NOT_FOUND, "no such model folder");
    refuse("", NULL, OMNID_ARGUMENT, "want a model folder");
    for (size_t i = 0; i < 3; i++) {
        fixture_model(folder, &plain);
        size_t n;
        char *data = fixture_read(folder, names[i], &n);
        fixture_write(folder, names[i], data, n / 2);
        refuse(folder, NULL, OMNID_FORMAT, folder);
        free(data);
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
        refuse(folder, NULL, OMNID_NOT_FOUND, folder);
    }
    fixture_remove(&folder);
}

static void test_files_that_disagree(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model_options o = plain;
    char *config = fixture_replace(fixture_config, "\"video_token_index\": 299", "\"video_token_index\": 298");
    o.config = config;
    fixture_model(folder, &o);
    refuse(folder, NULL, OMNID_FORMAT, "<|VIDEO|>: config.json says id 298, tokenizer.json says 299");
    free(config);
    o.config = config = fixture_replace(fixture_config, "\"vocab_size\": 310", "\"vocab_size\": 300");
    fixture_model(folder, &o);
    refuse(folder, NULL, OMNID_FORMAT, "tokenizer.json has ids up to 301, the embedding 300 rows");
    free(config);
    fixture_model(folder, &plain);
    fixture_text(folder, "generation_config.json", "{\"eos_token_id\": [292, 400]}");
    refuse(folder, NULL, OMNID_FORMAT, "eos_token_id: want ids of 0 .. 309");
    fixture_text(folder, "generation_config.json", "{\"eos_token_id\": 17}");
    omnid_model *m = open_model(folder);
    assert_int_equal(m->ids.n_eos, 3);
    assert_int_equal(m->ids.eos[2], 17);
    omnid_model_destroy(&m);
    fixture_remove(&folder);
}

static void test_params(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    fixture_model(folder, &plain);
    omnid_model_params p = reference_params();
    p.memory_limit = 200 << 20; /* the program itself is planned with 256 MiB */
    refuse(folder, &p, OMNID_LIMIT, "the model needs 0.2");
    p = reference_params();
    p.backend = "abacus";
    refuse(folder, &p, OMNID_NOT_FOUND, "abacus");
    p = reference_params();
    p.n_threads = -1;
    refuse(folder, &p, OMNID_ARGUMENT, "n_threads: want 0 .. 4096, found -1");
    p = reference_params();
    p.precision = OMNID_PRECISION_BF16;
    omnid_model *m;
    omnid_error err = {0};
    assert_int_equal(omnid_model_open(&m, folder, &p, &err), OMNID_OK);
    assert_int_equal(omnid_model_get_info(m).precision, OMNID_PRECISION_BF16);
    assert_int_equal(omnid_model_get_info(m).kv_bytes_per_token, 4 * 2 * 8 * 2);
    omnid_model_destroy(&m);
    fixture_remove(&folder);
}

/* Each part of the plan is told, and what would help; on a device of its own the machine has to hold the rest. */
static void test_memory_plan(void **state)
{
    (void)state;
    omnid_error err = {0};
    const uint64_t gib = (uint64_t)1 << 30;
    omnid_memory_plan plan = {.device = "lamp",
                              .own = true,
                              .n_timelines = 2,
                              .weights = 3 * gib,
                              .kv = gib,
                              .work = gib / 4,
                              .driver = gib / 4,
                              .need = 9 * gib / 2,
                              .limit = 9 * gib / 2,
                              .total = 8 * gib,
                              .free = 9 * gib / 2,
                              .host_need = gib,
                              .host_total = gib};
    assert_int_equal(model_check_memory(&plan, OMNID_PRECISION_BF16, OMNID_WEIGHTS_AUTO, &err), OMNID_OK);
    plan.limit--;
    assert_int_equal(model_check_memory(&plan, OMNID_PRECISION_BF16, OMNID_WEIGHTS_AUTO, &err), OMNID_LIMIT);
    assert_non_null(strstr(err.text,
                           "needs 4.50 GiB (weights 3.00, KV of 2 timelines 1.00, work space 0.25, the driver 0.25), "
                           "lamp has 4.50 GiB free of 8.00: try a smaller window_s, fewer cameras"));
    plan.limit = 3 * gib;
    assert_int_equal(model_check_memory(&plan, OMNID_PRECISION_BF16, OMNID_WEIGHTS_AUTO, &err), OMNID_LIMIT);
    assert_non_null(strstr(err.text, "lamp has 3.00 GiB free of 8.00: try weights int8 or a smaller model"));
    plan.limit = plan.need;
    plan.host_total--;
    assert_int_equal(model_check_memory(&plan, OMNID_PRECISION_BF16, OMNID_WEIGHTS_AUTO, &err), OMNID_LIMIT);
    assert_non_null(strstr(err.text, "1.00 GiB of the machine's memory while it is loaded"));
    plan.own = false;
    plan.limit = plan.need - 1;
    assert_int_equal(model_check_memory(&plan, OMNID_PRECISION_BF16, OMNID_WEIGHTS_AUTO, &err), OMNID_LIMIT);
    assert_non_null(strstr(err.text, "the program 0.25), lamp has 4.50 GiB: "));
    kernels_memory machine;
    kernels_machine_memory(&machine);
    assert_true(machine.total > 64 << 20 && machine.free <= machine.total && !machine.own);
}

/* ------------------------------------------------------------------ omnid.json */

static void test_omnid_json(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        omnid_status status;
        const char *sentence;
    } bad[] = {
        {"{\"max_pixel\": 3}", OMNID_FORMAT, "unknown key \"max_pixel\"; the nearest is \"max_pixels\""},
        {"{\"retentions\": {}}", OMNID_FORMAT, "the nearest is \"retention\""},
        {"{\"max_pixels\": 783}", OMNID_LIMIT, "max_pixels: want 784"},
        {"{\"max_pixels\": \"big\"}", OMNID_FORMAT, "want an integer"},
        {"{\"name\": \"\"}", OMNID_FORMAT, "name"},
        {"{\"name\": 3}", OMNID_FORMAT, "name"},
        {"{\"retention\": []}", OMNID_FORMAT, "retention"},
        {"{\"retention\": {\"30\": [0, 0.2, 0.5]}}", OMNID_FORMAT, "[p_init, p_final, t_mid, tds_start]"},
        {"{\"retention\": {\"30\": [0, 1.2, 0.5, 2]}}", OMNID_LIMIT, "want p of 0 .. 1"},
        {"{\"retention\": {\"30\": [0, 0.2, 0.5, 4]}}", OMNID_LIMIT, "tds_start of 0 .. 3"},
        {"{\"retention\": {\"none\": [0, 0.2, 0.5, 2]}}", OMNID_FORMAT, "not \"none\""},
        {"{\"retention\": {\"a name of sixteen and more\": [0, 0.2, 0.5, 2]}}", OMNID_FORMAT, "1 .. 15 characters"},
        {"3", OMNID_FORMAT, "want a JSON object"},
        {"{\"name\": \"a\", \"name\": \"b\"}", OMNID_FORMAT, "duplicate"}};
    char *folder = fixture_folder();
    fixture_model(folder, &plain);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fixture_text(folder, "omnid.json", bad[i].text);
        refuse(folder, NULL, bad[i].status, bad[i].sentence);
    }
    fixture_text(folder, "omnid.json",
                 "{\"name\": \"demo\", \"max_pixels\": 50176, \"retention\": {\"30\": [0, 0.31, 0.5, 2], \"20\": "
                 "[0.05, 0.7, 0.5, 3]}}");
    omnid_model *m = open_model(folder);
    assert_string_equal(omnid_model_get_info(m).name, "demo");
    assert_int_equal(omnid_model_get_info(m).max_pixels, 50176);
    assert_int_equal(m->n_schedules, 2);
    assert_string_equal(m->schedules[1].name, "20");
    assert_true(m->schedules[1].p_final == 0.7);
    assert_int_equal(m->schedules[1].tds_start, 3);
    omnid_model_destroy(&m);
    fixture_remove(&folder);
}

/* ------------------------------------------------------------------ random weights */

static omnid_model *make_random(const char *shape, uint64_t seed)
{
    omnid_model_params p = reference_params();
    omnid_model *m;
    omnid_error err = {0};
    if (omnid_model_create_random(&m, shape, seed, &p, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    return m;
}

static void test_random_model(void **state)
{
    (void)state;
    char *folder = fixture_folder(), path[600];
    fixture_text(folder, "config.json", fixture_config);
    snprintf(path, sizeof path, "%s/config.json", folder);
    omnid_model *a = make_random(path, 1), *again = make_random(path, 1), *other = make_random(path, 2);
    size_t n = 310 * 24, size = n * 2;
    assert_int_equal(a->decoder.embedding.dtype, KERNELS_BF16);
    assert_memory_equal(a->decoder.embedding.data, again->decoder.embedding.data, size);
    assert_memory_not_equal(a->decoder.embedding.data, other->decoder.embedding.data, size);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)((const uint16_t *)a->decoder.embedding.data)[i] << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        sum += x;
        squares += (double)x * x;
    }
    assert_true(fabs(sum / (double)n) < 1e-3);
    assert_true(fabs(sqrt(squares / (double)n) - 0.02) < 5e-4);
    float row[24], row_o[24], bias;
    read_row(a, a->decoder.layers[0].qkv, 40, 24, 0, row, &bias);
    read_row(a, a->decoder.layers[1].qkv, 40, 24, 0, row_o, &bias);
    assert_memory_not_equal(row, row_o, sizeof row);
    const float *norm = a->decoder.norm.data;
    assert_true(norm[0] > 0.8f && norm[0] < 1.2f);
    assert_int_equal(a->ids.im_start, 291);
    int32_t *ids;
    size_t n_ids;
    omnid_error err;
    assert_int_equal(omnid_tokenizer_encode(a->tokenizer, "hi<|im_end|>", 12, &ids, &n_ids, &err), OMNID_OK);
    assert_int_equal(n_ids, 12); /* bytes only */
    assert_int_equal(ids[0], 'h');
    free(ids);
    omnid_model_destroy(&a);
    omnid_model_destroy(&again);
    omnid_model_destroy(&other);
    fixture_remove(&folder);
}

static void test_random_model_without_ids(void **state)
{
    (void)state;
    char *folder = fixture_folder(), path[600];
    char *text = fixture_replace(fixture_config, "\"audio_token_index\": 293, \"video_token_index\": 299, ", "");
    fixture_text(folder, "config.json", text);
    snprintf(path, sizeof path, "%s/config.json", folder);
    omnid_model *m = make_random(path, 1);
    assert_int_equal(m->ids.audio, 256);
    assert_int_equal(m->ids.video, 257);
    assert_int_equal(m->ids.vision_end, 297);
    omnid_model_destroy(&m);
    free(text);
    omnid_model_params p = reference_params();
    omnid_error err = {0};
    assert_int_equal(omnid_model_create_random(&m, "13b", 1, &p, &err), OMNID_NOT_FOUND);
    assert_non_null(strstr(err.text, "\"3b\", \"7b\""));
    assert_null(m);
    text = fixture_replace(fixture_config, "\"audio_token_index\": 293", "\"audio_token_index\": 299");
    fixture_text(folder, "config.json", text);
    assert_int_equal(omnid_model_create_random(&m, path, 1, &p, &err), OMNID_FORMAT);
    assert_non_null(strstr(err.text, "id 299 to two tokens"));
    free(text);
    p.memory_limit = (uint64_t)2 << 30;
    assert_int_equal(omnid_model_create_random(&m, "7b", 1, &p, &err), OMNID_LIMIT);
    fixture_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_weight_is_in_its_place),
                                       cmocka_unit_test(test_info_and_ids),
                                       cmocka_unit_test(test_constants),
                                       cmocka_unit_test(test_tied_head),
                                       cmocka_unit_test(test_missing_and_misshapen_tensors),
                                       cmocka_unit_test(test_missing_and_torn_files),
                                       cmocka_unit_test(test_files_that_disagree),
                                       cmocka_unit_test(test_params),
                                       cmocka_unit_test(test_memory_plan),
                                       cmocka_unit_test(test_omnid_json),
                                       cmocka_unit_test(test_random_model),
                                       cmocka_unit_test(test_random_model_without_ids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
