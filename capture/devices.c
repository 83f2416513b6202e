/* devices.c: every node of every camera with what v4l2_choose makes of it, then the microphones. */
#include "capture/devices.h"

#include "capture/mic_devices.h"
#include "capture/v4l2_choose.h"

#include <stdlib.h>
#include <string.h>

/* What omnid would do with a node. */
static omnid_status describe(capture_device *d, v4l2_camera *c)
{
    const v4l2_want want = {0};
    v4l2_choice *choices = NULL;
    int n = 0;
    omnid_error err = {0};
    omnid_status status =
        c->failed_errno ? v4l2_list_explain(c->path, c->failed_errno, &err) : v4l2_list_modes(c, 0, 0, &err);
    if (status == OMNID_OK)
        status = v4l2_choose(&choices, &n, c, &want, &err);
    *d = (capture_device){.video = true, .usable = status == OMNID_OK};
    snprintf(d->uri, sizeof d->uri, "v4l2:%s", *c->by_id ? c->by_id : c->path);
    memcpy(d->path, c->path, sizeof d->path);
    snprintf(d->name, sizeof d->name, "%s", *c->name ? c->name : "unknown");
    snprintf(d->bus, sizeof d->bus, "%s", c->bus);
    memcpy(d->serial, c->serial, sizeof d->serial);
    snprintf(d->choice, sizeof d->choice, "%s", n ? choices[0].text : "");
    snprintf(d->why, sizeof d->why, "%.319s", n ? choices[0].why : err.text);
    free(choices);
    v4l2_list_clear(c);
    return status == OMNID_NOMEM ? status : OMNID_OK;
}

/* Microphones, or the sentence why they cannot be listed in the place of one. */
static omnid_status list_microphones(capture_device **out, int *n, omnid_error *err)
{
    omnid_error mine = {0};
    omnid_status status = mic_devices_list(out, n, &mine);
    if (status == OMNID_OK)
        return OMNID_OK;
    *out = status == OMNID_NOMEM ? NULL : calloc(1, sizeof **out);
    *n = 0;
    if (!*out)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for the list of microphones");
    *n = 1;
    snprintf((*out)->name, sizeof(*out)->name, "unknown");
    snprintf((*out)->why, sizeof(*out)->why, "%.319s", mine.text);
    return OMNID_OK;
}

omnid_status omnid_devices_list(capture_device **out, int *n, omnid_error *err)
{
    v4l2_camera *cameras;
    capture_device *microphones = NULL;
    int n_cameras, n_microphones = 0;
    *out = NULL;
    *n = 0;
    OMNID_TRY(v4l2_list_nodes(&cameras, &n_cameras, err));
    omnid_status status = list_microphones(&microphones, &n_microphones, err);
    int n_all = n_cameras + n_microphones;
    capture_device *all = status == OMNID_OK && n_all ? calloc((size_t)n_all, sizeof *all) : NULL;
    if (status == OMNID_OK && n_all && !all)
        status = omnid_fail(err, OMNID_NOMEM, "out of memory for a list of %d devices", n_all);
    for (int i = 0; i < n_cameras && status == OMNID_OK; i++)
        status = describe(&all[i], &cameras[i]);
    if (status == OMNID_OK && n_microphones)
        memcpy(all + n_cameras, microphones, (size_t)n_microphones * sizeof *all);
    v4l2_list_free(&cameras, n_cameras);
    free(microphones);
    if (status != OMNID_OK) {
        free(all);
        return status;
    }
    *out = all;
    *n = n_all;
    return OMNID_OK;
}

omnid_status omnid_devices_print_modes(FILE *to, const char *path, omnid_error *err)
{
    v4l2_camera c;
    OMNID_TRY(v4l2_list_node(&c, path, err));
    omnid_status status = v4l2_list_modes(&c, 0, 0, err);
    if (status == OMNID_OK)
        v4l2_list_print(to, &c);
    v4l2_list_clear(&c);
    return status;
}
