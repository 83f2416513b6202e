/* test_log.c: the level, the sink, long lines, and lines of several threads that do not run into each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

typedef struct {
    int n_lines;
    omnid_log_level level;
    char line[2048];
    bool inside; /* a call is in progress */
    bool overlapped;
} record;

static void take(void *user, omnid_log_level level, const char *line)
{
    record *r = user;
    r->overlapped = r->overlapped || r->inside;
    r->inside = true;
    r->n_lines++;
    r->level = level;
    snprintf(r->line, sizeof r->line, "%s", line);
    r->inside = false;
}

static void test_level_and_sink(void **state)
{
    (void)state;
    record r = {0};
    omnid_log_set(OMNID_LOG_WARNING, take, &r);
    omnid_log(OMNID_LOG_INFO, "not told");
    assert_int_equal(r.n_lines, 0);
    omnid_log(OMNID_LOG_WARNING, "camera %s: %d frames late", "door", 3);
    assert_int_equal(r.n_lines, 1);
    assert_int_equal(r.level, OMNID_LOG_WARNING);
    assert_string_equal(r.line, "camera door: 3 frames late");
    omnid_log_set(OMNID_LOG_DEBUG, take, &r);
    omnid_log(OMNID_LOG_DEBUG, "told");
    assert_int_equal(r.n_lines, 2);
    omnid_log_set(OMNID_LOG_INFO, NULL, NULL);
}

static void test_long_line_is_cut(void **state)
{
    (void)state;
    char text[3000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    record r = {0};
    omnid_log_set(OMNID_LOG_INFO, take, &r);
    omnid_log(OMNID_LOG_INFO, "%s", text);
    assert_int_equal(r.n_lines, 1);
    assert_true(strlen(r.line) >= 1000 && strlen(r.line) < 2047);
    omnid_log_set(OMNID_LOG_INFO, NULL, NULL);
}

/* Without a sink a line goes to stderr, with its level. */
static void test_stderr(void **state)
{
    (void)state;
    int pipes[2], saved = dup(STDERR_FILENO);
    char text[200] = "";
    assert_true(saved >= 0 && pipe(pipes) == 0);
    fflush(stderr);
    dup2(pipes[1], STDERR_FILENO);
    omnid_log_set(OMNID_LOG_INFO, NULL, NULL);
    omnid_log(OMNID_LOG_DEBUG, "dropped");
    omnid_log(OMNID_LOG_ERROR, "no model at %s", "here");
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(pipes[1]);
    ssize_t n = read(pipes[0], text, sizeof text - 1);
    close(pipes[0]);
    close(saved);
    assert_true(n > 0);
    assert_string_equal(text, "omnid: error: no model at here\n");
}

enum { N_THREADS = 4, N_LINES = 500 };

static void *talk(void *unused)
{
    (void)unused;
    for (int i = 0; i < N_LINES; i++)
        omnid_log(OMNID_LOG_INFO, "line %d", i);
    return NULL;
}

static void test_one_line_at_a_time(void **state)
{
    (void)state;
    record r = {0};
    pthread_t threads[N_THREADS];
    omnid_log_set(OMNID_LOG_INFO, take, &r);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, NULL), 0);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    omnid_log_set(OMNID_LOG_INFO, NULL, NULL);
    assert_int_equal(r.n_lines, N_THREADS * N_LINES);
    assert_false(r.overlapped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_and_sink),
        cmocka_unit_test(test_long_line_is_cut),
        cmocka_unit_test(test_stderr),
        cmocka_unit_test(test_one_line_at_a_time),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
