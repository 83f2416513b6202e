/* ask.h: the parts of omnid-ask. */
#ifndef OMNID_CLIENTS_ASK_H
#define OMNID_CLIENTS_ASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <zmq.h>

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
    const char *op; /* "ask", or that of --status, --sources, --timeline, --forget, --frame, --pause, --resume */
    const char *camera, *socket, *mode, *policy, *retention, *history, *what, *frames, *frame, *at;
    const char *choices[ASK_MAX_LIST], *stop[ASK_MAX_LIST];
    int n_choices, n_stop;
    double last_s, temperature, timeout_s, ago_s; /* last_s 0, temperature < 0 and ago_s < 0: not given */
    long max_tokens, seed, width;                 /* -1, of width 0: not given */
    bool json, timings, no_now;
    char *question; /* the words joined, or standard input; malloc'ed */
} ask_arguments;

/* ask_request.c: the message for the daemon; NULL: *problem says what is wrong (a history file, text that is no UTF-8). */
json_t *ask_request_make(const ask_arguments *a, char *problem, size_t n_problem);

/* ask_talk.c: one conversation over a DEALER socket. */
void ask_talk_catch_signals(void); /* Ctrl-C ends waiting */
bool ask_talk_send(void *socket, const json_t *request);
/* The next event, and in *second (may be NULL; initialised by the caller) its second frame if it has one. NULL: none came in
 * time, or Ctrl-C. */
json_t *ask_talk_receive(void *socket, double timeout_s, zmq_msg_t *second);
/* After ask_talk_receive gave NULL: says why, cancels what Ctrl-C ended. The exit code. */
int ask_talk_silent(const ask_arguments *a, void *socket);
/* Sends the request and prints the events up to the last, which is the caller's (NULL: none came). The exit code. */
int ask_talk(const ask_arguments *a, void *socket, const json_t *request, json_t **last);
void ask_talk_print(const ask_arguments *a, const json_t *event,
                    bool streamed);                                /* streamed: tokens were printed before */
const char *ask_talk_text(const json_t *object, const char *name); /* "" = no such string */
double ask_talk_number(const json_t *object, const char *name);    /* 0 = no such number */

/* ask_frames.c: JPEG files of what omnid saw. Each carries a comment that says where it is from; a file of that name without
 * such a comment is somebody else's and is not overwritten. All return the exit code. */
int ask_frames_one(const ask_arguments *a, void *socket, const json_t *request); /* --frame */
int ask_frames_window(const ask_arguments *a, void *socket);                     /* --frames alone */
int ask_frames_evidence(const ask_arguments *a, void *socket, const json_t *done);

/* ask_socket.c: where a daemon listens: the given path, else the first of /run/omnid, $XDG_RUNTIME_DIR/omnid and
 * $TMPDIR/omnid-UID where one does. Tried with connect(2): a ZeroMQ socket alone would wait for ever. ASK_OK, or
 * ASK_NO_DAEMON or ASK_NO_PERMISSION after a sentence on standard error. */
int ask_socket_find(const char *given, char *path, size_t n_path);

#endif
