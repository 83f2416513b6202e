/* test_tokenizer.c: merges, added tokens, normal form, pieces; odd and malicious tokenizer.json; long texts. The agreement
 * with the `tokenizers` library on real text is tests/golden's. */
#include "engine/normalise.h"
#include "engine/pretokenizer.h"
#include "engine/tokenizer.h"
#include "tests/unit/engine/fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static omnid_tokenizer *open_fixture(void)
{
    char *json = fixture_tokenizer();
    omnid_tokenizer *t;
    omnid_error err = {0};
    if (tokenizer_parse(&t, json, strlen(json), &err) != OMNID_OK)
        fail_msg("%s", err.text);
    free(json);
    return t;
}

/* Ids of text as "1 2 3"; malloc'ed. */
static char *encode(const omnid_tokenizer *t, const char *text)
{
    int32_t *ids;
    size_t n, size;
    omnid_error err = {0};
    if (omnid_tokenizer_encode(t, text, strlen(text), &ids, &n, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    char *out;
    FILE *f = open_memstream(&out, &size);
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%s%d", i ? " " : "", ids[i]);
    fclose(f);
    free(ids);
    return out;
}

typedef struct {
    const char *text, *ids;
} pair;

static void check_pairs(const omnid_tokenizer *t, const pair *pairs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *got = encode(t, pairs[i].text);
        if (strcmp(got, pairs[i].ids) != 0)
            fail_msg("\"%s\": %s, want %s", pairs[i].text, got, pairs[i].ids);
        free(got);
    }
}

/* he 256, ll 257, hell 258, hello 259, ab 260, bc 261, abc 262, " w" 263, é 264, lh 265, lhe 266. */
static void test_merges(void **state)
{
    (void)state;
    static const pair pairs[] = {{"", ""},
                                 {"hello", "259"},
                                 {"hell", "258"},
                                 {"helo", "256 108 111"},
                                 {"lll", "257 108"}, /* leftmost first */
                                 {"llll", "257 257"},
                                 {"lh", "265"},
                                 {"lhe", "266"}, /* he goes first; l + h is stale then, though l + he merges too */
                                 {"abc", "262"},
                                 {"bc", "261"},
                                 {"abbc", "260 261"},
                                 {"hello wow", "259 263 111 119"},
                                 {"1hello", "49 259"},
                                 {"12", "49 50"},
                                 {"\x01\x7f", "1 127"},
                                 {"\xC3\xA9", "264"},
                                 {"\xC3\xB1", "195 177"}};
    omnid_tokenizer *t = open_fixture();
    check_pairs(t, pairs, sizeof pairs / sizeof *pairs);
    omnid_tokenizer_destroy(&t);
    omnid_tokenizer_destroy(&t);
}

/* e + combining acute is é; nothing joins over an added token. */
static void test_normal_form(void **state)
{
    (void)state;
    static const pair pairs[] = {{"e\xCC\x81", "264"},
                                 {"e<tool>\xCC\x81", "101 300 204 129"},
                                 {"\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "237 149 156"}, /* Hangul han */
                                 {"\xE2\x84\xAB", "195 133"}};                            /* Ångström sign */
    omnid_tokenizer *t = open_fixture();
    check_pairs(t, pairs, sizeof pairs / sizeof *pairs);
    omnid_tokenizer_destroy(&t);
}

/* Nobody types a special token; others match, the longest first, and a special one still uses up its place. */
static void test_added_tokens(void **state)
{
    (void)state;
    static const pair pairs[] = {{"<tool>", "300"},
                                 {"<tool>er", "301"},
                                 {"<tool>e", "300 101"},
                                 {"ab<tool>bc", "260 300 261"},
                                 {"<tool><tool>er<too", "300 301 60 116 111 111"},
                                 {"<|im_end|>", "60 124 105 109 95 101 110 100 124 62"},
                                 {"<|im_end|><tool>", "60 124 105 109 95 101 110 100 124 62 300"}};
    omnid_tokenizer *t = open_fixture();
    check_pairs(t, pairs, sizeof pairs / sizeof *pairs);
    assert_int_equal(tokenizer_id(t, "<|im_end|>"), 292);
    assert_int_equal(tokenizer_id(t, "<tool>"), 300);
    assert_int_equal(tokenizer_id(t, "hello"), 259);
    assert_int_equal(tokenizer_id(t, "nothing"), -1);
    assert_true(tokenizer_is_special(t, 292));
    assert_false(tokenizer_is_special(t, 300));
    assert_false(tokenizer_is_special(t, 5));
    assert_false(tokenizer_is_special(t, -1));
    assert_false(tokenizer_is_special(t, 100000));
    assert_int_equal(tokenizer_n_ids(t), 302);
    omnid_tokenizer_destroy(&t);
}

/* The cuts of Qwen2's expression, as the `tokenizers` library makes them. */
static void test_pieces(void **state)
{
    (void)state;
    static const char *const pattern =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
        "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    static const struct {
        const char *text, *pieces;
    } cases[] = {{"", ""},
                 {"I'll we'RE a'\xC5\xBF", "I|'ll| we|'RE| a|'\xC5\xBF"}, /* long s folds to s */
                 {"he  wa", "he| | wa"},
                 {"a\n\n b \n", "a|\n\n| b| \n"},
                 {"123 4", "1|2|3| |4"},
                 {"x!?\n\ny", "x|!?\n\n|y"},
                 {" \xE1\xA0\x8Ew", " \xE1\xA0\x8E|w"}, /* U+180E is no space */
                 {" \xC2\x85w", " |\xC2\x85w"},         /* U+0085 is one */
                 {"\xE3\x80\x80\xE3\x80\x80w", "\xE3\x80\x80|\xE3\x80\x80w"},
                 {"\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C", "\xE4\xBD\xA0\xE5\xA5\xBD|\xEF\xBC\x8C"},
                 {"\xD9\xA1\xC2\xBD", "\xD9\xA1|\xC2\xBD"}}; /* digits of other scripts, fractions */
    pretokenizer *p;
    pretokenizer_cursor *c;
    omnid_error err;
    assert_int_equal(pretokenizer_create(&p, pattern, &err), OMNID_OK);
    assert_int_equal(pretokenizer_cursor_create(&c, p, &err), OMNID_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[200] = "";
        const char *piece;
        size_t n;
        pretokenizer_cursor_set(c, cases[i].text, strlen(cases[i].text));
        while (pretokenizer_next(c, &piece, &n, &err) == OMNID_OK) {
            strcat(got, *got ? "|" : "");
            strncat(got, piece, n);
        }
        if (strcmp(got, cases[i].pieces) != 0)
            fail_msg("\"%s\": %s, want %s", cases[i].text, got, cases[i].pieces);
    }
    pretokenizer_cursor_destroy(&c);
    pretokenizer_destroy(&p);
    assert_int_equal(pretokenizer_create(&p, "a(", &err), OMNID_FORMAT);
    assert_null(p);
}

/* What a pattern leaves out is a piece too. */
static void test_gaps_are_pieces(void **state)
{
    (void)state;
    pretokenizer *p;
    pretokenizer_cursor *c;
    omnid_error err;
    const char *piece;
    size_t n, at = 0;
    static const size_t lengths[] = {2, 1, 3, 1, 1};
    assert_int_equal(pretokenizer_create(&p, "x|\\s[^\\S]", &err), OMNID_OK);
    assert_int_equal(pretokenizer_cursor_create(&c, p, &err), OMNID_OK);
    pretokenizer_cursor_set(c, "abxcdexf", 8);
    for (size_t i = 0; i < 5; i++, at += n) {
        assert_int_equal(pretokenizer_next(c, &piece, &n, &err), OMNID_OK);
        assert_int_equal(n, lengths[i]);
    }
    assert_int_equal(pretokenizer_next(c, &piece, &n, &err), OMNID_AGAIN);
    pretokenizer_cursor_destroy(&c);
    pretokenizer_destroy(&p);
}

static void test_bytes_come_back(void **state)
{
    (void)state;
    const char *text = "hello w\xC3\xB6rld \xF0\x9F\x98\x80 <tool>er 12'll \n\n x";
    omnid_tokenizer *t = open_fixture();
    int32_t *ids;
    size_t n, at = 0;
    omnid_error err;
    char back[200];
    assert_int_equal(omnid_tokenizer_encode(t, text, strlen(text), &ids, &n, &err), OMNID_OK);
    for (size_t i = 0; i < n; i++) {
        size_t n_bytes;
        const char *bytes = tokenizer_bytes(t, ids[i], &n_bytes);
        memcpy(back + at, bytes, n_bytes);
        at += n_bytes;
    }
    assert_int_equal(at, strlen(text));
    assert_memory_equal(back, text, at);
    free(ids);
    size_t n_bytes = 9;
    assert_string_equal(tokenizer_bytes(t, 280, &n_bytes), ""); /* a hole in the ids */
    assert_int_equal(n_bytes, 0);
    assert_string_equal(tokenizer_bytes(t, -5, &n_bytes), "");
    assert_string_equal(tokenizer_bytes(t, 302, &n_bytes), "");
    omnid_tokenizer_destroy(&t);
}

static void test_text_that_is_not_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {"a\xFF",     "a\xC3", "a\xC0\x80", "a\xED\xA0\x80", "a\xF4\x90\x80\x80",
                                      "a\xE2\x82", "a\x80"};
    omnid_tokenizer *t = open_fixture();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int32_t *ids;
        size_t n;
        omnid_error err = {0};
        assert_int_equal(omnid_tokenizer_encode(t, bad[i], strlen(bad[i]), &ids, &n, &err), OMNID_FORMAT);
        assert_non_null(strstr(err.text, "from byte 1 on"));
        assert_null(ids);
    }
    int32_t *ids;
    size_t n;
    omnid_error err;
    assert_int_equal(omnid_tokenizer_encode(t, "a\0b", 3, &ids, &n, &err), OMNID_OK); /* a zero byte is a character */
    assert_int_equal(n, 3);
    assert_int_equal(ids[1], 0);
    free(ids);
    omnid_tokenizer_destroy(&t);
}

/* A megabyte of whatever is worst for a step must take seconds even under sanitizers, not hours. */
static void test_long_texts(void **state)
{
    (void)state;
    static const char *const units[] = {
        "a", "l", " ", "\n", "1", "!", " \n", "<", "<|im_end|", "\xCC\x81", "\xCC\x81\xCC\xA3", "'s"};
    enum { SIZE = 1 << 20 };
    omnid_tokenizer *t = open_fixture();
    char *text = malloc(SIZE + 16);
    assert_non_null(text);
    int64_t start = omnid_clock_us();
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t step = strlen(units[u]), n = SIZE / step * step, n_ids;
        for (size_t i = 0; i < n; i += step)
            memcpy(text + i, units[u], step);
        int32_t *ids;
        omnid_error err = {0};
        if (omnid_tokenizer_encode(t, text, n, &ids, &n_ids, &err) != OMNID_OK)
            fail_msg("\"%s\": %s", units[u], err.text);
        assert_int_equal(n_ids, units[u][0] == 'l' ? n / 2 : n);
        free(ids);
    }
    assert_true(omnid_clock_us() - start < 60 * 1000000);
    free(text);
    omnid_tokenizer_destroy(&t);
}

/* ------------------------------------------------------------------ normal form C */

static void check_nfc(const char *from, const char *to)
{
    char *out;
    size_t n;
    omnid_error err;
    assert_int_equal(normalise_nfc(&out, &n, from, strlen(from), &err), OMNID_OK);
    if (n != strlen(to) || strcmp(out, to) != 0)
        fail_msg("NFC of \"%s\" is \"%s\", want \"%s\"", from, out, to);
    free(out);
}

static void test_nfc(void **state)
{
    (void)state;
    check_nfc("", "");
    check_nfc("plain", "plain");
    check_nfc("\xC3\xA9", "\xC3\xA9");
    check_nfc("q\xCC\x87\xCC\xA3", "q\xCC\xA3\xCC\x87");   /* marks in order of their class */
    check_nfc("a\xCC\x81\xCC\x80", "\xC3\xA1\xCC\x80");    /* equal classes keep their order */
    check_nfc("\xCE\x90", "\xCE\x90");                     /* three points, one character */
    check_nfc("\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC"); /* excluded from composition */
    check_nfc("\xF0\x9D\x85\xA0",
              "\xF0\x9D\x85\x98\xF0\x9D\x85\xA5\xF0\x9D\x85\xAE"); /* the longest: 4 bytes become 12 */
    check_nfc("\xE1\x84\x80\xE1\x85\xA1", "\xEA\xB0\x80");
}

/* ------------------------------------------------------------------ files */

typedef struct {
    const char *from, *to;
    omnid_status status;
    const char *sentence;
} edit;

static void test_refused_files(void **state)
{
    (void)state;
    static const edit edits[] = {
        {"\"NFC\"", "\"NFKC\"", OMNID_UNSUPPORTED, "want a normalizer of type NFC, found NFKC"},
        {"\"BPE\"", "\"Unigram\"", OMNID_UNSUPPORTED, "want a model of type BPE, found Unigram"},
        {"\"dropout\": null", "\"dropout\": 0.1", OMNID_UNSUPPORTED, "dropout"},
        {"\"continuing_subword_prefix\": \"\"", "\"continuing_subword_prefix\": \"##\"", OMNID_UNSUPPORTED,
         "found \"##\""},
        {"\"ignore_merges\": false", "\"byte_fallback\": true", OMNID_UNSUPPORTED, "byte_fallback"},
        {"\"Split\"", "\"Whitespace\"", OMNID_UNSUPPORTED,
         "want a first pre_tokenizer of type Split, found Whitespace"},
        {"\"Isolated\"", "\"Removed\"", OMNID_UNSUPPORTED, "found \"Removed\""},
        {"\"invert\": false", "\"invert\": true", OMNID_UNSUPPORTED, "not inverted"},
        {"\"add_prefix_space\": false", "\"add_prefix_space\": true", OMNID_UNSUPPORTED, "add_prefix_space"},
        {"(?i:'s", "(?i:'s(", OMNID_FORMAT, "regular expression does not compile"},
        {"\"vocab\"", "\"words\"", OMNID_FORMAT, "want a model with vocab and merges"},
        {"\"\\u0041\": 65", "\"\\u0041\": 66", OMNID_FORMAT, "do not belong to each other alone"},
        {"\"\\u0041\": 65", "\"\\u0041\": -1", OMNID_FORMAT, "want an id of 0"},
        {"\"\\u0041\": 65", "\"\\u0041\": 9999999999", OMNID_FORMAT, "want an id of 0"},
        {"\"\\u0041\": 65", "\"\\u0041\": \"x\"", OMNID_FORMAT, "want an id of 0"},
        {"\"\\u0041\": 65", "\"\\u4e00\": 65", OMNID_FORMAT, "not written in the alphabet of bytes"},
        {"\"\\u0041\": 65", "\" \": 65", OMNID_FORMAT, "not written in the alphabet of bytes"},
        {"\"\\u0041\": 65", "\"\": 65", OMNID_FORMAT, "not written in the alphabet of bytes"},
        {", \"\\u0041\": 65", "", OMNID_FORMAT, "no token for byte 0x41"},
        {"[\"h\", \"e\"]", "[\"h\", \"z\"]", OMNID_FORMAT,
         "merge 0: \"h\" + \"z\" or their union is not in the vocabulary"},
        {"[\"h\", \"e\"]", "[\"h\"]", OMNID_FORMAT, "merge 0: want two tokens"},
        {"[\"h\", \"e\"]", "\"he\"", OMNID_FORMAT, "merge 0: want two tokens"},
        {"[\"h\", \"e\"]", "7", OMNID_FORMAT, "merge 0: want two tokens"},
        {"\"id\": 301", "\"id\": 300", OMNID_FORMAT, "do not belong to each other alone"},
        {"\"id\": 301", "\"id\": 70", OMNID_FORMAT, "do not belong to each other alone"},
        {"\"<tool>er\"", "\"<tool>\"", OMNID_FORMAT, "do not belong to each other alone"},
        {"\"content\": \"<tool>er\", ", "", OMNID_FORMAT, "added_tokens[11] has no content"},
        {"\"special\": false", "\"lstrip\": true, \"special\": false", OMNID_UNSUPPORTED,
         "neither single_word nor lstrip"},
        {"\"special\": false", "\"special\": 0", OMNID_FORMAT, "want true or false"},
    };
    char *json = fixture_tokenizer();
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char *text = fixture_replace(json, edits[i].from, edits[i].to);
        if (!text)
            fail_msg("%s is not in the fixture", edits[i].from);
        omnid_tokenizer *t = (omnid_tokenizer *)1;
        omnid_error err = {0};
        omnid_status status = tokenizer_parse(&t, text, strlen(text), &err);
        assert_null(t);
        if (status != edits[i].status || !strstr(err.text, edits[i].sentence))
            fail_msg("%s -> %s: %s: %s", edits[i].from, edits[i].to, omnid_status_name(status), err.text);
        free(text);
    }
    for (size_t n = 0; n < strlen(json); n += 37) {
        omnid_tokenizer *t;
        omnid_error err;
        assert_int_equal(tokenizer_parse(&t, json, n, &err), OMNID_FORMAT);
    }
    free(json);
}

/* Tokens matched after normalisation see composed text; without a Split there is one piece. */
static void test_other_settings(void **state)
{
    (void)state;
    char *json = fixture_tokenizer();
    char *text = fixture_replace(json, "\"content\": \"<tool>er\", \"special\": false, \"normalized\": false",
                                 "\"content\": \"\\u00e9\\u00e9\", \"special\": false, \"normalized\": true");
    omnid_tokenizer *t;
    omnid_error err = {0};
    assert_int_equal(tokenizer_parse(&t, text, strlen(text), &err), OMNID_OK);
    static const pair pairs[] = {{"e\xCC\x81\xC3\xA9", "301"},
                                 {"\xC3\xA9"
                                  "a",
                                  "264 97"}};
    check_pairs(t, pairs, 2);
    omnid_tokenizer_destroy(&t);
    free(text);
    char *begin = strstr(json, "\"pre_tokenizer\": "), *end = strstr(json, ", \"model\": ");
    *begin = '\0';
    char *whole;
    assert_true(
        asprintf(&whole,
                 "%s\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}%s",
                 json, end) > 0);
    assert_int_equal(tokenizer_parse(&t, whole, strlen(whole), &err), OMNID_OK);
    static const pair one[] = {{"he  w", "256 32 263"}, {"1hello", "49 259"}};
    check_pairs(t, one, 2);
    omnid_tokenizer_destroy(&t);
    free(whole);
    free(json);
}

static void test_open_file(void **state)
{
    (void)state;
    char *folder = fixture_folder(), path[600], *json = fixture_tokenizer();
    omnid_tokenizer *t;
    omnid_error err = {0};
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(omnid_tokenizer_open(&t, path, &err), OMNID_NOT_FOUND);
    assert_null(t);
    fixture_text(folder, "tokenizer.json", json);
    assert_int_equal(omnid_tokenizer_open(&t, path, &err), OMNID_OK);
    omnid_tokenizer_destroy(&t);
    fixture_remove(&folder);
    free(json);
}

static void test_bytes_tokenizer(void **state)
{
    (void)state;
    const tokenizer_added added[] = {{300, "<s>", true}, {257, "<t>", false}};
    omnid_tokenizer *t;
    omnid_error err = {0};
    assert_int_equal(tokenizer_create_bytes(&t, added, 2, &err), OMNID_OK);
    static const pair pairs[] = {{"a <t><s>", "97 32 257 60 115 62"}, {"\xC3\xA9", "195 169"}};
    check_pairs(t, pairs, 2);
    assert_int_equal(tokenizer_n_ids(t), 301);
    assert_int_equal(tokenizer_id(t, "<s>"), 300);
    omnid_tokenizer_destroy(&t);
    const tokenizer_added low = {255, "<s>", true};
    assert_int_equal(tokenizer_create_bytes(&t, &low, 1, &err), OMNID_ARGUMENT);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merges),
                                       cmocka_unit_test(test_normal_form),
                                       cmocka_unit_test(test_added_tokens),
                                       cmocka_unit_test(test_pieces),
                                       cmocka_unit_test(test_gaps_are_pieces),
                                       cmocka_unit_test(test_bytes_come_back),
                                       cmocka_unit_test(test_text_that_is_not_utf8),
                                       cmocka_unit_test(test_long_texts),
                                       cmocka_unit_test(test_nfc),
                                       cmocka_unit_test(test_refused_files),
                                       cmocka_unit_test(test_other_settings),
                                       cmocka_unit_test(test_open_file),
                                       cmocka_unit_test(test_bytes_tokenizer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
