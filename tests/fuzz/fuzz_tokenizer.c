/* fuzz_tokenizer.c: tokenizer.json of any bytes; one that is accepted must encode and give every byte back. */
#include "engine/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "Hello, abc  \n we'll 12 <tool>er <|im_end|> \xC3\xA9\xF0\x9F\x98\x80";
    omnid_tokenizer *t;
    omnid_error err = {0};
    omnid_status status = tokenizer_parse(&t, (const char *)data, size, &err);
    if (status != OMNID_OK) {
        if (err.status != status || !err.text[0] || t) /* an error without its sentence */
            abort();
        return 0;
    }
    int32_t *ids;
    size_t n, n_bytes = 0;
    status = omnid_tokenizer_encode(t, text, sizeof text - 1, &ids, &n, &err);
    for (size_t i = 0; status == OMNID_OK && i < n; i++) {
        size_t n_token;
        tokenizer_bytes(t, ids[i], &n_token);
        n_bytes += n_token;
    }
    if (status == OMNID_OK ? n_bytes != sizeof text - 1 : status != OMNID_LIMIT && status != OMNID_NOMEM)
        abort();
    free(ids);
    omnid_tokenizer_destroy(&t);
    return 0;
}
