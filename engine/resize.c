/* resize.c: which size a frame gets, and PIL's bicubic: the same taps in 22 bits of fixed point, the same order of passes and
 * the same rounding to 8 bits between them, so that frames resized there and here are the same. */
#include "engine/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ which size */

/* x / y or y / x, whichever is at least 1. */
static double apart(double x, double y)
{
    return x > y ? x / y : y / x;
}

omnid_status resize_target(int width, int height, int max_pixels, int *out_width, int *out_height, omnid_error *err)
{
    if (width < RESIZE_UNIT || height < RESIZE_UNIT || width > RESIZE_MAX_SIDE || height > RESIZE_MAX_SIDE)
        return omnid_fail(err, OMNID_SHAPE, "frame: want sides of %d .. %d px, found %d x %d", RESIZE_UNIT,
                          RESIZE_MAX_SIDE, width, height);
    if (max_pixels < RESIZE_UNIT * RESIZE_UNIT)
        return omnid_fail(err, OMNID_ARGUMENT, "max_pixels: want at least %d, found %d", RESIZE_UNIT * RESIZE_UNIT,
                          max_pixels);
    double s = fmin(1.0, sqrt((double)max_pixels / ((double)width * height)));
    double ideal_a = width * s / RESIZE_UNIT, ideal_b = height * s / RESIZE_UNIT, best = INFINITY;
    int most = max_pixels / (RESIZE_UNIT * RESIZE_UNIT), best_a = 1, best_b = 1;
    for (int b = 1; b <= height / RESIZE_UNIT && b <= most; b++)
        for (int a = 1; a <= width / RESIZE_UNIT && a * b <= most; a++) {
            double far = apart(a, ideal_a) * apart(b, ideal_b);
            bool equal = fabs(far - best) <= 1e-12 * far;
            bool larger = a * b > best_a * best_b || (a * b == best_a * best_b && a > best_a);
            if (equal ? larger : far < best) {
                best = far;
                best_a = a;
                best_b = b;
            }
        }
    *out_width = best_a * RESIZE_UNIT;
    *out_height = best_b * RESIZE_UNIT;
    return OMNID_OK;
}

/* ------------------------------------------------------------------ taps */

enum { ONE_BITS = 22 }; /* 255 times the taps' absolute sum (below 1.5) still fits 31 bits */

/* Output i is the sum over t of weight[i * n_taps + t] * input[first[i] + t], t < count[i], in units of 2^-22. */
typedef struct {
    int n_taps;
    int *first, *count;
    int32_t *weight;
} taps;

/* Keys' cubic with a = -0.5. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0)
        return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static void free_taps(taps *t)
{
    free(t->first);
    free(t->weight);
    *t = (taps){0};
}

static bool make_taps(taps *t, int n_in, int n_out)
{
    double scale = (double)n_in / n_out, stretch = fmax(scale, 1.0), support = 2.0 * stretch;
    t->n_taps = (int)ceil(support) * 2 + 1;
    t->first = malloc(2 * (size_t)n_out * sizeof *t->first);
    t->weight = calloc((size_t)n_out * (size_t)t->n_taps, sizeof *t->weight);
    if (!t->first || !t->weight) {
        free_taps(t);
        return false;
    }
    t->count = t->first + n_out;
    for (int i = 0; i < n_out; i++) {
        double center = (i + 0.5) * scale, sum = 0.0;
        int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
        first = first < 0 ? 0 : first;
        end = end > n_in ? n_in : end;
        for (int x = first; x < end; x++)
            sum += cubic((x - center + 0.5) / stretch);
        for (int x = first; x < end; x++)
            t->weight[(size_t)i * (size_t)t->n_taps + (size_t)(x - first)] =
                (int32_t)lround(cubic((x - center + 0.5) / stretch) / sum * (1 << ONE_BITS));
        t->first[i] = first;
        t->count[i] = end - first;
    }
    return true;
}

static inline uint8_t to_byte(int32_t sum)
{
    int32_t x = (sum + (1 << (ONE_BITS - 1))) >> ONE_BITS;
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
}

/* ------------------------------------------------------------------ the two passes */

typedef int32_t pixel __attribute__((vector_size(16))); /* r, g, b, unused */

/* One row: width pixels of RGB -> n_out pixels. row: room for width pixels. */
static void shrink_row(uint8_t *out, int n_out, const uint8_t *rgb, int width, const taps *t, pixel *row)
{
    for (int x = 0; x < width; x++, rgb += 3)
        row[x] = (pixel){rgb[0], rgb[1], rgb[2], 0};
    for (int i = 0; i < n_out; i++, out += 3) {
        const pixel *p = row + t->first[i];
        const int32_t *w = t->weight + (size_t)i * (size_t)t->n_taps;
        pixel even = {0}, odd = {0}; /* two sums, so that additions need not wait for each other */
        int n = t->count[i], k = 0;
        for (; k + 1 < n; k += 2) {
            even += p[k] * w[k];
            odd += p[k + 1] * w[k + 1];
        }
        if (k < n)
            even += p[k] * w[k];
        even += odd;
        for (int c = 0; c < 3; c++)
            out[c] = to_byte(even[c]);
    }
}

/* Output row i from the rows of `in`, n bytes each. sum: room for n. */
static void shrink_column(uint8_t *out, const uint8_t *in, size_t n, int i, const taps *t, int32_t *sum)
{
    memset(sum, 0, n * sizeof *sum);
    for (int k = 0; k < t->count[i]; k++) {
        const uint8_t *row = in + (size_t)(t->first[i] + k) * n;
        int32_t w = t->weight[(size_t)i * (size_t)t->n_taps + (size_t)k];
        for (size_t x = 0; x < n; x++)
            sum[x] += w * row[x];
    }
    for (size_t x = 0; x < n; x++)
        out[x] = to_byte(sum[x]);
}

static void copy_rows(uint8_t *out, const uint8_t *rgb, int width, int height, int stride)
{
    for (int y = 0; y < height; y++)
        memcpy(out + (size_t)y * (size_t)width * 3, rgb + (size_t)y * (size_t)stride, (size_t)width * 3);
}

omnid_status resize_bicubic(uint8_t *out, int out_width, int out_height, const uint8_t *rgb, int width, int height,
                            int stride, omnid_error *err)
{
    if (out_width == width && out_height == height) {
        copy_rows(out, rgb, width, height, stride);
        return OMNID_OK;
    }
    size_t n = (size_t)out_width * 3;
    taps across = {0}, down = {0};
    pixel *row = aligned_alloc(sizeof(pixel), (size_t)width * sizeof *row);
    uint8_t *middle = malloc(n * (size_t)height);
    int32_t *sum = malloc(n * sizeof *sum);
    omnid_status status = OMNID_OK;
    if (!row || !middle || !sum || !make_taps(&across, width, out_width) || !make_taps(&down, height, out_height))
        status = omnid_fail(err, OMNID_NOMEM, "no memory to resize a frame of %d x %d", width, height);
    for (int y = 0; y < height && status == OMNID_OK; y++)
        shrink_row(middle + (size_t)y * n, out_width, rgb + (size_t)y * (size_t)stride, width, &across, row);
    for (int y = 0; y < out_height && status == OMNID_OK; y++)
        shrink_column(out + (size_t)y * n, middle, n, y, &down, sum);
    free_taps(&across);
    free_taps(&down);
    free(row);
    free(middle);
    free(sum);
    return status;
}
