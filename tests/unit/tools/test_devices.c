/* What omnid-devices prints, of devices that are made up here; and the real list of this machine, whatever it holds. */
#include "tools/devices/report.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static const capture_device devices[] = {
    {.video = true,
     .uri = "v4l2:/dev/v4l/by-id/usb-C920-video-index0",
     .path = "/dev/video0",
     .name = "HD Pro Webcam C920",
     .bus = "usb-0000:00:14.0-1",
     .serial = "8B6C0B2F",
     .usable = true,
     .choice = "YUYV 640x360 at 10/s",
     .why = "640x360 reaches the 336x336 that the model sees."},
    {.video = true, .uri = "v4l2:/dev/video1", .path = "/dev/video1", .name = "HD Pro", .why = "carries metadata"},
    {.uri = "mic:default",
     .path = "ALSA 10",
     .name = "default",
     .usable = true,
     .choice = "48000 Hz, 2 channels",
     .why = "goes through the sound server"},
};
enum { N = sizeof devices / sizeof *devices };

static char *text_of(const capture_device *d, int n, bool all)
{
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    report_text(to, d, n, all);
    fclose(to);
    return text;
}

static json_t *json_of(const capture_device *d, int n, bool all)
{
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    assert_true(report_json(to, d, n, all));
    fclose(to);
    json_error_t error;
    json_t *root = json_loads(text, 0, &error);
    if (!root)
        fail_msg("%s: %s", error.text, text);
    free(text);
    return root;
}

static void check_says(const char *text, const char *part, bool says)
{
    if (!strstr(text, part) == says)
        fail_msg("'%s' %s in:\n%s", part, says ? "is not" : "is", text);
}

static void test_text(void **state)
{
    (void)state;
    char *text = text_of(devices, N, false);
    check_says(
        text,
        "Cameras\n  v4l2:/dev/v4l/by-id/usb-C920-video-index0\n      HD Pro Webcam C920 (/dev/video0): YUYV 640x360 "
        "at 10/s\n      640x360 reaches",
        true);
    check_says(text, "Microphones\n  mic:default\n      default (ALSA 10): 48000 Hz, 2 channels\n", true);
    check_says(text, "/dev/video1", false); /* only with --all */
    check_says(text, "no camera", false);
    free(text);
    text = text_of(devices, N, true);
    check_says(text, "  /dev/video1\n      HD Pro\n      carries metadata\n", true);
    free(text);
}

/* With nothing usable the reasons are shown unasked. */
static void test_text_without_usable(void **state)
{
    (void)state;
    char *text = text_of(devices + 1, 1, false);
    check_says(text, "carries metadata\n  no camera can be used; each line above says why\n", true);
    check_says(text, "Microphones\n  no microphone", true);
    free(text);
    text = text_of(NULL, 0, false);
    check_says(text, "Cameras\n  no camera", true);
    check_says(text, "can be used", false);
    free(text);
}

static void test_json(void **state)
{
    (void)state;
    json_t *root = json_of(devices, N, false);
    const json_t *cameras = json_object_get(root, "cameras"), *microphones = json_object_get(root, "microphones");
    assert_int_equal(json_array_size(cameras), 1);
    assert_int_equal(json_array_size(microphones), 1);
    const json_t *first = json_array_get(cameras, 0);
    assert_string_equal(json_string_value(json_object_get(first, "uri")), devices[0].uri);
    assert_string_equal(json_string_value(json_object_get(first, "serial")), "8B6C0B2F");
    assert_string_equal(json_string_value(json_object_get(first, "choice")), devices[0].choice);
    assert_true(json_is_true(json_object_get(first, "usable")));
    json_decref(root);
    root = json_of(devices, N, true);
    cameras = json_object_get(root, "cameras");
    assert_int_equal(json_array_size(cameras), 2);
    assert_true(json_is_false(json_object_get(json_array_get(cameras, 1), "usable")));
    json_decref(root);
    root = json_of(NULL, 0, true);
    assert_int_equal(json_array_size(json_object_get(root, "cameras")), 0);
    json_decref(root);
}

/* A driver may call itself anything. */
static void test_name_that_is_no_utf8(void **state)
{
    (void)state;
    capture_device odd = devices[0];
    strcpy(odd.name, "Cam\xe9ra \"\x01\"");
    json_t *root = json_of(&odd, 1, false);
    const json_t *first = json_array_get(json_object_get(root, "cameras"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "Cam?ra \"\x01\"");
    json_decref(root);
}

/* Every entry is complete: a URI and a choice where it can be used, a reason in any case. */
static void test_devices_of_this_machine(void **state)
{
    (void)state;
    capture_device *all;
    int n;
    omnid_error err;
    if (omnid_devices_list(&all, &n, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    assert_true(n ? all != NULL : all == NULL);
    for (int i = 0; i < n; i++) {
        assert_true(*all[i].name && *all[i].why);
        assert_true(!i || all[i - 1].video || !all[i].video); /* cameras first */
        assert_true(!all[i].usable || (*all[i].uri && *all[i].choice));
        assert_true(all[i].usable || !*all[i].choice);
    }
    json_decref(json_of(all, n, true));
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_without_usable),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_name_that_is_no_utf8),
        cmocka_unit_test(test_devices_of_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
