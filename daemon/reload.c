/* reload.c: old and new settings compared row by row; what may change is swapped. */
#include "daemon/reload.h"

#include <math.h>
#include <string.h>

/* Lines of what has changed. */
typedef struct {
    GString *now, *later; /* "omnid.log = debug, …" and "model.path, …" */
} changes;

static bool same(const option *row, const void *a, const void *b)
{
    const char *at_a = (const char *)a + row->offset, *at_b = (const char *)b + row->offset;
    switch (row->type) {
    case OPTION_INT:
        return *(const int64_t *)at_a == *(const int64_t *)at_b;
    case OPTION_REAL: {
        double x = *(const double *)at_a, y = *(const double *)at_b;
        return x == y || (isnan(x) && isnan(y));
    }
    case OPTION_BOOL:
        return *(const bool *)at_a == *(const bool *)at_b;
    case OPTION_TEXT:
    case OPTION_CHOICE:
        return g_strcmp0(*(char *const *)at_a, *(char *const *)at_b) == 0;
    }
    return true;
}

static void append(GString *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(GString *list, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (list->len)
        g_string_append(list, ", ");
    g_string_append_vprintf(list, format, args);
    va_end(args);
}

static void swap_value(const option *row, void *a, void *b)
{
    static const size_t sizes[] = {[OPTION_TEXT] = sizeof(char *),
                                   [OPTION_INT] = sizeof(int64_t),
                                   [OPTION_REAL] = sizeof(double),
                                   [OPTION_BOOL] = sizeof(bool),
                                   [OPTION_CHOICE] = sizeof(char *)};
    char kept[sizeof(int64_t)];
    char *at_a = (char *)a + row->offset, *at_b = (char *)b + row->offset;
    memcpy(kept, at_a, sizes[row->type]);
    memcpy(at_a, at_b, sizes[row->type]);
    memcpy(at_b, kept, sizes[row->type]);
}

/* Swaps what may change among the rows of a camera (or of the daemon: camera NULL), and writes down what differs. */
static void swap_rows(void *live, void *fresh, const char *camera, changes *c)
{
    size_t n = 0;
    const option *table = options_table(&n);
    for (size_t i = 0; i < n; i++) {
        const option *row = &table[i];
        if ((strcmp(row->group, "camera") == 0) != (camera != NULL) || same(row, live, fresh))
            continue;
        bool now = options_reloads(row);
        if (now)
            swap_value(row, live, fresh);
        if (c && camera)
            append(now ? c->now : c->later, "[camera %s] %s", camera, row->key);
        else if (c)
            append(now ? c->now : c->later, "[%s] %s", row->group, row->key);
    }
}

static options_camera *find_camera(const settings *s, const char *name)
{
    for (size_t i = 0; i < s->n_cameras; i++)
        if (strcmp(s->cameras[i].name, name) == 0)
            return &s->cameras[i];
    return NULL;
}

/* Twice the same call is none: it swaps. c may be NULL. */
static void swap_settings(settings *live, settings *fresh, changes *c)
{
    swap_rows(&live->daemon, &fresh->daemon, NULL, c);
    for (size_t i = 0; i < live->n_cameras; i++) {
        options_camera *mine = &live->cameras[i], *its = find_camera(fresh, mine->name);
        if (its)
            swap_rows(mine, its, mine->name, c);
        else if (c)
            append(c->later, "[camera %s] is gone", mine->name);
    }
    for (size_t i = 0; i < fresh->n_cameras && c; i++)
        if (!find_camera(live, fresh->cameras[i].name))
            append(c->later, "[camera %s] is new", fresh->cameras[i].name);
}

static char *make_report(const char *file, const changes *c)
{
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "configuration %s read again: ", file ? file : "(none)");
    if (c->now->len)
        g_string_append_printf(text, "in force now: %s", c->now->str);
    if (c->later->len)
        g_string_append_printf(text, "%swaits for a restart: %s", c->now->len ? "; " : "", c->later->str);
    if (!c->now->len && !c->later->len)
        g_string_append(text, "nothing has changed");
    return g_string_free(text, FALSE);
}

static omnid_status swap_checked(settings *live, settings *fresh, char **report, omnid_error *err)
{
    changes c = {g_string_new(NULL), g_string_new(NULL)};
    swap_settings(live, fresh, &c);
    /* Right by itself is not enough: what waits for a restart keeps its old value, and both must go together. */
    omnid_status status = settings_check(live, err);
    if (status != OMNID_OK) {
        swap_settings(live, fresh, NULL);
        omnid_fail_in(err, "not without a restart, for these wait for one (%.200s)", c.later->str);
    } else {
        *report = make_report(fresh->file, &c);
    }
    g_string_free(c.now, TRUE);
    g_string_free(c.later, TRUE);
    return status;
}

omnid_status reload_run(const reload *r, char **report, omnid_error *err)
{
    settings fresh;
    *report = NULL;
    /* The file that was read at the start, also where it had been searched for: gone is not the same as empty. */
    const char *file = r->file ? r->file : r->live->file;
    OMNID_TRY(settings_load(&fresh, file, r->overrides, r->n_overrides, err));
    omnid_status status = settings_check(&fresh, err);
    if (status != OMNID_OK)
        omnid_fail_in(err, "%.200s", fresh.file ? fresh.file : "configuration");
    else
        status = swap_checked(r->live, &fresh, report, err);
    settings_clear(&fresh);
    return status;
}
