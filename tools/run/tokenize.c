/* tokenize.c: JSON strings to lists of ids, for comparing with another tokenizer. */
#include "tools/run/run.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static omnid_status print_ids(const omnid_tokenizer *t, const char *text, size_t n, omnid_error *err)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    OMNID_TRY(omnid_tokenizer_encode(t, text, n, &ids, &n_ids, err));
    putchar('[');
    for (size_t i = 0; i < n_ids; i++)
        printf(i ? ", %d" : "%d", (int)ids[i]);
    puts("]");
    free(ids);
    return OMNID_OK;
}

static omnid_status tokenize_line(const omnid_tokenizer *t, const char *line, size_t n, omnid_error *err)
{
    json_error_t wrong;
    json_t *value = json_loadb(line, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &wrong);
    if (!value)
        return omnid_fail(err, OMNID_FORMAT, "want a JSON string: %s", wrong.text);
    omnid_status st = json_is_string(value) ? print_ids(t, json_string_value(value), json_string_length(value), err)
                                            : omnid_fail(err, OMNID_FORMAT, "want a JSON string, found another value");
    json_decref(value);
    return st;
}

static omnid_status tokenize_lines(const omnid_tokenizer *t, const char *path, const char *text, size_t n,
                                   omnid_error *err)
{
    const char *end = text + n;
    int number = 1;
    for (const char *p = text; p < end; number++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        stop = stop ? stop : end;
        if (tokenize_line(t, p, (size_t)(stop - p), err) != OMNID_OK)
            return omnid_fail_in(err, "%s:%d", path, number);
        p = stop + 1;
    }
    return OMNID_OK;
}

omnid_status tokenize_file(const char *tokenizer, const char *path, omnid_error *err)
{
    omnid_tokenizer *t = NULL;
    char *text;
    size_t n;
    OMNID_TRY(file_read(path, &text, &n, err));
    omnid_status st = omnid_tokenizer_open(&t, tokenizer, err);
    if (st == OMNID_OK)
        st = tokenize_lines(t, path, text, n, err);
    omnid_tokenizer_destroy(&t);
    free(text);
    return st;
}
