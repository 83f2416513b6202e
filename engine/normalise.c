/* normalise.c: NFC by utf8proc's tables. Marks are put in order here: utf8proc's own way takes the square of the length of
 * a run of marks, and the text may come from anyone. */
#include "engine/normalise.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Length of the well-formed sequence at p, 0 if there is none (Unicode, table 3-7). */
static size_t sequence_length(const uint8_t *p, size_t n)
{
    uint8_t a = p[0];
    if (a < 0x80)
        return 1;
    uint8_t low = a == 0xE0 ? 0xA0 : a == 0xF0 ? 0x90 : 0x80, high = a == 0xED ? 0x9F : a == 0xF4 ? 0x8F : 0xBF;
    size_t length = a >= 0xC2 && a <= 0xDF ? 2 : a >= 0xE0 && a <= 0xEF ? 3 : a >= 0xF0 && a <= 0xF4 ? 4 : 0;
    if (!length || n < length || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

size_t normalise_valid(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        size_t length = sequence_length((const uint8_t *)text + at, n - at);
        if (!length)
            return at;
        at += length;
    }
    return n;
}

/* Stable order of a run of marks by combining class: merge sort, `spare` has room for n. */
static void sort_marks(utf8proc_int32_t *marks, utf8proc_int32_t *spare, size_t n)
{
    if (n < 2)
        return;
    size_t half = n / 2, i = 0, j = half, k = 0;
    sort_marks(marks, spare, half);
    sort_marks(marks + half, spare, n - half);
    while (i < half && j < n) {
        bool right =
            utf8proc_get_property(marks[j])->combining_class < utf8proc_get_property(marks[i])->combining_class;
        spare[k++] = right ? marks[j++] : marks[i++];
    }
    memcpy(spare + k, marks + i, (half - i) * sizeof *marks);
    memcpy(marks, spare, (k + half - i) * sizeof *marks);
}

static void order_marks(utf8proc_int32_t *points, utf8proc_int32_t *spare, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && utf8proc_get_property(points[end])->combining_class != 0)
            end++;
        sort_marks(points + i, spare, end - i);
        i = end > i ? end : i + 1;
    }
}

/* Fills points with the canonical decomposition; returns how many (at most 4 a character, the longest there is). */
static size_t decompose(utf8proc_int32_t *points, size_t room, const char *text, size_t n)
{
    size_t count = 0;
    int last_boundary = UTF8PROC_BOUNDCLASS_START;
    for (size_t at = 0; at < n;) {
        utf8proc_int32_t point = 0;
        at += (size_t)utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(n - at), &point);
        utf8proc_ssize_t made = utf8proc_decompose_char(point, points + count, (utf8proc_ssize_t)(room - count),
                                                        UTF8PROC_STABLE | UTF8PROC_COMPOSE, &last_boundary);
        if (made < 0 || (size_t)made > room - count)
            break; /* cannot be: see the bound in normalise_nfc */
        count += (size_t)made;
    }
    return count;
}

static bool is_ascii(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)text[i] >= 0x80)
            return false;
    return true;
}

omnid_status normalise_nfc(char **out, size_t *n_out, const char *text, size_t n, omnid_error *err)
{
    bool ascii = is_ascii(text, n);
    /* A decomposed character of w bytes has at most 4 points, each at most 4 bytes; 3 n / 2 points hold any text (the worst
     * are U+1D160 and U+0390: 3 points of 4 bytes, 3 points of 2 bytes). One more for utf8proc's terminator. */
    size_t room = ascii ? 0 : n + n / 2 + 8;
    char *copy = malloc(ascii ? n + 1 : room * sizeof(utf8proc_int32_t) + 1);
    utf8proc_int32_t *spare = ascii ? NULL : malloc(room * sizeof *spare);
    *out = NULL;
    if (!copy || (!ascii && !spare)) {
        free(copy);
        free(spare);
        return omnid_fail(err, OMNID_NOMEM, "no memory to normalise %zu bytes of text", n);
    }
    if (ascii) {
        memcpy(copy, text, n);
        *n_out = n;
    } else {
        utf8proc_int32_t *points = (utf8proc_int32_t *)(void *)copy;
        size_t count = decompose(points, room, text, n);
        order_marks(points, spare, count);
        utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        *n_out = (size_t)utf8proc_reencode(points, (utf8proc_ssize_t)count, options);
        free(spare);
    }
    copy[*n_out] = '\0';
    *out = copy;
    return OMNID_OK;
}
