/* list.c: the models on this machine, and those that have a short name. */
#include "daemon/model_store.h"
#include "tools/model/commands.h"
#include "tools/model/record.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Bytes of the files in a folder. */
static uint64_t folder_bytes(const char *folder)
{
    uint64_t n = 0;
    GDir *d = g_dir_open(folder, 0, NULL);
    for (const char *name; d && (name = g_dir_read_name(d)) != NULL;) {
        char *path = g_build_filename(folder, name, NULL);
        struct stat st;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            n += (uint64_t)st.st_size;
        g_free(path);
    }
    if (d)
        g_dir_close(d);
    return n;
}

static void print_model(const char *folder)
{
    omnid_error err = {0};
    omnid_model_report r;
    record fetched;
    omnid_model_params p = omnid_model_params_default();
    check_plan_camera(&p);
    bool has_record = record_read(&fetched, folder, &err) == MODEL_OK;
    int n_missing = has_record ? record_n_missing(&fetched, folder) : 0;
    char *base = g_path_get_basename(folder);
    const char *name = has_record && fetched.name[0] ? fetched.name : base;
    bool whole = !has_record || (fetched.complete && n_missing == 0);
    bool sound = whole && omnid_model_inspect(&r, folder, &p, &err) == OMNID_OK;
    char state[64] = "ready";
    if (!whole)
        snprintf(state, sizeof state, "not complete: %d of %u files to come", n_missing ? n_missing : 1,
                 fetched.files->len);
    else if (!sound)
        snprintf(state, sizeof state, "does not load: omnid-model check");
    else if (r.need_bytes > r.limit_bytes)
        snprintf(state, sizeof state, "too large for this machine");
    printf("%-24s %9s %10s  %-5s  %-12.12s  %s\n", name, tool_size_text(folder_bytes(folder)).text,
           sound ? tool_count_text(r.n_parameters).text : "-", sound ? r.dtype : "-", has_record ? fetched.commit : "-",
           state);
    printf("    %s\n", folder);
    g_free(base);
    record_clear(&fetched);
}

model_exit list_run(omnid_error *err)
{
    (void)err;
    size_t n;
    char **folders = model_store_list(), *home = model_store_home();
    printf("%-24s %9s %10s  %-5s  %-12s  %s\n", "NAME", "SIZE", "PARAMETERS", "DTYPE", "COMMIT", "STATE");
    for (char **folder = folders; *folder; folder++)
        print_model(*folder);
    if (!*folders)
        printf("(none)\n");
    const model_store_known *known = model_store_known_models(&n);
    printf("\nCan be fetched to %s:\n", home);
    for (size_t i = 0; i < n; i++)
        printf("  omnid-model fetch %-18s %s\n", known[i].name, known[i].about);
    printf("  omnid-model fetch %-18s %s\n", "ORG/NAME", "any other Qwen2.5-Omni repository of the hub");
    g_free(home);
    g_strfreev(folders);
    return MODEL_OK;
}
