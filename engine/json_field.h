/* json_field.h: fields of a JSON object with type and range checked, and a sentence that names file part and field. */
#ifndef ENGINE_JSON_FIELD_H
#define ENGINE_JSON_FIELD_H

#include "base/base.h"

#include <jansson.h>

/* Parses n bytes; duplicate keys are refused. what: the file's name for messages. FORMAT with line and column. */
omnid_status json_field_parse(json_t **out, const char *text, size_t n, const char *what, omnid_error *err);

/* The field, or NULL when it is absent or null. */
json_t *json_field_get(const json_t *object, const char *key);

/* An integer in min .. max. Absent: *out keeps its value when `optional`, else FORMAT. Out of range: LIMIT. */
omnid_status json_field_int(const json_t *object, const char *where, const char *key, int64_t min, int64_t max,
                            bool optional, int *out, omnid_error *err);
omnid_status json_field_real(const json_t *object, const char *where, const char *key, double min, double max,
                             bool optional, double *out, omnid_error *err);
omnid_status json_field_bool(const json_t *object, const char *where, const char *key, bool *out, omnid_error *err);

/* A string field, when there, must be `want`; UNSUPPORTED names both. */
omnid_status json_field_expect(const json_t *object, const char *where, const char *key, const char *want,
                               omnid_error *err);

#endif
