/* source_gst.c: a pipeline, its two appsinks, its bus, and the way from a buffer's PTS to the camera's clock. */
#include "capture/source_gst.h"

#include "capture/gst_handover.h"
#include "capture/gst_picture.h"

#include <gst/app/gstappsink.h>
#include <gst/video/video.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VIDEO,
    AUDIO,
    N_STREAMS,
    OPEN_TIMEOUT_MS = 15000,
    CLOSE_TIMEOUT_MS = 1500,
    LAG_US = 1000000,            /* unpaced: how long the stream that is ahead waits for the other's next buffer */
    MIN_LOOP_NS = 500 * 1000000, /* a still picture played in a loop gives two frames a second */
    POLL_MS = 50,
};
#define SPARED "omnid-spared" /* the data that marks an element */

typedef struct {
    GstAppSink *sink; /* one reference; NULL = the pipeline has no such stream */
    bool claimed;     /* a sink is being made; under the lock */
    GstBuffer *next;  /* pulled and not yet given */
    GstCaps *caps;    /* of it */
    int64_t next_ns;  /* its running time */
    int64_t end_ns;   /* running time at which the last one given ends */
    int64_t step_ns;  /* duration of the last one */
    bool ended, told;
} stream;

struct source_gst {
    source_params p;
    char name[160]; /* what sentences call it: a long pipeline's beginning */
    bool clip, endless;
    source_gst_explain explain;
    GstElement *pipeline;
    GstBus *bus;
    gst_picture_maker *maker;
    pthread_mutex_t lock; /* guards n_wakes, and until start the streams' claimed and sink */
    pthread_cond_t changed;
    unsigned n_wakes;
    bool paced; /* not live: the sinks wait for the clock; under the lock */
    stream streams[N_STREAMS];
    int64_t start_ns; /* running time of a clip's first picture or sample */
    int64_t zero_us;  /* the camera's time of it, in this turn of a loop */
    bool any_given;   /* in this turn */
    int64_t lag_since_us;
    bool lagging;    /* waited LAG_US once: no more waiting until that stream goes on */
    GstBuffer *held; /* what the last read's samples point into */
    GstMapInfo map;
    char missing[128]; /* a decoder that is not installed */
    bool missing_video;
    char warning[256], told_warning[256];
};

/* ---- initialising, waking ---- */

static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static char init_error[256];

static void init_gstreamer(void)
{
    GError *error = NULL;
    /* v4l2src that ends by an error loses a buffer pool, and with it the camera's open node, unless it may not pass its
     * buffers on behind its end. Such a camera, once unplugged, does not come back. (GStreamer 1.22; the user's value stays.) */
    setenv("GST_V4L2_FORCE_DRAIN", "1", 0);
    if (!gst_init_check(NULL, NULL, &error))
        snprintf(init_error, sizeof init_error, "GStreamer does not start: %s",
                 error ? error->message : "no reason given");
    g_clear_error(&error);
}

omnid_status source_gst_init(omnid_error *err)
{
    pthread_once(&init_once, init_gstreamer);
    return *init_error ? omnid_fail(err, OMNID_DEVICE, "%s", init_error) : OMNID_OK;
}

/* From GStreamer's threads only. */
static void wake(source_gst *s)
{
    TAKE_OVER(s);
    pthread_mutex_lock(&s->lock);
    s->n_wakes++;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    HAND_OVER(s);
}

static void on_eos(GstAppSink *sink, gpointer user)
{
    (void)sink;
    wake(user);
}

static GstFlowReturn on_sample(GstAppSink *sink, gpointer user)
{
    (void)sink;
    wake(user);
    return GST_FLOW_OK;
}

static GstBusSyncReply on_message(GstBus *bus, GstMessage *message, gpointer user)
{
    (void)bus;
    if (GST_MESSAGE_TYPE(message) &
        (GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT | GST_MESSAGE_WARNING | GST_MESSAGE_ASYNC_DONE)) {
        wake(user);
        return GST_BUS_PASS;
    }
    gst_message_unref(message);
    return GST_BUS_DROP; /* the rest is read by nobody and would pile up */
}

/* Waits until something happened since n_wakes was `seen`, or until_us has come. */
static void wait_for_wake(source_gst *s, unsigned seen, int64_t until_us)
{
    struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    pthread_mutex_lock(&s->lock);
    while (s->n_wakes == seen && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&s->lock);
}

static unsigned count_wakes(source_gst *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->n_wakes;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- making ---- */

omnid_status source_gst_create(source_gst **out, const source_params *p, const source_gst_params *gst, omnid_error *err)
{
    *out = NULL;
    OMNID_TRY(source_gst_init(err));
    source_gst *s = calloc(1, sizeof *s);
    gst_picture_maker *maker = gst_picture_maker_create();
    if (!s || !maker) {
        free(s);
        gst_picture_maker_unref(&maker);
        return omnid_fail(err, OMNID_NOMEM, "%s: out of memory for a source", p->uri);
    }
    s->p = *p;
    const char *shown = p->shown ? p->shown : p->uri;
    snprintf(s->name, sizeof s->name, "%.150s%s", shown, strlen(shown) > 150 ? "…" : "");
    s->clip = gst->clip;
    s->endless = gst->endless;
    s->explain = gst->explain;
    s->maker = maker;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->pipeline = gst_object_ref_sink(gst_pipeline_new(NULL));
    s->bus = gst_element_get_bus(s->pipeline);
    gst_bus_set_sync_handler(s->bus, on_message, s, NULL);
    GstClock *clock = gst_system_clock_obtain(); /* CLOCK_MONOTONIC: omnid_clock_us */
    gst_pipeline_use_clock(GST_PIPELINE(s->pipeline), clock);
    gst_object_unref(clock);
    if (s->clip)
        gst_element_set_start_time(s->pipeline, GST_CLOCK_TIME_NONE); /* base times are set here, see play_clip */
    *out = s;
    HAND_OVER(s);
    return OMNID_OK;
}

void source_gst_spare(GstElement *element)
{
    g_object_set_data(G_OBJECT(element), SPARED, element);
}

GstElement *source_gst_pipeline(source_gst *s)
{
    return s->pipeline;
}

omnid_status source_gst_make(source_gst *s, GstElement **out, const char *factory, omnid_error *err)
{
    *out = gst_element_factory_make(factory, NULL);
    if (!*out)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: GStreamer's element '%s' is not installed", s->name, factory);
    gst_bin_add(GST_BIN(s->pipeline), *out);
    return OMNID_OK;
}

/* A live picture that is not fetched in time is worth nothing, while sound must be whole: hence 2 and 200 buffers. */
static GstAppSink *make_sink(source_gst *s, bool video)
{
    GstElement *sink = gst_element_factory_make("appsink", NULL);
    if (!sink)
        return NULL;
    GstCaps *caps = gst_caps_from_string(video ? "video/x-raw; image/jpeg"
                                               : "audio/x-raw,format=F32LE,rate=16000,channels=1,layout=interleaved");
    g_object_set(sink, "caps", caps, "sync", s->clip && !s->p.fast, "async", s->clip, "drop", !s->clip, "max-buffers",
                 s->clip ? 2u
                 : video ? 2u
                         : 200u,
                 "enable-last-sample", FALSE, "qos", FALSE, NULL);
    gst_caps_unref(caps);
    GstAppSinkCallbacks callbacks = {.eos = on_eos, .new_sample = on_sample};
    gst_app_sink_set_callbacks(GST_APP_SINK(sink), &callbacks, s, NULL);
    gst_bin_add(GST_BIN(s->pipeline), sink);
    return gst_object_ref(GST_APP_SINK(sink));
}

/* Sound goes through these two before its sink. Returns the first, NULL when a plugin is missing. */
static GstElement *make_sound_branch(source_gst *s, GstAppSink *sink)
{
    GstElement *convert = gst_element_factory_make("audioconvert", NULL);
    GstElement *resample = gst_element_factory_make("audioresample", NULL);
    if (!convert || !resample) {
        gst_clear_object(&convert);
        gst_clear_object(&resample);
        return NULL;
    }
    gst_bin_add_many(GST_BIN(s->pipeline), convert, resample, NULL);
    if (!gst_element_link_many(convert, resample, GST_ELEMENT(sink), NULL))
        return NULL;
    gst_element_sync_state_with_parent(resample);
    gst_element_sync_state_with_parent(convert);
    return convert;
}

bool source_gst_add_sink(source_gst *s, bool video, GstPad *pad)
{
    TAKE_OVER(s);
    stream *st = &s->streams[video ? VIDEO : AUDIO];
    pthread_mutex_lock(&s->lock);
    bool mine = (video ? s->p.want_video : s->p.want_audio) && !st->claimed;
    st->claimed = st->claimed || mine;
    pthread_mutex_unlock(&s->lock);
    GstAppSink *sink = mine ? make_sink(s, video) : NULL; /* without the lock: GStreamer may call back into wake */
    if (!sink)
        return false;
    pthread_mutex_lock(&s->lock);
    st->sink = sink;
    bool paced = s->paced;
    pthread_mutex_unlock(&s->lock);
    if (paced)
        g_object_set(sink, "sync", TRUE, NULL);
    gst_element_sync_state_with_parent(GST_ELEMENT(sink));
    GstElement *first = video ? GST_ELEMENT(sink) : make_sound_branch(s, sink);
    GstPad *target = first ? gst_element_get_static_pad(first, "sink") : NULL;
    bool linked = target && gst_pad_link(pad, target) == GST_PAD_LINK_OK;
    gst_clear_object(&target);
    HAND_OVER(s);
    return linked;
}

/* ---- the bus ---- */

static omnid_status status_of(const GError *error, bool clip)
{
    if (error->domain == GST_RESOURCE_ERROR && error->code == GST_RESOURCE_ERROR_NOT_FOUND)
        return OMNID_NOT_FOUND;
    if (error->domain == GST_RESOURCE_ERROR && error->code == GST_RESOURCE_ERROR_BUSY)
        return OMNID_BUSY;
    if (error->domain == GST_STREAM_ERROR && error->code == GST_STREAM_ERROR_CODEC_NOT_FOUND)
        return OMNID_UNSUPPORTED;
    if (error->domain == GST_CORE_ERROR && error->code == GST_CORE_ERROR_MISSING_PLUGIN)
        return OMNID_UNSUPPORTED;
    return clip ? OMNID_FORMAT : OMNID_DEVICE;
}

static omnid_status fail_with(source_gst *s, GstMessage *message, omnid_error *err)
{
    GError *error = NULL;
    char *debug = NULL;
    gst_message_parse_error(message, &error, &debug);
    const char *line = debug ? strrchr(debug, '\n') : NULL; /* the debug text's last line is the reason */
    omnid_status status = status_of(error, s->clip);
    omnid_status explained = s->explain ? s->explain(s->pipeline, s->name, error, line ? line + 1 : "", err) : OMNID_OK;
    if (*s->missing)
        status = omnid_fail(err, OMNID_UNSUPPORTED, "%s: needs '%s', which is not installed", s->name, s->missing);
    else if (explained != OMNID_OK)
        status = explained;
    else
        omnid_fail(err, status, "%s: %s%s%s", s->name, error->message, line ? " " : "", line ? line + 1 : "");
    g_error_free(error);
    g_free(debug);
    return status;
}

static void note_missing_plugin(source_gst *s, GstMessage *message)
{
    const GstStructure *detail = gst_message_get_structure(message);
    if (!detail || !gst_structure_has_name(detail, "missing-plugin"))
        return;
    const char *name = gst_structure_get_string(detail, "name");
    snprintf(s->missing, sizeof s->missing, "%s", name ? name : "a plugin");
    GstCaps *caps = NULL;
    if (gst_structure_get(detail, "detail", GST_TYPE_CAPS, &caps, NULL) && caps && !gst_caps_is_empty(caps))
        s->missing_video = !g_str_has_prefix(gst_structure_get_name(gst_caps_get_structure(caps, 0)), "audio/");
    gst_clear_caps(&caps);
}

static void note_warning(source_gst *s, GstMessage *message)
{
    GError *error = NULL;
    gst_message_parse_warning(message, &error, NULL);
    snprintf(s->warning, sizeof s->warning, "%.100s: %.140s", s->name, error->message);
    g_error_free(error);
}

/* The marked element that a message comes out of, or NULL; one reference. See source_gst_spare. */
static GstObject *find_spared(GstMessage *message)
{
    GstObject *at = gst_object_ref(GST_MESSAGE_SRC(message));
    while (at && !g_object_get_data(G_OBJECT(at), SPARED)) {
        GstObject *parent = gst_object_get_parent(at);
        gst_object_unref(at);
        at = parent;
    }
    return at;
}

/* Takes a branch out; what feeds it flows on, see source_gst_decode. */
static void remove_branch(source_gst *s, GstElement *branch)
{
    gst_element_set_locked_state(branch, TRUE);
    gst_element_set_state(branch, GST_STATE_NULL);
    gst_bin_remove(GST_BIN(s->pipeline), branch); /* which unlinks it */
    if (!s->clip)                                 /* it still waits for what is gone */
        gst_element_set_state(s->pipeline, GST_STATE_TARGET(s->pipeline));
}

/* Does without the branch that an error comes from, if it may be done without. It has to go: the pipeline would wait for it
 * for ever on its way to playing. */
static bool is_spared(source_gst *s, GstMessage *message)
{
    GstObject *branch = find_spared(message);
    if (!branch)
        return false;
    GError *error = NULL;
    gst_message_parse_error(message, &error, NULL);
    snprintf(s->warning, sizeof s->warning, "%.100s: the sound is left out: %s%.110s", s->name,
             *s->missing ? "needs " : "", *s->missing ? s->missing : error->message);
    g_error_free(error);
    *s->missing = '\0';
    remove_branch(s, GST_ELEMENT(branch));
    gst_object_unref(branch);
    return true;
}

/* Reads what is on the bus. An error is returned; *prerolled is set when the pipeline says so. */
static omnid_status read_bus(source_gst *s, bool *prerolled, omnid_error *err)
{
    GstMessage *message;
    omnid_status status = OMNID_OK;
    while (status == OMNID_OK && (message = gst_bus_pop(s->bus))) {
        switch (GST_MESSAGE_TYPE(message)) {
        case GST_MESSAGE_ERROR:
            if (!is_spared(s, message))
                status = fail_with(s, message, err);
            break;
        case GST_MESSAGE_ELEMENT:
            note_missing_plugin(s, message);
            break;
        case GST_MESSAGE_WARNING:
            note_warning(s, message);
            break;
        case GST_MESSAGE_ASYNC_DONE:
            *prerolled = true;
            break;
        default:
            break;
        }
        gst_message_unref(message);
    }
    return status;
}

/* ---- starting ---- */

/* Brings the pipeline to PAUSED with a first buffer, or the end, in every sink. */
static omnid_status preroll(source_gst *s, omnid_error *err)
{
    bool prerolled = false;
    int64_t until_us = omnid_clock_us() + OPEN_TIMEOUT_MS * 1000;
    bool failed = gst_element_set_state(s->pipeline, GST_STATE_PAUSED) == GST_STATE_CHANGE_FAILURE;
    while (!prerolled) {
        unsigned seen = count_wakes(s);
        OMNID_TRY(read_bus(s, &prerolled, err));
        if (failed)
            return omnid_fail(err, OMNID_DEVICE, "%s: the pipeline does not start", s->name);
        if (s->p.stop && atomic_load(s->p.stop))
            return omnid_fail(err, OMNID_CANCELLED, "%s: stopped while it was being opened", s->name);
        if (omnid_clock_us() > until_us)
            return omnid_fail(err, OMNID_DEADLINE, "%s: nothing readable within %d s", s->name, OPEN_TIMEOUT_MS / 1000);
        if (!prerolled)
            wait_for_wake(s, seen, omnid_clock_us() + POLL_MS * 1000);
    }
    return OMNID_OK;
}

/* Running time of a sample in ns; a buffer without PTS follows the one before. */
static int64_t running_ns(const stream *st, GstSample *sample)
{
    const GstBuffer *buffer = gst_sample_get_buffer(sample);
    guint64 running = 0;
    int sign = GST_BUFFER_PTS_IS_VALID(buffer)
                   ? gst_segment_to_running_time_full(gst_sample_get_segment(sample), GST_FORMAT_TIME,
                                                      GST_BUFFER_PTS(buffer), &running)
                   : 0;
    return sign ? sign * (int64_t)running : st->end_ns;
}

/* The earliest first buffer of all sinks. False: there is none. */
static bool find_start(source_gst *s)
{
    bool any = false;
    for (int i = 0; i < N_STREAMS; i++) {
        stream *st = &s->streams[i];
        GstSample *first = st->sink ? gst_app_sink_try_pull_preroll(st->sink, 0) : NULL;
        if (!first)
            continue;
        int64_t ns = running_ns(st, first);
        s->start_ns = !any || ns < s->start_ns ? ns : s->start_ns;
        any = true;
        gst_sample_unref(first);
    }
    return any;
}

/* From here on the clip's first moment is at zero_us on the camera's clock. */
static omnid_status play_clip(source_gst *s, omnid_error *err)
{
    if (!s->p.fast)
        gst_element_set_base_time(s->pipeline, (GstClockTime)(s->zero_us * 1000 - s->start_ns));
    for (int i = 0; i < N_STREAMS; i++)
        s->streams[i].end_ns = s->start_ns;
    if (gst_element_set_state(s->pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE)
        return omnid_fail(err, OMNID_DEVICE, "%s: cannot be played", s->name);
    return OMNID_OK;
}

static omnid_status start_clip(source_gst *s, source_info *info, omnid_error *err)
{
    omnid_status status = preroll(s, err);
    bool has_video = s->streams[VIDEO].sink, has_audio = s->streams[AUDIO].sink;
    const char *wanted = !s->p.want_audio ? "picture" : !s->p.want_video ? "sound" : "picture or sound";
    if (*s->missing && (!(has_video || has_audio) || (s->missing_video && s->p.want_video && !has_video)))
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: needs '%s', which is not installed", s->name, s->missing);
    if (status == OMNID_FORMAT && !has_video && !has_audio && strstr(err ? err->text : "", "not-linked"))
        return omnid_fail(err, OMNID_FORMAT, "%s: holds no %s", s->name, wanted);
    if (status != OMNID_OK)
        return status;
    if (!has_video && !has_audio)
        return omnid_fail(err, OMNID_FORMAT, "%s: holds no %s", s->name, wanted);
    if (!find_start(s))
        return omnid_fail(err, OMNID_FORMAT, "%s: holds not one frame or sample", s->name);
    if (*s->missing)
        snprintf(s->warning, sizeof s->warning, "%.100s: a stream is left out: needs '%.100s'", s->name, s->missing);
    s->zero_us = s->p.fast ? 0 : omnid_clock_us();
    *info = (source_info){has_video, has_audio, true, s->zero_us};
    return play_clip(s, err);
}

/* What is not live (a file in a pipeline's string) would come as fast as it can be read: its sinks wait for the clock. */
static void pace(source_gst *s)
{
    s->endless = false;
    pthread_mutex_lock(&s->lock);
    s->paced = true;
    GstAppSink *sinks[N_STREAMS] = {s->streams[VIDEO].sink, s->streams[AUDIO].sink};
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < N_STREAMS; i++)
        if (sinks[i])
            g_object_set(sinks[i], "sync", TRUE, NULL);
}

omnid_status source_gst_start(source_gst *s, source_info *info, omnid_error *err)
{
    if (s->clip)
        return start_clip(s, info, err);
    *info = (source_info){s->p.want_video, s->p.want_audio, false, INT64_MIN};
    bool prerolled;
    GstStateChangeReturn paused = gst_element_set_state(s->pipeline, GST_STATE_PAUSED);
    if (paused == GST_STATE_CHANGE_SUCCESS || paused == GST_STATE_CHANGE_ASYNC)
        pace(s);
    if (paused == GST_STATE_CHANGE_ASYNC) /* a sink made on the way to playing would have no clock yet to wait for */
        OMNID_TRY(preroll(s, err));
    bool failed = paused == GST_STATE_CHANGE_FAILURE ||
                  gst_element_set_state(s->pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE;
    OMNID_TRY(read_bus(s, &prerolled, err));
    return failed ? omnid_fail(err, OMNID_DEVICE, "%s: does not start", s->name) : OMNID_OK;
}

/* ---- reading ---- */

static void let_go(source_gst *s)
{
    if (!s->held)
        return;
    gst_buffer_unmap(s->held, &s->map);
    gst_clear_buffer(&s->held);
}

static int64_t time_us(const source_gst *s, int64_t ns)
{
    if (s->clip)
        return s->zero_us + (ns - s->start_ns + 500) / 1000;
    return ((int64_t)gst_element_get_base_time(s->pipeline) + ns + 500) / 1000;
}

/* How long the stream's next picture or block lasts, from what is known best. */
static int64_t duration_ns(const stream *st, bool video)
{
    if (!video)
        return (int64_t)gst_buffer_get_size(st->next) / 4 * 62500;
    if (GST_BUFFER_DURATION_IS_VALID(st->next) && GST_BUFFER_DURATION(st->next) > 0)
        return (int64_t)GST_BUFFER_DURATION(st->next);
    int n = 0, d = 0;
    if (st->caps && gst_structure_get_fraction(gst_caps_get_structure(st->caps, 0), "framerate", &n, &d) && n > 0)
        return (int64_t)gst_util_uint64_scale_int(GST_SECOND, d, n);
    return st->step_ns > 0 ? st->step_ns : 40 * GST_MSECOND;
}

/* Fetches the stream's next sample, if there is one, and notices its end. */
static void look(stream *st)
{
    if (!st->sink || st->next || st->ended)
        return;
    GstSample *sample = gst_app_sink_try_pull_sample(st->sink, 0);
    if (!sample) {
        st->ended = gst_app_sink_is_eos(st->sink);
        return;
    }
    st->next = gst_buffer_ref(gst_sample_get_buffer(sample));
    gst_caps_replace(&st->caps, gst_sample_get_caps(sample));
    st->next_ns = running_ns(st, sample);
    gst_sample_unref(sample); /* at once: the sink writes the next into it, and would have to copy one that is held */
}

static GstVideoOrientationMethod orientation_of(const stream *st)
{
    GstVideoOrientationMethod method = GST_VIDEO_ORIENTATION_IDENTITY;
    GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(st->sink), "sink");
    GstEvent *event;
    for (guint i = 0; (event = gst_pad_get_sticky_event(pad, GST_EVENT_TAG, i)); i++) {
        GstTagList *tags;
        gst_event_parse_tag(event, &tags);
        gst_video_orientation_from_tag(tags, &method);
        gst_event_unref(event);
    }
    gst_object_unref(pad);
    return method;
}

static omnid_status give(source_gst *s, int which, source_data *out, omnid_error *err)
{
    stream *st = &s->streams[which];
    GstBuffer *buffer = st->next;
    st->step_ns = duration_ns(st, which == VIDEO);
    st->end_ns = st->next_ns + st->step_ns;
    st->next = NULL;
    s->any_given = true;
    s->lag_since_us = 0;
    out->t_us = time_us(s, st->next_ns);
    omnid_status status = OMNID_OK;
    if (which == VIDEO) {
        out->kind = SOURCE_PICTURE;
        status = gst_picture_create(&out->pic, s->maker, buffer, st->caps, orientation_of(st), out->t_us, err);
    } else if (gst_buffer_map(buffer, &s->map, GST_MAP_READ)) {
        out->kind = SOURCE_SOUND;
        s->held = gst_buffer_ref(buffer);
        out->samples = (const float *)(const void *)s->map.data;
        out->n_samples = (int)(s->map.size / sizeof(float));
    } else {
        status = omnid_fail(err, OMNID_NOMEM, "%s: a buffer of sound cannot be mapped", s->name);
    }
    gst_buffer_unref(buffer);
    return status;
}

/* Whether the stream that has a buffer should let the other one go first. A clip that is not paced is given in order of
 * time, as far as its streams keep up with one another. */
static bool must_wait(source_gst *s, const stream *other)
{
    if (!s->clip || !s->p.fast || !other->sink || other->ended || other->next)
        return false;
    int64_t now_us = omnid_clock_us();
    if (!s->lag_since_us)
        s->lag_since_us = now_us;
    s->lagging = s->lagging || now_us - s->lag_since_us > LAG_US;
    return !s->lagging;
}

/* Which stream gives next: VIDEO, AUDIO, or -1 for none yet. */
static int choose(source_gst *s)
{
    stream *v = &s->streams[VIDEO], *a = &s->streams[AUDIO];
    look(v);
    look(a);
    if (v->next && a->next) {
        s->lagging = false;
        return a->next_ns <= v->next_ns ? AUDIO : VIDEO;
    }
    if (v->next)
        return must_wait(s, a) ? -1 : VIDEO;
    if (a->next)
        return must_wait(s, v) ? -1 : AUDIO;
    return -1;
}

/* Whether every stream there is has ended; not before there is one. */
static bool clip_over(const source_gst *s)
{
    const stream *v = &s->streams[VIDEO], *a = &s->streams[AUDIO];
    return (v->sink || a->sink) && (!v->sink || v->ended) && (!a->sink || a->ended);
}

/* Back to the first frame; the next turn begins where the longer stream ended. */
static omnid_status start_again(source_gst *s, omnid_error *err)
{
    int64_t end_ns =
        s->streams[VIDEO].end_ns > s->streams[AUDIO].end_ns ? s->streams[VIDEO].end_ns : s->streams[AUDIO].end_ns;
    int64_t length_ns = end_ns - s->start_ns > MIN_LOOP_NS ? end_ns - s->start_ns : MIN_LOOP_NS;
    gst_element_set_state(s->pipeline, GST_STATE_PAUSED);
    if (!s->any_given ||
        !gst_element_seek_simple(s->pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE, 0))
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: cannot start again at its beginning", s->name);
    OMNID_TRY(preroll(s, err));
    s->any_given = false;
    for (int i = 0; i < N_STREAMS; i++)
        s->streams[i].ended = false;
    s->zero_us += length_ns / 1000;
    return play_clip(s, err);
}

/* An end that was not told yet, as data. */
static bool tell_end(source_gst *s, source_data *out)
{
    for (int i = 0; i < N_STREAMS; i++) {
        stream *st = &s->streams[i];
        if (!st->sink || !st->ended || st->told || s->endless || (s->clip && s->p.loop))
            continue;
        st->told = true;
        out->kind = i == VIDEO ? SOURCE_PICTURE_END : SOURCE_SOUND_END;
        out->t_us = time_us(s, st->end_ns);
        return true;
    }
    return false;
}

/* A warning is told once. */
static const char *take_warning(source_gst *s)
{
    if (!*s->warning)
        return NULL;
    memcpy(s->told_warning, s->warning, sizeof s->warning);
    *s->warning = '\0';
    return s->told_warning;
}

omnid_status source_gst_wait_first(source_gst *s, int timeout_ms, omnid_error *err)
{
    int64_t until_us = omnid_clock_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        bool prerolled = false;
        unsigned seen = count_wakes(s);
        OMNID_TRY(read_bus(s, &prerolled, err));
        if (choose(s) >= 0)
            return OMNID_OK;
        if (s->p.stop && atomic_load(s->p.stop))
            return omnid_fail(err, OMNID_CANCELLED, "%s: stopped while it was being opened", s->name);
        if (omnid_clock_us() >= until_us)
            return omnid_fail(err, OMNID_DEADLINE, "%s: no picture within %d s", s->name, timeout_ms / 1000);
        wait_for_wake(s, seen, omnid_clock_us() + POLL_MS * 1000);
    }
}

omnid_status source_gst_read(void *self, source_data *out, int timeout_ms, omnid_error *err)
{
    source_gst *s = self;
    int64_t until_us = omnid_clock_us() + (int64_t)timeout_ms * 1000;
    let_go(s);
    *out = (source_data){0};
    for (;;) {
        bool prerolled = false;
        unsigned seen = count_wakes(s);
        OMNID_TRY(read_bus(s, &prerolled, err));
        if (!out->warning) /* of this call; one that came before nothing is not lost */
            out->warning = take_warning(s);
        int which = choose(s);
        if (which >= 0)
            return give(s, which, out, err);
        if (tell_end(s, out))
            return OMNID_OK;
        if (clip_over(s) && s->endless)
            return omnid_fail(err, OMNID_DEVICE, "%s: the stream has ended", s->name);
        if (clip_over(s) && !(s->clip && s->p.loop))
            return OMNID_END;
        if (clip_over(s)) {
            OMNID_TRY(start_again(s, err));
            continue;
        }
        if (omnid_clock_us() >= until_us)
            return OMNID_AGAIN;
        wait_for_wake(s, seen, until_us);
    }
}

/* ---- closing ---- */

static void free_source(source_gst *s)
{
    gst_element_set_state(s->pipeline, GST_STATE_NULL);
    TAKE_OVER(s);
    gst_bus_set_sync_handler(s->bus, NULL, NULL, NULL);
    for (int i = 0; i < N_STREAMS; i++) {
        gst_clear_buffer(&s->streams[i].next);
        gst_clear_caps(&s->streams[i].caps);
        gst_clear_object(&s->streams[i].sink);
    }
    gst_object_unref(s->bus);
    gst_object_unref(s->pipeline);
    gst_picture_maker_unref(&s->maker);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void *close_on_thread(void *s)
{
    pthread_setname_np(pthread_self(), "capture-close");
    free_source(s);
    return NULL;
}

/* A driver that hangs in its last state change must not hang the camera: past the deadline the thread is left alone with
 * the pipeline. */
void source_gst_close(void **self)
{
    source_gst *s = *self;
    *self = NULL;
    if (!s)
        return;
    let_go(s);
    char name[200];
    snprintf(name, sizeof name, "%s", s->name);
    atomic_int *n_left_behind = s->p.n_left_behind;
    pthread_t thread;
    if (pthread_create(&thread, NULL, close_on_thread, s)) {
        free_source(s);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + (int64_t)CLOSE_TIMEOUT_MS * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    if (pthread_timedjoin_np(thread, NULL, &until)) {
        omnid_log(OMNID_LOG_ERROR, "%s: does not close within %d ms; it is left behind", name, CLOSE_TIMEOUT_MS);
        if (n_left_behind)
            atomic_fetch_add(n_left_behind, 1);
        pthread_detach(thread);
    }
}
