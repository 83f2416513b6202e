/* test_convert.c: conversions are exact, so every backend gives the reference's bits; rounding by hand. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>
#include <string.h>

#include "kernels/number.h"

static void run(test_rig *rig, test_image *y, const test_image *x)
{
    tensor on_y = test_up(rig, y), on_x = test_up(rig, x);
    rig->ops->convert(rig->stream, &on_y, &on_x);
    test_down(rig, &on_y, y);
    test_assert_ok(rig);
    test_free_memory(rig);
}

static void test_random_shapes(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {3, 17}, {1, 18944}, {65, 1031}};
    static const kernels_dtype dtypes[] = {KERNELS_F32, KERNELS_BF16};
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int pair = 0; pair < 4; pair++) {
            int64_t m = shapes[i][0], d = shapes[i][1];
            test_image x = test_image_new(dtypes[pair / 2], m, d, d + 3);
            test_image y = test_image_new(dtypes[pair % 2], m, d, d + 1), want = test_image_copy(&y);
            test_fill_normal(&x, 10.0f);
            run(&reference, &want, &x);
            run(&rig, &y, &x);
            test_assert_same(&y, &want);
            test_image_free(&x);
            test_image_free(&y);
            test_image_free(&want);
        }
    test_close(&reference);
}

/* float bits -> bf16 bits: ties to even both ways, carry into the exponent, infinities, NaN whose payload is low. */
static void test_rounding_by_hand(void **state)
{
    (void)state;
    static const uint32_t from[] = {0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x3fffffff, 0x7f7fffff,
                                    0x7f800000, 0xff800000, 0x80000000, 0x00000001, 0x7f800001, 0xffffffff};
    static const uint16_t want[] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x4000, 0x7f80,
                                    0x7f80, 0xff80, 0x8000, 0x0000, 0x7fc0, 0xffff};
    enum { N = sizeof from / sizeof *from };
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 1, N, N), y = test_image_new(KERNELS_BF16, 1, N, N);
        memcpy(x.host.data, from, sizeof from);
        run(&rig, &y, &x);
        for (int j = 0; j < N; j++)
            assert_int_equal(((const uint16_t *)y.host.data)[j], want[j]);
        test_image_free(&x);
        test_image_free(&y);
    }
}

/* Every bf16 value goes to float32 and back unchanged (NaN: stays a NaN). */
static void test_round_trip(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_BF16, 256, 256, 256), wide = test_image_new(KERNELS_F32, 256, 256, 256);
        test_image back = test_image_new(KERNELS_BF16, 256, 256, 256);
        uint16_t *bits = x.host.data;
        for (int i = 0; i < 65536; i++)
            bits[i] = (uint16_t)i;
        run(&rig, &wide, &x);
        run(&rig, &back, &wide);
        for (int i = 0; i < 65536; i++) {
            float value = ((const float *)wide.host.data)[i];
            assert_int_equal(number_bits(value), (uint32_t)i << 16);
            uint16_t again = ((const uint16_t *)back.host.data)[i];
            if (isnan(value))
                assert_true((again & 0x7fff) > 0x7f80);
            else
                assert_int_equal(again, i);
        }
        test_image_free(&x);
        test_image_free(&wide);
        test_image_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_rounding_by_hand),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
