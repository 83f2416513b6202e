/* test_mel.c: log-mel of whole clips, segment by segment, against transformers' feature extractor (reference maximum over
 * the clip, with the frames past its end) and against the running maximum. */
#include "engine/mel.h"
#include "tests/golden/golden.h"

#include <math.h>
#include <string.h>

typedef struct {
    float *values; /* [n_frames][128], not floored */
    int n_frames;
    float max[8]; /* of each segment */
} clip_mel;

/* int16 samples of index.json's entry of that name. */
static float *load_samples(const json_t *index, const char *name, int *n)
{
    size_t i, count = 0;
    const json_t *entry;
    json_array_foreach(json_object_get(index, "samples"), i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "name")), name) != 0)
            continue;
        int16_t *raw = golden_values("front", entry, sizeof *raw, &count);
        float *out = malloc(count * sizeof *out);
        assert_non_null(out);
        for (size_t j = 0; j < count; j++)
            out[j] = (float)raw[j] / 32768.0f;
        free(raw);
        *n = (int)count;
        return out;
    }
    fail_msg("no samples named %s", name);
    return NULL;
}

/* The clip's segments one after the other, each with its 200 samples of past and 40 of future. */
static clip_mel run_mel(mel *m, const float *x, int n)
{
    clip_mel out = {.n_frames = mel_n_frames(n)};
    out.values = malloc((size_t)out.n_frames * MEL_N_BINS * sizeof *out.values);
    assert_non_null(out.values);
    for (int s = 0; s * MEL_SEGMENT_SAMPLES < n; s++) {
        int first = s * MEL_SEGMENT_SAMPLES, left = n - first;
        int n_here = left < MEL_SEGMENT_SAMPLES ? left : MEL_SEGMENT_SAMPLES, n_ahead = left - n_here;
        assert_true(s < 8);
        mel_log10(m, out.values + (size_t)s * MEL_SEGMENT_FRAMES * MEL_N_BINS, &out.max[s],
                  s > 0 ? x + first - MEL_LEFT : NULL, x + first, n_here, x + first + n_here,
                  n_ahead < MEL_AHEAD ? n_ahead : MEL_AHEAD);
    }
    return out;
}

/* Largest value of the frames past the end that still see samples: the clip goes on with zeros. */
static float max_past_end(mel *m, const float *x, int n)
{
    int first = n / MEL_SEGMENT_SAMPLES * MEL_SEGMENT_SAMPLES, n_here = n - first, n_padded = n_here + 2 * MEL_HOP;
    assert_true(n_padded <= MEL_SEGMENT_SAMPLES);
    float *padded = calloc((size_t)n_padded, sizeof *padded), max;
    float *frames = malloc((size_t)mel_n_frames(n_padded) * MEL_N_BINS * sizeof *frames);
    assert_non_null(padded);
    assert_non_null(frames);
    memcpy(padded, x + first, (size_t)n_here * sizeof *x);
    mel_log10(m, frames, &max, first > 0 ? x + first - MEL_LEFT : NULL, padded, n_padded, NULL, 0);
    free(padded);
    free(frames);
    return max;
}

static void test_mel(void **state)
{
    (void)state;
    char path[GOLDEN_PATH];
    golden_path(path, "front/index.json");
    json_t *index = golden_json(path);
    const json_t *entry;
    size_t i;
    mel *m = NULL;
    omnid_error err = {0};
    golden_ok(mel_create(&m, &err), &err);
    assert_int_equal(json_array_size(json_object_get(index, "mel")), 3);
    json_array_foreach(json_object_get(index, "mel"), i, entry)
    {
        int n_samples = 0;
        size_t n;
        const char *file = json_string_value(json_object_get(entry, "file"));
        bool whole = strcmp(json_string_value(json_object_get(entry, "reference")), "clip") == 0;
        float *want = golden_values("front", entry, sizeof *want, &n);
        float *x = load_samples(index, json_string_value(json_object_get(entry, "samples")), &n_samples);
        clip_mel got = run_mel(m, x, n_samples);
        float reference = got.max[0]; /* running: the first segment knows only itself */
        if (whole) {
            for (int s = 1; s * MEL_SEGMENT_SAMPLES < n_samples; s++)
                reference = fmaxf(reference, got.max[s]);
            reference = fmaxf(reference, max_past_end(m, x, n_samples));
            assert_int_equal(got.n_frames, golden_dim(entry, 0));
        }
        assert_true(n <= (size_t)got.n_frames * MEL_N_BINS);
        mel_normalise(got.values, n, reference);
        golden_close(file, got.values, want, n, 2e-4);
        free(got.values);
        free(x);
        free(want);
    }
    mel_destroy(&m);
    json_decref(index);
}

static void test_counts(void **state)
{
    (void)state;
    static const int samples[] = {0, 1, 160, 161, 320, 321, 480, 31999, 32000};
    static const int frames[] = {0, 1, 1, 2, 2, 3, 3, 200, 200}, tokens[] = {0, 0, 0, 0, 0, 1, 1, 50, 50};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        assert_int_equal(mel_n_frames(samples[i]), frames[i]);
        assert_int_equal(mel_n_tokens(frames[i]), tokens[i]);
    }
    assert_int_equal(mel_n_encoder_frames(21), 11);
    assert_int_equal(mel_n_tokens(21), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mel), cmocka_unit_test(test_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
