/* fuzz_config.c: config.json of any bytes. What is accepted must have sane dimensions. */
#include "engine/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    model_config c;
    omnid_error err = {0};
    omnid_status status = config_parse(&c, (const char *)data, size, &err);
    if (status != OMNID_OK) {
        if (err.status != status || !err.text[0]) /* an error without its sentence */
            abort();
        return 0;
    }
    const text_config *t = &c.text;
    if (t->n_layers < 3 || t->n_heads < 1 || t->n_heads % t->n_kv_heads || t->head_dim % 2 || t->vocabulary < 1 ||
        2 * (t->mrope_section[0] + t->mrope_section[1] + t->mrope_section[2]) != t->head_dim ||
        c.vision.hidden % c.vision.n_heads || c.audio.hidden % c.audio.n_heads || c.vision.window_px % 28 ||
        c.video_token >= t->vocabulary)
        abort();
    return 0;
}
