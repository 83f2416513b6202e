/* v4l2_match.c: names, serial numbers and sockets against a list of nodes. */
#include "capture/v4l2_match.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- the URI ---- */

/* Where the options begin: at the first comma with a word and '=' behind it. The end of the text = there are none. */
static const char *find_options(const char *rest)
{
    for (const char *comma = strchr(rest, ','); comma; comma = strchr(comma + 1, ',')) {
        const char *end = comma + 1;
        while (islower((unsigned char)*end))
            end++;
        if (end > comma + 1 && *end == '=')
            return comma;
    }
    return rest + strlen(rest);
}

static bool read_size(v4l2_want *w, const char *text)
{
    char *end;
    long width = strtol(text, &end, 10);
    if (*end != 'x')
        return false;
    long height = strtol(end + 1, &end, 10);
    w->width = (int)width;
    w->height = (int)height;
    return !*end && width >= 16 && width <= 16384 && height >= 16 && height <= 16384;
}

/* A fourcc as V4L2 writes it; some names that people use instead. */
static bool read_format(v4l2_want *w, const char *text)
{
    static const char *const names[][2] = {{"MJPEG", "MJPG"}, {"YUY2", "YUYV"}, {"H265", "HEVC"},
                                           {"I420", "YU12"},  {"VP8", "VP80"},  {"Y16", "Y16 "}};
    char upper[8];
    size_t n = strlen(text);
    if (n < 3 || n > 5)
        return false;
    for (size_t i = 0; i <= n; i++)
        upper[i] = (char)toupper((unsigned char)text[i]);
    const char *fourcc = n == 4 ? text : upper;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i][0], upper))
            fourcc = names[i][1];
    if (fourcc == text && !strpbrk(text, "pg")) /* libcamera's packed Bayer names have small letters */
        fourcc = upper;
    if (strlen(fourcc) != 4)
        return false;
    for (int i = 0; i < 4; i++)
        w->fourcc |= (uint32_t)(unsigned char)fourcc[i] << 8 * i;
    return true;
}

static bool read_fps(v4l2_want *w, const char *text)
{
    char *end;
    w->fps = strtod(text, &end);
    return end != text && !*end && w->fps >= 0.1 && w->fps <= 1000.0;
}

static omnid_status read_option(v4l2_uri *u, const char *uri, const char *key, const char *value, omnid_error *err)
{
    static const struct {
        const char *key, *want;
        bool (*read)(v4l2_want *w, const char *text);
    } options[] = {
        {"size", "WIDTHxHEIGHT, each 16..16384", read_size},
        {"fps", "frames a second, 0.1..1000", read_fps},
        {"format", "four letters as 'v4l2-ctl --list-formats' shows them, e.g. MJPG or YUYV", read_format},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(options[i].key, key) != 0)
            continue;
        if (options[i].read(&u->want, value))
            return OMNID_OK;
        return omnid_fail(err, OMNID_ARGUMENT, "%s: %s is '%s'; want %s", uri, key, value, options[i].want);
    }
    return omnid_fail(err, OMNID_ARGUMENT, "%s: no option '%s'; known are size, fps, format", uri, key);
}

omnid_status v4l2_uri_read(v4l2_uri *out, const char *uri, omnid_error *err)
{
    *out = (v4l2_uri){0};
    const char *colon = strchr(uri, ':');
    const char *rest = colon ? colon + 1 : uri;
    const char *options = find_options(rest);
    size_t n = (size_t)(options - rest);
    char text[256];
    if (!n)
        return omnid_fail(
            err, OMNID_ARGUMENT,
            "%s: want a camera behind 'v4l2:', e.g. v4l2:/dev/video0; 'omnid-devices' lists those there are", uri);
    if (n >= sizeof out->device || strlen(options) >= sizeof text)
        return omnid_fail(err, OMNID_ARGUMENT, "%.60s…: want at most %zu letters behind 'v4l2:'", uri,
                          sizeof out->device - 1);
    memcpy(out->device, rest, n);
    strcpy(text, *options ? options + 1 : "");
    char *left = text;
    for (char *item; *text && (item = strsep(&left, ","));) {
        char *value = strchr(item, '=');
        if (!value)
            return omnid_fail(err, OMNID_ARGUMENT, "%s: '%s' is no option; want NAME=VALUE", uri, item);
        *value = '\0';
        OMNID_TRY(read_option(out, uri, item, value + 1, err));
    }
    return OMNID_OK;
}

/* ---- names ---- */

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* How well a node is named: 3 by a link, 2 by the whole name of its card, 1 by a part of it, 0 not. */
static int names(const v4l2_camera *c, const char *device)
{
    if ((*c->by_id && !strcmp(last_part(c->by_id), device)) || (*c->by_path && !strcmp(last_part(c->by_path), device)))
        return 3;
    if (!strcasecmp(c->name, device))
        return 2;
    return strcasestr(c->name, device) ? 1 : 0;
}

static bool may_be_meant(const v4l2_camera *c)
{
    return c->capture || c->failed_errno;
}

/* "/dev/video0 (Webcam), …" of the nodes named at least that well. */
static void list_nodes(char *out, size_t size, const v4l2_camera *c, int n, const char *device, int least)
{
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < n && used + 100 < size; i++)
        if (may_be_meant(&c[i]) && names(&c[i], device) >= least)
            used +=
                (size_t)snprintf(out + used, size - used, "%s%.40s (%.40s)", used ? ", " : "", c[i].path, c[i].name);
}

omnid_status v4l2_match_name(int *out, const v4l2_camera *cameras, int n, const char *device, omnid_error *err)
{
    int best = 0, n_best = 0;
    char have[320];
    for (int i = 0; i < n; i++) {
        int score = may_be_meant(&cameras[i]) ? names(&cameras[i], device) : 0;
        if (score > best)
            n_best = 0;
        best = score > best ? score : best;
        if (score && score == best && !n_best++)
            *out = i;
    }
    if (n_best == 1)
        return OMNID_OK;
    if (n_best > 1) {
        list_nodes(have, sizeof have, cameras, n, device, best);
        return omnid_fail(err, OMNID_ARGUMENT,
                          "'%s' names %d cameras: %s; write the path of one, or its name in /dev/v4l/by-id", device,
                          n_best, have);
    }
    list_nodes(have, sizeof have, cameras, n, device, 0);
    return omnid_fail(err, OMNID_NOT_FOUND, "there is no camera '%s'; %s%s", device,
                      *have ? "there are " : "there is none at all: plug it in, or look at the group of /dev/video*",
                      have);
}

/* ---- the same camera again ---- */

v4l2_identity v4l2_identity_of(const v4l2_camera *c)
{
    v4l2_identity id;
    memset(&id, 0, sizeof id);
    memcpy(id.path, c->path, sizeof id.path);
    memcpy(id.name, c->name, sizeof id.name);
    memcpy(id.bus, c->bus, sizeof id.bus);
    memcpy(id.serial, c->serial, sizeof id.serial);
    id.index = c->index;
    return id;
}

/* How surely a node is the camera that was: 4 serial number and socket, 3 serial number, 2 socket, 1 only the URI's path. */
static int is_again(const v4l2_camera *c, const v4l2_identity *was, const char *named)
{
    if (!c->capture || strcmp(c->name, was->name) != 0 || c->index != was->index || strcmp(c->serial, was->serial) != 0)
        return 0;
    bool same_socket = *was->bus && !strcmp(c->bus, was->bus);
    if (*was->serial)
        return same_socket ? 4 : 3;
    if (same_socket || !*was->bus)
        return 2;
    return named && !strcmp(c->path, named) ? 1 : 0;
}

omnid_status v4l2_match_again(int *out, const v4l2_camera *cameras, int n, const v4l2_identity *was, const char *named,
                              omnid_error *err)
{
    int best = 0;
    for (int i = 0; i < n; i++) {
        int sure = is_again(&cameras[i], was, named);
        bool same_path = sure && sure == best && !strcmp(cameras[i].path, was->path);
        if (sure > best || same_path)
            *out = i;
        best = sure > best ? sure : best;
    }
    if (best)
        return OMNID_OK;
    return omnid_fail(err, OMNID_NOT_FOUND, "%s: the camera %s%s%s is not plugged in; it is taken up again by itself",
                      was->path, was->name,
                      *was->serial ? ", serial number "
                      : *was->bus  ? " at "
                                   : "",
                      *was->serial ? was->serial : was->bus);
}
