/* tokenizer.h: text to token ids and back: Qwen2's byte-level BPE as tokenizer.json describes it.
 * Immutable once open; any thread. The public half is in omnid.h. */
#ifndef ENGINE_TOKENIZER_H
#define ENGINE_TOKENIZER_H

#include "engine/omnid.h"

/* Reads n bytes of tokenizer.json. FORMAT: malformed; UNSUPPORTED: another kind of tokenizer. */
omnid_status tokenizer_parse(omnid_tokenizer **out, const char *json, size_t n, omnid_error *err);

typedef struct {
    int32_t id;
    const char *text;
    bool special; /* never matched in text; not part of an answer's text */
} tokenizer_added;

/* Ids 0 .. 255 are the bytes, no merges, and the given tokens (ids 256 and up, copied). For models of random weights. */
omnid_status tokenizer_create_bytes(omnid_tokenizer **out, const tokenizer_added *added, int n_added, omnid_error *err);

/* Id of a token by its content ("<|im_end|>"): added tokens first, then the vocabulary. -1 = none. */
int32_t tokenizer_id(const omnid_tokenizer *t, const char *token);

/* Bytes of a token (not terminated; borrowed); *n = 0 and an empty string for ids that have none. Special tokens give
 * their content. */
const char *tokenizer_bytes(const omnid_tokenizer *t, int32_t id, size_t *n);

/* True for added tokens with special: true, which an answer's text leaves out. */
bool tokenizer_is_special(const omnid_tokenizer *t, int32_t id);

/* One more than the highest id. */
int32_t tokenizer_n_ids(const omnid_tokenizer *t);

#endif
