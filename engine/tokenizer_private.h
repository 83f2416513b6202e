/* tokenizer_private.h: the struct that tokenizer_json.c fills and tokenizer.c reads. */
#ifndef ENGINE_TOKENIZER_PRIVATE_H
#define ENGINE_TOKENIZER_PRIVATE_H

#include "engine/bpe.h"
#include "engine/pretokenizer.h"
#include "engine/tokenizer.h"

enum { TOKENIZER_MAX_IDS = 1 << 22, TOKENIZER_MAX_ADDED = 4096 };

typedef struct {
    size_t at;  /* in the pool */
    uint32_t n; /* bytes */
    bool used, added, special, normalised;
} token_bytes;

struct omnid_tokenizer {
    token_bytes *tokens; /* [n_ids] */
    int32_t n_ids;
    char *pool;
    size_t n_pool;
    int32_t *by_content; /* hash table of ids; -1 = free */
    size_t mask;
    int32_t *added; /* ids of added tokens */
    int n_added;
    bool added_first[256]; /* some added token starts with this byte */
    bool nfc, ignore_merges;
    bpe *bpe;
    pretokenizer *pretokenizer;
};

/* Tables for ids 0 .. n_ids - 1 with n_pool bytes of content in all. */
omnid_status tokenizer_reserve(omnid_tokenizer *t, int32_t n_ids, size_t n_pool, omnid_error *err);
/* Gives id its bytes. FORMAT: the id or the bytes are taken by another. */
omnid_status tokenizer_put(omnid_tokenizer *t, int32_t id, const char *bytes, size_t n, omnid_error *err);
/* Id of a token by its bytes; -1 = none. */
int32_t tokenizer_lookup(const omnid_tokenizer *t, const char *bytes, size_t n);

#endif
