/* test_server_camera.c: what is told about one camera: frames, pauses, losses and gaps, over fake cameras. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <zmq.h>

static char model[128];
static process daemon_one; /* door: picture and sound; hall: sound; clip: five segments; lost: gone for half a second */

static int start_daemon(void **state)
{
    (void)state;
    char path[160];
    make_fake_model(model, sizeof model, "quick");
    snprintf(path, sizeof path, "--model=%s", model);
    process_start(&daemon_one, OMNID_FAKE,
                  (const char *[]){path, "--camera.door.video=test:", "--camera.hall.audio=test:",
                                   "--camera.clip.video=file:/x", "--camera.blind.video=test:blind", NULL});
    process_wait_segments(&daemon_one, "door", 3);
    process_wait_segments(&daemon_one, "hall", 1);
    process_wait_segments(&daemon_one, "clip", 5);
    return 0;
}

static int stop_daemon(void **state)
{
    (void)state;
    int code = process_stop(&daemon_one, SIGTERM, NULL);
    remove_folder(model);
    return code;
}

/* The level of a grey JPEG, whose header the reply has told; frees it. */
static int grey_of(const json_t *reply, void *jpeg, size_t n)
{
    int width, height, sampling, colours;
    tjhandle tj = tjInitDecompress();
    assert_int_equal(n, number_at(reply, "bytes"));
    assert_int_equal(tjDecompressHeader3(tj, jpeg, n, &width, &height, &sampling, &colours), 0);
    assert_int_equal(width, number_at(reply, "width"));
    assert_int_equal(height, number_at(reply, "height"));
    uint8_t *pixels = malloc((size_t)width * (size_t)height);
    assert_int_equal(tjDecompress2(tj, jpeg, n, pixels, width, 0, height, TJPF_GRAY, 0), 0);
    int level = pixels[width * (height / 2) + width / 2];
    free(pixels);
    free(jpeg);
    tjDestroy(tj);
    return level;
}

/* Asks for a frame; the picture must be that of the segment and index which the reply names. */
static json_t *ask_frame(client *c, const char *ask)
{
    void *jpeg;
    size_t n;
    client_send(c, ask);
    json_t *reply = client_receive_with(c, 10000, &jpeg, &n);
    assert_event(reply, "frame");
    assert_non_null(jpeg);
    int level = 16 + ((int)number_at(reply, "segment") * 4 + (int)number_at(reply, "frame")) * 5 % 224;
    assert_true(abs(grey_of(reply, jpeg, n) - level) <= 3);
    return reply;
}

static void expect_error(client *c, const char *ask, const char *code, const char *words)
{
    json_t *reply = client_ask(c, ask); /* fails when there is a second frame */
    assert_event(reply, "error");
    assert_string_equal(text_at(reply, "code"), code);
    if (!strstr(text_at(reply, "message"), words))
        fail_msg("'%s' is not in '%s'", words, text_at(reply, "message"));
    json_decref(reply);
}

static void frames_come_as_jpeg_of_the_moment_asked_for(void **state)
{
    (void)state;
    client c;
    char ask[160];
    client_open(&c, &daemon_one, ZMQ_DEALER);
    for (int i = 0; i < 4; i++) {
        snprintf(ask, sizeof ask, "{\"op\":\"frame\",\"camera\":\"clip\",\"segment\":2,\"frame\":%d,\"id\":%d}", i, i);
        json_t *reply = ask_frame(&c, ask);
        assert_int_equal(number_at(reply, "id"), i);
        assert_string_equal(text_at(reply, "camera"), "clip");
        assert_int_equal(number_at(reply, "segment"), 2);
        assert_int_equal(number_at(reply, "frame"), i);
        assert_true(number_at(reply, "ago_s") > 0);
        /* and by its own moment */
        snprintf(ask, sizeof ask, "{\"op\":\"frame\",\"camera\":\"clip\",\"t\":\"%s\"}", text_at(reply, "t"));
        json_decref(reply);
        json_decref(ask_frame(&c, ask));
    }
    json_t *newest = ask_frame(&c, "{\"op\":\"frame\",\"camera\":\"clip\"}");
    assert_int_equal(number_at(newest, "segment") * 10 + number_at(newest, "frame"), 43);
    snprintf(ask, sizeof ask, "{\"op\":\"frame\",\"camera\":\"clip\",\"ago_s\":%.3f}",
             number_at(newest, "ago_s") + 0.4);
    json_decref(newest);
    newest = ask_frame(&c, ask); /* the fake's segments overlap, so any of them may be it */
    json_decref(newest);
    json_t *small = ask_frame(&c, "{\"op\":\"frame\",\"camera\":\"clip\",\"max_width\":16}");
    assert_int_equal(number_at(small, "width"), 14);
    json_decref(small);
    client_close(&c);
}

/* A live camera's newest frame is the open segment's. */
static void the_newest_frame_is_that_of_the_open_segment(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    int n_open = 0;
    for (int i = 0; i < 10; i++) {
        json_t *reply = ask_frame(&c, "{\"op\":\"frame\",\"camera\":\"door\"}");
        n_open += number_at(reply, "frame") == 1; /* the fake's open segment has two frames, closed ones four */
        json_decref(reply);
    }
    assert_int_equal(n_open, 10);
    client_close(&c);
}

static void req_gets_both_frames_in_one_reply(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_REQ);
    for (int i = 0; i < 3; i++) /* REQ could not send again were anything left */
        json_decref(ask_frame(&c, "{\"op\":\"frame\",\"camera\":\"door\"}"));
    expect_error(&c, "{\"op\":\"frame\",\"camera\":\"door\",\"segment\":9999999}", "not_there", "there are");
    json_decref(client_ask(&c, "{\"op\":\"status\"}"));
    client_close(&c);
}

static void what_is_not_there_is_told_with_what_is(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    expect_error(&c, "{\"op\":\"frame\",\"camera\":\"clip\",\"segment\":5}", "not_there",
                 "there are 20 from segment 0 (20");
    expect_error(&c, "{\"op\":\"frame\",\"camera\":\"clip\",\"t\":\"2020-01-01T00:00:00Z\"}", "not_there",
                 "to segment 4 (20");
    expect_error(&c, "{\"op\":\"frame\",\"camera\":\"clip\",\"ago_s\":5000}", "not_there", "no frame of that moment");
    expect_error(&c, "{\"op\":\"frame\",\"camera\":\"hall\"}", "unsupported", "camera hall has no picture");
    expect_error(&c, "{\"op\":\"frame\",\"camera\":\"blind\"}", "empty", "camera blind: no frame is kept yet");
    expect_error(&c, "{\"op\":\"frame\"}", "bad_field", "camera: want one of door");
    expect_error(&c, "{\"op\":\"frame\",\"camera\":\"garden\"}", "unknown_camera", "no camera 'garden'");
    client_close(&c);
}

static void frames_leave_with_their_segment_and_by_forget(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    process_wait_segments(&daemon_one, "door", 32); /* the fake's window is full */
    json_t *timeline = client_ask(&c, "{\"op\":\"timeline\",\"camera\":\"door\"}");
    double first = number_at(timeline, "first_segment");
    json_decref(timeline);
    char ask[128];
    snprintf(ask, sizeof ask, "{\"op\":\"frame\",\"camera\":\"door\",\"segment\":%.0f}", first - 1);
    expect_error(&c, ask, "not_there", "there are");
    json_t *status = client_ask(&c, "{\"op\":\"status\",\"camera\":\"door\"}");
    assert_in_range((int)number_at(status, "cameras.0.frames"), 4 * 30, 4 * 40);
    assert_true(number_at(status, "cameras.0.frames_bytes") > 4 * 30 * 100);
    json_decref(status);
    json_t *reply = client_ask(&c, "{\"op\":\"forget\",\"camera\":\"clip\"}");
    assert_event(reply, "forget");
    json_decref(reply);
    expect_error(&c, "{\"op\":\"frame\",\"camera\":\"clip\",\"segment\":2}", "empty", "no frame is kept yet");
    client_close(&c);
}

static void frames_can_be_switched_off(void **state)
{
    (void)state;
    process p;
    client c;
    char path[160];
    snprintf(path, sizeof path, "--model=%s", model);
    process_start(&p, OMNID_FAKE, (const char *[]){path, "--timeline.frames_mib=0", NULL});
    process_wait_segments(&p, NULL, 2);
    client_open(&c, &p, ZMQ_DEALER);
    expect_error(&c, "{\"op\":\"frame\"}", "unsupported", "[timeline] frames_mib is 0");
    json_t *status = client_ask(&c, "{\"op\":\"status\"}");
    assert_int_equal(number_at(status, "cameras.0.frames"), 0);
    json_decref(status);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

/* A client that asks for pictures and does not read them is told so at last, and hinders nobody. */
static void frames_for_a_client_that_does_not_read_are_bounded(void **state)
{
    (void)state;
    process p;
    client slow, quick;
    char path[160];
    snprintf(path, sizeof path, "--model=%s", model);
    process_start(&p, OMNID_FAKE, (const char *[]){path, "--answers.slow_client_kib=4", NULL});
    process_wait_segments(&p, NULL, 1);
    client_open_narrow(&slow, &p);
    client_open(&quick, &p, ZMQ_DEALER);
    enum { N = 3000 };
    for (int i = 0; i < N; i++)
        client_send(&slow, "{\"op\":\"frame\"}");
    json_decref(ask_frame(&quick, "{\"op\":\"frame\"}"));
    int n_frames = 0, n_slow = 0;
    for (int i = 0; i < N && !n_slow; i++) {
        void *jpeg;
        size_t n;
        json_t *reply = client_receive_with(&slow, 20000, &jpeg, &n);
        assert_non_null(reply);
        if (jpeg)
            assert_int_equal(number_at(reply, "bytes"), n); /* a picture never comes without its header, or torn */
        else
            assert_string_equal(text_at(reply, "code"), "slow");
        n_frames += jpeg != NULL;
        n_slow += jpeg == NULL;
        free(jpeg);
        json_decref(reply);
    }
    assert_true(n_frames > 0);
    client_close(&slow);
    json_decref(ask_frame(&quick, "{\"op\":\"frame\"}"));
    client_close(&quick);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

static void open_events(client *sub, const process *p, const char *topic)
{
    char address[128];
    int timeout_ms = 20000;
    sub->context = zmq_ctx_new();
    sub->socket = zmq_socket(sub->context, ZMQ_SUB);
    snprintf(address, sizeof address, "ipc://%s", p->events);
    zmq_setsockopt(sub->socket, ZMQ_SUBSCRIBE, topic, strlen(topic));
    zmq_setsockopt(sub->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    assert_int_equal(zmq_connect(sub->socket, address), 0);
}

/* The next event of the subscription. */
static json_t *next_event(client *sub)
{
    char topic[128], body[4096];
    assert_true(zmq_recv(sub->socket, topic, sizeof topic, 0) > 0);
    int n = zmq_recv(sub->socket, body, sizeof body, 0);
    assert_true(n > 0);
    return json_loadb(body, (size_t)n, 0, NULL);
}

static void wait_event(client *sub, const char *source, const char *wanted)
{
    for (;;) {
        json_t *event = next_event(sub);
        bool same = strcmp(text_at(event, "source"), source) == 0 && strcmp(text_at(event, "state"), wanted) == 0;
        json_decref(event);
        if (same)
            return;
    }
}

static void pause_closes_a_stream_and_resume_opens_it(void **state)
{
    (void)state;
    client c, sub;
    static const char status[] = "{\"op\":\"status\",\"camera\":\"door\"}";
    client_open(&c, &daemon_one, ZMQ_DEALER);
    open_events(&sub, &daemon_one, "source/door");
    json_decref(client_ask(&c, status)); /* time for the subscription to arrive */
    sleep_ms(100);
    json_t *reply = client_ask(&c, "{\"op\":\"pause\",\"camera\":\"door\",\"what\":\"video\",\"id\":8}");
    assert_event(reply, "pause");
    assert_int_equal(number_at(reply, "id"), 8);
    assert_string_equal(text_at(reply, "video"), "paused");
    assert_string_equal(text_at(reply, "audio"), "running");
    json_decref(reply);
    wait_event(&sub, "video", "paused");
    json_decref(client_wait_text(&c, status, "cameras.0.video.state", "paused"));
    json_t *done =
        client_ask_end(&c, "{\"op\":\"ask\",\"camera\":\"door\",\"question\":\"tokens=2\"}"); /* questions go on */
    json_decref(done);
    json_decref(client_ask(&c, "{\"op\":\"pause\",\"camera\":\"door\"}")); /* paused already, and its sound too */
    json_decref(client_wait_text(&c, status, "cameras.0.audio.state", "paused"));
    reply = client_ask(&c, "{\"op\":\"resume\",\"camera\":\"door\"}");
    assert_event(reply, "resume");
    json_decref(reply);
    wait_event(&sub, "video", "running");
    json_t *after = client_wait_text(&c, status, "cameras.0.audio.state", "running");
    assert_string_equal(text_at(after, "cameras.0.video.state"), "running");
    assert_int_equal(number_at(after, "cameras.0.gaps_video"), 0); /* a pause is no gap */
    json_decref(after);
    client_close(&c);
    client_close(&sub);
}

static void what_cannot_be_paused_is_told(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    expect_error(&c, "{\"op\":\"pause\",\"camera\":\"clip\"}", "unsupported", "camera clip: file:/x is a clip");
    expect_error(&c, "{\"op\":\"pause\",\"camera\":\"hall\",\"what\":\"video\"}", "unsupported", "no picture to pause");
    expect_error(&c, "{\"op\":\"resume\",\"what\":\"video\"}", "bad_field", "camera: want one of");
    json_t *reply = client_ask(&c, "{\"op\":\"pause\",\"camera\":\"hall\"}"); /* both: what there is of them */
    assert_true(json_is_null(value_at(reply, "video")));
    assert_string_equal(text_at(reply, "audio"), "paused");
    json_decref(reply);
    json_decref(client_ask(&c, "{\"op\":\"resume\",\"camera\":\"hall\"}"));
    client_close(&c);
}

static void a_lost_source_is_told_and_questions_are_still_answered(void **state)
{
    (void)state;
    process p;
    client c, sub, gaps;
    char path[160], slow[128];
    make_fake_model(slow, sizeof slow, "slow"); /* the subscriptions are there before the camera starts */
    snprintf(path, sizeof path, "--model=%s", slow);
    process_start(&p, OMNID_FAKE, (const char *[]){path, "--camera.yard.video=test:lost", NULL});
    open_events(&sub, &p, "source/yard");
    open_events(&gaps, &p, "gap/yard");
    client_open(&c, &p, ZMQ_DEALER);
    static const char status[] = "{\"op\":\"status\"}";
    json_t *lost = client_wait_text(&c, status, "cameras.0.video.state", "lost");
    assert_string_equal(text_at(lost, "cameras.0.video.message"), "test:lost: the cable is out");
    assert_int_equal(strlen(text_at(lost, "cameras.0.video.lost_since")), strlen("2026-11-21T10:00:00.000Z"));
    json_decref(lost);
    json_t *done = client_ask_end(&c, "{\"op\":\"ask\",\"question\":\"tokens=2\"}");
    assert_true(number_at(done, "last_segment") >= 2);
    json_decref(done);
    json_t *back = client_wait_text(&c, status, "cameras.0.video.state", "running");
    assert_int_equal(number_at(back, "cameras.0.video.restarts"), 1);
    assert_true(json_is_null(value_at(back, "cameras.0.video.lost_since")));
    json_decref(back);
    wait_event(&sub, "video", "lost");
    wait_event(&sub, "audio", "running");
    double n = 0;
    while (n < 25) { /* the fake's gap has so many segments */
        json_t *gap = next_event(&gaps);
        assert_event(gap, "gap");
        n += number_at(gap, "video");
        assert_true(number_at(gap, "gaps_video") == n && number_at(gap, "gaps_audio") == n);
        json_decref(gap);
    }
    assert_true(n == 25);
    client_close(&c);
    client_close(&sub);
    client_close(&gaps);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
    remove_folder(slow);
}

static void a_done_event_tells_the_age_of_the_newest_frame(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    json_t *done = client_ask_end(&c, "{\"op\":\"ask\",\"camera\":\"door\",\"question\":\"tokens=1 delay_ms=300\"}");
    /* The fake's open segment began 2 s before it was copied and has its second frame at 0.5 s: 1.5 s at most when the question
     * was read, whatever time the answer takes. */
    assert_true(number_at(done, "newest_frame_ago_s") >= 0 && number_at(done, "newest_frame_ago_s") <= 1.5);
    json_decref(done);
    done = client_ask_end(&c, "{\"op\":\"ask\",\"camera\":\"hall\",\"question\":\"tokens=1\"}");
    assert_true(json_is_null(value_at(done, "newest_frame_ago_s")));
    json_decref(done);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_as_jpeg_of_the_moment_asked_for),
        cmocka_unit_test(the_newest_frame_is_that_of_the_open_segment),
        cmocka_unit_test(req_gets_both_frames_in_one_reply),
        cmocka_unit_test(what_is_not_there_is_told_with_what_is),
        cmocka_unit_test(frames_can_be_switched_off),
        cmocka_unit_test(frames_for_a_client_that_does_not_read_are_bounded),
        cmocka_unit_test(pause_closes_a_stream_and_resume_opens_it),
        cmocka_unit_test(what_cannot_be_paused_is_told),
        cmocka_unit_test(a_lost_source_is_told_and_questions_are_still_answered),
        cmocka_unit_test(a_done_event_tells_the_age_of_the_newest_frame),
        cmocka_unit_test(frames_leave_with_their_segment_and_by_forget),
    };
    return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
