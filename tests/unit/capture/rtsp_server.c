/* rtsp_server.c: an RTSP camera for tests, on 127.0.0.1 only: rtsp-server PORT CODEC SOUND USER PASSWORD N_FRAMES
 *
 * PORT 0: the kernel's choice. CODEC h264, h265, mjpeg or none; SOUND alaw, opus, aac, l16 or none; USER "" = open to all;
 * N_FRAMES 0 = for ever. The picture is of one green, the sound a tone of 440 Hz and -9 dBFS. Prints "port N" once it
 * listens, and lives until it is killed. */
#include <gst/gst.h>
#include <gst/rtsp-server/rtsp-server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>

enum { N_ARGS = 7 };

typedef struct {
    const char *name, *description;
} branch;

static const branch codecs[] = {
    {"h264", "openh264enc gop-size=15 complexity=low ! h264parse ! rtph264pay config-interval=-1 name=pay0 pt=96"},
    {"h265", "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=15 ! h265parse ! rtph265pay "
             "config-interval=-1 name=pay0 pt=96"},
    {"mjpeg", "jpegenc ! rtpjpegpay name=pay0 pt=26"},
};

static const branch sounds[] = {
    {"alaw", "audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay pt=8"},
    {"opus", "audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay pt=97"},
    {"aac", "audio/x-raw,rate=44100,channels=2 ! avenc_aac ! aacparse ! rtpmp4gpay pt=97"},
    {"l16", "audio/x-raw,rate=44100,channels=1 ! rtpL16pay pt=97"},
};

static const char *find(const branch *all, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return all[i].description;
    return NULL;
}

/* The whole launch string of the camera; its streams are named pay0, pay1 without a hole. */
static char *describe(const char *codec, const char *sound, int n_frames)
{
    GString *text = g_string_new("( ");
    const char *video = find(codecs, sizeof codecs / sizeof *codecs, codec);
    const char *audio = find(sounds, sizeof sounds / sizeof *sounds, sound);
    if (video)
        g_string_append_printf(text,
                               "videotestsrc is-live=true pattern=solid-color foreground-color=0xff20c040 "
                               "num-buffers=%d ! video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! %s ",
                               n_frames > 0 ? n_frames : -1, video);
    if (audio)
        g_string_append_printf(text,
                               "audiotestsrc is-live=true freq=440 volume=0.5 num-buffers=%d samplesperbuffer=640 ! "
                               "audioconvert ! audioresample ! %s name=pay%d ",
                               n_frames > 0 ? n_frames * 4 : -1, audio, video ? 1 : 0);
    g_string_append(text, ")");
    return g_string_free(text, FALSE);
}

/* Only who knows the password may see the camera. */
static void protect(GstRTSPServer *server, GstRTSPMediaFactory *factory, const char *user, const char *password)
{
    GstRTSPAuth *auth = gst_rtsp_auth_new();
    GstRTSPToken *token = gst_rtsp_token_new(GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, "viewer", NULL);
    char *basic = gst_rtsp_auth_make_basic(user, password);
    gst_rtsp_auth_add_basic(auth, basic, token);
    g_free(basic);
    gst_rtsp_auth_add_digest(auth, user, password, token);
    gst_rtsp_auth_set_supported_methods(auth, GST_RTSP_AUTH_DIGEST);
    gst_rtsp_token_unref(token);
    gst_rtsp_server_set_auth(server, auth);
    g_object_unref(auth);
    gst_rtsp_media_factory_add_role(factory, "viewer", GST_RTSP_PERM_MEDIA_FACTORY_ACCESS, G_TYPE_BOOLEAN, TRUE,
                                    GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, G_TYPE_BOOLEAN, TRUE, NULL);
}

int main(int argc, char **argv)
{
    if (argc != N_ARGS) {
        fprintf(stderr, "usage: rtsp-server PORT CODEC SOUND USER PASSWORD N_FRAMES\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies leaves nothing behind */
    gst_init(NULL, NULL);
    GstRTSPServer *server = gst_rtsp_server_new();
    gst_rtsp_server_set_address(server, "127.0.0.1");
    gst_rtsp_server_set_service(server, argv[1]);
    GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new();
    char *text = describe(argv[2], argv[3], atoi(argv[6]));
    gst_rtsp_media_factory_set_launch(factory, text);
    g_free(text);
    gst_rtsp_media_factory_set_shared(factory, TRUE);
    if (*argv[4])
        protect(server, factory, argv[4], argv[5]);
    GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points(server);
    gst_rtsp_mount_points_add_factory(mounts, "/live", factory);
    g_object_unref(mounts);
    if (gst_rtsp_server_attach(server, NULL) == 0) {
        fprintf(stderr, "rtsp-server: cannot listen on port %s\n", argv[1]);
        return 1;
    }
    printf("port %d\n", gst_rtsp_server_get_bound_port(server));
    fflush(stdout);
    g_main_loop_run(g_main_loop_new(NULL, FALSE));
    return 0;
}
