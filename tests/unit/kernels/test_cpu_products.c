/* test_cpu_products.c: code that oneDNN makes for one shape is kept for a bounded number of shapes: a daemon that meets ever
 * new row counts for months does not grow. */
#include "tests/unit/kernels/kernels_test.h"

#include <stdio.h>
#include <string.h>

#include "kernels/cpu/few.h"

enum { N = 48, K = 40, SHAPES = 600, FULL = 200 /* by then as many are kept as ever will be */ };

/* Bytes mapped as code that can be written: what oneDNN's products are made of. */
static size_t code_bytes(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    char line[512], may[5];
    size_t sum = 0, from, to;
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%zx-%zx %4s", &from, &to, may) == 3 && !strncmp(may, "rwx", 3))
            sum += to - from;
    fclose(maps);
    return sum;
}

static void test_bounded(void **state)
{
    (void)state;
    test_rig rig = test_open("cpu");
    static float weight[N * K];
    kernels_part part = {.data = weight, .dtype = KERNELS_F32, .n = N};
    kernels_weight *w;
    omnid_error err;
    assert_int_equal(rig.ops->pack(rig.backend, &w, &part, 1, K, KERNELS_PLAIN_F32, &err), OMNID_OK);
    test_image x = test_image_new(KERNELS_F32, FEW_ROWS + SHAPES, K, 0), y = test_image_new(KERNELS_F32, x.rows, N, 0);
    test_fill_normal(&x, 1);
    tensor x_on = test_up(&rig, &x), y_on = test_up(&rig, &y);
    size_t none = code_bytes(), full = 0;
    for (int i = 1; i <= SHAPES; i++) {
        tensor some = tensor_rows(&x_on, 0, FEW_ROWS + i), out = tensor_rows(&y_on, 0, FEW_ROWS + i);
        rig.ops->linear(rig.stream, &out, &some, w, &(kernels_epilogue){.activation = KERNELS_GELU});
        if (i == FULL)
            full = code_bytes();
    }
    test_assert_ok(&rig);
#if defined(__x86_64__)
    assert_true(full > none); /* else this test looks at the wrong memory */
#endif
    assert_in_range(code_bytes() - none, 0, (full - none) * 5 / 4);
    rig.ops->weight_free(rig.backend, &w);
    test_image_free(&x);
    test_image_free(&y);
    test_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests_name("cpu_products", tests, NULL, NULL);
}
