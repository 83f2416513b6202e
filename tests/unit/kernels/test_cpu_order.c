/* test_cpu_order.c: the k-th smallest key and the sort, against qsort. */
#include "tests/unit/kernels/kernels_test.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* n distinct keys whose upper halves have few or many values. */
static uint64_t *keys_new(int64_t n, uint64_t spread)
{
    uint64_t *keys = malloc((size_t)n * sizeof *keys);
    assert_non_null(keys);
    for (int64_t i = 0; i < n; i++)
        keys[i] = (test_random() % spread) << 32 | (uint64_t)i;
    return keys;
}

static void test_against_qsort(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 17, 300, 5000};
    static const uint64_t spreads[] = {1, 3, 1000, UINT32_MAX};
    for (int i = 0; i < 24; i++) {
        int64_t n = sizes[i % 6], ks[] = {1, (n + 1) / 2, n};
        uint64_t *keys = keys_new(n, spreads[i / 6]), *want = malloc((size_t)n * sizeof *want),
                 *work = malloc((size_t)n * sizeof *work);
        assert_true(want && work);
        memcpy(want, keys, (size_t)n * sizeof *keys);
        qsort(want, (size_t)n, sizeof *want, compare);
        for (int c = 0; c < 3; c++) {
            memcpy(work, keys, (size_t)n * sizeof *keys);
            assert_true(cpu_kth_smallest(work, n, ks[c]) == want[ks[c] - 1]);
        }
        cpu_sort_keys(keys, n);
        assert_memory_equal(keys, want, (size_t)n * sizeof *keys);
        free(keys);
        free(want);
        free(work);
    }
    cpu_sort_keys(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_qsort)};
    return cmocka_run_group_tests_name("cpu_order", tests, NULL, NULL);
}
