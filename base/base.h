/* base.h: what capture and engine share: status codes, the error sentence, the logger, the clock.
 *
 * Every function that can fail returns an omnid_status and, through the last argument, a sentence for a person:
 * it names the thing, the value wanted and the value found. */
#ifndef OMNID_BASE_H
#define OMNID_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OMNID_API __attribute__((visibility("default")))

#define OMNID_STATUS_MAP(X)                                                                                            \
    X(OK, "ok")                                                                                                        \
    X(AGAIN, "nothing yet")                                                                                            \
    X(END, "end of stream")                                                                                            \
    X(NOMEM, "out of memory")                                                                                          \
    X(ARGUMENT, "bad argument")                                                                                        \
    X(NOT_FOUND, "not found")                                                                                          \
    X(FORMAT, "malformed data")                                                                                        \
    X(SHAPE, "tensor has another shape")                                                                               \
    X(UNSUPPORTED, "not supported")                                                                                    \
    X(IO, "cannot read or write")                                                                                      \
    X(DEVICE, "camera, microphone or GPU failed")                                                                      \
    X(BUSY, "in use")                                                                                                  \
    X(LIMIT, "a limit is reached")                                                                                     \
    X(EMPTY, "nothing seen or heard yet")                                                                              \
    X(CANCELLED, "cancelled")                                                                                          \
    X(DEADLINE, "deadline passed")

typedef enum {
#define OMNID_STATUS_ENUM(name, text) OMNID_##name,
    OMNID_STATUS_MAP(OMNID_STATUS_ENUM)
#undef OMNID_STATUS_ENUM
        OMNID_N_STATUS
} omnid_status;

/* A sentence a user can act on. Owned by the caller; text is always terminated. */
typedef struct {
    omnid_status status;
    char text[512];
} omnid_error;

/* Fills *err (may be NULL) with the printf-formatted sentence and returns status: `return omnid_fail(err, …);`. */
OMNID_API omnid_status omnid_fail(omnid_error *err, omnid_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the sentence already in *err and returns err's status (ARGUMENT where err is NULL: who may be
 * given none keeps the status itself). */
OMNID_API omnid_status omnid_fail_in(omnid_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Short lower-case name ("not_found", the protocol's error code) and text ("not found") of a status; never NULL. */
OMNID_API const char *omnid_status_name(omnid_status status);
OMNID_API const char *omnid_status_text(omnid_status status);

typedef enum { OMNID_LOG_ERROR, OMNID_LOG_WARNING, OMNID_LOG_INFO, OMNID_LOG_DEBUG } omnid_log_level;

/* Where log lines go. line has no newline and is valid during the call only. Called from any thread, one at a time. */
typedef void (*omnid_log_sink)(void *user, omnid_log_level level, const char *line);

/* The one global state: lines above `level` are dropped; sink NULL = stderr with sd-daemon's <N> prefixes off. Call before
 * the first thread starts. */
OMNID_API void omnid_log_set(omnid_log_level level, omnid_log_sink sink, void *user);
OMNID_API void omnid_log(omnid_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* CLOCK_MONOTONIC and CLOCK_REALTIME in microseconds. */
OMNID_API int64_t omnid_clock_us(void);
OMNID_API int64_t omnid_wall_us(void);

#define OMNID_TRY(call)                                                                                                \
    do {                                                                                                               \
        omnid_status try_status_ = (call);                                                                             \
        if (try_status_ != OMNID_OK)                                                                                   \
            return try_status_;                                                                                        \
    } while (0)

#endif
