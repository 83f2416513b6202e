/* source_v4l2.c: "v4l2:DEVICE[,OPTION=VALUE…]", a camera of this machine: found, its mode chosen, carried by v4l2src. */
#include "capture/source_gst.h"
#include "capture/v4l2_choose.h"
#include "capture/v4l2_match.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_MS = 5000, /* a camera that starts gives its first picture within a second or two */
    MAX_TRIES = 6,
    RETURN_MS = 3000, /* how long one attempt waits for a camera that is gone, looking every LOOK_MS */
    LOOK_MS = 200,
};

_Static_assert(sizeof(v4l2_identity) <= SOURCE_MEMORY, "the camera's identity fits into what is kept for a source");

typedef struct {
    source_gst *gst;
    char uri[256], path[128];
} camera;

/* ---- which node ---- */

static omnid_status find_by_name(v4l2_camera *out, const char *device, omnid_error *err)
{
    v4l2_camera *all;
    int n, i;
    OMNID_TRY(v4l2_list_nodes(&all, &n, err));
    omnid_status status = v4l2_match_name(&i, all, n, device, err);
    if (status == OMNID_OK && all[i].failed_errno)
        status = v4l2_list_explain(all[i].path, all[i].failed_errno, err);
    if (status == OMNID_OK)
        *out = all[i];
    v4l2_list_free(&all, n);
    return status;
}

/* The camera that was opened before, wherever it is now; the node where it was is asked first. */
static omnid_status find_again(v4l2_camera *out, const v4l2_identity *was, const char *device, omnid_error *err)
{
    char end[PATH_MAX];
    const char *named = strchr(device, '/') && realpath(device, end) ? end : NULL;
    int i, n = 1;
    omnid_error there = {0};
    omnid_status at_path = v4l2_list_node(out, was->path, &there);
    if (at_path == OMNID_OK && v4l2_match_again(&i, out, 1, was, NULL, NULL) == OMNID_OK)
        return OMNID_OK;
    v4l2_camera *all;
    OMNID_TRY(v4l2_list_nodes(&all, &n, err));
    omnid_status status = v4l2_match_again(&i, all, n, was, named, err);
    if (status == OMNID_OK)
        *out = all[i];
    v4l2_list_free(&all, n);
    /* A node that cannot be looked at may be another camera's by now, or this one's: the last to be believed. */
    if (status != OMNID_OK && (at_path == OMNID_IO || at_path == OMNID_BUSY))
        status = omnid_fail(err, at_path, "%s", there.text);
    return status;
}

/* The same, for a while: looking costs little, so a camera is taken up as soon as it is back. */
static omnid_status await_again(v4l2_camera *out, const v4l2_identity *was, const char *device, const atomic_bool *stop,
                                omnid_error *err)
{
    const struct timespec pause = {0, LOOK_MS * 1000000};
    for (int64_t until_us = omnid_clock_us() + RETURN_MS * 1000;;) {
        omnid_status status = find_again(out, was, device, err);
        if (status != OMNID_NOT_FOUND || omnid_clock_us() > until_us || (stop && atomic_load(stop)))
            return status;
        nanosleep(&pause, NULL);
    }
}

static omnid_status find(v4l2_camera *out, const v4l2_uri *u, const v4l2_identity *was, const atomic_bool *stop,
                         omnid_error *err)
{
    if (*was->path)
        return await_again(out, was, u->device, stop, err);
    if (strchr(u->device, '/'))
        return v4l2_list_node(out, u->device, err);
    return find_by_name(out, u->device, err);
}

/* ---- one mode ---- */

static omnid_status link_decoder(source_gst *s, GstElement *filter, const char *uri, omnid_error *err)
{
    GstElement *decoder;
    OMNID_TRY(source_gst_make(s, &decoder, "decodebin", err));
    source_gst_watch(s, decoder);
    return gst_element_link(filter, decoder) ? OMNID_OK : omnid_fail(err, OMNID_DEVICE, "%s: cannot be decoded", uri);
}

/* v4l2src ! caps ! sink; what is coded goes through a decoder, JPEG does not. */
static omnid_status build(source_gst *s, const char *uri, const char *path, const v4l2_choice *choice, omnid_error *err)
{
    GstElement *source, *filter;
    OMNID_TRY(source_gst_make(s, &source, "v4l2src", err));
    OMNID_TRY(source_gst_make(s, &filter, "capsfilter", err));
    g_object_set(source, "device", path, NULL);
    gst_util_set_object_arg(G_OBJECT(filter), "caps", choice->caps);
    if (!gst_element_link(source, filter))
        return omnid_fail(err, OMNID_DEVICE, "%s: v4l2src does not know %s", uri, choice->caps);
    if (choice->kind == V4L2_CODED)
        return link_decoder(s, filter, uri, err);
    GstPad *pad = gst_element_get_static_pad(filter, "src");
    bool linked = source_gst_add_sink(s, true, pad);
    gst_object_unref(pad);
    return linked ? OMNID_OK : omnid_fail(err, OMNID_DEVICE, "%s: %s cannot be read", uri, choice->caps);
}

/* Runs the camera in that mode, up to the first picture. */
static omnid_status run_choice(camera *v, const source_params *p, const v4l2_choice *choice, source_info *info,
                               omnid_error *err)
{
    const source_gst_params gst = {.clip = false};
    source_params picture_only = *p;
    picture_only.want_audio = false;
    OMNID_TRY(source_gst_create(&v->gst, &picture_only, &gst, err));
    omnid_status status = build(v->gst, p->uri, v->path, choice, err);
    if (status == OMNID_OK)
        status = source_gst_start(v->gst, info, err);
    if (status == OMNID_OK)
        status = source_gst_wait_first(v->gst, FIRST_MS, err);
    if (status != OMNID_OK)
        source_gst_close((void **)&v->gst);
    return status;
}

/* ---- all of them ---- */

/* Where no other mode would help. */
static bool is_final(int error)
{
    return error == EBUSY || error == EACCES || error == EPERM || error == ENOENT || error == ENODEV || error == ENXIO;
}

/* Puts the mode that worked before at the front. */
static void begin_with(v4l2_choice *choices, int n, const char *text)
{
    for (int i = 1; i < n; i++)
        if (!strcmp(choices[i].text, text)) {
            v4l2_choice first = choices[i];
            memmove(choices + 1, choices, (size_t)i * sizeof *choices);
            choices[0] = first;
            return;
        }
}

/* Tries the modes in their order. *chosen is the one that runs. */
static omnid_status try_choices(camera *v, const source_params *p, const v4l2_camera *c, const v4l2_choice *choices,
                                int n, int *chosen, source_info *info, omnid_error *err)
{
    omnid_status status = OMNID_DEVICE;
    for (int i = 0, n_tries = 0; i < n && n_tries < MAX_TRIES; n_tries++) {
        const v4l2_choice *k = &choices[i];
        *chosen = i;
        status = run_choice(v, p, k, info, err);
        if (status == OMNID_OK || status == OMNID_CANCELLED)
            return status;
        int error = v4l2_list_try(c, k->fourcc, k->width, k->height, k->rate);
        if (error)
            status = v4l2_list_explain(c->path, error, err);
        if (is_final(error))
            return status;
        i = v4l2_choose_next(choices, n, i, error);
        omnid_log(OMNID_LOG_WARNING, "%s: %s is refused (%s); %s", p->uri, k->text, err->text,
                  i < n ? "trying another mode" : "there is no other mode");
    }
    return status;
}

static omnid_status start(camera *v, const source_params *p, const v4l2_uri *u, v4l2_identity *known, source_info *info,
                          omnid_error *err)
{
    v4l2_camera c = {0};
    v4l2_choice *choices = NULL;
    int n = 0, chosen = 0;
    omnid_status status = find(&c, u, known, p->stop, err);
    if (status == OMNID_OK)
        status = v4l2_list_modes(&c, u->want.width, u->want.height, err);
    if (status == OMNID_OK)
        status = v4l2_choose(&choices, &n, &c, &u->want, err);
    if (status == OMNID_OK) {
        memcpy(v->path, c.path, sizeof v->path);
        begin_with(choices, n, known->choice);
        status = try_choices(v, p, &c, choices, n, &chosen, info, err);
    }
    if (status == OMNID_OK) {
        omnid_log(OMNID_LOG_INFO, "%s: %s (%s), %s: %s", p->uri, c.path, c.name, choices[chosen].text,
                  choices[chosen].why);
        *known = v4l2_identity_of(&c);
        memcpy(known->choice, choices[chosen].text, sizeof known->choice);
    }
    free(choices);
    v4l2_list_clear(&c);
    return status;
}

/* ---- the source ---- */

/* A camera may be plugged in later: only the form is looked at. */
static omnid_status v4l2_check(const char *uri, omnid_error *err)
{
    v4l2_uri u;
    return v4l2_uri_read(&u, uri, err);
}

static omnid_status camera_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    v4l2_uri u;
    v4l2_identity known = {0};
    *self = NULL;
    OMNID_TRY(v4l2_uri_read(&u, p->uri, err));
    if (!p->want_video)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: a camera has no sound; use mic: for a microphone", p->uri);
    camera *v = calloc(1, sizeof *v);
    if (!v)
        return omnid_fail(err, OMNID_NOMEM, "%s: out of memory for a source", p->uri);
    snprintf(v->uri, sizeof v->uri, "%s", p->uri);
    if (p->memory)
        memcpy(&known, p->memory, sizeof known);
    omnid_status status = start(v, p, &u, &known, info, err);
    if (status != OMNID_OK) {
        free(v);
        return status;
    }
    if (p->memory)
        memcpy(p->memory, &known, sizeof known);
    *self = v;
    return OMNID_OK;
}

static omnid_status camera_read(void *self, source_data *out, int timeout_ms, omnid_error *err)
{
    camera *v = self;
    omnid_status status = source_gst_read(v->gst, out, timeout_ms, err);
    if (status == OMNID_OK || status == OMNID_AGAIN)
        return status;
    v4l2_camera now; /* GStreamer says only that it could not read */
    if (access(v->path, F_OK))
        return v4l2_list_explain(v->path, ENODEV, err);
    if (v4l2_list_node(&now, v->path, NULL) != OMNID_OK)
        return v4l2_list_explain(v->path, now.failed_errno, err);
    if (status == OMNID_END)
        return omnid_fail(err, OMNID_DEVICE, "%s: the camera has stopped", v->uri);
    return status;
}

static void camera_close(void **self)
{
    camera *v = *self;
    *self = NULL;
    if (!v)
        return;
    source_gst_close((void **)&v->gst);
    free(v);
}

const source_ops source_v4l2 = {
    .scheme = "v4l2",
    .description =
        "v4l2:DEVICE[,size=WxH][,fps=N][,format=MJPG]  a camera of this machine: path, by-id name or card name",
    .check = v4l2_check,
    .open = camera_open,
    .read = camera_read,
    .close = camera_close,
};
