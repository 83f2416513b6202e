/* files.c: whole files into memory. */
#include "tools/run/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static omnid_status read_open(FILE *f, const char *path, char **data, size_t *n, omnid_error *err)
{
    struct stat st;
    if (fstat(fileno(f), &st) != 0)
        return omnid_fail(err, OMNID_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return omnid_fail(err, OMNID_IO, "%s: want a regular file, found something else", path);
    size_t size = (size_t)st.st_size;
    char *buffer = malloc(size + 1);
    if (!buffer)
        return omnid_fail(err, OMNID_NOMEM, "%s: no memory for %zu bytes", path, size);
    size_t got = fread(buffer, 1, size, f);
    if (got != size) {
        free(buffer);
        return omnid_fail(err, OMNID_IO, "%s: want %zu bytes, read %zu", path, size, got);
    }
    buffer[size] = 0;
    *data = buffer;
    *n = size;
    return OMNID_OK;
}

omnid_status file_read(const char *path, char **data, size_t *n, omnid_error *err)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return omnid_fail(err, errno == ENOENT ? OMNID_NOT_FOUND : OMNID_IO, "%s: %s", path, strerror(errno));
    omnid_status st = read_open(f, path, data, n, err);
    fclose(f);
    return st;
}
