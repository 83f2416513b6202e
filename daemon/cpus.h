/* cpus.h: which processors compute, as [model] cpus names them. */
#ifndef OMNID_DAEMON_CPUS_H
#define OMNID_DAEMON_CPUS_H

#include "base/base.h"

#include <sched.h>

/* "0-3,8" as a set; "" is all that this process may use. FORMAT: no such list. UNSUPPORTED: one this process may not use, or
 * the machine does not have. */
omnid_status cpus_parse(cpu_set_t *out, const char *text, omnid_error *err);

#endif
