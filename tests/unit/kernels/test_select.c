/* test_select.c: against a brute force of docs/semantics.md section 5 that takes one leaver at a time, with many ties. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    kernels_key *keys;
    float *S;
    kernels_descriptor d; /* counts alone, until check() */
} list;

/* n tokens spread over segments 0 .. c_last; scores of `levels` different values. */
static list list_new(int n, int c_last, int levels)
{
    list x = {malloc((size_t)n * sizeof(kernels_key) + 1), malloc((size_t)n * sizeof(float) + 1), {.n_score = n}};
    assert_true(x.keys && x.S);
    for (int i = 0; i < n; i++) {
        x.keys[i] = (kernels_key){
            .page = i % 5 - 1, .row = 3 * i, .segment = (int)((int64_t)i * (c_last + 1) / n), .index = 7 * i};
        x.S[i] = (float)test_random_int(0, levels) / (float)levels * 1e-3f;
    }
    x.d.c_last = c_last;
    x.d.lambda = 0.2;
    return x;
}

static void list_free(list *x)
{
    free(x->keys);
    free(x->S);
}

/* Marks who leaves: the lowest value first, ties by place; one at a time. */
static void leave_lowest(bool *leaves, const bool *allowed, const float *value, int n, int k)
{
    for (; k > 0; k--) {
        int lowest = -1;
        for (int i = 0; i < n; i++)
            if (allowed[i] && !leaves[i] && (lowest < 0 || value[i] < value[lowest]))
                lowest = i;
        leaves[lowest] = true;
    }
}

static void brute_force(bool *leaves, const list *x)
{
    int n = x->d.n_score, k = x->d.k_leave, best = 0;
    bool *all = malloc((size_t)n + 1), *candidate = calloc((size_t)n + 1, 1);
    float *sum = malloc((size_t)n * sizeof *sum + 1);
    assert_true(all && candidate && sum);
    memset(all, true, (size_t)n);
    memset(leaves, false, (size_t)n);
    if (!x->d.tds) {
        leave_lowest(leaves, all, x->S, n, k);
    } else {
        leave_lowest(candidate, all, x->S, n, 2 * k < n ? 2 * k : n);
        for (int i = 1; i < n; i++)
            best = x->S[i] > x->S[best] ? i : best;
        for (int i = 0; i < n; i++) {
            double term =
                x->d.c_last == 0 ? 0 : x->d.lambda * abs(x->keys[best].segment - x->keys[i].segment) / x->d.c_last;
            sum[i] = x->S[i] + (float)term;
        }
        leave_lowest(leaves, candidate, sum, n, k);
    }
    free(all);
    free(candidate);
    free(sum);
}

static void check(test_rig *rig, const list *x, bool want_keys, bool want_kept)
{
    int n = x->d.n_score, k = x->d.k_leave, at = 0;
    bool *leaves = malloc((size_t)n + 1);
    assert_non_null(leaves);
    brute_force(leaves, x);
    test_image S = test_image_new(KERNELS_F32, n + 3, 1, 1), kept = test_image_new(KERNELS_I32, n + 2, 1, 1);
    memcpy(S.host.data, x->S, (size_t)n * sizeof *x->S); /* longer than the list: the rest is poison */
    size_t size = (size_t)n * sizeof(kernels_key) + 64;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, TEST_POISON, size);
    tensor on_S = test_up(rig, &S), on_kept = test_up(rig, &kept);
    kernels_key *out = test_put(rig, bytes, size), *in = test_put(rig, x->keys, (size_t)n * sizeof(kernels_key));
    kernels_descriptor d = x->d;
    d.scored = in;
    d.S = on_S.data;
    d.keys_out = want_keys ? out : NULL;
    d.kept = want_kept ? on_kept.data : NULL;
    rig->ops->select(rig->stream, test_put(rig, &d, sizeof d), n + n % 3 * 100);
    test_down(rig, &on_kept, &kept);
    test_get(rig, bytes, out, size);
    test_assert_ok(rig);
    for (int i = 0; i < n; i++) {
        if (leaves[i])
            continue;
        if (want_keys)
            assert_memory_equal(bytes + (size_t)at * sizeof(kernels_key), &x->keys[i], sizeof(kernels_key));
        if (want_kept)
            assert_int_equal(test_at(&kept, at, 0), i);
        at++;
    }
    assert_int_equal(at, n - k);
    for (size_t i = want_keys ? (size_t)at * sizeof(kernels_key) : 0; i < size; i++)
        assert_int_equal(bytes[i], TEST_POISON);
    for (int i = want_kept ? at : 0; i < n + 2; i++)
        assert_int_equal(test_at(&kept, i, 0), -1);
    test_free_memory(rig);
    test_image_free(&S);
    test_image_free(&kept);
    free(bytes);
    free(leaves);
}

static void test_brute_force(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 5, 33, 200}, last[] = {0, 1, 7, 31}, levels[] = {1, 3, 1000000};
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 5 * 4 * 3 * 2; i++) {
        int n = sizes[i % 5];
        list x = list_new(n, last[i / 5 % 4], levels[i / 20 % 3]);
        x.d.tds = i / 60;
        const int ks[] = {0, 1, n / 5, n / 2, (int)(0.7 * n), n - 1, n};
        for (int c = 0; c < 7; c++) {
            x.d.k_leave = ks[c];
            check(&rig, &x, c % 3 != 1, c % 3 != 2);
        }
        list_free(&x);
    }
}

/* As many as a layer has; segments of hours; more than the cuda backend's block holds in registers (16,384). */
static void test_long_list(void **state)
{
    (void)state;
    static const struct {
        int n, k, c_last;
    } lists[] = {{3001, 901, 31}, {2500, 700, 2400}, {16411, 130, 31}};
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 6; i++) {
        list x = list_new(lists[i / 2].n, lists[i / 2].c_last, 40000);
        x.d.k_leave = lists[i / 2].k;
        x.d.tds = i % 2;
        check(&rig, &x, true, true);
        list_free(&x);
    }
}

/* Four tokens by hand: C = 2, λ = 0.2. The highest S is token 3's, of segment 2; k = 1: the candidates are tokens 0 and 1
 * (S 0.01, 0.02); their sums 0.01 + 0.2 and 0.02 + 0.1: token 1 leaves although token 0 has the lower S. */
static void test_diversity_by_hand(void **state)
{
    (void)state;
    float S[] = {0.01f, 0.02f, 0.03f, 0.5f};
    kernels_key keys[] = {{0, 0, 0, 0}, {0, 1, 1, 1}, {0, 2, 2, 2}, {0, 3, 2, 3}};
    list x = {keys, S, {.n_score = 4, .k_leave = 1, .tds = 1, .c_last = 2, .lambda = 0.2}};
    bool leaves[4];
    brute_force(leaves, &x);
    assert_true(leaves[1] && !leaves[0]);
    TEST_EACH_BACKEND(rig)
    check(&rig, &x, true, true);
}

/* Small scores beside the term are rounded away and tie: the term has to be the float64 one, cast once. */
static void test_ties_made_by_rounding(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    for (int c_last = 1; c_last < 40; c_last++) {
        list x = list_new(120, c_last, 1);
        for (int i = 0; i < 120; i++)
            x.S[i] = (float)test_random_int(1, 9) * 1e-9f;
        x.d.k_leave = 50;
        x.d.tds = 1;
        check(&rig, &x, true, true);
        list_free(&x);
    }
}

/* Scores that make up for the term, up to a few units in the last place: one wrong rounding of λ, of the term or of the
 * sum changes who leaves. */
static void test_sums_nearly_tie(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    for (int c_last = 1; c_last < 60; c_last++) {
        list x = list_new(120, c_last, 1);
        for (int i = 0; i < 120; i++) { /* the highest is in segment 0 */
            float S = (float)(0.3 - x.d.lambda * x.keys[i].segment / c_last);
            for (int64_t steps = test_random_int(0, 2); i > 0 && steps > 0; steps--)
                S = nextafterf(S, 0);
            x.S[i] = S;
        }
        x.d.k_leave = 60;
        x.d.tds = 1;
        check(&rig, &x, true, true);
        list_free(&x);
    }
}

static void test_impossible_counts_fail(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        list x = list_new(4, 1, 3);
        test_image S = test_image_new(KERNELS_F32, 4, 1, 1), kept = test_image_new(KERNELS_I32, 4, 1, 1);
        tensor on_S = test_up(&rig, &S), on_kept = test_up(&rig, &kept);
        x.d.scored = test_put(&rig, x.keys, 4 * sizeof(kernels_key));
        x.d.S = on_S.data;
        x.d.kept = on_kept.data;
        x.d.k_leave = 5;
        rig.ops->select(rig.stream, test_put(&rig, &x.d, sizeof x.d), 4);
        test_assert_failed(&rig, OMNID_SHAPE);
        x.d.k_leave = 1;
        rig.ops->select(rig.stream, test_put(&rig, &x.d, sizeof x.d), 3);
        test_assert_failed(&rig, OMNID_SHAPE);
        list_free(&x);
        test_image_free(&S);
        test_image_free(&kept);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brute_force),       cmocka_unit_test(test_long_list),
        cmocka_unit_test(test_diversity_by_hand), cmocka_unit_test(test_ties_made_by_rounding),
        cmocka_unit_test(test_sums_nearly_tie),   cmocka_unit_test(test_impossible_counts_fail),
    };
    return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
