/* test_retention.c: schedules by name, share and number; the counts of docs/semantics.md, section 5. */
#include "engine/retention.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const retention_named none_named[1];

static retention_plan parse(const char *spec, int n_layers)
{
    retention_plan p;
    retention_window w = retention_window_default();
    omnid_error err = {0};
    if (retention_parse(&p, spec, n_layers, none_named, 0, &w, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    return p;
}

/* Mean over layers of n_l / n before any pruning, in percent, of a full window. */
static double reached(const retention_plan *p)
{
    retention_window w = retention_window_default();
    double before = (double)w.n_segments * (w.video_tokens + w.audio_tokens), sum = 0;
    int64_t n[64], k[64];
    retention_counts(p, p->intra ? retention_window_kept(&w) : (int64_t)before, 0, n, k);
    for (int l = 0; l < p->n_layers; l++)
        sum += (double)n[l] / before;
    return 100 * sum / p->n_layers;
}

static void test_a_full_window(void **state)
{
    (void)state;
    retention_window w = retention_window_default();
    assert_int_equal(retention_window_kept(&w), 4816); /* 16 x (144 + 3 x 29) + 32 x 35 */
    w.n_segments = 1;
    assert_int_equal(retention_window_kept(&w), 144 + 29 + 35); /* floor(0.3 x 50) is 15 */
}

/* The figures of the paper's schedules at 64 s of 336 x 336. */
static void test_named(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        int n_layers;
        double p_init, p_final, t_mid;
        int tds_start;
        double reached;
    } cases[] = {{"30", 28, 0, 0.2, 0.5, 14, 28.5},     {"20", 28, 0.02, 0.5, 0.5, 14, 20.4},
                 {"30", 36, 0, 0.15, 0.5, 19, 28.9},    {"20", 36, 0.02, 0.5, 0.55, 19, 20.4},
                 {"30", 9, 0, 0.2, 0.5, 4, 36.3},       {NULL, 28, 0, 0.2, 0.5, 14, 28.5},
                 {"0.3", 28, 0, 0.2, 0.5, 14, 28.5},    {"30%", 36, 0, 0.15, 0.5, 19, 28.9},
                 {"0.2", 36, 0.02, 0.5, 0.55, 19, 20.4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        retention_plan p = parse(cases[i].spec, cases[i].n_layers);
        assert_true(p.p_init == cases[i].p_init && p.p_final == cases[i].p_final && p.t_mid == cases[i].t_mid);
        assert_int_equal(p.tds_start, cases[i].tds_start);
        assert_true(p.beta == 20.0 && p.lambda == 0.2 && p.intra && p.prune);
        if (fabs(reached(&p) - cases[i].reached) > 0.1)
            fail_msg("%s of %d layers: %.2f %%", p.name, p.n_layers, reached(&p));
    }
}

static void test_none_and_45(void **state)
{
    (void)state;
    retention_plan none = parse("none", 28), only_intra = parse("45", 28);
    assert_false(none.intra);
    assert_false(none.prune);
    assert_true(only_intra.intra);
    assert_false(only_intra.prune);
    assert_true(fabs(reached(&none) - 100) < 1e-9);
    assert_true(fabs(reached(&only_intra) - 44.527) < 1e-3);
    assert_int_equal(none.tds_start, 14); /* evidence counts from there */
}

static void test_model_schedules(void **state)
{
    (void)state;
    static const retention_named own[] = {{"30", 0.01, 0.4, 0.45, 3}, {"fast", 0.1, 0.6, 0.4, 2}};
    retention_window w = retention_window_default();
    retention_plan p;
    omnid_error err;
    assert_int_equal(retention_parse(&p, "30", 8, own, 2, &w, &err), OMNID_OK);
    assert_true(p.p_final == 0.4 && p.tds_start == 3);
    assert_int_equal(retention_parse(&p, "0.3", 8, own, 2, &w, &err), OMNID_OK);
    assert_true(p.p_final == 0.4);
    assert_int_equal(retention_parse(&p, "fast", 8, own, 2, &w, &err), OMNID_OK);
    assert_true(p.p_final == 0.6);
    assert_int_equal(retention_parse(&p, "20", 8, own, 2, &w, &err), OMNID_OK);
    assert_true(p.p_final == 0.5);
}

static void test_solved(void **state)
{
    (void)state;
    static const double shares[] = {22, 25, 27.5, 35, 40, 44};
    static const int layers[] = {28, 36};
    for (int j = 0; j < 2; j++)
        for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
            char spec[16];
            snprintf(spec, sizeof spec, "%g%%", shares[i]);
            retention_plan p = parse(spec, layers[j]);
            assert_true(p.p_init == 0 && p.t_mid == 0.5 && p.p_final > 0 && p.p_final < 1);
            if (fabs(reached(&p) - shares[i]) > 0.06) /* whole tokens leave: a little less than the solution says */
                fail_msg("%s of %d layers reaches %.3f", spec, layers[j], reached(&p));
        }
}

static void test_explicit(void **state)
{
    (void)state;
    retention_plan p = parse("0.05,0.6,0.4,2", 8);
    assert_true(p.p_init == 0.05 && p.p_final == 0.6 && p.t_mid == 0.4 && p.lambda == 0.2);
    assert_int_equal(p.tds_start, 2);
    p = parse("0.02,0.5,0.5,1,0.01", 8);
    assert_true(p.lambda == 0.01);
    assert_int_equal(p.tds_start, 1);
    p = parse("exp:0.01,0.16,0,4", 6);
    assert_true(fabs(retention_p(&p, 0) - 0.01) < 1e-15);
    assert_true(fabs(retention_p(&p, 2) - 0.04) < 1e-15);
    assert_true(fabs(retention_p(&p, 4) - 0.16) < 1e-15);
    assert_true(retention_p(&p, 5) == 0);
}

static void test_p_is_the_formula(void **state)
{
    (void)state;
    retention_plan p = parse("0.05,0.6,0.4,2", 8);
    for (int l = 0; l <= 6; l++) {
        double want = 0.05 + 0.55 / (1 + exp(-20 * (l / 6.0 - 0.4)));
        assert_true(fabs(retention_p(&p, l) - want) < 1e-15);
    }
    assert_true(retention_p(&p, 7) == 0); /* nothing leaves after the last layer */
    assert_true(retention_p(&p, -1) == 0);
}

static void test_counts(void **state)
{
    (void)state;
    retention_plan p = parse("0.05,0.6,0.4,2", 8);
    int64_t n[8], k[8], later[8];
    retention_counts(&p, 208, 0, n, k);
    assert_int_equal(n[0], 208);
    for (int l = 0; l < 8; l++) {
        assert_int_equal(k[l], l == 7 ? 0 : (int64_t)floor((double)n[l] * retention_p(&p, l)));
        assert_true(l == 7 || n[l + 1] == n[l] - k[l]);
    }
    retention_counts(&p, 208, 3, later, k);
    for (int l = 0; l <= 3; l++)
        assert_int_equal(later[l], 208);
    assert_true(k[2] == 0 && k[3] > 0 && later[4] == 208 - k[3]);
    retention_counts(&p, 0, 0, n, NULL);
    assert_int_equal(n[7], 0);
    retention_plan all = parse("1,1,0.5,1", 8);
    retention_counts(&all, 10, 0, n, k);
    assert_true(k[0] == 10 && n[1] == 0 && n[7] == 0);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *sentence;
    } cases[] = {{"", "found \"\""},
                 {"much", "found \"much\""},
                 {"-3", "between 0 and 100"},
                 {"0", "between 0 and 100"},
                 {"100", "between 0 and 100"},
                 {"nan", "between 0 and 100"},
                 {"inf", "between 0 and 100"},
                 {"30 ", "between 0 and 100"},
                 {"30%%", "between 0 and 100"},
                 {"50", "the nearest is 44.52 %"},
                 {"10", "the nearest is 20.94 %"},
                 {"0.05,0.6,0.4", "found 3 numbers"},
                 {"0.05,0.6,0.4,2,0.1,3", "at most five"},
                 {"0.05,x,0.4,2", "\"x,0.4,2\" is not a number"},
                 {"0.05,0.6,0.4,", "is not a number"},
                 {"0.05,1.6,0.4,2", "p_init and p_final of 0 .. 1"},
                 {"0.05,0.6,0.4,2.5", "tds_start a layer of 0 .. 27"},
                 {"0.05,0.6,0.4,28", "tds_start a layer of 0 .. 27"},
                 {"0.05,0.6,0.4,2,-1", "lambda"},
                 {"0.05,0.6,nan,2", "is not a number"},
                 {"exp:0,0.6,0.4,2", "p_init above 0"},
                 {"0.0500000000000000000000000000000000000000000000001,0.6,0.4,2", "at most 47 characters"}};
    retention_window w = retention_window_default();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        retention_plan p;
        omnid_error err = {0};
        assert_int_equal(retention_parse(&p, cases[i].spec, 28, none_named, 0, &w, &err), OMNID_ARGUMENT);
        if (!strstr(err.text, cases[i].sentence))
            fail_msg("%s: %s", cases[i].spec, err.text);
    }
    retention_plan p;
    assert_int_equal(retention_parse(&p, "30", 2, none_named, 0, &w, NULL), OMNID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_window),    cmocka_unit_test(test_named),  cmocka_unit_test(test_none_and_45),
        cmocka_unit_test(test_model_schedules),  cmocka_unit_test(test_solved), cmocka_unit_test(test_explicit),
        cmocka_unit_test(test_p_is_the_formula), cmocka_unit_test(test_counts), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
