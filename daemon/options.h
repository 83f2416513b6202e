/* options.h: the table of settings (options.def) as C: two structs, and functions over their rows. */
#ifndef OMNID_DAEMON_OPTIONS_H
#define OMNID_DAEMON_OPTIONS_H

#include "base/base.h"

#include <stdio.h>

typedef enum { OPTION_TEXT, OPTION_INT, OPTION_REAL, OPTION_BOOL, OPTION_CHOICE } option_type;

#define OPTION_C_TEXT   char *
#define OPTION_C_INT    int64_t
#define OPTION_C_REAL   double
#define OPTION_C_BOOL   bool
#define OPTION_C_CHOICE char *

/* An INT left empty; a REAL left empty is NaN. */
#define OPTION_UNSET INT64_MIN

/* Settings of the daemon: options.model_path, options.timeline_window_s, … Strings are the struct's. */
typedef struct {
#define OPTION(group, key, type, def, range, help) OPTION_C_##type group##_##key;
#define CAMERA_OPTION(key, type, def, range, help)
#include "daemon/options.def"
#undef OPTION
#undef CAMERA_OPTION
} options_daemon;

/* Settings of one camera. */
typedef struct {
    char *name;
#define OPTION(group, key, type, def, range, help)
#define CAMERA_OPTION(key, type, def, range, help) OPTION_C_##type key;
#include "daemon/options.def"
#undef OPTION
#undef CAMERA_OPTION
} options_camera;

/* One row of the table. */
typedef struct {
    const char *group, *key; /* group "camera" for a camera's */
    option_type type;
    const char *default_text, *range, *help;
    size_t offset; /* of the value in options_daemon or options_camera */
} option;

/* All rows, groups together, camera's last. */
const option *options_table(size_t *n);
/* OK when a row has that group. NOT_FOUND: the sentence names the nearest group. */
omnid_status options_find_group(const char *group, omnid_error *err);
/* The row of that group and key. NOT_FOUND: the sentence names the nearest group or key. */
omnid_status options_find(const option **out, const char *group, const char *key, omnid_error *err);

/* Reads text as the row's type into base (options_daemon or options_camera, as the row's group says); replaces what was
 * there. FORMAT: the sentence has key, what is wanted and text; base is unchanged. */
omnid_status options_set(void *base, const option *row, const char *text, omnid_error *err);

/* The daemon takes a changed value when it is told to reload (SIGHUP); the other rows wait for a restart. */
bool options_reloads(const option *row);

/* Every row at its default. What was there is not freed: base is fresh memory. */
void options_daemon_init(options_daemon *o);
void options_daemon_clear(options_daemon *o);
void options_camera_init(options_camera *o, const char *name);
void options_camera_clear(options_camera *o);

/* The commented default configuration, as config/omnid.conf has it. */
void options_print_config(FILE *out);
/* docs/configuration.md. */
void options_print_docs(FILE *out);
/* The rows as --help lists them: --group.key=DEFAULT, help, range. Newly allocated (g_free). */
char *options_help_text(void);

#endif
