/* mic_process.c: posix_spawn, three pipes, and no trust in what comes back. */
#include "capture/mic_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_ARGUMENTS = 8, LEAVE_MS = 1000, KILL_MS = 500, REAP_MS = 500, CHATTER = 512, MOST_STUCK = 4 };

/* Helpers that hang in the kernel, where no signal reaches them. Each attempt at the same card may add one: not for ever. */
static struct {
    pthread_mutex_t lock;
    pid_t pids[MOST_STUCK];
    int n;
} stuck = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct mic_process {
    pid_t pid;
    int ask, say, chat; /* write end of its stdin, read ends of its stdout and stderr; -1 = closed */
    int n_chatter;
    char chatter[CHATTER]; /* an unfinished line of its stderr */
    size_t n_read;         /* of the message */
    mic_wire_head head;
    mic_wire_payload payload;
};

static void find_helper(char *path, size_t size)
{
    const char *named = getenv("OMNID_MIC_HELPER");
    if (named && *named) {
        snprintf(path, size, "%s", named);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", path, size - sizeof "omnid-mic");
    path[n < 0 ? 0 : n] = '\0';
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, "omnid-mic");
    if (access(path, X_OK))
        snprintf(path, size, "%s", OMNID_LIBEXECDIR "/omnid/omnid-mic");
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The child's side of the three pipes becomes its 0, 1 and 2; it has nothing else of ours. */
static int spawn(mic_process *p, const char *path, char *const *argv, const int *theirs)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int error = posix_spawn_file_actions_init(&files);
    if (error)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (!error) {
        for (int i = 0; i < 3 && !error; i++)
            error = posix_spawn_file_actions_adddup2(&files, theirs[i], i);
        error = error ? error : posix_spawn_file_actions_addclosefrom_np(&files, 3);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setpgroup(&attributes, 0); /* a terminal's ctrl-c is the daemon's to handle */
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        error = error ? error : posix_spawn(&p->pid, path, &files, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&files);
    return error;
}

static int start(mic_process *p, const char *path, const char *const *arguments)
{
    char parent[16];
    const char *argv[N_ARGUMENTS + 3] = {path, arguments[0], parent};
    for (int i = 1; i < N_ARGUMENTS && arguments[i]; i++)
        argv[i + 2] = arguments[i];
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    int ask[2] = {-1, -1}, say[2] = {-1, -1}, chat[2] = {-1, -1};
    int error = pipe2(ask, O_CLOEXEC) || pipe2(say, O_CLOEXEC) || pipe2(chat, O_CLOEXEC) ? errno : 0;
    const int theirs[3] = {ask[0], say[1], chat[1]};
    if (!error)
        error = spawn(p, path, (char *const *)argv, theirs);
    close_fd(&ask[0]);
    close_fd(&say[1]);
    close_fd(&chat[1]);
    p->ask = ask[1];
    p->say = say[0];
    p->chat = chat[0];
    return error;
}

/* Those that have ended meanwhile are reaped. Returns how many are left. */
static int count_stuck(void)
{
    pthread_mutex_lock(&stuck.lock);
    for (int i = 0; i < stuck.n;)
        if (waitpid(stuck.pids[i], NULL, WNOHANG) != 0)
            stuck.pids[i] = stuck.pids[--stuck.n];
        else
            i++;
    int n = stuck.n;
    pthread_mutex_unlock(&stuck.lock);
    return n;
}

static void add_stuck(pid_t pid)
{
    pthread_mutex_lock(&stuck.lock);
    if (stuck.n < MOST_STUCK)
        stuck.pids[stuck.n++] = pid;
    pthread_mutex_unlock(&stuck.lock);
}

omnid_status mic_process_start(mic_process **out, const char *const *arguments, omnid_error *err)
{
    char path[4096];
    *out = NULL;
    int n_stuck = count_stuck();
    if (n_stuck == MOST_STUCK)
        return omnid_fail(
            err, OMNID_DEVICE,
            "%d of the microphones' helper programs hang in the kernel: no other is started until one ends; "
            "unplug the card, or restart the machine",
            n_stuck);
    mic_process *p = calloc(1, sizeof *p);
    if (!p)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a microphone");
    find_helper(path, sizeof path);
    int error = start(p, path, arguments);
    if (!error) {
        fcntl(p->say, F_SETFL, O_NONBLOCK);
        fcntl(p->chat, F_SETFL, O_NONBLOCK);
        *out = p;
        return OMNID_OK;
    }
    p->pid = 0;
    mic_process_stop(&p);
    if (error == ENOENT || error == EACCES)
        return omnid_fail(err, OMNID_NOT_FOUND,
                          "the microphones' helper program '%.300s' is not there or cannot be run: install it beside "
                          "omnid, or name it in OMNID_MIC_HELPER",
                          path);
    return omnid_fail(err, OMNID_DEVICE, "the microphones' helper program '%.300s' does not start: %s", path,
                      strerror(error));
}

/* ---- what it says ---- */

/* Its complaints, a line each, for those who look for them: ALSA and JACK say much that is no fault. */
static void read_chatter(mic_process *p)
{
    char text[CHATTER];
    ssize_t n = read(p->chat, text, sizeof text);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            close_fd(&p->chat);
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        bool end = text[i] == '\n' || p->n_chatter == CHATTER - 1;
        if (end && p->n_chatter)
            omnid_log(OMNID_LOG_DEBUG, "omnid-mic: %.*s", p->n_chatter, p->chatter);
        if (end)
            p->n_chatter = 0;
        if (text[i] != '\n')
            p->chatter[p->n_chatter++] = (unsigned char)text[i] < ' ' ? ' ' : text[i];
    }
}

/* Whether a message may have this payload. */
static bool is_sane(const mic_wire_head *h)
{
    switch (h->kind) {
    case MIC_WIRE_OPENED:
        return h->n_bytes == sizeof(mic_wire_opened);
    case MIC_WIRE_SOUND:
        return h->n_bytes && h->n_bytes % sizeof(float) == 0 && h->n_bytes <= MIC_WIRE_SAMPLES * sizeof(float);
    case MIC_WIRE_DEVICE:
        return h->n_bytes == sizeof(capture_device);
    case MIC_WIRE_DONE:
        return !h->n_bytes;
    case MIC_WIRE_ERROR:
        return h->n_bytes == sizeof(omnid_error);
    default:
        return false;
    }
}

/* A byte that is neither 0 nor 1 is no bool yet. */
static void make_bool(bool *b)
{
    unsigned char byte;
    memcpy(&byte, b, sizeof byte);
    *b = byte != 0;
}

/* Every text ends, every number is one of its kind. */
static bool make_sane(mic_process *p)
{
    mic_wire_payload *x = &p->payload;
    capture_device *d = &x->device;
    switch (p->head.kind) {
    case MIC_WIRE_OPENED:
        x->opened.name[sizeof x->opened.name - 1] = '\0';
        break;
    case MIC_WIRE_DEVICE:
        make_bool(&d->video);
        make_bool(&d->usable);
        d->uri[sizeof d->uri - 1] = d->path[sizeof d->path - 1] = d->name[sizeof d->name - 1] = '\0';
        d->bus[sizeof d->bus - 1] = d->serial[sizeof d->serial - 1] = '\0';
        d->choice[sizeof d->choice - 1] = d->why[sizeof d->why - 1] = '\0';
        break;
    case MIC_WIRE_ERROR:
        x->error.text[sizeof x->error.text - 1] = '\0';
        return (unsigned)x->error.status < OMNID_N_STATUS && x->error.status > OMNID_END;
    default:
        break;
    }
    return true;
}

/* Waits REAP_MS at most for its end. False: it lives. */
static bool reap(mic_process *p, int wait_ms, int *how)
{
    for (int waited_ms = 0;; waited_ms += 5) {
        pid_t pid = waitpid(p->pid, how, WNOHANG);
        if (pid == p->pid || (pid < 0 && errno != EINTR)) {
            p->pid = 0;
            return true;
        }
        if (waited_ms >= wait_ms)
            return false;
        poll(NULL, 0, 5);
    }
}

static omnid_status tell_end(mic_process *p, omnid_error *err)
{
    int how = 0;
    close_fd(&p->say);
    if (!p->pid || !reap(p, REAP_MS, &how))
        return omnid_fail(err, OMNID_DEVICE, "the microphones' helper program went silent");
    if (WIFSIGNALED(how))
        return omnid_fail(err, OMNID_DEVICE, "the microphones' helper program died: signal %d (%s)", WTERMSIG(how),
                          strsignal(WTERMSIG(how)));
    return omnid_fail(err, OMNID_DEVICE, "the microphones' helper program left with status %d and without a word",
                      WEXITSTATUS(how));
}

/* Reads on into the head, then the payload. OK: the message is whole. */
static omnid_status read_some(mic_process *p, omnid_error *err)
{
    for (;;) {
        size_t n_head = sizeof p->head;
        bool in_head = p->n_read < n_head;
        char *to = in_head ? (char *)&p->head + p->n_read : (char *)&p->payload + (p->n_read - n_head);
        size_t want = (in_head ? n_head : n_head + p->head.n_bytes) - p->n_read;
        ssize_t n = want ? read(p->say, to, want) : 0;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? OMNID_AGAIN : tell_end(p, err);
        if (want && n == 0)
            return tell_end(p, err);
        p->n_read += (size_t)n;
        if (p->n_read == n_head && in_head && (p->head.magic != MIC_WIRE_MAGIC || !is_sane(&p->head)))
            return omnid_fail(err, OMNID_FORMAT,
                              "the microphones' helper program speaks another language: want the "
                              "omnid-mic of this build");
        if (p->n_read >= n_head && p->n_read == n_head + p->head.n_bytes)
            return OMNID_OK;
    }
}

omnid_status mic_process_read(mic_process *p, mic_wire_head *head, const mic_wire_payload **payload, int timeout_ms,
                              omnid_error *err)
{
    if (p->say < 0)
        return tell_end(p, err);
    for (int64_t until_us = omnid_clock_us() + (int64_t)timeout_ms * 1000;;) {
        omnid_status status = read_some(p, err);
        if (status == OMNID_OK)
            break;
        int64_t left_us = until_us - omnid_clock_us();
        if (status != OMNID_AGAIN || left_us <= 0)
            return status;
        struct pollfd fds[2] = {{p->say, POLLIN, 0}, {p->chat, POLLIN, 0}};
        poll(fds, 2, (int)(left_us / 1000) + 1);
        if (fds[1].revents)
            read_chatter(p);
    }
    p->n_read = 0;
    if (!make_sane(p))
        return omnid_fail(err, OMNID_FORMAT, "the microphones' helper program tells an error without a status");
    *head = p->head;
    *payload = &p->payload;
    if (p->head.kind != MIC_WIRE_ERROR)
        return OMNID_OK;
    return omnid_fail(err, p->payload.error.status, "%s", p->payload.error.text);
}

void mic_process_stop(mic_process **out)
{
    mic_process *p = *out;
    *out = NULL;
    if (!p)
        return;
    int how;
    close_fd(&p->ask); /* it sees the end of its input; a full pipe must not hold it */
    close_fd(&p->say);
    close_fd(&p->chat);
    if (p->pid > 0 && !reap(p, LEAVE_MS, &how)) {
        omnid_log(OMNID_LOG_WARNING, "the microphones' helper program does not leave; killed");
        kill(p->pid, SIGKILL);
        if (!reap(p, KILL_MS, &how)) {
            omnid_log(OMNID_LOG_ERROR,
                      "the microphones' helper program, pid %d, cannot be killed: its card hangs in "
                      "the kernel",
                      (int)p->pid);
            add_stuck(p->pid);
        }
    }
    free(p);
}
