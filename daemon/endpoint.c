/* endpoint.c: folder, flock, stale sockets. */
#include "daemon/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder this process may make sockets in, or one it may make. */
static bool usable(const char *folder)
{
    struct stat st;
    if (stat(folder, &st) == 0)
        return S_ISDIR(st.st_mode) && access(folder, W_OK | X_OK) == 0;
    char *parent = g_path_get_dirname(folder);
    bool can = errno == ENOENT && access(parent, W_OK | X_OK) == 0;
    g_free(parent);
    return can;
}

/* The folder to use; newly allocated. */
static char *choose(const char *configured)
{
    if (configured && *configured)
        return g_strdup(configured);
    const char *service = getenv("RUNTIME_DIRECTORY"); /* systemd's; several are separated by colons */
    if (service && *service)
        return g_strndup(service, strcspn(service, ":"));
    if (access("/run/omnid", W_OK | X_OK) == 0)
        return g_strdup("/run/omnid");
    const char *user = getenv("XDG_RUNTIME_DIR");
    if (user && *user) {
        char *folder = g_build_filename(user, "omnid", NULL);
        if (usable(folder))
            return folder;
        g_free(folder);
    }
    return g_strdup_printf("%s/omnid-%u", g_get_tmp_dir(), (unsigned)getuid());
}

omnid_status endpoint_choose(endpoint *e, const char *configured, omnid_error *err)
{
    memset(e, 0, sizeof *e);
    e->lock_fd = -1;
    char *folder = choose(configured);
    int n = snprintf(e->folder, sizeof e->folder, "%s", folder);
    g_free(folder);
    if (n < 0 || (size_t)n >= sizeof e->folder)
        return omnid_fail(err, OMNID_ARGUMENT,
                          "runtime_dir: want at most %zu bytes (a socket's path is short), found %d",
                          sizeof e->folder - 1, n);
    snprintf(e->ask, sizeof e->ask, "%s/ask.sock", e->folder);
    snprintf(e->events, sizeof e->events, "%s/events.sock", e->folder);
    return OMNID_OK;
}

/* Makes the folder, or checks that nobody else could have put it there: the temporary directory is open to all. */
static omnid_status make_folder(const char *folder, omnid_error *err)
{
    mode_t old = umask(0);
    int made = mkdir(folder, 0750);
    int error = errno;
    umask(old);
    if (made == 0)
        return OMNID_OK;
    struct stat st;
    if (error != EEXIST)
        return omnid_fail(err, OMNID_IO, "cannot make %s for the sockets: %s", folder, strerror(error));
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return omnid_fail(err, OMNID_IO, "%s for the sockets is not a folder", folder);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return omnid_fail(err, OMNID_IO, "%s for the sockets belongs to another user (uid %u)", folder,
                          (unsigned)st.st_uid);
    if (st.st_mode & S_IWOTH)
        return omnid_fail(err, OMNID_IO, "%s for the sockets can be written by everyone; want mode 0750", folder);
    return OMNID_OK;
}

static omnid_status lock_folder(endpoint *e, omnid_error *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/omnid.lock", e->folder);
    e->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (e->lock_fd < 0)
        return omnid_fail(err, OMNID_IO, "cannot open %s: %s", path, strerror(errno));
    if (flock(e->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return OMNID_OK;
    int error = errno;
    close(e->lock_fd);
    e->lock_fd = -1;
    if (error == EWOULDBLOCK)
        return omnid_fail(err, OMNID_BUSY,
                          "another omnid already serves %s. Stop it, or set [omnid] runtime_dir to another folder",
                          e->ask);
    return omnid_fail(err, OMNID_IO, "cannot lock %s: %s", path, strerror(error));
}

omnid_status endpoint_open(endpoint *e, const char *configured, omnid_error *err)
{
    OMNID_TRY(endpoint_choose(e, configured, err));
    OMNID_TRY(make_folder(e->folder, err));
    OMNID_TRY(lock_folder(e, err));
    unlink(e->ask); /* left by a daemon that was killed: the lock says it is gone */
    unlink(e->events);
    return OMNID_OK;
}

void endpoint_close(endpoint *e)
{
    if (e->lock_fd < 0)
        return;
    unlink(e->ask);
    unlink(e->events);
    close(e->lock_fd);
    e->lock_fd = -1;
}
