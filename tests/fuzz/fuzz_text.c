/* fuzz_text.c: text of any bytes through a tokenizer of bytes (validity, normal form) and as an answer's bytes through the
 * text stream, in pieces: the shown text is valid UTF-8, however it was cut. */
#include "engine/normalise.h"
#include "engine/tokenizer.h"
#include "engine/utf8_stream.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_normal_form(const char *text, size_t n)
{
    char *once, *twice;
    size_t n_once, n_twice;
    if (normalise_nfc(&once, &n_once, text, n, NULL) != OMNID_OK)
        return;
    if (normalise_valid(once, n_once) != n_once)
        abort();
    if (normalise_nfc(&twice, &n_twice, once, n_once, NULL) == OMNID_OK) {
        if (n_once != n_twice || memcmp(once, twice, n_once) != 0) /* a normal form is its own */
            abort();
        free(twice);
    }
    free(once);
}

static void check_stream(const uint8_t *data, size_t size)
{
    static const char *const stop[] = {"\n\n", "ab", "\xC3\xA9"};
    utf8_stream *u;
    if (utf8_stream_create(&u, stop, 3, NULL) != OMNID_OK)
        return;
    const char *text;
    size_t n, step = size ? 1 + data[0] % 7 : 1;
    bool stopped = false;
    for (size_t i = 0; i < size && !stopped; i += step) {
        size_t piece = size - i < step ? size - i : step;
        if (utf8_stream_push(u, (const char *)data + i, piece, &text, &n, &stopped, NULL) == OMNID_OK &&
            normalise_valid(text, n) != n)
            abort();
    }
    if (utf8_stream_end(u, &text, &n, &stopped, NULL) == OMNID_OK && normalise_valid(text, n) != n)
        abort();
    utf8_stream_destroy(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool valid = normalise_valid((const char *)data, size) == size;
    if (valid)
        check_normal_form((const char *)data, size);
    check_stream(data, size);
    static const tokenizer_added added = {300, "<t>", false};
    omnid_tokenizer *t;
    if (tokenizer_create_bytes(&t, &added, 1, NULL) != OMNID_OK)
        return 0;
    int32_t *ids;
    size_t n;
    omnid_status status = omnid_tokenizer_encode(t, (const char *)data, size, &ids, &n, NULL);
    if ((status == OMNID_OK) != valid && status != OMNID_NOMEM)
        abort();
    free(ids);
    omnid_tokenizer_destroy(&t);
    return 0;
}
