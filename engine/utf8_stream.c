/* utf8_stream.c: two stages. Bytes become characters: `tail` keeps an unfinished one. Characters become shown text: `held`
 * keeps the longest end that is the beginning of a stop string. */
#include "engine/utf8_stream.h"

#include <stdlib.h>
#include <string.h>

struct utf8_stream {
    char *stop[UTF8_STREAM_MAX_STOPS];
    size_t n_stop_bytes[UTF8_STREAM_MAX_STOPS];
    int n_stop;
    uint8_t tail[4];
    size_t n_tail;
    char *text; /* held text, then what this call adds; the shown part is moved to `shown` */
    size_t n_text, capacity;
    char *shown;
    size_t shown_capacity;
    bool stopped;
};

void utf8_stream_destroy(utf8_stream **u)
{
    if (!*u)
        return;
    for (int i = 0; i < (*u)->n_stop; i++)
        free((*u)->stop[i]);
    free((*u)->text);
    free((*u)->shown);
    free(*u);
    *u = NULL;
}

omnid_status utf8_stream_create(utf8_stream **out, const char *const *stop, int n_stop, omnid_error *err)
{
    *out = NULL;
    if (n_stop < 0 || n_stop > UTF8_STREAM_MAX_STOPS)
        return omnid_fail(err, OMNID_LIMIT, "stop: want at most %d strings, found %d", UTF8_STREAM_MAX_STOPS, n_stop);
    utf8_stream *u = calloc(1, sizeof *u);
    if (!u)
        return omnid_fail(err, OMNID_NOMEM, "no memory for an answer's text");
    for (int i = 0; i < n_stop; i++) {
        size_t n = stop[i] ? strnlen(stop[i], UTF8_STREAM_MAX_STOP_BYTES + 1) : 0;
        omnid_status status = OMNID_OK;
        if (n == 0 || n > UTF8_STREAM_MAX_STOP_BYTES)
            status = omnid_fail(err, OMNID_LIMIT, "stop string %d: want 1 .. %d bytes, found %s", i,
                                UTF8_STREAM_MAX_STOP_BYTES, n ? "more" : "none");
        else if (!(u->stop[i] = strdup(stop[i])))
            status = omnid_fail(err, OMNID_NOMEM, "no memory for a stop string");
        if (status != OMNID_OK) {
            utf8_stream_destroy(&u);
            return status;
        }
        u->n_stop_bytes[i] = n;
        u->n_stop = i + 1;
    }
    *out = u;
    return OMNID_OK;
}

static bool grow(char **buffer, size_t *capacity, size_t n)
{
    if (n <= *capacity)
        return true;
    char *grown = realloc(*buffer, n + n / 2 + 64);
    if (!grown)
        return false;
    *buffer = grown;
    *capacity = n + n / 2 + 64;
    return true;
}

/* ------------------------------------------------------------------ bytes to characters */

/* What n bytes at p are. > 0: a character of so many bytes. 0: the beginning of one. < 0: -n bytes that are no character
 * (the maximal part that begins like one, at least 1: Unicode 15, section 3.9, "maximal subpart"). */
static int classify(const uint8_t *p, size_t n)
{
    uint8_t a = p[0];
    if (a < 0x80)
        return 1;
    size_t length = a >= 0xC2 && a <= 0xDF ? 2 : a >= 0xE0 && a <= 0xEF ? 3 : a >= 0xF0 && a <= 0xF4 ? 4 : 0;
    if (!length)
        return -1;
    uint8_t low = a == 0xE0 ? 0xA0 : a == 0xF0 ? 0x90 : 0x80, high = a == 0xED ? 0x9F : a == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < length; i++, low = 0x80, high = 0xBF) {
        if (i >= n)
            return 0;
        if (p[i] < low || p[i] > high)
            return -(int)i;
    }
    return (int)length;
}

static void put(utf8_stream *u, const void *bytes, size_t n)
{
    memcpy(u->text + u->n_text, bytes, n);
    u->n_text += n;
}

/* Moves whole characters of n bytes to text; what is left at the end (at most 3 bytes) stays in tail. Room is there. */
static void take(utf8_stream *u, const uint8_t *bytes, size_t n)
{
    size_t at = 0;
    while (at < n || u->n_tail) {
        uint8_t window[4];
        size_t n_window = u->n_tail, more = n - at < 4 - u->n_tail ? n - at : 4 - u->n_tail;
        memcpy(window, u->tail, u->n_tail);
        if (more)
            memcpy(window + n_window, bytes + at, more);
        n_window += more;
        int kind = classify(window, n_window);
        if (kind == 0) {
            memcpy(u->tail, window, n_window);
            u->n_tail = n_window;
            return;
        }
        size_t used = (size_t)(kind > 0 ? kind : -kind);
        if (kind > 0)
            put(u, window, used);
        else
            put(u, "\xEF\xBF\xBD", 3);
        if (used < u->n_tail) { /* an ill-formed beginning: the rest of the tail begins anew */
            memmove(u->tail, u->tail + used, u->n_tail - used);
            u->n_tail -= used;
        } else {
            at += used - u->n_tail;
            u->n_tail = 0;
        }
    }
}

/* ------------------------------------------------------------------ stop strings */

/* Where the earliest stop string begins in text; n_text = none. */
static size_t find_stop(const utf8_stream *u)
{
    size_t first = u->n_text;
    for (int i = 0; i < u->n_stop; i++) {
        const char *p = u->n_text ? memmem(u->text, u->n_text, u->stop[i], u->n_stop_bytes[i]) : NULL;
        if (p && (size_t)(p - u->text) < first)
            first = (size_t)(p - u->text);
    }
    return first;
}

/* Bytes at the end of text that are the beginning of a stop string: they wait. */
static size_t count_held(const utf8_stream *u)
{
    size_t held = 0;
    for (int i = 0; i < u->n_stop; i++) {
        size_t n = u->n_stop_bytes[i] - 1 < u->n_text ? u->n_stop_bytes[i] - 1 : u->n_text;
        for (; n > held; n--)
            if (memcmp(u->text + u->n_text - n, u->stop[i], n) == 0) {
                held = n;
                break;
            }
    }
    return held;
}

/* Gives out text[0 .. n) and keeps the rest. */
static omnid_status show(utf8_stream *u, size_t n, const char **text, size_t *n_text, omnid_error *err)
{
    if (!grow(&u->shown, &u->shown_capacity, n + 1))
        return omnid_fail(err, OMNID_NOMEM, "no memory for %zu bytes of an answer's text", n);
    if (n)
        memcpy(u->shown, u->text, n);
    u->shown[n] = '\0';
    if (u->n_text > n)
        memmove(u->text, u->text + n, u->n_text - n);
    u->n_text -= n;
    *text = u->shown;
    *n_text = n;
    return OMNID_OK;
}

static omnid_status give(utf8_stream *u, bool all, const char **text, size_t *n_text, bool *stopped, omnid_error *err)
{
    size_t stop = find_stop(u);
    if (stop < u->n_text) {
        u->stopped = true;
        *stopped = true;
        u->n_text = stop;
        return show(u, stop, text, n_text, err);
    }
    return show(u, all ? u->n_text : u->n_text - count_held(u), text, n_text, err);
}

omnid_status utf8_stream_push(utf8_stream *u, const char *bytes, size_t n, const char **text, size_t *n_text,
                              bool *stopped, omnid_error *err)
{
    *text = "";
    *n_text = 0;
    *stopped = u->stopped;
    if (u->stopped)
        return OMNID_OK;
    /* In the worst case every byte becomes U+FFFD. */
    if (!grow(&u->text, &u->capacity, u->n_text + 3 * (n + sizeof u->tail)))
        return omnid_fail(err, OMNID_NOMEM, "no memory for %zu bytes of an answer's text", n);
    take(u, (const uint8_t *)bytes, n);
    return give(u, false, text, n_text, stopped, err);
}

omnid_status utf8_stream_end(utf8_stream *u, const char **text, size_t *n_text, bool *stopped, omnid_error *err)
{
    *text = "";
    *n_text = 0;
    *stopped = u->stopped;
    if (u->stopped)
        return OMNID_OK;
    if (!grow(&u->text, &u->capacity, u->n_text + 3 * sizeof u->tail))
        return omnid_fail(err, OMNID_NOMEM, "no memory for the end of an answer's text");
    if (u->n_tail) {
        put(u, "\xEF\xBF\xBD", 3);
        u->n_tail = 0;
    }
    return give(u, true, text, n_text, stopped, err);
}
