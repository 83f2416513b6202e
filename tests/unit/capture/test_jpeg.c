/* JPEG as webcams send it (no tables, no end, rubbish behind, torn, damaged), and its way through a camera: pictures that
 * nobody chose are not decoded, those that were come with their own JPEG file. */
#include "capture/capture.h"
#include "capture/gst_picture.h"
#include "capture/jpeg.h"
#include "clips.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka and jpeglib want the headers above before them */
#include <cmocka.h>
#include <jpeglib.h>

enum { W = 160, H = 128 };

typedef struct {
    unsigned char *bytes;
    unsigned long n;
} file;

/* Four quarters: red, green, blue, white; a fine grid on it, so that there is something to lose. */
static void pixel(int x, int y, int rgb[3])
{
    int quarter = (x >= W / 2) + 2 * (y >= H / 2);
    for (int i = 0; i < 3; i++)
        rgb[i] = quarter == 3 || quarter == i ? 230 : 20;
    if ((x / 8 + y / 8) % 2)
        rgb[0] = rgb[0] > 128 ? rgb[0] - 40 : rgb[0] + 40;
}

static file make_file(bool grey, int width, int height)
{
    file f = {NULL, 0};
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &f.bytes, &f.n);
    c.image_width = (JDIMENSION)width;
    c.image_height = (JDIMENSION)height;
    c.input_components = grey ? 1 : 3;
    c.in_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 90, TRUE);
    jpeg_start_compress(&c, TRUE);
    unsigned char *line = malloc((size_t)width * 3);
    JSAMPROW row = line;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            int rgb[3];
            pixel(x, y, rgb);
            for (int i = 0; i < c.input_components; i++)
                line[x * c.input_components + i] = (unsigned char)rgb[i];
        }
        jpeg_write_scanlines(&c, &row, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    free(line);
    return f;
}

/* Cuts the Huffman tables (marker FFC4) out of the header. */
static void cut_tables(file *f)
{
    unsigned long at = 2;
    while (f->bytes[at + 1] != 0xda) {
        unsigned long n = 2 + (unsigned long)f->bytes[at + 2] * 256 + f->bytes[at + 3];
        if (f->bytes[at + 1] == 0xc4) {
            memmove(f->bytes + at, f->bytes + at + n, f->n - at - n);
            f->n -= n;
        } else {
            at += n;
        }
    }
}

static void check_pixels(const jpeg_picture *p)
{
    assert_int_equal(p->width, W);
    assert_int_equal(p->height, H);
    assert_true(p->stride >= W * 3);
    for (int y = 4; y < H; y += 8)
        for (int x = 4; x < W; x += 8) {
            int want[3];
            pixel(x, y, want);
            for (int i = 0; i < 3; i++)
                if (abs(p->rgb[y * p->stride + x * 3 + i] - want[i]) > 24)
                    fail_msg("pixel %d, %d, part %d is %d, want %d", x, y, i, p->rgb[y * p->stride + x * 3 + i],
                             want[i]);
        }
}

static void check_decodes(const file *f, size_t n_whole)
{
    jpeg_picture p;
    omnid_error err;
    unsigned char *copy = malloc(f->n); /* of its exact size: reading beyond it is seen */
    memcpy(copy, f->bytes, f->n);
    if (jpeg_decode(&p, copy, f->n, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    free(copy);
    check_pixels(&p);
    assert_int_equal(p.n_whole, n_whole);
    free(p.rgb);
}

static void check_refused(const unsigned char *bytes, size_t n, const char *word)
{
    jpeg_picture p = {NULL};
    omnid_error err = {0};
    unsigned char *copy = malloc(n + 1);
    memcpy(copy, bytes, n);
    assert_int_equal(jpeg_decode(&p, copy, n, &err), OMNID_FORMAT);
    assert_null(p.rgb);
    if (!strstr(err.text, word))
        fail_msg("'%s' does not say '%s'", err.text, word);
    free(copy);
}

static void test_as_webcams_send_it(void **state)
{
    (void)state;
    file f = make_file(false, W, H);
    check_decodes(&f, f.n);
    f.n -= 2; /* no end marker */
    check_decodes(&f, 0);
    f.n += 2;
    size_t whole = f.n;
    f.bytes = realloc(f.bytes, f.n + 512); /* the rest of the last USB packet */
    memset(f.bytes + f.n, 0, 512);
    f.n += 512;
    check_decodes(&f, whole);
    f.n = whole;
    cut_tables(&f);
    assert_true(f.n < whole - 400);
    check_decodes(&f, 0); /* no file that any program reads */
    free(f.bytes);
}

static void test_grey_picture(void **state)
{
    (void)state;
    file f = make_file(true, W, H);
    jpeg_picture p;
    assert_int_equal(jpeg_decode(&p, f.bytes, f.n, NULL), OMNID_OK);
    for (int i = 0; i < W * 3; i += 3)
        assert_true(p.rgb[i] == p.rgb[i + 1] && p.rgb[i] == p.rgb[i + 2]);
    free(p.rgb);
    free(f.bytes);
}

static void test_torn_and_damaged(void **state)
{
    (void)state;
    file f = make_file(false, W, H);
    check_refused(f.bytes, f.n / 2, "premature end");
    check_refused(f.bytes, f.n - 40, "premature end");
    check_refused(f.bytes, 0, "empty");
    check_refused(f.bytes, 1, "JPEG");
    check_refused((const unsigned char *)"this is no picture at all", 25, "Not a JPEG");
    for (size_t n = 2; n + 60 < f.n; n += 7) /* torn anywhere: never a picture */
        check_refused(f.bytes, n, "JPEG picture of");
    for (size_t i = f.n * 3 / 4; i < f.n * 3 / 4 + 40; i++)
        f.bytes[i] = 0xff;
    check_refused(f.bytes, f.n, "JPEG picture of");
    free(f.bytes);
}

/* A header that claims more pixels than any camera has is refused before memory is asked for. */
static void test_size_that_is_too_large(void **state)
{
    (void)state;
    file f = make_file(false, 64, 64);
    unsigned long at = 2;
    while (f.bytes[at] != 0xff || f.bytes[at + 1] != 0xc0)
        at++;
    memset(f.bytes + at + 5, 0xfd, 4);
    check_refused(f.bytes, f.n, "65021 x 65021 pixels; at most 16384 a side");
    memcpy(f.bytes + at + 5, "\x30\x00\x30\x00", 4);
    check_refused(f.bytes, f.n, "12288 x 12288 pixels");
    free(f.bytes);
}

/* ---- through GStreamer's buffers and a camera ---- */

static picture *picture_of(const file *f, const char *caps_text, GstVideoOrientationMethod method)
{
    gst_picture_maker *maker = gst_picture_maker_create();
    GstBuffer *buffer = gst_buffer_new_memdup(f->bytes, f->n);
    GstCaps *caps = gst_caps_from_string(caps_text);
    picture *p;
    omnid_error err;
    if (gst_picture_create(&p, maker, buffer, caps, method, 0, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    gst_buffer_unref(buffer);
    gst_caps_unref(caps);
    gst_picture_maker_unref(&maker);
    return p;
}

static void test_picture_of_a_buffer(void **state)
{
    (void)state;
    file f = make_file(false, W, H);
    picture *p = picture_of(&f, "image/jpeg,width=160,height=128", GST_VIDEO_ORIENTATION_IDENTITY);
    assert_int_equal(p->width, W);
    assert_null(p->rgb);
    assert_int_equal(picture_convert(p, NULL), OMNID_OK);
    check_pixels(&(jpeg_picture){p->rgb, p->width, p->height, p->stride, 0});
    assert_int_equal(p->n_jpeg, f.n);
    assert_memory_equal(p->jpeg, f.bytes, f.n);
    picture_unref(&p);

    p = picture_of(&f, "image/jpeg,width=160,height=128,pixel-aspect-ratio=2/1", GST_VIDEO_ORIENTATION_IDENTITY);
    assert_int_equal(picture_convert(p, NULL), OMNID_OK);
    assert_int_equal(p->width, 2 * W);
    assert_int_equal(p->height, H);
    assert_true(p->rgb[8 * p->stride + 40 * 3] > 150 && p->rgb[8 * p->stride + 40 * 3 + 1] < 90); /* red */
    assert_null(p->jpeg);                                                                         /* another shape */
    picture_unref(&p);

    p = picture_of(&f, "image/jpeg", GST_VIDEO_ORIENTATION_90R); /* what is right of the red quarter goes under it */
    assert_int_equal(picture_convert(p, NULL), OMNID_OK);
    assert_int_equal(p->width, H);
    assert_int_equal(p->height, W);
    const uint8_t *blue_now_left = p->rgb + 20 * p->stride + 20 * 3;
    assert_true(blue_now_left[2] > 150 && blue_now_left[1] < 90);
    assert_null(p->jpeg);
    picture_unref(&p);

    f.n /= 2;
    p = picture_of(&f, "image/jpeg,width=160,height=128", GST_VIDEO_ORIENTATION_IDENTITY);
    omnid_error err;
    assert_int_equal(picture_convert(p, &err), OMNID_FORMAT);
    assert_null(p->rgb);
    assert_non_null(strstr(err.text, "premature end"));
    picture_unref(&p);
    free(f.bytes);
}

typedef struct {
    int n_segments, n_frames, n_jpeg;
} seen;

static void on_segment(void *user, const capture_segment *seg)
{
    seen *s = user;
    s->n_segments++;
    s->n_frames += seg->n_frames;
    for (int i = 0; i < seg->n_frames; i++) {
        jpeg_picture again;
        const capture_frame *f = &seg->frames[i];
        if (!f->jpeg || jpeg_decode(&again, f->jpeg, f->n_jpeg, NULL) != OMNID_OK)
            continue;
        bool same = again.width == f->width && again.height == f->height;
        for (int y = 0; same && y < f->height; y++)
            same = !memcmp(again.rgb + y * again.stride, f->rgb + y * f->stride, (size_t)f->width * 3);
        s->n_jpeg += same;
        free(again.rgb);
    }
}

static seen play(const char *path)
{
    seen s = {0};
    char uri[600];
    snprintf(uri, sizeof uri, "file:%s", path);
    capture_params p = capture_params_default();
    p.video = uri;
    p.fast = true;
    p.user = &s;
    p.on_segment = on_segment;
    omnid_capture *c;
    omnid_error err;
    if (omnid_capture_start(&c, &p, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    assert_int_equal(omnid_capture_wait_end(c, 60000), OMNID_OK);
    omnid_capture_stop(&c);
    return s;
}

/* 4 s of MJPEG: every frame of a segment is the very JPEG file that was in the container. */
static void test_file_of_jpeg(void **state)
{
    (void)state;
    const char *head = "videotestsrc num-buffers=121 pattern=smpte ! video/x-raw,width=160,height=120,framerate=30/1 ! "
                       "jpegenc ! ";
    const char *const muxers[] = {"avimux", "matroskamux", "qtmux"};
    for (int i = 0; i < 3; i++) {
        char description[300], name[20];
        snprintf(description, sizeof description, "%s%s", head, muxers[i]);
        snprintf(name, sizeof name, "mjpeg-%d", i);
        seen s = play(clip_make(name, description));
        assert_int_equal(s.n_segments, 3);
        assert_int_equal(s.n_frames, 9);
        assert_int_equal(s.n_jpeg, 9);
    }
}

/* A photograph is read in pieces: GStreamer's decoder puts them together. */
static void test_photograph(void **state)
{
    (void)state;
    seen s = play(clip_make("photo.jpg", "videotestsrc num-buffers=1 pattern=snow ! video/x-raw,width=640,height=480 ! "
                                         "jpegenc"));
    assert_int_equal(s.n_segments, 1);
    assert_true(s.n_frames >= 1);
    assert_int_equal(s.n_jpeg, 0);
}

int main(int argc, char **argv)
{
    gst_init(&argc, &argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_webcams_send_it),  cmocka_unit_test(test_grey_picture),
        cmocka_unit_test(test_torn_and_damaged),    cmocka_unit_test(test_size_that_is_too_large),
        cmocka_unit_test(test_picture_of_a_buffer), cmocka_unit_test(test_file_of_jpeg),
        cmocka_unit_test(test_photograph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
