/* gst_decode.c: from a pad that carries anything to the sinks: decodebin, and what comes out of it. */
#include "capture/gst_handover.h"
#include "capture/source_gst.h"

/* Jetson's decoders leave their pictures in the GPU's memory. Returns the pad behind an element that fetches them from
 * there, or a reference of the pad itself where nothing is needed; NULL: the element is not installed. */
static GstPad *fetch_from_gpu(source_gst *s, GstPad *pad, GstCaps *caps)
{
    const GstCapsFeatures *features = gst_caps_is_empty(caps) ? NULL : gst_caps_get_features(caps, 0);
    if (!features || !gst_caps_features_contains(features, "memory:NVMM"))
        return gst_object_ref(pad);
    GstElement *convert, *filter;
    if (source_gst_make(s, &convert, "nvvidconv", NULL) != OMNID_OK ||
        source_gst_make(s, &filter, "capsfilter", NULL) != OMNID_OK)
        return NULL;
    gst_util_set_object_arg(G_OBJECT(filter), "caps", "video/x-raw");
    GstPad *sink = gst_element_get_static_pad(convert, "sink");
    bool linked = gst_element_link(convert, filter) && gst_pad_link(pad, sink) == GST_PAD_LINK_OK;
    gst_object_unref(sink);
    gst_element_sync_state_with_parent(filter);
    gst_element_sync_state_with_parent(convert);
    return linked ? gst_element_get_static_pad(filter, "src") : NULL;
}

/* Links a decoded stream's pad by what it carries; what nobody wants stays unlinked. On a thread of GStreamer's. */
static void on_pad(GstElement *decoder, GstPad *pad, gpointer user)
{
    (void)decoder;
    TAKE_OVER(user);
    GstCaps *caps = gst_pad_get_current_caps(pad);
    if (!caps)
        caps = gst_pad_query_caps(pad, NULL);
    const char *kind = gst_caps_is_empty(caps) ? "" : gst_structure_get_name(gst_caps_get_structure(caps, 0));
    if (g_str_has_prefix(kind, "video/") || g_str_has_prefix(kind, "image/jpeg")) {
        GstPad *fetched = fetch_from_gpu(user, pad, caps);
        if (fetched)
            source_gst_add_sink(user, true, fetched);
        gst_clear_object(&fetched);
    } else if (g_str_has_prefix(kind, "audio/")) {
        source_gst_add_sink(user, false, pad);
    }
    gst_caps_unref(caps);
}

/* Whether to go on decoding a stream. MJPEG out of a container is handed over as it is, and decoded where it is chosen;
 * only containers and cameras tell a frame rate (a .jpg file comes in pieces that are no pictures). */
static gboolean on_continue(GstElement *decoder, GstPad *pad, GstCaps *caps, gpointer user)
{
    (void)decoder, (void)pad, (void)user;
    const GstStructure *s = gst_caps_is_empty(caps) ? NULL : gst_caps_get_structure(caps, 0);
    return !s || !gst_structure_has_name(s, "image/jpeg") || !gst_structure_has_field(s, "framerate");
}

void source_gst_watch(source_gst *s, GstElement *decoder)
{
    g_signal_connect(decoder, "autoplug-continue", G_CALLBACK(on_continue), NULL);
    g_signal_connect(decoder, "pad-added", G_CALLBACK(on_pad), s);
}

/* A stream that cannot be decoded returns an error to whatever pushes it, which then stops its other streams too; so does a
 * branch that is being taken out. This probe of a src pad hands everything on by itself and tells nobody how that went. */
static GstPadProbeReturn keep_errors(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    (void)user;
    GstPad *peer = gst_pad_get_peer(pad);
    if (!peer)
        return GST_PAD_PROBE_DROP;
    if (info->type & GST_PAD_PROBE_TYPE_BUFFER)
        gst_pad_chain(peer, GST_PAD_PROBE_INFO_BUFFER(info));
    else if (info->type & GST_PAD_PROBE_TYPE_BUFFER_LIST)
        gst_pad_chain_list(peer, GST_PAD_PROBE_INFO_BUFFER_LIST(info));
    else
        gst_pad_send_event(peer, GST_PAD_PROBE_INFO_EVENT(info));
    gst_object_unref(peer);
    return GST_PAD_PROBE_HANDLED;
}

bool source_gst_decode(source_gst *s, GstPad *pad, bool spare)
{
    GstElement *decoder;
    TAKE_OVER(s);
    if (source_gst_make(s, &decoder, "decodebin", NULL) != OMNID_OK)
        return false;
    source_gst_watch(s, decoder);
    if (spare) {
        source_gst_spare(decoder);
        gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_DATA_DOWNSTREAM | GST_PAD_PROBE_TYPE_PUSH, keep_errors, NULL, NULL);
    }
    GstPad *sink = gst_element_get_static_pad(decoder, "sink");
    bool linked = gst_pad_link(pad, sink) == GST_PAD_LINK_OK;
    gst_object_unref(sink);
    gst_element_sync_state_with_parent(decoder);
    return linked;
}
