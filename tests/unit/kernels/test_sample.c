/* test_sample.c: greedy, each step by hand, frequencies over many draws, and every backend drawing the reference's token. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>
#include <stdlib.h>

static int32_t draw(test_rig *rig, const test_image *logits, const test_image *seen, kernels_sampling p, double u)
{
    int32_t out = -1;
    tensor on_logits = test_up(rig, logits), on_seen = seen ? test_up(rig, seen) : (tensor){0};
    rig->ops->sample(rig->stream, &out, &on_logits, seen ? &on_seen : NULL, &p, u);
    test_free_memory(rig);
    return out;
}

static test_image logits_of(const double *values, int64_t n)
{
    test_image x = test_image_new(KERNELS_F32, 1, n, n);
    for (int64_t i = 0; i < n; i++)
        test_set(&x, 0, i, values[i]);
    return x;
}

/* The highest, ties: the lowest id, whatever u and top_p. */
static void test_greedy(void **state)
{
    (void)state;
    static const double values[] = {-3, 2, NAN, 7, 7, 1};
    TEST_EACH_BACKEND(rig)
    {
        test_image x = logits_of(values, 6);
        assert_int_equal(draw(&rig, &x, NULL, (kernels_sampling){0, 1, 1}, 0.99), 3);
        assert_int_equal(draw(&rig, &x, NULL, (kernels_sampling){0, 0.01f, 1}, 0), 3);
        test_image_free(&x);
    }
}

/* Positive logits are divided, negative ones multiplied; ids outside the vocabulary are passed over. */
static void test_repetition_penalty(void **state)
{
    (void)state;
    static const double values[] = {3, 2.9, -1, -1.5}, negative[] = {-1, -1.5};
    TEST_EACH_BACKEND(rig)
    {
        test_image x = logits_of(values, 4), y = logits_of(negative, 2), seen = test_image_new(KERNELS_I32, 3, 1, 1);
        test_set(&seen, 0, 0, 0);
        test_set(&seen, 1, 0, -7);
        test_set(&seen, 2, 0, 4);
        assert_int_equal(draw(&rig, &x, &seen, (kernels_sampling){0, 1, 1}, 0), 0);
        assert_int_equal(draw(&rig, &x, &seen, (kernels_sampling){0, 1, 1.02f}, 0), 0); /* 3 / 1.02 = 2.94 */
        assert_int_equal(draw(&rig, &x, &seen, (kernels_sampling){0, 1, 1.1f}, 0), 1);
        assert_int_equal(draw(&rig, &y, &seen, (kernels_sampling){0, 1, 1.4f}, 0), 0); /* -1.4 */
        assert_int_equal(draw(&rig, &y, &seen, (kernels_sampling){0, 1, 1.6f}, 0), 1);
        test_image_free(&x);
        test_image_free(&y);
        test_image_free(&seen);
    }
}

/* 3 / 1.3 is more than 2: an id that is listed three times is penalised once, as transformers does. */
static void test_penalised_once(void **state)
{
    (void)state;
    static const double values[] = {3, 2};
    TEST_EACH_BACKEND(rig)
    {
        test_image x = logits_of(values, 2), seen = test_image_new(KERNELS_I32, 3, 1, 1);
        for (int i = 0; i < 3; i++)
            test_set(&seen, i, 0, 0);
        assert_int_equal(draw(&rig, &x, &seen, (kernels_sampling){0, 1, 1.3f}, 0), 0); /* 3 / 1.3³ would be 1.37 */
        test_image_free(&x);
        test_image_free(&seen);
    }
}

/* Masses 0.1, 0.4, 0.2, 0.3 in the order of ids: descending 1, 3, 2, 0 with running masses 0.4, 0.7, 0.9, 1. */
static void test_inverse_cdf(void **state)
{
    (void)state;
    const double values[] = {log(0.1), log(0.4), log(0.2), log(0.3)};
    static const struct {
        float top_p;
        double u;
        int32_t want;
    } cases[] = {
        {1, 0, 1},         {1, 0.399, 1},      {1, 0.401, 3},       {1, 0.699, 3},      {1, 0.701, 2},
        {1, 0.899, 2},     {1, 0.901, 0},      {1, 0.999999, 0},    {0.95f, 0.9999, 0}, {0.85f, 0.9999, 2},
        {0.85f, 0.443, 1}, {0.85f, 0.446, 3},  {0.71f, 0.9999, 2},  {0.69f, 0.9999, 3}, {0.69f, 0.57, 1},
        {0.69f, 0.573, 3}, {0.39f, 0.9999, 1}, {0.001f, 0.9999, 1},
    };
    TEST_EACH_BACKEND(rig)
    {
        test_image x = logits_of(values, 4);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            int32_t got = draw(&rig, &x, NULL, (kernels_sampling){1, cases[i].top_p, 1}, cases[i].u);
            if (got != cases[i].want)
                fail_msg("top_p %g, u %g: %d, want %d", (double)cases[i].top_p, cases[i].u, got, cases[i].want);
        }
        /* temperature 1/2 squares the masses: 0.16 / 0.3 of the whole for id 1 */
        assert_int_equal(draw(&rig, &x, NULL, (kernels_sampling){0.5f, 1, 1}, 0.533), 1);
        assert_int_equal(draw(&rig, &x, NULL, (kernels_sampling){0.5f, 1, 1}, 0.534), 3);
        test_image_free(&x);
    }
}

/* Equal masses: the lower id first. */
static void test_ties_by_id(void **state)
{
    (void)state;
    static const double values[] = {0.0, -0.0, 0.0, -1000, 0.0};
    static const int32_t want[] = {0, 1, 2, 4};
    TEST_EACH_BACKEND(rig)
    {
        test_image x = logits_of(values, 5);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(draw(&rig, &x, NULL, (kernels_sampling){1, 1, 1}, (i + 0.5) / 4), want[i]);
            assert_int_equal(draw(&rig, &x, NULL, (kernels_sampling){1, 0.5f, 1}, (i + 0.5) / 4), i / 2);
        }
        test_image_free(&x);
    }
}

/* Frequencies of an even grid of u are the masses. */
static void test_frequencies(void **state)
{
    (void)state;
    enum { V = 37, DRAWS = 4000 };
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 1, V, V);
        test_fill_normal(&x, 2.0f);
        double p[V], total = 0;
        int count[V] = {0};
        for (int i = 0; i < V; i++)
            total += p[i] = exp(test_at(&x, 0, i) / 0.7);
        for (int i = 0; i < DRAWS; i++)
            count[draw(&rig, &x, NULL, (kernels_sampling){0.7f, 1, 1}, (i + 0.5) / DRAWS)]++;
        for (int i = 0; i < V; i++)
            assert_true(fabs(count[i] - DRAWS * p[i] / total) <= 1.01);
        test_image_free(&x);
    }
}

/* A real vocabulary's length, of whole packs of four and not; flat, peaked and tied rows. */
static void test_agrees_with_reference(void **state)
{
    (void)state;
    static const float scales[] = {0.01f, 1, 5, 40}, temperatures[] = {0.1f, 0.7f, 1, 3},
                       top_ps[] = {0.05f, 0.8f, 0.999f, 1};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 64; i++) {
        const int v = i % 5 < 3 ? 20011 : 20008;
        test_image x = test_image_new(KERNELS_F32, 1, v, v + 3), seen = test_image_new(KERNELS_I32, 100, 1, 1);
        test_fill_normal(&x, scales[i % 4]);
        for (int j = 0; i % 3 == 0 && j < v; j++) /* ties, and some that cannot be drawn */
            test_set(&x, 0, j, j % 7 == 0 ? -INFINITY : rint(test_at(&x, 0, j)));
        for (int j = 0; j < 100; j++)
            test_set(&seen, j, 0, 200 * j + i);
        kernels_sampling p = {temperatures[i / 4 % 4], top_ps[i / 16], i % 2 ? 1.0f : 1.3f}, greedy = p;
        greedy.temperature = 0;
        assert_int_equal(draw(&rig, &x, &seen, greedy, 0), draw(&reference, &x, &seen, greedy, 0));
        for (int j = 0; j < 3; j++) {
            double u = (double)(test_random() >> 11) * 0x1p-53;
            u = j == 0 ? 0 : j == 1 ? 1 - 0x1p-53 : u;
            assert_int_equal(draw(&rig, &x, &seen, p, u), draw(&reference, &x, &seen, p, u));
        }
        test_image_free(&x);
        test_image_free(&seen);
    }
    test_close(&reference);
}

static void test_odd_logits(void **state)
{
    (void)state;
    static const double one[] = {-INFINITY, NAN, -5, -INFINITY}, none[] = {-INFINITY, NAN}, sure[] = {1, INFINITY, 2};
    TEST_EACH_BACKEND(rig)
    {
        test_image x = logits_of(one, 4), y = logits_of(none, 2), z = logits_of(sure, 3);
        assert_int_equal(draw(&rig, &x, NULL, (kernels_sampling){1, 1, 1}, 0.999), 2);
        assert_int_equal(draw(&rig, &z, NULL, (kernels_sampling){1, 1, 1}, 0.999), 1);
        test_assert_ok(&rig);
        draw(&rig, &y, NULL, (kernels_sampling){1, 1, 1}, 0.5);
        test_assert_failed(&rig, OMNID_FORMAT);
        draw(&rig, &x, NULL, (kernels_sampling){1, 0, 1}, 0.5); /* top_p 0 */
        test_assert_failed(&rig, OMNID_ARGUMENT);
        draw(&rig, &x, NULL, (kernels_sampling){1, 1, 1}, 1.0); /* u outside [0, 1) */
        test_assert_failed(&rig, OMNID_ARGUMENT);
        test_image_free(&x);
        test_image_free(&y);
        test_image_free(&z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_repetition_penalty),
        cmocka_unit_test(test_penalised_once),
        cmocka_unit_test(test_inverse_cdf),
        cmocka_unit_test(test_ties_by_id),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_agrees_with_reference),
        cmocka_unit_test(test_odd_logits),
    };
    return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
