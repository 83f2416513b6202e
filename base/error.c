/* error.c: status codes and the sentence that goes with them. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

omnid_status omnid_fail(omnid_error *err, omnid_status status, const char *format, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return status;
}

omnid_status omnid_fail_in(omnid_error *err, const char *format, ...)
{
    if (!err)
        return OMNID_ARGUMENT;
    char text[sizeof err->text];
    memcpy(text, err->text, sizeof text);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", text);
    return err->status;
}

const char *omnid_status_text(omnid_status status)
{
    static const char *const texts[] = {
#define TEXT(name, text) text,
        OMNID_STATUS_MAP(TEXT)
#undef TEXT
    };
    return (unsigned)status < OMNID_N_STATUS ? texts[status] : "unknown status";
}

const char *omnid_status_name(omnid_status status)
{
    static const char *const names[] = {"ok",        "again", "end",         "no_memory", "bad_argument", "not_found",
                                        "malformed", "shape", "unsupported", "io",        "device",       "busy",
                                        "limit",     "empty", "cancelled",   "deadline"};
    _Static_assert(sizeof names / sizeof *names == OMNID_N_STATUS, "one name a status");
    return (unsigned)status < OMNID_N_STATUS ? names[status] : "unknown";
}
