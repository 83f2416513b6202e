/* test_plugin.c: the plugin is found and loaded, and what a machine may lack is told in a sentence, with `auto` falling back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"

/* Words that a line of the log has held. */
static const char *wanted_line;
static bool line_seen;

static void look_at_line(void *user, omnid_log_level level, const char *line)
{
    (void)user;
    (void)level;
    line_seen = line_seen || strstr(line, wanted_line);
}

static void test_found(void **state)
{
    (void)state;
    const kernels_ops *ops, *by_auto;
    omnid_error err = {0};
    assert_int_equal(kernels_find(&ops, "cuda", &err), OMNID_OK);
    assert_string_equal(ops->name, "cuda");
    assert_int_equal(kernels_find(&by_auto, "auto", &err), OMNID_OK);
    assert_ptr_equal(by_auto, ops);
}

/* What the machine lacks, as the emulation is told, and words of the sentence. */
static void test_nothing_to_use(void **state)
{
    (void)state;
    static const struct {
        const char *machine, *words;
    } cases[] = {{"no driver", "no NVIDIA driver"},
                 {"old driver", "knows CUDA up to 11.4"},
                 {"no device", "sees no GPU"},
                 {"old device", "compute capability 7.6, want 8.0"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const kernels_ops *ops;
        omnid_error err = {0};
        setenv("OMNID_CUDA_EMULATE", cases[i].machine, 1);
        assert_int_equal(kernels_find(&ops, "cuda", &err), OMNID_UNSUPPORTED);
        assert_null(ops);
        if (!strstr(err.text, cases[i].words))
            fail_msg("%s: wanted '%s' in: %s", cases[i].machine, cases[i].words, err.text);
        wanted_line = cases[i].words;
        line_seen = false;
        omnid_log_set(OMNID_LOG_INFO, look_at_line, NULL);
        assert_int_equal(kernels_find(&ops, "auto", &err), OMNID_OK);
        omnid_log_set(OMNID_LOG_INFO, NULL, NULL);
        assert_string_equal(ops->name, kernels_names()[0]);
        assert_true(line_seen);
    }
    unsetenv("OMNID_CUDA_EMULATE");
}

static void test_no_cublas(void **state)
{
    (void)state;
    const kernels_ops *ops;
    kernels_backend *backend;
    omnid_error err = {0};
    setenv("OMNID_CUDA_EMULATE", "no cublas", 1);
    assert_int_equal(kernels_find(&ops, "cuda", &err), OMNID_OK);
    assert_int_equal(ops->open(&backend, 0, &err), OMNID_NOT_FOUND);
    assert_null(backend);
    assert_non_null(strstr(err.text, "libcublasLt"));
    unsetenv("OMNID_CUDA_EMULATE");
}

/* More than the device has: NULL, or NOMEM with a sentence; what was there before still works. */
static void test_out_of_memory(void **state)
{
    (void)state;
    const kernels_ops *ops;
    kernels_backend *backend;
    kernels_stream *stream;
    omnid_error err = {0};
    assert_int_equal(kernels_find(&ops, "cuda", &err), OMNID_OK);
    assert_int_equal(ops->open(&backend, 0, &err), OMNID_OK);
    assert_int_equal(ops->stream_open(backend, &stream, &err), OMNID_OK);
    assert_null(ops->alloc(backend, (size_t)1 << 40));
    kernels_weight *w;
    float row[16] = {0};
    kernels_part part = {.data = row, .dtype = KERNELS_F32, .n = (int64_t)1 << 36};
    assert_int_equal(ops->pack(backend, &w, &part, 1, 16, KERNELS_PLAIN_F32, &err), OMNID_NOMEM);
    assert_null(w);
    assert_non_null(strstr(err.text, "emulated device"));
    float *data = ops->alloc(backend, sizeof row);
    assert_non_null(data);
    row[3] = 7;
    float back[16];
    ops->upload(stream, data, row, sizeof row);
    row[3] = 8; /* the upload has its own copy */
    ops->download(stream, back, data, sizeof back);
    assert_int_equal(kernels_stream_status(stream, &err), OMNID_OK);
    assert_true(back[3] == 7);
    ops->free(backend, data);
    ops->stream_close(&stream);
    ops->close(&backend);
}

/* Uploads and downloads longer than the pinned memory they pass through. */
static void test_long_copies(void **state)
{
    (void)state;
    enum { N = 11 << 20 };
    const kernels_ops *ops;
    kernels_backend *backend;
    kernels_stream *stream;
    omnid_error err = {0};
    assert_int_equal(kernels_find(&ops, "cuda", &err), OMNID_OK);
    assert_int_equal(ops->open(&backend, 0, &err), OMNID_OK);
    assert_int_equal(ops->stream_open(backend, &stream, &err), OMNID_OK);
    uint8_t *from = malloc(N), *to = malloc(N), *data = ops->alloc(backend, N);
    assert_true(from && to && data);
    for (int i = 0; i < N; i++)
        from[i] = (uint8_t)(i * 2654435761u >> 24);
    memset(to, 0, N);
    ops->upload(stream, data, from, N);
    for (int i = 0; i < N; i += 1000003) /* pieces of odd lengths, over what is under way */
        ops->upload(stream, data + i, from + i, N - i < 999 ? (size_t)(N - i) : 999);
    ops->download(stream, to, data, N);
    assert_int_equal(kernels_stream_status(stream, &err), OMNID_OK);
    assert_memory_equal(to, from, N);
    free(from);
    free(to);
    ops->free(backend, data);
    ops->stream_close(&stream);
    ops->close(&backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),         cmocka_unit_test(test_nothing_to_use), cmocka_unit_test(test_no_cublas),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_long_copies),
    };
    return cmocka_run_group_tests_name("plugin", tests, NULL, NULL);
}
