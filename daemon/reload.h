/* reload.h: the configuration read again while the daemon runs (SIGHUP). */
#ifndef OMNID_DAEMON_RELOAD_H
#define OMNID_DAEMON_RELOAD_H

#include "daemon/settings.h"

#include <glib.h>

/* What reload works with; its owner keeps all of it. */
typedef struct {
    settings *live;               /* that the daemon runs by */
    const char *file;             /* --config; NULL = searched */
    const char *const *overrides; /* of the command line, which go over the file again */
    size_t n_overrides;
} reload;

/* Reads the configuration again. OK: the settings that can change while the daemon runs (options_reloads) are in force,
 * all of them, and *report (g_free) is a sentence that names them, and each other changed one, which waits for a restart.
 * Else nothing has changed, and the sentence says why: unreadable, wrong, or a file that is gone. The server's thread: it
 * alone reads the settings that this changes. */
omnid_status reload_run(const reload *r, char **report, omnid_error *err);

#endif
