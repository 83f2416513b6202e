/* record.c: omnid-fetch.json, read with the same mistrust as the hub's answers: anybody may have edited it. */
#include "tools/model/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_FILE "omnid-fetch.json"

void record_clear(record *r)
{
    if (r->files)
        g_ptr_array_unref(r->files);
    g_free(r->name);
    g_free(r->repository);
    g_free(r->revision);
    g_free(r->licence);
    memset(r, 0, sizeof *r);
}

/* ------------------------------------------------------------------ reading */

static char *text_of(const json_t *root, const char *key)
{
    const char *text = json_string_value(json_object_get(root, key));
    return g_strndup(text ? text : "", 200);
}

static model_exit read_files(record *out, const json_t *files, omnid_error *err)
{
    const char *name;
    json_t *o;
    json_object_foreach((json_t *)files, name, o)
    {
        const char *sha256 = json_string_value(json_object_get(o, "sha256"));
        const char *git = json_string_value(json_object_get(o, "git_sha1"));
        const json_t *size = json_object_get(o, "size");
        if (!hub_name_is_good(name) || !json_is_integer(size) || json_integer_value(size) < 0 ||
            (sha256 ? strlen(sha256) != 64 : !git || strlen(git) != 40))
            return model_fail(err, MODEL_BAD_DATA, RECORD_FILE ": %.80s: want a size and sha256 or git_sha1", name);
        hub_files_add(out->files, name, json_integer_value(size), sha256 ? sha256 : git, !sha256);
    }
    return MODEL_OK;
}

model_exit record_parse(record *out, const char *json, size_t n, omnid_error *err)
{
    json_error_t where;
    *out = (record){.files = hub_files_create()};
    json_t *root = json_loadb(json, n, JSON_REJECT_DUPLICATES, &where);
    const char *commit = json_string_value(json_object_get(root, "commit"));
    const json_t *files = json_object_get(root, "files");
    model_exit code = MODEL_OK;
    if (!root)
        code = model_fail(err, MODEL_BAD_DATA, RECORD_FILE " is not JSON (line %d: %.100s)", where.line, where.text);
    else if (!commit || strlen(commit) != 40 || !json_is_object(files))
        code = model_fail(err, MODEL_BAD_DATA, RECORD_FILE ": want a commit and files");
    else
        code = read_files(out, files, err);
    if (code == MODEL_OK) {
        memcpy(out->commit, commit, sizeof out->commit);
        out->name = text_of(root, "name");
        out->repository = text_of(root, "repository");
        out->revision = text_of(root, "revision");
        out->licence = text_of(root, "licence");
        out->complete = json_is_true(json_object_get(root, "complete"));
    } else {
        record_clear(out);
    }
    json_decref(root);
    return code;
}

model_exit record_read(record *out, const char *folder, omnid_error *err)
{
    char *path = g_build_filename(folder, RECORD_FILE, NULL), *text = NULL;
    gsize n = 0;
    GError *error = NULL;
    memset(out, 0, sizeof *out);
    model_exit code;
    if (g_file_get_contents(path, &text, &n, &error)) {
        code = record_parse(out, text, n, err);
        if (code != MODEL_OK)
            omnid_fail_in(err, "%.200s", folder);
    } else {
        bool none = g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        code = model_fail(err, none ? MODEL_MISSING : MODEL_IO, "%.400s", error->message);
        g_error_free(error);
    }
    g_free(text);
    g_free(path);
    return code;
}

/* ------------------------------------------------------------------ writing */

model_exit record_write(const record *r, const char *folder, omnid_error *err)
{
    json_t *files = json_object();
    for (guint i = 0; r->files && i < r->files->len; i++) {
        const hub_file *f = r->files->pdata[i];
        json_object_set_new(
            files, f->name,
            json_pack("{s:I, s:s}", "size", (json_int_t)f->size, f->is_git ? "git_sha1" : "sha256", f->hash));
    }
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "name", r->name, "repository", r->repository, "revision",
                  r->revision, "commit", r->commit, "licence", r->licence, "complete", r->complete, "files", files);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    char *path = g_build_filename(folder, RECORD_FILE, NULL);
    GError *error = NULL;
    model_exit code = MODEL_OK;
    if (!text)
        code = model_fail(err, MODEL_SYSTEM, "no memory to write " RECORD_FILE);
    else if (!g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &error)) {
        code = model_fail(err, MODEL_IO, "%.400s", error->message);
        g_error_free(error);
    }
    free(text);
    g_free(path);
    json_decref(root);
    return code;
}

/* ------------------------------------------------------------------ files on the disk */

int record_n_missing(const record *r, const char *folder)
{
    int n = 0;
    for (guint i = 0; r->files && i < r->files->len; i++) {
        const hub_file *f = r->files->pdata[i];
        char *path = g_build_filename(folder, f->name, NULL);
        struct stat st;
        n += stat(path, &st) != 0 || st.st_size != f->size;
        g_free(path);
    }
    return n;
}

uint64_t record_bytes(const record *r)
{
    uint64_t n = 0;
    for (guint i = 0; r->files && i < r->files->len; i++)
        n += (uint64_t)((const hub_file *)r->files->pdata[i])->size;
    return n;
}

GChecksum *record_hash_begin(const hub_file *f)
{
    GChecksum *sum = g_checksum_new(f->is_git ? G_CHECKSUM_SHA1 : G_CHECKSUM_SHA256);
    if (f->is_git) {
        char head[40];
        int n = snprintf(head, sizeof head, "blob %" PRId64, f->size);
        g_checksum_update(sum, (const guchar *)head, n + 1); /* its '\0' too */
    }
    return sum;
}

model_exit record_hash_file(const hub_file *f, const char *folder, omnid_error *err)
{
    enum { BLOCK = 1 << 20 };
    char *path = g_build_filename(folder, f->name, NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    model_exit code = MODEL_OK;
    ssize_t n = -1;
    GChecksum *sum = record_hash_begin(f);
    guchar *block = g_malloc(BLOCK);
    if (fd < 0)
        code = model_fail(err, errno == ENOENT ? MODEL_MISSING : MODEL_IO, "%.300s: %s", path, strerror(errno));
    while (code == MODEL_OK && (n = read(fd, block, BLOCK)) > 0) {
        g_checksum_update(sum, block, n);
        if (tool_stop)
            code = model_fail(err, MODEL_INTERRUPTED, "interrupted");
    }
    if (code == MODEL_OK && n < 0)
        code = model_fail(err, MODEL_IO, "%.300s: %s", path, strerror(errno));
    if (code == MODEL_OK && strcmp(g_checksum_get_string(sum), f->hash) != 0)
        code = model_fail(err, MODEL_BAD_DATA, "%s has another hash than the hub lists (%.12s…, want %.12s…)", f->name,
                          g_checksum_get_string(sum), f->hash);
    if (fd >= 0)
        close(fd);
    g_free(block);
    g_checksum_free(sum);
    g_free(path);
    return code;
}
