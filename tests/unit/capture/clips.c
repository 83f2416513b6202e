/* clips.c: see clips.h. */
#include "clips.h"

#include <gst/gst.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static void keep_segment(void *user, const capture_segment *seg)
{
    keeper *k = user;
    if (k->n == MAX_KEPT)
        return;
    kept_segment *s = calloc(1, sizeof *s);
    k->kept[k->n++] = s;
    s->seg = *seg;
    if (seg->n_samples)
        memcpy(s->samples, seg->samples, (size_t)seg->n_samples * sizeof *s->samples);
    s->seg.samples = seg->n_samples ? s->samples : NULL;
    if (seg->n_frames) {
        size_t size = (size_t)seg->frames[0].stride * (size_t)seg->frames[0].height;
        s->frame = malloc(size);
        memcpy(s->frame, seg->frames[0].rgb, size);
    }
    usleep((useconds_t)k->sleep_ms * 1000);
}

static void keep_state(void *user, bool video, capture_state state, const char *message)
{
    keeper *k = user;
    *(video ? &k->video : &k->audio) = state;
    k->n_lost += state == CAPTURE_LOST;
    if (*message)
        print_message("told: %s %s: %s\n", video ? "video" : "audio", capture_state_name(state), message);
}

capture_params keeper_params(keeper *k, const char *video, const char *audio)
{
    *k = (keeper){0};
    capture_params p = capture_params_default();
    p.video = video;
    p.audio = audio;
    p.user = k;
    p.on_segment = keep_segment;
    p.on_source = keep_state;
    return p;
}

omnid_capture *keeper_start(keeper *k, const char *video, const char *audio)
{
    omnid_capture *c;
    omnid_error err;
    capture_params p = keeper_params(k, video, audio);
    if (omnid_capture_start(&c, &p, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    return c;
}

enum { STEP_MS = 5 };

capture_source_status await_state(omnid_capture *c, bool video, capture_state state)
{
    capture_status status = omnid_capture_get_status(c);
    const capture_source_status *s = video ? &status.video : &status.audio;
    for (int ms = 0; ms < PATIENCE_MS && s->state != state; ms += STEP_MS) {
        usleep(STEP_MS * 1000);
        status = omnid_capture_get_status(c);
    }
    if (s->state != state)
        fail_msg("%s is %s, want %s: %s", video ? "picture" : "sound", capture_state_name(s->state),
                 capture_state_name(state), s->message);
    return *s;
}

void await_segments(omnid_capture *c, int64_t n)
{
    for (int ms = 0; ms < PATIENCE_MS && omnid_capture_get_status(c).n_segments < n; ms += STEP_MS)
        usleep(STEP_MS * 1000);
    assert_true(omnid_capture_get_status(c).n_segments >= n);
}

void keeper_free(keeper *k)
{
    for (int i = 0; i < k->n; i++) {
        free(k->kept[i]->frame);
        free(k->kept[i]);
    }
    k->n = 0;
}

const char *clip_make(const char *name, const char *description)
{
    static char path[512];
    gst_init(NULL, NULL);
    snprintf(path, sizeof path, "%s/clip-%d-%s", CLIPS_DIR, (int)getpid(), name);
    char *text = g_strdup_printf("%s ! filesink location=\"%s\"", description, path);
    GError *error = NULL;
    GstElement *pipeline = gst_parse_launch(text, &error);
    if (!pipeline || error)
        fail_msg("%s: %s", text, error ? error->message : "not a pipeline");
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    GstBus *bus = gst_element_get_bus(pipeline);
    GstMessage *message = gst_bus_timed_pop_filtered(bus, 60 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    if (!message || GST_MESSAGE_TYPE(message) != GST_MESSAGE_EOS)
        fail_msg("%s: was not made", text);
    gst_message_unref(message);
    gst_object_unref(bus);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(pipeline);
    g_free(text);
    return path;
}
