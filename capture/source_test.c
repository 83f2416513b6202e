/* source_test.c: "test:[PATTERN][,OPTION=VALUE…]", a picture and a tone out of nothing. */
#include "capture/source_gst.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    char pattern[32]; /* a nick of videotestsrc's patterns */
    char wave[32];    /* a nick of audiotestsrc's waves */
    int width, height, fps;
    double freq_hz, volume, duration_s; /* duration 0 = for ever */
} test_options;

static bool read_number(double *out, const char *text, double low, double high)
{
    char *end;
    *out = g_ascii_strtod(text, &end);
    return end != text && !*end && *out >= low && *out <= high;
}

static bool read_size(test_options *o, const char *text)
{
    char *end;
    long w = strtol(text, &end, 10);
    if (*end != 'x')
        return false;
    long h = strtol(end + 1, &end, 10);
    o->width = (int)w;
    o->height = (int)h;
    return !*end && w >= 16 && w <= 8192 && h >= 16 && h <= 8192;
}

static omnid_status read_option(test_options *o, const char *uri, const char *key, const char *value, omnid_error *err)
{
    double x = 0.0;
    const char *want;
    if (!strcmp(key, "size")) {
        want = "WIDTHxHEIGHT, each 16..8192";
        if (read_size(o, value))
            return OMNID_OK;
    } else if (!strcmp(key, "fps")) {
        want = "a whole number, 1..120";
        if (read_number(&x, value, 1, 120) && x == (int)x)
            return o->fps = (int)x, OMNID_OK;
    } else if (!strcmp(key, "freq")) {
        want = "Hz, 1..8000";
        if (read_number(&o->freq_hz, value, 1, 8000))
            return OMNID_OK;
    } else if (!strcmp(key, "volume")) {
        want = "0..1";
        if (read_number(&o->volume, value, 0, 1))
            return OMNID_OK;
    } else if (!strcmp(key, "duration")) {
        want = "seconds, 0.1..1000000";
        if (read_number(&o->duration_s, value, 0.1, 1e6))
            return OMNID_OK;
    } else if (!strcmp(key, "pattern") || !strcmp(key, "wave")) {
        char *to = *key == 'p' ? o->pattern : o->wave;
        want = "a name of at most 31 letters";
        if (*value && strlen(value) < sizeof o->pattern)
            return strcpy(to, value), OMNID_OK;
    } else {
        return omnid_fail(err, OMNID_ARGUMENT,
                          "%s: no option '%s'; known are pattern, size, fps, wave, freq, volume, duration", uri, key);
    }
    return omnid_fail(err, OMNID_ARGUMENT, "%s: %s is '%s'; want %s", uri, key, value, want);
}

static omnid_status read_options(test_options *o, const char *uri, omnid_error *err)
{
    *o = (test_options){"smpte", "sine", 640, 480, 30, 440.0, 0.5, 0.0};
    char text[256];
    if (strlen(source_rest(uri)) >= sizeof text)
        return omnid_fail(err, OMNID_ARGUMENT, "%.60s…: want at most %zu letters behind 'test:'", uri, sizeof text - 1);
    strcpy(text, source_rest(uri));
    char *rest = text;
    for (char *item; (item = strsep(&rest, ","));) {
        char *value = strchr(item, '=');
        if (value)
            *value++ = '\0';
        if (*item)
            OMNID_TRY(read_option(o, uri, value ? item : "pattern", value ? value : item, err));
    }
    return OMNID_OK;
}

/* Whether the enumeration behind an element's property has a value of this name; the error lists the names. */
static omnid_status check_name(const char *uri, const char *factory, const char *property, const char *name,
                               omnid_error *err)
{
    GstElement *element = gst_element_factory_make(factory, NULL);
    if (!element)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: GStreamer's element '%s' is not installed", uri, factory);
    GParamSpec *spec = g_object_class_find_property(G_OBJECT_GET_CLASS(element), property);
    GEnumClass *names = G_PARAM_SPEC_ENUM(spec)->enum_class;
    omnid_status status = OMNID_OK;
    if (!g_enum_get_value_by_nick(names, name)) {
        GString *known = g_string_new(NULL);
        for (guint i = 0; i < names->n_values; i++)
            g_string_append_printf(known, "%s%s", i ? ", " : "", names->values[i].value_nick);
        status = omnid_fail(err, OMNID_ARGUMENT, "%.100s: no %s '%s'; known are %s", uri, property, name, known->str);
        g_string_free(known, TRUE);
    }
    gst_object_unref(gst_object_ref_sink(element));
    return status;
}

static omnid_status check_options(test_options *o, const char *uri, omnid_error *err)
{
    OMNID_TRY(read_options(o, uri, err));
    OMNID_TRY(source_gst_init(err));
    OMNID_TRY(check_name(uri, "videotestsrc", "pattern", o->pattern, err));
    return check_name(uri, "audiotestsrc", "wave", o->wave, err);
}

static omnid_status test_check(const char *uri, omnid_error *err)
{
    test_options o;
    return check_options(&o, uri, err);
}

/* source ! caps ! the sink of its kind */
static omnid_status add_branch(source_gst *s, GstElement *element, bool video, const char *caps_text, omnid_error *err)
{
    GstElement *filter;
    OMNID_TRY(source_gst_make(s, &filter, "capsfilter", err));
    gst_util_set_object_arg(G_OBJECT(filter), "caps", caps_text);
    GstPad *pad = gst_element_get_static_pad(filter, "src");
    bool linked = gst_element_link(element, filter) && source_gst_add_sink(s, video, pad);
    gst_object_unref(pad);
    return linked ? OMNID_OK
                  : omnid_fail(err, OMNID_UNSUPPORTED, "test: audioconvert or audioresample is not installed");
}

static omnid_status build(source_gst *s, const test_options *o, const source_params *p, omnid_error *err)
{
    GstElement *element;
    char caps[128];
    if (p->want_video) {
        OMNID_TRY(source_gst_make(s, &element, "videotestsrc", err));
        gst_util_set_object_arg(G_OBJECT(element), "pattern", o->pattern);
        g_object_set(element, "is-live", !p->fast, "num-buffers",
                     o->duration_s > 0 ? (int)(o->duration_s * o->fps + 0.5) : -1, NULL);
        g_snprintf(caps, sizeof caps, "video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1", o->width, o->height,
                   o->fps);
        OMNID_TRY(add_branch(s, element, true, caps, err));
    }
    if (!p->want_audio)
        return OMNID_OK;
    OMNID_TRY(source_gst_make(s, &element, "audiotestsrc", err));
    gst_util_set_object_arg(G_OBJECT(element), "wave", o->wave);
    g_object_set(element, "is-live", !p->fast, "freq", o->freq_hz, "volume", o->volume, "samplesperbuffer",
                 CAPTURE_RATE / 50, "num-buffers", o->duration_s > 0 ? (int)(o->duration_s * 50 + 0.5) : -1, NULL);
    return add_branch(s, element, false, "audio/x-raw,format=F32LE,rate=16000,channels=1", err);
}

static omnid_status test_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    const source_gst_params gst = {.clip = p->fast};
    test_options o;
    source_gst *s = NULL;
    *self = NULL;
    OMNID_TRY(check_options(&o, p->uri, err));
    OMNID_TRY(source_gst_create(&s, p, &gst, err));
    omnid_status status = build(s, &o, p, err);
    if (status == OMNID_OK)
        status = source_gst_start(s, info, err);
    *self = s;
    if (status != OMNID_OK)
        source_gst_close(self);
    return status;
}

const source_ops source_test = {
    .scheme = "test",
    .description =
        "test:[PATTERN][,size=WxH][,fps=N][,wave=W][,freq=HZ][,volume=V][,duration=S]  a test picture and tone",
    .local = true,
    .check = test_check,
    .open = test_open,
    .read = source_gst_read,
    .close = source_gst_close,
};
