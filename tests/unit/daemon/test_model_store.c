/* test_model_store.c: what names mean, and which store is looked through first. */
#include "daemon/model_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>
#include <glib/gstdio.h>

typedef struct {
    char *root, *mine, *data;
} world;

static void make_model(const char *store, const char *name, const char *config)
{
    char *folder = g_build_filename(store, name, NULL), *file = g_build_filename(folder, "config.json", NULL);
    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    if (config)
        assert_true(g_file_set_contents(file, config, -1, NULL));
    g_free(file);
    g_free(folder);
}

static int set_up(void **state)
{
    world *w = g_new0(world, 1);
    w->root = g_dir_make_tmp("omnid-store-XXXXXX", NULL);
    w->mine = g_build_filename(w->root, "mine", NULL);
    w->data = g_build_filename(w->root, "data", NULL);
    setenv("OMNID_MODELS", w->mine, 1);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    world *w = *state;
    char *command = g_strdup_printf("rm -rf '%s'", w->root);
    int status = system(command);
    unsetenv("OMNID_MODELS");
    g_free(command);
    g_free(w->root);
    g_free(w->mine);
    g_free(w->data);
    g_free(w);
    return status;
}

static void names(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *repository, *revision, *folder;
    } good[] = {
        {"qwen2.5-omni-3b", "qwen2.5-omni-3b", "Qwen/Qwen2.5-Omni-3B", "main", "qwen2.5-omni-3b"},
        {"Qwen2.5-Omni-7B", "qwen2.5-omni-7b", "Qwen/Qwen2.5-Omni-7B", "main", "qwen2.5-omni-7b"},
        {"Qwen/Qwen2.5-Omni-7B", "qwen2.5-omni-7b", "Qwen/Qwen2.5-Omni-7B", "main", "qwen2.5-omni-7b"},
        {"qwen2.5-omni-3b@v1", "qwen2.5-omni-3b@v1", "Qwen/Qwen2.5-Omni-3B", "v1", "qwen2.5-omni-3b@v1"},
        {"me/tuned_1", "me/tuned_1", "me/tuned_1", "main", "me--tuned_1"},
        {"me/tuned@refs/pr/3", "me/tuned@refs/pr/3", "me/tuned", "refs/pr/3", "me--tuned@refs--pr--3"},
    };
    static const char *const bad[] = {"",         "demo",      "a/b/c",   "../b",     "a/..", "a/b@",  "a/b@../x",
                                      "a/b@/etc", "/etc/mode", "a /b",    "a/b@x y",  ".a/b", "-a/b",  "a/b@-x",
                                      "a/",       "/b",        "a/b\n/c", "a/b@x//y", "é/b",  "a/b?c", "a/b@x?y"};
    omnid_error err;
    model_store_name n;
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        assert_int_equal(model_store_parse(&n, good[i].text, &err), OMNID_OK);
        assert_string_equal(n.name, good[i].name);
        assert_string_equal(n.repository, good[i].repository);
        assert_string_equal(n.revision, good[i].revision);
        assert_string_equal(n.folder, good[i].folder);
        model_store_name_clear(&n);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        if (model_store_parse(&n, bad[i], &err) != OMNID_FORMAT)
            fail_msg("'%s' was taken for %s", bad[i], n.repository);
        assert_non_null(strstr(err.text, "ORG/NAME"));
    }
}

static void finds(const char *text, const char *want)
{
    char *folder;
    omnid_error err = {0};
    if (model_store_find(&folder, text, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    assert_string_equal(folder, want);
    g_free(folder);
}

static void stores(void **state)
{
    world *w = *state;
    char *home = model_store_home();
    assert_string_equal(home, w->mine);
    g_free(home);
    make_model(w->mine, "qwen2.5-omni-3b", "{}");
    make_model(w->mine, "me--tuned@x", "{}");
    make_model(w->mine, "torn", NULL);
    make_model(w->mine, "demo", NULL); /* one with a config.json comes first: the tree's */
    char *three = g_build_filename(w->mine, "qwen2.5-omni-3b", NULL);
    char *tuned = g_build_filename(w->mine, "me--tuned@x", NULL);
    char *torn = g_build_filename(w->mine, "torn", NULL);
    finds("qwen2.5-omni-3b", three);
    finds("Qwen/Qwen2.5-Omni-3B", three);
    finds(three, three); /* a folder is one */
    finds("me/tuned@x", tuned);
    finds("me--tuned@x", tuned);
    finds("torn", torn);
    char *demo = model_store_lookup("demo");
    assert_non_null(demo);
    assert_false(g_str_has_prefix(demo, w->root));
    char **list = model_store_list();
    assert_string_equal(list[1], tuned); /* demo, me--tuned@x, … */
    assert_string_equal(list[2], three);
    assert_string_equal(list[3], torn);
    g_strfreev(list);
    g_free(demo);
    g_free(three);
    g_free(tuned);
    g_free(torn);
}

static void what_is_not_there(void **state)
{
    world *w = *state;
    char *folder;
    omnid_error err;
    make_model(w->mine, "other", "{}");
    assert_int_equal(model_store_find(&folder, "qwen2.5-omni-7b", &err), OMNID_NOT_FOUND);
    assert_null(folder);
    assert_non_null(strstr(err.text, "`omnid-model fetch qwen2.5-omni-7b`"));
    assert_non_null(strstr(err.text, "Here are: other"));
    assert_int_equal(model_store_find(&folder, "nothing-like-it", &err), OMNID_NOT_FOUND);
    assert_non_null(strstr(err.text, "no such folder, and no model of that name"));
    assert_non_null(strstr(err.text, "`omnid-model list`"));
    const char *const paths[] = {"/no/such", "./no/such", "../no", "", "."};
    for (size_t i = 0; i + 1 < G_N_ELEMENTS(paths); i++) {
        assert_int_equal(model_store_find(&folder, paths[i], &err), OMNID_NOT_FOUND);
        assert_null(strstr(err.text, "omnid-model fetch"));
    }
    finds(".", ".");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names),
                                       cmocka_unit_test_setup_teardown(stores, set_up, tear_down),
                                       cmocka_unit_test_setup_teardown(what_is_not_there, set_up, tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
