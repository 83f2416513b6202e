/* kernels_test.h: what the tests of ops share: random numbers, images of tensors full of poison, and a rig = one opened
 * backend. An image is uploaded whole, poison included, so that a byte written beside a row shows whatever the device.
 *
 *     TEST_EACH_BACKEND(rig) {
 *         test_image y = test_image_new(KERNELS_F32, m, d, d + 3);
 *         tensor on = test_up(&rig, &y);
 *         rig.ops->rmsnorm(rig.stream, &on, …);
 *         test_down(&rig, &on, &y);
 *         test_assert_close(&y, &want, 1e-6, 1e-6);
 *     } */
#ifndef OMNID_KERNELS_TEST_H
#define OMNID_KERNELS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/kernels.h"

/* ---- random numbers: the same in every run ---- */
uint64_t test_random(void);                      /* splitmix64 */
int64_t test_random_int(int64_t lo, int64_t hi); /* lo .. hi */
float test_random_normal(void);

/* ---- one opened backend ---- */
enum { TEST_MAX_MEMORY = 128 };
typedef struct {
    const kernels_ops *ops;
    kernels_backend *backend;
    kernels_stream *stream;
    void *memory[TEST_MAX_MEMORY]; /* given out by test_up and test_put; freed by test_free_memory and test_close */
    int n_memory;
} test_rig;

test_rig test_open(const char *name);
/* Names of the backends to test, NULL at the end: the one OMNID_TEST_BACKEND names, else all that are linked in. When that
 * one cannot be used here the program says so and ends with 77, which ctest counts as skipped. */
const char *const *test_backends(void);
void test_close(test_rig *rig);
void test_free_memory(test_rig *rig);
/* Runs the block once with every backend there is, the reference (against itself: poison still counts) among them.
 * Leave the block by its end or by continue. */
#define TEST_EACH_BACKEND(rig)                                                                                         \
    for (const char *const *test_name = test_backends(); *test_name; test_name++)                                      \
        for (test_rig rig = test_open(*test_name); rig.ops; test_close(&rig))

/* Host bytes in the backend's memory, freed with the rig. */
void *test_put(test_rig *rig, const void *data, size_t size);
void test_get(test_rig *rig, void *data, const void *from, size_t size);
/* The stream has not failed / has failed with this status; the failure is forgotten. */
void test_assert_ok(test_rig *rig);
void test_assert_failed(test_rig *rig, omnid_status status);

/* ---- an image of a tensor in host memory: rows, gaps between them, guards on both sides ---- */
enum { TEST_POISON = 0xff }; /* a byte of a NaN in every float format, -1 as an integer */
typedef struct {
    kernels_dtype dtype;
    int64_t rows, cols, stride;
    size_t size; /* of bytes, guards included */
    uint8_t *bytes;
    tensor host; /* view of the cells */
} test_image;

/* Poisoned everywhere. stride < cols means dense. cols 1 with stride 1 makes a vector. */
test_image test_image_new(kernels_dtype dtype, int64_t rows, int64_t cols, int64_t stride);
test_image test_image_copy(const test_image *x);
void test_image_free(test_image *x);
void test_poison(test_image *x);
void test_fill_normal(test_image *x, float scale);
void test_fill_ints(test_image *x, int64_t lo, int64_t hi);
double test_at(const test_image *x, int64_t row, int64_t col);
void test_set(test_image *x, int64_t row, int64_t col, double value);

/* A copy in the backend's memory, and back. */
tensor test_up(test_rig *rig, const test_image *x);
void test_down(test_rig *rig, const tensor *on, test_image *x);

/* Every cell |got - want| <= absolute + relative |want| (infinities and bits of integers equal), NaN nowhere, and no
 * byte outside the cells touched. */
void test_assert_close(const test_image *got, const test_image *want, double absolute, double relative);
/* The same bytes, guards included. */
void test_assert_same(const test_image *got, const test_image *want);
/* No byte outside the cells touched. */
void test_assert_guards(const test_image *x);
/* What a store in dtype may cost: 0 for F32, one rounding of bf16 (relative). */
double test_rounding(kernels_dtype dtype);

#endif
