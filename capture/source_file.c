/* source_file.c: "file:PATH", any container GStreamer reads. Played by the clock, or as fast as it is read. */
#include "capture/source_gst.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static omnid_status file_check(const char *uri, omnid_error *err)
{
    const char *path = source_rest(uri);
    struct stat st;
    if (!*path)
        return omnid_fail(err, OMNID_ARGUMENT, "%s: want a path behind 'file:'", uri);
    if (stat(path, &st))
        return omnid_fail(err, errno == ENOENT || errno == ENOTDIR ? OMNID_NOT_FOUND : OMNID_IO, "%s: %s", uri,
                          strerror(errno));
    if (!S_ISREG(st.st_mode))
        return omnid_fail(err, OMNID_FORMAT, "%s: want a file, found a %s", uri,
                          S_ISDIR(st.st_mode) ? "folder" : "device or socket");
    if (!st.st_size)
        return omnid_fail(err, OMNID_FORMAT, "%s: the file is empty", uri);
    if (access(path, R_OK))
        return omnid_fail(err, OMNID_IO, "%s: %s", uri, strerror(errno));
    return OMNID_OK;
}

static omnid_status build(source_gst *s, const char *path, omnid_error *err)
{
    GstElement *decoder;
    OMNID_TRY(source_gst_make(s, &decoder, "uridecodebin", err));
    GError *error = NULL;
    char *uri = gst_filename_to_uri(path, &error);
    if (!uri) {
        omnid_fail(err, OMNID_ARGUMENT, "file:%s: %s", path, error->message);
        g_error_free(error);
        return OMNID_ARGUMENT;
    }
    g_object_set(decoder, "uri", uri, NULL);
    g_free(uri);
    source_gst_watch(s, decoder);
    return OMNID_OK;
}

static omnid_status file_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    const source_gst_params gst = {.clip = true};
    source_gst *s = NULL;
    *self = NULL;
    OMNID_TRY(file_check(p->uri, err));
    OMNID_TRY(source_gst_create(&s, p, &gst, err));
    omnid_status status = build(s, source_rest(p->uri), err);
    if (status == OMNID_OK)
        status = source_gst_start(s, info, err);
    *self = s;
    if (status != OMNID_OK)
        source_gst_close(self);
    return status;
}

const source_ops source_file = {
    .scheme = "file",
    .description = "file:PATH  a file with picture, sound or both, in any form GStreamer reads",
    .local = true,
    .check = file_check,
    .open = file_open,
    .read = source_gst_read,
    .close = source_gst_close,
};
