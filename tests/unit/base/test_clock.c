/* test_clock.c: microseconds, forwards, and the wall clock near time(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "base/base.h"

static void test_monotonic(void **state)
{
    (void)state;
    int64_t before = omnid_clock_us();
    for (int i = 0; i < 1000; i++) {
        int64_t now = omnid_clock_us();
        assert_true(now >= before);
        before = now;
    }
}

/* A sleep of 20 ms takes 20,000 us at least, and not the thousandfold. */
static void test_unit(void **state)
{
    (void)state;
    struct timespec pause = {.tv_nsec = 20000000};
    int64_t before = omnid_clock_us(), wall = omnid_wall_us();
    nanosleep(&pause, NULL);
    int64_t passed = omnid_clock_us() - before;
    assert_true(passed >= 20000 && passed < 20000000);
    assert_true(omnid_wall_us() - wall < 20000000);
}

static void test_wall(void **state)
{
    (void)state;
    int64_t difference_s = omnid_wall_us() / 1000000 - (int64_t)time(NULL);
    assert_true(difference_s >= -2 && difference_s <= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_unit),
        cmocka_unit_test(test_wall),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
