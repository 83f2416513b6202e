/* test_cpu_few.c: products of a few rows by every instruction set that this machine has, against a sum in float64: float32 and
 * int8 panels, tiles of every size, rows that need the weight twice, depths that end inside a block. */
#include "kernels/cpu/few.h"
#include "kernels/int8.h"
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    few_weight w;
    float *packed, *bias;
    int8_t *q;
    uint16_t *scale;
    double *exact; /* [n][k] */
} panels;

static void *memory(size_t size)
{
    void *data = aligned_alloc(64, (size + 63) / 64 * 64);
    assert_non_null(data);
    return memset(data, 0, size);
}

/* Random numbers, in panels of both kinds as `int8` says. */
static panels panels_new(int64_t n, int64_t k, bool int8)
{
    int64_t n_panels = (n + FEW_WIDTH - 1) / FEW_WIDTH, groups = int8_groups(k);
    panels p = {.packed = memory((size_t)(n_panels * k) * FEW_WIDTH * sizeof(float)),
                .q = memory((size_t)(n_panels * k) * FEW_WIDTH),
                .scale = memory((size_t)(n_panels * groups) * FEW_WIDTH * sizeof(uint16_t)),
                .bias = memory((size_t)n * sizeof(float)),
                .exact = memory((size_t)(n * k) * sizeof(double))};
    char *row = memory((size_t)kernels_int8_stride(k));
    float *values = memory((size_t)k * sizeof *values);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i / FEW_WIDTH * k * FEW_WIDTH + i % FEW_WIDTH;
        p.bias[i] = test_random_normal();
        for (int64_t d = 0; d < k; d++)
            values[d] = test_random_normal();
        kernels_int8_rows(row, values, KERNELS_F32, 1, k);
        for (int64_t d = 0; d < k; d++) {
            p.packed[at + d * FEW_WIDTH] = values[d];
            p.q[at + d * FEW_WIDTH] = ((int8_t *)row)[d];
            p.exact[i * k + d] = (double)(int8 ? int8_value(row, k, d) : values[d]);
        }
        for (int64_t g = 0; g < groups; g++)
            memcpy(p.scale + (i / FEW_WIDTH * groups + g) * FEW_WIDTH + i % FEW_WIDTH,
                   row + kernels_int8_numbers(k) + 2 * g, 2);
    }
    p.w = (few_weight){
        .packed = int8 ? NULL : p.packed, .q = p.q, .scale = p.scale, .bias = p.bias, .n = n, .k = k, .k_rounded = k};
    free(row);
    free(values);
    return p;
}

static void panels_free(panels *p)
{
    free(p->packed);
    free(p->q);
    free(p->scale);
    free(p->bias);
    free(p->exact);
}

static void check(test_rig *rig, const few_isa *isa, int64_t m, int64_t n, int64_t k, bool int8)
{
    bool gelu = test_random_int(0, 1), add = test_random_int(0, 1);
    panels p = panels_new(n, k, int8);
    test_image x = test_image_new(test_random_int(0, 1) ? KERNELS_F32 : KERNELS_BF16, m, k, k + 3);
    test_image y = test_image_new(KERNELS_F32, m, n, n + 5);
    test_fill_normal(&x, 1 / sqrtf((float)k));
    test_fill_normal(&y, 1);
    test_image want = test_image_copy(&y);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t d = 0; d < k; d++)
                sum += test_at(&x, i, d) * p.exact[j * k + d];
            sum += (double)p.bias[j];
            sum = gelu ? 0.5 * sum * (1 + erf(sum * 0.70710678118654752440)) : sum;
            test_set(&want, i, j, (add ? test_at(&y, i, j) : 0) + sum);
        }
    few_linear_by(isa, rig->stream, &y.host, &x.host, &p.w, gelu ? KERNELS_GELU : KERNELS_LINEAR, add);
    test_assert_ok(rig);
    test_assert_close(&y, &want, 1e-5, 1e-5);
    test_image_free(&x);
    test_image_free(&y);
    test_image_free(&want);
    panels_free(&p);
}

static void test_every_instruction_set(void **state)
{
    (void)state;
    test_rig rig = test_open("cpu");
    int n_sets = 0;
    for (int i = 0; few_all[i]; i++) {
        if (!few_all[i]->usable()) {
            print_message("skipped: this processor has no %s\n", few_all[i]->name);
            continue;
        }
        n_sets++;
        for (int64_t m = 1; m <= 14; m++)
            check(&rig, few_all[i], m, test_random_int(1, 150), test_random_int(1, 300), m % 3);
        check(&rig, few_all[i], FEW_ROWS + 3, 70, 130, true);
        check(&rig, few_all[i], 2 * FEW_ROWS + 1, 64, 64, true);
        check(&rig, few_all[i], FEW_ROWS, 65, 97, false);
    }
    assert_true(n_sets >= 1);
    test_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_instruction_set)};
    return cmocka_run_group_tests_name("cpu_few", tests, NULL, NULL);
}
