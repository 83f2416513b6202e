/* libsamplerate under the steering: clicks at known moments come out at those moments, a tone as the tone it was. */
#include "capture/capture.h"
#include "capture/mic_resampler.h"
#include "mic_world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

enum { MAX_BLOCK = 8192, OUT = CAPTURE_RATE * 130, CLICK_US = 250000 };

static float heard[OUT];
static int64_t heard_us; /* of heard[0] */
static int n_heard, n_restarts;

/* A click of 2 ms (a raised cosine) in the middle of each quarter second of true time. */
static float click_at(double t_us)
{
    double off_us = fmod(t_us, CLICK_US) - CLICK_US / 2;
    return fabs(off_us) < 1000.0 ? (float)(0.25 * (1.0 + cos(M_PI * off_us / 1000.0))) : 0.0f;
}

static float tone_at(double t_us)
{
    return 0.5f * (float)sin(2.0 * M_PI * 440.0 * t_us * 1e-6);
}

/* Puts what came out where its time says, from the first output on. */
static void keep(const float *out, int n, int64_t t_us)
{
    if (!n_heard)
        heard_us = t_us;
    int64_t at = llround((double)(t_us - heard_us) * CAPTURE_RATE * 1e-6);
    at += n_heard && at == n_heard - 1; /* a restart may begin between two samples: half of one is rounded either way */
    assert_in_range(at, n_heard ? (uintmax_t)n_heard : 0, OUT - n);
    memcpy(heard + at, out, (size_t)n * sizeof *out);
    n_heard = (int)at + n;
}

static void turn(mic_resampler *r, mic_world *w, float (*sound)(double))
{
    static float block[MAX_BLOCK];
    int64_t stamp_us, out_us = 0;
    double true_us, period_us = mic_world_period(w) * 1e6;
    int64_t index = mic_world_block(w, &stamp_us, &true_us);
    for (int i = 0; i < w->p.n_block; i++)
        block[i] = sound(true_us + i * period_us);
    const float *out;
    int n_out;
    bool restarted;
    omnid_error err;
    if (mic_resampler_put(r, block, index, w->p.n_block, stamp_us, false, &out, &n_out, &out_us, &restarted, &err))
        fail_msg("%s", err.text);
    n_restarts += restarted;
    if (n_out)
        keep(out, n_out, out_us);
}

static void record(mic_card_params p, double seconds, double lose_at_s, int n_lost, float (*sound)(double))
{
    mic_world w;
    mic_resampler *r;
    mic_world_begin(&w, p);
    memset(heard, 0, sizeof heard);
    n_heard = n_restarts = 0;
    assert_int_equal(mic_resampler_create(&r, p.rate_hz, NULL), OMNID_OK);
    while (w.true_s < seconds) {
        if (n_lost && w.true_s > lose_at_s) {
            mic_world_lose(&w, n_lost);
            n_lost = 0;
        }
        turn(r, &w, sound);
    }
    mic_resampler_destroy(&r);
    assert_null(r);
}

/* The worst distance in ms between a click heard within [from_s, to_s) and where it belongs. */
static double worst_click(double from_s, double to_s, int *n_clicks)
{
    double worst_us = 0.0;
    *n_clicks = 0;
    for (int i = (int)(from_s * CAPTURE_RATE); i < (int)(to_s * CAPTURE_RATE) && i < n_heard - 100; i++) {
        if (!(heard[i] > 0.1f && heard[i - 1] <= 0.1f))
            continue;
        double sum = 0.0, moment = 0.0; /* the click's centre */
        for (int k = i - 40; k < i + 60; k++) {
            sum += heard[k];
            moment += (double)k * heard[k];
        }
        double off_us = fmod((double)heard_us + moment / sum * 1e6 / CAPTURE_RATE, CLICK_US) - CLICK_US / 2;
        worst_us = fmax(worst_us, fabs(off_us));
        ++*n_clicks;
    }
    return worst_us * 1e-3;
}

static void test_clicks_lie_at_their_times(void **state)
{
    (void)state;
    int n;
    /* stamps without jitter: nothing but the resampler itself and the learning of the crystal can be wrong */
    record((mic_card_params){48000, 200, 0, 480, 0, 0, 0}, 120, 0, 0, click_at);
    double begin_ms = worst_click(0.1, 40, &n), ms = worst_click(40, 119, &n);
    print_message("48 kHz, +200 ppm: clicks off by at most %.3f ms, while it learns %.3f\n", ms, begin_ms);
    assert_in_range(n, 315, 317);
    assert_true(begin_ms < 1.0);
    assert_true(ms < 0.1);
    record((mic_card_params){44100, -200, 0, 1024, 6.0, 0.002, 17.0}, 120, 0, 0, click_at);
    ms = worst_click(0.1, 119, &n);
    print_message("44.1 kHz, -200 ppm, stamps 3 ms late on average: clicks off by at most %.3f ms\n", ms);
    assert_in_range(n, 473, 476);
    assert_true(ms < 6.0);
    record((mic_card_params){16000, 100, 0, 320, 0, 0, 0}, 60, 0, 0, click_at);
    assert_true(worst_click(40, 59, &n) < 0.1);
    assert_int_equal(n_restarts, 0);
}

/* 30 ms are filled in, 100 ms are a gap in the times; what follows lies right either way. */
static void test_clicks_after_a_loss(void **state)
{
    (void)state;
    int n;
    record((mic_card_params){48000, 100, 0, 480, 0, 0, 0}, 60, 40.01, 1440, click_at);
    assert_int_equal(n_restarts, 0);
    assert_true(worst_click(30, 39.9, &n) < 0.1);
    assert_true(worst_click(40, 40.7, &n) < 31.0);
    assert_true(worst_click(40.7, 59, &n) < 0.2);
    assert_in_range(n, 72, 74);
    record((mic_card_params){48000, 100, 0, 480, 0, 0, 0}, 60, 40.01, 4800, click_at);
    assert_int_equal(n_restarts, 1);
    assert_true(worst_click(40.7, 59, &n) < 0.2);
    assert_in_range(n, 72, 74);
}

/* 440 Hz of true time, at its level, from a card that is 200 ppm off; nothing else is in it. */
static void test_a_tone_stays_clean(void **state)
{
    (void)state;
    record((mic_card_params){44100, 200, 0, 441, 5.0, 0, 0}, 60, 0, 0, tone_at);
    double in = 0.0, across = 0.0, sum = 0.0;
    int first = 40 * CAPTURE_RATE, n = 10 * CAPTURE_RATE;
    for (int i = first; i < first + n; i++) {
        double x = heard[i], angle = 2.0 * M_PI * 440.0 * ((double)heard_us * 1e-6 + (double)i / CAPTURE_RATE);
        in += x * sin(angle);
        across += x * cos(angle);
        sum += x * x;
    }
    double amplitude = 2.0 * hypot(in, across) / n, rest = sum / n - amplitude * amplitude / 2.0;
    print_message("amplitude %.4f of 0.5, the rest %.1f dB below\n", amplitude,
                  10.0 * log10(fabs(rest) / (amplitude * amplitude / 2.0)));
    assert_true(fabs(amplitude - 0.5) < 0.01); /* the ratio follows the stamps a little: phase noise */
    assert_true(rest < 0.02 * sum / n);
}

static void test_bad_blocks(void **state)
{
    (void)state;
    mic_resampler *r;
    omnid_error err;
    const double bad_rates[] = {0, -1, 3999, 400000, NAN, INFINITY};
    for (int i = 0; i < 6; i++)
        assert_int_equal(mic_resampler_create(&r, bad_rates[i], &err), OMNID_ARGUMENT);
    assert_null(r);
    mic_resampler_destroy(&r); /* NULL is no harm */
    assert_int_equal(mic_resampler_create(&r, 48000, &err), OMNID_OK);
    const float *out, sample = 0.5f;
    int n;
    int64_t t_us;
    bool restarted;
    assert_int_equal(mic_resampler_put(r, &sample, 0, 0, 0, false, &out, &n, &t_us, &restarted, &err), OMNID_ARGUMENT);
    /* numbers and times that make no sense are breaks, nothing worse */
    const int64_t odd[] = {0, 1, INT64_MAX / 4, -5, INT64_MIN / 4, 7};
    for (int i = 0; i < 36; i++) {
        assert_int_equal(
            mic_resampler_put(r, &sample, odd[i % 6], 1, odd[i / 6], i % 2, &out, &n, &t_us, &restarted, &err),
            OMNID_OK);
        assert_in_range(n, 0, 16);
    }
    mic_resampler_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clicks_lie_at_their_times),
        cmocka_unit_test(test_clicks_after_a_loss),
        cmocka_unit_test(test_a_tone_stays_clean),
        cmocka_unit_test(test_bad_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
