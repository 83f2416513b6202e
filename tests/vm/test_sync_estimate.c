/* test_sync_estimate.c: the estimate finds offsets that are put in, and its interval holds them. */
#include "tests/vm/sync_estimate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

enum { N_EVENTS = 600 };

static double uniform(unsigned *seed)
{
    return rand_r(seed) / (RAND_MAX + 1.0);
}

/* Events at random times of a camera of period_ms whose times are picture_ms late, and a sound that is sound_ms late. */
static void make_events(sync_event *events, int n, double period_ms, double picture_ms, double sound_ms, unsigned seed)
{
    for (int i = 0; i < n; i++) {
        double seen_ms = picture_ms + uniform(&seed) * period_ms; /* the next frame's time */
        double phase_ms = uniform(&seed) * 500;
        events[i] =
            (sync_event){.heard = i % 50 != 7, .sound_ms = sound_ms + 4 * (uniform(&seed) - 0.5), .n_frames = 2};
        for (int k = 0; k < 2; k++) {
            events[i].frame_ms[k] = phase_ms + 500 * (k - 0.5) - 250;
            events[i].shows[k] = events[i].frame_ms[k] >= seen_ms;
        }
    }
}

static void finds_the_offset_put_in(void **state)
{
    (void)state;
    static const double cases[][3] = {{40, 0, 0}, {40, 60, 0}, {100, -30, 10}, {40, 12, 55}, {200, 5, 0}};
    sync_event *events = calloc(N_EVENTS, sizeof *events);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double *c = cases[i];
        sync_result r;
        make_events(events, N_EVENTS, c[0], c[1], c[2], 3 + (unsigned)i);
        assert_true(sync_estimate(&r, events, N_EVENTS, c[0]));
        assert_int_equal(r.n_events, N_EVENTS);
        assert_int_equal(r.n_heard, N_EVENTS - N_EVENTS / 50);
        assert_true(fabs(r.sound_ms - c[2]) < 1);
        assert_true(fabs(r.offset_ms - (c[1] - c[2])) < c[0] / 4);
        assert_true(r.low_ms <= c[1] - c[2] + 2 && r.high_ms >= c[1] - c[2] - 2);
        assert_true(r.low_ms <= r.offset_ms && r.offset_ms <= r.high_ms);
    }
    free(events);
}

static void few_events_say_how_little_they_know(void **state)
{
    (void)state;
    sync_event few[12], many[N_EVENTS];
    sync_result r_few, r_many;
    make_events(few, 12, 40, 0, 0, 5);
    make_events(many, N_EVENTS, 40, 0, 0, 5);
    assert_true(sync_estimate(&r_few, few, 12, 40));
    assert_true(sync_estimate(&r_many, many, N_EVENTS, 40));
    assert_true(r_few.high_ms - r_few.low_ms > 3 * (r_many.high_ms - r_many.low_ms));
}

static void refuses_what_tells_nothing(void **state)
{
    (void)state;
    sync_event events[8];
    sync_result r;
    make_events(events, 8, 40, 0, 0, 9);
    for (int i = 0; i < 8; i++)
        events[i].heard = false;
    assert_false(sync_estimate(&r, events, 8, 40));
    make_events(events, 8, 40, 1e6, 0, 9); /* no frame ever shows it */
    assert_false(sync_estimate(&r, events, 8, 40));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_offset_put_in),
        cmocka_unit_test(few_events_say_how_little_they_know),
        cmocka_unit_test(refuses_what_tells_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
