/* harness.h: a daemon in a process of its own, and clients for it. Functions fail the running cmocka test themselves. */
#ifndef OMNID_TESTS_HARNESS_H
#define OMNID_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;
    char folder[64]; /* of this daemon alone; holds its sockets and its log */
    char ask[96], events[96], log[96];
} process;

/* Starts binary with --config=/dev/null, a fresh runtime_dir and args (NULL-terminated; they may override both). */
void process_start(process *p, const char *binary, const char *const *args);
/* The same in the folder of another process (which p then shares, and process_stop removes once). */
void process_start_in(process *p, const char *folder, const char *binary, const char *const *args);
/* Asks for its status until it is ready; at most 30 s. */
void process_wait_ready(const process *p);
/* Until the camera (NULL: the only one) shows at least n segments. */
void process_wait_segments(const process *p, const char *camera, int n);
/* The exit code, or -1 when it still runs after timeout_ms, or 128 + the signal that ended it. */
int process_wait(process *p, int timeout_ms);
/* Sends the signal, waits (10 s), removes the folder. Seconds it took in *seconds (may be NULL). */
int process_stop(process *p, int signal, double *seconds);
/* What it has logged so far; free. */
char *process_log(const process *p);

typedef struct {
    void *context, *socket;
    bool req;
} client;

/* type: ZMQ_DEALER or ZMQ_REQ. */
void client_open(client *c, const process *p, int type);
/* A DEALER that takes hardly any messages before it reads. */
void client_open_narrow(client *c, const process *p);
void client_close(client *c);
void client_send(client *c, const char *text);
void client_send_bytes(client *c, const void *bytes, size_t n);
/* The next message; NULL when none comes in timeout_ms. Not JSON: the test fails. */
json_t *client_receive(client *c, int timeout_ms);
/* The same of a message with a second frame (its JPEG): *bytes, free; NULL and 0 when the message has none. */
json_t *client_receive_with(client *c, int timeout_ms, void **bytes, size_t *n_bytes);
/* Sends and returns the next message (10 s). */
json_t *client_ask(client *c, const char *text);
/* Skips messages until one that is not a token (20 s). *text (may be NULL): the tokens' text, free. */
json_t *client_receive_end(client *c, char **text, int *n_tokens);

/* Sends a question and returns its last event, which must be `done` (20 s without a word). */
json_t *client_ask_end(client *c, const char *text);
/* Asks again and again (20 s) until the string at the path is wanted. The whole reply. */
json_t *client_wait_text(client *c, const char *ask, const char *path, const char *wanted);

/* String or number at the dotted path; the test fails when it is not there. */
const char *text_at(const json_t *value, const char *path);
double number_at(const json_t *value, const char *path);
const json_t *value_at(const json_t *value, const char *path); /* NULL = not there */

/* The event's name must be this; else the test fails with the whole event. */
void assert_event(const json_t *event, const char *name);

void sleep_ms(int ms);
/* Makes folder/NAME with a config.json and a tokenizer.json that only look like a model's (for the fake engine). */
void make_fake_model(char *path, size_t n, const char *name);
void remove_folder(const char *path);

#endif
