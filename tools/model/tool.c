/* tool.c: failures, sizes and times as text, sleeping that Ctrl-C ends. */
#include "tools/model/tool.h"

#include <stdio.h>
#include <time.h>

volatile sig_atomic_t tool_stop;

model_exit model_fail(omnid_error *err, model_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = OMNID_IO; /* only the text is used */
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return code;
}

model_exit model_exit_of(omnid_status status)
{
    switch (status) {
    case OMNID_OK:
        return MODEL_OK;
    case OMNID_NOT_FOUND:
        return MODEL_MISSING;
    case OMNID_IO:
        return MODEL_IO;
    case OMNID_NOMEM:
        return MODEL_SYSTEM;
    default:
        return MODEL_BAD_DATA;
    }
}

tool_size tool_size_text(uint64_t bytes)
{
    static const char *const units[] = {"KB", "MB", "GB", "TB", "PB", "EB"};
    tool_size out;
    double value = (double)bytes;
    int unit = -1;
    while (value >= 999.5 && unit < 5) {
        value /= 1000;
        unit++;
    }
    if (unit < 0)
        snprintf(out.text, sizeof out.text, "%d bytes", (int)bytes);
    else
        snprintf(out.text, sizeof out.text, value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

tool_size tool_count_text(uint64_t n)
{
    tool_size out;
    if (n >= 1000000000)
        snprintf(out.text, sizeof out.text, "%.2f G", (double)n / 1e9);
    else
        snprintf(out.text, sizeof out.text, n >= 99950 ? "%.1f M" : "%.2f M", (double)n / 1e6);
    return out;
}

tool_size tool_time_text(double seconds)
{
    tool_size out;
    long s = seconds < 0 ? 0 : seconds > 3.6e8 ? 360000000 : (long)(seconds + 0.5);
    if (s < 60)
        snprintf(out.text, sizeof out.text, "%ld s", s);
    else if (s < 3600)
        snprintf(out.text, sizeof out.text, "%ld min %ld s", s / 60, s % 60);
    else
        snprintf(out.text, sizeof out.text, "%ld h %ld min", s / 3600, s / 60 % 60);
    return out;
}

void tool_sleep(double seconds)
{
    int64_t until_us = omnid_clock_us() + (int64_t)(seconds * 1e6);
    while (!tool_stop) {
        int64_t left_us = until_us - omnid_clock_us();
        if (left_us <= 0)
            return;
        long nap_us = left_us < 100000 ? (long)left_us : 100000;
        nanosleep(&(struct timespec){.tv_nsec = nap_us * 1000}, NULL);
    }
}
