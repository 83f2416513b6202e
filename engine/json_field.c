/* json_field.c: typed, bounded access to JSON objects. */
#include "engine/json_field.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

omnid_status json_field_parse(json_t **out, const char *text, size_t n, const char *what, omnid_error *err)
{
    json_error_t e;
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (*out)
        return OMNID_OK;
    if (json_error_code(&e) == json_error_out_of_memory)
        return omnid_fail(err, OMNID_NOMEM, "%s: out of memory while reading %zu bytes of JSON", what, n);
    return omnid_fail(err, OMNID_FORMAT, "%s: line %d, column %d: %s", what, e.line, e.column, e.text);
}

json_t *json_field_get(const json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

static omnid_status field_missing(const char *where, const char *key, bool optional, omnid_error *err)
{
    if (optional)
        return OMNID_OK;
    return omnid_fail(err, OMNID_FORMAT, "%s has no %s", where, key);
}

omnid_status json_field_int(const json_t *object, const char *where, const char *key, int64_t min, int64_t max,
                            bool optional, int *out, omnid_error *err)
{
    const json_t *v = json_field_get(object, key);
    if (!v)
        return field_missing(where, key, optional, err);
    if (!json_is_integer(v))
        return omnid_fail(err, OMNID_FORMAT, "%s.%s: want an integer", where, key);
    int64_t x = json_integer_value(v);
    if (x < min || x > max)
        return omnid_fail(err, OMNID_LIMIT, "%s.%s: want %" PRId64 " .. %" PRId64 ", found %" PRId64, where, key, min,
                          max, x);
    *out = (int)x;
    return OMNID_OK;
}

omnid_status json_field_real(const json_t *object, const char *where, const char *key, double min, double max,
                             bool optional, double *out, omnid_error *err)
{
    const json_t *v = json_field_get(object, key);
    if (!v)
        return field_missing(where, key, optional, err);
    if (!json_is_number(v))
        return omnid_fail(err, OMNID_FORMAT, "%s.%s: want a number", where, key);
    double x = json_number_value(v);
    if (!(x >= min && x <= max))
        return omnid_fail(err, OMNID_LIMIT, "%s.%s: want %g .. %g, found %g", where, key, min, max, x);
    *out = x;
    return OMNID_OK;
}

omnid_status json_field_bool(const json_t *object, const char *where, const char *key, bool *out, omnid_error *err)
{
    const json_t *v = json_field_get(object, key);
    if (!v)
        return OMNID_OK;
    if (!json_is_boolean(v))
        return omnid_fail(err, OMNID_FORMAT, "%s.%s: want true or false", where, key);
    *out = json_is_true(v);
    return OMNID_OK;
}

omnid_status json_field_expect(const json_t *object, const char *where, const char *key, const char *want,
                               omnid_error *err)
{
    const json_t *v = json_field_get(object, key);
    if (!v)
        return OMNID_OK;
    const char *found = json_string_value(v);
    if (!found)
        return omnid_fail(err, OMNID_FORMAT, "%s.%s: want a string", where, key);
    if (strcmp(found, want) != 0)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s.%s: want \"%s\", found \"%.64s\"", where, key, want, found);
    return OMNID_OK;
}
