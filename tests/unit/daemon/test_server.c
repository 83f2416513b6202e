/* test_server.c: every op of the protocol against the daemon with a fake engine. */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

static char model[128];
static process daemon_one; /* camera "default", shared by the tests that leave it as they found it */

static int start_shared(void **state)
{
    (void)state;
    char path[160];
    make_fake_model(model, sizeof model, "quick");
    snprintf(path, sizeof path, "--model=%s", model);
    process_start(&daemon_one, OMNID_FAKE, (const char *[]){path, NULL});
    process_wait_segments(&daemon_one, NULL, 2);
    return 0;
}

static int stop_shared(void **state)
{
    (void)state;
    int code = process_stop(&daemon_one, SIGTERM, NULL);
    remove_folder(model);
    return code;
}

static void ask_streams_tokens_and_ends_with_done(void **state)
{
    (void)state;
    client c;
    char *text = NULL;
    int n_tokens = 0;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    client_send(&c, "{\"op\":\"ask\",\"id\":7,\"question\":\"tokens=40 bytes=2 delay_ms=1\"}");
    json_t *done = client_receive_end(&c, &text, &n_tokens);
    assert_event(done, "done");
    assert_int_equal(number_at(done, "id"), 7);
    assert_int_equal(strlen(text), 80);
    assert_memory_equal(text, "aabbccdd", 8);
    assert_true(n_tokens > 1); /* streamed, though some may have come together */
    assert_string_equal(text_at(done, "camera"), "default");
    assert_string_equal(text_at(done, "mode"), "eager");
    assert_string_equal(text_at(done, "retention_asked"), "30");
    assert_true(number_at(done, "retention") == 0.3);
    assert_true(number_at(done, "timings.ttft_ms") >= 1);
    assert_true(number_at(done, "timings.total_ms") >= 40);
    assert_true(number_at(done, "timings.decode_tokens_s") > 0);
    assert_int_equal(json_array_size(value_at(done, "timings.layers.kv_rows_read.prefill")), 4);
    assert_int_equal(number_at(done, "timings.layers.kv_rows_read.decode.3"), 80);
    assert_int_equal(number_at(done, "timings.layers.n.1"), 80);
    free(text);
    json_decref(done);
    client_close(&c);
}

static void evidence_has_wall_clock_and_age(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    client_send(&c, "{\"op\":\"ask\",\"question\":\"x\",\"stream\":false}");
    json_t *done = client_receive(&c, 10000); /* stream false: the first message is the last */
    assert_event(done, "done");
    assert_null(json_object_get(done, "id"));
    assert_int_equal(json_array_size(value_at(done, "evidence")), 1);
    const char *t0 = text_at(done, "evidence.0.t0"), *t1 = text_at(done, "evidence.0.t1");
    assert_int_equal(strlen(t0), strlen("2026-11-21T10:00:00.000Z"));
    assert_true(strcmp(t0, t1) < 0);
    assert_true(number_at(done, "evidence.0.ago_s") >= 0 && number_at(done, "evidence.0.ago_s") < 10);
    assert_true(number_at(done, "evidence.0.weight") == 1.0);
    assert_true(number_at(done, "evidence.0.audio_share") == 0.25);
    json_decref(done);
    client_close(&c);
}

static void now_decides_whether_the_open_segment_goes_in(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    json_t *with = client_ask_end(&c, "{\"op\":\"ask\",\"question\":\"x\"}");
    json_t *without = client_ask_end(&c, "{\"op\":\"ask\",\"question\":\"x\",\"now\":false}");
    assert_int_equal(number_at(with, "timings.encoder_calls"), 2);
    assert_int_equal(number_at(without, "timings.encoder_calls"), 0);
    json_decref(with);
    json_decref(without);
    client_close(&c);
}

static void choices_come_back_with_probabilities(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    client_send(&c, "{\"op\":\"ask\",\"question\":\"x\",\"choices\":[\"yes\",\"no\",\"maybe\"],"
                    "\"history\":[{\"question\":\"q\",\"answer\":\"a\"}]}");
    json_t *done = client_receive(&c, 10000);
    assert_event(done, "done");
    assert_int_equal(json_array_size(value_at(done, "choices")), 3);
    assert_string_equal(text_at(done, "choices.2.text"), "maybe");
    assert_true(number_at(done, "choices.2.logprob") == -3);
    double sum =
        number_at(done, "choices.0.share") + number_at(done, "choices.1.share") + number_at(done, "choices.2.share");
    assert_true(sum > 0.999999 && sum < 1.000001);
    assert_true(number_at(done, "choices.0.share") > number_at(done, "choices.1.share"));
    assert_int_equal(number_at(done, "best"), 0);
    json_decref(done);
    client_close(&c);
}

/* One message in, one error of that code out, with a sentence. */
static void expect_error(client *c, const char *message, const char *code, const char *in_sentence)
{
    json_t *reply = client_ask(c, message);
    assert_event(reply, "error");
    assert_string_equal(text_at(reply, "code"), code);
    if (!strstr(text_at(reply, "message"), in_sentence))
        fail_msg("'%s' is not in '%s'", in_sentence, text_at(reply, "message"));
    json_decref(reply);
}

static void every_bad_request_gets_its_sentence(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    expect_error(&c, "", "bad_json", "not JSON");
    expect_error(&c, "{\"op\":\"ask\"", "bad_json", "not JSON");
    expect_error(&c, "[1]", "bad_json", "a list");
    expect_error(&c, "{\"op\":\"ask\",\"op\":\"ask\"}", "bad_json", "duplicate");
    expect_error(&c, "{}", "bad_field", "op: want a string");
    expect_error(&c, "{\"op\":\"aks\"}", "unknown_op", "nearest is ask");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"x\",\"max_token\":3}", "unknown_field", "nearest is max_tokens");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"x\",\"mode\":\"lazy\"}", "bad_field", "found 'lazy'");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"x\",\"mode\":\"offline\"}", "bad_field", "mode offline");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"x\",\"retention\":\"most\"}", "bad_field", "found 'most'");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"x\",\"camera\":\"garden\"}", "unknown_camera", "there is default");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"fail\",\"stream\":false}", "no_memory", "layer 3");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"hang\",\"deadline_ms\":50}", "deadline", "deadline");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"endless\"}", "too_long", "40000 tokens");
    expect_error(&c, "{\"op\":\"cancel\"}", "bad_field", "id");
    size_t n = 40000;
    char *longer = malloc(n + 64);
    int used = sprintf(longer, "{\"op\":\"ask\",\"question\":\"");
    memset(longer + used, 'x', n);
    strcpy(longer + used + n, "\"}");
    expect_error(&c, longer, "too_long", "at most 16384 bytes, found 40000");
    free(longer);
    n = 300 * 1024;
    longer = malloc(n + 1);
    memset(longer, ' ', n);
    longer[n] = '\0';
    expect_error(&c, longer, "too_long", "at most 262144 bytes");
    free(longer);
    zmq_send(c.socket, "{\"op\":\"status\"}", 15, ZMQ_SNDMORE);
    expect_error(&c, "more", "bad_json", "more frames");
    client_close(&c);
}

static void status_tells_model_cameras_and_limits(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    json_t *status = client_ask(&c, "{\"op\":\"status\",\"id\":\"s\"}");
    assert_string_equal(text_at(status, "id"), "s");
    assert_int_equal(number_at(status, "version"), 1);
    assert_string_equal(text_at(status, "state"), "ready");
    assert_string_equal(text_at(status, "model.name"), "fake");
    assert_true(json_is_false(value_at(status, "model.demo")));
    assert_int_equal(json_array_size(value_at(status, "cameras")), 1);
    assert_true(json_is_true(value_at(status, "cameras.0.demo")));
    assert_string_equal(text_at(status, "cameras.0.video.state"), "running");
    assert_string_equal(text_at(status, "cameras.0.video.uri"), "test:");
    assert_true(number_at(status, "cameras.0.segments") >= 2);
    assert_int_equal(number_at(status, "limits.open_client"), 4);
    json_decref(status);
    json_t *sources = client_ask(&c, "{\"op\":\"sources\"}");
    assert_event(sources, "sources");
    assert_string_equal(text_at(sources, "schemes.0.scheme"), "test");
    assert_string_equal(text_at(sources, "cameras.0.camera"), "default");
    json_decref(sources);
    client_close(&c);
}

static void forget_wipes_the_timeline_and_ends_its_answers(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    client_send(&c, "{\"op\":\"ask\",\"id\":1,\"question\":\"hang\"}");
    json_t *timeline = client_ask(&c, "{\"op\":\"timeline\"}");
    double newest = number_at(timeline, "next_segment") - 1;
    assert_true(json_array_size(value_at(timeline, "segments")) >= 2);
    json_decref(timeline);
    client_send(&c, "{\"op\":\"forget\",\"id\":2}");
    bool forgotten = false, cancelled = false;
    for (int i = 0; i < 2; i++) {
        json_t *event = client_receive(&c, 10000);
        forgotten |= strcmp(text_at(event, "event"), "forget") == 0;
        cancelled |= strcmp(text_at(event, "event"), "error") == 0 && strcmp(text_at(event, "code"), "cancelled") == 0;
        json_decref(event);
    }
    assert_true(forgotten && cancelled);
    timeline = client_ask(&c, "{\"op\":\"timeline\"}");
    if (json_array_size(value_at(timeline, "segments")) > 0)
        assert_true(number_at(timeline, "segments.0.segment") > newest - 1);
    json_decref(timeline);
    client_close(&c);
    process_wait_segments(&daemon_one, NULL, 2);
}

static void three_cameras_need_a_name_and_do_not_mix(void **state)
{
    (void)state;
    process p;
    client c;
    char path[160];
    snprintf(path, sizeof path, "--model=%s", model);
    process_start(&p, OMNID_FAKE,
                  (const char *[]){path, "--camera.door.video=test:", "--camera.yard.video=file:/x",
                                   "--camera.hall.audio=test:", "--camera.yard.retention=20", NULL});
    process_wait_segments(&p, "door", 2);
    process_wait_segments(&p, "yard", 5);
    client_open(&c, &p, ZMQ_DEALER);
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"x\"}", "bad_field", "door, yard, hall");
    expect_error(&c, "{\"op\":\"timeline\"}", "bad_field", "camera");
    static const char *const names[] = {"door", "yard", "hall"};
    for (int i = 0; i < 3; i++) {
        char ask[128];
        snprintf(ask, sizeof ask, "{\"op\":\"ask\",\"id\":%d,\"question\":\"tokens=20 delay_ms=1\",\"camera\":\"%s\"}",
                 i, names[i]);
        client_send(&c, ask);
    }
    bool seen[3] = {false};
    for (int n = 0; n < 3;) {
        json_t *event = client_receive(&c, 10000);
        assert_non_null(event);
        if (strcmp(text_at(event, "event"), "done") == 0) {
            int id = (int)number_at(event, "id");
            assert_string_equal(text_at(event, "camera"), names[id]);
            assert_string_equal(text_at(event, "retention_asked"), id == 1 ? "20" : "30");
            if (id == 1) /* the file ended after five segments and still answers */
                assert_int_equal(number_at(event, "last_segment"), 4);
            seen[id] = true;
            n++;
        }
        json_decref(event);
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    json_t *status = client_ask(&c, "{\"op\":\"status\",\"camera\":\"yard\"}");
    assert_int_equal(json_array_size(value_at(status, "cameras")), 1);
    assert_string_equal(text_at(status, "cameras.0.video.state"), "ended");
    json_decref(status);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

static void before_the_first_segment_there_is_a_sentence(void **state)
{
    (void)state;
    process p;
    client c;
    char path[160];
    snprintf(path, sizeof path, "--model=%s", model);
    process_start(&p, OMNID_FAKE,
                  (const char *[]){path, "--camera.a.video=test:quiet", "--camera.b.video=test:later", NULL});
    process_wait_ready(&p);
    client_open(&c, &p, ZMQ_DEALER);
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"x\",\"camera\":\"a\"}", "empty", "camera a: no segment");
    expect_error(&c, "{\"op\":\"ask\",\"question\":\"x\",\"camera\":\"b\",\"now\":false}", "empty", "camera b");
    json_t *done = client_ask_end(
        &c, "{\"op\":\"ask\",\"question\":\"x\",\"camera\":\"b\"}"); /* the open segment is something to see */
    assert_int_equal(number_at(done, "first_segment"), -1);
    json_decref(done);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

/* Every event from here on. */
static void subscribe(client *sub, const process *p)
{
    char address[256];
    const int timeout_ms = 20000;
    sub->context = zmq_ctx_new();
    sub->socket = zmq_socket(sub->context, ZMQ_SUB);
    snprintf(address, sizeof address, "ipc://%s", p->events);
    zmq_setsockopt(sub->socket, ZMQ_SUBSCRIBE, "", 0);
    zmq_setsockopt(sub->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    assert_int_equal(zmq_connect(sub->socket, address), 0);
}

/* The next event and its topic, which begins with its name. */
static json_t *take_event(client *sub, char *topic, size_t n_topic)
{
    char body[8192];
    int n = zmq_recv(sub->socket, topic, n_topic - 1, 0);
    assert_true(n > 0);
    topic[n] = '\0';
    n = zmq_recv(sub->socket, body, sizeof body, 0);
    assert_true(n > 0);
    json_t *event = json_loadb(body, (size_t)n, 0, NULL);
    assert_non_null(event);
    const char *name = text_at(event, "event");
    assert_true(strncmp(topic, name, strlen(name)) == 0 && topic[strlen(name)] == '/');
    return event;
}

/* Reads events for a while; counts those whose topic begins so. */
static void events_are_published(void **state)
{
    (void)state;
    process p;
    client c, sub;
    char path[160];
    int n_segment = 0, n_answer = 0, n_source = 0, n_ready = 0;
    make_fake_model(path, sizeof path, "slow");
    char option[192];
    snprintf(option, sizeof option, "--model=%s", path);
    process_start(&p, OMNID_FAKE, (const char *[]){option, "--answers.publish_text=true", NULL});
    subscribe(&sub, &p);
    process_wait_segments(&p, NULL, 1);
    client_open(&c, &p, ZMQ_REQ);
    json_decref(client_ask(&c, "{\"op\":\"ask\",\"question\":\"what now\"}"));
    while (!n_segment || !n_answer || !n_source || !n_ready) {
        char topic[128];
        json_t *event = take_event(&sub, topic, sizeof topic);
        const char *name = text_at(event, "event");
        if (strcmp(name, "segment") == 0) {
            assert_string_equal(topic, "segment/default");
            n_segment += number_at(event, "video_tokens") == 4;
        }
        n_source += strcmp(name, "source") == 0 && strcmp(text_at(event, "state"), "running") == 0;
        n_ready += strcmp(name, "health") == 0 && strcmp(text_at(event, "state"), "ready") == 0;
        if (strcmp(name, "answer") == 0) {
            assert_string_equal(text_at(event, "question"), "what now");
            assert_true(number_at(event, "ttft_ms") >= 0);
            n_answer++;
        }
        json_decref(event);
    }
    client_close(&c);
    client_close(&sub);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
    remove_folder(path);
}

/* Segments come five times as fast as the engine takes them: the oldest waiting ones are skipped, counted and told. */
static void an_engine_behind_skips_the_oldest_and_tells(void **state)
{
    (void)state;
    process p;
    client c;
    char path[128], option[160];
    make_fake_model(path, sizeof path, "behind");
    snprintf(option, sizeof option, "--model=%s", path);
    process_start(&p, OMNID_FAKE, (const char *[]){option, NULL});
    process_wait_segments(&p, NULL, 8);
    client_open(&c, &p, ZMQ_DEALER);
    json_t *status = client_ask(&c, "{\"op\":\"status\"}");
    for (int i = 0; i < 600 && number_at(status, "cameras.0.skipped") < 8; i++) {
        json_decref(status);
        sleep_ms(50);
        status = client_ask(&c, "{\"op\":\"status\"}");
    }
    double n_closed = number_at(status, "cameras.0.segments"), n_skipped = number_at(status, "cameras.0.skipped");
    assert_true(n_skipped >= 8);
    assert_true(number_at(status, "cameras.0.waiting") <= 4); /* [timeline] max_queued */
    json_t *timeline = client_ask(&c, "{\"op\":\"timeline\"}");
    size_t n = json_array_size(value_at(timeline, "segments"));
    double last = -1;
    for (size_t i = 0; i < n; i++) {
        double number = number_at(json_array_get(value_at(timeline, "segments"), i), "segment");
        assert_true(number > last);
        last = number;
    }
    assert_true(n_closed - last < 30); /* what it sees is recent: nothing piles up */
    assert_true(n + n_skipped <= n_closed + 30);
    char *log = process_log(&p);
    assert_non_null(strstr(log, "skipped: the engine is behind"));
    assert_non_null(strstr(log, "taken in with one grid, step 3 of 3"));
    free(log);
    json_decref(status);
    json_decref(timeline);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
    remove_folder(path);
}

/* Frames that are too much for the engine are taken in more cheaply, step by step, before any more is skipped. */
static void an_engine_behind_takes_segments_more_cheaply(void **state)
{
    (void)state;
    process p;
    client c, sub;
    char path[128], option[160];
    make_fake_model(path, sizeof path, "slow-burdened"); /* so that the first step is not missed */
    snprintf(option, sizeof option, "--model=%s", path);
    process_start(&p, OMNID_FAKE, (const char *[]){option, NULL});
    subscribe(&sub, &p);
    process_wait_segments(&p, NULL, 1);
    static const char *const names[] = {"", "fewer tokens", "smaller frames", "one grid"};
    for (int next = 1; next <= 3;) {
        char topic[128];
        json_t *event = take_event(&sub, topic, sizeof topic);
        if (strcmp(text_at(event, "event"), "health") == 0 && strcmp(text_at(event, "state"), "load") == 0 &&
            number_at(event, "step") == next) {
            assert_string_equal(text_at(event, "load"), names[next]);
            assert_non_null(strstr(text_at(event, "message"), "the engine is behind: segments from "));
            next++;
        }
        json_decref(event);
    }
    client_open(&c, &p, ZMQ_DEALER);
    bool cheap = false;
    for (int i = 0; i < 600 && !cheap; i++) {
        json_t *timeline = client_ask(&c, "{\"op\":\"timeline\"}");
        const json_t *segments = value_at(timeline, "segments");
        for (size_t k = 0; k < json_array_size(segments); k++) {
            const json_t *one = json_array_get(segments, k);
            if (number_at(one, "grids") == 2)
                continue;
            assert_true(number_at(one, "rho_v") == 0.9);
            assert_true(number_at(one, "width") == 112);
            cheap = true;
        }
        json_decref(timeline);
        sleep_ms(20);
    }
    assert_true(cheap);
    client_close(&c);
    client_close(&sub);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
    remove_folder(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ask_streams_tokens_and_ends_with_done),
        cmocka_unit_test(evidence_has_wall_clock_and_age),
        cmocka_unit_test(now_decides_whether_the_open_segment_goes_in),
        cmocka_unit_test(choices_come_back_with_probabilities),
        cmocka_unit_test(every_bad_request_gets_its_sentence),
        cmocka_unit_test(status_tells_model_cameras_and_limits),
        cmocka_unit_test(forget_wipes_the_timeline_and_ends_its_answers),
        cmocka_unit_test(three_cameras_need_a_name_and_do_not_mix),
        cmocka_unit_test(before_the_first_segment_there_is_a_sentence),
        cmocka_unit_test(events_are_published),
        cmocka_unit_test(an_engine_behind_skips_the_oldest_and_tells),
        cmocka_unit_test(an_engine_behind_takes_segments_more_cheaply),
    };
    return cmocka_run_group_tests(tests, start_shared, stop_shared);
}
