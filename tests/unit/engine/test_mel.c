/* test_mel.c: log-mel against a plain transform in float64, and segment by segment against the whole. */
#include "engine/mel.h"
#include "engine/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mel *create(void)
{
    mel *m;
    omnid_error err;
    assert_int_equal(mel_create(&m, &err), OMNID_OK);
    return m;
}

/* Noise, a tone and a silence: n samples; malloc'ed. */
static float *make_sound(int n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    random_pcg32 r = random_pcg32_seed(7, 0);
    for (int i = 0; i < n; i++) {
        double noise = random_pcg32_uniform(&r) - 0.5;
        x[i] = (float)(i / 4000 % 3 == 0   ? noise
                       : i / 4000 % 3 == 1 ? 0.4 * sin(i * 0.35) + 0.01 * noise
                                           : 1e-4 * noise);
    }
    return x;
}

/* ------------------------------------------------------------------ the definition, slowly */

static double hz_of_mel(double x)
{
    return x < 15.0 ? x * 200.0 / 3.0 : 1000.0 * pow(6.4, (x - 15.0) / 27.0);
}

static double filter(int bin, int k)
{
    const double top = 15.0 + 27.0 * log(8.0) / log(6.4); /* 8 kHz */
    double left = hz_of_mel(top * bin / 129), mid = hz_of_mel(top * (bin + 1) / 129),
           right = hz_of_mel(top * (bin + 2) / 129);
    double f = k * 40.0, slope = f < mid ? (f - left) / (mid - left) : (right - f) / (right - mid);
    return (slope > 0 ? slope : 0) * 2.0 / (right - left);
}

/* One row of log10 values of the 400 samples at x. */
static void slow_frame(double out[MEL_N_BINS], const double x[MEL_N_FFT])
{
    double power[201];
    for (int k = 0; k <= 200; k++) {
        double re = 0, im = 0;
        for (int i = 0; i < MEL_N_FFT; i++) {
            double v = x[i] * (0.5 - 0.5 * cos(2 * M_PI * i / 400)), angle = 2 * M_PI * (i * k % 400) / 400;
            re += v * cos(angle);
            im -= v * sin(angle);
        }
        power[k] = re * re + im * im;
    }
    for (int b = 0; b < MEL_N_BINS; b++) {
        double sum = 0;
        for (int k = 0; k <= 200; k++)
            sum += filter(b, k) * power[k];
        out[b] = log10(fmax(sum, 1e-10));
    }
}

static void check_frame(const float *got, const float *x, int first)
{
    double in[MEL_N_FFT], want[MEL_N_BINS];
    for (int i = 0; i < MEL_N_FFT; i++)
        in[i] = x[first + i];
    slow_frame(want, in);
    for (int b = 0; b < MEL_N_BINS; b++)
        if (!(fabs(got[b] - want[b]) <
              (want[b] > -6 ? 1e-4 : 2e-2))) /* float32 transforms leave noise near 1e-14 of the peak */
            fail_msg("bin %d: %g, want %g", b, (double)got[b], want[b]);
}

static void test_frames_are_what_the_definition_says(void **state)
{
    (void)state;
    mel *m = create();
    enum { N = MEL_LEFT + MEL_SEGMENT_SAMPLES + MEL_AHEAD };
    float *x = make_sound(N), *out = malloc(MEL_SEGMENT_FRAMES * MEL_N_BINS * sizeof *out), max;
    mel_log10(m, out, &max, x, x + MEL_LEFT, MEL_SEGMENT_SAMPLES, x + N - MEL_AHEAD, MEL_AHEAD);
    static const int frames[] = {0, 1, 10, 26, 50, 77, 120, 198, 199};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++)
        check_frame(out + frames[i] * MEL_N_BINS, x, frames[i] * MEL_HOP);
    float most = out[0];
    for (int i = 1; i < MEL_SEGMENT_FRAMES * MEL_N_BINS; i++)
        most = fmaxf(most, out[i]);
    assert_true(max == most);
    free(x);
    free(out);
    mel_destroy(&m);
    mel_destroy(&m);
}

/* At the start of a stream: as if the segment's own samples, turned round, had come before it. */
static void test_reflection_at_the_start(void **state)
{
    (void)state;
    mel *m = create();
    float *x = make_sound(3200), left[MEL_LEFT], a[20 * MEL_N_BINS], b[20 * MEL_N_BINS], max_a, max_b;
    for (int i = 0; i < MEL_LEFT; i++)
        left[i] = x[MEL_LEFT - i];
    mel_log10(m, a, &max_a, NULL, x, 3200, NULL, 0);
    mel_log10(m, b, &max_b, left, x, 3200, NULL, 0);
    assert_memory_equal(a, b, sizeof a);
    assert_true(max_a == max_b);
    /* Fewer samples than the reflection reaches: zeros stand for the rest, awaited samples count. */
    float tiny[2 * MEL_N_BINS], full[2 * MEL_N_BINS], padded[400] = {0};
    memcpy(padded, x, 200 * sizeof *x);
    memset(left, 0, sizeof left);
    for (int i = 1; i < 200; i++)
        left[MEL_LEFT - i] = x[i];
    mel_log10(m, tiny, &max_a, NULL, x, 161, x + 161, 39);
    mel_log10(m, full, &max_b, left, padded, 320, NULL, 0);
    assert_memory_equal(tiny, full, sizeof tiny);
    free(x);
    mel_destroy(&m);
}

/* A sound cut in two, each part with its context, has the frames of the whole. */
static void test_two_segments_are_the_whole(void **state)
{
    (void)state;
    mel *m = create();
    enum { CUT = 16000, END = 32000 };
    float *x = make_sound(END), *whole = malloc(200 * MEL_N_BINS * sizeof *whole),
          *parts = malloc(200 * MEL_N_BINS * sizeof *parts);
    float max, first, second;
    mel_log10(m, whole, &max, NULL, x, END, NULL, 0);
    mel_log10(m, parts, &first, NULL, x, CUT, x + CUT, MEL_AHEAD);
    mel_log10(m, parts + 100 * MEL_N_BINS, &second, x + CUT - MEL_LEFT, x + CUT, END - CUT, NULL, 0);
    assert_memory_equal(whole, parts, 200 * MEL_N_BINS * sizeof *whole);
    assert_true(max == fmaxf(first, second));
    free(x);
    free(whole);
    free(parts);
    mel_destroy(&m);
}

static void test_silence(void **state)
{
    (void)state;
    mel *m = create();
    float x[1000] = {0}, out[7 * MEL_N_BINS], max = 5;
    mel_log10(m, out, &max, NULL, x, 1000, NULL, 0);
    assert_true(max == -10.0f);
    for (int i = 0; i < 7 * MEL_N_BINS; i++)
        assert_true(out[i] == -10.0f);
    mel_log10(m, out, &max, NULL, NULL, 0, NULL, 0);
    assert_true(max == -10.0f);
    mel_destroy(&m);
}

static void test_normalise(void **state)
{
    (void)state;
    float x[] = {2.0f, -6.0f, -6.5f, -10.0f};
    mel_normalise(x, 4, 2.0f);
    static const float want[] = {1.5f, -0.5f, -0.5f, -0.5f};
    assert_memory_equal(x, want, sizeof x);
}

static void test_counts(void **state)
{
    (void)state;
    static const struct {
        int samples, frames, encoder, tokens;
    } cases[] = {{0, 0, 0, 0},         {1, 1, 1, 0},         {160, 1, 1, 0},       {161, 2, 1, 0},
                 {321, 3, 2, 1},       {481, 4, 2, 1},       {641, 5, 3, 1},       {801, 6, 3, 1},
                 {961, 7, 4, 2},       {16000, 100, 50, 25}, {16001, 101, 51, 25}, {31999, 200, 100, 50},
                 {32000, 200, 100, 50}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mel_n_frames(cases[i].samples), cases[i].frames);
        assert_int_equal(mel_n_encoder_frames(cases[i].frames), cases[i].encoder);
        assert_int_equal(mel_n_tokens(cases[i].frames), cases[i].tokens);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frames_are_what_the_definition_says),
                                       cmocka_unit_test(test_reflection_at_the_start),
                                       cmocka_unit_test(test_two_segments_are_the_whole),
                                       cmocka_unit_test(test_silence),
                                       cmocka_unit_test(test_normalise),
                                       cmocka_unit_test(test_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
