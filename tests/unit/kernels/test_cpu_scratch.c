/* test_cpu_scratch.c: the arena of a stream: pieces do not overlap, it grows once and then stays, and no memory is a
 * failure of the stream. */
#include "tests/unit/kernels/kernels_test.h"

#include <string.h>

#include "kernels/cpu/cpu.h"

/* One op's worth: 40 pieces of growing size, each filled, all checked at the end. */
static void use(kernels_stream *s, void **pieces)
{
    assert_true(cpu_begin(s));
    for (int i = 0; i < 40; i++) {
        pieces[i] = cpu_scratch(s, (size_t)i * 1000);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 64, 0);
        memset(pieces[i], i, (size_t)i * 1000);
    }
    for (int i = 0; i < 40; i++)
        for (size_t j = 0; j < (size_t)i * 1000; j += 7)
            assert_int_equal(((unsigned char *)pieces[i])[j], i);
}

static void test_grows_then_stays(void **state)
{
    (void)state;
    test_rig rig = test_open("cpu");
    void *first[40], *second[40], *third[40];
    use(rig.stream, first);
    use(rig.stream, second);
    const cpu_block *block = ((struct cpu_stream *)rig.stream)->blocks;
    use(rig.stream, third);
    assert_ptr_equal(((struct cpu_stream *)rig.stream)->blocks, block);
    assert_memory_equal(second, third, sizeof second);
    test_close(&rig);
}

static void test_no_memory(void **state)
{
    (void)state;
    test_rig rig = test_open("cpu");
    assert_true(cpu_begin(rig.stream));
    assert_null(cpu_scratch(rig.stream, SIZE_MAX));
    assert_false(cpu_begin(rig.stream));
    test_assert_failed(&rig, OMNID_NOMEM);
    assert_true(cpu_begin(rig.stream));
    assert_null(cpu_scratch(rig.stream, SIZE_MAX / 2));
    test_assert_failed(&rig, OMNID_NOMEM);
    test_close(&rig);
}

static void test_threads(void **state)
{
    (void)state;
    test_rig rig = test_open("cpu"); /* opened with 2 threads */
    assert_int_equal(cpu_threads(rig.stream, 0), 1);
    assert_int_equal(cpu_threads(rig.stream, 100), 1);
    assert_int_equal(cpu_threads(rig.stream, 100000000), 2);
    test_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_then_stays),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("cpu_scratch", tests, NULL, NULL);
}
