/* source_rtsp.c: "rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH", a network camera. User and password go to GStreamer apart from
 * the address, so that none of its sentences can hold them. */
#include "capture/gst_handover.h"
#include "capture/source_gst.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

enum {
    LATENCY_MS = 200,
    OPEN_MS = 9000,      /* until the first picture or sound */
    TCP_TIMEOUT_S = 5,   /* an answer of the server */
    PROBE_TIMEOUT_S = 3, /* a second try to connect, to learn why the first one failed */
    DEFAULT_PORT = 554,
    DEFAULT_TLS_PORT = 322,
};
#define ADDRESS "omnid-rtsp" /* the data of the pipeline */
enum { OFFERS_PICTURE = 1, OFFERS_SOUND = 2, OFFERS = 4 };

/* A URI taken apart, and what the server says it has. Lives as long as the pipeline. */
typedef struct {
    char *location; /* without user and password */
    char *user, *password, *host;
    int port;
    source_gst *s;
    bool want_video, want_audio;
    atomic_int offered; /* OFFERS_…, from GStreamer's threads */
} address;

static void free_address(gpointer data)
{
    address *a = data;
    TAKE_OVER(a);
    g_free(a->location);
    g_free(a->user);
    g_free(a->password);
    g_free(a->host);
    g_free(a);
}

static omnid_status refuse(const char *uri, const char *why, omnid_error *err)
{
    char *shown = source_show(uri);
    omnid_status status = omnid_fail(
        err, OMNID_ARGUMENT,
        "%.200s: %s; want rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH, with %%40, %%3A and %%2F for an @, : and / in "
        "user or password",
        shown ? shown : "rtsp", why);
    free(shown);
    return status;
}

/* Takes the URI apart; *out is to be freed with free_address. ARGUMENT. */
static omnid_status parse(address **out, const char *uri, omnid_error *err)
{
    *out = NULL;
    char *scheme = NULL, *path = NULL, *query = NULL;
    address *a = g_new0(address, 1);
    GError *error = NULL;
    const GUriFlags flags = G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED_PATH | G_URI_FLAGS_ENCODED_QUERY;
    omnid_status status = OMNID_OK;
    if (!g_uri_split_with_user(uri, flags, &scheme, &a->user, &a->password, NULL, &a->host, &a->port, &path, &query,
                               NULL, &error))
        status = refuse(uri, "cannot be read", err);
    else if (strpbrk(uri, " \t\r\n"))
        status = refuse(uri, "holds a space", err);
    else if (!a->host || !*a->host)
        status = refuse(uri, "names no host", err);
    else if (a->password && !*a->user)
        status = refuse(uri, "has a password without a user", err);
    if (status == OMNID_OK) {
        bool tls = strcmp(scheme, "rtsps") == 0;
        a->location = g_uri_join(flags, tls ? "rtsps" : "rtsp", NULL, a->host, a->port, path, query, NULL);
        if (a->port <= 0)
            a->port = tls ? DEFAULT_TLS_PORT : DEFAULT_PORT;
        *out = a;
    } else {
        free_address(a);
    }
    g_clear_error(&error);
    g_free(scheme);
    g_free(path);
    g_free(query);
    return status;
}

static omnid_status rtsp_check(const char *uri, omnid_error *err)
{
    address *a;
    OMNID_TRY(parse(&a, uri, err));
    free_address(a);
    return OMNID_OK;
}

/* ---- what went wrong ---- */

/* rtspsrc says "Generic error" whatever kept it from connecting: connects once more to learn the reason. */
static omnid_status explain_connecting(const address *a, const char *shown, omnid_error *err)
{
    GError *error = NULL;
    GSocketClient *client = g_socket_client_new();
    g_socket_client_set_timeout(client, PROBE_TIMEOUT_S);
    g_socket_client_set_enable_proxy(client, FALSE);
    GSocketConnection *connection = g_socket_client_connect_to_host(client, a->host, (guint16)a->port, NULL, &error);
    omnid_status status;
    if (connection)
        status = omnid_fail(err, OMNID_DEVICE, "%s: port %d is open, but what answers is no RTSP server, or it is busy",
                            shown, a->port);
    else if (error->domain == G_RESOLVER_ERROR)
        status = omnid_fail(err, OMNID_NOT_FOUND, "%s: no host of the name '%s' is known here", shown, a->host);
    else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
        status = omnid_fail(err, OMNID_DEVICE,
                            "%s: %s refuses port %d; is its RTSP server switched on, and is this its port?", shown,
                            a->host, a->port);
    else
        status = omnid_fail(err, OMNID_DEVICE, "%s: %s does not answer (%s)", shown, a->host, error->message);
    g_clear_error(&error);
    g_clear_object(&connection);
    g_object_unref(client);
    return status;
}

static omnid_status rtsp_explain(GstElement *pipeline, const char *shown, const GError *error, const char *detail,
                                 omnid_error *err)
{
    const address *a = g_object_get_data(G_OBJECT(pipeline), ADDRESS);
    int offered = atomic_load(&a->offered);
    if (offered && a->want_video && !(offered & OFFERS_PICTURE))
        return omnid_fail(err, OMNID_FORMAT, "%s: the server offers no picture", shown);
    if (offered && !a->want_video && !(offered & OFFERS_SOUND))
        return omnid_fail(err, OMNID_FORMAT, "%s: the server offers no sound", shown);
    if (error->domain != GST_RESOURCE_ERROR)
        return OMNID_OK;
    switch (error->code) {
    case GST_RESOURCE_ERROR_NOT_AUTHORIZED:
        return a->user ? omnid_fail(err, OMNID_ARGUMENT, "%s: the camera refuses this user and password", shown)
                       : omnid_fail(err, OMNID_ARGUMENT,
                                    "%s: the camera wants a user and a password; write rtsp://USER:PASSWORD@%s/…",
                                    shown, a->host);
    case GST_RESOURCE_ERROR_NOT_FOUND:
        return omnid_fail(err, OMNID_NOT_FOUND, "%s: the camera knows no such path (%s)", shown, detail);
    case GST_RESOURCE_ERROR_OPEN_READ_WRITE:
    case GST_RESOURCE_ERROR_OPEN_READ:
        return strstr(detail, "connect") ? explain_connecting(a, shown, err) : OMNID_OK;
    default:
        return OMNID_OK;
    }
}

/* ---- streams ---- */

static const char *media_of(GstCaps *caps)
{
    const GstStructure *s = gst_caps_is_empty(caps) ? NULL : gst_caps_get_structure(caps, 0);
    const char *media = s ? gst_structure_get_string(s, "media") : NULL;
    return media ? media : "";
}

/* Whether to ask the server for a stream: the first of each kind that is wanted. A transport stream may hold both. */
static gboolean on_select(GstElement *rtspsrc, guint number, GstCaps *caps, gpointer user)
{
    (void)rtspsrc, (void)number;
    address *a = user;
    TAKE_OVER(a);
    const char *media = media_of(caps),
               *encoding = gst_structure_get_string(gst_caps_get_structure(caps, 0), "encoding-name");
    bool both = encoding && strcmp(encoding, "MP2T") == 0;
    int kind = both                          ? OFFERS_PICTURE | OFFERS_SOUND
               : strcmp(media, "video") == 0 ? OFFERS_PICTURE
               : strcmp(media, "audio") == 0 ? OFFERS_SOUND
                                             : 0;
    int before = atomic_fetch_or(&a->offered, kind | OFFERS);
    int wanted = (a->want_video ? OFFERS_PICTURE : 0) | (a->want_audio ? OFFERS_SOUND : 0);
    HAND_OVER(a);
    return (kind & wanted & ~before) != 0;
}

/* On a thread of GStreamer's. Sound that cannot be decoded must not cost the picture. */
static void on_pad(GstElement *rtspsrc, GstPad *pad, gpointer user)
{
    (void)rtspsrc;
    const address *a = user;
    TAKE_OVER(user);
    GstCaps *caps = gst_pad_get_current_caps(pad);
    bool sound = caps && strcmp(media_of(caps), "audio") == 0;
    source_gst_decode(a->s, pad, sound && a->want_video);
    HAND_OVER(user);
    gst_clear_caps(&caps);
}

static omnid_status build(source_gst *s, const source_params *p, address *a, omnid_error *err)
{
    GstElement *rtspsrc;
    OMNID_TRY(source_gst_make(s, &rtspsrc, "rtspsrc", err));
    gst_util_set_object_arg(G_OBJECT(rtspsrc), "protocols", "tcp");
    g_object_set(rtspsrc, "location", a->location, "user-id", a->user, "user-pw", a->password, "latency", LATENCY_MS,
                 "tcp-timeout", (guint64)TCP_TIMEOUT_S * 1000000, NULL);
    a->s = s;
    a->want_video = p->want_video;
    a->want_audio = p->want_audio;
    HAND_OVER(a);
    g_signal_connect(rtspsrc, "select-stream", G_CALLBACK(on_select), a);
    g_signal_connect(rtspsrc, "pad-added", G_CALLBACK(on_pad), a);
    return OMNID_OK;
}

/* Starts and waits for the first data: only then is known what the server has. */
static omnid_status start(source_gst *s, const source_params *p, const address *a, source_info *info, omnid_error *err)
{
    OMNID_TRY(source_gst_start(s, info, err));
    OMNID_TRY(source_gst_wait_first(s, OPEN_MS, err));
    int offered = atomic_load(&a->offered);
    info->has_video = p->want_video && (offered & OFFERS_PICTURE);
    info->has_audio = p->want_audio && (offered & OFFERS_SOUND);
    if (p->want_video && !info->has_video)
        return omnid_fail(err, OMNID_FORMAT, "%s: the server offers no picture", p->shown);
    return OMNID_OK;
}

static omnid_status rtsp_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    const source_gst_params gst = {.endless = true, .explain = rtsp_explain};
    address *a;
    source_gst *s = NULL;
    *self = NULL;
    OMNID_TRY(parse(&a, p->uri, err));
    omnid_status status = source_gst_create(&s, p, &gst, err);
    if (status != OMNID_OK) {
        free_address(a);
        return status;
    }
    g_object_set_data_full(G_OBJECT(source_gst_pipeline(s)), ADDRESS, a, free_address);
    status = build(s, p, a, err);
    if (status == OMNID_OK)
        status = start(s, p, a, info, err);
    *self = s;
    if (status != OMNID_OK)
        source_gst_close(self);
    return status;
}

#define RTSP_OPS(name, text)                                                                                           \
    {                                                                                                                  \
        .scheme = name, .description = text, .check = rtsp_check, .open = rtsp_open, .read = source_gst_read,          \
        .close = source_gst_close                                                                                      \
    }

const source_ops source_rtsp = RTSP_OPS("rtsp", "rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH  a network camera, over TCP");
const source_ops source_rtspt = RTSP_OPS("rtspt", "rtspt://…  the same");
const source_ops source_rtsps = RTSP_OPS("rtsps", "rtsps://…  the same, encrypted (TLS)");
