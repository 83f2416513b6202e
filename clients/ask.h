/* ask.h: the parts of omnid-ask. */
#ifndef OMNID_CLIENTS_ASK_H
#define OMNID_CLIENTS_ASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit codes; docs/protocol.md lists them. */
enum {
    ASK_OK = 0,
    ASK_ERROR = 1,
    ASK_USAGE = 2,
    ASK_NO_DAEMON = 3,
    ASK_NO_PERMISSION = 4,
    ASK_TIMEOUT = 5,
    ASK_INTERRUPTED = 130
};

enum { ASK_MAX_LIST = 64 };

/* The command line. Strings are argv's. */
typedef struct {
    const char *op; /* "ask", or that of --status, --sources, --timeline, --forget */
    const char *camera, *socket, *mode, *policy, *retention, *history;
    const char *choices[ASK_MAX_LIST], *stop[ASK_MAX_LIST];
    int n_choices, n_stop;
    double last_s, temperature, timeout_s; /* last_s 0 and temperature < 0: not given */
    long max_tokens, seed;                 /* -1: not given */
    bool json, timings, no_now;
    char *question; /* the words joined, or standard input; malloc'ed */
} ask_arguments;

/* ask_request.c: the message for the daemon; NULL: *problem says what is wrong (a history file, text that is no UTF-8). */
json_t *ask_request_make(const ask_arguments *a, char *problem, size_t n_problem);

/* ask_socket.c: where a daemon listens: the given path, else the first of /run/omnid, $XDG_RUNTIME_DIR/omnid and
 * $TMPDIR/omnid-UID where one does. Tried with connect(2): a ZeroMQ socket alone would wait for ever. ASK_OK, or
 * ASK_NO_DAEMON or ASK_NO_PERMISSION after a sentence on standard error. */
int ask_socket_find(const char *given, char *path, size_t n_path);

#endif
