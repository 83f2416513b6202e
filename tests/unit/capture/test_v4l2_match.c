/* Which camera a URI means: its form, names, ambiguities, and the same camera again after it was unplugged. */
#include "capture/v4l2_match.h"
#include "v4l2_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static void check_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' does not say '%s'", text, part);
}

/* ---- the URI ---- */

static void test_uri(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *device, *fourcc;
        int width, height;
        double fps;
    } cases[] = {
        {"v4l2:/dev/video0", "/dev/video0", "....", 0, 0, 0},
        {"v4l2:/dev/video2,size=1280x720,fps=5,format=MJPG", "/dev/video2", "MJPG", 1280, 720, 5},
        {"v4l2:/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0,fps=7.5",
         "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0", "....", 0, 0, 7.5},
        {"v4l2:Acme, Inc. Camera,format=yuyv", "Acme, Inc. Camera", "YUYV", 0, 0, 0},
        {"v4l2:HD Pro Webcam C920,format=mjpeg", "HD Pro Webcam C920", "MJPG", 0, 0, 0},
        {"v4l2:a,format=h265", "a", "HEVC", 0, 0, 0},
        {"v4l2:a,format=Y16", "a", "Y16 ", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        v4l2_uri u;
        omnid_error err;
        char fourcc[8];
        if (v4l2_uri_read(&u, cases[i].uri, &err) != OMNID_OK)
            fail_msg("%s", err.text);
        assert_string_equal(u.device, cases[i].device);
        assert_string_equal(v4l2_fourcc_text(u.want.fourcc, fourcc), cases[i].fourcc);
        assert_int_equal(u.want.width, cases[i].width);
        assert_int_equal(u.want.height, cases[i].height);
        assert_true(u.want.fps == cases[i].fps);
    }
}

static void test_uri_that_is_wrong(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"v4l2:", "want a camera behind 'v4l2:'"},
        {"v4l2:,fps=5", "want a camera behind 'v4l2:'"},
        {"v4l2:/dev/video0,speed=5", "no option 'speed'; known are size, fps, format"},
        {"v4l2:/dev/video0,size=640", "size is '640'; want WIDTHxHEIGHT"},
        {"v4l2:/dev/video0,size=0x480", "want WIDTHxHEIGHT"},
        {"v4l2:/dev/video0,size=640x480x2", "want WIDTHxHEIGHT"},
        {"v4l2:/dev/video0,fps=fast", "fps is 'fast'"},
        {"v4l2:/dev/video0,fps=0", "fps is '0'"},
        {"v4l2:/dev/video0,fps=nan", "fps is 'nan'"},
        {"v4l2:/dev/video0,format=", "format is ''"},
        {"v4l2:/dev/video0,format=MOTIONJPEG", "four letters"},
        {"v4l2:/dev/video0,fps=5,loud", "'loud' is no option"},
        {"v4l2:/dev/video0,fps=5,", "'' is no option"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        v4l2_uri u;
        omnid_error err = {0};
        assert_int_equal(v4l2_uri_read(&u, cases[i][0], &err), OMNID_ARGUMENT);
        check_contains(err.text, cases[i][1]);
    }
    char longest[1000] = "v4l2:";
    memset(longest + 5, 'x', 900);
    v4l2_uri u;
    assert_int_equal(v4l2_uri_read(&u, longest, NULL), OMNID_ARGUMENT);
    memcpy(longest + 5, "a,fps=", 6);
    assert_int_equal(v4l2_uri_read(&u, longest, NULL), OMNID_ARGUMENT);
}

/* ---- names ---- */

enum { N = 5 };

/* Two of a kind with another serial number each, one of them with its metadata node; a laptop's camera; a forbidden node. */
static void make_nodes(v4l2_camera c[N])
{
    const v4l2_camera nodes[N] = {
        {.path = "/dev/video0",
         .name = "HD Pro Webcam C920",
         .bus = "usb-1",
         .serial = "AAAA",
         .by_id = "/dev/v4l/by-id/usb-046d_C920_AAAA-video-index0",
         .by_path = "/dev/v4l/by-path/pci-usb-1-video-index0",
         .capture = true},
        {.path = "/dev/video1",
         .name = "HD Pro Webcam C920",
         .bus = "usb-1",
         .serial = "AAAA",
         .index = 1,
         .by_id = "/dev/v4l/by-id/usb-046d_C920_AAAA-video-index1",
         .metadata = true},
        {.path = "/dev/video2", .name = "HD Pro Webcam C920", .bus = "usb-2", .serial = "BBBB", .capture = true},
        {.path = "/dev/video4", .name = "Integrated Camera: Integrated C", .bus = "usb-8", .capture = true},
        {.path = "/dev/video6", .name = "Other", .failed_errno = EACCES},
    };
    memcpy(c, nodes, sizeof nodes);
}

static int match(const char *device, const char *sentence)
{
    v4l2_camera c[N];
    make_nodes(c);
    int i = -1;
    omnid_error err = {0};
    omnid_status status = v4l2_match_name(&i, c, N, device, &err);
    if (status == OMNID_OK)
        return i;
    check_contains(err.text, sentence ? sentence : "(no error)");
    return -(int)status;
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(match("usb-046d_C920_AAAA-video-index0", NULL), 0);
    assert_int_equal(match("pci-usb-1-video-index0", NULL), 0);
    assert_int_equal(match("Integrated Camera: Integrated C", NULL), 3);
    assert_int_equal(match("integrated camera", NULL), 3);
    assert_int_equal(match("Other", NULL), 4); /* its sentence is that of the missing group */
    assert_int_equal(
        match("HD Pro Webcam C920",
              "names 2 cameras: /dev/video0 (HD Pro Webcam C920), /dev/video2 (HD Pro Webcam C920); write"),
        -OMNID_ARGUMENT);
    assert_int_equal(match("e", "names 4 cameras"), -OMNID_ARGUMENT);
    assert_int_equal(match("usb-046d_C920_AAAA-video-index1", "there is no camera"), -OMNID_NOT_FOUND); /* metadata */
    assert_int_equal(
        match("Scanner", "there is no camera 'Scanner'; there are /dev/video0 (HD Pro Webcam C920), /dev/vi"),
        -OMNID_NOT_FOUND);
    int i;
    omnid_error err;
    assert_int_equal(v4l2_match_name(&i, NULL, 0, "Scanner", &err), OMNID_NOT_FOUND);
    check_contains(err.text, "there is none at all");
}

/* ---- the same camera again ---- */

static int again(const v4l2_camera *now, int n, const v4l2_camera *was, const char *named)
{
    v4l2_identity id = v4l2_identity_of(was);
    int i = -1;
    omnid_error err = {0};
    if (v4l2_match_again(&i, now, n, &id, named, &err) == OMNID_OK)
        return i;
    check_contains(err.text, was->name);
    check_contains(err.text, "is not plugged in");
    return -1;
}

static void test_again_by_serial_number(void **state)
{
    (void)state;
    v4l2_camera c[N];
    make_nodes(c);
    for (int i = 0; i < 4; i++)
        if (c[i].capture)
            assert_int_equal(again(c, N, &c[i], NULL), i); /* nothing has changed */
    v4l2_camera was = c[2];
    strcpy(c[2].path, "/dev/video9"); /* another number, another socket */
    strcpy(c[2].bus, "usb-5");
    assert_int_equal(again(c, N, &was, "/dev/video2"), 2);
    assert_int_equal(again(c, 2, &was, "/dev/video0"), -1); /* its twin is not it, not even where the URI points */
}

/* Cheap cameras all have the same serial number: the socket decides, then the path. */
static void test_again_with_equal_serial_numbers(void **state)
{
    (void)state;
    v4l2_camera c[N];
    make_nodes(c);
    strcpy(c[2].serial, "AAAA");
    assert_int_equal(again(c, N, &c[2], NULL), 2);
    assert_int_equal(again(c, N, &c[0], NULL), 0);
    v4l2_camera was = c[2];
    strcpy(was.bus, "usb-7");
    assert_int_equal(again(c, N, &was, NULL), 2); /* by its path */
}

static void test_again_without_serial_number(void **state)
{
    (void)state;
    v4l2_camera c[N];
    make_nodes(c);
    v4l2_camera was = c[3];
    strcpy(c[3].path, "/dev/video7");
    assert_int_equal(again(c, N, &was, "/dev/video4"), 3); /* the same socket */
    strcpy(c[3].bus, "usb-9");
    assert_int_equal(again(c, N, &was, "/dev/video4"), -1);
    strcpy(c[3].path, "/dev/video4");
    assert_int_equal(again(c, N, &was, "/dev/video4"), 3); /* another socket, the path that the URI gives */
    assert_int_equal(again(c, N, &was, NULL), -1);
    strcpy(c[3].serial, "CCCC");
    assert_int_equal(again(c, N, &was, "/dev/video4"), -1); /* another camera */
}

/* ---- sentences of errno ---- */

static void test_sentences(void **state)
{
    (void)state;
    static const struct {
        int error;
        omnid_status status;
        const char *says;
    } cases[] = {
        {EBUSY, OMNID_BUSY, "is in use by another program; close that one"},
        {EACCES, OMNID_IO, "add the user to the group 'video'"},
        {ENOENT, OMNID_NOT_FOUND, "does not exist: plug the camera in"},
        {ENODEV, OMNID_NOT_FOUND, "the camera has gone; plug it in again"},
        {ENOSPC, OMNID_DEVICE, "the USB bus has no room left"},
        {ENOTTY, OMNID_UNSUPPORTED, "is no V4L2 camera"},
        {EIO, OMNID_DEVICE, "Input/output error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        omnid_error err;
        assert_int_equal(v4l2_list_explain("/dev/video77", cases[i].error, &err), cases[i].status);
        check_contains(err.text, cases[i].says);
        check_contains(err.text, "/dev/video77");
    }
    v4l2_camera c;
    omnid_error err;
    assert_int_equal(v4l2_list_node(&c, "/dev/null", &err), OMNID_UNSUPPORTED);
    assert_int_equal(v4l2_list_node(&c, "/dev/video-that-is-not", &err), OMNID_NOT_FOUND);
    assert_int_equal(v4l2_list_node(&c, OMNID_SOURCE_DIR, &err), OMNID_UNSUPPORTED);
}

/* What is printed for a report is read back the same. */
static void test_print(void **state)
{
    (void)state;
    static const char *const names[] = {"c920", "stepwise", "capture-card-continuous", "vivid", "depth-only"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        v4l2_camera c = fixture_read(names[i]);
        char path[512], *printed = NULL, line[512], *all = NULL;
        size_t n_printed, n_all;
        FILE *to = open_memstream(&printed, &n_printed);
        v4l2_list_print(to, &c);
        fclose(to);
        snprintf(path, sizeof path, "%s/tests/unit/capture/cameras/%s.txt", OMNID_SOURCE_DIR, names[i]);
        FILE *from = fopen(path, "r");
        assert_non_null(from);
        to = open_memstream(&all, &n_all);
        while (fgets(line, sizeof line, from))
            if (*line != '#')
                fputs(line, to);
        fclose(to);
        fclose(from);
        assert_string_equal(printed, all);
        free(printed);
        free(all);
        v4l2_list_clear(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri),
        cmocka_unit_test(test_uri_that_is_wrong),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_again_by_serial_number),
        cmocka_unit_test(test_again_with_equal_serial_numbers),
        cmocka_unit_test(test_again_without_serial_number),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
