/* model_store.c: names of models, and the folders they lie in. */
#include "daemon/model_store.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef OMNID_DATADIR
#define OMNID_DATADIR "/usr/local/share"
#endif

static const char system_store[] = "/var/lib/omnid/models"; /* the service's state directory */

enum { MAX_PART = 96 };

static const model_store_known known[] = {
    {"qwen2.5-omni-3b", "Qwen/Qwen2.5-Omni-3B", "4.7 G parameters, 9.4 GB in bf16; research licence"},
    {"qwen2.5-omni-7b", "Qwen/Qwen2.5-Omni-7B", "8.9 G parameters, 17.9 GB in bf16; Apache 2.0"},
};

const model_store_known *model_store_known_models(size_t *n)
{
    *n = G_N_ELEMENTS(known);
    return known;
}

/* ------------------------------------------------------------------ names */

/* A part of a repository's name or (with slashes) a revision: what the hub allows, and nothing that leaves a folder. */
static bool part_is_good(const char *text, bool slashes)
{
    size_t n = strlen(text);
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    return n > 0 && n <= MAX_PART && strspn(text, allowed) == n && text[0] != '.' && text[0] != '-' && text[0] != '/' &&
           !strstr(text, "..") && !strstr(text, "//") && (slashes || !strchr(text, '/'));
}

static const model_store_known *find_known(const char *text)
{
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        if (g_ascii_strcasecmp(known[i].name, text) == 0 || g_ascii_strcasecmp(known[i].repository, text) == 0)
            return &known[i];
    return NULL;
}

static bool repository_is_good(const char *text)
{
    char **parts = g_strsplit(text, "/", 3);
    bool good = g_strv_length(parts) == 2 && part_is_good(parts[0], false) && part_is_good(parts[1], false);
    g_strfreev(parts);
    return good;
}

/* "a/b" to "a--b", as one path component. */
static char *flatten(const char *text)
{
    char **parts = g_strsplit(text, "/", -1);
    char *joined = g_strjoinv("--", parts);
    g_strfreev(parts);
    return joined;
}

omnid_status model_store_parse(model_store_name *out, const char *text, omnid_error *err)
{
    memset(out, 0, sizeof *out);
    const char *at = strrchr(text, '@');
    char *base = at ? g_strndup(text, (gsize)(at - text)) : g_strdup(text);
    const model_store_known *k = find_known(base);
    bool good = (k || repository_is_good(base)) && (!at || part_is_good(at + 1, true));
    if (good) {
        char *short_name = k ? g_strdup(k->name) : g_strdup(base);
        out->repository = g_strdup(k ? k->repository : base);
        out->revision = g_strdup(at ? at + 1 : "main");
        out->name = at ? g_strconcat(short_name, at, NULL) : g_strdup(short_name);
        out->folder = flatten(out->name);
        g_free(short_name);
    }
    g_free(base);
    if (good)
        return OMNID_OK;
    return omnid_fail(err, OMNID_FORMAT,
                      "'%.100s': want qwen2.5-omni-3b, qwen2.5-omni-7b or ORG/NAME, each with @REVISION if you like",
                      text);
}

void model_store_name_clear(model_store_name *n)
{
    g_free(n->name);
    g_free(n->repository);
    g_free(n->revision);
    g_free(n->folder);
    memset(n, 0, sizeof *n);
}

/* ------------------------------------------------------------------ stores */

static const char *configured(void)
{
    const char *value = getenv("OMNID_MODELS");
    return value && *value ? value : NULL;
}

static char *user_store(void)
{
    return g_build_filename(g_get_user_data_dir(), "omnid", "models", NULL);
}

char *model_store_home(void)
{
    if (configured())
        return g_canonicalize_filename(configured(), NULL);
    return geteuid() == 0 ? g_strdup(system_store) : user_store();
}

static void add_store(GPtrArray *stores, char *folder)
{
    for (guint i = 0; i < stores->len; i++) {
        if (strcmp(stores->pdata[i], folder) == 0) {
            g_free(folder);
            return;
        }
    }
    g_ptr_array_add(stores, folder);
}

/* share/omnid/models in a folder above the executable, which is so wherever omnid is installed or built. */
static void add_above_program(GPtrArray *stores)
{
    enum { MAX_UP = 4 };
    char *self = g_file_read_link("/proc/self/exe", NULL);
    char *above = self ? g_path_get_dirname(self) : g_strdup(".");
    for (int up = 0; up < MAX_UP; up++) {
        char *store = g_build_filename(above, "share", "omnid", "models", NULL);
        if (g_file_test(store, G_FILE_TEST_IS_DIR))
            add_store(stores, g_canonicalize_filename(store, NULL));
        char *parent = g_path_get_dirname(above);
        g_free(store);
        g_free(above);
        above = parent;
    }
    g_free(above);
    g_free(self);
}

char **model_store_folders(void)
{
    GPtrArray *stores = g_ptr_array_new();
    if (configured())
        add_store(stores, g_canonicalize_filename(configured(), NULL));
    add_store(stores, user_store());
    add_store(stores, g_strdup(system_store));
    add_above_program(stores);
    add_store(stores, g_build_filename(OMNID_DATADIR, "omnid", "models", NULL));
    g_ptr_array_add(stores, NULL);
    return (char **)g_ptr_array_free(stores, FALSE);
}

static bool has_config(const char *folder)
{
    char *file = g_build_filename(folder, "config.json", NULL);
    bool there = access(file, R_OK) == 0;
    g_free(file);
    return there;
}

char *model_store_lookup(const char *folder_name)
{
    char **stores = model_store_folders();
    char *found = NULL;
    for (int with_config = 1; with_config >= 0; with_config--)
        for (char **store = stores; *store && !found; store++) {
            char *folder = g_build_filename(*store, folder_name, NULL);
            if (with_config ? has_config(folder) : g_file_test(folder, G_FILE_TEST_IS_DIR))
                found = folder;
            else
                g_free(folder);
        }
    g_strfreev(stores);
    return found;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_store(GPtrArray *out, const char *store)
{
    GDir *d = g_dir_open(store, 0, NULL);
    guint first = out->len;
    for (const char *name; d && (name = g_dir_read_name(d)) != NULL;) {
        char *folder = g_build_filename(store, name, NULL);
        if (name[0] != '.' && g_file_test(folder, G_FILE_TEST_IS_DIR))
            g_ptr_array_add(out, folder);
        else
            g_free(folder);
    }
    if (d)
        g_dir_close(d);
    if (out->len > first)
        qsort(out->pdata + first, out->len - first, sizeof *out->pdata, by_name);
}

char **model_store_list(void)
{
    GPtrArray *out = g_ptr_array_new();
    char **stores = model_store_folders();
    for (char **store = stores; *store; store++)
        list_store(out, *store);
    g_strfreev(stores);
    g_ptr_array_add(out, NULL);
    return (char **)g_ptr_array_free(out, FALSE);
}

/* ------------------------------------------------------------------ finding */

/* "demo, qwen2.5-omni-3b"; what has no config.json yet is left out. */
static char *names_of_all(void)
{
    GString *text = g_string_new(NULL);
    char **folders = model_store_list();
    for (char **folder = folders; *folder; folder++) {
        char *name = g_path_get_basename(*folder);
        if (has_config(*folder) && text->len < 160)
            g_string_append_printf(text, "%s%s", text->len ? ", " : "", name);
        g_free(name);
    }
    g_strfreev(folders);
    if (text->len == 0)
        g_string_append(text, "none");
    return g_string_free(text, FALSE);
}

static omnid_status not_found(const char *text, bool fetchable, omnid_error *err)
{
    char *names = names_of_all();
    omnid_status status;
    if (fetchable)
        status =
            omnid_fail(err, OMNID_NOT_FOUND,
                       "model %.100s is not on this machine: fetch it with `omnid-model fetch %.100s`. Here are: %s",
                       text, text, names);
    else
        status = omnid_fail(err, OMNID_NOT_FOUND,
                            "model %.160s: no such folder, and no model of that name. Here are: %s. "
                            "`omnid-model list` says which can be fetched",
                            text, names);
    g_free(names);
    return status;
}

omnid_status model_store_find(char **folder, const char *text, omnid_error *err)
{
    *folder = NULL;
    if (g_file_test(text, G_FILE_TEST_IS_DIR)) {
        *folder = g_strdup(text);
        return OMNID_OK;
    }
    model_store_name name;
    bool fetchable = text[0] != '/' && text[0] != '.' && model_store_parse(&name, text, NULL) == OMNID_OK;
    if (fetchable) {
        *folder = model_store_lookup(name.folder);
        model_store_name_clear(&name);
    } else if (!strchr(text, '/') && text[0] != '.' && text[0] != '\0') {
        *folder = model_store_lookup(text);
    }
    return *folder ? OMNID_OK : not_found(text, fetchable, err);
}
