/* test_tokenizer.c: ids of the `tokenizers` library on lines of many scripts, composed and decomposed letters, emoji, code,
 * runs of spaces and look-alikes of special tokens. OMNID_QWEN_VOCAB names a folder that tools/golden/qwen_vocab.py wrote:
 * the same lines with the real vocabulary of Qwen2. */
#include "tests/golden/golden.h"

#include <string.h>

static FILE *open_text(const char *folder, const char *name)
{
    char path[2 * GOLDEN_PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        fail_msg("%s cannot be opened", path);
    return f;
}

static json_t *next_value(FILE *f)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n = getline(&line, &size, f);
    json_error_t error;
    json_t *value = n > 0 ? json_loadb(line, (size_t)n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error) : NULL;
    if (n > 0 && value == NULL)
        fail_msg("a line of the fixture is not JSON: %s", error.text);
    free(line);
    return value;
}

static bool same_ids(const json_t *want, const int32_t *ids, size_t n)
{
    if (n != json_array_size(want))
        return false;
    for (size_t i = 0; i < n; i++)
        if (ids[i] != json_integer_value(json_array_get(want, i)))
            return false;
    return true;
}

static void check_folder(const char *folder, size_t at_least)
{
    char path[2 * GOLDEN_PATH];
    omnid_tokenizer *t = NULL;
    omnid_error err = {0};
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    golden_ok(omnid_tokenizer_open(&t, path, &err), &err);
    FILE *text = open_text(folder, "text.jsonl"), *ids = open_text(folder, "ids.jsonl");
    json_t *line, *want;
    size_t n_lines = 0, n_bad = 0;
    while ((line = next_value(text)) != NULL && (want = next_value(ids)) != NULL) {
        int32_t *got = NULL;
        size_t n = 0;
        n_lines++;
        omnid_status status =
            omnid_tokenizer_encode(t, json_string_value(line), json_string_length(line), &got, &n, &err);
        if (status != OMNID_OK || !same_ids(want, got, n)) {
            print_error("line %zu: %s '%s': %zu ids, expected %zu\n", n_lines, omnid_status_name(status),
                        json_string_value(line), n, json_array_size(want));
            n_bad++;
        }
        free(got);
        json_decref(line);
        json_decref(want);
    }
    fclose(text);
    fclose(ids);
    omnid_tokenizer_destroy(&t);
    print_message("%zu of %zu lines agree\n", n_lines - n_bad, n_lines);
    assert_true(n_lines >= at_least);
    assert_int_equal(n_bad, 0);
}

static void test_tiny(void **state)
{
    (void)state;
    char folder[GOLDEN_PATH];
    golden_path(folder, "tokenizer");
    check_folder(folder, 700);
}

static void test_real(void **state)
{
    (void)state;
    const char *folder = getenv("OMNID_QWEN_VOCAB");
    if (folder == NULL || *folder == 0) {
        print_message("OMNID_QWEN_VOCAB is not set: the real vocabulary is not tested\n");
        skip();
    }
    check_folder(folder, 700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiny), cmocka_unit_test(test_real)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
