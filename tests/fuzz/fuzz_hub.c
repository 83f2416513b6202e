/* fuzz_hub.c: what a hub, or a file on the disk that came from one, may say: the model's page, the index of the weights, the
 * record of a fetch. The first byte chooses. */
#include "tools/model/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_files(const GPtrArray *files)
{
    for (guint i = 0; i < files->len; i++) {
        const hub_file *f = files->pdata[i];
        if (!hub_name_is_good(f->name) || strchr(f->name, '/') || f->size < 0 ||
            strlen(f->hash) != (f->is_git ? 40 : 64)) /* it becomes a path */
            abort();
    }
}

static void check_failure(model_exit code, const omnid_error *err)
{
    if (code != MODEL_BAD_DATA && code != MODEL_MISSING)
        abort();
    if (!err->text[0]) /* an error without its sentence */
        abort();
}

static void read_page(const char *text, size_t n)
{
    hub_info info;
    omnid_error err = {0};
    GPtrArray *wanted;
    model_exit code = hub_parse_info(&info, text, n, &err);
    if (code != MODEL_OK) {
        check_failure(code, &err);
        return;
    }
    check_files(info.files);
    code = hub_choose(&wanted, &info, NULL, 0, NULL, &err);
    if (code == MODEL_OK)
        g_ptr_array_unref(wanted);
    else
        check_failure(code, &err);
    hub_info_clear(&info);
}

static void read_index(const char *text, size_t n)
{
    static const char hash[] = "0123456789012345678901234567890123456789";
    hub_info info = {.files = hub_files_create()};
    omnid_error err = {0};
    GPtrArray *wanted;
    int n_skipped;
    const char *const names[] = {"config.json", "tokenizer.json", "a.safetensors", "b.safetensors"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        hub_files_add(info.files, names[i], 1, hash, true);
    model_exit code = hub_choose(&wanted, &info, text, n, &n_skipped, &err);
    if (code != MODEL_OK)
        check_failure(code, &err);
    else if (wanted->len < 3 || wanted->len > 4)
        abort();
    else
        g_ptr_array_unref(wanted);
    hub_info_clear(&info);
}

static void read_record(const char *text, size_t n)
{
    record r;
    omnid_error err = {0};
    model_exit code = record_parse(&r, text, n, &err);
    if (code != MODEL_OK) {
        check_failure(code, &err);
        return;
    }
    check_files(r.files);
    record_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        read_page(text, size - 1);
    else if (data[0] % 3 == 1)
        read_index(text, size - 1);
    else
        read_record(text, size - 1);
    return 0;
}
