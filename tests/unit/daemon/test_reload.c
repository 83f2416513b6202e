/* test_reload.c: which settings a running daemon takes, and that a wrong file changes none. */
#include "daemon/reload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL   "model.path=" OMNID_SOURCE_DIR "/tests/golden/data/M1/model"
#define CAMERAS "[camera door]\nvideo = test:\n[camera yard]\nvideo = test:ball\nretention = 40\n"

static const char *const overrides[] = {MODEL, "answers.max_tokens=99"};

typedef struct {
    char path[64];
    settings live;
    reload reload;
    omnid_error err;
    char *report;
} fixture;

static void write_file(const fixture *f, const char *text)
{
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int start(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->path, "/tmp/omnid-reload-XXXXXX");
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    write_file(f, "[answers]\ntemperature = 0.5\n" CAMERAS);
    assert_int_equal(settings_load(&f->live, f->path, overrides, 2, &f->err), OMNID_OK);
    f->reload = (reload){&f->live, f->path, overrides, 2};
    *state = f;
    return 0;
}

static int stop(void **state)
{
    fixture *f = *state;
    settings_clear(&f->live);
    unlink(f->path);
    g_free(f->report);
    free(f);
    return 0;
}

static omnid_status again(fixture *f, const char *text)
{
    write_file(f, text);
    g_clear_pointer(&f->report, g_free);
    return reload_run(&f->reload, &f->report, &f->err);
}

static void nothing_changed_is_said(void **state)
{
    fixture *f = *state;
    assert_int_equal(again(f, "[answers]\ntemperature = 0.5\n" CAMERAS), OMNID_OK);
    assert_non_null(strstr(f->report, ": nothing has changed"));
    assert_non_null(strstr(f->report, f->path));
}

static void what_may_change_does_and_the_rest_is_named(void **state)
{
    fixture *f = *state;
    assert_int_equal(again(f, "[omnid]\nlog = debug\n[timeline]\nwindow_s = 128\n"
                              "[answers]\nmax_tokens = 7\ntop_p = 0.9\nretention = 20\nnow = false\n"
                              "[camera door]\nvideo = test:clock\n[camera yard]\nvideo = test:ball\nretention = 40\n"),
                     OMNID_OK);
    const options_daemon *d = &f->live.daemon;
    assert_string_equal(d->omnid_log, "debug");
    assert_true(d->answers_temperature == 0); /* back to its default: it is not in the file any more */
    assert_true(d->answers_top_p == 0.9);
    assert_false(d->answers_now);
    assert_int_equal(d->answers_max_tokens, 99); /* the command line still goes over the file */
    assert_string_equal(f->live.cameras[0].retention, "20");
    assert_string_equal(f->live.cameras[1].retention, "40");
    assert_string_equal(f->live.cameras[0].video, "test:"); /* these wait */
    assert_int_equal(d->timeline_window_s, 64);
    assert_int_equal(f->live.cameras[0].window_s, 64);
    const char *later = strstr(f->report, "; waits for a restart: ");
    assert_non_null(later);
    for (const char *const *key =
             (const char *const[]){"[omnid] log", "[answers] temperature", "[answers] top_p", "[answers] retention",
                                   "[answers] now", "[camera door] retention", NULL};
         *key; key++) {
        const char *found = strstr(f->report, *key);
        if (!found || found > later)
            fail_msg("%s is not among what is in force: %s", *key, f->report);
    }
    assert_non_null(strstr(later, "[timeline] window_s"));
    assert_non_null(strstr(later, "[camera door] video"));
    assert_non_null(strstr(later, "[camera door] window_s"));
    assert_null(strstr(f->report, "max_tokens"));
    assert_null(strstr(f->report, "[camera yard] retention"));
    assert_null(strstr(f->report, "[camera yard] video"));
}

static void cameras_that_come_and_go_wait(void **state)
{
    fixture *f = *state;
    assert_int_equal(
        again(f, "[answers]\ntemperature = 0.5\n[camera hall]\nvideo = test:\n[camera door]\nvideo = test:\n"),
        OMNID_OK);
    assert_int_equal(f->live.n_cameras, 2);
    assert_non_null(strstr(f->report, "waits for a restart: [camera yard] is gone, [camera hall] is new"));
}

/* Each is refused with a sentence, and the settings are those from before. */
static void wrong_files_change_nothing(void **state)
{
    fixture *f = *state;
    const struct {
        const char *text, *sentence;
    } wrong[] = {
        {"[answers]\ntop_p = 0.5\nmax_tokns = 3\n" CAMERAS, "max_tokns"},
        {"[answers]\ntop_p = 0.5\ntemperature = hot\n" CAMERAS, "'hot'"},
        {"[answers]\ntop_p = 0.5\n[camera door]\nvideo = tset:\n", "tset"},
        {"[answers]\ntop_p = 0.5\nretention = some\n" CAMERAS, "'some'"},
        {"[answers]\ntop_p = 0.5\ndeadline_ms = 5000\nmax_deadline_ms = 4000\n" CAMERAS, "max_deadline_ms"},
        {"[answers\ntop_p = 0.5\n", f->path},
        {"\xff\xfe[answers]", f->path},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(again(f, wrong[i].text), OMNID_OK);
        assert_null(f->report);
        if (!strstr(f->err.text, wrong[i].sentence))
            fail_msg("no %s in: %s", wrong[i].sentence, f->err.text);
        assert_true(f->live.daemon.answers_top_p == 1);
        assert_true(f->live.daemon.answers_temperature == 0.5);
    }
    unlink(f->path);
    assert_int_equal(reload_run(&f->reload, &f->report, &f->err), OMNID_NOT_FOUND);
    assert_non_null(strstr(f->err.text, f->path));
    assert_int_equal(mkdir(f->path, 0700), 0); /* a folder cannot be read either */
    assert_int_not_equal(reload_run(&f->reload, &f->report, &f->err), OMNID_OK);
    rmdir(f->path);
    assert_true(f->live.daemon.answers_temperature == 0.5 && f->live.n_cameras == 2);
}

/* Right as a whole, wrong beside a value that waits for a restart. */
static void half_of_a_change_is_refused(void **state)
{
    fixture *f = *state;
    write_file(f, "[timeline]\nintra = false\n[answers]\nretention = none\n[camera door]\nvideo = test:\n");
    settings_clear(&f->live);
    assert_int_equal(settings_load(&f->live, f->path, overrides, 2, &f->err), OMNID_OK);
    assert_int_equal(
        again(f, "[timeline]\nintra = true\n[answers]\nretention = 30\ntop_p = 0.5\n[camera door]\nvideo = test:\n"),
        OMNID_FORMAT);
    assert_non_null(strstr(f->err.text, "wait for one ([timeline] intra)"));
    assert_string_equal(f->live.cameras[0].retention, "none");
    assert_true(f->live.daemon.answers_top_p == 1);
}

/* A key that the list of options_reloads misspells would never match. */
static void as_many_settings_reload_as_are_listed(void **state)
{
    (void)state;
    size_t n = 0, n_reload = 0;
    const option *rows = options_table(&n);
    for (size_t i = 0; i < n; i++)
        n_reload += options_reloads(&rows[i]);
    assert_int_equal(n_reload, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_changed_is_said, start, stop),
        cmocka_unit_test_setup_teardown(what_may_change_does_and_the_rest_is_named, start, stop),
        cmocka_unit_test_setup_teardown(cameras_that_come_and_go_wait, start, stop),
        cmocka_unit_test_setup_teardown(wrong_files_change_nothing, start, stop),
        cmocka_unit_test_setup_teardown(half_of_a_change_is_refused, start, stop),
        cmocka_unit_test(as_many_settings_reload_as_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
