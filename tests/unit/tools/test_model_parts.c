/* test_model_parts.c: parts of omnid-model that need no server: the hub's answers, which files are wanted, the bar. */
#include "tools/model/hub.h"
#include "tools/model/progress.h"
#include "tools/model/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define H40 "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
#define H64 "abababababababababababababababababababababababababababababababab"

static void the_models_page(void **state)
{
    (void)state;
    static const char page[] =
        "{\"sha\": \"" H40
        "\", \"gated\": \"manual\", \"cardData\": {\"license\": \"other\", \"license_name\": \"own\"}, "
        "\"siblings\": [{\"rfilename\": \"config.json\", \"size\": 5, \"blobId\": \"" H40 "\"}, "
        "{\"rfilename\": \"big\", \"size\": 135, \"lfs\": {\"sha256\": \"" H64 "\", \"size\": 5000000000}}, "
        "{\"rfilename\": \"config.json\", \"size\": 7, \"blobId\": \"" H40 "\"}, " /* twice: the first counts */
        "{\"rfilename\": \"../up\", \"size\": 5, \"blobId\": \"" H40 "\"}, "
        "{\"rfilename\": \"a/b\", \"size\": 5, \"blobId\": \"" H40 "\"}, "
        "{\"rfilename\": \".hidden\", \"size\": 5, \"blobId\": \"" H40 "\"}, "
        "{\"rfilename\": \"x.part\", \"size\": 5, \"blobId\": \"" H40 "\"}, "
        "{\"rfilename\": \"omnid-fetch.json\", \"size\": 5, \"blobId\": \"" H40 "\"}, "
        "{\"rfilename\": \"negative\", \"size\": -5, \"blobId\": \"" H40 "\"}, "
        "{\"rfilename\": \"no_hash\", \"size\": 5}, {\"rfilename\": \"short\", \"size\": 5, \"blobId\": \"cd\"}]}";
    hub_info info;
    omnid_error err = {0};
    assert_int_equal(hub_parse_info(&info, page, strlen(page), &err), MODEL_OK);
    assert_string_equal(info.commit, H40);
    assert_string_equal(info.licence, "own");
    assert_string_equal(info.gated, "manual");
    assert_int_equal(info.files->len, 2);
    const hub_file *config = hub_files_find(info.files, "config.json"), *big = hub_files_find(info.files, "big");
    assert_int_equal(config->size, 5);
    assert_true(config->is_git);
    assert_int_equal(big->size, 5000000000);
    assert_string_equal(big->hash, H64);
    assert_null(hub_files_find(info.files, "a/b"));
    hub_info_clear(&info);
}

/* A shard is taken when any of its tensors is the thinker's, whatever else is in it. */
static void the_wanted_files(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json",   "tokenizer.json", "1.safetensors",
                                        "2.safetensors", "3.safetensors",  "README.md"};
    hub_info info = {.files = hub_files_create()};
    omnid_error err = {0};
    GPtrArray *wanted;
    int n_skipped;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        hub_files_add(info.files, names[i], 1, H40, true);
    const char *index = "{\"weight_map\": {\"talker.a\": \"3.safetensors\", \"token2wav.b\": \"2.safetensors\", "
                        "\"thinker.c\": \"3.safetensors\", \"talker.d\": \"3.safetensors\", \"thinker.e\": "
                        "\"1.safetensors\"}}";
    assert_int_equal(hub_choose(&wanted, &info, index, strlen(index), &n_skipped, &err), MODEL_OK);
    assert_int_equal(n_skipped, 1);
    assert_int_equal(wanted->len, 4);
    assert_string_equal(((const hub_file *)wanted->pdata[2])->name, "1.safetensors");
    assert_string_equal(((const hub_file *)wanted->pdata[3])->name, "3.safetensors");
    g_ptr_array_unref(wanted);
    static const char *const bad[] = {
        "{\"weight_map\": {\"thinker.a\": \"../1\"}}", "{\"weight_map\": {\"thinker.a\": 3}}",
        "{\"weight_map\": {\"talker.a\": \"1.safetensors\"}}", "{\"weight_map\": []}", "{"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(hub_choose(&wanted, &info, bad[i], strlen(bad[i]), NULL, &err), MODEL_BAD_DATA);
        assert_non_null(strstr(err.text, "model.safetensors.index.json"));
        assert_null(wanted);
    }
    hub_info_clear(&info);
}

static void the_place(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        bool sent;
    } cases[] = {{"https://hub.example/", true},  {"http://127.0.0.1:8/", true},    {"http://localhost", true},
                 {"http://hub.example", false},   {"http://127.0.0.1.evil", false}, {"http://localhost.evil:80", false},
                 {"http://localhost@evil", false}};
    hub_place p;
    omnid_error err = {0};
    setenv("HF_TOKEN", " secret\n", 1);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        setenv("HF_ENDPOINT", cases[i].endpoint, 1);
        assert_int_equal(hub_place_read(&p, &err), MODEL_OK);
        assert_true(cases[i].sent ? p.token && strcmp(p.token, "secret") == 0 : !p.token);
        assert_true(p.token_kept == !cases[i].sent);
        assert_false(g_str_has_suffix(p.endpoint, "/"));
        hub_place_clear(&p);
    }
    setenv("HF_TOKEN", "two\nlines", 1); /* would be a header of its own */
    assert_int_equal(hub_place_read(&p, &err), MODEL_OK);
    assert_null(p.token);
    model_store_name name;
    assert_int_equal(model_store_parse(&name, "me/tiny@refs/pr/1", &err), OMNID_OK);
    char *url = hub_info_url(&p, &name);
    assert_string_equal(url, "http://localhost@evil/api/models/me/tiny/revision/refs%2Fpr%2F1?blobs=true");
    g_free(url);
    model_store_name_clear(&name);
    hub_place_clear(&p);
    unsetenv("HF_TOKEN");
    unsetenv("HF_ENDPOINT");
}

static void sizes_and_times(void **state)
{
    (void)state;
    assert_string_equal(tool_size_text(999).text, "999 bytes");
    assert_string_equal(tool_size_text(1000).text, "1.0 KB");
    assert_string_equal(tool_size_text(9400000000u).text, "9.4 GB");
    assert_string_equal(tool_size_text(999960).text, "1.0 MB");
    assert_string_equal(tool_size_text(UINT64_MAX).text, "18.4 EB");
    assert_string_equal(tool_time_text(59.6).text, "1 min 0 s");
    assert_string_equal(tool_time_text(7500).text, "2 h 5 min");
    assert_string_equal(tool_time_text(-1).text, "0 s");
    assert_string_equal(tool_count_text(4703460352).text, "4.70 G");
    assert_string_equal(tool_count_text(5400000).text, "5.4 M");
}

static void the_bar(void **state)
{
    (void)state;
    char text[300];
    const char *shard = "model-00001-of-00005.safetensors";
    progress_text(text, sizeof text, 100, shard, 3900000000, 9400000000, 24100000);
    assert_string_equal(text, "model-00001-of-00005.safetensors [######........]  41%  3.9 GB of 9.4 GB  24.1 MB/s  "
                              "3 min 48 s left");
    progress_text(text, sizeof text, 79, shard, 3900000000, 9400000000, 24100000);
    assert_string_equal(text, "model-00001-… [#####.......]  41%  3.9 GB of 9.4 GB  24.1 MB/s  3 min 48 s left");
    for (int width = 60; width < 200; width++) {
        progress_text(text, sizeof text, width, shard, 3900000000, 9400000000, 24100000);
        assert_true(g_utf8_strlen(text, -1) <= width);
        assert_non_null(strstr(text, "41%  3.9 GB of 9.4 GB"));
    }
    progress_text(text, sizeof text, 79, "f", 0, 0, 0);
    assert_non_null(strstr(text, "100%"));
    progress p = {.n_samples = 1};
    assert_true(progress_rate(&p) == 0);
    for (int i = 0; i < 100; i++, p.n_samples = i) { /* one MB each half second */
        p.samples[i % PROGRESS_SAMPLES].at_us = i * 500000;
        p.samples[i % PROGRESS_SAMPLES].done = i * 1000000;
    }
    assert_int_equal(progress_rate(&p), 2000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_models_page), cmocka_unit_test(the_wanted_files),
                                       cmocka_unit_test(the_place), cmocka_unit_test(sizes_and_times),
                                       cmocka_unit_test(the_bar)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
