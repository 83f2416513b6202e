/* test_safetensors.c: headers that lie, shards, names with and without their prefix. */
#include "engine/safetensors.h"
#include "tests/unit/engine/fixtures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ headers */

/* 8 bytes of length, the header, n_data bytes of data. malloc'ed. */
static char *make_file(uint64_t n_header, const char *header, size_t n_data, size_t *size)
{
    *size = 8 + strlen(header) + n_data;
    char *file = calloc(1, *size);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (char)(n_header >> (8 * i) & 255);
    memcpy(file + 8, header, strlen(header));
    return file;
}

typedef struct {
    const char *header;
    size_t n_data;
    omnid_status status;
    const char *sentence;
} header_case;

#define T(name, dtype, shape, begin, end)                                                                              \
    "\"" name "\": {\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": [" begin ", " end "]}"

static void test_headers(void **state)
{
    (void)state;
    static const header_case cases[] = {
        {"{" T("a", "F32", "[2, 3]", "0", "24") "}", 24, OMNID_OK, ""},
        {"{" T("b", "BF16", "[2]", "24", "28") ", " T("a", "F32", "[2, 3]", "0", "24") "}", 28, OMNID_OK, ""},
        {"{\"__metadata__\": {\"format\": \"pt\"}, " T("a", "I64", "[]", "0", "8") "}", 8, OMNID_OK, ""},
        {"{" T("a", "F32", "[0]", "0", "0") ", " T("b", "U8", "[1]", "0", "1") "}", 1, OMNID_OK, ""},
        {"{}", 0, OMNID_OK, ""},
        {"{" T("a", "F32", "[2, 3]", "0", "24") "}", 23, OMNID_FORMAT,
         "a: data_offsets [0, 24] lie outside the file's 23"},
        {"{" T("a", "F32", "[2, 3]", "0", "24") "}", 25, OMNID_FORMAT, "take 24 bytes, the file has 25"},
        {"{" T("a", "F32", "[2, 3]", "0", "20") "}", 20, OMNID_FORMAT,
         "a: its shape takes 24 bytes, its data_offsets span 20"},
        {"{" T("a", "F32", "[2]", "8", "0") "}", 8, OMNID_FORMAT, "lie outside"},
        {"{" T("a", "F32", "[2]", "-8", "0") "}", 8, OMNID_FORMAT, "lie outside"},
        {"{" T("a", "F32", "[2]", "4", "12") "}", 12, OMNID_FORMAT,
         "a: starts at byte 4 of the data, want 0 (bytes of no tensor)"},
        {"{" T("a", "F32", "[2]", "0", "8") ", " T("b", "F32", "[2]", "4", "12") "}", 12, OMNID_FORMAT,
         "tensors overlap"},
        {"{" T("a", "F32", "[2]", "0", "8") ", " T("b", "F32", "[2]", "0", "8") "}", 8, OMNID_FORMAT,
         "tensors overlap"},
        {"{" T("a", "F32", "[2]", "0", "8") ", " T("a", "F32", "[2]", "8", "16") "}", 16, OMNID_FORMAT, "duplicate"},
        {"{" T("a", "F32", "[4611686018427387904, 4]", "0", "0") "}", 0, OMNID_FORMAT, "more elements than any file"},
        {"{" T("a", "F32", "[9223372036854775807, 9223372036854775807]", "0", "4") "}", 4, OMNID_FORMAT,
         "more elements"},
        {"{" T("a", "F32", "[-1]", "0", "4") "}", 4, OMNID_FORMAT, "a: dimension 0 is not a size"},
        {"{" T("a", "F32", "[1, 1, 1, 1, 1, 1, 1, 1, 1]", "0", "4") "}", 4, OMNID_FORMAT, "at most 8 dimensions"},
        {"{" T("a", "F32", "\"1\"", "0", "4") "}", 4, OMNID_FORMAT, "at most 8 dimensions"},
        {"{" T("a", "Q4", "[1]", "0", "4") "}", 4, OMNID_FORMAT, "unknown dtype \"Q4\""},
        {"{\"a\": {\"dtype\": \"F32\", \"shape\": [1]}}", 4, OMNID_FORMAT, "two data_offsets"},
        {"{\"a\": 3}", 4, OMNID_FORMAT, "two data_offsets"},
        {"[]", 0, OMNID_FORMAT, "not a JSON object"},
        {"{\"a\": ", 0, OMNID_FORMAT, "header: line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size, n = 99;
        char *file = make_file(strlen(cases[i].header), cases[i].header, cases[i].n_data, &size);
        omnid_error err = {0};
        omnid_status status = safetensors_check(file, size, &n, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].sentence))
            fail_msg("%s: %s: %s", cases[i].header, omnid_status_name(status), err.text);
        free(file);
    }
}

static void test_header_lengths(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {3, 1 << 20, 200 << 20, UINT64_MAX, (uint64_t)1 << 63};
    omnid_error err;
    size_t size;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char *file = make_file(lengths[i], "{}", 0, &size);
        assert_int_equal(safetensors_check(file, size, NULL, &err), OMNID_FORMAT);
        assert_non_null(strstr(err.text, "its header says"));
        free(file);
    }
    assert_int_equal(safetensors_check("1234567", 7, NULL, &err), OMNID_FORMAT);
}

/* ------------------------------------------------------------------ folders */

static safetensors *open_folder(const char *folder)
{
    safetensors *s;
    omnid_error err = {0};
    if (safetensors_open(&s, folder, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    return s;
}

static void test_find_and_get(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    float a[6] = {1, 2, 3, 4, 5, 6};
    int64_t ids[2] = {7, 8};
    const fixture_tensor list[] = {{"thinker.model.a", "F32", 2, {2, 3}, a, sizeof a},
                                   {"plain", "I64", 1, {2}, ids, sizeof ids},
                                   {"talker.b", "F32", 1, {6}, a, sizeof a}};
    fixture_safetensors(folder, "model.safetensors", list, 3, 0);
    safetensors *s = open_folder(folder);
    assert_int_equal(safetensors_count(s), 2);
    assert_int_equal(safetensors_n_elements(s), 8);
    assert_null(safetensors_find(s, "thinker.model.a"));
    assert_null(safetensors_find(s, "talker.b"));
    const safetensors_tensor *t;
    omnid_error err = {0};
    assert_int_equal(safetensors_get(s, &t, "model.a", 2, (int64_t[]){2, 3}, &err), OMNID_OK);
    assert_string_equal(t->name, "thinker.model.a");
    assert_memory_equal(t->data, a, sizeof a);
    safetensors_release(t);
    assert_memory_equal(t->data, a, sizeof a); /* comes back from the file */
    assert_int_equal(safetensors_get(s, &t, "model.a", 2, (int64_t[]){3, 2}, &err), OMNID_SHAPE);
    assert_string_equal(err.text, "model.a: want [3, 2], file has [2, 3]");
    assert_int_equal(safetensors_get(s, &t, "model.a", 1, (int64_t[]){6}, &err), OMNID_SHAPE);
    assert_int_equal(safetensors_get(s, &t, "model.c", 1, (int64_t[]){6}, &err), OMNID_NOT_FOUND);
    assert_string_equal(err.text, "model.c is not in the checkpoint");
    assert_int_equal(safetensors_get(s, &t, "plain", 1, (int64_t[]){2}, &err), OMNID_UNSUPPORTED);
    safetensors_close(&s);
    safetensors_close(&s);
    fixture_remove(&folder);
}

static omnid_status open_fails(const char *folder, omnid_error *err)
{
    safetensors *s = (safetensors *)1;
    *err = (omnid_error){0};
    omnid_status status = safetensors_open(&s, folder, err);
    assert_null(s);
    return status;
}

static void test_shards(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    const char *index = "model.safetensors.index.json";
    float a[6] = {1, 2, 3, 4, 5, 6}, b[2] = {7, 8};
    fixture_tensor one = {"thinker.a", "F32", 1, {6}, a, sizeof a}, two = {"thinker.b", "F32", 1, {2}, b, sizeof b};
    omnid_error err;
    assert_int_equal(open_fails(folder, &err), OMNID_NOT_FOUND);
    fixture_safetensors(folder, "1.safetensors", &one, 1, 0);
    fixture_safetensors(folder, "2.safetensors", &two, 1, 0);
    fixture_text(folder, index,
                 "{\"weight_map\": {\"thinker.a\": \"1.safetensors\", \"thinker.b\": \"2.safetensors\", "
                 "\"talker.x\": \"not_there.safetensors\", \"token2wav.y\": \"nor_this.safetensors\"}}");
    safetensors *s = open_folder(folder);
    assert_int_equal(safetensors_count(s), 2);
    assert_memory_equal(safetensors_find(s, "b")->data, b, sizeof b);
    safetensors_close(&s);

    fixture_text(folder, index,
                 "{\"weight_map\": {\"thinker.a\": \"2.safetensors\", \"thinker.b\": \"1.safetensors\"}}");
    assert_int_equal(open_fails(folder, &err), OMNID_FORMAT);
    assert_non_null(strstr(err.text, " is not in "));
    fixture_text(folder, index, "{\"weight_map\": {\"thinker.a\": \"../1.safetensors\"}}");
    assert_int_equal(open_fails(folder, &err), OMNID_FORMAT);
    fixture_text(folder, index, "{\"weight_map\": {\"thinker.a\": 1}}");
    assert_int_equal(open_fails(folder, &err), OMNID_FORMAT);
    fixture_text(folder, index, "{\"weight_map\": {\"thinker.a\": \"3.safetensors\"}}");
    assert_int_equal(open_fails(folder, &err), OMNID_NOT_FOUND);
    assert_non_null(strstr(err.text, "shard 3.safetensors is missing (thinker.a is in it)"));
    fixture_text(folder, index, "{\"weights\": {}}");
    assert_int_equal(open_fails(folder, &err), OMNID_FORMAT);
    fixture_text(folder, index, "{");
    assert_int_equal(open_fails(folder, &err), OMNID_FORMAT);

    two.name = "a"; /* the same tensor under both spellings */
    fixture_safetensors(folder, "2.safetensors", &two, 1, 0);
    fixture_text(folder, index, "{\"weight_map\": {\"thinker.a\": \"1.safetensors\", \"a\": \"2.safetensors\"}}");
    assert_int_equal(open_fails(folder, &err), OMNID_FORMAT);
    assert_non_null(strstr(err.text, "twice"));
    fixture_remove(&folder);
}

/* A file torn at any byte, and one with a byte of its header's length changed. */
static void test_torn_files(void **state)
{
    (void)state;
    char *folder = fixture_folder();
    float a[6] = {0};
    const fixture_tensor one = {"a", "F32", 1, {6}, a, sizeof a};
    fixture_safetensors(folder, "model.safetensors", &one, 1, 0);
    size_t n;
    char *file = fixture_read(folder, "model.safetensors", &n);
    omnid_error err;
    for (size_t cut = 0; cut < n; cut++) {
        fixture_write(folder, "model.safetensors", file, cut);
        assert_int_equal(open_fails(folder, &err), OMNID_FORMAT);
    }
    for (int i = 0; i < 8; i++) {
        file[i] ^= 1;
        fixture_write(folder, "model.safetensors", file, n);
        assert_int_equal(open_fails(folder, &err), OMNID_FORMAT);
        assert_non_null(strstr(err.text, folder));
        file[i] ^= 1;
    }
    free(file);
    fixture_remove(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_headers), cmocka_unit_test(test_header_lengths),
                                       cmocka_unit_test(test_find_and_get), cmocka_unit_test(test_shards),
                                       cmocka_unit_test(test_torn_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
