/* tool.h: what the parts of omnid-model share: exit codes, failures, sizes as text. */
#ifndef OMNID_MODEL_TOOL_H
#define OMNID_MODEL_TOOL_H

#include "base/base.h"

#include <signal.h>

/* Exit codes; functions here return one of them, with a sentence in *err when it is not MODEL_OK. */
typedef enum {
    MODEL_OK = 0,
    MODEL_NO = 1,        /* the question was answered with no; check: sound, but does not fit this machine's memory */
    MODEL_USAGE = 2,     /* the command line */
    MODEL_BAD_DATA = 65, /* a file, or what the hub says, is wrong: hash, size, JSON, names, shapes */
    MODEL_MISSING = 66,  /* no such model, revision, file or folder */
    MODEL_UNREACHABLE = 69, /* the hub cannot be reached or keeps failing */
    MODEL_SYSTEM = 71,      /* out of memory and the like */
    MODEL_DISK_SMALL = 73,  /* the disk is too small */
    MODEL_IO = 74,          /* the disk cannot be read or written */
    MODEL_BUSY = 75,        /* another fetch of this model is running, or the hub says: later */
    MODEL_REFUSED = 77,     /* the hub wants a token, or another one */
    MODEL_INTERRUPTED = 130 /* Ctrl-C; what has come is kept */
} model_exit;

/* Fills *err with the sentence and returns code. */
model_exit model_fail(omnid_error *err, model_exit code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The exit code for a status of the engine or the store. */
model_exit model_exit_of(omnid_status status);

#define MODEL_TRY(call)                                                                                                \
    do {                                                                                                               \
        model_exit try_code_ = (call);                                                                                 \
        if (try_code_ != MODEL_OK)                                                                                     \
            return try_code_;                                                                                          \
    } while (0)

typedef struct {
    char text[40];
} tool_size;
/* "512 bytes", "4.2 MB", "17.9 GB": decimal units, as disks and the hub's pages have them. */
tool_size tool_size_text(uint64_t bytes);
/* "4.70 G", "5.4 M", of parameters. */
tool_size tool_count_text(uint64_t n);
/* "45 s", "3 min 20 s", "2 h 5 min". */
tool_size tool_time_text(double seconds);

/* Set by SIGINT and SIGTERM. */
extern volatile sig_atomic_t tool_stop;
/* Sleeps, at most until tool_stop is set. */
void tool_sleep(double seconds);

#endif
