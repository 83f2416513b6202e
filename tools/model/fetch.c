/* fetch.c: says what would come and where it would go, asks, and brings it. */
#include "tools/model/commands.h"
#include "tools/model/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MAX_INFO = 16 << 20, MAX_INDEX = 64 << 20, MAX_CONFIG = 4 << 20 };
static const uint64_t disk_reserve = 64u << 20; /* left free beside what comes */

typedef struct {
    const fetch_options *o;
    model_store_name name;
    hub_place place;
    http *http;
    hub_info info;
    char *config, *index;
    size_t n_config, n_index;
    GPtrArray *wanted; /* const hub_file * */
    int n_skipped;     /* shards */
    char *folder;
    record before; /* what an earlier fetch left; files NULL = nothing */
    int lock;      /* descriptor of the folder */
    progress bar;
} fetch;

static void say(void *user, const char *line)
{
    progress_say(&((fetch *)user)->bar, line);
}

static void tick(void *user)
{
    fetch *f = user;
    if (f->bar.total)
        progress_draw(&f->bar, false);
}

/* ------------------------------------------------------------------ asking the hub */

/* A file of the repository as text, its hash checked. The repository may not have it: *text NULL. */
static model_exit get_text(fetch *f, const char *name, size_t max, char **text, size_t *n, omnid_error *err)
{
    const hub_file *file = hub_files_find(f->info.files, name);
    *text = NULL;
    *n = 0;
    if (!file)
        return MODEL_OK;
    char *url = hub_file_url(&f->place, &f->name, f->info.commit, name);
    model_exit code = http_get_text(f->http, url, name, max, text, n, err);
    g_free(url);
    MODEL_TRY(code);
    GChecksum *sum = record_hash_begin(file);
    g_checksum_update(sum, (const guchar *)*text, (gssize)*n);
    if (strcmp(g_checksum_get_string(sum), file->hash) != 0)
        code = model_fail(err, MODEL_BAD_DATA, "%s came with another hash than the hub lists", name);
    g_checksum_free(sum);
    return code;
}

static model_exit ask_hub(fetch *f, omnid_error *err)
{
    char *text;
    size_t n;
    char *url = hub_info_url(&f->place, &f->name);
    model_exit code = http_get_text(f->http, url, f->name.name, MAX_INFO, &text, &n, err);
    g_free(url);
    MODEL_TRY(code);
    code = hub_parse_info(&f->info, text, n, err);
    g_free(text);
    MODEL_TRY(code);
    MODEL_TRY(get_text(f, "config.json", MAX_CONFIG, &f->config, &f->n_config, err));
    MODEL_TRY(get_text(f, "model.safetensors.index.json", MAX_INDEX, &f->index, &f->n_index, err));
    return hub_choose(&f->wanted, &f->info, f->index, f->n_index, &f->n_skipped, err);
}

/* ------------------------------------------------------------------ what is here */

/* There, and an earlier fetch has seen this hash in it. */
static bool is_here(const fetch *f, const hub_file *file)
{
    const hub_file *known = f->before.files ? hub_files_find(f->before.files, file->name) : NULL;
    char *path = g_build_filename(f->folder, file->name, NULL);
    struct stat st;
    bool here = known && known->size == file->size && strcmp(known->hash, file->hash) == 0 && stat(path, &st) == 0 &&
                st.st_size == file->size;
    g_free(path);
    return here;
}

static void add_up(const fetch *f, uint64_t *total, uint64_t *here)
{
    *total = *here = 0;
    for (guint i = 0; i < f->wanted->len; i++) {
        const hub_file *file = f->wanted->pdata[i];
        *total += (uint64_t)file->size;
        *here += (uint64_t)(is_here(f, file) ? file->size : download_have(file, f->folder));
    }
}

/* Free bytes of the disk that the folder is or will be on. */
static model_exit free_bytes(const char *folder, uint64_t *out, omnid_error *err)
{
    struct statvfs s;
    char *path = g_strdup(folder);
    while (statvfs(path, &s) != 0 && (errno == ENOENT || errno == ENOTDIR) && strlen(path) > 1) {
        char *parent = g_path_get_dirname(path);
        g_free(path);
        path = parent;
    }
    model_exit code = MODEL_OK;
    if (statvfs(path, &s) != 0)
        code = model_fail(err, MODEL_IO, "%.300s: %s", path, strerror(errno));
    else
        *out = (uint64_t)s.f_bavail * s.f_frsize;
    g_free(path);
    return code;
}

/* ------------------------------------------------------------------ the plan */

static void print_licence(const fetch *f)
{
    const char *licence = f->info.licence[0] ? f->info.licence : "not said";
    printf("  licence  %s", licence);
    if (hub_files_find(f->info.files, "LICENSE"))
        printf("; its text: %s/%s/blob/%s/LICENSE, and LICENSE in the folder", f->place.endpoint, f->name.repository,
               f->info.commit);
    printf("\n");
    if (f->info.gated)
        printf("           gated: its terms must be accepted on its page (%s)\n", f->info.gated);
}

static model_exit print_plan(fetch *f, uint64_t total, uint64_t here, uint64_t room, omnid_error *err)
{
    omnid_model_report r;
    omnid_model_params p = omnid_model_params_default();
    check_plan_camera(&p);
    omnid_status status = omnid_model_estimate(&r, f->config, f->n_config, &p, err);
    if (status != OMNID_OK) {
        omnid_fail_in(err, "%s is no model for omnid", f->name.name);
        return model_exit_of(status);
    }
    printf("%s\n  from     %s/%s, commit %s\n", f->name.name, f->place.endpoint, f->name.repository, f->info.commit);
    print_licence(f);
    printf("  size     %s in %u files", tool_size_text(total).text, f->wanted->len);
    if (f->n_skipped)
        printf("; %d more with nothing for omnid in %s left out", f->n_skipped,
               f->n_skipped == 1 ? "it is" : "them are");
    if (here)
        printf("; %s of it %s here", tool_size_text(here).text, here == total ? "are" : "is");
    printf("\n  to       %s\n  disk     %s free\n", f->folder, tool_size_text(room).text);
    printf("  model    %s parameters, %d layers\n", tool_count_text(r.n_parameters).text, r.n_layers);
    if (check_print_memory(&r, false, 2) != MODEL_OK)
        printf("           (it can be fetched all the same)\n");
    fflush(stdout);
    if (total - here + disk_reserve > room)
        return model_fail(
            err, MODEL_DISK_SMALL,
            "the disk is too small: %s are to come, %s are free at %.200s. Make room, or set OMNID_MODELS to "
            "a folder on another disk",
            tool_size_text(total - here).text, tool_size_text(room).text, f->folder);
    return MODEL_OK;
}

static model_exit ask_person(const fetch *f, omnid_error *err)
{
    char answer[64] = "";
    if (f->o->yes)
        return MODEL_OK;
    if (!isatty(STDIN_FILENO))
        return model_fail(err, MODEL_NO,
                          "nobody to ask (standard input is no terminal): add --yes to fetch without a "
                          "question");
    printf("Fetch it? [y/N] ");
    fflush(stdout);
    if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
        return tool_stop ? model_fail(err, MODEL_INTERRUPTED, "interrupted") : model_fail(err, MODEL_NO, "not fetched");
    return MODEL_OK;
}

/* ------------------------------------------------------------------ bringing it */

/* The folder itself is locked: nothing stays behind when the process dies. */
static model_exit lock_folder(fetch *f, omnid_error *err)
{
    if (g_mkdir_with_parents(f->folder, 0755) != 0)
        return model_fail(err, MODEL_IO, "cannot make %.300s: %s", f->folder, strerror(errno));
    f->lock = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->lock < 0)
        return model_fail(err, MODEL_IO, "%.300s: %s", f->folder, strerror(errno));
    if (access(f->folder, W_OK) != 0)
        return model_fail(err, MODEL_IO, "%.300s cannot be written by you: %s", f->folder, strerror(errno));
    if (flock(f->lock, LOCK_EX | LOCK_NB) == 0)
        return MODEL_OK;
    return model_fail(err, MODEL_BUSY, "another omnid-model is fetching into %.300s", f->folder);
}

static model_exit write_record(fetch *f, bool complete, omnid_error *err)
{
    record r = {.name = f->name.name,
                .repository = f->name.repository,
                .revision = f->name.revision,
                .licence = f->info.licence,
                .complete = complete,
                .files = f->wanted};
    memcpy(r.commit, f->info.commit, sizeof r.commit);
    return record_write(&r, f->folder, err);
}

/* A file that no earlier fetch has vouched for, put there by hand or of another commit, becomes a part: it is hashed, and
 * kept or replaced. So whatever has its own name beside a record has the hash that the record lists. */
static model_exit set_aside(const fetch *f, const hub_file *file, omnid_error *err)
{
    char *path = g_build_filename(f->folder, file->name, NULL);
    model_exit code = MODEL_OK;
    if (!is_here(f, file) && access(path, F_OK) == 0)
        code = download_set_aside(file, f->folder, err);
    g_free(path);
    return code;
}

static model_exit bring(fetch *f, const hub_file *file, omnid_error *err)
{
    progress_file(&f->bar, file->name);
    if (is_here(f, file)) {
        progress_add(&f->bar, file->size);
        return MODEL_OK;
    }
    char *url = hub_file_url(&f->place, &f->name, f->info.commit, file->name);
    model_exit code = download_file(f->http, url, file, f->folder, &f->bar, err);
    g_free(url);
    return code;
}

/* Parts of commits that are not wanted any more. */
static void remove_parts(const char *folder)
{
    GDir *d = g_dir_open(folder, 0, NULL);
    for (const char *name; d && (name = g_dir_read_name(d)) != NULL;) {
        char *path = g_build_filename(folder, name, NULL);
        if (g_str_has_suffix(name, ".part"))
            unlink(path);
        g_free(path);
    }
    if (d)
        g_dir_close(d);
}

static model_exit bring_all(fetch *f, uint64_t total, omnid_error *err)
{
    model_exit code = MODEL_OK;
    progress_begin(&f->bar, (int64_t)total, 0);
    for (guint i = 0; i < f->wanted->len && code == MODEL_OK; i++)
        code = bring(f, f->wanted->pdata[i], err);
    if (code == MODEL_OK)
        progress_draw(&f->bar, true);
    progress_end(&f->bar);
    MODEL_TRY(code);
    MODEL_TRY(write_record(f, true, err));
    remove_parts(f->folder);
    return MODEL_OK;
}

/* ------------------------------------------------------------------ the whole */

static model_exit prepare(fetch *f, omnid_error *err)
{
    omnid_status status = model_store_parse(&f->name, f->o->name, err);
    if (status != OMNID_OK)
        return MODEL_USAGE;
    MODEL_TRY(hub_place_read(&f->place, err));
    if (f->place.offline)
        return model_fail(err, MODEL_UNREACHABLE, "HF_HUB_OFFLINE is set: nothing is fetched");
    if (f->place.token_kept)
        say(f, "HF_ENDPOINT is not https: the token is not sent");
    char *home = model_store_home();
    f->folder = g_build_filename(home, f->name.folder, NULL);
    g_free(home);
    const http_settings settings = {.token = f->place.token,
                                    .https_only = g_str_has_prefix(f->place.endpoint, "https://"),
                                    .n_retries = f->o->n_retries,
                                    .retry_delay_s = f->o->retry_delay_s,
                                    .stall_s = f->o->stall_s,
                                    .say = say,
                                    .tick = tick,
                                    .user = f};
    return http_create(&f->http, &settings, err);
}

static model_exit run(fetch *f, omnid_error *err)
{
    uint64_t total, here, room = 0;
    omnid_error ignored;
    MODEL_TRY(prepare(f, err));
    MODEL_TRY(ask_hub(f, err));
    record_read(&f->before, f->folder, &ignored); /* none or torn: every file is looked at */
    if (f->before.complete && strcmp(f->before.commit, f->info.commit) == 0 &&
        record_n_missing(&f->before, f->folder) == 0) {
        printf("%s is here already, commit %s: %s\n", f->name.name, f->info.commit, f->folder);
        return MODEL_OK;
    }
    add_up(f, &total, &here);
    MODEL_TRY(free_bytes(f->folder, &room, err));
    MODEL_TRY(print_plan(f, total, here, room, err));
    MODEL_TRY(ask_person(f, err));
    MODEL_TRY(lock_folder(f, err));
    for (guint i = 0; i < f->wanted->len; i++)
        MODEL_TRY(set_aside(f, f->wanted->pdata[i], err));
    MODEL_TRY(write_record(f, false, err));
    record_clear(&f->before);
    record_read(&f->before, f->folder, &ignored);
    MODEL_TRY(bring_all(f, total, err));
    printf("fetched: %s\n", f->folder);
    fflush(stdout);
    check_options check = {.model = f->folder, .params = omnid_model_params_default()};
    model_exit code = check_run(&check, err);
    if (code == MODEL_OK)
        printf("Use it: omnid --model %s\n", f->name.name);
    return code == MODEL_NO ? MODEL_OK : code; /* it is here, and check has said that it does not fit */
}

model_exit fetch_run(const fetch_options *o, omnid_error *err)
{
    fetch f = {.o = o, .lock = -1};
    model_exit code = run(&f, err);
    if (code == MODEL_INTERRUPTED && f.lock >= 0)
        model_fail(err, code, "interrupted; what has come is kept: run the same command again to go on");
    if (f.lock >= 0)
        close(f.lock);
    record_clear(&f.before);
    if (f.wanted)
        g_ptr_array_unref(f.wanted);
    hub_info_clear(&f.info);
    hub_place_clear(&f.place);
    model_store_name_clear(&f.name);
    http_destroy(&f.http);
    g_free(f.config);
    g_free(f.index);
    g_free(f.folder);
    return code;
}
