/* ask_socket.c: finds the daemon's socket, and says what to do when there is none. */
#include "ask.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* 0 or errno of connecting to the path. */
static int try_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
    close(fd);
    return error;
}

/* The group that may use path, or the first folder above it that can be looked at. */
static void print_no_permission(const char *path)
{
    char copy[256];
    struct stat st;
    snprintf(copy, sizeof copy, "%s", path);
    char *at = copy;
    while (stat(at, &st) != 0 && strlen(at) > 1)
        at = dirname(at);
    const struct group *group = getgrgid(st.st_gid);
    fprintf(stderr, "omnid-ask: no permission to use %s. ", path);
    if (group)
        fprintf(stderr, "It is for members of group '%s': sudo usermod -aG %s $USER, then log in again.\n",
                group->gr_name, group->gr_name);
    else
        fprintf(stderr, "It is for members of the group with number %u.\n", (unsigned)st.st_gid);
}

static void print_no_daemon(const char *tried)
{
    fprintf(stderr,
            "omnid-ask: no omnid is running (tried %s). Start one with: omnid\n"
            "For the service look at: systemctl status omnid; journalctl -u omnid. Another socket: --socket PATH\n",
            tried);
}

int ask_socket_find(const char *given, char *path, size_t n_path)
{
    char candidates[3][256], tried[800] = "";
    int n = 0;
    const char *user = getenv("XDG_RUNTIME_DIR"), *temporary = getenv("TMPDIR");
    if (given) {
        snprintf(candidates[n++], sizeof *candidates, "%s", given);
    } else {
        snprintf(candidates[n++], sizeof *candidates, "/run/omnid/ask.sock");
        if (user && *user)
            snprintf(candidates[n++], sizeof *candidates, "%s/omnid/ask.sock", user);
        snprintf(candidates[n++], sizeof *candidates, "%s/omnid-%u/ask.sock",
                 temporary && *temporary ? temporary : "/tmp", (unsigned)getuid());
    }
    for (int i = 0; i < n; i++) {
        int error = try_connect(candidates[i]);
        if (error == 0) {
            snprintf(path, n_path, "%s", candidates[i]);
            return ASK_OK;
        }
        if (error == EACCES || error == EPERM) {
            print_no_permission(candidates[i]);
            return ASK_NO_PERMISSION;
        }
        size_t used = strlen(tried);
        snprintf(tried + used, sizeof tried - used, "%s%s: %s", i ? "; " : "", candidates[i], strerror(error));
    }
    print_no_daemon(tried);
    return ASK_NO_DAEMON;
}
