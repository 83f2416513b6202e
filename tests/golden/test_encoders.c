/* test_encoders BACKEND: both towers of the three models, f32, against transformers' outputs: a whole segment and a partial one
 * with an odd number of encoder frames, with saliency; grids of one window, and with partial windows at right and bottom. */
#include "engine/encoders.h"
#include "tests/golden/golden.h"

#include <string.h>

static const char *backend;

typedef struct {
    omnid_model *model;
    memory mem;
    kernels_stream *stream;
    encoder_work work;
    buffer tokens;
} towers;

static void towers_open(towers *t, const char *name)
{
    char path[GOLDEN_PATH];
    omnid_error err = {0};
    *t = (towers){0};
    golden_path(path, "%s/model", name);
    omnid_model_params p = omnid_model_params_default();
    p.backend = backend;
    p.precision = OMNID_PRECISION_F32;
    p.n_threads = 1;
    golden_ok(omnid_model_open(&t->model, path, &p, &err), &err);
    t->mem.model = t->model;
    golden_ok(t->model->ops->stream_open(t->model->backend, &t->stream, KERNELS_FIRST, &err), &err);
    encoder_work_init(&t->work, &t->mem, t->stream);
}

static void towers_close(towers *t)
{
    encoder_work_destroy(&t->work);
    buffer_free(&t->mem, &t->tokens);
    t->model->ops->stream_close(&t->stream);
    omnid_model_destroy(&t->model);
}

/* Room for n rows of encoder output, filled with a value that no result has. */
static tensor poisoned_rows(towers *t, int64_t n)
{
    omnid_error err = {0};
    int64_t hidden = t->model->config.text.hidden;
    size_t size = (size_t)(n * hidden) * sizeof(float);
    golden_ok(buffer_reserve(&t->mem, &t->tokens, size, &err), &err);
    void *poison = malloc(size);
    assert_non_null(poison);
    memset(poison, 0x7f, size);
    t->model->ops->upload(t->stream, t->tokens.data, poison, size);
    free(poison);
    return buffer_2d(&t->tokens, KERNELS_F32, n, hidden);
}

static float *downloaded(towers *t, const tensor *x)
{
    size_t n = (size_t)(x->dim[0] * x->dim[1]);
    float *out = malloc(n * sizeof *out);
    assert_non_null(out);
    t->model->ops->download(t->stream, out, x->data, n * sizeof *out);
    return out;
}

static void check_values(const char *what, towers *t, const tensor *got, const json_t *entry, double tolerance)
{
    size_t n;
    char name[128];
    float *want = golden_values("front", entry, sizeof *want, &n), *mine = downloaded(t, got);
    assert_int_equal(n, got->dim[0] * got->dim[1]);
    snprintf(name, sizeof name, "%s %s", what, json_string_value(json_object_get(entry, "file")));
    golden_close(name, mine, want, n, tolerance);
    free(mine);
    free(want);
}

static void check_audio(towers *t, const json_t *entry, const float *mel)
{
    omnid_error err = {0};
    audio_run run = {0};
    int first = (int)json_integer_value(json_object_get(entry, "first"));
    int n = (int)json_integer_value(json_object_get(entry, "n"));
    const json_t *output = json_object_get(entry, "output");
    golden_ok(audio_run_front(&t->work, &run, mel + (size_t)first * 128, n, &err), &err);
    for (int l = 0; l < t->model->config.audio.n_layers; l++)
        golden_ok(audio_run_layer(&t->work, &run, l, &err), &err);
    assert_int_equal(run.n_tokens, golden_dim(output, 0));
    tensor tokens = poisoned_rows(t, run.n_tokens), saliency;
    golden_ok(audio_run_finish(&t->work, &run, &tokens, &saliency, &err), &err);
    check_values("audio", t, &tokens, output, 5e-5);
    check_values("saliency", t, &saliency, json_object_get(entry, "saliency"), 1e-6);
    audio_run_free(&t->mem, &run);
}

/* One grid, or the golden one as one of two of which the other is something else. */
static void check_run(towers *t, const json_t *entry, const uint8_t *const *frames, int n_grids, int place, int columns,
                      int rows)
{
    omnid_error err = {0};
    vision_run run = {0};
    golden_ok(vision_run_front(&t->work, &run, frames, n_grids, columns, rows, &err), &err);
    for (int b = 0; b < t->model->config.vision.depth; b++)
        golden_ok(vision_run_block(&t->work, &run, b, &err), &err);
    tensor tokens = poisoned_rows(t, (int64_t)n_grids * columns * rows), own = tokens;
    golden_ok(vision_run_finish(&t->work, &run, &tokens, &err), &err);
    own.dim[0] = (int64_t)columns * rows;
    own.data = (float *)tokens.data + place * own.dim[0] * own.stride;
    check_values("vision", t, &own, json_object_get(entry, "output"), 5e-5);
    vision_run_free(&t->mem, &run);
}

static void check_grid(towers *t, const json_t *entry)
{
    char path[GOLDEN_PATH];
    size_t n;
    int height = (int)json_integer_value(json_object_get(entry, "height"));
    int width = (int)json_integer_value(json_object_get(entry, "width"));
    golden_path(path, "front/%s", json_string_value(json_object_get(entry, "frames")));
    uint8_t *frames = golden_read(path, &n);
    assert_int_equal(n, 2 * 3 * height * width);
    const uint8_t *first = frames, *second = frames + n / 2;
    check_run(t, entry, (const uint8_t *const[]){first, second}, 1, 0, width / 28, height / 28);
    check_run(t, entry, (const uint8_t *const[]){first, second, second, second}, 2, 0, width / 28, height / 28);
    check_run(t, entry, (const uint8_t *const[]){second, second, first, second}, 2, 1, width / 28, height / 28);
    free(frames);
}

static void test_model(void **state)
{
    const char *name = *state;
    char path[GOLDEN_PATH];
    size_t i, n_mel = 0;
    int n_audio = 0, n_vision = 0;
    const json_t *entry;
    golden_path(path, "front/index.json");
    json_t *index = golden_json(path);
    float *mel = golden_values("front", json_array_get(json_object_get(index, "mel"), 0), sizeof *mel, &n_mel);
    towers t;
    towers_open(&t, name);
    json_array_foreach(json_object_get(index, "audio"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "model")), name) == 0) {
            check_audio(&t, entry, mel);
            n_audio++;
        }
    }
    json_array_foreach(json_object_get(index, "vision"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "model")), name) == 0) {
            check_grid(&t, entry);
            n_vision++;
        }
    }
    towers_close(&t);
    free(mel);
    json_decref(index);
    assert_int_equal(n_audio, 2);
    assert_int_equal(n_vision, 3);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        print_error("usage: %s BACKEND\n", argv[0]);
        return 64;
    }
    backend = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_model, (void *)(uintptr_t) "M1"),
        cmocka_unit_test_prestate(test_model, (void *)(uintptr_t) "M2"),
        cmocka_unit_test_prestate(test_model, (void *)(uintptr_t) "M3"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
