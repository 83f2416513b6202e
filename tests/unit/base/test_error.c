/* test_error.c: statuses have names and texts; sentences are filled, prefixed and never overrun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/base.h"

static void test_every_status_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i < OMNID_N_STATUS; i++) {
        const char *name = omnid_status_name((omnid_status)i);
        assert_true(strlen(name) > 1 && strlen(omnid_status_text((omnid_status)i)) > 1);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(name, omnid_status_name((omnid_status)j));
    }
    assert_string_equal(omnid_status_name(OMNID_OK), "ok");
    assert_string_equal(omnid_status_name(OMNID_NOT_FOUND), "not_found");
    assert_string_equal(omnid_status_name(OMNID_DEADLINE), "deadline");
    assert_string_equal(omnid_status_text(OMNID_NOMEM), "out of memory");
    assert_string_equal(omnid_status_name((omnid_status)1000), "unknown");
    assert_string_equal(omnid_status_text((omnid_status)-1), "unknown status");
}

static void test_fail(void **state)
{
    (void)state;
    omnid_error err = {0};
    assert_int_equal(omnid_fail(&err, OMNID_SHAPE, "%s: want [%d], file has [%d]", "norm", 64, 63), OMNID_SHAPE);
    assert_int_equal(err.status, OMNID_SHAPE);
    assert_string_equal(err.text, "norm: want [64], file has [63]");
    assert_int_equal(omnid_fail(NULL, OMNID_IO, "nobody asks"), OMNID_IO);
}

static void test_fail_in(void **state)
{
    (void)state;
    omnid_error err = {0};
    omnid_fail(&err, OMNID_IO, "cannot read");
    assert_int_equal(omnid_fail_in(&err, "model %s, layer %d", "demo", 3), OMNID_IO);
    assert_int_equal(err.status, OMNID_IO);
    assert_string_equal(err.text, "model demo, layer 3: cannot read");
}

/* Both a long sentence and a long context are cut, with the terminator inside. */
static void test_long_sentences_are_cut(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct {
        omnid_error err;
        char guard[16];
    } x;
    memset(&x, 7, sizeof x);
    omnid_fail(&x.err, OMNID_FORMAT, "%s", text);
    assert_int_equal(strlen(x.err.text), sizeof x.err.text - 1);
    omnid_fail_in(&x.err, "here");
    assert_int_equal(strlen(x.err.text), sizeof x.err.text - 1);
    assert_memory_equal(x.err.text, "here: xxx", 9);
    omnid_fail_in(&x.err, "%s", text);
    assert_int_equal(strlen(x.err.text), sizeof x.err.text - 1);
    assert_int_equal(x.err.status, OMNID_FORMAT);
    for (size_t i = 0; i < sizeof x.guard; i++)
        assert_int_equal(x.guard[i], 7);
}

static omnid_status try_twice(omnid_status first, int *n_steps)
{
    OMNID_TRY(first);
    ++*n_steps;
    return OMNID_END;
}

static void test_try(void **state)
{
    (void)state;
    int n_steps = 0;
    assert_int_equal(try_twice(OMNID_BUSY, &n_steps), OMNID_BUSY);
    assert_int_equal(n_steps, 0);
    assert_int_equal(try_twice(OMNID_OK, &n_steps), OMNID_END);
    assert_int_equal(n_steps, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_status_has_its_own_name),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_fail_in),
        cmocka_unit_test(test_long_sentences_are_cut),
        cmocka_unit_test(test_try),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
