/* harness.c: fork, exec, and a few lines of libzmq. */
#include "harness.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

void sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

/* ------------------------------------------------------------------ processes */

void process_start_in(process *p, const char *folder, const char *binary, const char *const *args)
{
    static int n_started;
    memset(p, 0, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "%s", folder);
    snprintf(p->ask, sizeof p->ask, "%s/ask.sock", p->folder);
    snprintf(p->events, sizeof p->events, "%s/events.sock", p->folder);
    snprintf(p->log, sizeof p->log, "%s/log.%d", p->folder, n_started++);
    char runtime_dir[128];
    snprintf(runtime_dir, sizeof runtime_dir, "--omnid.runtime_dir=%s", p->folder);
    const char *argv[32] = {binary, "--config=/dev/null", runtime_dir};
    int n = 3;
    while (args && *args && n < 31)
        argv[n++] = *args++;
    p->pid = fork();
    assert_int_not_equal(p->pid, -1);
    if (p->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);               /* a test that fails must not leave its daemon running */
    const char *sanitizer = getenv("TSAN_OPTIONS"); /* which sleeps a second at exit unless told otherwise */
    char tsan[512];
    snprintf(tsan, sizeof tsan, "%s:atexit_sleep_ms=0", sanitizer ? sanitizer : "");
    setenv("TSAN_OPTIONS", tsan, 1);
    int fd = open(p->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execv(binary, (char *const *)argv);
    _exit(127);
}

void process_start(process *p, const char *binary, const char *const *args)
{
    char folder[] = "/tmp/omnid-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    process_start_in(p, folder, binary, args);
}

int process_wait(process *p, int timeout_ms)
{
    for (int waited = 0;; waited += 5) {
        int status = 0;
        pid_t ended = waitpid(p->pid, &status, WNOHANG);
        if (ended == p->pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (waited >= timeout_ms)
            return -1;
        sleep_ms(5);
    }
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

void remove_folder(const char *path)
{
    nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

int process_stop(process *p, int signal, double *seconds)
{
    int64_t start_us = omnid_clock_us();
    kill(p->pid, signal);
    int code = process_wait(p, 10000);
    if (seconds)
        *seconds = (double)(omnid_clock_us() - start_us) / 1e6;
    if (code == -1) {
        kill(p->pid, SIGKILL);
        process_wait(p, 5000);
    }
    char *log = process_log(p);
    if (strstr(log, "Sanitizer") || strstr(log, "runtime error")) {
        fputs(log, stderr);
        code = 99;
    }
    free(log);
    remove_folder(p->folder);
    return code;
}

char *process_log(const process *p)
{
    FILE *file = fopen(p->log, "r");
    size_t n = 0;
    char *text = calloc(1, 1 << 18);
    if (file) {
        n = fread(text, 1, (1 << 18) - 1, file);
        fclose(file);
    }
    text[n] = '\0';
    return text;
}

/* ------------------------------------------------------------------ clients */

static void open_socket(client *c, const process *p, int type, int hwm)
{
    char address[128];
    int zero = 0;
    snprintf(address, sizeof address, "ipc://%s", p->ask);
    c->req = type == ZMQ_REQ;
    c->context = zmq_ctx_new();
    c->socket = zmq_socket(c->context, type);
    zmq_setsockopt(c->socket, ZMQ_LINGER, &zero, sizeof zero);
    if (hwm > 0) {
        int bytes = 4096;
        zmq_setsockopt(c->socket, ZMQ_RCVHWM, &hwm, sizeof hwm);
        zmq_setsockopt(c->socket, ZMQ_RCVBUF, &bytes, sizeof bytes);
    }
    assert_int_equal(zmq_connect(c->socket, address), 0);
}

void client_open(client *c, const process *p, int type)
{
    open_socket(c, p, type, 0);
}

void client_open_narrow(client *c, const process *p)
{
    open_socket(c, p, ZMQ_DEALER, 1);
}

void client_close(client *c)
{
    zmq_close(c->socket);
    zmq_ctx_term(c->context);
}

void client_send_bytes(client *c, const void *bytes, size_t n)
{
    assert_int_equal(zmq_send(c->socket, bytes, n, 0), (int)n);
}

void client_send(client *c, const char *text)
{
    client_send_bytes(c, text, strlen(text));
}

/* The second frame of the message that was begun. */
static void receive_second(client *c, void **bytes, size_t *n_bytes)
{
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    assert_true(zmq_msg_recv(&frame, c->socket, 0) >= 0);
    assert_false(zmq_msg_more(&frame));
    *n_bytes = zmq_msg_size(&frame);
    *bytes = malloc(*n_bytes + 1);
    memcpy(*bytes, zmq_msg_data(&frame), *n_bytes);
    zmq_msg_close(&frame);
}

json_t *client_receive_with(client *c, int timeout_ms, void **bytes, size_t *n_bytes)
{
    zmq_msg_t message;
    *bytes = NULL;
    *n_bytes = 0;
    zmq_setsockopt(c->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_msg_init(&message);
    if (zmq_msg_recv(&message, c->socket, 0) < 0) {
        zmq_msg_close(&message);
        return NULL;
    }
    json_error_t where;
    json_t *json = json_loadb(zmq_msg_data(&message), zmq_msg_size(&message), 0, &where);
    if (!json)
        fail_msg("not JSON: %.*s", (int)zmq_msg_size(&message), (char *)zmq_msg_data(&message));
    bool more = zmq_msg_more(&message);
    zmq_msg_close(&message);
    if (more)
        receive_second(c, bytes, n_bytes);
    return json;
}

json_t *client_receive(client *c, int timeout_ms)
{
    void *bytes;
    size_t n_bytes;
    json_t *json = client_receive_with(c, timeout_ms, &bytes, &n_bytes);
    if (bytes) {
        free(bytes);
        fail_msg("a message has a second frame of %zu bytes", n_bytes);
    }
    return json;
}

json_t *client_ask(client *c, const char *text)
{
    client_send(c, text);
    json_t *reply = client_receive(c, 10000);
    if (!reply)
        fail_msg("no reply to %.200s", text);
    return reply;
}

json_t *client_wait_text(client *c, const char *ask, const char *path, const char *wanted)
{
    for (int i = 0; i < 400; i++) {
        json_t *reply = client_ask(c, ask);
        const char *found = json_string_value(value_at(reply, path));
        if (found && strcmp(found, wanted) == 0)
            return reply;
        json_decref(reply);
        sleep_ms(50);
    }
    fail_msg("%s of %s did not become '%s' in 20 s", path, ask, wanted);
    return NULL;
}

json_t *client_receive_end(client *c, char **text, int *n_tokens)
{
    size_t n = 0;
    char *all = calloc(1, 1);
    int n_seen = 0;
    for (;;) {
        json_t *event = client_receive(c, 20000);
        if (!event)
            fail_msg("no event in 20 s");
        const char *token = json_string_value(json_object_get(event, "text"));
        if (strcmp(text_at(event, "event"), "token") != 0) {
            if (text)
                *text = all;
            else
                free(all);
            if (n_tokens)
                *n_tokens = n_seen;
            return event;
        }
        assert_non_null(token);
        size_t n_token = strlen(token);
        all = realloc(all, n + n_token + 1);
        memcpy(all + n, token, n_token + 1);
        n += n_token;
        n_seen++;
        json_decref(event);
    }
}

json_t *client_ask_end(client *c, const char *text)
{
    client_send(c, text);
    json_t *done = client_receive_end(c, NULL, NULL);
    assert_event(done, "done");
    return done;
}

/* ------------------------------------------------------------------ values */

const json_t *value_at(const json_t *value, const char *path)
{
    char name[64];
    while (value && *path) {
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(name)) : json_object_get(value, name);
        path += n + (path[n] == '.');
    }
    return value;
}

static const json_t *need(const json_t *value, const char *path)
{
    const json_t *found = value_at(value, path);
    if (!found) {
        char *text = json_dumps(value, JSON_COMPACT);
        fail_msg("no %s in %.600s", path, text);
    }
    return found;
}

const char *text_at(const json_t *value, const char *path)
{
    const char *text = json_string_value(need(value, path));
    if (!text)
        fail_msg("%s is not a string", path);
    return text;
}

double number_at(const json_t *value, const char *path)
{
    const json_t *found = need(value, path);
    if (!json_is_number(found))
        fail_msg("%s is not a number", path);
    return json_number_value(found);
}

void assert_event(const json_t *event, const char *name)
{
    if (event && strcmp(text_at(event, "event"), name) == 0)
        return;
    char *text = json_dumps(event, JSON_COMPACT);
    fail_msg("want event %s, found %.600s", name, text ? text : "none");
}

/* ------------------------------------------------------------------ waiting */

void process_wait_ready(const process *p)
{
    client c;
    client_open(&c, p, ZMQ_DEALER);
    for (int i = 0; i < 600; i++) {
        json_t *status = client_ask(&c, "{\"op\":\"status\"}");
        bool ready = strcmp(text_at(status, "state"), "ready") == 0;
        json_decref(status);
        if (ready) {
            client_close(&c);
            return;
        }
        sleep_ms(50);
    }
    fail_msg("not ready in 30 s");
}

void process_wait_segments(const process *p, const char *camera, int n)
{
    client c;
    char ask[128];
    snprintf(ask, sizeof ask, camera ? "{\"op\":\"timeline\",\"camera\":\"%s\"}" : "{\"op\":\"timeline\"}", camera);
    process_wait_ready(p);
    client_open(&c, p, ZMQ_DEALER);
    for (int i = 0; i < 600; i++) {
        json_t *timeline = client_ask(&c, ask);
        bool enough = json_array_size(value_at(timeline, "segments")) >= (size_t)n;
        json_decref(timeline);
        if (enough) {
            client_close(&c);
            return;
        }
        sleep_ms(50);
    }
    fail_msg("%d segments did not come in 30 s", n);
}

void make_fake_model(char *path, size_t n, const char *name)
{
    char folder[] = "/tmp/omnid-model-XXXXXX", file[256];
    assert_non_null(mkdtemp(folder));
    snprintf(path, n, "%s-%s", folder, name);
    assert_int_equal(rename(folder, path), 0);
    const char *files[] = {"config.json", "tokenizer.json"};
    for (int i = 0; i < 2; i++) {
        snprintf(file, sizeof file, "%s/%s", path, files[i]);
        FILE *out = fopen(file, "w");
        assert_non_null(out);
        fputs("{}\n", out);
        fclose(out);
    }
}
