/* settings.h: the configuration a daemon runs by: file, command line, defaults. */
#ifndef OMNID_DAEMON_SETTINGS_H
#define OMNID_DAEMON_SETTINGS_H

#include "daemon/options.h"
#include "engine/omnid.h"

enum { SETTINGS_MAX_CAMERAS = 64, SETTINGS_NAME_BYTES = 32 };

typedef struct {
    options_daemon daemon;
    options_camera *cameras; /* [n_cameras], in the file's order; settings left empty hold the daemon's */
    size_t n_cameras;
    char *file;       /* that was read; NULL = none */
    char *model_path; /* folder to load; NULL = no demo model is installed */
    bool demo_model;  /* no model was configured */
    bool demo_camera; /* no camera was configured: the test pattern */
} settings;

/* Reads path (NULL: the first of $XDG_CONFIG_HOME/omnid/omnid.conf, omnid/omnid.conf where configuration was installed
 * to and /etc/omnid/omnid.conf that is there, else nothing), then the overrides: strings "group.key=value" and "camera.NAME.key=value". NOT_FOUND: no such file, unknown
 * group or key. FORMAT: a value is not what its row of the table wants. *out is cleared on failure. */
omnid_status settings_load(settings *out, const char *path, const char *const *overrides, size_t n_overrides,
                           omnid_error *err);
/* The same from text (tests, fuzzing). */
omnid_status settings_parse(settings *out, const char *text, size_t n, const char *const *overrides, size_t n_overrides,
                            omnid_error *err);
void settings_clear(settings *c);

/* What can be known without opening anything: URIs, modes, retention and policy, the model's folder. */
omnid_status settings_check(const settings *c, omnid_error *err);
/* The model's folder alone: NOT_FOUND or FORMAT. */
omnid_status settings_check_model(const settings *c, omnid_error *err);

/* "eager,offline" to flags and the first named. FORMAT. */
omnid_status settings_parse_modes(const char *text, unsigned *modes, omnid_mode *first, omnid_error *err);
/* The form of a retention: none, a number in (0, 100], p_init,p_final,t_mid,tds_start[,lambda]. Whether the model's
 * layers can reach it the engine says. FORMAT. */
omnid_status settings_check_retention(const char *text, omnid_error *err);

#endif
