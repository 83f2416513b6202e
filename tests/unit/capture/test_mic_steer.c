/* A microphone's sound against a fake clock: whatever crystal, stamps and losses do, it lies at its true time. The
 * resampler is a perfect one here; test_mic_resampler.c has the real one. */
#include "capture/capture.h"
#include "capture/mic_steer.h"
#include "mic_world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

enum { N_MARKS = 1024 };

/* A run: the card, the steering, and where in the numbered samples each block really lies. */
typedef struct {
    mic_world world;
    mic_steer steer;
    double n_staged; /* number behind the last sample staged */
    struct {
        double number, true_us, period_us;
    } marks[N_MARKS]; /* of the newest blocks */
    int64_t n_marks;
    double worst_ms;   /* of any output sample's time since the last look */
    double ratio_ppm;  /* the furthest the ratio was off the nominal one */
    double ratio_step; /* the largest change of it, in ppm a second */
    int64_t last_out_us, n_outputs;
} run;

static void run_begin(run *r, mic_card_params p)
{
    *r = (run){0};
    mic_world_begin(&r->world, p);
    mic_steer_start(&r->steer, p.rate_hz);
}

/* When the sample with that number was really taken; what was filled in lies before the next block. */
static double true_time(const run *r, double number)
{
    for (int64_t i = r->n_marks; i-- > 0 && i > r->n_marks - N_MARKS;) {
        const double at = r->marks[i % N_MARKS].number;
        if (number >= at)
            return r->marks[i % N_MARKS].true_us + (number - at) * r->marks[i % N_MARKS].period_us;
    }
    return r->marks[0].true_us + (number - r->marks[0].number) * r->marks[0].period_us;
}

static void check_ratio(run *r, double old)
{
    double nominal = CAPTURE_RATE / r->world.p.rate_hz, block_s = r->world.p.n_block / r->world.p.rate_hz;
    r->ratio_ppm = fmax(r->ratio_ppm, fabs(r->steer.ratio / nominal - 1.0) * 1e6);
    r->ratio_step = fmax(r->ratio_step, fabs(r->steer.ratio - old) / nominal * 1e6 / block_s);
}

/* One block through all of it. */
static mic_steer_verdict turn(run *r, bool hole)
{
    int64_t stamp_us;
    double true_us, old = r->steer.ratio;
    int patch, n = r->world.p.n_block;
    int64_t index = mic_world_block(&r->world, &stamp_us, &true_us);
    mic_steer_verdict verdict = mic_steer_put(&r->steer, index, n, stamp_us, hole, &patch);
    if (verdict == MIC_STEER_RESTART) {
        r->n_staged = 0;
        r->n_marks = 0;
    }
    r->n_staged += patch;
    int slot = (int)(r->n_marks++ % N_MARKS);
    r->marks[slot].number = r->n_staged;
    r->marks[slot].true_us = true_us;
    r->marks[slot].period_us = mic_world_period(&r->world) * 1e6;
    r->n_staged += n;
    if (verdict != MIC_STEER_GO)
        return verdict;
    check_ratio(r, old);
    int n_out = (int)fmax(0.0, floor((r->n_staged - r->steer.position) * r->steer.ratio));
    double position = r->steer.position;
    int64_t out_us = mic_steer_made(&r->steer, n_out);
    r->worst_ms = fmax(r->worst_ms, fabs((double)out_us - true_time(r, position)) * 1e-3);
    r->last_out_us = out_us;
    r->n_outputs += n_out;
    return verdict;
}

/* Runs for so long and returns the worst error on the way, in ms. */
static double pass(run *r, double seconds)
{
    r->worst_ms = 0.0;
    for (double until_s = r->world.true_s + seconds; r->world.true_s < until_s;)
        turn(r, false);
    return r->worst_ms;
}

static const mic_card_params rough = {48000, 200, 0, 960, 6.0, 0.002, 61.0};

/* 10 hours. The stamps are 3 ms late on average, which nobody can know: that much stays. */
static void check_hours(mic_card_params p)
{
    run r;
    run_begin(&r, p);
    pass(&r, 60);
    double first_ms = pass(&r, 3600), worst_ms = first_ms, last_ms = 0.0;
    for (int hour = 1; hour < 10; hour++)
        worst_ms = fmax(worst_ms, last_ms = pass(&r, 3600));
    print_message("%.0f Hz, %+.0f ppm, wander %.0f: worst %.2f ms in 10 h; first hour %.2f, last %.2f\n", p.rate_hz,
                  p.ppm, p.wander_ppm, worst_ms, first_ms, last_ms);
    assert_true(worst_ms < 5.0);
    assert_true(fabs(last_ms - first_ms) < 0.5); /* nothing adds up */
    assert_true(r.ratio_ppm <= MIC_STEER_PPM + 0.01);
    assert_true(r.ratio_step <= 100.01);
    assert_int_equal(r.steer.n_gaps + r.steer.n_overlaps + r.steer.n_patches, 0);
    /* as many samples as the time that has passed */
    double out_s = (double)r.n_outputs / CAPTURE_RATE;
    assert_true(fabs(out_s - r.world.true_s) < 0.1);
}

static void test_ten_hours_of_drift(void **state)
{
    (void)state;
    check_hours(rough);
    mic_card_params p = rough;
    p.ppm = -200;
    check_hours(p);
    p = (mic_card_params){44100, 60, 150, 441, 6.0, 0.002, 61.0};
    check_hours(p);
}

/* Every rate and length of block that cards have. */
static void test_rates_and_blocks(void **state)
{
    (void)state;
    const double rates[] = {8000, 16000, 44100, 96000, 192000};
    const double block_ms[] = {1.5, 5, 20, 64, 120};
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++) {
            run r;
            mic_card_params p = {rates[i], i % 2 ? 150 : -150, 0, (int)(rates[i] * block_ms[k] * 1e-3), 4.0, 0.0, 0.0};
            run_begin(&r, p);
            double begin_ms = pass(&r, 30), ms = pass(&r, 300);
            if (ms >= 3.5 || begin_ms >= 6.0)
                fail_msg("%.0f Hz, blocks of %d: %.2f ms, at the beginning %.2f", p.rate_hz, p.n_block, ms, begin_ms);
            assert_int_equal(r.steer.n_gaps + r.steer.n_overlaps + r.steer.n_patches, 0);
        }
}

/* The first stamps of a card are its worst. */
static void test_begin(void **state)
{
    (void)state;
    run r;
    mic_card_params p = rough;
    p.late_ms = 12.0;
    p.outlier_share = 0.2;
    run_begin(&r, p);
    assert_int_equal(turn(&r, false), MIC_STEER_RESTART);
    for (int i = 0; i < 6; i++)
        assert_int_equal(turn(&r, false), MIC_STEER_WAIT);
    assert_int_equal(turn(&r, false), MIC_STEER_GO); /* 8 blocks of 20 ms */
    assert_int_equal(r.steer.n_gaps, 0);             /* the beginning is none */
    assert_true(pass(&r, 120) < 15.0);
}

/* Samples that are gone without a word: by the clock, or at once where the card tells. */
static void test_losses(void **state)
{
    (void)state;
    run r;
    run_begin(&r, rough);
    pass(&r, 30);
    mic_world_lose(&r.world, 4800); /* 100 ms: a gap */
    pass(&r, 0.6);
    assert_int_equal(r.steer.n_gaps, 1);
    assert_true(pass(&r, 10) < 6.0);

    mic_world_lose(&r.world, 1440); /* 30 ms: filled in */
    assert_true(pass(&r, 0.7) < 40.0);
    assert_int_equal(r.steer.n_patches, 1);
    assert_true(pass(&r, 10) < 8.0);

    mic_world_lose(&r.world, 1440); /* the same, told */
    r.worst_ms = 0.0;
    assert_int_equal(turn(&r, true), MIC_STEER_GO);
    assert_int_equal(r.steer.n_patches, 2);
    assert_true(pass(&r, 10) < 8.0);

    mic_world_lose(&r.world, 4800);
    assert_int_equal(turn(&r, true), MIC_STEER_RESTART);
    assert_int_equal(r.steer.n_gaps, 2);
    assert_true(pass(&r, 10) < 6.0);
    assert_int_equal(r.steer.n_overlaps, 0);
}

/* A sound server hands out what it has kept, then settles: the error grows in steps, and all of it is to be found. */
static void test_losses_in_steps(void **state)
{
    (void)state;
    for (int begin = 0; begin < 2; begin++) {
        run r;
        run_begin(&r, rough);
        pass(&r, begin ? 0.3 : 30);
        mic_world_lose(&r.world, 770);
        pass(&r, 0.06);
        mic_world_lose(&r.world, 1200);
        pass(&r, 0.8);
        assert_int_equal(r.steer.n_patches, 1);
        double ms = pass(&r, 60);
        print_message("after 41 ms in two steps: %.2f ms\n", ms);
        assert_true(ms < 8.0);
        assert_int_equal(r.steer.n_patches, 1);
        assert_int_equal(r.steer.n_gaps + r.steer.n_overlaps, 0);
    }
}

/* Samples that found no room on the way are known by their number: not a sample's error. */
static void test_counted_losses(void **state)
{
    (void)state;
    run r;
    mic_card_params p = {48000, 0, 0, 960, 0.0, 0.0, 0.0};
    run_begin(&r, p);
    pass(&r, 30);
    for (int i = 0; i < 2; i++) {
        mic_world_lose(&r.world, 960);
        r.world.index += 960;
        assert_int_equal(turn(&r, false), MIC_STEER_GO);
        assert_true(pass(&r, 5) < 0.1);
    }
    assert_int_equal(r.steer.n_patches, 2);
    mic_world_lose(&r.world, 9600);
    r.world.index += 9600;
    assert_int_equal(turn(&r, false), MIC_STEER_RESTART);
    assert_int_equal(r.steer.n_gaps, 1);
    assert_true(pass(&r, 5) < 0.1);
}

/* The machine slept, or its clock was set back (a machine that was put back to a state before). */
static void test_clock_jumps(void **state)
{
    (void)state;
    run r;
    run_begin(&r, rough);
    pass(&r, 30);
    r.world.true_s += 600.0;
    assert_int_equal(turn(&r, false), MIC_STEER_RESTART);
    assert_int_equal(r.steer.n_gaps, 1);
    assert_true(pass(&r, 30) < 8.0);
    assert_true(r.last_out_us > MIC_WORLD_BEGIN_US + 658000000);
    r.world.true_s -= 10.0;
    assert_int_equal(turn(&r, false), MIC_STEER_RESTART);
    assert_int_equal(r.steer.n_overlaps, 1);
    assert_true(pass(&r, 30) < 8.0);
    r.world.index = 5; /* counts from the beginning again: nothing fits */
    assert_int_equal(turn(&r, false), MIC_STEER_RESTART);
    assert_true(pass(&r, 30) < 8.0);
}

/* No ratio within 500 ppm follows a crystal that is 900 off: now and then a gap or an overlap, and never far off. */
static void test_a_crystal_beyond_the_limit(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        run r;
        mic_card_params p = rough;
        p.ppm = sign * 900;
        run_begin(&r, p);
        assert_true(pass(&r, 3600) < 56.0);
        assert_true(r.ratio_ppm <= MIC_STEER_PPM + 0.01);
        int64_t n = sign > 0 ? r.steer.n_overlaps : r.steer.n_gaps,
                other = sign > 0 ? r.steer.n_gaps : r.steer.n_overlaps;
        assert_in_range(n, 20, 35); /* 400 ppm of an hour are 1.44 s */
        assert_int_equal(other, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_hours_of_drift),
        cmocka_unit_test(test_rates_and_blocks),
        cmocka_unit_test(test_begin),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_losses_in_steps),
        cmocka_unit_test(test_counted_losses),
        cmocka_unit_test(test_clock_jumps),
        cmocka_unit_test(test_a_crystal_beyond_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
