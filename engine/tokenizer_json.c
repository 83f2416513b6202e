/* tokenizer_json.c: tokenizer.json -> tables. Everything this engine has no code for is refused by name, since a tokenizer
 * that is nearly right makes a model that is quietly wrong. */
#include "engine/config.h"
#include "engine/json_field.h"
#include "engine/normalise.h"
#include "engine/tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 256 << 20, MAX_TOKEN_BYTES = 1 << 16 };

/* ------------------------------------------------------------------ GPT-2's alphabet of bytes */

/* Bytes that stand for themselves: printable Latin-1 without the space and the soft hyphen. */
static bool stands_for_itself(int b)
{
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

/* byte_of[point] for points below 0x180: the byte a character of the alphabet stands for, -1 = none. The other 68 bytes
 * have U+0100 and up, in order. */
static void fill_alphabet(int16_t byte_of[0x180])
{
    int next = 0x100;
    for (int i = 0; i < 0x180; i++)
        byte_of[i] = -1;
    for (int b = 0; b < 256; b++)
        byte_of[stands_for_itself(b) ? b : next++] = (int16_t)b;
}

/* Bytes of a vocabulary key into out (at most n); -1: a character is not of the alphabet. Keys are valid UTF-8. */
static long unmap_bytes(char *out, const int16_t byte_of[0x180], const char *key, size_t n)
{
    long count = 0;
    for (size_t i = 0; i < n;) {
        unsigned point = (uint8_t)key[i++];
        if (point >= 0xE0)
            return -1;
        if (point >= 0xC0 && i < n)
            point = (point & 0x1F) << 6 | ((uint8_t)key[i++] & 0x3F);
        if (point >= 0x180 || byte_of[point] < 0)
            return -1;
        out[count++] = (char)byte_of[point];
    }
    return count;
}

/* ------------------------------------------------------------------ the kinds of steps */

static omnid_status want_kind(const json_t *o, const char *what, const char *want, omnid_error *err)
{
    const char *found = json_string_value(json_field_get(o, "type"));
    if (!found || strcmp(found, want) != 0)
        return omnid_fail(err, OMNID_UNSUPPORTED, "tokenizer.json: want a %s of type %s, found %.64s", what, want,
                          found ? found : "none");
    return OMNID_OK;
}

static omnid_status read_normaliser(omnid_tokenizer *t, const json_t *o, omnid_error *err)
{
    if (!o)
        return OMNID_OK;
    OMNID_TRY(want_kind(o, "normalizer", "NFC", err));
    t->nfc = true;
    return OMNID_OK;
}

static omnid_status read_byte_level(const json_t *o, omnid_error *err)
{
    OMNID_TRY(want_kind(o, "last pre_tokenizer", "ByteLevel", err));
    bool space = true, regex = true; /* the library's defaults */
    OMNID_TRY(json_field_bool(o, "pre_tokenizer", "add_prefix_space", &space, err));
    OMNID_TRY(json_field_bool(o, "pre_tokenizer", "use_regex", &regex, err));
    if (space || regex)
        return omnid_fail(err, OMNID_UNSUPPORTED,
                          "tokenizer.json: want ByteLevel without add_prefix_space and use_regex");
    return OMNID_OK;
}

static omnid_status read_split(const json_t *o, const char **pattern, omnid_error *err)
{
    OMNID_TRY(want_kind(o, "first pre_tokenizer", "Split", err));
    OMNID_TRY(json_field_expect(o, "pre_tokenizer", "behavior", "Isolated", err));
    bool invert = false;
    OMNID_TRY(json_field_bool(o, "pre_tokenizer", "invert", &invert, err));
    *pattern = json_string_value(json_field_get(json_field_get(o, "pattern"), "Regex"));
    if (!*pattern || invert)
        return omnid_fail(err, OMNID_UNSUPPORTED, "tokenizer.json: want a Split by a Regex that is not inverted");
    return OMNID_OK;
}

/* ByteLevel alone, or a Sequence of Split and ByteLevel. */
static omnid_status read_pretokenizer(omnid_tokenizer *t, const json_t *o, omnid_error *err)
{
    const char *pattern = NULL;
    const json_t *list = json_field_get(o, "pretokenizers");
    if (!list) {
        OMNID_TRY(read_byte_level(o, err));
        return pretokenizer_create(&t->pretokenizer, NULL, err);
    }
    OMNID_TRY(want_kind(o, "pre_tokenizer", "Sequence", err));
    if (json_array_size(list) != 2)
        return omnid_fail(err, OMNID_UNSUPPORTED,
                          "tokenizer.json: want two pretokenizers, Split and ByteLevel, found %zu",
                          json_array_size(list));
    OMNID_TRY(read_split(json_array_get(list, 0), &pattern, err));
    OMNID_TRY(read_byte_level(json_array_get(list, 1), err));
    return pretokenizer_create(&t->pretokenizer, pattern, err);
}

static omnid_status check_model(omnid_tokenizer *t, const json_t *model, omnid_error *err)
{
    const char *w = "tokenizer.json: model";
    if (json_field_get(model, "type"))
        OMNID_TRY(want_kind(model, "model", "BPE", err));
    if (json_field_get(model, "dropout"))
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s.dropout: want null", w);
    OMNID_TRY(json_field_expect(model, w, "continuing_subword_prefix", "", err));
    OMNID_TRY(json_field_expect(model, w, "end_of_word_suffix", "", err));
    bool fallback = false;
    OMNID_TRY(json_field_bool(model, w, "byte_fallback", &fallback, err));
    if (fallback)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s.byte_fallback: want false", w);
    return json_field_bool(model, w, "ignore_merges", &t->ignore_merges, err);
}

/* ------------------------------------------------------------------ vocabulary, added tokens, merges */

static omnid_status check_id(const char *what, const json_t *x, omnid_error *err)
{
    if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) >= TOKENIZER_MAX_IDS)
        return omnid_fail(err, OMNID_FORMAT, "tokenizer.json: \"%.64s\": want an id of 0 .. %d", what,
                          TOKENIZER_MAX_IDS - 1);
    return OMNID_OK;
}

static const char *added_content(const json_t *o)
{
    const char *s = json_string_value(json_field_get(o, "content"));
    return s && *s && strlen(s) <= MAX_TOKEN_BYTES ? s : NULL;
}

/* Highest id and bytes of all contents, so that the tables are made once. */
static omnid_status measure(const json_t *vocab, const json_t *added, int32_t *n_ids, size_t *n_pool, omnid_error *err)
{
    const char *key;
    json_t *x;
    size_t i;
    *n_ids = 0;
    *n_pool = 0;
    json_object_foreach((json_t *)vocab, key, x)
    {
        OMNID_TRY(check_id(key, x, err));
        int32_t id = (int32_t)json_integer_value(x);
        *n_ids = id >= *n_ids ? id + 1 : *n_ids;
        *n_pool += strlen(key);
    }
    json_array_foreach(added, i, x)
    {
        const char *content = added_content(x);
        if (!content)
            return omnid_fail(err, OMNID_FORMAT, "tokenizer.json: added_tokens[%zu] has no content", i);
        OMNID_TRY(check_id(content, json_field_get(x, "id"), err));
        int32_t id = (int32_t)json_integer_value(json_field_get(x, "id"));
        *n_ids = id >= *n_ids ? id + 1 : *n_ids;
        *n_pool += strlen(content);
    }
    return OMNID_OK;
}

static omnid_status read_vocabulary(omnid_tokenizer *t, const json_t *vocab, omnid_error *err)
{
    int16_t byte_of[0x180];
    fill_alphabet(byte_of);
    const char *key;
    json_t *x;
    char *bytes = malloc(MAX_TOKEN_BYTES);
    if (!bytes)
        return omnid_fail(err, OMNID_NOMEM, "no memory to read a vocabulary");
    omnid_status status = OMNID_OK;
    json_object_foreach((json_t *)vocab, key, x)
    {
        size_t n = strlen(key);
        long n_bytes = n <= MAX_TOKEN_BYTES ? unmap_bytes(bytes, byte_of, key, n) : -1;
        if (n_bytes <= 0)
            status =
                omnid_fail(err, OMNID_FORMAT, "tokenizer.json: \"%.64s\" is not written in the alphabet of bytes", key);
        else
            status = tokenizer_put(t, (int32_t)json_integer_value(x), bytes, (size_t)n_bytes, err);
        if (status != OMNID_OK)
            break;
    }
    free(bytes);
    return status;
}

static omnid_status read_added(omnid_tokenizer *t, const json_t *o, omnid_error *err)
{
    const char *content = added_content(o);
    int32_t id = (int32_t)json_integer_value(json_field_get(o, "id"));
    bool flags[4] = {false, false, false, false}, special = false, normalised = false;
    OMNID_TRY(json_field_bool(o, content, "single_word", &flags[0], err));
    OMNID_TRY(json_field_bool(o, content, "lstrip", &flags[1], err));
    OMNID_TRY(json_field_bool(o, content, "rstrip", &flags[2], err));
    OMNID_TRY(json_field_bool(o, content, "special", &special, err));
    OMNID_TRY(json_field_bool(o, content, "normalized", &normalised, err));
    if (flags[0] || flags[1] || flags[2])
        return omnid_fail(err, OMNID_UNSUPPORTED,
                          "tokenizer.json: \"%.64s\": want neither single_word nor lstrip nor rstrip", content);
    OMNID_TRY(tokenizer_put(t, id, content, strlen(content), err));
    token_bytes *b = &t->tokens[id];
    if (b->added)
        return omnid_fail(err, OMNID_FORMAT, "tokenizer.json: \"%.64s\" is added twice", content);
    b->added = true;
    b->special = special;
    b->normalised = normalised;
    t->added_first[(uint8_t)*content] = true;
    t->added[t->n_added++] = id;
    return OMNID_OK;
}

/* ["a", "b"] or "a b" in the alphabet of bytes -> the ids of a, b and ab. */
static omnid_status read_merge(omnid_tokenizer *t, const json_t *x, int32_t rank, char *bytes,
                               const int16_t byte_of[0x180], omnid_error *err)
{
    const char *left = json_string_value(json_array_get(x, 0)), *right = json_string_value(json_array_get(x, 1));
    size_t n_left = left ? strlen(left) : 0, n_right = right ? strlen(right) : 0;
    const char *joined = json_string_value(x), *gap = joined ? strchr(joined, ' ') : NULL;
    if (gap) {
        left = joined;
        n_left = (size_t)(gap - joined);
        right = gap + 1;
        n_right = strlen(right);
    }
    long a = -1, b = -1;
    if (n_left && n_right && n_left <= MAX_TOKEN_BYTES && n_right <= MAX_TOKEN_BYTES) {
        a = unmap_bytes(bytes, byte_of, left, n_left);
        b = a < 0 ? -1 : unmap_bytes(bytes + a, byte_of, right, n_right);
    }
    if (a < 0 || b < 0)
        return omnid_fail(err, OMNID_FORMAT, "tokenizer.json: merge %d: want two tokens", rank);
    int32_t id_left = tokenizer_lookup(t, bytes, (size_t)a), id_right = tokenizer_lookup(t, bytes + a, (size_t)b);
    int32_t id = tokenizer_lookup(t, bytes, (size_t)(a + b));
    if (id_left < 0 || id_right < 0 || id < 0)
        return omnid_fail(err, OMNID_FORMAT,
                          "tokenizer.json: merge %d: \"%.*s\" + \"%.*s\" or their union is not in the vocabulary", rank,
                          (int)(n_left < 64 ? n_left : 64), left, (int)(n_right < 64 ? n_right : 64), right);
    bpe_add(t->bpe, id_left, id_right, rank, id);
    return OMNID_OK;
}

static omnid_status read_merges(omnid_tokenizer *t, const json_t *merges, omnid_error *err)
{
    int32_t byte_ids[256];
    for (int b = 0; b < 256; b++) {
        char byte = (char)b;
        byte_ids[b] = tokenizer_lookup(t, &byte, 1);
        if (byte_ids[b] < 0)
            return omnid_fail(err, OMNID_FORMAT, "tokenizer.json: the vocabulary has no token for byte 0x%02x", b);
    }
    OMNID_TRY(bpe_create(&t->bpe, byte_ids, json_array_size(merges), err));
    int16_t byte_of[0x180];
    fill_alphabet(byte_of);
    char *bytes = malloc(2 * MAX_TOKEN_BYTES);
    if (!bytes)
        return omnid_fail(err, OMNID_NOMEM, "no memory to read merges");
    omnid_status status = OMNID_OK;
    size_t i;
    json_t *x;
    json_array_foreach(merges, i, x)
    {
        status = read_merge(t, x, (int32_t)i, bytes, byte_of, err);
        if (status != OMNID_OK)
            break;
    }
    free(bytes);
    return status;
}

/* ------------------------------------------------------------------ the whole */

static omnid_status fill(omnid_tokenizer *t, const json_t *root, omnid_error *err)
{
    const json_t *model = json_field_get(root, "model"), *added = json_field_get(root, "added_tokens");
    const json_t *vocab = json_field_get(model, "vocab"), *merges = json_field_get(model, "merges");
    if (!json_is_object(vocab) || !json_is_array(merges))
        return omnid_fail(err, OMNID_FORMAT, "tokenizer.json: want a model with vocab and merges");
    size_t n_added = json_array_size(added);
    if (n_added > TOKENIZER_MAX_ADDED || json_array_size(merges) >= TOKENIZER_MAX_IDS)
        return omnid_fail(err, OMNID_LIMIT,
                          "tokenizer.json: want at most %d added tokens and %d merges, found %zu and %zu",
                          TOKENIZER_MAX_ADDED, TOKENIZER_MAX_IDS, n_added, json_array_size(merges));
    OMNID_TRY(check_model(t, model, err));
    OMNID_TRY(read_normaliser(t, json_field_get(root, "normalizer"), err));
    OMNID_TRY(read_pretokenizer(t, json_field_get(root, "pre_tokenizer"), err));
    int32_t n_ids;
    size_t n_pool;
    OMNID_TRY(measure(vocab, added, &n_ids, &n_pool, err));
    OMNID_TRY(tokenizer_reserve(t, n_ids, n_pool, err));
    OMNID_TRY(read_vocabulary(t, vocab, err));
    OMNID_TRY(read_merges(t, merges, err));
    t->added = malloc((n_added + 1) * sizeof *t->added);
    if (!t->added)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %zu added tokens", n_added);
    for (size_t i = 0; i < n_added; i++)
        OMNID_TRY(read_added(t, json_array_get(added, i), err));
    return OMNID_OK;
}

omnid_status tokenizer_parse(omnid_tokenizer **out, const char *json, size_t n, omnid_error *err)
{
    *out = NULL;
    omnid_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a tokenizer");
    json_t *root = NULL;
    omnid_status status = json_field_parse(&root, json, n, "tokenizer.json", err);
    if (status == OMNID_OK)
        status = fill(t, root, err);
    json_decref(root);
    if (status != OMNID_OK)
        omnid_tokenizer_destroy(&t);
    *out = t;
    return status;
}

omnid_status omnid_tokenizer_open(omnid_tokenizer **out, const char *tokenizer_json, omnid_error *err)
{
    *out = NULL;
    char *text;
    size_t n;
    OMNID_TRY(config_read_file(&text, &n, tokenizer_json, MAX_FILE, err));
    omnid_status status = tokenizer_parse(out, text, n, err);
    free(text);
    return status;
}

static omnid_status fill_bytes(omnid_tokenizer *t, const tokenizer_added *added, int n_added, omnid_error *err)
{
    int32_t n_ids = 256, byte_ids[256];
    size_t n_pool = 256;
    for (int i = 0; i < n_added; i++) {
        if (added[i].id < 256 || added[i].id >= TOKENIZER_MAX_IDS)
            return omnid_fail(err, OMNID_ARGUMENT, "%s: want an id of 256 .. %d, found %d", added[i].text,
                              TOKENIZER_MAX_IDS - 1, added[i].id);
        n_ids = added[i].id >= n_ids ? added[i].id + 1 : n_ids;
        n_pool += strlen(added[i].text);
    }
    OMNID_TRY(tokenizer_reserve(t, n_ids, n_pool, err));
    for (int b = 0; b < 256; b++) {
        char byte = (char)b;
        byte_ids[b] = b;
        OMNID_TRY(tokenizer_put(t, b, &byte, 1, err));
    }
    OMNID_TRY(bpe_create(&t->bpe, byte_ids, 0, err));
    OMNID_TRY(pretokenizer_create(&t->pretokenizer, NULL, err));
    t->added = malloc(((size_t)n_added + 1) * sizeof *t->added);
    if (!t->added)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d added tokens", n_added);
    for (int i = 0; i < n_added; i++) {
        OMNID_TRY(tokenizer_put(t, added[i].id, added[i].text, strlen(added[i].text), err));
        t->tokens[added[i].id].added = true;
        t->tokens[added[i].id].special = added[i].special;
        t->added_first[(uint8_t)*added[i].text] = true;
        t->added[t->n_added++] = added[i].id;
    }
    return OMNID_OK;
}

omnid_status tokenizer_create_bytes(omnid_tokenizer **out, const tokenizer_added *added, int n_added, omnid_error *err)
{
    omnid_tokenizer *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a tokenizer");
    omnid_status status = fill_bytes(t, added, n_added, err);
    if (status != OMNID_OK)
        omnid_tokenizer_destroy(&t);
    *out = t;
    return status;
}
