/* fuzz_settings.c: a configuration file of any bytes. What is accepted has its cameras complete; what is not has a sentence. */
#include "daemon/settings.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    settings s;
    omnid_error err = {0};
    omnid_status status = settings_parse(&s, (const char *)data, size, NULL, 0, &err);
    if (status != OMNID_OK) {
        if (err.status != status || !err.text[0])
            abort();
        return 0;
    }
    if (s.n_cameras < 1 || s.n_cameras > SETTINGS_MAX_CAMERAS || s.daemon.answers_max_open < 1)
        abort();
    for (size_t i = 0; i < s.n_cameras; i++) {
        const options_camera *c = &s.cameras[i];
        unsigned modes = 0;
        omnid_mode first = OMNID_MODE_EAGER;
        if (!c->video || !c->audio || !c->modes || c->window_s < 4 || c->hop_s < 0)
            abort();
        settings_parse_modes(c->modes, &modes, &first, &err);
        settings_check_retention(c->retention, &err);
    }
    settings_clear(&s);
    return 0;
}
