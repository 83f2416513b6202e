/* Users and passwords, and what else looks like them, in sentences and pipelines. */
#include "capture/capture.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static const char *const pairs[][2] = {
    {"rtsp://me:secret@10.0.0.7/x", "rtsp://***@10.0.0.7/x"},
    {"rtsp://me@cam/x", "rtsp://***@cam/x"},
    {"rtsp://me:@cam:554/x", "rtsp://***@cam:554/x"},
    {"rtsp://me:a@b@cam/x@y", "rtsp://***@cam/x@y"},
    {"rtsp://me:a%2Fb%40@cam/x", "rtsp://***@cam/x"},
    {"rtsp://me:a/b@cam/x", "rtsp://***@cam/x"}, /* not encoded, as people write it */
    {"rtsp://me:a?b#c@cam", "rtsp://***@cam"},
    {"rtsp://cam/x@y", "rtsp://cam/x@y"},
    {"rtsp://cam:8554/x@y", "rtsp://cam:8554/x@y"},
    {"rtsp://[fe80::1]:554/x@y", "rtsp://[fe80::1]:554/x@y"},
    {"rtsp://me:s@[fe80::1]:554/x", "rtsp://***@[fe80::1]:554/x"},
    {"file:/srv/a@b/c.mp4", "file:/srv/a@b/c.mp4"},
    {"test:", "test:"},
    {"", ""},
    {"://", "://"},
    {"rtsp://@cam", "rtsp://@cam"},
    {"no answer from rtsp://u:p@a/1, nor from 'rtsps://v:q@b/2'",
     "no answer from rtsp://***@a/1, nor from 'rtsps://***@b/2'"},
    {"pipeline:rtspsrc location=rtsp://u:p@c/x ! fakesink", "pipeline:rtspsrc location=rtsp://***@c/x ! fakesink"},
    {"rtsp://me:a'b\"c<d>@cam/x", "rtsp://***@cam/x"},
    {"'rtsp://me:a'b@cam/x' does not answer", "'rtsp://***@cam/x' does not answer"},
    {"rtspsrc user-id=me user-pw=se!c,r&e't ! queue", "rtspsrc user-id=*** user-pw=*** ! queue"},
    {"rtspsrc user-pw=two\\ words\\\\ latency=1", "rtspsrc user-pw=*** latency=1"},
    {"http://cam/x?user=a;password=b!c,d&n=1", "http://cam/x?user=***;password=***&n=1"},
    {"rtspsrc user-pw = \"a \\\" b\" latency=1", "rtspsrc user-pw = *** latency=1"},
    {"srtsrc passphrase='a b' ! x", "srtsrc passphrase=*** ! x"},
    {"rtsp://cam/user=admin&password=x1&channel=2", "rtsp://cam/user=***&password=***&channel=2"},
    {"rtsp://cam/live?PWD=x", "rtsp://cam/live?PWD=***"},
    {"want rtsp://[USER:PASSWORD@]HOST/PATH", "want rtsp://[USER:PASSWORD@]HOST/PATH"},
    {"superuser=1 user =", "superuser=1 user ="},
    {"a user and a password: write USER", "a user and a password: write USER"},
};

static void test_hidden(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char text[160];
        snprintf(text, sizeof text, "%s", pairs[i][0]);
        omnid_capture_hide_password(text, sizeof text);
        assert_string_equal(text, pairs[i][1]);
        omnid_capture_hide_password(text, sizeof text); /* twice is once */
        assert_string_equal(text, pairs[i][1]);
    }
}

/* The stars may be longer than what they hide. */
static void test_room(void **state)
{
    (void)state;
    for (size_t size = 1; size < 24; size++) {
        char text[32];
        memset(text, '#', sizeof text);
        snprintf(text, size, "%s", "rtsp://u@c/user=a");
        omnid_capture_hide_password(text, size);
        assert_true(strlen(text) < size);
        assert_int_equal(text[size], '#');
        assert_null(strstr(text, "u@c"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
