/* golden.c: reading the fixtures, and small comparisons. */
#include "tests/golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void golden_path(char *path, const char *format, ...)
{
    const char *moved = getenv("OMNID_TEST_SOURCE"); /* the tree, where it is not where it was built */
    int n = snprintf(path, GOLDEN_PATH, "%s/tests/golden/data/", moved ? moved : OMNID_SOURCE_DIR);
    assert_in_range(n, 1, GOLDEN_PATH - 1);
    va_list args;
    va_start(args, format);
    int m = vsnprintf(path + n, (size_t)(GOLDEN_PATH - n), format, args);
    va_end(args);
    assert_in_range(m, 1, GOLDEN_PATH - n - 1);
}

void *golden_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("%s cannot be opened", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long size = ftell(f);
    assert_true(size >= 0);
    rewind(f);
    char *data = malloc((size_t)size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)size, f), (size_t)size);
    data[size] = 0;
    fclose(f);
    *n = (size_t)size;
    return data;
}

json_t *golden_json(const char *path)
{
    json_error_t error;
    json_t *value = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (value == NULL)
        fail_msg("%s: %s (line %d)", path, error.text, error.line);
    return value;
}

int golden_dim(const json_t *entry, int i)
{
    return (int)json_integer_value(json_array_get(json_object_get(entry, "shape"), (size_t)i));
}

void *golden_values(const char *folder, const json_t *entry, size_t element_size, size_t *n)
{
    char path[GOLDEN_PATH];
    const char *file = json_string_value(json_object_get(entry, "file"));
    assert_non_null(file);
    golden_path(path, "%s/%s", folder, file);
    size_t bytes, count = 1, i;
    json_t *dim;
    json_array_foreach(json_object_get(entry, "shape"), i, dim)
    {
        count *= (size_t)json_integer_value(dim);
    }
    void *data = golden_read(path, &bytes);
    if (bytes != count * element_size)
        fail_msg("%s has %zu bytes, the index says %zu values of %zu", path, bytes, count, element_size);
    *n = count;
    return data;
}

uint8_t *golden_frames(const char *path, int *n, int *height, int *width)
{
    size_t size;
    uint8_t *file = golden_read(path, &size);
    assert_true(size > 10 && memcmp(file, "\x93NUMPY\x01", 7) == 0);
    size_t header = (size_t)file[8] | (size_t)file[9] << 8;
    const char *shape = strstr((const char *)file + 10, "'shape': (");
    assert_non_null(strstr((const char *)file + 10, "'descr': '|u1'"));
    assert_non_null(shape);
    assert_int_equal(sscanf(shape, "'shape': (%d, %d, %d, 3)", n, height, width), 3);
    size_t bytes = (size_t)*n * (size_t)*height * (size_t)*width * 3;
    assert_int_equal(size, 10 + header + bytes);
    memmove(file, file + 10 + header, bytes);
    return file;
}

float *golden_samples(const char *path, int *n)
{
    size_t size;
    uint8_t *file = golden_read(path, &size);
    assert_true(size >= 44 && memcmp(file, "RIFF", 4) == 0 && memcmp(file + 36, "data", 4) == 0);
    *n = (int)((size - 44) / 2);
    float *out = malloc((size_t)*n * sizeof *out + 1);
    assert_non_null(out);
    for (int i = 0; i < *n; i++)
        out[i] = (float)(int16_t)(file[44 + 2 * i] | file[45 + 2 * i] << 8) / 32768.0f;
    free(file);
    return out;
}

void golden_close(const char *what, const float *got, const float *want, size_t n, double tolerance)
{
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= worst)) {
            worst = d;
            at = i;
        }
    }
    if (!(worst <= tolerance))
        fail_msg("%s: |%g - %g| = %.3g at %zu of %zu, tolerance %g", what, (double)got[at], (double)want[at], worst, at,
                 n, tolerance);
    print_message("%s: largest difference %.2g (tolerance %g)\n", what, worst, tolerance);
}

double golden_cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

void golden_ok(omnid_status status, const omnid_error *err)
{
    if (status != OMNID_OK)
        fail_msg("%s: %s", omnid_status_name(status), err->text);
}
