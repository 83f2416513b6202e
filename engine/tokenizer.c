/* tokenizer.c: the vocabulary, added tokens, and the walk text -> added tokens | NFC -> pieces -> BPE.
 * tokenizer_json.c fills the struct from tokenizer.json. */
#include "engine/normalise.h"
#include "engine/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ content <-> id */

static uint64_t hash_bytes(const char *bytes, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)bytes[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

/* Slot of the token with these bytes, or the free slot where it would go. */
static size_t find_slot(const omnid_tokenizer *t, const char *bytes, size_t n)
{
    size_t i = (size_t)hash_bytes(bytes, n) & t->mask;
    while (t->by_content[i] >= 0) {
        const token_bytes *b = &t->tokens[t->by_content[i]];
        if (b->n == n && memcmp(t->pool + b->at, bytes, n) == 0)
            break;
        i = (i + 1) & t->mask;
    }
    return i;
}

int32_t tokenizer_lookup(const omnid_tokenizer *t, const char *bytes, size_t n)
{
    return t->by_content[find_slot(t, bytes, n)];
}

omnid_status tokenizer_reserve(omnid_tokenizer *t, int32_t n_ids, size_t n_pool, omnid_error *err)
{
    size_t n_slots = 64;
    while (n_slots < 2 * (size_t)n_ids + 2)
        n_slots *= 2;
    t->tokens = calloc((size_t)n_ids + 1, sizeof *t->tokens);
    t->by_content = malloc(n_slots * sizeof *t->by_content);
    t->pool = malloc(n_pool + 1);
    if (!t->tokens || !t->by_content || !t->pool)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a vocabulary of %d tokens", n_ids);
    memset(t->by_content, 0xff, n_slots * sizeof *t->by_content);
    t->mask = n_slots - 1;
    t->n_ids = n_ids;
    return OMNID_OK;
}

omnid_status tokenizer_put(omnid_tokenizer *t, int32_t id, const char *bytes, size_t n, omnid_error *err)
{
    size_t slot = find_slot(t, bytes, n);
    if (t->by_content[slot] == id)
        return OMNID_OK; /* an added token that the vocabulary has too */
    if (t->by_content[slot] >= 0 || t->tokens[id].used)
        return omnid_fail(err, OMNID_FORMAT, "tokenizer.json: id %d and \"%.*s\" do not belong to each other alone", id,
                          (int)(n < 64 ? n : 64), bytes);
    memcpy(t->pool + t->n_pool, bytes, n);
    t->tokens[id] = (token_bytes){.at = t->n_pool, .n = (uint32_t)n, .used = true};
    t->n_pool += n;
    t->by_content[slot] = id;
    return OMNID_OK;
}

int32_t tokenizer_id(const omnid_tokenizer *t, const char *token)
{
    return tokenizer_lookup(t, token, strlen(token));
}

const char *tokenizer_bytes(const omnid_tokenizer *t, int32_t id, size_t *n)
{
    if (id < 0 || id >= t->n_ids || !t->tokens[id].used) {
        *n = 0;
        return "";
    }
    *n = t->tokens[id].n;
    return t->pool + t->tokens[id].at;
}

bool tokenizer_is_special(const omnid_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_ids && t->tokens[id].special;
}

int32_t tokenizer_n_ids(const omnid_tokenizer *t)
{
    return t->n_ids;
}

void omnid_tokenizer_destroy(omnid_tokenizer **t)
{
    if (!*t)
        return;
    free((*t)->tokens);
    free((*t)->by_content);
    free((*t)->pool);
    free((*t)->added);
    bpe_destroy(&(*t)->bpe);
    pretokenizer_destroy(&(*t)->pretokenizer);
    free(*t);
    *t = NULL;
}

/* ------------------------------------------------------------------ encode */

typedef struct {
    const omnid_tokenizer *t;
    pretokenizer_cursor *cursor;
    bpe_work *work;
    int32_t *ids;
    size_t n_ids, capacity;
    omnid_error *err;
} encoder;

static omnid_status append(encoder *e, const int32_t *ids, size_t n)
{
    if (n > e->capacity - e->n_ids) {
        size_t capacity = e->capacity + e->capacity / 2 + n + 64;
        int32_t *grown = realloc(e->ids, capacity * sizeof *grown);
        if (!grown)
            return omnid_fail(e->err, OMNID_NOMEM, "no memory for %zu token ids", capacity);
        e->ids = grown;
        e->capacity = capacity;
    }
    if (n)
        memcpy(e->ids + e->n_ids, ids, n * sizeof *ids);
    e->n_ids += n;
    return OMNID_OK;
}

static omnid_status encode_word(encoder *e, const char *word, size_t n)
{
    if (e->t->ignore_merges) {
        int32_t id = tokenizer_lookup(e->t, word, n);
        if (id >= 0 && !e->t->tokens[id].added)
            return append(e, &id, 1);
    }
    const int32_t *ids;
    size_t n_ids;
    OMNID_TRY(bpe_encode(e->t->bpe, e->work, word, n, &ids, &n_ids, e->err));
    return append(e, ids, n_ids);
}

static omnid_status encode_plain(encoder *e, const char *text, size_t n)
{
    pretokenizer_cursor_set(e->cursor, text, n);
    for (;;) {
        const char *piece;
        size_t n_piece;
        omnid_status status = pretokenizer_next(e->cursor, &piece, &n_piece, e->err);
        if (status != OMNID_OK)
            return status == OMNID_AGAIN ? OMNID_OK : status;
        OMNID_TRY(encode_word(e, piece, n_piece));
    }
}

/* The longest added token at text, of those that are looked for in normalised or in raw text. -1 = none. */
static int32_t match_added(const omnid_tokenizer *t, bool normalised, const char *text, size_t n)
{
    int32_t best = -1;
    uint32_t longest = 0;
    if (!t->added_first[(uint8_t)*text])
        return -1;
    for (int i = 0; i < t->n_added; i++) {
        const token_bytes *b = &t->tokens[t->added[i]];
        if (b->normalised == normalised && b->n > longest && b->n <= n && memcmp(t->pool + b->at, text, b->n) == 0) {
            best = t->added[i];
            longest = b->n;
        }
    }
    return best;
}

static omnid_status encode_raw(encoder *e, const char *text, size_t n);

/* What lies between added tokens goes one step on: raw text to NFC and the second kind of added tokens, that to BPE. */
static omnid_status encode_between(encoder *e, bool normalised, const char *text, size_t n)
{
    if (n == 0)
        return OMNID_OK;
    return normalised ? encode_plain(e, text, n) : encode_raw(e, text, n);
}

/* Leftmost-longest, not overlapping; a special token uses up its place but stays ordinary text: nobody types one. */
static omnid_status split_added(encoder *e, bool normalised, const char *text, size_t n)
{
    size_t begin = 0;
    for (size_t at = 0; at < n;) {
        int32_t id = match_added(e->t, normalised, text + at, n - at);
        if (id < 0) {
            at++;
            continue;
        }
        if (!e->t->tokens[id].special) {
            OMNID_TRY(encode_between(e, normalised, text + begin, at - begin));
            OMNID_TRY(append(e, &id, 1));
            begin = at + e->t->tokens[id].n;
        }
        at += e->t->tokens[id].n;
    }
    return encode_between(e, normalised, text + begin, n - begin);
}

static omnid_status encode_raw(encoder *e, const char *text, size_t n)
{
    if (!e->t->nfc)
        return split_added(e, true, text, n);
    char *normal;
    size_t n_normal;
    OMNID_TRY(normalise_nfc(&normal, &n_normal, text, n, e->err));
    omnid_status status = split_added(e, true, normal, n_normal);
    free(normal);
    return status;
}

omnid_status omnid_tokenizer_encode(const omnid_tokenizer *t, const char *text, size_t n, int32_t **ids, size_t *n_ids,
                                    omnid_error *err)
{
    *ids = NULL;
    *n_ids = 0;
    if (n > (size_t)INT32_MAX / 8)
        return omnid_fail(err, OMNID_LIMIT, "want at most %d bytes of text, found %zu", INT32_MAX / 8, n);
    size_t bad = normalise_valid(text, n);
    if (bad < n)
        return omnid_fail(err, OMNID_FORMAT, "the text is not UTF-8 from byte %zu on", bad);
    encoder e = {.t = t, .err = err};
    omnid_status status = pretokenizer_cursor_create(&e.cursor, t->pretokenizer, err);
    if (status == OMNID_OK)
        status = bpe_work_create(&e.work, err);
    if (status == OMNID_OK) { /* even an empty list has an address */
        e.capacity = n / 4 + 16;
        e.ids = malloc(e.capacity * sizeof *e.ids);
        status = e.ids ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory for token ids");
    }
    if (status == OMNID_OK)
        status = split_added(&e, false, text, n);
    pretokenizer_cursor_destroy(&e.cursor);
    bpe_work_destroy(&e.work);
    if (status != OMNID_OK) {
        free(e.ids);
        return status;
    }
    *ids = e.ids;
    *n_ids = e.n_ids;
    return OMNID_OK;
}
