/* protocol_parse.c: one message from a client, checked field by field against a table. */
#include "daemon/protocol.h"
#include "daemon/nearest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const op_names[PROTOCOL_N_OPS] = {"ask",    "cancel", "status", "timeline", "sources",
                                                     "forget", "frame",  "pause",  "resume"};

typedef enum { FIELD_ANY, FIELD_STRING, FIELD_INT, FIELD_REAL, FIELD_BOOL, FIELD_LIST } field_type;

enum {
    ASK = 1 << PROTOCOL_ASK,
    FRAME = 1 << PROTOCOL_FRAME,
    PAUSE = 1 << PROTOCOL_PAUSE | 1 << PROTOCOL_RESUME,
    ALL = (1 << PROTOCOL_N_OPS) - 1,
    CAMERAS = ALL & ~(1 << PROTOCOL_CANCEL)
};

/* One field: the ops that have it, its type, the range of a number or the bytes of a string, where it goes. */
typedef struct {
    const char *name;
    unsigned ops;
    field_type type;
    double low, high;
    size_t offset;
} field;

#define AT(member) offsetof(protocol_request, member)
static const field fields[] = {
    {"op", ALL, FIELD_ANY, 0, 0, 0},
    {"id", ALL, FIELD_ANY, 0, 0, 0},
    {"camera", CAMERAS, FIELD_STRING, 1, 64, AT(camera)},
    {"question", ASK, FIELD_STRING, 1, 1e9, AT(question)},
    {"mode", ASK, FIELD_STRING, 1, 32, AT(mode)},
    {"policy", ASK, FIELD_STRING, 1, 32, AT(policy)},
    {"retention", ASK, FIELD_ANY, 0, 0, 0},
    {"first_prune", ASK, FIELD_INT, 0, 1024, AT(first_prune)},
    {"max_tokens", ASK, FIELD_INT, 1, 4096, AT(max_tokens)},
    {"temperature", ASK, FIELD_REAL, 0, 100, AT(temperature)},
    {"top_p", ASK, FIELD_REAL, 1e-6, 1, AT(top_p)},
    {"repetition_penalty", ASK, FIELD_REAL, 0.01, 100, AT(repetition_penalty)},
    {"seed", ASK, FIELD_INT, 0, 9007199254740992.0, AT(seed)},
    {"deadline_ms", ASK, FIELD_INT, 1, 3600000, AT(deadline_ms)},
    {"stream", ASK, FIELD_BOOL, 0, 0, AT(stream)},
    {"now", ASK, FIELD_BOOL, 0, 0, AT(now)},
    {"last_s", ASK, FIELD_REAL, 0.1, 86400, AT(last_s)},
    {"history", ASK, FIELD_LIST, 0, PROTOCOL_MAX_TURNS, 0},
    {"choices", ASK, FIELD_LIST, 2, PROTOCOL_MAX_CHOICES, 0},
    {"stop", ASK, FIELD_LIST, 1, PROTOCOL_MAX_STOP, 0},
    {"t", FRAME, FIELD_ANY, 0, 0, 0},
    {"ago_s", FRAME, FIELD_REAL, 0, 1e6, AT(ago_s)},
    {"segment", FRAME, FIELD_INT, 0, 9007199254740992.0, AT(segment)},
    {"frame", FRAME, FIELD_INT, 0, CAPTURE_FRAMES - 1, AT(frame)},
    {"max_width", FRAME, FIELD_INT, 16, 16384, AT(max_width)},
    {"what", PAUSE, FIELD_ANY, 0, 0, 0},
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

const char *protocol_op_name(protocol_op op)
{
    return op_names[op];
}

size_t protocol_op_fields(protocol_op op, const char **names, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < N_FIELDS && n < max; i++)
        if (fields[i].ops & 1u << op)
            names[n++] = fields[i].name;
    return n;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"an object", "a list", "a string", "a whole number",
                                        "a number",  "true",   "false",    "null"};
    return value ? names[json_typeof(value)] : "nothing";
}

static bool wrong_type(protocol_error *e, const char *name, const char *wanted, const json_t *value)
{
    return protocol_fail(e, PROTOCOL_BAD_FIELD, "%s: want %s, found %s", name, wanted, type_name(value));
}

static bool read_string(const field *f, const json_t *value, const char **out, protocol_error *e)
{
    if (!json_is_string(value))
        return wrong_type(e, f->name, "a string", value);
    if ((double)json_string_length(value) < f->low)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "%s: want at least %.0f byte, found an empty string", f->name,
                             f->low);
    if ((double)json_string_length(value) > f->high)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "%s: want at most %.0f bytes, found %zu", f->name, f->high,
                             json_string_length(value));
    *out = json_string_value(value);
    return true;
}

static bool read_int(const field *f, const json_t *value, int64_t *out, protocol_error *e)
{
    if (!json_is_integer(value))
        return wrong_type(e, f->name, "a whole number", value);
    int64_t number = json_integer_value(value);
    if ((double)number < f->low || (double)number > f->high)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "%s: want %.0f to %.0f, found %lld", f->name, f->low, f->high,
                             (long long)number);
    *out = number;
    return true;
}

static bool read_real(const field *f, const json_t *value, double *out, protocol_error *e)
{
    if (!json_is_number(value))
        return wrong_type(e, f->name, "a number", value);
    double number = json_number_value(value);
    if (!(number >= f->low && number <= f->high))
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "%s: want %g to %g, found %g", f->name, f->low, f->high, number);
    *out = number;
    return true;
}

static bool read_retention(protocol_request *r, const json_t *value, protocol_error *e)
{
    if (json_is_string(value) && json_string_length(value) > 0 && json_string_length(value) <= 128) {
        r->retention = json_string_value(value);
        return true;
    }
    if (!json_is_number(value))
        return wrong_type(e, "retention", "a number or a string of 1 to 128 bytes", value);
    double number = json_number_value(value);
    if (!(number > 0 && number <= 100))
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "retention: want more than 0 and at most 100, found %g", number);
    snprintf(r->retention_number, sizeof r->retention_number, "%.9g", number);
    r->retention = r->retention_number;
    return true;
}

static bool read_time(protocol_request *r, const json_t *value, protocol_error *e)
{
    const char *text = json_string_value(value);
    if (!text)
        return wrong_type(e, "t", "a string", value);
    return protocol_parse_time(text, &r->wall_us) ||
           protocol_fail(e, PROTOCOL_BAD_FIELD, "t: want a moment like 2026-11-21T10:31:28.500Z, found '%.60s'", text);
}

static bool read_what(protocol_request *r, const json_t *value, protocol_error *e)
{
    const char *text = json_string_value(value);
    if (!text)
        return wrong_type(e, "what", "a string", value);
    bool both = strcmp(text, "both") == 0;
    r->video = both || strcmp(text, "video") == 0;
    r->audio = both || strcmp(text, "audio") == 0;
    return r->video || r->audio ||
           protocol_fail(e, PROTOCOL_BAD_FIELD, "what: want video, audio or both, found '%.60s'", text);
}

static bool check_count(const field *f, const json_t *list, protocol_error *e)
{
    if (!json_is_array(list))
        return wrong_type(e, f->name, "a list", list);
    size_t n = json_array_size(list);
    if ((double)n < f->low || (double)n > f->high)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "%s: want %.0f to %.0f entries, found %zu", f->name, f->low,
                             f->high, n);
    return true;
}

static bool read_strings(const field *f, const json_t *list, const char **out, int *n_out, protocol_error *e)
{
    if (!check_count(f, list, e))
        return false;
    size_t i;
    json_t *value;
    json_array_foreach(list, i, value)
    {
        if (!json_is_string(value) || json_string_length(value) == 0)
            return protocol_fail(e, PROTOCOL_BAD_FIELD, "%s: entry %zu: want a string that is not empty, found %s",
                                 f->name, i, json_is_string(value) ? "an empty one" : type_name(value));
        out[i] = json_string_value(value);
    }
    *n_out = (int)json_array_size(list);
    return true;
}

static bool read_history(protocol_request *r, const field *f, const json_t *list, protocol_error *e)
{
    if (!check_count(f, list, e))
        return false;
    size_t i;
    json_t *turn;
    json_array_foreach(list, i, turn)
    {
        json_t *question = json_object_get(turn, "question"), *answer = json_object_get(turn, "answer");
        if (!json_is_string(question) || !json_is_string(answer) || json_object_size(turn) != 2)
            return protocol_fail(e, PROTOCOL_BAD_FIELD,
                                 "history: entry %zu: want exactly {\"question\": string, \"answer\": string}", i);
        r->history[i].question = json_string_value(question);
        r->history[i].answer = json_string_value(answer);
    }
    r->n_history = (int)json_array_size(list);
    return true;
}

static bool read_field(protocol_request *r, const field *f, const json_t *value, protocol_error *e)
{
    void *at = (char *)r + f->offset;
    switch (f->type) {
    case FIELD_STRING:
        return read_string(f, value, at, e);
    case FIELD_INT:
        return read_int(f, value, at, e);
    case FIELD_REAL:
        return read_real(f, value, at, e);
    case FIELD_BOOL:
        if (!json_is_boolean(value))
            return wrong_type(e, f->name, "true or false", value);
        *(int *)at = json_is_true(value);
        return true;
    case FIELD_LIST:
        if (strcmp(f->name, "history") == 0)
            return read_history(r, f, value, e);
        if (strcmp(f->name, "choices") == 0)
            return read_strings(f, value, r->choices, &r->n_choices, e);
        return read_strings(f, value, r->stop, &r->n_stop, e);
    case FIELD_ANY:
        return strcmp(f->name, "retention") == 0 ? read_retention(r, value, e)
               : strcmp(f->name, "t") == 0       ? read_time(r, value, e)
               : strcmp(f->name, "what") == 0    ? read_what(r, value, e)
                                                 : true; /* op and id were read before */
    }
    return true;
}

static bool read_id(protocol_request *r, protocol_error *e)
{
    json_t *id = json_object_get(r->json, "id");
    if (!id)
        return true;
    bool good =
        json_is_integer(id) || (json_is_string(id) && json_string_length(id) > 0 && json_string_length(id) <= 64);
    if (!good)
        return wrong_type(e, "id", "a whole number or a string of 1 to 64 bytes", id);
    r->id = id;
    return true;
}

static bool read_op(protocol_request *r, protocol_error *e)
{
    json_t *op = json_object_get(r->json, "op");
    if (!json_is_string(op))
        return wrong_type(e, "op", "a string", op);
    const char *name = json_string_value(op);
    for (size_t i = 0; i < PROTOCOL_N_OPS; i++) {
        if (strcmp(name, op_names[i]) == 0) {
            r->op = (protocol_op)i;
            return true;
        }
    }
    return protocol_fail(e, PROTOCOL_UNKNOWN_OP, "unknown op '%.60s'; the nearest is %s", name,
                         nearest_word(name, op_names, PROTOCOL_N_OPS));
}

static bool read_fields(protocol_request *r, protocol_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(r->json, key, value)
    {
        const field *found = NULL;
        for (size_t i = 0; i < N_FIELDS && !found; i++)
            if (fields[i].ops & 1u << r->op && strcmp(fields[i].name, key) == 0)
                found = &fields[i];
        if (!found) {
            const char *names[N_FIELDS];
            size_t n = protocol_op_fields(r->op, names, N_FIELDS);
            return protocol_fail(e, PROTOCOL_UNKNOWN_FIELD, "%s has no field '%.60s'; the nearest is %s",
                                 op_names[r->op], key, nearest_word(key, names, n));
        }
        if (!read_field(r, found, value, e))
            return false;
    }
    return true;
}

/* Rules about an ask as a whole. */
static bool check_ask(const protocol_request *r, const protocol_limits *limits, protocol_error *e)
{
    if (!r->question)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "question: want a string, found nothing");
    size_t n = strlen(r->question);
    for (int i = 0; i < r->n_history; i++)
        n += strlen(r->history[i].question) + strlen(r->history[i].answer);
    for (int i = 0; i < r->n_choices; i++)
        n += strlen(r->choices[i]);
    if (n > limits->max_question_bytes)
        return protocol_fail(e, PROTOCOL_TOO_LONG, "question, history and choices: want at most %zu bytes, found %zu",
                             limits->max_question_bytes, n);
    if (r->deadline_ms != PROTOCOL_UNSET && r->deadline_ms > limits->max_deadline_ms)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "deadline_ms: want 1 to %lld, found %lld",
                             (long long)limits->max_deadline_ms, (long long)r->deadline_ms);
    if (r->n_choices > 0 && r->n_stop > 0)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "stop: does not go with choices");
    return true;
}

/* A frame is named in one way, or not at all. */
static bool check_frame(const protocol_request *r, protocol_error *e)
{
    int n_ways = (r->wall_us != PROTOCOL_UNSET) + !isnan(r->ago_s) + (r->segment != PROTOCOL_UNSET);
    if (n_ways > 1)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "t, ago_s and segment: want one of them at most, found %d", n_ways);
    if (r->frame != PROTOCOL_UNSET && r->segment == PROTOCOL_UNSET)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "frame: does not go without segment");
    return true;
}

bool protocol_parse(protocol_request *r, const char *text, size_t n, const protocol_limits *limits, protocol_error *e)
{
    memset(r, 0, sizeof *r);
    r->first_prune = r->max_tokens = r->seed = r->deadline_ms = PROTOCOL_UNSET;
    r->wall_us = r->segment = r->frame = r->max_width = PROTOCOL_UNSET;
    r->temperature = r->top_p = r->repetition_penalty = r->last_s = r->ago_s = NAN;
    r->stream = r->now = -1;
    r->video = r->audio = true;
    e->percent = -1;
    if (n > limits->max_message_bytes)
        return protocol_fail(e, PROTOCOL_TOO_LONG, "message: want at most %zu bytes, found %zu",
                             limits->max_message_bytes, n);
    json_error_t where;
    r->json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!r->json)
        return protocol_fail(e, PROTOCOL_BAD_JSON, "not JSON: %.200s (byte %d)", where.text, where.position);
    if (!json_is_object(r->json))
        return protocol_fail(e, PROTOCOL_BAD_JSON, "want a JSON object, found %s", type_name(r->json));
    if (!read_id(r, e) || !read_op(r, e) || !read_fields(r, e))
        return false;
    if (r->op == PROTOCOL_ASK)
        return check_ask(r, limits, e);
    if (r->op == PROTOCOL_FRAME)
        return check_frame(r, e);
    if (r->op == PROTOCOL_CANCEL && !r->id)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "id: want the id of the question to cancel, found nothing");
    return true;
}

void protocol_request_clear(protocol_request *r)
{
    json_decref(r->json);
    memset(r, 0, sizeof *r);
}
