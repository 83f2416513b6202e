/* omnid-capture-bench: what capture alone costs: one camera's sources, segments thrown away. CPU time, not the clock, is
 * measured, so that other programs on the machine disturb little. Live sources work, too: it then also shows what comes. */
#include "capture/capture.h"

#include <getopt.h>
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, WARM_UP_S = 4, CLIP_S = 20 };

static const char help[] =
    "omnid-capture-bench: measures the CPU time of capture alone.\n"
    "\n"
    "  omnid-capture-bench --make CLIP            writes 20 s of 1280x720 MJPEG at 30/s with 48 kHz stereo sound\n"
    "  omnid-capture-bench [OPTION…] URI          runs the source in real time; a clip starts again at its end\n"
    "\n"
    "  -a, --audio URI     the sound's source; 'none' (default: the picture's own)\n"
    "  -s, --seconds N     how long to measure, after 4 s of warming up (default 60)\n"
    "  -v, --verbose       a line for each segment and each change of a source\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0 measured, 1 failed, 2 wrong usage.\n";

typedef struct {
    bool verbose;
    int64_t began_us;
    int n_segments, n_frames, n_jpeg, n_with_sound, n_restarts;
    int width, height;
    size_t jpeg_bytes;
} tally;

static double since(const tally *t)
{
    return (double)(omnid_clock_us() - t->began_us) / 1e6;
}

static void on_segment(void *user, const capture_segment *seg)
{
    tally *t = user;
    t->n_segments++;
    t->n_frames += seg->n_frames;
    t->n_with_sound += seg->n_samples > 0;
    for (int i = 0; i < seg->n_frames; i++) {
        t->n_jpeg += seg->frames[i].jpeg != NULL;
        t->jpeg_bytes += seg->frames[i].n_jpeg;
        t->width = seg->frames[i].width;
        t->height = seg->frames[i].height;
    }
    if (t->verbose)
        printf("%7.2f s  segment %lld: %d frames of %d x %d, %d samples\n", since(t), (long long)seg->index,
               seg->n_frames, t->width, t->height, seg->n_samples);
    fflush(stdout);
}

static void on_source(void *user, bool video, capture_state state, const char *message)
{
    tally *t = user;
    t->n_restarts += state == CAPTURE_LOST;
    if (t->verbose)
        printf("%7.2f s  %s %s%s%s\n", since(t), video ? "picture" : "sound", capture_state_name(state),
               *message ? ": " : "", message);
    fflush(stdout);
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int make_clip(const char *path)
{
    gst_init(NULL, NULL);
    char *text =
        g_strdup_printf("videotestsrc num-buffers=%d pattern=smpte horizontal-speed=4 ! "
                        "video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! jpegenc quality=90 ! mux. "
                        "audiotestsrc wave=pink-noise num-buffers=%d samplesperbuffer=960 ! "
                        "audio/x-raw,format=S16LE,rate=48000,channels=2 ! mux. "
                        "matroskamux name=mux ! filesink location=\"%s\"",
                        CLIP_S * 30, CLIP_S * 50, path);
    GError *error = NULL;
    GstElement *pipeline = gst_parse_launch(text, &error);
    g_free(text);
    if (!pipeline || error) {
        fprintf(stderr, "omnid-capture-bench: %s\n", error ? error->message : "no pipeline");
        return EXIT_FAILURE;
    }
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    GstBus *bus = gst_element_get_bus(pipeline);
    GstMessage *message = gst_bus_timed_pop_filtered(bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    bool ok = GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS;
    if (!ok)
        fprintf(stderr, "omnid-capture-bench: %s cannot be written\n", path);
    gst_message_unref(message);
    gst_object_unref(bus);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(pipeline);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int measure(const char *uri, const char *audio, int seconds, bool verbose)
{
    tally t = {.verbose = verbose, .began_us = omnid_clock_us()};
    capture_params p = capture_params_default();
    p.video = uri;
    p.audio = audio;
    p.loop = true;
    p.user = &t;
    p.on_segment = on_segment;
    p.on_source = on_source;
    omnid_capture *c;
    omnid_error err;
    if (omnid_capture_start(&c, &p, &err) != OMNID_OK) {
        fprintf(stderr, "omnid-capture-bench: %s\n", err.text);
        return EXIT_FAILURE;
    }
    sleep(WARM_UP_S);
    double cpu = cpu_s(), from = since(&t);
    sleep((unsigned)seconds);
    double used = cpu_s() - cpu, took = since(&t) - from;
    capture_status status = omnid_capture_get_status(c);
    omnid_capture_stop(&c);
    printf("%s: %.1f s, CPU time %.2f s: %.2f %% of one core\n", uri, took, used, 100.0 * used / took);
    printf("segments %d, frames %d of %d x %d (%d as JPEG, %.0f KB each), with sound %d, source at %.1f frames/s, "
           "dropped %lld, lost %d times\n",
           t.n_segments, t.n_frames, t.width, t.height, t.n_jpeg,
           t.n_jpeg ? (double)t.jpeg_bytes / t.n_jpeg / 1000.0 : 0.0, t.n_with_sound, status.video.fps,
           (long long)status.video.n_dropped, t.n_restarts);
    return t.n_segments ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"make", required_argument, NULL, 'm'},    {"audio", required_argument, NULL, 'a'},
        {"seconds", required_argument, NULL, 's'}, {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    const char *audio = "same", *clip = NULL;
    long seconds = 60;
    bool verbose = false;
    for (int o; (o = getopt_long(argc, argv, "m:a:s:vh", names, NULL)) != -1;)
        switch (o) {
        case 'm':
            clip = optarg;
            break;
        case 'a':
            audio = strcmp(optarg, "none") ? optarg : NULL;
            break;
        case 's':
            seconds = strtol(optarg, NULL, 10);
            break;
        case 'v':
            verbose = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        default:
            return EXIT_USAGE;
        }
    if (clip && optind == argc)
        return make_clip(clip);
    if (clip || optind != argc - 1 || seconds < 1 || seconds > 86400) {
        fputs("omnid-capture-bench: want --make CLIP, or one URI and 1..86400 seconds; --help tells more\n", stderr);
        return EXIT_USAGE;
    }
    return measure(argv[optind], audio, (int)seconds, verbose);
}
