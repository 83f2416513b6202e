/* service_log.h: where the daemon's lines go: to the journal with their fields when standard error is the journal
 * ($JOURNAL_STREAM, systemd.exec(5)), else to standard error as the logger writes them. */
#ifndef OMNID_DAEMON_SERVICE_LOG_H
#define OMNID_DAEMON_SERVICE_LOG_H

#include "base/base.h"

/* Sets the logger's sink and level: "error", "warning", "info" or "debug". Again at any time, to change the level. */
void service_log_open(const char *level);

/* A line about a camera, and one of its sources ("video", "audio" or NULL): the journal's OMNID_CAMERA and OMNID_SOURCE.
 * The text should name them too, for those who read no fields. Any thread. */
void service_log(omnid_log_level level, const char *camera, const char *source, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* True when standard error (st_dev and st_ino of fd 2) is what the value of $JOURNAL_STREAM, "DEV:INO", says. */
bool service_log_is_journal(const char *journal_stream, uint64_t dev, uint64_t ino);

#endif
