/* source_pipeline.c: "pipeline:LAUNCH STRING". What comes out of the elements named `video` and `audio` is the camera's. */
#include "capture/source_pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which Debian package an element is in, by how its name begins; the first that fits. */
static const char *const packages[][2] = {
    {"nv", "nvidia-l4t-gstreamer, on a Jetson"},
    {"libcamera", "gstreamer1.0-libcamera"},
    {"pipewire", "gstreamer1.0-pipewire"},
    {"av", "gstreamer1.0-libav"},
    {"x264", "gstreamer1.0-plugins-ugly"},
    {"alsa", "gstreamer1.0-alsa"},
    {"gl", "gstreamer1.0-gl"},
    {"rtsp", "gstreamer1.0-plugins-good"},
    {"v4l2", "gstreamer1.0-plugins-good"},
    {"pulse", "gstreamer1.0-pulseaudio"},
    {"", "gstreamer1.0-plugins-base, -good, -bad or -ugly"},
};

static const char *package_of(const char *element)
{
    size_t i = 0;
    while (!g_str_has_prefix(element, packages[i][0]))
        i++;
    return packages[i][1];
}

static omnid_status fail_parsing(const char *launch, const char *name, GstParseContext *context, const GError *error,
                                 omnid_error *err)
{
    char **missing = gst_parse_context_get_missing_elements(context);
    const char *reason = error ? error->message : "is empty";
    omnid_status status;
    bool no_element = error && error->domain == GST_PARSE_ERROR && error->code == GST_PARSE_ERROR_NO_SUCH_ELEMENT;
    if (no_element && missing && *missing) {
        const char *at = strstr(launch, *missing);
        status = omnid_fail(err, OMNID_UNSUPPORTED,
                            "%.150s: GStreamer's element '%s' (character %td) is not installed; look for it with "
                            "gst-inspect-1.0, Debian's package is %s",
                            name, *missing, at ? at - launch + 1 : 0, package_of(*missing));
    } else {
        /* GStreamer tells no position, but quotes what it stumbled over */
        char word[64] = "";
        const char *at = sscanf(reason, "%*[^\"]\"%63[^\"]\"", word) == 1 ? strstr(launch, word) : NULL;
        char where[48] = "";
        if (at)
            snprintf(where, sizeof where, " (character %td)", at - launch + 1);
        status = omnid_fail(err, OMNID_ARGUMENT, "%.150s: %s%s; try it with gst-launch-1.0", name, reason, where);
    }
    g_strfreev(missing);
    return status;
}

/* The string as a bin. */
static omnid_status parse(GstElement **out, const char *launch, const char *name, omnid_error *err)
{
    *out = NULL;
    OMNID_TRY(source_gst_init(err));
    if (!launch[strspn(launch, " \t")])
        return omnid_fail(err, OMNID_ARGUMENT, "%s: want a gst-launch string behind 'pipeline:'", name);
    GstParseContext *context = gst_parse_context_new();
    GError *error = NULL;
    GstElement *bin =
        gst_parse_launch_full(launch, context, GST_PARSE_FLAG_FATAL_ERRORS | GST_PARSE_FLAG_PLACE_IN_BIN, &error);
    omnid_status status = OMNID_OK;
    if (!bin || error) {
        status = fail_parsing(launch, name, context, error, err);
        if (bin)
            gst_object_unref(gst_object_ref_sink(bin));
        bin = NULL;
    }
    g_clear_error(&error);
    gst_parse_context_free(context);
    *out = bin ? gst_object_ref_sink(bin) : NULL;
    return status;
}

/* The free end of the element of that name: its src pad, or a new one (tee). NULL and *named: there is none. */
static GstPad *find_end(GstElement *bin, const char *element_name, bool *named)
{
    GstElement *element = gst_bin_get_by_name(GST_BIN(bin), element_name);
    *named = element != NULL;
    if (!element)
        return NULL;
    GstPad *pad = gst_element_get_static_pad(element, "src");
    if (pad && gst_pad_is_linked(pad))
        gst_clear_object(&pad);
    if (!pad)
        pad = gst_element_request_pad_simple(element, "src_%u");
    gst_object_unref(element);
    return pad;
}

static omnid_status check_end(GstElement *bin, const char *name, const char *element_name, bool *has, omnid_error *err)
{
    GstPad *pad = find_end(bin, element_name, has);
    if (*has && !pad)
        return omnid_fail(err, OMNID_ARGUMENT,
                          "%.150s: the element named '%s' has no free end: want the last element of a branch, e.g. "
                          "'… ! queue name=%s'",
                          name, element_name, element_name);
    gst_clear_object(&pad);
    return OMNID_OK;
}

static omnid_status check_ends(GstElement *bin, const char *name, bool *has_video, bool *has_audio, omnid_error *err)
{
    OMNID_TRY(check_end(bin, name, "video", has_video, err));
    OMNID_TRY(check_end(bin, name, "audio", has_audio, err));
    if (!*has_video && !*has_audio)
        return omnid_fail(
            err, OMNID_ARGUMENT,
            "%.150s: no element is named 'video' or 'audio': want '… ! queue name=video' where the picture "
            "comes out, '… ! queue name=audio' where the sound does",
            name);
    return OMNID_OK;
}

omnid_status pipeline_check(const char *launch, const char *name, omnid_error *err)
{
    GstElement *bin;
    bool has_video, has_audio;
    OMNID_TRY(parse(&bin, launch, name, err));
    omnid_status status = check_ends(bin, name, &has_video, &has_audio, err);
    gst_object_unref(bin);
    return status;
}

/* Brings a stream's end out of the bin and decodes whatever it gives. */
static void connect_end(source_gst *s, GstElement *bin, const char *element_name, bool spare)
{
    bool named;
    GstPad *pad = find_end(bin, element_name, &named);
    GstPad *ghost = gst_ghost_pad_new(element_name, pad);
    gst_element_add_pad(bin, ghost);
    gst_object_unref(pad);
    source_gst_decode(s, ghost, spare);
}

static omnid_status build(source_gst *s, const source_params *p, const char *launch, source_info *has, omnid_error *err)
{
    GstElement *bin;
    OMNID_TRY(parse(&bin, launch, p->shown, err));
    omnid_status status = check_ends(bin, p->shown, &has->has_video, &has->has_audio, err);
    if (status == OMNID_OK && p->want_video && !has->has_video)
        status =
            omnid_fail(err, OMNID_ARGUMENT, "%.150s: a picture is wanted, but no element is named 'video'", p->shown);
    if (status == OMNID_OK && !p->want_video && !has->has_audio)
        status = omnid_fail(err, OMNID_ARGUMENT, "%.150s: sound is wanted, but no element is named 'audio'", p->shown);
    has->has_video = has->has_video && p->want_video;
    has->has_audio = has->has_audio && p->want_audio;
    if (status == OMNID_OK) {
        gst_bin_add(GST_BIN(source_gst_pipeline(s)), bin);
        if (has->has_video)
            connect_end(s, bin, "video", false);
        if (has->has_audio)
            connect_end(s, bin, "audio", has->has_video);
    }
    gst_object_unref(bin);
    return status;
}

omnid_status pipeline_open(void **self, const source_params *p, const char *launch, source_info *info, omnid_error *err)
{
    const source_gst_params gst = {.endless = true};
    source_info has = {0};
    source_gst *s = NULL;
    *self = NULL;
    OMNID_TRY(source_gst_create(&s, p, &gst, err));
    omnid_status status = build(s, p, launch, &has, err);
    if (status == OMNID_OK)
        status = source_gst_start(s, info, err);
    info->has_video = has.has_video;
    info->has_audio = has.has_audio;
    *self = s;
    if (status != OMNID_OK)
        source_gst_close(self);
    return status;
}

static omnid_status check_uri(const char *uri, omnid_error *err)
{
    char *shown = source_show(uri);
    omnid_status status = pipeline_check(source_rest(uri), shown ? shown : "pipeline", err);
    free(shown);
    return status;
}

static omnid_status open_uri(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    return pipeline_open(self, p, source_rest(p->uri), info, err);
}

const source_ops source_pipeline = {
    .scheme = "pipeline",
    .description = "pipeline:LAUNCH STRING  what comes out of a gst-launch string's elements named video and audio",
    .check = check_uri,
    .open = open_uri,
    .read = source_gst_read,
    .close = source_gst_close,
};
