/* test_server_process.c: the daemon as a process: loading, stopping, the lock, modes of its files, exit codes. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

static char quick[128], slow[128], broken[128], failing[128], lost[128];

static int make_models(void **state)
{
    (void)state;
    make_fake_model(quick, sizeof quick, "quick");
    make_fake_model(slow, sizeof slow, "slow");
    make_fake_model(broken, sizeof broken, "broken");
    make_fake_model(failing, sizeof failing, "failing");
    make_fake_model(lost, sizeof lost, "lost");
    return 0;
}

static int remove_models(void **state)
{
    (void)state;
    remove_folder(quick);
    remove_folder(slow);
    remove_folder(broken);
    remove_folder(failing);
    remove_folder(lost);
    return 0;
}

static void start(process *p, const char *model, const char *extra)
{
    char option[160];
    snprintf(option, sizeof option, "--model=%s", model);
    process_start(p, OMNID_FAKE, (const char *[]){option, extra, NULL});
}

static void questions_while_loading_get_percent(void **state)
{
    (void)state;
    process p;
    client c;
    start(&p, slow, NULL);
    client_open(&c, &p, ZMQ_DEALER);
    double last = -1, n_loading = 0;
    for (;;) {
        json_t *reply = client_ask(&c, "{\"op\":\"ask\",\"question\":\"x\",\"stream\":false}");
        bool loading = json_object_get(reply, "code") && strcmp(text_at(reply, "code"), "loading") == 0;
        if (loading) {
            assert_true(number_at(reply, "percent") >= last && number_at(reply, "percent") < 100);
            last = number_at(reply, "percent");
            n_loading++;
        }
        json_decref(reply);
        if (!loading)
            break;
        sleep_ms(20);
    }
    assert_true(n_loading > 10 && last > 50);
    json_t *status = client_ask(&c, "{\"op\":\"status\"}");
    assert_true(number_at(status, "percent") == 100);
    json_decref(status);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

static void sigterm_ends_answers_and_removes_the_sockets(void **state)
{
    (void)state;
    process p;
    client c;
    start(&p, quick, NULL);
    process_wait_segments(&p, NULL, 1);
    client_open(&c, &p, ZMQ_DEALER);
    client_send(&c, "{\"op\":\"ask\",\"id\":5,\"question\":\"hang\"}");
    json_decref(client_ask(&c, "{\"op\":\"status\"}")); /* the question is in */
    kill(p.pid, SIGTERM);
    json_t *end = client_receive(&c, 5000);
    assert_non_null(end);
    assert_string_equal(text_at(end, "code"), "stopping");
    assert_int_equal(number_at(end, "id"), 5);
    json_decref(end);
    assert_int_equal(process_wait(&p, 2000), 0);
    assert_int_equal(access(p.ask, F_OK), -1);
    assert_int_equal(access(p.events, F_OK), -1);
    client_close(&c);
    remove_folder(p.folder);
}

static void stops_within_two_seconds_whatever_it_does(void **state)
{
    (void)state;
    process p;
    double seconds = 0;
    start(&p, slow, NULL); /* while loading */
    for (int i = 0; i < 600 && access(p.ask, F_OK) != 0; i++)
        sleep_ms(50);
    assert_int_equal(process_stop(&p, SIGINT, &seconds), 0);
    assert_true(seconds < 2);
    start(&p, quick, "--camera.x.video=test:stuck"); /* with a camera that does not let go */
    process_wait_ready(&p);
    assert_int_equal(process_stop(&p, SIGTERM, &seconds), 0);
    assert_true(seconds < 2);
    char option[160]; /* with a source that waits for the engine */
    snprintf(option, sizeof option, "--model=%s", quick);
    process_start(&p, OMNID_FAKE, (const char *[]){option, "--camera.x.video=test:", "--camera.x.fast=true", NULL});
    process_wait_ready(&p);
    assert_int_equal(process_stop(&p, SIGTERM, &seconds), 0);
    assert_true(seconds < 2);
}

static void a_second_daemon_is_refused(void **state)
{
    (void)state;
    process first, second;
    client c;
    char option[160];
    start(&first, quick, NULL);
    process_wait_ready(&first);
    snprintf(option, sizeof option, "--model=%s", quick);
    process_start_in(&second, first.folder, OMNID_FAKE, (const char *[]){option, NULL});
    assert_int_equal(process_wait(&second, 10000), 69);
    char *log = process_log(&second);
    assert_non_null(strstr(log, "another omnid already serves"));
    free(log);
    client_open(&c, &first, ZMQ_DEALER); /* the first has kept its sockets */
    json_t *status = client_ask(&c, "{\"op\":\"status\"}");
    assert_string_equal(text_at(status, "state"), "ready");
    json_decref(status);
    client_close(&c);
    kill(first.pid, SIGKILL); /* what a killed daemon leaves does not keep the next from starting */
    assert_int_equal(process_wait(&first, 5000), 128 + SIGKILL);
    assert_int_equal(access(first.ask, F_OK), 0);
    process_start_in(&second, first.folder, OMNID_FAKE, (const char *[]){option, NULL});
    process_wait_ready(&second);
    assert_int_equal(process_stop(&second, SIGTERM, NULL), 0);
}

static void folder_and_sockets_are_for_the_group_only(void **state)
{
    (void)state;
    process p;
    char parent[] = "/tmp/omnid-test-XXXXXX", option[160], folder[128], path[160];
    struct stat st;
    assert_non_null(mkdtemp(parent));
    snprintf(folder, sizeof folder, "--omnid.runtime_dir=%s/run", parent);
    snprintf(option, sizeof option, "--model=%s", quick);
    mode_t old = umask(0);
    process_start(&p, OMNID_FAKE, (const char *[]){option, folder, NULL});
    umask(old);
    snprintf(p.ask, sizeof p.ask, "%s/run/ask.sock", parent);
    process_wait_ready(&p);
    snprintf(path, sizeof path, "%s/run", parent);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(stat(p.ask, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    snprintf(path, sizeof path, "%s/run/events.sock", parent);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
    remove_folder(parent);
}

/* Starts with these arguments; it must leave by itself with the code and the words in its log. */
static void expect_exit(const char *const *args, int code, const char *words)
{
    process p;
    process_start(&p, OMNID_FAKE, args);
    int found = process_wait(&p, 10000);
    char *log = process_log(&p);
    if (found != code || !strstr(log, words))
        fail_msg("want exit %d and '%s', found %d and '%s'", code, words, found, log);
    free(log);
    remove_folder(p.folder);
}

static void exit_codes_and_sentences(void **state)
{
    (void)state;
    char m[160], b[160], f[160], l[160];
    snprintf(m, sizeof m, "--model=%s", quick);
    snprintf(b, sizeof b, "--model=%s", broken);
    snprintf(f, sizeof f, "--model=%s", failing);
    snprintf(l, sizeof l, "--model=%s", lost);
    expect_exit((const char *[]){"--model=/nowhere", NULL}, 66, "/nowhere: no such folder");
    expect_exit((const char *[]){b, NULL}, 66, "header is torn");
    expect_exit((const char *[]){f, NULL}, 70, "does not answer");
    expect_exit((const char *[]){l, NULL}, 70, "the fake device is lost");
    expect_exit((const char *[]){m, "--camera.a.video=tset:", NULL}, 3, "[camera a]: video: 'tset:'");
    expect_exit((const char *[]){m, "--camera.a.video=fails:", NULL}, 3, "neither picture nor sound");
    expect_exit((const char *[]){m, "--timeline.window=9", NULL}, 3, "nearest is window_s");
    expect_exit((const char *[]){m, "--config=/nowhere.conf", NULL}, 3, "/nowhere.conf");
    expect_exit((const char *[]){"--frobnicate", NULL}, 2, "frobnicate");
    expect_exit((const char *[]){"please", NULL}, 2, "unexpected argument 'please'");
    expect_exit((const char *[]){m, "--check", NULL}, 0, "camera default: video test:");
    expect_exit((const char *[]){m, "--check", "--answers.retention=loads", NULL}, 3, "found 'loads'");
    expect_exit((const char *[]){"--model=/nowhere", "--check", NULL}, 66, "/nowhere: no such folder");
    expect_exit((const char *[]){"--help", NULL}, 0, "--timeline.window_s=64");
    expect_exit((const char *[]){"--version", NULL}, 0, "omnid 0.");
    expect_exit((const char *[]){m, "--omnid.runtime_dir=/proc/x", NULL}, 71, "cannot make /proc/x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_while_loading_get_percent),
        cmocka_unit_test(sigterm_ends_answers_and_removes_the_sockets),
        cmocka_unit_test(stops_within_two_seconds_whatever_it_does),
        cmocka_unit_test(a_second_daemon_is_refused),
        cmocka_unit_test(folder_and_sockets_are_for_the_group_only),
        cmocka_unit_test(exit_codes_and_sentences),
    };
    return cmocka_run_group_tests(tests, make_models, remove_models);
}
