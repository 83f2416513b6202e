/* make_hub.c: a folder that http_server shows as a model hub with one repository, me/tiny: make_hub ROOT [BYTES]
 *
 * The repository is the tiny thinker of the engine's tests the way the published ones are cut: shards of which one holds a
 * talker's tensor too and the last one nothing of the thinker, an index, small files with git's blob ids, large ones with
 * SHA-256, and files that nobody wants. BYTES: size of a tensor without use that makes the second shard large. */
#include "engine/safetensors.h"
#include "tests/unit/engine/fixtures.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

enum { N_SHARDS = 4, MAX_TENSORS = 512 };

typedef struct {
    fixture_tensor list[MAX_TENSORS];
    int n;
} shard;

static void add(shard *s, const safetensors_tensor *t)
{
    fixture_tensor f = {.name = t->name, .dtype = "BF16", .n_dims = t->n_dims, .data = t->data, .size = t->size};
    memcpy(f.dim, t->dim, sizeof f.dim);
    s->list[s->n++] = f;
}

static void write_shards(const char *folder, size_t filler)
{
    static shard shards[N_SHARDS];
    static const float talker[64];
    safetensors *s;
    omnid_error err;
    if (safetensors_open(&s, folder, &err) != OMNID_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(99);
    }
    size_t n = safetensors_count(s);
    for (size_t i = 0; i < n; i++)
        add(&shards[i * (N_SHARDS - 1) / n], safetensors_at(s, i));
    void *zeros = calloc(1, filler + 1);
    if (filler)
        shards[1].list[shards[1].n++] = (fixture_tensor){"thinker.filler", "U8", 1, {(int64_t)filler}, zeros, filler};
    shards[2].list[shards[2].n++] = (fixture_tensor){"talker.a", "F32", 1, {64}, talker, sizeof talker};
    shards[3].list[shards[3].n++] = (fixture_tensor){"talker.b", "F32", 1, {64}, talker, sizeof talker};
    shards[3].list[shards[3].n++] = (fixture_tensor){"token2wav.c", "F32", 1, {64}, talker, sizeof talker};
    GString *index = g_string_new("{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (int i = 0; i < N_SHARDS; i++) {
        char name[64];
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i + 1, N_SHARDS);
        fixture_safetensors(folder, name, shards[i].list, shards[i].n, 0);
        for (int k = 0; k < shards[i].n; k++)
            g_string_append_printf(index, "%s\n  \"%s\": \"%s\"", i + k ? "," : "", shards[i].list[k].name, name);
    }
    g_string_append(index, "\n}}\n");
    fixture_text(folder, "model.safetensors.index.json", index->str);
    g_string_free(index, TRUE);
    free(zeros);
    safetensors_close(&s);
}

/* One file as the hub lists it; those of more than 10,000 bytes are large ones. */
static void list_file(GString *out, const char *folder, const char *name)
{
    size_t n;
    char *data = fixture_read(folder, name, &n);
    bool large = n > 10000;
    GChecksum *sum = g_checksum_new(large ? G_CHECKSUM_SHA256 : G_CHECKSUM_SHA1);
    char head[40];
    int n_head = snprintf(head, sizeof head, "blob %zu", n);
    if (!large)
        g_checksum_update(sum, (const guchar *)head, n_head + 1);
    g_checksum_update(sum, (const guchar *)data, (gssize)n);
    if (large)
        g_string_append_printf(out,
                               "%s{\"rfilename\": \"%s\", \"size\": %zu, \"blobId\": \"%040d\", \"lfs\": {\"sha256\": "
                               "\"%s\", \"size\": %zu, \"pointerSize\": 135}}",
                               out->len ? ",\n" : "", name, n, 1, g_checksum_get_string(sum), n);
    else
        g_string_append_printf(out, "%s{\"rfilename\": \"%s\", \"size\": %zu, \"blobId\": \"%s\"}",
                               out->len ? ",\n" : "", name, n, g_checksum_get_string(sum));
    g_checksum_free(sum);
    free(data);
}

static void write_page(const char *root, const char *folder)
{
    GString *siblings = g_string_new(NULL);
    GDir *d = g_dir_open(folder, 0, NULL);
    for (const char *name; d && (name = g_dir_read_name(d)) != NULL;)
        list_file(siblings, folder, name);
    g_dir_close(d);
    char *page =
        g_strdup_printf("{\"id\": \"me/tiny\", \"sha\": \"" COMMIT "\", \"gated\": false, \"private\": false,\n"
                        "\"cardData\": {\"license\": \"other\", \"license_name\": \"tiny-research\"},\n"
                        "\"siblings\": [%s,\n{\"rfilename\": \"onnx/model.onnx\", \"size\": 5, \"blobId\": "
                        "\"%040d\"}]}\n",
                        siblings->str, 2);
    char *api = g_build_filename(root, "api", "models", "me", "tiny", "revision", NULL);
    g_mkdir_with_parents(api, 0755);
    fixture_text(api, "main", page);
    g_free(api);
    g_free(page);
    g_string_free(siblings, TRUE);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    char *folder = g_build_filename(argv[1], "me", "tiny", "resolve", COMMIT, NULL);
    g_mkdir_with_parents(folder, 0755);
    fixture_model(folder, &(fixture_model_options){.prefix = "thinker.", .dtype = "BF16"});
    write_shards(folder, argc > 2 ? (size_t)atoll(argv[2]) : 0);
    char *whole = g_build_filename(folder, "model.safetensors", NULL);
    unlink(whole);
    fixture_text(folder, "LICENSE", "The tiny licence.\n");
    fixture_text(folder, "README.md", "# tiny\n");
    fixture_text(folder, "spk_dict.pt", "voices");
    fixture_text(folder, "generation_config.json", "{\"eos_token_id\": [292, 290]}\n");
    fixture_text(folder, "preprocessor_config.json", "{}\n");
    write_page(argv[1], folder);
    g_free(whole);
    g_free(folder);
    return 0;
}
