/* model_store.h: where models lie, and what a name of one means. Shared by omnid and omnid-model.
 *
 * A name is "qwen2.5-omni-3b" (a known one), "ORG/NAME" (a repository of the hub) or the name of a folder in one of the
 * stores ("demo"); the first two may have "@REVISION" (branch, tag or commit). */
#ifndef OMNID_DAEMON_MODEL_STORE_H
#define OMNID_DAEMON_MODEL_STORE_H

#include "base/base.h"

typedef struct {
    const char *name;       /* "qwen2.5-omni-3b" */
    const char *repository; /* "Qwen/Qwen2.5-Omni-3B" */
    const char *about;      /* one line for a list */
} model_store_known;

/* The models that have a short name. */
const model_store_known *model_store_known_models(size_t *n);

typedef struct {
    char *name;       /* as a person would say it: the known name where there is one */
    char *repository; /* "ORG/NAME" */
    char *revision;   /* "main" when none was given */
    char *folder;     /* its folder in a store, one path component: "qwen2.5-omni-3b", "ORG--NAME@REVISION" */
} model_store_name;

/* Takes a known name or ORG/NAME apart. FORMAT: it is neither; the sentence says what is wanted. Strings are the struct's. */
omnid_status model_store_parse(model_store_name *out, const char *text, omnid_error *err);
void model_store_name_clear(model_store_name *n);

/* The folder that models are fetched to: $OMNID_MODELS, else /var/lib/omnid/models for root, else
 * $XDG_DATA_HOME/omnid/models. It need not exist. g_free. */
char *model_store_home(void);
/* Every store, looked through in this order: $OMNID_MODELS, the user's, the system's, and those that programs are installed
 * with. NULL-terminated; g_strfreev. */
char **model_store_folders(void);

/* The folder of a model in the stores by the name of its folder; one with a config.json comes before one without.
 * g_free; NULL = none. */
char *model_store_lookup(const char *folder_name);
/* A folder's path or a name to a folder (g_free). NOT_FOUND: the sentence says how to fetch it and what there is. */
omnid_status model_store_find(char **folder, const char *text, omnid_error *err);

/* Folders of all models in the stores, whole or not, sorted within a store. NULL-terminated; g_strfreev. */
char **model_store_list(void);

#endif
