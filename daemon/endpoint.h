/* endpoint.h: the folder of the sockets, and the lock that keeps a second daemon out of it. */
#ifndef OMNID_DAEMON_ENDPOINT_H
#define OMNID_DAEMON_ENDPOINT_H

#include "base/base.h"

/* Paths of the sockets; sun_path holds 107 bytes. */
typedef struct {
    char folder[96];
    char ask[108], events[108]; /* folder/ask.sock, folder/events.sock */
    int lock_fd;
} endpoint;

/* Chooses the folder (configured, or the first of $RUNTIME_DIRECTORY, /run/omnid, $XDG_RUNTIME_DIR/omnid,
 * $TMPDIR/omnid-UID that can be used), makes it with mode 0750, takes the lock (omnid.lock) and removes stale sockets.
 * BUSY: another daemon holds the lock. IO: the sentence has the path. ARGUMENT: the path is too long for a socket. */
omnid_status endpoint_open(endpoint *e, const char *configured, omnid_error *err);
/* The folder that endpoint_open would choose, without making anything (omnid --check). */
omnid_status endpoint_choose(endpoint *e, const char *configured, omnid_error *err);
/* Removes the sockets and lets go of the lock. The lock file stays: removing it would let two daemons lock two files. */
void endpoint_close(endpoint *e);

#endif
