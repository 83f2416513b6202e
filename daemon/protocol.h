/* protocol.h: protocol version 1 between bytes and structs. docs/protocol.md is its definition; the tables here (errors,
 * fields) are held to it by a test. Nothing in this header knows ZeroMQ. */
#ifndef OMNID_DAEMON_PROTOCOL_H
#define OMNID_DAEMON_PROTOCOL_H

#include "capture/capture.h"
#include "engine/omnid.h"

#include <jansson.h>

enum { PROTOCOL_VERSION = 1 };

/* Every error code a client can get, with the sentence used when there is none that fits better. */
#define PROTOCOL_ERROR_MAP(X)                                                                                          \
    X(BAD_JSON, "bad_json", "the message is not a JSON object")                                                        \
    X(UNKNOWN_OP, "unknown_op", "there is no such op")                                                                 \
    X(UNKNOWN_FIELD, "unknown_field", "the op has no such field")                                                      \
    X(BAD_FIELD, "bad_field", "a field is missing, or has another type or range")                                      \
    X(TOO_LONG, "too_long", "the message or the question is longer than allowed")                                      \
    X(UNKNOWN_CAMERA, "unknown_camera", "there is no such camera")                                                     \
    X(DUPLICATE_ID, "duplicate_id", "this client has an open question of that id")                                     \
    X(LIMIT, "limit", "too many questions are open")                                                                   \
    X(LOADING, "loading", "the model is still loading")                                                                \
    X(EMPTY, "empty", "nothing was seen or heard yet")                                                                 \
    X(NOT_THERE, "not_there", "no frame is kept of that moment")                                                       \
    X(CANCELLED, "cancelled", "the answer was cancelled")                                                              \
    X(DEADLINE, "deadline", "the answer took longer than its deadline")                                                \
    X(SLOW, "slow", "the client does not read its answers")                                                            \
    X(STOPPING, "stopping", "the daemon is stopping")                                                                  \
    X(UNSUPPORTED, "unsupported", "this model or camera cannot do that")                                               \
    X(NO_MEMORY, "no_memory", "the daemon is out of memory")                                                           \
    X(FAILED, "failed", "the engine failed")

typedef enum {
#define PROTOCOL_ERROR_ENUM(name, code, text) PROTOCOL_##name,
    PROTOCOL_ERROR_MAP(PROTOCOL_ERROR_ENUM)
#undef PROTOCOL_ERROR_ENUM
        PROTOCOL_N_ERRORS
} protocol_code;

const char *protocol_code_name(protocol_code code); /* "bad_json" */
const char *protocol_code_text(protocol_code code);
protocol_code protocol_code_of(omnid_status status); /* what an engine's error is called */

typedef struct {
    protocol_code code;
    char text[512];
    double percent; /* LOADING: 0..100; < 0 = not told */
} protocol_error;

/* Fills *e; returns false, so that a parser can `return protocol_fail(…)`. */
bool protocol_fail(protocol_error *e, protocol_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ------------------------------------------------------------------ requests */

typedef enum {
    PROTOCOL_ASK,
    PROTOCOL_CANCEL,
    PROTOCOL_STATUS,
    PROTOCOL_TIMELINE,
    PROTOCOL_SOURCES,
    PROTOCOL_FORGET,
    PROTOCOL_FRAME,
    PROTOCOL_PAUSE,
    PROTOCOL_RESUME
} protocol_op;
enum { PROTOCOL_N_OPS = 9, PROTOCOL_MAX_TURNS = 64, PROTOCOL_MAX_CHOICES = 64, PROTOCOL_MAX_STOP = 16 };

typedef struct {
    size_t max_message_bytes;
    size_t max_question_bytes; /* of question, history and choices together */
    int64_t max_deadline_ms;
} protocol_limits;

/* What a field not given holds: NULL; PROTOCOL_UNSET; NaN; for booleans -1. Strings are borrowed from json. */
#define PROTOCOL_UNSET INT64_MIN
typedef struct {
    json_t *json; /* the whole message; owns every string */
    protocol_op op;
    json_t *id; /* borrowed; NULL = none */
    const char *camera;
    const char *question, *mode, *policy, *retention;
    char retention_number[32]; /* what retention points to when it came as a number */
    int64_t first_prune, max_tokens, seed, deadline_ms;
    double temperature, top_p, repetition_penalty, last_s;
    int stream, now;
    omnid_turn history[PROTOCOL_MAX_TURNS];
    int n_history;
    const char *choices[PROTOCOL_MAX_CHOICES];
    int n_choices;
    const char *stop[PROTOCOL_MAX_STOP];
    int n_stop;
    int64_t wall_us; /* frame's t as CLOCK_REALTIME */
    double ago_s;
    int64_t segment, frame, max_width;
    bool video, audio; /* what pause and resume are about */
} protocol_request;

/* Reads one message of n bytes (need not be terminated). False: *e says why; r->id is still set when the message had one,
 * so that the error can name it. Clear r in both cases. */
bool protocol_parse(protocol_request *r, const char *text, size_t n, const protocol_limits *limits, protocol_error *e);
void protocol_request_clear(protocol_request *r);

/* Names of an op's fields, for docs and tests; n_fields of them. */
const char *protocol_op_name(protocol_op op);
size_t protocol_op_fields(protocol_op op, const char **names, size_t max);

/* ------------------------------------------------------------------ replies (all newly created; json_decref) */

/* {"event": name, "id": id}; id may be NULL. */
json_t *protocol_reply(const char *event, json_t *id);
json_t *protocol_reply_error(json_t *id, const protocol_error *e);

/* A message as it is sent: one line, ten digits a number. NULL: out of memory. free. */
char *protocol_text(const json_t *message);

/* What a done event needs beside the engine's result. */
typedef struct {
    json_t *id;
    const char *camera;
    const char *retention;   /* as asked */
    json_t *choices;         /* array of the asked choices; NULL = none */
    int64_t received_us;     /* omnid_clock_us when the message came in */
    int64_t frame_ago_us;    /* age of the newest frame it saw then; < 0 = unknown */
    int64_t now_us, wall_us; /* the two clocks now */
} protocol_done;
json_t *protocol_reply_done(const protocol_done *d, const omnid_result *r);

/* ISO 8601 UTC with milliseconds, "2026-11-21T10:00:00.000Z"; json null when wall_us is 0. */
json_t *protocol_time(int64_t wall_us);
/* The other way: any ISO 8601 moment with a zone. False: it is none, or before 1970. */
bool protocol_parse_time(const char *text, int64_t *wall_us);
json_t *protocol_segment(const omnid_segment_report *r);
/* now_us, wall_us: the two clocks now. */
json_t *protocol_source(const capture_source_status *s, int64_t now_us, int64_t wall_us);
/* A number JSON can hold: NaN and infinities become null. */
json_t *protocol_number(double value);

#endif
