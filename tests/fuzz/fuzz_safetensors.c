/* fuzz_safetensors.c: a safetensors file of any bytes, header and data. */
#include "engine/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    omnid_error err = {0};
    size_t n;
    omnid_status status = safetensors_check(data, size, &n, &err);
    if (status != OMNID_OK && (err.status != status || !err.text[0])) /* an error without its sentence */
        abort();
    if (status == OMNID_OK && n > size)
        abort();
    return 0;
}
