/* hub.c: the hub's answers, believed only after every field has been looked at. */
#include "tools/model/hub.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 4096 };

static const char public_endpoint[] = "https://huggingface.co";

/* ------------------------------------------------------------------ names, hashes */

bool hub_name_is_good(const char *name)
{
    size_t n = strlen(name);
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+";
    return n > 0 && n <= 128 && name[0] != '.' && strspn(name, allowed) == n && !g_str_has_suffix(name, ".part") &&
           strcmp(name, "omnid-fetch.json") != 0;
}

static bool is_hex(const char *text, size_t n)
{
    return text && strlen(text) == n && strspn(text, "0123456789abcdef") == n;
}

/* ------------------------------------------------------------------ the model's page */

static void free_file(gpointer data)
{
    hub_file *f = data;
    g_free(f->name);
    g_free(f->hash);
    g_free(f);
}

GPtrArray *hub_files_create(void)
{
    return g_ptr_array_new_with_free_func(free_file);
}

void hub_files_add(GPtrArray *files, const char *name, int64_t size, const char *hash, bool is_git)
{
    hub_file *f = g_new0(hub_file, 1);
    *f = (hub_file){g_strdup(name), size, g_strdup(hash), is_git};
    g_ptr_array_add(files, f);
}

const hub_file *hub_files_find(const GPtrArray *files, const char *name)
{
    for (guint i = 0; i < files->len; i++) {
        const hub_file *f = files->pdata[i];
        if (strcmp(f->name, name) == 0)
            return f;
    }
    return NULL;
}

/* One sibling. Files in folders, and those without size or hash, are none that omnid could want. */
static void add_file(hub_info *info, const json_t *sibling)
{
    const char *name = json_string_value(json_object_get(sibling, "rfilename"));
    const json_t *lfs = json_object_get(sibling, "lfs");
    const json_t *size = json_object_get(json_is_object(lfs) ? lfs : sibling, "size");
    const char *sha256 = json_string_value(json_object_get(lfs, "sha256"));
    const char *blob = json_string_value(json_object_get(sibling, "blobId"));
    bool is_git = !json_is_object(lfs);
    if (info->files->len == MAX_FILES || !name || !hub_name_is_good(name) || !json_is_integer(size) ||
        json_integer_value(size) < 0 || hub_files_find(info->files, name) ||
        (is_git ? !is_hex(blob, 40) : !is_hex(sha256, 64)))
        return;
    hub_files_add(info->files, name, json_integer_value(size), is_git ? blob : sha256, is_git);
}

/* "other" names nothing: then license_name does. */
static char *read_licence(const json_t *root)
{
    const json_t *card = json_object_get(root, "cardData"), *license = json_object_get(card, "license");
    if (json_is_array(license))
        license = json_array_get(license, 0);
    const char *text = json_string_value(license);
    const char *own = json_string_value(json_object_get(card, "license_name"));
    if (own && (!text || strcmp(text, "other") == 0))
        text = own;
    return g_strndup(text ? text : "", 80);
}

static model_exit read_info(hub_info *out, const json_t *root, omnid_error *err)
{
    const char *commit = json_string_value(json_object_get(root, "sha"));
    const json_t *siblings = json_object_get(root, "siblings");
    if (!is_hex(commit, 40) || !json_is_array(siblings))
        return model_fail(err, MODEL_BAD_DATA,
                          "the hub's answer has no commit (sha) or no list of files (siblings): is HF_ENDPOINT a model "
                          "hub?");
    memcpy(out->commit, commit, sizeof out->commit);
    out->licence = read_licence(root);
    out->gated = g_strdup(json_string_value(json_object_get(root, "gated")));
    size_t i;
    json_t *sibling;
    json_array_foreach((json_t *)siblings, i, sibling) add_file(out, sibling);
    return MODEL_OK;
}

static model_exit parse(json_t **out, const char *json, size_t n, const char *what, omnid_error *err)
{
    json_error_t where;
    *out = json_loadb(json, n, JSON_REJECT_DUPLICATES, &where);
    if (!*out)
        return model_fail(err, MODEL_BAD_DATA, "%s is not JSON (line %d: %.100s)", what, where.line, where.text);
    return MODEL_OK;
}

model_exit hub_parse_info(hub_info *out, const char *json, size_t n, omnid_error *err)
{
    json_t *root;
    *out = (hub_info){.files = hub_files_create()};
    model_exit code = parse(&root, json, n, "the hub's answer", err);
    if (code == MODEL_OK)
        code = read_info(out, root, err);
    json_decref(root);
    if (code != MODEL_OK)
        hub_info_clear(out);
    return code;
}

void hub_info_clear(hub_info *info)
{
    if (info->files)
        g_ptr_array_unref(info->files);
    g_free(info->licence);
    g_free(info->gated);
    memset(info, 0, sizeof *info);
}

/* ------------------------------------------------------------------ which files */

static bool of_thinker(const char *tensor)
{
    return !g_str_has_prefix(tensor, "talker.") && !g_str_has_prefix(tensor, "token2wav.");
}

static gint by_text(gconstpointer a, gconstpointer b)
{
    return strcmp(a, b);
}

/* Adds the shards with a tensor of the thinker to list, in the order of their names; others are counted. */
static model_exit choose_shards(GPtrArray *list, const hub_info *info, const json_t *map, int *n_skipped,
                                omnid_error *err)
{
    GTree *shards = g_tree_new(by_text); /* name to 1 = nothing of the thinker, 2 = something */
    const char *tensor;
    json_t *value;
    model_exit code = MODEL_OK;
    json_object_foreach((json_t *)map, tensor, value)
    {
        const char *shard = json_string_value(value);
        if (!shard || !hub_name_is_good(shard)) {
            code =
                model_fail(err, MODEL_BAD_DATA,
                           "model.safetensors.index.json: %.128s: want the name of a file in the same folder", tensor);
            break;
        }
        bool wanted = of_thinker(tensor) || GPOINTER_TO_INT(g_tree_lookup(shards, shard)) == 2;
        g_tree_insert(shards, (char *)shard, GINT_TO_POINTER(wanted ? 2 : 1));
    }
    for (GTreeNode *node = g_tree_node_first(shards); node && code == MODEL_OK; node = g_tree_node_next(node)) {
        const char *shard = g_tree_node_key(node);
        const hub_file *f = hub_files_find(info->files, shard);
        if (GPOINTER_TO_INT(g_tree_node_value(node)) == 1)
            *n_skipped += 1;
        else if (f)
            g_ptr_array_add(list, (gpointer)f);
        else
            code =
                model_fail(err, MODEL_BAD_DATA,
                           "shard %.128s is named by model.safetensors.index.json, but the hub does not list it with "
                           "size and hash: the repository is not complete",
                           shard);
    }
    g_tree_destroy(shards);
    return code;
}

static model_exit choose_indexed(GPtrArray *list, const hub_info *info, const char *index, size_t n, int *n_skipped,
                                 omnid_error *err)
{
    json_t *root;
    guint before = list->len;
    MODEL_TRY(parse(&root, index, n, "model.safetensors.index.json", err));
    const json_t *map = json_object_get(root, "weight_map");
    model_exit code = json_is_object(map)
                          ? choose_shards(list, info, map, n_skipped, err)
                          : model_fail(err, MODEL_BAD_DATA, "model.safetensors.index.json: want an object weight_map");
    if (code == MODEL_OK && list->len == before)
        code = model_fail(err, MODEL_BAD_DATA, "model.safetensors.index.json names no tensor of a thinker");
    json_decref(root);
    return code;
}

static model_exit add_weights(GPtrArray *list, const hub_info *info, const char *index, size_t n, int *n_skipped,
                              omnid_error *err)
{
    const hub_file *whole = hub_files_find(info->files, "model.safetensors");
    if (index)
        return choose_indexed(list, info, index, n, n_skipped, err);
    if (!whole)
        return model_fail(err, MODEL_MISSING,
                          "the repository has neither model.safetensors nor model.safetensors.index.json: omnid reads "
                          "safetensors only");
    g_ptr_array_add(list, (gpointer)whole);
    return MODEL_OK;
}

model_exit hub_choose(GPtrArray **out, const hub_info *info, const char *index, size_t n, int *n_skipped,
                      omnid_error *err)
{
    static const char *const names[] = {"config.json",
                                        "tokenizer.json",
                                        "generation_config.json",
                                        "preprocessor_config.json",
                                        "tokenizer_config.json",
                                        "omnid.json",
                                        "LICENSE",
                                        "LICENSE.md",
                                        "LICENSE.txt",
                                        "model.safetensors.index.json"};
    enum { N_REQUIRED = 2 };
    int none;
    n_skipped = n_skipped ? n_skipped : &none;
    *n_skipped = 0;
    GPtrArray *list = g_ptr_array_new();
    model_exit code = MODEL_OK;
    for (size_t i = 0; i < G_N_ELEMENTS(names) && code == MODEL_OK; i++) {
        const hub_file *f = hub_files_find(info->files, names[i]);
        if (f)
            g_ptr_array_add(list, (gpointer)f);
        else if (i < N_REQUIRED)
            code = model_fail(err, MODEL_MISSING,
                              "the repository has no %s: omnid needs config.json, tokenizer.json and safetensors files",
                              names[i]);
    }
    if (code == MODEL_OK)
        code = add_weights(list, info, index, n, n_skipped, err);
    *out = list;
    if (code != MODEL_OK) {
        g_ptr_array_unref(list);
        *out = NULL;
    }
    return code;
}

/* ------------------------------------------------------------------ the place */

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_true(const char *text)
{
    return text && (strcmp(text, "1") == 0 || g_ascii_strcasecmp(text, "true") == 0 ||
                    g_ascii_strcasecmp(text, "yes") == 0 || g_ascii_strcasecmp(text, "on") == 0);
}

/* A token's file may end in a newline. NULL = there is none. */
static char *read_token(void)
{
    const char *token = environment("HF_TOKEN");
    if (!token)
        token = environment("HUGGING_FACE_HUB_TOKEN");
    char *text = g_strdup(token);
    if (!text) {
        const char *path = environment("HF_TOKEN_PATH"), *home = environment("HF_HOME");
        char *file = path   ? g_strdup(path)
                     : home ? g_build_filename(home, "token", NULL)
                            : g_build_filename(g_get_user_cache_dir(), "huggingface", "token", NULL);
        g_file_get_contents(file, &text, NULL, NULL);
        g_free(file);
    }
    if (text)
        g_strstrip(text);
    /* A header must not be made of it with a line end inside. */
    if (text && (!*text || strpbrk(text, "\r\n") || !g_str_is_ascii(text)))
        g_clear_pointer(&text, g_free);
    return text;
}

static bool is_this_machine(const char *endpoint)
{
    static const char *const hosts[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};
    for (size_t i = 0; i < G_N_ELEMENTS(hosts); i++)
        if (g_str_has_prefix(endpoint, hosts[i]) && strchr(":/", endpoint[strlen(hosts[i])]))
            return true;
    return false;
}

model_exit hub_place_read(hub_place *out, omnid_error *err)
{
    const char *endpoint = environment("HF_ENDPOINT");
    *out = (hub_place){.endpoint = g_strdup(endpoint ? endpoint : public_endpoint)};
    out->offline = is_true(environment("HF_HUB_OFFLINE"));
    for (size_t n = strlen(out->endpoint); n > 0 && out->endpoint[n - 1] == '/'; n--)
        out->endpoint[n - 1] = '\0';
    bool secure = g_str_has_prefix(out->endpoint, "https://");
    if (!secure && !g_str_has_prefix(out->endpoint, "http://")) {
        model_fail(err, MODEL_USAGE, "HF_ENDPOINT: want https://HOST, found '%.100s'", out->endpoint);
        hub_place_clear(out);
        return MODEL_USAGE;
    }
    out->token = read_token();
    if (out->token && !secure && !is_this_machine(out->endpoint)) {
        out->token_kept = true;
        g_clear_pointer(&out->token, g_free);
    }
    return MODEL_OK;
}

void hub_place_clear(hub_place *p)
{
    g_free(p->endpoint);
    g_free(p->token);
    memset(p, 0, sizeof *p);
}

char *hub_info_url(const hub_place *p, const model_store_name *name)
{
    char *revision = g_uri_escape_string(name->revision, NULL, FALSE);
    char *url = g_strdup_printf("%s/api/models/%s/revision/%s?blobs=true", p->endpoint, name->repository, revision);
    g_free(revision);
    return url;
}

char *hub_file_url(const hub_place *p, const model_store_name *name, const char *commit, const char *file)
{
    char *escaped = g_uri_escape_string(file, NULL, FALSE);
    char *url = g_strdup_printf("%s/%s/resolve/%s/%s", p->endpoint, name->repository, commit, escaped);
    g_free(escaped);
    return url;
}
