/* hub.h: what the hub says about a repository, and which of its files omnid needs.
 *
 * GET ENDPOINT/api/models/ORG/NAME/revision/REVISION?blobs=true lists a commit's files with sizes and hashes; a file lies at
 * ENDPOINT/ORG/NAME/resolve/COMMIT/FILE. Large files have a SHA-256; small ones have git's blob id, which is the SHA-1 of
 * "blob SIZE\0" and the content. */
#ifndef OMNID_MODEL_HUB_H
#define OMNID_MODEL_HUB_H

#include "daemon/model_store.h"
#include "tools/model/tool.h"

#include <glib.h>

typedef struct {
    char *name; /* without slashes, not hidden */
    int64_t size;
    char *hash; /* hex, lower case: SHA-256, or git's blob id where is_git */
    bool is_git;
} hub_file;

/* A list of hub_file * that owns them; g_ptr_array_unref. Everything is copied into it. find: NULL = not in it. */
GPtrArray *hub_files_create(void);
void hub_files_add(GPtrArray *files, const char *name, int64_t size, const char *hash, bool is_git);
const hub_file *hub_files_find(const GPtrArray *files, const char *name);

typedef struct {
    char commit[41];  /* full SHA-1 */
    char *licence;    /* "apache-2.0", "qwen-research"; "" = not said */
    char *gated;      /* how to get in: "auto", "manual"; NULL = open */
    GPtrArray *files; /* in the hub's order: those in the repository's top folder with size and hash */
} hub_info;

/* Reads the hub's answer. BAD_DATA. *out is cleared on failure. */
model_exit hub_parse_info(hub_info *out, const char *json, size_t n, omnid_error *err);
void hub_info_clear(hub_info *info);

/* Every file omnid wants (hub_file *, borrowed from info), small ones first: config.json, tokenizer.json and the weights
 * must be there. index: n bytes of model.safetensors.index.json, NULL when the repository has none; only the shards that
 * hold a tensor of the thinker are taken, *n_skipped shards (may be NULL) are not. MISSING or BAD_DATA. */
model_exit hub_choose(GPtrArray **out, const hub_info *info, const char *index, size_t n, int *n_skipped,
                      omnid_error *err);
/* A safe name of a file in one folder. */
bool hub_name_is_good(const char *name);

/* Where the hub is and who asks, out of the environment: HF_ENDPOINT, HF_TOKEN (or the file HF_TOKEN_PATH, $HF_HOME/token,
 * ~/.cache/huggingface/token), HF_HUB_OFFLINE. */
typedef struct {
    char *endpoint;  /* without a slash at its end */
    char *token;     /* NULL = none, or it may not be sent to this endpoint */
    bool token_kept; /* there is one, but the endpoint is neither https nor this machine: it is not sent */
    bool offline;
} hub_place;
/* USAGE: HF_ENDPOINT is not an http(s) URL. */
model_exit hub_place_read(hub_place *out, omnid_error *err);
void hub_place_clear(hub_place *p);

/* URLs; g_free. */
char *hub_info_url(const hub_place *p, const model_store_name *name);
char *hub_file_url(const hub_place *p, const model_store_name *name, const char *commit, const char *file);

#endif
