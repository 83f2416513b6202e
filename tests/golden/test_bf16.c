/* test_bf16 [BACKEND]: with bf16 weights, activations and KV the first position's logits keep the direction of transformers' float32
 * ones: cosine at least 0.9995, nothing pruned (a decision may fall otherwise in bf16). */
#include "tests/golden/golden.h"

#include <string.h>

static const char *backend = "auto";

static bool wanted(const json_t *answer)
{
    return strcmp(json_string_value(json_object_get(answer, "retention")), "none") == 0;
}

static bool check(void *user, const golden_case *c, const char *name, const omnid_result *r, char *why, size_t n_why)
{
    char path[GOLDEN_PATH + 300];
    (void)user;
    snprintf(path, sizeof path, "%s/expected/%s.json", c->folder, name);
    json_t *expected = golden_json(path), *logits = json_object_get(expected, "logits");
    size_t n = json_array_size(logits);
    float *want = malloc(n * sizeof *want);
    assert_non_null(want);
    for (size_t i = 0; i < n; i++)
        want[i] = (float)json_number_value(json_array_get(logits, i));
    double cosine = golden_cosine(r->trace->logits, want, n);
    free(want);
    json_decref(expected);
    print_message("%s/%s: cosine %.6f\n", c->folder, name, cosine);
    if (cosine >= 0.9995)
        return true;
    snprintf(why, n_why, "cosine of logits %.6f, wanted 0.9995", cosine);
    return false;
}

static void run(const char *model, const char *name)
{
    int n_bad = 0;
    golden_run_params p = {.backend = backend, .precision = OMNID_PRECISION_BF16, .check = check, .wanted = wanted};
    golden_case c;
    golden_case_open(&c, model, name);
    int n = golden_run(&c, model, &p, &n_bad);
    golden_case_close(&c);
    assert_true(n >= 1);
    assert_int_equal(n_bad, 0);
}

static void test_m1(void **state)
{
    (void)state;
    run("M1", "plain");
}

static void test_m2(void **state)
{
    (void)state;
    run("M2", "plain");
}

static void test_m3(void **state)
{
    (void)state;
    run("M3", "plain");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        backend = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_m1), cmocka_unit_test(test_m2), cmocka_unit_test(test_m3)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
