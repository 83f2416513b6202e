/* download.c: a part that grows, is hashed as it grows, and gets its name only when the hash is right. The part's name holds
 * the hash, so what was begun of another commit is never gone on with. */
#include "tools/model/download.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    const hub_file *file;
    char *path; /* of the part */
    int fd;
    int64_t have;
    GChecksum *sum;
    progress *progress;
} part;

static char *part_path(const hub_file *f, const char *folder)
{
    return g_strdup_printf("%s/%s.%.12s.part", folder, f->name, f->hash);
}

int64_t download_have(const hub_file *f, const char *folder)
{
    char *path = part_path(f, folder);
    struct stat st;
    int64_t n = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : 0;
    g_free(path);
    return n <= f->size ? n : 0;
}

model_exit download_set_aside(const hub_file *f, const char *folder, omnid_error *err)
{
    char *path = g_build_filename(folder, f->name, NULL), *aside = part_path(f, folder);
    model_exit code = MODEL_OK;
    if (rename(path, aside) != 0)
        code = model_fail(err, MODEL_IO, "%.300s: %s", path, strerror(errno));
    g_free(aside);
    g_free(path);
    return code;
}

/* ------------------------------------------------------------------ the sink */

static int64_t part_have(void *user)
{
    return ((part *)user)->have;
}

static model_exit part_restart(void *user, omnid_error *err)
{
    part *p = user;
    if (ftruncate(p->fd, 0) != 0 || lseek(p->fd, 0, SEEK_SET) != 0)
        return model_fail(err, MODEL_IO, "%.300s: %s", p->path, strerror(errno));
    progress_add(p->progress, -p->have);
    p->have = 0;
    g_checksum_free(p->sum);
    p->sum = record_hash_begin(p->file);
    return MODEL_OK;
}

static model_exit part_append(void *user, const void *data, size_t n, omnid_error *err)
{
    part *p = user;
    for (size_t at = 0; at < n;) {
        ssize_t wrote = write(p->fd, (const char *)data + at, n - at);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
            return model_fail(
                err, full ? MODEL_DISK_SMALL : MODEL_IO,
                full ? "%.280s: the disk is full (%s). Make room and run this again: it goes on where it is"
                     : "%.280s: %s",
                p->path, strerror(errno));
        }
        g_checksum_update(p->sum, (const guchar *)data + at, wrote);
        at += (size_t)wrote;
        p->have += wrote;
        progress_add(p->progress, wrote);
    }
    return MODEL_OK;
}

/* ------------------------------------------------------------------ a part's life */

/* Hashes what an earlier fetch left. */
static model_exit read_part(part *p, omnid_error *err)
{
    enum { BLOCK = 1 << 20 };
    guchar *block = g_malloc(BLOCK);
    ssize_t n = 0;
    while (!tool_stop && (n = read(p->fd, block, BLOCK)) > 0 && p->have + n <= p->file->size) {
        g_checksum_update(p->sum, block, n);
        p->have += n;
        progress_add(p->progress, n);
    }
    g_free(block);
    if (tool_stop)
        return model_fail(err, MODEL_INTERRUPTED, "interrupted");
    if (n < 0)
        return model_fail(err, MODEL_IO, "%.300s: %s", p->path, strerror(errno));
    return n > 0 ? part_restart(p, err) : MODEL_OK; /* longer than the file: not ours */
}

static model_exit open_part(part *p, const hub_file *f, const char *folder, progress *bar, omnid_error *err)
{
    *p = (part){.file = f, .path = part_path(f, folder), .progress = bar, .sum = record_hash_begin(f)};
    p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (p->fd < 0)
        return model_fail(err, MODEL_IO, "%.300s: %s", p->path, strerror(errno));
    return read_part(p, err);
}

static void close_part(part *p)
{
    if (p->fd >= 0)
        close(p->fd);
    g_checksum_free(p->sum);
    g_free(p->path);
}

/* Onto the disk before it gets its name: a power cut must not leave a file that only looks whole. */
static model_exit name_part(part *p, const char *folder, omnid_error *err)
{
    char *path = g_build_filename(folder, p->file->name, NULL);
    model_exit code = MODEL_OK;
    if (fsync(p->fd) != 0 || rename(p->path, path) != 0)
        code = model_fail(err, MODEL_IO, "%.300s: %s", path, strerror(errno));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    g_free(path);
    return code;
}

/* The transfer and the hash; one more go when the hash is wrong. */
static model_exit fill_part(http *h, const char *url, part *p, omnid_error *err)
{
    const http_sink sink = {p, p->file->size, part_have, part_restart, part_append};
    char found[16] = "";
    for (int go = 0; go < 2; go++) {
        MODEL_TRY(http_get_file(h, url, p->file->name, &sink, err));
        if (strcmp(g_checksum_get_string(p->sum), p->file->hash) == 0)
            return MODEL_OK;
        snprintf(found, sizeof found, "%.12s", g_checksum_get_string(p->sum));
        if (go == 0)
            progress_say(p->progress,
                         "the hash is not the one that the hub lists: thrown away, once more from the start");
        MODEL_TRY(part_restart(p, err));
    }
    unlink(p->path);
    return model_fail(
        err, MODEL_BAD_DATA,
        "%s: came twice with another hash than the hub lists (%s…, want %.12s…). Something between here and "
        "the hub changes it: try another network or proxy",
        p->file->name, found, p->file->hash);
}

model_exit download_file(http *h, const char *url, const hub_file *f, const char *folder, progress *bar,
                         omnid_error *err)
{
    part p;
    model_exit code = open_part(&p, f, folder, bar, err);
    if (code == MODEL_OK)
        code = fill_part(h, url, &p, err);
    if (code == MODEL_OK)
        code = name_part(&p, folder, err);
    close_part(&p);
    return code;
}
