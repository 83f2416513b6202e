/* options.c: reading, printing and finding the rows of options.def. */
#include "daemon/options.h"
#include "daemon/nearest.h"

#include <errno.h>
#include <glib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const option table[] = {
#define OPTION(group, key, type, def, range, help)                                                                     \
    {#group, #key, OPTION_##type, def, range, help, offsetof(options_daemon, group##_##key)},
#define CAMERA_OPTION(key, type, def, range, help)                                                                     \
    {"camera", #key, OPTION_##type, def, range, help, offsetof(options_camera, key)},
#include "daemon/options.def"
#undef OPTION
#undef CAMERA_OPTION
};
enum { N_TABLE = sizeof table / sizeof *table };

const option *options_table(size_t *n)
{
    *n = N_TABLE;
    return table;
}

omnid_status options_find_group(const char *group, omnid_error *err)
{
    const char *names[N_TABLE];
    for (size_t i = 0; i < N_TABLE; i++) {
        if (strcmp(table[i].group, group) == 0)
            return OMNID_OK;
        names[i] = table[i].group;
    }
    const char *nearest = nearest_word(group, names, N_TABLE);
    return omnid_fail(err, OMNID_NOT_FOUND, "unknown group [%.60s]; the nearest is [%s%s]", group, nearest,
                      strcmp(nearest, "camera") == 0 ? " NAME" : "");
}

omnid_status options_find(const option **out, const char *group, const char *key, omnid_error *err)
{
    const char *names[N_TABLE];
    size_t n = 0;
    *out = NULL;
    for (size_t i = 0; i < N_TABLE; i++) {
        if (strcmp(table[i].group, group) != 0)
            continue;
        if (strcmp(table[i].key, key) == 0) {
            *out = &table[i];
            return OMNID_OK;
        }
        names[n++] = table[i].key;
    }
    OMNID_TRY(options_find_group(group, err));
    return omnid_fail(err, OMNID_NOT_FOUND, "unknown key %.60s in group [%s]; the nearest is %s", key, group,
                      nearest_word(key, names, n));
}

bool options_reloads(const option *row)
{
    /* Those that nothing but the server's thread reads, and reads anew for each question. */
    static const char *const groups[] = {"omnid", "answers", "camera"};
    static const char *const omnid[] = {"log", NULL};
    static const char *const answers[] = {
        "retention",   "policy", "first_prune",     "max_tokens",      "temperature",  "top_p", "repetition_penalty",
        "deadline_ms", "now",    "max_deadline_ms", "max_open_client", "publish_text", NULL};
    static const char *const camera[] = {"retention", "policy", NULL};
    static const char *const *const keys[] = {omnid, answers, camera};
    for (size_t i = 0; i < G_N_ELEMENTS(groups); i++)
        if (strcmp(row->group, groups[i]) == 0)
            return g_strv_contains(keys[i], row->key);
    return false;
}

static omnid_status wrong(const option *row, const char *wanted, const char *text, omnid_error *err)
{
    return omnid_fail(err, OMNID_FORMAT, "[%s] %s: want %s, found '%.80s'", row->group, row->key, wanted, text);
}

static omnid_status set_number(void *value, const option *row, const char *text, omnid_error *err)
{
    char wanted[80];
    const char *dots = strstr(row->range, "..");
    snprintf(wanted, sizeof wanted, "%s in %s", row->type == OPTION_INT ? "a whole number" : "a number", row->range);
    if (!dots)
        return omnid_fail(err, OMNID_ARGUMENT, "options.def: [%s] %s has no range", row->group, row->key);
    double low = g_ascii_strtod(row->range, NULL), high = g_ascii_strtod(dots + 2, NULL); /* "4..8" reads as 4. and 8 */
    if (text[0] == '\0' && row->default_text[0] == '\0') {
        if (row->type == OPTION_INT)
            *(int64_t *)value = OPTION_UNSET;
        else
            *(double *)value = NAN;
        return OMNID_OK;
    }
    char *end = NULL;
    errno = 0;
    if (row->type == OPTION_INT) {
        gint64 number = g_ascii_strtoll(text, &end, 10);
        if (errno || end == text || *end || (double)number < low || (double)number > high)
            return wrong(row, wanted, text, err);
        *(int64_t *)value = number;
        return OMNID_OK;
    }
    double number = g_ascii_strtod(text, &end);
    if (errno || end == text || *end || !(number >= low && number <= high))
        return wrong(row, wanted, text, err);
    *(double *)value = number;
    return OMNID_OK;
}

static omnid_status set_bool(bool *value, const option *row, const char *text, omnid_error *err)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < G_N_ELEMENTS(yes); i++) {
        if (g_ascii_strcasecmp(text, yes[i]) == 0 || g_ascii_strcasecmp(text, no[i]) == 0) {
            *value = g_ascii_strcasecmp(text, yes[i]) == 0;
            return OMNID_OK;
        }
    }
    return wrong(row, "true or false", text, err);
}

static omnid_status set_text(char **value, const option *row, const char *text, omnid_error *err)
{
    if (!g_utf8_validate(text, -1, NULL))
        return wrong(row, "UTF-8 text", "bytes that are not", err);
    if (row->type == OPTION_CHOICE) {
        char **choices = g_strsplit(row->range, "|", -1);
        bool known = g_strv_contains((const char *const *)choices, text);
        g_strfreev(choices);
        if (!known)
            return wrong(row, row->range, text, err);
    }
    g_free(*value);
    *value = g_strdup(text);
    return OMNID_OK;
}

omnid_status options_set(void *base, const option *row, const char *text, omnid_error *err)
{
    void *value = (char *)base + row->offset;
    switch (row->type) {
    case OPTION_INT:
    case OPTION_REAL:
        return set_number(value, row, text, err);
    case OPTION_BOOL:
        return set_bool(value, row, text, err);
    case OPTION_TEXT:
    case OPTION_CHOICE:
        return set_text(value, row, text, err);
    }
    return omnid_fail(err, OMNID_ARGUMENT, "options.def: [%s] %s has no type", row->group, row->key);
}

static void init_group(void *base, bool camera)
{
    for (size_t i = 0; i < N_TABLE; i++)
        if ((strcmp(table[i].group, "camera") == 0) == camera)
            options_set(base, &table[i], table[i].default_text, NULL);
}

static void clear_group(void *base, bool camera)
{
    for (size_t i = 0; i < N_TABLE; i++) {
        if ((strcmp(table[i].group, "camera") == 0) != camera)
            continue;
        if (table[i].type == OPTION_TEXT || table[i].type == OPTION_CHOICE)
            g_clear_pointer((char **)((char *)base + table[i].offset), g_free);
    }
}

void options_daemon_init(options_daemon *o)
{
    memset(o, 0, sizeof *o);
    init_group(o, false);
}

void options_daemon_clear(options_daemon *o)
{
    clear_group(o, false);
}

void options_camera_init(options_camera *o, const char *name)
{
    memset(o, 0, sizeof *o);
    o->name = g_strdup(name);
    init_group(o, true);
}

void options_camera_clear(options_camera *o)
{
    clear_group(o, true);
    g_clear_pointer(&o->name, g_free);
}

/* Appends text in lines of at most `columns`, each after prefix. */
static void append_wrapped(GString *out, const char *prefix, const char *text, size_t columns)
{
    char **words = g_strsplit(text, " ", -1);
    size_t used = 0;
    for (char **word = words; *word; word++) {
        if (used == 0 || used + 1 + strlen(*word) > columns) {
            g_string_append_printf(out, "%s%s%s", used ? "\n" : "", prefix, *word);
            used = strlen(prefix) + strlen(*word);
        } else {
            g_string_append_printf(out, " %s", *word);
            used += 1 + strlen(*word);
        }
    }
    g_string_append_c(out, '\n');
    g_strfreev(words);
}

/* "Seconds that leave at once. 0..86400. Same as --timeline.hop_s=0" */
static char *describe(const option *row)
{
    GString *text = g_string_new(row->help);
    g_string_append(text, ". ");
    if (row->range[0])
        g_string_append_printf(text, "%s. ", row->range);
    else if (row->type == OPTION_BOOL)
        g_string_append(text, "true or false. ");
    g_string_append_printf(text, "Same as --%s%s.%s=%s", row->group, strcmp(row->group, "camera") == 0 ? ".NAME" : "",
                           row->key, row->default_text);
    return g_string_free(text, FALSE);
}

void options_print_config(FILE *out)
{
    GString *text =
        g_string_new("# omnid's settings, each commented out at its default. Made by: omnid --print-config\n");
    const char *group = "";
    for (size_t i = 0; i < N_TABLE; i++) {
        bool camera = strcmp(table[i].group, "camera") == 0;
        if (strcmp(group, table[i].group) != 0) {
            group = table[i].group;
            if (camera)
                g_string_append(text,
                                "\n# One group for each camera: a picture source, a sound source, or both, with one "
                                "timeline. Without any,\n# omnid watches the test pattern as camera \"default\". "
                                "NAME: letters, digits, - and _.\n#[camera NAME]\n");
            else
                g_string_append_printf(text, "\n[%s]\n", group);
        }
        char *described = describe(&table[i]);
        append_wrapped(text, "# ", described, 118);
        g_free(described);
        g_string_append_printf(text, "#%s =%s%s\n", table[i].key, table[i].default_text[0] ? " " : "",
                               table[i].default_text);
    }
    fputs(text->str, out);
    g_string_free(text, TRUE);
}

char *options_help_text(void)
{
    GString *text = g_string_new("Settings, as in the configuration file:\n\n");
    for (size_t i = 0; i < N_TABLE; i++) {
        bool camera = strcmp(table[i].group, "camera") == 0;
        g_string_append_printf(text, "  --%s%s.%s=%s%s%s%s\n", table[i].group, camera ? ".NAME" : "", table[i].key,
                               table[i].default_text, table[i].range[0] ? "   (" : "", table[i].range,
                               table[i].range[0] ? ")" : "");
        append_wrapped(text, "        ", table[i].help, 100);
    }
    return g_string_free(text, FALSE);
}
