/* test_backend.c: what is not an op: views of tensors, types, the list of backends, memory, the status of a stream. */
#include "tests/unit/kernels/kernels_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_dtypes(void **state)
{
    (void)state;
    assert_int_equal(kernels_dtype_size(KERNELS_F32), 4);
    assert_int_equal(kernels_dtype_size(KERNELS_BF16), 2);
    assert_int_equal(kernels_dtype_size(KERNELS_F16), 2);
    assert_int_equal(kernels_dtype_size(KERNELS_I32), 4);
    assert_int_equal(kernels_dtype_size(KERNELS_U8), 1);
    assert_int_equal(kernels_dtype_size((kernels_dtype)99), 0);
    assert_string_equal(kernels_dtype_name(KERNELS_BF16), "bf16");
    assert_string_equal(kernels_dtype_name((kernels_dtype)99), "unknown");
}

static void test_views(void **state)
{
    (void)state;
    float data[6 * 5];
    tensor t = tensor_2d(data, KERNELS_F32, 6, 4), v = tensor_1d(data, KERNELS_F32, 7);
    assert_int_equal(t.stride, 4);
    t.stride = 5;
    assert_ptr_equal(tensor_row(&t, 3), data + 15);
    tensor rows = tensor_rows(&t, 2, 3);
    assert_int_equal(rows.dim[0], 3);
    assert_int_equal(rows.dim[1], 4);
    assert_int_equal(rows.stride, 5);
    assert_ptr_equal(tensor_row(&rows, 1), data + 15);
    assert_int_equal(v.n_dims, 1);
    assert_int_equal(v.dim[0], 7);
    assert_ptr_equal(tensor_row(&v, 5), data + 5);
    tensor nothing = tensor_2d(NULL, KERNELS_BF16, 0, 4);
    nothing = tensor_rows(&nothing, 0, 0);
    assert_null(nothing.data);
}

static void test_find(void **state)
{
    (void)state;
    const kernels_ops *ops = NULL;
    omnid_error err = {0};
    for (const char *const *name = test_backends(); *name; name++) {
        assert_int_equal(kernels_find(&ops, *name, &err), OMNID_OK);
        assert_string_equal(ops->name, *name);
    }
    assert_int_equal(kernels_find(&ops, "abacus", &err), OMNID_NOT_FOUND);
    assert_null(ops);
    assert_non_null(strstr(err.text, "abacus"));
    assert_non_null(strstr(err.text, "reference"));
}

/* cuda without its plugin: a sentence that names the folder; auto: the fastest that is linked in. */
static void test_no_plugin(void **state)
{
    (void)state;
    const kernels_ops *ops = NULL;
    omnid_error err = {0};
    char before[4096];
    const char *plugins = getenv("OMNID_PLUGINS");
    snprintf(before, sizeof before, "%s", plugins ? plugins : "");
    setenv("OMNID_PLUGINS", "/nowhere", 1);
    assert_int_equal(kernels_find(&ops, "cuda", &err), OMNID_NOT_FOUND);
    assert_null(ops);
    assert_non_null(strstr(err.text, "libomnid-cuda.so"));
    assert_non_null(strstr(err.text, "/nowhere"));
    assert_int_equal(kernels_find(&ops, "auto", &err), OMNID_OK);
    assert_string_equal(ops->name, kernels_names()[0]);
    if (plugins)
        setenv("OMNID_PLUGINS", before, 1);
    else
        unsetenv("OMNID_PLUGINS");
}

/* Every entry that is not of streams side by side or of replay is there. */
static void test_tables_are_complete(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        void (*entry[offsetof(kernels_ops, wait) / sizeof(void (*)(void))])(void);
        memcpy(entry, rig.ops, sizeof entry);
        for (size_t i = 0; i < sizeof entry / sizeof *entry; i++)
            assert_true(entry[i] != NULL);
    }
}

static void test_open_and_memory(void **state)
{
    (void)state;
    for (const char *const *name = test_backends(); *name; name++) {
        const kernels_ops *ops;
        kernels_backend *backend;
        omnid_error err = {0};
        assert_int_equal(kernels_find(&ops, *name, &err), OMNID_OK);
        assert_int_equal(ops->open(&backend, -1, &err), OMNID_ARGUMENT);
        assert_null(backend);
        assert_non_null(strstr(err.text, "-1"));
        assert_int_equal(ops->open(&backend, 0, &err), OMNID_OK);
        static const size_t sizes[] = {0, 1, 63, 64, 65, 1000000};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *data = ops->alloc(backend, sizes[i]);
            assert_non_null(data);
            assert_int_equal((uintptr_t)data % 64, 0);
            ops->free(backend, data);
        }
        assert_null(ops->alloc(backend, SIZE_MAX));
        ops->free(backend, NULL);
        kernels_precision precision = ops->native_precision(backend);
        assert_true(precision == KERNELS_PLAIN_F32 || precision == KERNELS_PLAIN_BF16);
        ops->close(&backend);
        assert_null(backend);
        ops->close(&backend);
        kernels_stream *none = NULL;
        ops->stream_close(&none);
    }
}

static void test_copies(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        uint8_t from[100], to[100] = {0};
        for (int i = 0; i < 100; i++)
            from[i] = (uint8_t)i;
        void *on = test_put(&rig, from, 100);
        rig.ops->download(rig.stream, to, on, 100);
        assert_memory_equal(to, from, 100);
        rig.ops->upload(rig.stream, on, NULL, 0);
    }
}

/* The first failure stays, later ops do nothing, and asking forgets it. */
static void test_first_failure_stays(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        test_image x = test_image_new(KERNELS_F32, 2, 3, 3), y = test_image_new(KERNELS_F32, 2, 3, 3);
        test_fill_normal(&x, 1.0f);
        test_fill_normal(&y, 1.0f);
        test_image before = test_image_copy(&y);
        tensor on_x = test_up(&rig, &x), on_y = test_up(&rig, &y);
        kernels_stream_fail(rig.stream, OMNID_DEVICE, "the %s is unplugged", "lamp");
        kernels_stream_fail(rig.stream, OMNID_NOMEM, "second");
        rig.ops->add(rig.stream, &on_y, &on_x);
        omnid_error err = {0};
        assert_int_equal(kernels_stream_status(rig.stream, &err), OMNID_DEVICE);
        assert_string_equal(err.text, "the lamp is unplugged");
        assert_int_equal(kernels_stream_status(rig.stream, NULL), OMNID_OK);
        test_down(&rig, &on_y, &y);
        test_assert_same(&y, &before);
        rig.ops->add(rig.stream, &on_y, &on_x);
        test_down(&rig, &on_y, &y);
        assert_true(test_at(&y, 1, 1) == (double)((float)test_at(&before, 1, 1) + (float)test_at(&x, 1, 1)));
        test_image_free(&x);
        test_image_free(&y);
        test_image_free(&before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_no_plugin),
        cmocka_unit_test(test_tables_are_complete),
        cmocka_unit_test(test_open_and_memory),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_first_failure_stays),
    };
    return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
