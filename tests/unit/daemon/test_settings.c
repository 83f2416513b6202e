/* test_settings.c: the table of options, the configuration file, the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/nearest.h"
#include "daemon/settings.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static omnid_status parse(settings *s, const char *text, const char *override, omnid_error *err)
{
    const char *overrides[] = {override};
    return settings_parse(s, text, strlen(text), overrides, override ? 1 : 0, err);
}

static void every_row_takes_its_own_default(void **state)
{
    (void)state;
    size_t n = 0;
    omnid_error err;
    const option *table = options_table(&n);
    assert_true(n > 30);
    for (size_t i = 0; i < n; i++) {
        options_daemon d;
        options_camera c;
        bool camera = strcmp(table[i].group, "camera") == 0;
        options_daemon_init(&d);
        options_camera_init(&c, "x");
        if (options_set(camera ? (void *)&c : (void *)&d, &table[i], table[i].default_text, &err) != OMNID_OK)
            fail_msg("%s", err.text);
        if (table[i].type == OPTION_INT || table[i].type == OPTION_REAL) /* and refuses what is no number */
            assert_int_equal(options_set(camera ? (void *)&c : (void *)&d, &table[i], "lots", &err), OMNID_FORMAT);
        options_daemon_clear(&d);
        options_camera_clear(&c);
    }
}

static void the_file_in_the_tree_is_what_is_printed(void **state)
{
    (void)state;
    char *printed = NULL, *file = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&printed, &n);
    options_print_config(out);
    fclose(out);
    assert_true(g_file_get_contents(OMNID_SOURCE_DIR "/config/omnid.conf", &file, NULL, NULL));
    assert_string_equal(printed, file);
    free(printed);
    g_free(file);
}

/* Uncommented, the printed file must mean the same as an empty one: its values are the defaults. */
static void the_printed_defaults_are_the_defaults(void **state)
{
    (void)state;
    settings empty, full;
    char *printed = NULL;
    size_t n = 0;
    omnid_error err;
    FILE *out = open_memstream(&printed, &n);
    options_print_config(out);
    fclose(out);
    GString *text = g_string_new(NULL);
    char **lines = g_strsplit(printed, "\n", -1);
    for (char **line = lines; *line && !g_str_has_prefix(*line, "#[camera"); line++)
        g_string_append_printf(text, "%s\n", (*line)[0] == '#' && (*line)[1] != ' ' ? *line + 1 : *line);
    if (parse(&full, text->str, NULL, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    assert_int_equal(parse(&empty, "", NULL, &err), OMNID_OK);
    assert_int_equal(full.daemon.timeline_window_s, 64);
    assert_int_equal(empty.daemon.timeline_window_s, 64);
    assert_true(empty.daemon.timeline_rho_a == full.daemon.timeline_rho_a && full.daemon.timeline_rho_a == 0.3);
    assert_int_equal(empty.daemon.answers_deadline_ms, full.daemon.answers_deadline_ms);
    assert_string_equal(empty.daemon.answers_retention, full.daemon.answers_retention);
    settings_clear(&full);
    settings_clear(&empty);
    g_strfreev(lines);
    g_string_free(text, TRUE);
    free(printed);
}

static void nothing_configured_is_the_demo(void **state)
{
    (void)state;
    settings s;
    omnid_error err;
    assert_int_equal(parse(&s, "", NULL, &err), OMNID_OK);
    assert_true(s.demo_camera && s.demo_model);
    assert_int_equal(s.n_cameras, 1);
    assert_string_equal(s.cameras[0].name, "default");
    assert_string_equal(s.cameras[0].video, "test:");
    assert_int_equal(s.cameras[0].window_s, 64);
    assert_string_equal(s.cameras[0].modes, "eager");
    settings_clear(&s);
}

static void cameras_inherit_and_override(void **state)
{
    (void)state;
    settings s;
    omnid_error err;
    assert_int_equal(
        parse(&s,
              "[timeline]\nwindow_s = 30\nmodes=offline\n[camera door]\nvideo = rtsp://x/y\\z;w\nretention=20\n"
              "[camera yard]\nvideo=test:\nwindow_s=100\n",
              "camera.hall.audio=test:", &err),
        OMNID_OK);
    assert_int_equal(s.n_cameras, 3);
    assert_false(s.demo_camera);
    assert_string_equal(s.cameras[0].video, "rtsp://x/y\\z;w"); /* backslashes stay */
    assert_int_equal(s.cameras[0].window_s, 30);
    assert_string_equal(s.cameras[0].retention, "20");
    assert_string_equal(s.cameras[0].policy, "omnidrop");
    assert_string_equal(s.cameras[1].retention, "30");
    assert_int_equal(s.cameras[1].window_s, 100);
    assert_string_equal(s.cameras[2].name, "hall");
    assert_string_equal(s.cameras[2].modes, "offline");
    settings_clear(&s);
}

static void overrides_win(void **state)
{
    (void)state;
    settings s;
    omnid_error err;
    assert_int_equal(parse(&s, "[model]\npath=/a\n", "model.path=/b=c", &err), OMNID_OK);
    assert_string_equal(s.model_path, "/b=c");
    assert_false(s.demo_model);
    settings_clear(&s);
}

static const struct {
    const char *text, *override, *words;
} bad[] = {
    {"[timelin]\n", NULL, "unknown group [timelin]; the nearest is [timeline]"},
    {"[camra door]\nvideo=test:\n", NULL, "the nearest is [camera NAME]"},
    {"[timeline]\nwindow = 3\n", NULL, "unknown key window in group [timeline]; the nearest is window_s"},
    {"[camera door]\nvido = test:\n", NULL, "the nearest is video"},
    {"[camera]\nvideo = test:\n", NULL, "camera name ''"},
    {"[camera a.b]\nvideo = test:\n", NULL, "camera name 'a.b'"},
    {"[timeline]\nwindow_s = 3\n", NULL, "want a whole number in 4..86400, found '3'"},
    {"[timeline]\nwindow_s = 64s\n", NULL, "found '64s'"},
    {"[timeline]\nwindow_s = \n", NULL, "found ''"},
    {"[timeline]\nrho_a = nan\n", NULL, "want a number in 0..1"},
    {"[timeline]\nintra = maybe\n", NULL, "want true or false, found 'maybe'"},
    {"[omnid]\nlog = loud\n", NULL, "want error|warning|info|debug, found 'loud'"},
    {"key = value\n", NULL, "configuration"},
    {"[timeline\n", NULL, "configuration"},
    {"", "timeline.windows=5", "the nearest is window_s"},
    {"", "timeline.window_s", "want --group.key=value"},
    {"", "camera.video=test:", "want --group.key=value or --camera.NAME.key=value"},
    {"", "camera.a.b.c=test:", "want --group.key=value"},
    {"", "answers.max_tokens=5000", "--answers.max_tokens: [answers] max_tokens: want a whole number in 1..4096"},
};

static void bad_settings_get_a_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        settings s;
        omnid_error err = {0};
        omnid_status status = parse(&s, bad[i].text, bad[i].override, &err);
        if (status == OMNID_OK || !strstr(err.text, bad[i].words))
            fail_msg("%s%s: want '%s', found '%s'", bad[i].text, bad[i].override ? bad[i].override : "", bad[i].words,
                     err.text);
        settings_clear(&s); /* harmless on a cleared one */
    }
}

static const struct {
    const char *text, *words; /* NULL: good */
} checks[] = {
    {"[camera a]\nvideo=test:\n", NULL},
    {"[camera a]\naudio=test:\n", NULL},
    {"[camera a]\naudio=none\n", "neither video nor audio"},
    {"[camera a]\nvideo=tset:\n", "[camera a]: video: 'tset:'"},
    {"[camera a]\nvideo=test:\nmodes=eager,lazy\n", "found 'lazy'"},
    {"[camera a]\nvideo=test:\nmodes=,\n", "found ''"},
    {"[camera a]\nvideo=test:\nretention=0\n", "retention: want none"},
    {"[camera a]\nvideo=test:\nretention=0.1,0.2,0.5\n", "retention: want none"},
    {"[camera a]\nvideo=test:\nretention=0.1,0.2,0.5,3.5\n", "retention: want none"},
    {"[camera a]\nvideo=test:\nretention=0.1,0.2,0.5,3,0.01\n", NULL},
    {"[camera a]\nvideo=test:\nhop_s=80\n", "hop_s: want at most window_s, 64, found 80"},
    {"[answers]\ndeadline_ms=700000\n", "max_deadline_ms"},
    {"[timeline]\nintra=false\n", "intra"},
    {"[model]\ncpus=0\n", NULL},
    {"[model]\ncpus=0-0,0\n", NULL},
    {"[model]\ncpus=1-\n", "[model]: cpus: want processors as 0-3,8, found '1-'"},
    {"[model]\ncpus=0,\n", "found '0,'"},
    {"[model]\ncpus=3-1\n", "found '3-1'"},
    {"[model]\ncpus=-1\n", "found '-1'"},
    {"[model]\ncpus=0 1\n", "found '0 1'"},
    {"[model]\ncpus=99999999999999999999\n", "want processors as"},
    {"[model]\ncpus=1023\n", "processor 1023 is not there"},
    {"[timeline]\nintra=false\n[answers]\nretention=none\n", NULL},
};

static void what_would_not_run_is_refused(void **state)
{
    (void)state;
    char folder[] = "/tmp/omnid-settings-XXXXXX", *file = NULL, override[64];
    assert_non_null(g_mkdtemp(folder));
    const char *names[] = {"config.json", "tokenizer.json"};
    for (int i = 0; i < 2; i++) {
        file = g_build_filename(folder, names[i], NULL);
        assert_true(g_file_set_contents(file, "{}", 2, NULL));
        g_free(file);
    }
    snprintf(override, sizeof override, "model.path=%s", folder);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        settings s;
        omnid_error err = {0};
        assert_int_equal(parse(&s, checks[i].text, override, &err), OMNID_OK);
        omnid_status status = settings_check(&s, &err);
        if ((status == OMNID_OK) != !checks[i].words || (checks[i].words && !strstr(err.text, checks[i].words)))
            fail_msg("%s: want '%s', found '%s'", checks[i].text, checks[i].words ? checks[i].words : "ok", err.text);
        settings_clear(&s);
    }
    for (int i = 0; i < 2; i++) { /* a folder that is no model */
        file = g_build_filename(folder, names[i], NULL);
        settings s;
        omnid_error err = {0};
        assert_true(i == 0 ? g_file_set_contents(file, "{", 1, NULL) : remove(file) == 0);
        assert_int_equal(parse(&s, "", override, &err), OMNID_OK);
        assert_int_equal(settings_check_model(&s, &err), i == 0 ? OMNID_FORMAT : OMNID_NOT_FOUND);
        assert_non_null(strstr(err.text, names[i]));
        settings_clear(&s);
        g_free(file);
    }
    file = g_build_filename(folder, names[0], NULL);
    remove(file);
    g_free(file);
    remove(folder);
}

static void examples_pass_their_check(void **state)
{
    (void)state;
    GDir *folder = g_dir_open(OMNID_SOURCE_DIR "/config/examples", 0, NULL);
    const char *name;
    int n = 0;
    assert_non_null(folder);
    while ((name = g_dir_read_name(folder))) {
        char *path = g_build_filename(OMNID_SOURCE_DIR "/config/examples", name, NULL);
        settings s;
        omnid_error err = {0};
        if (settings_load(&s, path, NULL, 0, &err) != OMNID_OK)
            fail_msg("%s", err.text);
        assert_true(s.n_cameras > 0 && !s.demo_camera);
        settings_clear(&s);
        g_free(path);
        n++;
    }
    g_dir_close(folder);
    assert_true(n >= 3);
}

static void nearest_words(void **state)
{
    (void)state;
    static const char *const names[] = {"window_s", "hop_s", "modes"};
    assert_string_equal(nearest_word("windows", names, 3), "window_s");
    assert_string_equal(nearest_word("MODES", names, 3), "modes");
    assert_string_equal(nearest_word("", names, 3), "hop_s");
    assert_string_equal(nearest_word("x", names, 0), "");
    char *longer = g_strnfill(5000, 'x');
    assert_non_null(nearest_word(longer, names, 3));
    g_free(longer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_takes_its_own_default),
        cmocka_unit_test(the_file_in_the_tree_is_what_is_printed),
        cmocka_unit_test(the_printed_defaults_are_the_defaults),
        cmocka_unit_test(nothing_configured_is_the_demo),
        cmocka_unit_test(cameras_inherit_and_override),
        cmocka_unit_test(overrides_win),
        cmocka_unit_test(bad_settings_get_a_sentence),
        cmocka_unit_test(what_would_not_run_is_refused),
        cmocka_unit_test(examples_pass_their_check),
        cmocka_unit_test(nearest_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
