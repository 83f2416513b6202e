/* test_service_notify.c: the daemon under a service manager that is this test: a datagram socket at $NOTIFY_SOCKET. */
#include "harness.h"

#include "base/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

enum { WATCHDOG_US = 2000000, PATIENCE_S = 30 };

typedef struct {
    int fd;
    char folder[32], path[64], model[128];
    char *heard; /* every message, in brackets, in order */
    size_t n_heard;
} manager;

static void manager_open(manager *m, const char *model)
{
    memset(m, 0, sizeof *m);
    strcpy(m->folder, "/tmp/omnid-manager-XXXXXX");
    assert_non_null(mkdtemp(m->folder));
    snprintf(m->path, sizeof m->path, "%s/notify", m->folder);
    m->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", m->path);
    assert_int_equal(bind(m->fd, (struct sockaddr *)&address, sizeof address), 0);
    make_fake_model(m->model, sizeof m->model, model);
    m->heard = calloc(1, 1);
}

static void manager_close(manager *m)
{
    close(m->fd);
    remove_folder(m->folder);
    remove_folder(m->model);
    free(m->heard);
}

/* Starts a daemon with what systemd would set; args as process_start's, the model added. */
static void manager_start(manager *m, process *p, const char *const *args)
{
    const char *all[16] = {NULL};
    char model[160], watchdog[32];
    int n = 0;
    snprintf(model, sizeof model, "--model=%s", m->model);
    snprintf(watchdog, sizeof watchdog, "%d", WATCHDOG_US);
    all[n++] = model;
    while (args && *args && n < 15)
        all[n++] = *args++;
    setenv("NOTIFY_SOCKET", m->path, 1);
    setenv("WATCHDOG_USEC", watchdog, 1);
    process_start(p, OMNID_FAKE, all);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
}

static void manager_listen(manager *m)
{
    char message[2048];
    for (ssize_t n; (n = recv(m->fd, message, sizeof message, 0)) >= 0;) {
        m->heard = realloc(m->heard, m->n_heard + (size_t)n + 3);
        assert_non_null(m->heard);
        m->n_heard += (size_t)sprintf(m->heard + m->n_heard, "[%.*s]", (int)n, message);
    }
}

/* Listens until text was heard behind offset `from`; where it stands. */
static size_t manager_wait(manager *m, const char *text, size_t from)
{
    for (int64_t until = omnid_clock_us() + PATIENCE_S * 1000000LL; omnid_clock_us() < until; sleep_ms(10)) {
        manager_listen(m);
        const char *at = strstr(m->heard + from, text);
        if (at)
            return (size_t)(at - m->heard);
    }
    fail_msg("did not hear %s in: %s", text, m->heard + from);
    return 0;
}

static void a_life_is_told_in_order(void **state)
{
    (void)state;
    manager m;
    process p;
    manager_open(&m, "slow");
    manager_start(&m, &p, NULL);
    size_t more_time = manager_wait(&m, "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=loading the model: ", 0);
    size_t ready = manager_wait(&m, "[READY=1\nSTATUS=segments ", more_time);
    size_t fed = manager_wait(&m, "[WATCHDOG=1]", ready);
    size_t segment = manager_wait(&m, "[STATUS=segments ", ready);
    manager_wait(&m, "[WATCHDOG=1]", fed + 1);
    assert_true(strstr(m.heard, "READY=1") == m.heard + ready + 1); /* not before */
    assert_null(strstr(m.heard + ready + 2, "READY=1"));            /* and once */
    assert_null(strstr(m.heard + ready, "EXTEND_TIMEOUT"));
    int n_percents = 0; /* more than one is told while it loads */
    for (const char *at = m.heard; (at = strstr(at, "loading the model")) && at < m.heard + ready; at++)
        n_percents++;
    assert_true(n_percents > 3);
    kill(p.pid, SIGTERM);
    manager_wait(&m, "[STOPPING=1\nSTATUS=the daemon is stopping]", segment);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
    manager_close(&m);
}

static void a_hanging_engine_starves_the_watchdog(void **state)
{
    (void)state;
    manager m;
    process p;
    client c;
    manager_open(&m, "quick");
    manager_start(&m, &p, NULL);
    manager_wait(&m, "[WATCHDOG=1]", 0);
    process_wait_segments(&p, NULL, 1);
    client_open(&c, &p, ZMQ_DEALER);
    client_send(&c, "{\"op\":\"ask\",\"id\":1,\"question\":\"wedge\"}");
    bool told = false;
    for (int i = 0; i < PATIENCE_S * 20 && !told; i++) {
        char *log = process_log(&p);
        told = strstr(log, "the watchdog is not fed any more");
        free(log);
        sleep_ms(told ? 0 : 50);
    }
    assert_true(told);
    manager_listen(&m);
    size_t from = m.n_heard;
    size_t status = manager_wait(&m, "[STATUS=segments ", from); /* the loop lives, segments go on: */
    manager_wait(&m, "[STATUS=segments ", status + 1);           /* 2 s and more, as long as the watchdog waits */
    assert_null(strstr(m.heard + from, "WATCHDOG"));
    client_send(&c, "{\"op\":\"cancel\",\"id\":1}"); /* the engine comes back */
    manager_wait(&m, "[WATCHDOG=1]", from);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
    manager_close(&m);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void wait_log(const process *p, const char *sentence)
{
    for (int i = 0; i < PATIENCE_S * 20; i++) {
        char *log = process_log(p);
        bool found = strstr(log, sentence);
        free(log);
        if (found)
            return;
        sleep_ms(50);
    }
    fail_msg("not logged: %s", sentence);
}

static void sighup_reads_the_configuration_again(void **state)
{
    (void)state;
    manager m;
    process p;
    client c;
    char path[64], option[96];
    manager_open(&m, "quick");
    snprintf(path, sizeof path, "%s/omnid.conf", m.folder);
    snprintf(option, sizeof option, "--config=%s", path);
    write_file(path, "[camera door]\nvideo = test:\nretention = 30\n");
    manager_start(&m, &p, (const char *[]){option, NULL});
    process_wait_ready(&p);
    size_t ready = manager_wait(&m, "READY=1", 0);
    client_open(&c, &p, ZMQ_DEALER);

    write_file(path, "[answers]\nmax_open_client = 2\n[camera door]\nvideo = test:ball\nretention = 20\n");
    kill(p.pid, SIGHUP);
    size_t reloading = manager_wait(&m, "[RELOADING=1\nMONOTONIC_USEC=", ready);
    size_t again = manager_wait(&m, "[READY=1\nSTATUS=configuration ", reloading);
    wait_log(&p, "in force now: [answers] max_open_client, [camera door] retention; waits for a restart: "
                 "[camera door] video");
    json_t *status = client_ask(&c, "{\"op\":\"status\"}");
    assert_string_equal(text_at(status, "cameras.0.retention"), "20");
    assert_int_equal(number_at(status, "limits.open_client"), 2);
    json_decref(status);

    write_file(path, "[answers]\nmax_open_client = 1\n[camera door]\nvideo = test:\nretention = much\n");
    kill(p.pid, SIGHUP);
    manager_wait(&m, "[READY=1\nSTATUS=", again + 1);
    wait_log(&p, "not reloaded, the configuration as it was stays in force: ");
    wait_log(&p, "'much'");
    status = client_ask(&c, "{\"op\":\"status\"}");
    assert_string_equal(text_at(status, "state"), "ready");
    assert_string_equal(text_at(status, "cameras.0.retention"), "20");
    assert_int_equal(number_at(status, "limits.open_client"), 2);
    json_decref(status);

    unlink(path); /* gone is not empty */
    kill(p.pid, SIGHUP);
    wait_log(&p, "No such file or directory");
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
    manager_close(&m);
}

static void what_stops_a_start_is_told(void **state)
{
    (void)state;
    manager m;
    process p;
    manager_open(&m, "broken");
    manager_start(&m, &p, NULL);
    manager_wait(&m, "[STOPPING=1\nSTATUS=", 0);
    assert_non_null(strstr(m.heard, "header is torn]"));
    assert_null(strstr(m.heard, "READY"));
    assert_int_equal(process_wait(&p, PATIENCE_S * 1000), 66);
    remove_folder(p.folder);
    manager_start(&m, &p, (const char *[]){"--camera.a.video=tset:", NULL});
    manager_wait(&m, "tset", 0);
    assert_int_equal(process_wait(&p, PATIENCE_S * 1000), 3);
    remove_folder(p.folder);
    manager_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_is_told_in_order),
        cmocka_unit_test(a_hanging_engine_starves_the_watchdog),
        cmocka_unit_test(sighup_reads_the_configuration_again),
        cmocka_unit_test(what_stops_a_start_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
