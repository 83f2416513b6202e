/* settings.c: GKeyFile and the command line into a config. */
#include "daemon/settings.h"
#include "capture/capture.h"
#include "daemon/cpus.h"
#include "daemon/model_store.h"

#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef OMNID_SYSCONFDIR
#define OMNID_SYSCONFDIR "/etc"
#endif

static bool name_is_good(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= SETTINGS_NAME_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

/* The camera of that name, made when it is new. */
static omnid_status camera_named(settings *c, const char *name, options_camera **out, omnid_error *err)
{
    if (!name_is_good(name))
        return omnid_fail(err, OMNID_FORMAT,
                          "camera name '%.60s': want 1 to %d letters, digits, - or _ as in [camera door]", name,
                          SETTINGS_NAME_BYTES);
    for (size_t i = 0; i < c->n_cameras; i++) {
        if (strcmp(c->cameras[i].name, name) == 0) {
            *out = &c->cameras[i];
            return OMNID_OK;
        }
    }
    if (c->n_cameras == SETTINGS_MAX_CAMERAS)
        return omnid_fail(err, OMNID_LIMIT, "camera %s is one too many: at most %d", name, SETTINGS_MAX_CAMERAS);
    c->cameras = g_renew(options_camera, c->cameras, c->n_cameras + 1);
    *out = &c->cameras[c->n_cameras++];
    options_camera_init(*out, name);
    return OMNID_OK;
}

/* Where a group's values go: "camera NAME" to that camera, all others to the daemon. *row_group is the table's name. */
static omnid_status group_base(settings *c, const char *group, void **base, const char **row_group, omnid_error *err)
{
    *base = &c->daemon;
    *row_group = group;
    if (strncmp(group, "camera", 6) != 0 || (group[6] != ' ' && group[6] != '\0'))
        return OMNID_OK;
    char *name = g_strstrip(g_strdup(group + 6));
    options_camera *camera = NULL;
    omnid_status status = camera_named(c, name, &camera, err);
    g_free(name);
    *base = camera;
    *row_group = "camera";
    return status;
}

static omnid_status read_group(settings *c, GKeyFile *file, const char *group, omnid_error *err)
{
    void *base = NULL;
    const char *row_group = NULL;
    const option *row = NULL;
    OMNID_TRY(group_base(c, group, &base, &row_group, err));
    char **keys = g_key_file_get_keys(file, group, NULL, NULL);
    omnid_status status = options_find_group(row_group, err);
    for (char **key = keys; key && *key && status == OMNID_OK; key++) {
        status = options_find(&row, row_group, *key, err);
        char *value = status == OMNID_OK ? g_key_file_get_value(file, group, *key, NULL) : NULL;
        if (value)
            status = options_set(base, row, g_strchomp(value), err);
        g_free(value);
    }
    g_strfreev(keys);
    return status;
}

static omnid_status read_key_file(settings *c, GKeyFile *file, omnid_error *err)
{
    omnid_status status = OMNID_OK;
    char **groups = g_key_file_get_groups(file, NULL);
    for (char **group = groups; *group && status == OMNID_OK; group++)
        status = read_group(c, file, *group, err);
    g_strfreev(groups);
    return status;
}

/* "group.key=value" or "camera.NAME.key=value"; the value may hold anything. */
static omnid_status read_override(settings *c, const char *text, omnid_error *err)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return omnid_fail(err, OMNID_FORMAT, "--%.80s: want --group.key=value", text);
    char *path = g_strndup(text, (gsize)(equals - text));
    char **parts = g_strsplit(path, ".", 4);
    guint n = g_strv_length(parts);
    omnid_status status;
    const option *row = NULL;
    void *base = &c->daemon;
    if (n == 3 && strcmp(parts[0], "camera") == 0) {
        options_camera *camera = NULL;
        status = options_find(&row, "camera", parts[2], err);
        if (status == OMNID_OK)
            status = camera_named(c, parts[1], &camera, err);
        base = camera;
    } else if (n == 2 && strcmp(parts[0], "camera") != 0) {
        status = options_find(&row, parts[0], parts[1], err);
    } else {
        status = omnid_fail(err, OMNID_FORMAT, "--%.80s: want --group.key=value or --camera.NAME.key=value", text);
    }
    if (status == OMNID_OK)
        status = options_set(base, row, equals + 1, err);
    if (status != OMNID_OK && row)
        omnid_fail_in(err, "--%.80s", path);
    g_strfreev(parts);
    g_free(path);
    return status;
}

static void inherit_text(char **value, const char *from)
{
    if (*value && **value)
        return;
    g_free(*value);
    *value = g_strdup(from);
}

static void inherit_int(int64_t *value, int64_t from)
{
    if (*value == OPTION_UNSET)
        *value = from;
}

/* What [model] path means: a folder, or a name in the stores. What is neither stays as it is; settings_check_model says so. */
static char *find_model(const char *path)
{
    char *folder = NULL;
    return model_store_find(&folder, path, NULL) == OMNID_OK ? folder : g_strdup(path);
}

static omnid_status finish(settings *c, omnid_error *err)
{
    c->demo_camera = c->n_cameras == 0;
    if (c->demo_camera) {
        options_camera *camera = NULL;
        OMNID_TRY(camera_named(c, "default", &camera, err));
        inherit_text(&camera->video, "test:");
    }
    for (size_t i = 0; i < c->n_cameras; i++) {
        options_camera *camera = &c->cameras[i];
        inherit_text(&camera->system, c->daemon.timeline_system);
        inherit_int(&camera->window_s, c->daemon.timeline_window_s);
        inherit_int(&camera->hop_s, c->daemon.timeline_hop_s);
        inherit_text(&camera->modes, c->daemon.timeline_modes);
        inherit_int(&camera->max_pixels, c->daemon.timeline_max_pixels);
        inherit_text(&camera->retention, c->daemon.answers_retention);
        inherit_text(&camera->policy, c->daemon.answers_policy);
    }
    c->demo_model = c->daemon.model_path[0] == '\0';
    c->model_path = c->demo_model ? model_store_lookup("demo") : find_model(c->daemon.model_path);
    return OMNID_OK;
}

static omnid_status load_key_file(settings *out, GKeyFile *file, const char *const *overrides, size_t n_overrides,
                                  omnid_error *err)
{
    omnid_status status = read_key_file(out, file, err);
    if (status != OMNID_OK && out->file)
        omnid_fail_in(err, "%.200s", out->file);
    for (size_t i = 0; i < n_overrides && status == OMNID_OK; i++)
        status = read_override(out, overrides[i], err);
    if (status == OMNID_OK)
        status = finish(out, err);
    return status;
}

static char *find_file(void)
{
    char *candidates[] = {g_build_filename(g_get_user_config_dir(), "omnid", "omnid.conf", NULL),
                          g_build_filename(OMNID_SYSCONFDIR, "omnid", "omnid.conf", NULL),
                          g_strdup("/etc/omnid/omnid.conf")};
    char *found = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(candidates); i++) {
        if (!found && access(candidates[i], F_OK) == 0)
            found = candidates[i];
        else
            g_free(candidates[i]);
    }
    return found;
}

omnid_status settings_load(settings *out, const char *path, const char *const *overrides, size_t n_overrides,
                           omnid_error *err)
{
    omnid_error own;
    err = err ? err : &own;
    memset(out, 0, sizeof *out);
    options_daemon_init(&out->daemon);
    out->file = path ? g_strdup(path) : find_file();
    GKeyFile *file = g_key_file_new();
    GError *error = NULL;
    omnid_status status = OMNID_OK;
    if (out->file && strcmp(out->file, "/dev/null") != 0 &&
        !g_key_file_load_from_file(file, out->file, G_KEY_FILE_NONE, &error)) {
        bool missing = g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        status = omnid_fail(err, missing ? OMNID_NOT_FOUND : OMNID_FORMAT, "configuration %.200s: %.200s", out->file,
                            error->message);
        g_error_free(error);
    }
    if (status == OMNID_OK)
        status = load_key_file(out, file, overrides, n_overrides, err);
    g_key_file_free(file);
    if (status != OMNID_OK)
        settings_clear(out);
    return status;
}

omnid_status settings_parse(settings *out, const char *text, size_t n, const char *const *overrides, size_t n_overrides,
                            omnid_error *err)
{
    omnid_error own;
    err = err ? err : &own;
    memset(out, 0, sizeof *out);
    options_daemon_init(&out->daemon);
    GKeyFile *file = g_key_file_new();
    GError *error = NULL;
    omnid_status status = OMNID_OK;
    if (n > 0 && !g_key_file_load_from_data(file, text, n, G_KEY_FILE_NONE, &error)) {
        status = omnid_fail(err, OMNID_FORMAT, "configuration: %.300s", error->message);
        g_error_free(error);
    }
    if (status == OMNID_OK)
        status = load_key_file(out, file, overrides, n_overrides, err);
    g_key_file_free(file);
    if (status != OMNID_OK)
        settings_clear(out);
    return status;
}

void settings_clear(settings *c)
{
    options_daemon_clear(&c->daemon);
    for (size_t i = 0; i < c->n_cameras; i++)
        options_camera_clear(&c->cameras[i]);
    g_free(c->cameras);
    g_free(c->file);
    g_free(c->model_path);
    memset(c, 0, sizeof *c);
}

omnid_status settings_parse_modes(const char *text, unsigned *modes, omnid_mode *first, omnid_error *err)
{
    char **names = g_strsplit(text, ",", -1);
    omnid_status status =
        names[0] ? OMNID_OK : omnid_fail(err, OMNID_FORMAT, "modes: want eager, deferred or offline, found none");
    *modes = 0;
    for (char **name = names; *name && status == OMNID_OK; name++) {
        omnid_mode mode = OMNID_MODE_EAGER;
        status = omnid_mode_parse(&mode, g_strstrip(*name), err);
        if (status == OMNID_OK && *modes == 0)
            *first = mode;
        if (status == OMNID_OK)
            *modes |= (unsigned)mode;
    }
    g_strfreev(names);
    return status;
}

omnid_status settings_check_retention(const char *text, omnid_error *err)
{
    if (strcmp(text, "none") == 0)
        return OMNID_OK;
    char **parts = g_strsplit(text, ",", -1);
    guint n = g_strv_length(parts);
    bool good = n == 1 || n == 4 || n == 5;
    for (guint i = 0; i < n && good; i++) {
        char *end = NULL;
        double value = g_ascii_strtod(parts[i], &end);
        good = end != parts[i] && *end == '\0' && isfinite(value);
        if (n == 1)
            good = good && value > 0 && value <= 100;
        else if (i < 2)
            good = good && value >= 0 && value <= 1;
        else if (i == 3)
            good = good && value >= 0 && value == floor(value);
    }
    g_strfreev(parts);
    if (good)
        return OMNID_OK;
    return omnid_fail(err, OMNID_FORMAT,
                      "retention: want none, a percentage or share, or p_init,p_final,t_mid,tds_start[,lambda], found "
                      "'%.80s'",
                      text);
}

static omnid_status check_readable(const char *folder, const char *name, omnid_error *err)
{
    char *path = g_build_filename(folder, name, NULL);
    omnid_status status = OMNID_OK;
    if (access(path, R_OK) != 0)
        status = omnid_fail(err, OMNID_NOT_FOUND,
                            "model %.160s: %s: %s. Set [model] path to a folder with config.json, "
                            "safetensors files and tokenizer.json",
                            folder, name, strerror(errno));
    g_free(path);
    return status;
}

omnid_status settings_check_model(const settings *c, omnid_error *err)
{
    if (!c->model_path)
        return omnid_fail(err, OMNID_NOT_FOUND,
                          "no model: the demo model is not installed and [model] path names no other");
    char *folder = NULL;
    OMNID_TRY(model_store_find(&folder, c->model_path, err));
    g_free(folder);
    OMNID_TRY(check_readable(c->model_path, "config.json", err));
    OMNID_TRY(check_readable(c->model_path, "tokenizer.json", err));
    char *path = g_build_filename(c->model_path, "config.json", NULL);
    json_error_t where;
    json_t *json = json_load_file(path, 0, &where);
    omnid_status status = OMNID_OK;
    if (!json)
        status = omnid_fail(err, OMNID_FORMAT, "%.200s, line %d: %.200s", path, where.line, where.text);
    json_decref(json);
    g_free(path);
    return status;
}

static omnid_status check_sources(const options_camera *camera, omnid_error *err)
{
    bool has_video = camera->video[0] != '\0';
    bool same = strcmp(camera->audio, "same") == 0,
         none = camera->audio[0] == '\0' || strcmp(camera->audio, "none") == 0;
    if (!has_video && (same || none))
        return omnid_fail(err, OMNID_FORMAT, "neither video nor audio has a URI; want for example video = test:");
    if (has_video && omnid_capture_check(camera->video, err) != OMNID_OK)
        return omnid_fail_in(err, "video");
    if (!same && !none && omnid_capture_check(camera->audio, err) != OMNID_OK)
        return omnid_fail_in(err, "audio");
    return OMNID_OK;
}

static omnid_status check_camera(const options_camera *camera, omnid_error *err)
{
    unsigned modes = 0;
    omnid_mode first = OMNID_MODE_EAGER;
    OMNID_TRY(check_sources(camera, err));
    OMNID_TRY(settings_parse_modes(camera->modes, &modes, &first, err));
    OMNID_TRY(settings_check_retention(camera->retention, err));
    if (camera->hop_s > camera->window_s)
        return omnid_fail(err, OMNID_FORMAT, "hop_s: want at most window_s, %lld, found %lld",
                          (long long)camera->window_s, (long long)camera->hop_s);
    return OMNID_OK;
}

omnid_status settings_check(const settings *c, omnid_error *err)
{
    omnid_error own;
    err = err ? err : &own;
    for (size_t i = 0; i < c->n_cameras; i++)
        if (check_camera(&c->cameras[i], err) != OMNID_OK)
            return omnid_fail_in(err, "[camera %s]", c->cameras[i].name);
    for (size_t i = 0; i < c->n_cameras && !c->daemon.timeline_intra; i++)
        if (strcmp(c->cameras[i].retention, "none") != 0)
            return omnid_fail(err, OMNID_FORMAT, "[timeline] intra = false: want retention none, camera %s has %.80s",
                              c->cameras[i].name, c->cameras[i].retention);
    if (c->daemon.answers_deadline_ms > c->daemon.answers_max_deadline_ms)
        return omnid_fail(err, OMNID_FORMAT, "[answers] deadline_ms: want at most max_deadline_ms, %lld, found %lld",
                          (long long)c->daemon.answers_max_deadline_ms, (long long)c->daemon.answers_deadline_ms);
    cpu_set_t cpus;
    if (cpus_parse(&cpus, c->daemon.model_cpus, err) != OMNID_OK)
        return omnid_fail_in(err, "[model]");
    return settings_check_model(c, err);
}
