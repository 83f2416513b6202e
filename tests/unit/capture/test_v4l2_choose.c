/* The choice of a camera's mode, on recorded lists of cameras: what is taken first, why, what comes after a refusal, and the
 * sentences for cameras that cannot be used. */
#include "capture/v4l2_choose.h"
#include "v4l2_fixture.h"

#include <errno.h>
#include <gst/gst.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static const struct {
    const char *name;
    const char *first; /* the first choice; NULL = refused */
    const char *why;   /* a part of the reason, or of the refusal */
} cameras[] = {
    {"c920", "YUYV 640x360 at 10/s", "raw, 4.6 MB/s of the bus; 10/s is fresh."},
    {"mjpeg-only", "MJPG 640x480 at 25/s", "decoded only where a frame is chosen"},
    {"h264-only", "H264 640x480 at 15/s", "every frame has to be decoded"},
    {"yuyv-30-and-5", "YUYV 640x480 at 5/s", "5/s suffices"},
    {"stepwise", "NM12 640x480", "the driver tells no rate"},
    {"smallest-160x120", "YUYV 160x120 at 15/s", "160x120 is less than the 336x336 that the model sees"},
    {"one-fps", "YUYV 1280x1024 at 2/s", "2/s suffices"},
    {"one-fps-only", "YUYV 640x480 at 1/s", "at 1/s some instants have no picture"},
    {"4k-only", "MJPG 3840x2160 at 30/s", "3840x2160 reaches"},
    {"nv12-only", "NV12 640x480 at 30/s", "13.8 MB/s of the bus, which is much"},
    {"laptop", "MJPG 640x360 at 30/s", "about 1.0 MB/s of the bus"},
    {"laptop-ir", "GREY 640x360 at 15/s", "grey, 3.5 MB/s"},
    {"grey-and-small-colour", "YUYV 320x200 at 15/s", "is less than"},
    {"capture-card-continuous", "UYVY 640x360 at 10/s", "10/s is fresh"},
    {"multiplanar", "NM12 640x480 at 15/s", "6.9 MB/s"},
    {"no-rates", "JPEG 640x480", "the driver tells no rate"},
    {"vivid", "NV12 640x360 at 10/s", "3.5 MB/s"},
    {"metadata-node", NULL, "carries a camera's metadata, no pictures"},
    {"converter", NULL, "memory to memory"},
    {"bayer-only", NULL, "only what its sensor sees (Bayer: pRAA, RG10)"},
    {"depth-only", NULL, "gives only formats that omnid cannot use: Z16"},
    {"empty-input", NULL, "offers no format; is something plugged into its input?"},
};
enum { N_CAMERAS = sizeof cameras / sizeof *cameras };

static void check_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' does not say '%s'", text, part);
}

static v4l2_choice *choose(const char *name, v4l2_want want, int *n)
{
    v4l2_camera c = fixture_read(name);
    v4l2_choice *choices;
    omnid_error err;
    if (v4l2_choose(&choices, n, &c, &want, &err) != OMNID_OK)
        fail_msg("%s: %s", name, err.text);
    v4l2_list_clear(&c);
    return choices;
}

static void check_refused(const char *name, v4l2_want want, omnid_status status, const char *why)
{
    v4l2_camera c = fixture_read(name);
    v4l2_choice *choices;
    omnid_error err;
    int n;
    assert_int_equal(v4l2_choose(&choices, &n, &c, &want, &err), status);
    assert_null(choices);
    assert_int_equal(n, 0);
    check_contains(err.text, why);
    check_contains(err.text, c.name);
    v4l2_list_clear(&c);
}

static void test_recorded_lists(void **state)
{
    (void)state;
    for (int i = 0; i < N_CAMERAS; i++) {
        if (!cameras[i].first) {
            check_refused(cameras[i].name, (v4l2_want){0}, OMNID_UNSUPPORTED, cameras[i].why);
            continue;
        }
        int n;
        v4l2_choice *choices = choose(cameras[i].name, (v4l2_want){0}, &n);
        if (strcmp(choices[0].text, cameras[i].first) != 0)
            fail_msg("%s: %s is chosen, want %s", cameras[i].name, choices[0].text, cameras[i].first);
        check_contains(choices[0].why, cameras[i].why);
        free(choices);
    }
}

/* Whatever order the driver lists its modes in, the choice is the same. */
static void test_order_of_the_list_does_not_matter(void **state)
{
    (void)state;
    for (int i = 0; i < N_CAMERAS; i++) {
        v4l2_camera c = fixture_read(cameras[i].name);
        for (int a = 0, b = c.n_modes - 1; a < b; a++, b--) {
            v4l2_mode m = c.modes[a];
            c.modes[a] = c.modes[b];
            c.modes[b] = m;
        }
        const v4l2_want want = {0};
        v4l2_choice *choices;
        int n;
        if (v4l2_choose(&choices, &n, &c, &want, NULL) == OMNID_OK)
            assert_string_equal(choices[0].text, cameras[i].first);
        else
            assert_null(cameras[i].first);
        free(choices);
        v4l2_list_clear(&c);
    }
}

static bool offers(const v4l2_camera *c, const v4l2_choice *k)
{
    for (int i = 0; i < c->n_modes; i++) {
        const v4l2_mode *m = &c->modes[i];
        bool rate = !k->rate.n ? m->n_rates == 0 : m->rate_range;
        for (int j = 0; j < m->n_rates; j++)
            rate = rate || (m->rates[j].n == k->rate.n && m->rates[j].d == k->rate.d);
        bool size = m->step_width ? k->width >= m->width && k->width <= m->max_width && k->height >= m->height &&
                                        k->height <= m->max_height && (k->width - m->width) % m->step_width == 0 &&
                                        (k->height - m->height) % m->step_height == 0
                                  : k->width == m->width && k->height == m->height;
        if (m->fourcc == k->fourcc && !m->emulated && size && rate)
            return true;
    }
    return false;
}

/* Every candidate is something that the camera offers, none comes twice, and GStreamer understands each. */
static void test_candidates_are_what_the_camera_offers(void **state)
{
    (void)state;
    for (int i = 0; i < N_CAMERAS; i++) {
        if (!cameras[i].first)
            continue;
        v4l2_camera c = fixture_read(cameras[i].name);
        int n;
        v4l2_choice *choices = choose(cameras[i].name, (v4l2_want){0}, &n);
        assert_in_range(n, 1, V4L2_MAX_CHOICES);
        for (int a = 0; a < n; a++) {
            if (!offers(&c, &choices[a]))
                fail_msg("%s: %s is not offered", cameras[i].name, choices[a].text);
            for (int b = 0; b < a; b++)
                assert_string_not_equal(choices[a].text, choices[b].text);
            GstCaps *caps = gst_caps_from_string(choices[a].caps);
            assert_non_null(caps);
            assert_true(gst_caps_is_fixed(caps));
            gst_caps_unref(caps);
        }
        free(choices);
        v4l2_list_clear(&c);
    }
}

#define FOURCC(text)                                                                                                   \
    ((uint32_t)(text)[0] | (uint32_t)(text)[1] << 8 | (uint32_t)(text)[2] << 16 | (uint32_t)(text)[3] << 24)

static void test_what_the_user_asks_for(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        v4l2_want want;
        const char *first, *format;
    } cases[] = {
        {"c920", {1280, 720, 0, 0}, "MJPG 1280x720 at 10/s", ""}, /* raw would be 9.2 MB/s even at 5/s */
        {"c920", {1280, 720, 30, 0}, "MJPG 1280x720 at 30/s", ""},
        {"c920", {0, 0, 30, 0}, "MJPG 640x360 at 30/s", ""},
        {"c920", {0, 0, 0, 0}, "H264 640x480 at 10/s", "H264"},
        {"c920", {0, 0, 12, 0}, "MJPG 640x360 at 15/s", "MJPG"}, /* the slowest that is not slower */
        {"c920", {0, 0, 90, 0}, "MJPG 640x360 at 30/s", "MJPG"}, /* the fastest there is */
        {"c920", {160, 120, 0, 0}, "YUYV 160x120 at 10/s", ""},
        {"capture-card-continuous", {1920, 1080, 2.5, 0}, "UYVY 1920x1080 at 2.5/s", ""},
        {"stepwise", {1280, 720, 0, 0}, "NM12 1280x720", ""},
        {"one-fps-only", {0, 0, 1, 0}, "YUYV 640x480 at 1/s", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        v4l2_want want = cases[i].want;
        want.fourcc = *cases[i].format ? FOURCC(cases[i].format) : 0;
        int n;
        v4l2_choice *choices = choose(cases[i].name, want, &n);
        if (strcmp(choices[0].text, cases[i].first) != 0)
            fail_msg("case %zu: %s is chosen, want %s", i, choices[0].text, cases[i].first);
        free(choices);
    }
}

static void test_what_the_user_cannot_have(void **state)
{
    (void)state;
    check_refused("mjpeg-only", (v4l2_want){641, 480, 0, 0}, OMNID_ARGUMENT,
                  "has no size 641x480; it has 1920x1080, 1280x720, 640x480, 320x240");
    check_refused("stepwise", (v4l2_want){1281, 720, 0, 0}, OMNID_ARGUMENT, "it has 32x16 to 4416x3312");
    check_refused("mjpeg-only", (v4l2_want){0, 0, 0, FOURCC("YUYV")}, OMNID_ARGUMENT,
                  "has no format YUYV; it gives MJPG");
    check_refused("c920", (v4l2_want){160, 120, 0, FOURCC("MJPG")}, OMNID_ARGUMENT,
                  "has no size 160x120; it has 640x480");
    check_refused("no-rates", (v4l2_want){0, 0, 0, FOURCC("BA81")}, OMNID_ARGUMENT, "omnid cannot use format BA81");
    check_refused("no-rates", (v4l2_want){0, 0, 0, FOURCC("YU12")}, OMNID_ARGUMENT,
                  "has no format YU12"); /* emulated */
}

/* A full bus: only what takes less of it is tried; any other refusal: the next in the order. */
static void test_after_a_refusal(void **state)
{
    (void)state;
    int n;
    v4l2_choice *choices = choose("c920", (v4l2_want){0}, &n);
    assert_int_equal(v4l2_choose_next(choices, n, 0, EINVAL), 1);
    assert_int_equal(v4l2_choose_next(choices, n, n - 1, 0), n);
    int i = 0, n_tries = 0;
    for (double mb = choices[0].bus_mb; (i = v4l2_choose_next(choices, n, i, ENOSPC)) < n; n_tries++) {
        assert_true(choices[i].bus_mb < mb * 0.9);
        mb = choices[i].bus_mb;
    }
    assert_true(n_tries >= 2);
    i = v4l2_choose_next(choices, n, 0, ENOSPC);
    assert_int_equal(choices[i].kind, V4L2_JPEG); /* as large and as fresh, and a tenth of the bytes */
    free(choices);
}

int main(int argc, char **argv)
{
    gst_init(&argc, &argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_lists),
        cmocka_unit_test(test_order_of_the_list_does_not_matter),
        cmocka_unit_test(test_candidates_are_what_the_camera_offers),
        cmocka_unit_test(test_what_the_user_asks_for),
        cmocka_unit_test(test_what_the_user_cannot_have),
        cmocka_unit_test(test_after_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
