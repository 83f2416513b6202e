/* cpus.c: lists of processors, in the form of taskset(1) and of systemd's CPUAffinity=. */
#include "daemon/cpus.h"

#include <errno.h>
#include <stdlib.h>

/* Reads a number at *at, which goes behind it. False: there is none, or it is no processor's. */
static bool read_number(const char **at, int *out)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    long value = strtol(*at, &end, 10);
    *at = end;
    *out = (int)value;
    return errno == 0 && value < CPU_SETSIZE;
}

/* Reads "3" or "0-3" at *at into the set. */
static bool read_range(const char **at, cpu_set_t *set)
{
    int first, last;
    if (!read_number(at, &first))
        return false;
    last = first;
    if (**at == '-' && (++*at, !read_number(at, &last) || last < first))
        return false;
    for (int i = first; i <= last; i++)
        CPU_SET(i, set);
    return true;
}

omnid_status cpus_parse(cpu_set_t *out, const char *text, omnid_error *err)
{
    cpu_set_t may;
    const char *at = text;
    CPU_ZERO(&may); /* stays so on a machine of more than CPU_SETSIZE */
    sched_getaffinity(0, sizeof may, &may);
    CPU_ZERO(out);
    if (!*text) {
        *out = may;
        return OMNID_OK;
    }
    bool good = read_range(&at, out);
    while (good && *at == ',') {
        at++;
        good = read_range(&at, out);
    }
    if (!good || *at)
        return omnid_fail(err, OMNID_FORMAT, "cpus: want processors as 0-3,8, found '%.80s'", text);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, out) && !CPU_ISSET(i, &may))
            return omnid_fail(err, OMNID_UNSUPPORTED,
                              "cpus: processor %d is not there, or not this process's (nproc: %d)", i, CPU_COUNT(&may));
    return OMNID_OK;
}
