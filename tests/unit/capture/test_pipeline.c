/* Pipelines out of launch strings, good and bad, and the one of a Jetson's camera. */
#include "capture/source_csi.h"
#include "capture/source_gst.h"
#include "clips.h"

#include <gst/gst.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

enum { STEP_MS = 10 };

#define GREEN                                                                                                          \
    "videotestsrc is-live=true pattern=solid-color foreground-color=0xff20c040 ! "                                     \
    "video/x-raw,width=160,height=120,framerate=10/1"
#define TONE "audiotestsrc is-live=true freq=440 samplesperbuffer=441"

/* Raw, JPEG and encoded, picture and sound, at a queue, an identity, a filter or a tee. */
static void test_good_pipelines(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        bool picture, sound, jpeg;
    } cases[] = {
        {"pipeline:" GREEN " ! queue name=video  " TONE " ! audio/x-raw,rate=44100,channels=2 ! queue name=audio", true,
         true, false},
        {"pipeline:" GREEN " ! jpegenc ! identity name=video", true, false, true},
        {"pipeline:" GREEN " ! openh264enc gop-size=5 ! h264parse name=video", true, false, false},
        {"pipeline:" GREEN " ! tee name=video  video. ! queue ! fakesink", true, false, false},
        {"pipeline:  " TONE " ! audioconvert ! alawenc ! capsfilter name=audio", false, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        omnid_error err = {0};
        if (omnid_capture_check(cases[i].uri, &err) != OMNID_OK)
            fail_msg("%s", err.text);
        keeper k;
        omnid_capture *c =
            keeper_start(&k, cases[i].picture ? cases[i].uri : NULL, cases[i].picture ? "same" : cases[i].uri);
        if (cases[i].picture)
            await_state(c, true, CAPTURE_RUNNING);
        await_state(c, false, cases[i].sound ? CAPTURE_RUNNING : CAPTURE_OFF);
        await_segments(c, 2);
        omnid_capture_stop(&c);
        assert_true(k.n >= 2);
        const kept_segment *last = k.kept[k.n - 1];
        assert_int_equal(last->seg.n_frames, cases[i].picture ? 4 : 0);
        assert_int_equal(last->seg.n_samples > 0, cases[i].sound);
        if (cases[i].picture)
            assert_in_range(last->frame[1], 0xb0, 0xd0);
        assert_int_equal(last->seg.frames[0].n_jpeg > 0, cases[i].jpeg);
        keeper_free(&k);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *uri;
        omnid_status status;
        const char *says;
    } cases[] = {
        {"pipeline:", OMNID_ARGUMENT, "want a gst-launch string"},
        {"pipeline:   ", OMNID_ARGUMENT, "want a gst-launch string"},
        {"pipeline:videotestsrc ! ! queue name=video", OMNID_ARGUMENT, "syntax error"},
        {"pipeline:videotestsrc ! nosuchelement ! queue name=video", OMNID_UNSUPPORTED,
         "element 'nosuchelement' (character 16) is not installed"},
        {"pipeline:nvv4l2camerasrc ! queue name=video", OMNID_UNSUPPORTED, "nvidia-l4t-gstreamer"},
        {"pipeline:videotestsrc colour=red ! queue name=video", OMNID_ARGUMENT, "no property \"colour\""},
        {"pipeline:videotestsrc ! audioconvert ! queue name=video", OMNID_ARGUMENT, "could not link"},
        {"pipeline:videotestsrc ! queue name=picture", OMNID_ARGUMENT, "no element is named 'video' or 'audio'"},
        {"pipeline:videotestsrc ! fakesink name=video", OMNID_ARGUMENT, "the element named 'video' has no free end"},
        {"pipeline:videotestsrc name=video ! fakesink", OMNID_ARGUMENT, "the element named 'video' has no free end"},
        {"pipeline:rtspsrc location=rtsp://u:secret@h/x user-pw=secret ! nosuch name=video", OMNID_UNSUPPORTED,
         "nosuch"},
        {"csi:", OMNID_ARGUMENT, "want csi:N"},
        {"csi:16", OMNID_ARGUMENT, "want csi:N"},
        {"csi:-1", OMNID_ARGUMENT, "want csi:N"},
        {"csi:0,size=1x1", OMNID_ARGUMENT, "want csi:N"},
        {"csi:0,wide", OMNID_ARGUMENT, "want csi:N"},
        {"csi:0 ", OMNID_ARGUMENT, "want csi:N"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        omnid_error err = {0};
        omnid_status status = omnid_capture_check(cases[i].uri, &err);
        print_message("%s\n", err.text);
        if (status != cases[i].status || !strstr(err.text, cases[i].says))
            fail_msg("%s: %s, want '%s'", cases[i].uri, omnid_status_name(status), cases[i].says);
        assert_null(strstr(err.text, "secret"));
    }
}

/* The page's examples parse, or need something that is not installed here; none is refused for another reason. */
static void test_examples_of_the_page(void **state)
{
    (void)state;
    FILE *page = fopen(OMNID_SOURCE_DIR "/docs/capture.md", "r");
    char line[512];
    int n = 0;
    assert_non_null(page);
    while (fgets(line, sizeof line, page)) {
        if (strncmp(line, "    pipeline:", 13) != 0)
            continue;
        omnid_error err = {0};
        line[strcspn(line, "\n")] = '\0';
        omnid_status status = omnid_capture_check(line + 4, &err);
        if (status != OMNID_OK && status != OMNID_UNSUPPORTED)
            fail_msg("%s", err.text);
        n++;
    }
    fclose(page);
    assert_int_equal(n, 3);
}

/* The picture is wanted, and only sound is there; seen when it is opened. */
static void test_wrong_stream(void **state)
{
    (void)state;
    keeper k;
    omnid_capture *c = keeper_start(&k, "pipeline:" TONE " ! queue name=audio", NULL);
    capture_source_status status = await_state(c, true, CAPTURE_LOST);
    assert_non_null(strstr(status.message, "a picture is wanted, but no element is named 'video'"));
    omnid_capture_stop(&c);
    keeper_free(&k);
}

/* A pipeline that is not live is played by the clock, and ends; a live one that ends is lost and opened again. */
static void test_ends(void **state)
{
    (void)state;
    keeper k;
    char uri[1024];
    const char *path =
        clip_make("ends.avi", "videotestsrc num-buffers=30 ! video/x-raw,width=160,height=120,framerate=10/1 "
                              "! jpegenc ! avimux");
    snprintf(uri, sizeof uri, "pipeline:filesrc location=%s ! decodebin ! queue name=video", path);
    int64_t begun_us = omnid_clock_us();
    omnid_capture *c = keeper_start(&k, uri, NULL);
    await_state(c, true, CAPTURE_ENDED);
    assert_true(omnid_clock_us() - begun_us > 2500000); /* 3 s of picture */
    assert_int_equal(omnid_capture_get_status(c).video.n_restarts, 0);
    omnid_capture_stop(&c);
    keeper_free(&k);
    unlink(path);
    c = keeper_start(
        &k, "pipeline:videotestsrc is-live=true num-buffers=20 ! video/x-raw,framerate=10/1 ! queue name=video", NULL);
    capture_source_status status = await_state(c, true, CAPTURE_LOST);
    assert_non_null(strstr(status.message, ": the stream has ended"));
    await_state(c, true, CAPTURE_RUNNING);
    omnid_capture_stop(&c);
    keeper_free(&k);
}

/* Not one picture goes before the clock, also where another stream takes longer to be decoded. */
static void test_paced_from_the_first(void **state)
{
    (void)state;
    keeper k;
    char uri[1024];
    const char *path =
        clip_make("paced.avi", "videotestsrc num-buffers=20 ! video/x-raw,width=160,height=120,framerate=10/1 "
                               "! jpegenc ! avimux");
    snprintf(uri, sizeof uri,
             "pipeline:filesrc location=%s ! decodebin ! queue name=video  "
             "audiotestsrc num-buffers=100 ! wavenc ! identity sleep-time=300000 ! queue name=audio",
             path);
    int64_t begun_us = omnid_clock_us();
    omnid_capture *c = keeper_start(&k, uri, "same");
    await_state(c, true, CAPTURE_ENDED);
    assert_true(omnid_clock_us() - begun_us > 2300000); /* a first block of sound, then 2 s of picture */
    omnid_capture_stop(&c);
    keeper_free(&k);
    unlink(path);
}

/* A driver that hangs holds up the last state change: it is left behind, counted, and the camera is stopped in time. */
static GstPadProbeReturn hang(GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
    (void)pad, (void)info, (void)user;
    usleep(4000 * 1000);
    return GST_PAD_PROBE_OK;
}

static omnid_status hanging_check(const char *uri, omnid_error *err)
{
    (void)uri, (void)err;
    return OMNID_OK;
}

static omnid_status hanging_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    const source_gst_params gst = {0};
    GstElement *element;
    source_gst *s;
    assert_int_equal(source_gst_create(&s, p, &gst, err), OMNID_OK);
    assert_int_equal(source_gst_make(s, &element, "videotestsrc", err), OMNID_OK);
    g_object_set(element, "is-live", TRUE, NULL);
    GstPad *pad = gst_element_get_static_pad(element, "src");
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, hang, NULL, NULL);
    assert_true(source_gst_add_sink(s, true, pad));
    gst_object_unref(pad);
    *self = s;
    return source_gst_start(s, info, err);
}

static const source_ops hanging_ops = {.scheme = "hanging",
                                       .description = "hanging:  a test's",
                                       .check = hanging_check,
                                       .open = hanging_open,
                                       .read = source_gst_read,
                                       .close = source_gst_close};

static void test_close_hangs(void **state)
{
    (void)state;
    keeper k;
    omnid_capture *c = keeper_start(&k, "hanging:", NULL);
    usleep(500 * 1000);
    assert_int_equal(omnid_capture_pause(c, true, true, NULL), OMNID_OK);
    for (int ms = 0; ms < PATIENCE_MS && omnid_capture_get_status(c).video.n_left_behind == 0; ms += STEP_MS)
        usleep(STEP_MS * 1000);
    assert_int_equal(omnid_capture_get_status(c).video.n_left_behind, 1);
    int64_t begun_us = omnid_clock_us();
    omnid_capture_stop(&c);
    assert_true(omnid_clock_us() - begun_us < 2500000);
    usleep(4000 * 1000); /* what was left behind comes back, and frees what it had */
    keeper_free(&k);
}

static void test_csi(void **state)
{
    (void)state;
    char launch[320];
    assert_int_equal(csi_describe(launch, sizeof launch, "csi:1", NULL), OMNID_OK);
    assert_string_equal(launch, "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1280,height=720,"
                                "framerate=30/1 ! nvvidconv ! video/x-raw,format=I420 ! queue name=video "
                                "max-size-buffers=2 leaky=downstream");
    assert_int_equal(csi_describe(launch, sizeof launch, "csi:0,fps=15,size=640x480", NULL), OMNID_OK);
    assert_non_null(
        strstr(launch, "sensor-id=0 ! video/x-raw(memory:NVMM),width=640,height=480,framerate=15/1 ! nvvidconv"));
    GstElementFactory *argus = gst_element_factory_find("nvarguscamerasrc");
    if (argus) { /* a Jetson: there the pipeline itself would be tried */
        gst_object_unref(argus);
        return;
    }
    keeper k;
    assert_int_equal(omnid_capture_check("csi:0", NULL), OMNID_OK); /* the form is right */
    omnid_capture *c = keeper_start(&k, "csi:0", NULL);
    capture_source_status status = await_state(c, true, CAPTURE_LOST);
    assert_non_null(strstr(status.message, "csi:0: GStreamer's element 'nvarguscamerasrc' is not installed: this is no "
                                           "Jetson"));
    omnid_capture_stop(&c);
    keeper_free(&k);
}

int main(void)
{
    gst_init(NULL, NULL);
    assert_int_equal(sources_add(&hanging_ops), OMNID_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_page),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_good_pipelines),
        cmocka_unit_test(test_wrong_stream),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_paced_from_the_first),
        cmocka_unit_test(test_close_hangs),
        cmocka_unit_test(test_csi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
