/* test_resize.c: which size a frame gets, and the resampling against its definition in float64. PIL's own results are
 * tests/golden's. */
#include "engine/random.h"
#include "engine/resize.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        int width, height, max_pixels, out_width, out_height;
    } cases[] = {
        {640, 480, 336 * 336, 392, 280},      {480, 640, 336 * 336, 280, 392},   {1920, 1080, 336 * 336, 448, 252},
        {1280, 720, 336 * 336, 448, 252},     {336, 336, 336 * 336, 336, 336},   {84, 196, 336 * 336, 84, 196},
        {320, 240, 336 * 336, 308, 224},      {1000, 1000, 336 * 336, 336, 336}, {28, 28, 336 * 336, 28, 28},
        {55, 55, 336 * 336, 28, 28},          {640, 480, 784, 28, 28},           {16000, 28, 336 * 336, 4032, 28},
        {640, 480, 640 * 480, 644 - 28, 476}, {640, 480, 1568, 56, 28}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int w = 0, h = 0;
        omnid_error err;
        assert_int_equal(resize_target(cases[i].width, cases[i].height, cases[i].max_pixels, &w, &h, &err), OMNID_OK);
        if (w != cases[i].out_width || h != cases[i].out_height)
            fail_msg("%d x %d: %d x %d, want %d x %d", cases[i].width, cases[i].height, w, h, cases[i].out_width,
                     cases[i].out_height);
    }
}

static void test_every_target_is_allowed(void **state)
{
    (void)state;
    random_pcg32 r = random_pcg32_seed(3, 0);
    for (int i = 0; i < 2000; i++) {
        int width = 28 + (int)(random_pcg32_next(&r) % 3000), height = 28 + (int)(random_pcg32_next(&r) % 3000);
        int max_pixels = 784 + (int)(random_pcg32_next(&r) % 200000), w, h;
        omnid_error err;
        assert_int_equal(resize_target(width, height, max_pixels, &w, &h, &err), OMNID_OK);
        assert_true(w >= 28 && h >= 28 && w % 28 == 0 && h % 28 == 0);
        assert_true(w <= width && h <= height && w * h <= max_pixels);
        int again_w, again_h; /* a frame of that size stays as it is */
        assert_int_equal(resize_target(w, h, max_pixels, &again_w, &again_h, &err), OMNID_OK);
        assert_true(again_w == w && again_h == h);
    }
}

static void test_refused(void **state)
{
    (void)state;
    int w, h;
    omnid_error err = {0};
    assert_int_equal(resize_target(27, 400, 336 * 336, &w, &h, &err), OMNID_SHAPE);
    assert_non_null(strstr(err.text, "found 27 x 400"));
    assert_int_equal(resize_target(400, 0, 336 * 336, &w, &h, &err), OMNID_SHAPE);
    assert_int_equal(resize_target(400, -5, 336 * 336, &w, &h, &err), OMNID_SHAPE);
    assert_int_equal(resize_target(400, 20000, 336 * 336, &w, &h, &err), OMNID_SHAPE);
    assert_int_equal(resize_target(400, 400, 783, &w, &h, &err), OMNID_ARGUMENT);
}

/* ------------------------------------------------------------------ resampling */

static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1 : x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0;
}

/* Output i of n_out of a line of n values `step` apart, rounded to 8 bits. */
static uint8_t slow_sample(const uint8_t *line, int n, int step, int i, int n_out)
{
    double scale = (double)n / n_out, stretch = scale > 1 ? scale : 1, center = (i + 0.5) * scale, sum = 0, weights = 0;
    for (int x = 0; x < n; x++) {
        double w = fabs(x + 0.5 - center) < 2 * stretch ? cubic((x + 0.5 - center) / stretch) : 0;
        sum += w * line[x * step];
        weights += w;
    }
    return (uint8_t)lround(fmin(fmax(sum / weights, 0), 255));
}

static void check_against_definition(int width, int height, int out_width, int out_height, int stride)
{
    uint8_t *in = calloc((size_t)stride * (size_t)height, 1), *out = malloc((size_t)(out_width * out_height * 3));
    uint8_t *middle = malloc((size_t)(out_width * height * 3));
    random_pcg32 r = random_pcg32_seed((uint64_t)width, 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width * 3; x++)
            in[y * stride + x] =
                (uint8_t)(random_pcg32_next(&r) % 3 ? random_pcg32_next(&r) : 255u * (unsigned)(x / 15 % 2));
    omnid_error err;
    assert_int_equal(resize_bicubic(out, out_width, out_height, in, width, height, stride, &err), OMNID_OK);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < out_width * 3; x++)
            middle[y * out_width * 3 + x] = slow_sample(in + y * stride + x % 3, width, 3, x / 3, out_width);
    int n_off = 0;
    for (int y = 0; y < out_height; y++)
        for (int x = 0; x < out_width * 3; x++) {
            int want = slow_sample(middle + x, height, out_width * 3, y, out_height), got = out[y * out_width * 3 + x];
            if (abs(got - want) > 1)
                fail_msg("%d x %d: row %d, byte %d: %d, want %d", width, height, y, x, got, want);
            n_off += got != want;
        }
    assert_true(n_off * 100 < out_width * out_height * 3); /* rounding of ties, no more */
    free(in);
    free(out);
    free(middle);
}

static void test_resampling(void **state)
{
    (void)state;
    check_against_definition(160, 120, 84, 56, 160 * 3);
    check_against_definition(101, 77, 28, 28, 101 * 3 + 5);
    check_against_definition(57, 300, 56, 140, 57 * 3);
    check_against_definition(40, 40, 56, 84, 40 * 3); /* enlarging works too */
}

static void test_same_size_is_copied(void **state)
{
    (void)state;
    uint8_t in[28 * 100], out[28 * 28 * 3];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 7);
    omnid_error err;
    assert_int_equal(resize_bicubic(out, 28, 28, in, 28, 28, 100, &err), OMNID_OK);
    for (int y = 0; y < 28; y++)
        assert_memory_equal(out + y * 84, in + y * 100, 84);
}

static void test_flat_colours_stay(void **state)
{
    (void)state;
    static uint8_t in[123 * 77 * 3], out[56 * 28 * 3];
    omnid_error err;
    for (int v = 0; v < 256; v += 51) {
        memset(in, v, sizeof in);
        assert_int_equal(resize_bicubic(out, 56, 28, in, 123, 77, 123 * 3, &err), OMNID_OK);
        for (size_t i = 0; i < sizeof out; i++)
            assert_int_equal(out[i], v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets),
                                       cmocka_unit_test(test_every_target_is_allowed),
                                       cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_resampling),
                                       cmocka_unit_test(test_same_size_is_copied),
                                       cmocka_unit_test(test_flat_colours_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
