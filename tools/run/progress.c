/* progress.c: signs of life on stderr, only when things take long. */
#include "tools/run/run.h"

#include <stdarg.h>
#include <stdio.h>

void progress(const char *format, ...)
{
    static const int64_t every_us = 2000000;
    static int64_t last_us;
    int64_t now = omnid_clock_us();
    if (last_us == 0)
        last_us = now;
    if (now - last_us < every_us)
        return;
    last_us = now;
    va_list args;
    va_start(args, format);
    fputs("omnid-run: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}
