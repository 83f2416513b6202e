/* source_gst.h: what every source that is a GStreamer pipeline shares: the sinks, the bus, times, states.
 *
 * A source makes an empty pipeline (source_gst_create), puts its own elements in, gives the pads that carry raw video and
 * sound to source_gst_add_sink (at once, or in pad-added), and calls source_gst_start. read and close are source_ops'. */
#ifndef OMNID_CAPTURE_SOURCE_GST_H
#define OMNID_CAPTURE_SOURCE_GST_H

#include "capture/source.h"

#include <gst/gst.h>

typedef struct source_gst source_gst;

/* Says what an error of the pipeline means: fills *err and returns its status; OK: nothing better than GStreamer's own
 * sentence is known. shown: the source's name; detail: the reason behind the sentence, "" = none. */
typedef omnid_status (*source_gst_explain)(GstElement *pipeline, const char *shown, const GError *error,
                                           const char *detail, omnid_error *err);

typedef struct {
    bool clip;    /* has a beginning and an end: pre-rolled, played by the clock or, fast, as it is read */
    bool endless; /* its end is a loss: read fails with DEVICE instead of telling an end */
    source_gst_explain explain; /* NULL = GStreamer's own sentences do */
} source_gst_params;

/* Initialises GStreamer once a process. DEVICE with GStreamer's own sentence. */
omnid_status source_gst_init(omnid_error *err);

/* An empty pipeline on the system's monotonic clock. p is borrowed until close. */
omnid_status source_gst_create(source_gst **out, const source_params *p, const source_gst_params *gst,
                               omnid_error *err);
GstElement *source_gst_pipeline(source_gst *s); /* borrowed */

/* Makes an element of the pipeline; it belongs to the pipeline. UNSUPPORTED names the plugin that is missing. */
omnid_status source_gst_make(source_gst *s, GstElement **out, const char *factory, omnid_error *err);

/* An error of this element, or of one within it, is told as a warning, "the sound is left out", and no more. */
void source_gst_spare(GstElement *element);

/* Links a pad of raw video, of JPEG pictures (a whole one a buffer; only those chosen are decoded) or of raw sound to a
 * sink. False: not wanted, there is one, or it cannot be linked. Any thread. */
bool source_gst_add_sink(source_gst *s, bool video, GstPad *pad);

/* gst_decode.c: hands over what an element that decodes by itself (uridecodebin, decodebin) finds. JPEG out of a container
 * or a network is handed over as it is. Before the start. */
void source_gst_watch(source_gst *s, GstElement *decoder);
/* Decodes whatever the pad gives and hands it over. spare: its failures are told and no more. False: decodebin is not
 * installed, or the pad is linked already. Any thread. */
bool source_gst_decode(source_gst *s, GstPad *pad, bool spare);

/* Starts, and tells what there is. NOT_FOUND, FORMAT, UNSUPPORTED (names the missing decoder), DEVICE, CANCELLED. */
omnid_status source_gst_start(source_gst *s, source_info *info, omnid_error *err);

/* After the start of a live source: waits until the first picture or sample is there, for read to give. DEADLINE; else the
 * pipeline's error. */
omnid_status source_gst_wait_first(source_gst *s, int timeout_ms, omnid_error *err);

omnid_status source_gst_read(void *self, source_data *out, int timeout_ms, omnid_error *err);
void source_gst_close(void **self);

#endif
