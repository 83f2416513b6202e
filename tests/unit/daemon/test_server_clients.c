/* test_server_clients.c: clients that ask twice, too much, once only, that do not read, or vanish. */
#include "harness.h"

#include "base/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

static char model[128];
static process daemon_one;

static int start_daemon(void **state)
{
    (void)state;
    char path[160];
    make_fake_model(model, sizeof model, "quick");
    snprintf(path, sizeof path, "--model=%s", model);
    process_start(&daemon_one, OMNID_FAKE,
                  (const char *[]){path, "--answers.max_open=6", "--answers.slow_client_kib=256", NULL});
    process_wait_segments(&daemon_one, NULL, 1);
    return 0;
}

static int stop_daemon(void **state)
{
    (void)state;
    int code = process_stop(&daemon_one, SIGTERM, NULL);
    remove_folder(model);
    return code;
}

/* Answers the engine has open, as another client sees it. */
static int open_answers(void)
{
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER);
    json_t *status = client_ask(&c, "{\"op\":\"status\"}");
    int n = (int)number_at(status, "engine.open_answers");
    json_decref(status);
    client_close(&c);
    return n;
}

static void wait_open_answers(int wanted)
{
    for (int i = 0; i < 200; i++) {
        if (open_answers() == wanted)
            return;
        sleep_ms(10);
    }
    fail_msg("the engine never came to %d open answers", wanted);
}

static void req_gets_exactly_one_reply(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_REQ);
    json_t *done = client_ask(&c, "{\"op\":\"ask\",\"question\":\"tokens=9\",\"stream\":true}");
    assert_event(done, "done");
    json_decref(done);
    json_t *error = client_ask(&c, "{\"op\":\"nothing\"}"); /* REQ could not send were a reply missing */
    assert_string_equal(text_at(error, "code"), "unknown_op");
    json_decref(error);
    json_t *status = client_ask(&c, "{\"op\":\"status\"}");
    assert_event(status, "status");
    json_decref(status);
    assert_null(client_receive(&c, 100)); /* and nothing more comes */
    client_close(&c);
}

static void ids_are_the_connections_own(void **state)
{
    (void)state;
    client a, b;
    client_open(&a, &daemon_one, ZMQ_DEALER);
    client_open(&b, &daemon_one, ZMQ_DEALER);
    client_send(&a, "{\"op\":\"ask\",\"id\":\"x\",\"question\":\"hang\"}");
    json_t *error = client_ask(&a, "{\"op\":\"ask\",\"id\":\"x\",\"question\":\"again\"}");
    assert_string_equal(text_at(error, "code"), "duplicate_id");
    json_decref(error);
    json_t *found = client_ask(&b, "{\"op\":\"cancel\",\"id\":\"x\"}"); /* another's id cannot be cancelled */
    assert_true(json_is_false(value_at(found, "found")));
    json_decref(found);
    json_t *done =
        client_ask_end(&b, "{\"op\":\"ask\",\"id\":\"x\",\"question\":\"hello there\"}"); /* but may be used */
    json_decref(done);
    found = client_ask(&a, "{\"op\":\"cancel\",\"id\":\"x\"}");
    assert_event(found, "cancel");
    assert_true(json_is_true(value_at(found, "found")));
    json_decref(found);
    json_t *end = client_receive(&a, 10000);
    assert_string_equal(text_at(end, "code"), "cancelled");
    assert_string_equal(text_at(end, "id"), "x");
    json_decref(end);
    done = client_ask_end(&a, "{\"op\":\"ask\",\"id\":\"x\",\"question\":\"the id is free again\"}");
    json_decref(done);
    client_close(&a);
    client_close(&b);
}

static void open_questions_are_limited_by_client_and_in_all(void **state)
{
    (void)state;
    client a, b;
    char ask[96];
    client_open(&a, &daemon_one, ZMQ_DEALER);
    client_open(&b, &daemon_one, ZMQ_DEALER);
    for (int i = 0; i < 4; i++) {
        snprintf(ask, sizeof ask, "{\"op\":\"ask\",\"id\":%d,\"question\":\"hang\"}", i);
        client_send(&a, ask);
    }
    json_t *error = client_ask(&a, "{\"op\":\"ask\",\"id\":9,\"question\":\"hang\"}");
    assert_string_equal(text_at(error, "code"), "limit");
    assert_non_null(strstr(text_at(error, "message"), "this client has 4"));
    json_decref(error);
    for (int i = 0; i < 2; i++) {
        snprintf(ask, sizeof ask, "{\"op\":\"ask\",\"id\":%d,\"question\":\"hang\"}", i);
        client_send(&b, ask);
    }
    error = client_ask(&b, "{\"op\":\"ask\",\"id\":9,\"question\":\"hang\"}");
    assert_string_equal(text_at(error, "code"), "limit");
    assert_non_null(strstr(text_at(error, "message"), "6 questions are open"));
    json_decref(error);
    client_close(&a);
    client_close(&b);
    wait_open_answers(0);
}

static void a_client_that_vanishes_frees_its_answers(void **state)
{
    (void)state;
    client c;
    client_open(&c, &daemon_one, ZMQ_DEALER); /* mid-stream: found by the next token */
    client_send(&c, "{\"op\":\"ask\",\"question\":\"tokens=4000 delay_ms=5\"}");
    json_decref(client_receive(&c, 10000));
    client_close(&c);
    wait_open_answers(0);
    client_open(&c, &daemon_one, ZMQ_REQ); /* waiting for one reply: nothing is sent to it, its hanging up is seen */
    client_send(&c, "{\"op\":\"ask\",\"question\":\"hang\"}");
    wait_open_answers(1);
    client_close(&c);
    wait_open_answers(0);
}

static void a_client_that_does_not_read_is_cut_off_and_hinders_nobody(void **state)
{
    (void)state;
    client slow, quick;
    client_open_narrow(&slow, &daemon_one);
    client_open(&quick, &daemon_one, ZMQ_DEALER);
    /* 40 MB: far more than libzmq and the kernel hold on both sides. */
    client_send(&slow, "{\"op\":\"ask\",\"id\":1,\"question\":\"tokens=10000 bytes=4000\"}");
    int64_t start_us = omnid_clock_us();
    for (int i = 0; i < 20; i++) {
        json_t *done = client_ask_end(&quick, "{\"op\":\"ask\",\"question\":\"tokens=3\"}");
        json_decref(done);
    }
    assert_true(omnid_clock_us() - start_us < 5000000);
    wait_open_answers(0); /* ended without being read */
    char *text = NULL;
    json_t *end = client_receive_end(&slow, &text, NULL); /* and when it reads at last it is told why */
    assert_event(end, "error");
    assert_string_equal(text_at(end, "code"), "slow");
    assert_int_equal(number_at(end, "id"), 1);
    assert_true(strlen(text) < 10000 * 4000);
    free(text);
    json_decref(end);
    json_t *status = client_ask(&slow, "{\"op\":\"status\"}"); /* it is welcome again */
    assert_event(status, "status");
    json_decref(status);
    client_close(&slow);
    client_close(&quick);
}

static void a_slow_reader_loses_nothing_within_the_limit(void **state)
{
    (void)state;
    client slow;
    client_open_narrow(&slow, &daemon_one);
    client_send(&slow, "{\"op\":\"ask\",\"id\":1,\"question\":\"tokens=600 bytes=300\"}");
    sleep_ms(200);
    char *text = NULL;
    int n_tokens = 0;
    json_t *end = client_receive_end(&slow, &text, &n_tokens);
    assert_event(end, "done");
    assert_int_equal(strlen(text), 600 * 300); /* less than what is held for it */
    for (size_t i = 0; i < 600; i++)           /* in order, each token whole */
        assert_int_equal(text[i * 300 + 299], 'a' + (int)(i % 26));
    free(text);
    json_decref(end);
    client_close(&slow);
}

static void many_clients_at_once_get_their_own_answers(void **state)
{
    (void)state;
    client clients[6];
    char ask[128];
    for (int i = 0; i < 6; i++)
        client_open(&clients[i], &daemon_one, ZMQ_DEALER);
    for (int i = 0; i < 6; i++) {
        snprintf(ask, sizeof ask, "{\"op\":\"ask\",\"id\":%d,\"question\":\"tokens=%d bytes=1 delay_ms=1\"}", i + 100,
                 10 + i);
        client_send(&clients[i], ask);
    }
    for (int i = 0; i < 6; i++) {
        char *text = NULL;
        json_t *done = client_receive_end(&clients[i], &text, NULL);
        assert_event(done, "done");
        assert_int_equal(number_at(done, "id"), i + 100);
        assert_int_equal(strlen(text), 10 + i);
        free(text);
        json_decref(done);
        client_close(&clients[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(req_gets_exactly_one_reply),
        cmocka_unit_test(ids_are_the_connections_own),
        cmocka_unit_test(open_questions_are_limited_by_client_and_in_all),
        cmocka_unit_test(a_client_that_vanishes_frees_its_answers),
        cmocka_unit_test(a_client_that_does_not_read_is_cut_off_and_hinders_nobody),
        cmocka_unit_test(a_slow_reader_loses_nothing_within_the_limit),
        cmocka_unit_test(many_clients_at_once_get_their_own_answers),
    };
    return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
