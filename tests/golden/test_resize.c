/* test_resize.c: frames to the model's size, within 1 of PIL's BICUBIC. */
#include "engine/resize.h"
#include "tests/golden/golden.h"

static void test_pil(void **state)
{
    (void)state;
    char path[GOLDEN_PATH];
    golden_path(path, "resize/index.json");
    json_t *index = golden_json(path);
    const json_t *entry;
    size_t i;
    assert_int_equal(json_array_size(index), 6);
    json_array_foreach(index, i, entry)
    {
        const json_t *from = json_object_get(entry, "source"), *to = json_object_get(entry, "result");
        size_t n_from, n_to, n_one = 0;
        uint8_t *source = golden_values("resize", from, 1, &n_from), *want = golden_values("resize", to, 1, &n_to);
        int width = golden_dim(from, 1), height = golden_dim(from, 0);
        uint8_t *got = malloc(n_to);
        omnid_error err = {0};
        assert_non_null(got);
        golden_ok(resize_bicubic(got, golden_dim(to, 1), golden_dim(to, 0), source, width, height, 3 * width, &err),
                  &err);
        for (size_t j = 0; j < n_to; j++) {
            int d = abs((int)got[j] - (int)want[j]);
            if (d > 1)
                fail_msg("picture %zu: %d at byte %zu, expected %d", i, got[j], j, want[j]);
            n_one += d == 1;
        }
        print_message("%d x %d to %d x %d: %zu of %zu bytes differ by 1\n", width, height, golden_dim(to, 1),
                      golden_dim(to, 0), n_one, n_to);
        free(got);
        free(source);
        free(want);
    }
    json_decref(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pil)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
