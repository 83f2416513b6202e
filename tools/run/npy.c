/* npy.c: frames from NumPy's file format (NEP 1): magic, version, length of a header, the header, the data.
 * The header is a Python literal: {'descr': '|u1', 'fortran_order': False, 'shape': (11, 84, 196, 3), }. */
#include "tools/run/run.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIMS = 8, FRAME_UNIT = 28 };

/* What is left of the header. */
typedef struct {
    const char *p, *end;
} cursor;

typedef struct {
    char descr[16];
    bool has_descr, has_order, has_shape, fortran;
    int64_t dim[MAX_DIMS];
    int n_dims;
} header;

static void skip_space(cursor *c)
{
    while (c->p < c->end && isspace((unsigned char)*c->p))
        c->p++;
}

static bool take(cursor *c, char wanted)
{
    skip_space(c);
    if (c->p >= c->end || *c->p != wanted)
        return false;
    c->p++;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    size_t n = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* 'text' or "text" of less than size bytes, no escapes. */
static bool take_string(cursor *c, char *out, size_t size)
{
    skip_space(c);
    if (c->p >= c->end || (*c->p != '\'' && *c->p != '"'))
        return false;
    char quote = *c->p++;
    const char *close = memchr(c->p, quote, (size_t)(c->end - c->p));
    if (!close || (size_t)(close - c->p) >= size)
        return false;
    memcpy(out, c->p, (size_t)(close - c->p));
    out[close - c->p] = 0;
    c->p = close + 1;
    return true;
}

static bool take_count(cursor *c, int64_t *out)
{
    int64_t v = 0;
    skip_space(c);
    if (c->p >= c->end || !isdigit((unsigned char)*c->p))
        return false;
    for (; c->p < c->end && isdigit((unsigned char)*c->p); c->p++) {
        if (__builtin_mul_overflow(v, (int64_t)10, &v) || __builtin_add_overflow(v, (int64_t)(*c->p - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

static bool take_shape(cursor *c, header *h)
{
    if (!take(c, '('))
        return false;
    while (!take(c, ')')) {
        if (h->n_dims == MAX_DIMS || !take_count(c, &h->dim[h->n_dims++]))
            return false;
        if (!take(c, ',')) {
            if (!take(c, ')'))
                return false;
            break;
        }
    }
    return true;
}

static bool take_value(cursor *c, const char *key, header *h)
{
    if (strcmp(key, "descr") == 0)
        return h->has_descr = take_string(c, h->descr, sizeof h->descr);
    if (strcmp(key, "fortran_order") == 0) {
        h->fortran = take_word(c, "True");
        return h->has_order = h->fortran || take_word(c, "False");
    }
    if (strcmp(key, "shape") == 0 && !h->has_shape)
        return h->has_shape = take_shape(c, h);
    return false;
}

static bool parse_header(cursor c, header *h)
{
    if (!take(&c, '{'))
        return false;
    while (!take(&c, '}')) {
        char key[32];
        if (!take_string(&c, key, sizeof key) || !take(&c, ':') || !take_value(&c, key, h))
            return false;
        if (!take(&c, ',')) {
            if (!take(&c, '}'))
                return false;
            break;
        }
    }
    skip_space(&c);
    return c.p == c.end && h->has_descr && h->has_order && h->has_shape;
}

/* Finds header and data in the file; *at is where the data starts. */
static omnid_status find_header(const char *path, const char *file, size_t n, header *h, size_t *at, omnid_error *err)
{
    const uint8_t *b = (const uint8_t *)file;
    if (n < 10 || memcmp(file, "\x93NUMPY", 6) != 0)
        return omnid_fail(err, OMNID_FORMAT, "%s: not a .npy file (no \\x93NUMPY at its start)", path);
    if (b[6] < 1 || b[6] > 3)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: want .npy version 1 to 3, found %d", path, b[6]);
    size_t start = b[6] == 1 ? 10 : 12;
    if (n < start)
        return omnid_fail(err, OMNID_FORMAT, "%s: torn: ends after %zu bytes, inside its header", path, n);
    size_t length = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] > 1)
        length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (length > n - start)
        return omnid_fail(err, OMNID_FORMAT, "%s: torn: header of %zu bytes, %zu are there", path, length, n - start);
    if (!parse_header((cursor){file + start, file + start + length}, h))
        return omnid_fail(err, OMNID_FORMAT,
                          "%s: header of %zu bytes is no dictionary of descr, fortran_order and shape", path, length);
    *at = start + length;
    return OMNID_OK;
}

static omnid_status check_header(const char *path, const header *h, omnid_error *err)
{
    if (strcmp(h->descr, "|u1") != 0 && strcmp(h->descr, "u1") != 0)
        return omnid_fail(err, OMNID_FORMAT, "%s: want uint8 ('|u1'), found '%s'", path, h->descr);
    if (h->fortran)
        return omnid_fail(err, OMNID_FORMAT, "%s: want C order, found Fortran order", path);
    if (h->n_dims != 4 || h->dim[3] != 3)
        return omnid_fail(err, OMNID_SHAPE, "%s: want frames [n, height, width, 3], found %d dimensions, the last %lld",
                          path, h->n_dims, h->n_dims ? (long long)h->dim[h->n_dims - 1] : 0LL);
    for (int i = 1; i <= 2; i++) {
        if (h->dim[i] < FRAME_UNIT || h->dim[i] % FRAME_UNIT != 0 || h->dim[i] > 1 << 15)
            return omnid_fail(err, OMNID_SHAPE, "%s: %s is %lld, want a multiple of %d", path,
                              i == 1 ? "height" : "width", (long long)h->dim[i], FRAME_UNIT);
    }
    if (h->dim[0] < 1)
        return omnid_fail(err, OMNID_SHAPE, "%s: holds no frame", path);
    return OMNID_OK;
}

static omnid_status parse(npy_frames *out, const char *path, const char *file, size_t n, omnid_error *err)
{
    header h = {0};
    size_t at = 0;
    int64_t size;
    OMNID_TRY(find_header(path, file, n, &h, &at, err));
    OMNID_TRY(check_header(path, &h, err));
    if (__builtin_mul_overflow(h.dim[0], h.dim[1] * h.dim[2] * 3, &size) || (uint64_t)size != n - at)
        return omnid_fail(err, OMNID_FORMAT,
                          "%s: torn: %lld frames of %lldx%lld do not fill the %zu bytes after the header", path,
                          (long long)h.dim[0], (long long)h.dim[2], (long long)h.dim[1], n - at);
    out->data = (const uint8_t *)file + at;
    out->n = h.dim[0];
    out->height = h.dim[1];
    out->width = h.dim[2];
    return OMNID_OK;
}

omnid_status npy_read(npy_frames *out, const char *path, omnid_error *err)
{
    size_t n;
    memset(out, 0, sizeof *out);
    OMNID_TRY(file_read(path, &out->file, &n, err));
    omnid_status st = parse(out, path, out->file, n, err);
    if (st != OMNID_OK)
        npy_free(out);
    return st;
}

void npy_free(npy_frames *f)
{
    free(f->file);
    memset(f, 0, sizeof *f);
}
