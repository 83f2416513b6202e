/* Steps of load.h over a simulated queue: a segment every 2 s, a server that takes them one by one. */
#include "daemon/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

enum { ROOM = 4 };

typedef struct {
    int n_steps, n_skipped, n_skipped_late; /* late: in the second half */
    int n_at[LOAD_STEPS];                   /* segments made at each step */
    int last;                               /* step at the end */
} outcome;

/* n segments, each of which takes cost[its step] segments' time; from `calm_from` on a tenth of that. */
static outcome simulate(const double *cost, int n, int calm_from)
{
    load_state l = {0};
    outcome out = {0};
    double queue[ROOM] = {0}, left = 0; /* what waits, and what is still to do of the one in hand */
    int n_queued = 0;
    for (int i = 0; i < n; i++) {
        for (double time = 1; time > 0 && (left > 0 || n_queued > 0);) { /* one segment's time passes */
            if (left <= 0) {
                left = queue[0];
                for (int k = 1; k < n_queued; k++)
                    queue[k - 1] = queue[k];
                n_queued--;
            }
            double done = left < time ? left : time;
            left -= done;
            time -= done;
        }
        out.n_steps += load_judge(&l, n_queued, ROOM);
        out.n_at[l.step]++;
        if (n_queued == ROOM) {
            for (int k = 1; k < ROOM; k++)
                queue[k - 1] = queue[k];
            n_queued--;
            out.n_skipped++;
            out.n_skipped_late += i >= n / 2;
        }
        queue[n_queued++] = i >= calm_from ? cost[l.step] / 10 : cost[l.step];
    }
    out.last = l.step;
    return out;
}

static void an_engine_that_keeps_up_is_left_alone(void **state)
{
    (void)state;
    outcome o = simulate((double[]){0.95, 0.9, 0.5, 0.3}, 5000, 5000);
    assert_int_equal(o.n_steps, 0);
    assert_int_equal(o.n_at[0], 5000);
}

static void it_settles_on_the_step_that_keeps_up(void **state)
{
    (void)state;
    static const struct {
        double cost[LOAD_STEPS];
        int step;
    } cases[] = {
        {{1.2, 0.9, 0.5, 0.3}, 1}, {{1.6, 1.3, 0.8, 0.4}, 2}, {{2.5, 2.2, 1.3, 0.7}, 3}, {{1.05, 0.9, 0.5, 0.3}, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        outcome o = simulate(cases[i].cost, 10000, 10000);
        print_message("step %d: %d %d %d %d segments at each, %d steps, %d skipped, %d of them late\n", cases[i].step,
                      o.n_at[0], o.n_at[1], o.n_at[2], o.n_at[3], o.n_steps, o.n_skipped, o.n_skipped_late);
        assert_true(o.n_at[cases[i].step] > 9000);
        assert_true(o.n_steps < 40); /* in five hours and a half */
        assert_true(o.n_skipped < 10);
        assert_true(o.n_skipped_late <= 2);
    }
}

/* What no step can heal ends at the last one; the rest is skipped. */
static void the_last_step_is_the_last(void **state)
{
    (void)state;
    outcome o = simulate((double[]){9, 8, 6, 3}, 3000, 3000);
    assert_int_equal(o.n_steps, 3);
    assert_int_equal(o.last, 3);
    assert_in_range(o.n_skipped, 1900, 2100); /* two of three */
}

/* A burst passes: everything is taken in fully again, step by step, within patience times steps. */
static void calm_brings_it_back(void **state)
{
    (void)state;
    outcome o = simulate((double[]){3, 2, 1.5, 1.2}, 300, 100);
    assert_int_equal(o.last, 0);
    assert_in_range(o.n_steps, 6, 12);
    assert_true(o.n_at[0] > 300 - 100 - 4 * LOAD_PATIENCE - 10);
}

static void every_step_costs_less_and_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(load_name(0), "full");
    omnid_segment_load none = load_of(0), last = load_of(LOAD_STEPS - 1);
    assert_true(none.rho_v == 0 && none.pixel_share == 0 && !none.one_grid);
    assert_true(last.rho_v == 0.9 && last.pixel_share == 0.5 && last.one_grid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_that_keeps_up_is_left_alone),
        cmocka_unit_test(it_settles_on_the_step_that_keeps_up),
        cmocka_unit_test(the_last_step_is_the_last),
        cmocka_unit_test(calm_brings_it_back),
        cmocka_unit_test(every_step_costs_less_and_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
