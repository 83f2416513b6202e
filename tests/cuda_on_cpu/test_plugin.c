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
    assert_int_equal(ops->stream_open(backend, &stream, KERNELS_FIRST, &err), OMNID_OK);
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
    assert_int_equal(ops->stream_open(backend, &stream, KERNELS_FIRST, &err), OMNID_OK);
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

/* ---- memory that is freed while work still uses it ---- */

typedef struct {
    const kernels_ops *ops;
    kernels_backend *backend;
    kernels_stream *a, *b;
} two_streams;

static void open_two(two_streams *t)
{
    omnid_error err = {0};
    assert_int_equal(kernels_find(&t->ops, "cuda", &err), OMNID_OK);
    assert_int_equal(t->ops->open(&t->backend, 0, &err), OMNID_OK);
    assert_int_equal(t->ops->stream_open(t->backend, &t->a, KERNELS_FIRST, &err), OMNID_OK);
    assert_int_equal(t->ops->stream_open(t->backend, &t->b, KERNELS_FIRST, &err), OMNID_OK);
}

static void close_two(two_streams *t)
{
    t->ops->stream_close(&t->a);
    t->ops->stream_close(&t->b);
    t->ops->close(&t->backend);
}

static uint64_t free_bytes(const two_streams *t)
{
    kernels_memory m;
    t->ops->memory(t->backend, &m);
    return m.free;
}

enum { N_ROWS = 4, N_COLUMNS = 1000 };

/* y += x is enqueued on a, then x goes; who asks for memory next on b must not write where it lies. */
static void test_free_under_work(void **state)
{
    (void)state;
    two_streams t;
    float from[N_ROWS * N_COLUMNS], back[N_ROWS * N_COLUMNS];
    open_two(&t);
    const uint64_t before = free_bytes(&t);
    float *x = t.ops->alloc(t.backend, sizeof from), *y = t.ops->alloc(t.backend, sizeof from);
    tensor tx = tensor_2d(x, KERNELS_F32, N_ROWS, N_COLUMNS), ty = tensor_2d(y, KERNELS_F32, N_ROWS, N_COLUMNS);
    for (int i = 0; i < N_ROWS * N_COLUMNS; i++)
        from[i] = (float)i;
    t.ops->upload(t.a, x, from, sizeof from);
    t.ops->upload(t.a, y, from, sizeof from);
    t.ops->add(t.a, &ty, &tx);
    t.ops->free(t.backend, x);
    float *z = t.ops->alloc(t.backend, sizeof from);
    assert_non_null(z);
    assert_ptr_not_equal(z, x); /* a has done nothing yet */
    memset(from, 0, sizeof from);
    t.ops->upload(t.b, z, from, sizeof from);
    t.ops->download(t.b, back, z, sizeof back);
    t.ops->download(t.a, back, y, sizeof back);
    assert_int_equal(kernels_stream_status(t.a, NULL), OMNID_OK);
    for (int i = 0; i < N_ROWS * N_COLUMNS; i++)
        assert_true(back[i] == (float)(2 * i));
    float *again = t.ops->alloc(t.backend, sizeof from); /* now nobody uses it */
    assert_ptr_equal(again, x);
    t.ops->free(t.backend, again);
    t.ops->free(t.backend, z);
    t.ops->free(t.backend, y);
    t.ops->free(t.backend, t.ops->alloc(t.backend, 1));
    assert_true(before - free_bytes(&t) <= 1); /* the last is seen to be free by the next */
    close_two(&t);
}

/* b reads what a has yet to write; and how far the device is behind the host. */
static void test_one_follows_the_other(void **state)
{
    (void)state;
    enum { N_MARKS = 12 };
    two_streams t;
    float from[N_ROWS * N_COLUMNS], back[N_ROWS * N_COLUMNS];
    open_two(&t);
    float *x = t.ops->alloc(t.backend, sizeof from), *y = t.ops->alloc(t.backend, sizeof from);
    tensor tx = tensor_2d(x, KERNELS_F32, N_ROWS, N_COLUMNS), ty = tensor_2d(y, KERNELS_F32, N_ROWS, N_COLUMNS);
    for (int i = 0; i < N_ROWS * N_COLUMNS; i++)
        from[i] = (float)i;
    t.ops->upload(t.a, x, from, sizeof from);
    t.ops->upload(t.b, y, from, sizeof from);
    t.ops->wait(t.b, t.a);
    t.ops->add(t.b, &ty, &tx);
    t.ops->download(t.b, back, y, sizeof back);
    for (int i = 0; i < N_ROWS * N_COLUMNS; i++)
        assert_true(back[i] == (float)(2 * i));
    assert_int_equal(t.ops->behind(t.a, -1), 0);
    for (int i = 0; i < N_MARKS; i++) { /* more than are remembered: the oldest is waited for */
        for (int j = 0; j < 20; j++)
            t.ops->add(t.a, &tx, &tx);
        t.ops->mark(t.a);
        assert_true(t.ops->behind(t.a, -1) > 0);
    }
    assert_true(t.ops->behind(t.a, 1) <= 1);
    assert_int_equal(t.ops->behind(t.a, 0), 0);
    t.ops->free(t.backend, x);
    t.ops->free(t.backend, y);
    assert_int_equal(kernels_stream_status(t.a, NULL), OMNID_OK);
    assert_int_equal(kernels_stream_status(t.b, NULL), OMNID_OK);
    close_two(&t);
}

/* What is left is less than what waits to be free: alloc waits for it instead of saying no. */
static void test_free_is_found_again(void **state)
{
    (void)state;
    two_streams t;
    open_two(&t);
    size_t most = (size_t)free_bytes(&t) / 3 * 2;
    char zeros[1000] = {0};
    for (int i = 0; i < 5; i++) {
        char *half = t.ops->alloc(t.backend, most);
        assert_non_null(half);
        assert_null(t.ops->alloc(t.backend, most)); /* and it is a no where there really is none */
        t.ops->upload(i % 2 ? t.a : t.b, half, zeros, sizeof zeros);
        t.ops->free(t.backend, half);
    }
    omnid_error err = {0};
    assert_int_equal(t.ops->reserve(t.backend, most, &err), OMNID_OK);
    assert_int_equal(t.ops->reserve(t.backend, 2 * (uint64_t)most, &err), OMNID_NOMEM);
    assert_non_null(strstr(err.text, "emulated device has no"));
    close_two(&t);
}

/* A device without pools, and one that uses the machine's memory. */
static void test_other_memory(void **state)
{
    (void)state;
    static const char *const machines[] = {"no pools", "integrated"};
    for (int i = 0; i < 2; i++) {
        two_streams t;
        setenv("OMNID_CUDA_EMULATE", machines[i], 1);
        open_two(&t);
        kernels_memory m;
        t.ops->memory(t.backend, &m);
        assert_string_equal(m.device, "emulated device");
        assert_int_equal(m.own, i == 0);
        assert_true(m.total >= m.free && m.free > 0 && m.stream > 0);
        void *data = t.ops->alloc(t.backend, 12345);
        assert_non_null(data);
        assert_true(free_bytes(&t) + 12345 <= m.free);
        t.ops->free(t.backend, data);
        t.ops->free(t.backend, t.ops->alloc(t.backend, 1));
        assert_true(m.free - free_bytes(&t) <= 1);
        assert_int_equal(t.ops->reserve(t.backend, 1 << 20, NULL), OMNID_OK);
        close_two(&t);
    }
    unsetenv("OMNID_CUDA_EMULATE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_nothing_to_use),
        cmocka_unit_test(test_no_cublas),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_long_copies),
        cmocka_unit_test(test_free_under_work),
        cmocka_unit_test(test_free_is_found_again),
        cmocka_unit_test(test_other_memory),
        cmocka_unit_test(test_one_follows_the_other),
    };
    return cmocka_run_group_tests_name("plugin", tests, NULL, NULL);
}
