/* service_log.c: the logger's sink for the journal. */
#define SD_JOURNAL_SUPPRESS_LOCATION /* the place would be this file's, not the line's */
#include "daemon/service_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

enum { FIELD_BYTES = 96, LINE_BYTES = 1024 };

/* What the line under way on this thread is about, from service_log to the sink that the same call reaches. */
static _Thread_local const char *about_camera, *about_source;

bool service_log_is_journal(const char *journal_stream, uint64_t dev, uint64_t ino)
{
    uint64_t stream_dev = 0, stream_ino = 0;
    return journal_stream && sscanf(journal_stream, "%" SCNu64 ":%" SCNu64, &stream_dev, &stream_ino) == 2 &&
           stream_dev == dev && stream_ino == ino;
}

static void add_field(struct iovec *fields, int *n, char *field, const char *name, const char *value)
{
    if (!value)
        return;
    int length = snprintf(field, FIELD_BYTES, "%s=%s", name, value);
    fields[(*n)++] = (struct iovec){field, (size_t)(length < FIELD_BYTES ? length : FIELD_BYTES - 1)};
}

static void write_to_journal(void *user, omnid_log_level level, const char *line)
{
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    char message[LINE_BYTES + 16], number[8], priority[FIELD_BYTES], name[FIELD_BYTES], camera[FIELD_BYTES],
        source[FIELD_BYTES];
    struct iovec fields[5];
    int n = 0;
    (void)user;
    int length = snprintf(message, sizeof message, "MESSAGE=%s", line);
    fields[n++] = (struct iovec){message, (size_t)(length < (int)sizeof message ? length : (int)sizeof message - 1)};
    snprintf(number, sizeof number, "%d", priorities[level]);
    add_field(fields, &n, priority, "PRIORITY", number);
    add_field(fields, &n, name, "SYSLOG_IDENTIFIER", "omnid");
    add_field(fields, &n, camera, "OMNID_CAMERA", about_camera);
    add_field(fields, &n, source, "OMNID_SOURCE", about_source);
    if (sd_journal_sendv(fields, n) < 0)
        fprintf(stderr, "<%d>%s\n", priorities[level], line); /* journald reads the prefix from the stream too */
}

void service_log_open(const char *level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    struct stat st;
    bool journal =
        fstat(STDERR_FILENO, &st) == 0 && service_log_is_journal(getenv("JOURNAL_STREAM"), st.st_dev, st.st_ino);
    for (int i = 0; i < 4; i++)
        if (strcmp(level, names[i]) == 0)
            omnid_log_set((omnid_log_level)i, journal ? write_to_journal : NULL, NULL);
}

void service_log(omnid_log_level level, const char *camera, const char *source, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    about_camera = camera;
    about_source = source;
    omnid_log(level, "%s", line);
    about_camera = about_source = NULL;
}
