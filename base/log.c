/* log.c: the logger, the project's only global state. */
#include "base/base.h"

#include <pthread.h>
#include <stdio.h>

static struct {
    pthread_mutex_t lock;
    omnid_log_level level;
    omnid_log_sink sink;
    void *user;
} logger = {PTHREAD_MUTEX_INITIALIZER, OMNID_LOG_INFO, NULL, NULL};

void omnid_log_set(omnid_log_level level, omnid_log_sink sink, void *user)
{
    pthread_mutex_lock(&logger.lock);
    logger.level = level;
    logger.sink = sink;
    logger.user = user;
    pthread_mutex_unlock(&logger.lock);
}

void omnid_log(omnid_log_level level, const char *format, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    pthread_mutex_lock(&logger.lock);
    if (level <= logger.level) {
        if (logger.sink)
            logger.sink(logger.user, level, line);
        else
            fprintf(stderr, "omnid: %s: %s\n", names[level], line);
    }
    pthread_mutex_unlock(&logger.lock);
}
