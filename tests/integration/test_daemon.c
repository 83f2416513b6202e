/* test_daemon.c: omnid itself, with a tiny model of random weights: its words mean nothing, its numbers do. */
#include "harness.h"

#include "base/base.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define MODEL   "--model=" TEST_MODEL
#define THREADS "--model.threads=1"

static void wait_ended(const process *p, int n_cameras)
{
    client c;
    client_open(&c, p, ZMQ_DEALER);
    for (int i = 0; i < 600; i++) {
        int n_ended = 0;
        json_t *status = client_ask(&c, "{\"op\":\"status\"}");
        for (int k = 0; k < n_cameras; k++) {
            char path[64];
            const char *state = NULL;
            for (int source = 0; source < 2 && !state; source++) {
                snprintf(path, sizeof path, "cameras.%d.%s.state", k, source ? "audio" : "video");
                state = json_string_value(value_at(status, path));
            }
            snprintf(path, sizeof path, "cameras.%d.waiting", k);
            n_ended += state && strcmp(state, "ended") == 0 && number_at(status, path) == 0;
        }
        json_decref(status);
        if (n_ended == n_cameras) {
            client_close(&c);
            return;
        }
        sleep_ms(100);
    }
    fail_msg("the sources did not end in 60 s");
}

/* Three cameras whose streams have ended: what each answers when asked alone is what it must answer when all are asked at
 * once. The three differ, so an answer from another's timeline would show. */
static void three_cameras_asked_at_once_do_not_mix(void **state)
{
    (void)state;
    process p;
    static const char *const names[] = {"a", "b", "c"};
    double alone[3][2];
    client clients[3];
    char ask[256];
    process_start(&p, OMNID,
                  (const char *[]){MODEL, THREADS, "--camera.a.video=test:ball,size=112x84,fps=2,duration=4,freq=300",
                                   "--camera.b.video=test:smpte,size=84x112,fps=2,duration=6", "--camera.b.audio=none",
                                   "--camera.c.audio=test:wave=sine,freq=1200,duration=4", NULL});
    for (int i = 0; i < 3; i++)
        process_wait_segments(&p, names[i], 2);
    wait_ended(&p, 3);
    for (int i = 0; i < 3; i++)
        client_open(&clients[i], &p, ZMQ_DEALER);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 3; i++) {
            snprintf(ask, sizeof ask,
                     "{\"op\":\"ask\",\"id\":%d,\"camera\":\"%s\",\"question\":\"What is "
                     "it?\",\"choices\":[\"cat\",\"a red dog\"]}",
                     round, names[i]);
            client_send(&clients[i], ask);
            for (int k = 0; round == 0 && k == 0; k++) { /* the first round: one after another */
                json_t *done = client_receive(&clients[i], 60000);
                assert_event(done, "done");
                alone[i][0] = number_at(done, "choices.0.logprob");
                alone[i][1] = number_at(done, "choices.1.logprob");
                json_decref(done);
            }
        }
        for (int i = 0; round > 0 && i < 3; i++) {
            json_t *done = client_receive(&clients[i], 60000);
            assert_event(done, "done");
            assert_string_equal(text_at(done, "camera"), names[i]);
            assert_true(fabs(number_at(done, "choices.0.logprob") - alone[i][0]) < 1e-4);
            assert_true(fabs(number_at(done, "choices.1.logprob") - alone[i][1]) < 1e-4);
            if (i == 1)
                assert_true(number_at(done, "evidence.0.audio_share") == 0);
            if (i == 2)
                assert_true(number_at(done, "evidence.0.audio_share") == 1);
            json_decref(done);
        }
    }
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < i; k++)
            assert_true(fabs(alone[i][0] - alone[k][0]) > 1e-2);
    for (int i = 0; i < 3; i++)
        client_close(&clients[i]);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

static void modes_history_and_last_s_change_the_answer(void **state)
{
    (void)state;
    process p;
    client c;
    static const char *const extras[] = {"",
                                         ",\"mode\":\"deferred\"",
                                         ",\"mode\":\"offline\"",
                                         ",\"history\":[{\"question\":\"Who?\",\"answer\":\"Nobody.\"}]",
                                         ",\"last_s\":2",
                                         ",\"retention\":\"none\""};
    double logprob[6], retention[6];
    process_start(&p, OMNID,
                  (const char *[]){MODEL, THREADS, "--timeline.modes=eager,deferred,offline",
                                   "--camera.x.video=test:ball,size=112x84,fps=2,duration=6", NULL});
    process_wait_segments(&p, NULL, 3);
    wait_ended(&p, 1);
    client_open(&c, &p, ZMQ_DEALER);
    for (int i = 0; i < 6; i++) {
        char ask[300];
        snprintf(ask, sizeof ask, "{\"op\":\"ask\",\"question\":\"What is it?\",\"choices\":[\"cat\",\"dog\"]%s}",
                 extras[i]);
        json_t *done = client_ask(&c, ask);
        assert_event(done, "done");
        logprob[i] = number_at(done, "choices.0.logprob");
        retention[i] = number_at(done, "retention");
        size_t n_layers = json_array_size(value_at(done, "timings.layers.n"));
        assert_int_equal(n_layers, 8);
        for (size_t l = 0; l + 1 < n_layers; l++) { /* n of the next layer = n - k */
            const json_t *n = value_at(done, "timings.layers.n"), *k = value_at(done, "timings.layers.k");
            assert_int_equal(json_integer_value(json_array_get(n, l + 1)),
                             json_integer_value(json_array_get(n, l)) - json_integer_value(json_array_get(k, l)));
        }
        if (i == 0)
            assert_int_equal(number_at(done, "timings.encoder_calls"),
                             0); /* everything was encoded before the question */
        /* The newest two seconds: the last segment, and the one before when the last is not whole. */
        for (size_t e = 0; i == 4 && e < json_array_size(value_at(done, "evidence")); e++) {
            const json_t *moment = json_array_get(value_at(done, "evidence"), e);
            assert_true(number_at(moment, "segment") >= number_at(done, "last_segment") - 1);
        }
        json_decref(done);
    }
    for (int i = 1; i < 6; i++)
        assert_true(fabs(logprob[i] - logprob[0]) > 1e-4);
    assert_true(retention[5] > retention[0] && retention[0] > 0);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

static void a_live_source_is_answered_with_now(void **state)
{
    (void)state;
    process p;
    client c;
    process_start(
        &p, OMNID,
        (const char *[]){MODEL, THREADS, "--camera.x.video=test:ball,size=56x56,fps=2", "--timeline.window_s=8", NULL});
    process_wait_ready(&p);
    client_open(&c, &p, ZMQ_DEALER);
    json_t *early =
        client_ask(&c, "{\"op\":\"ask\",\"question\":\"x\",\"now\":false}"); /* no segment can be closed yet */
    assert_string_equal(text_at(early, "code"), "empty");
    json_decref(early);
    process_wait_segments(&p, NULL, 1);
    char *text = NULL;
    client_send(&c, "{\"op\":\"ask\",\"id\":1,\"question\":\"What moves?\",\"max_tokens\":20}");
    json_t *done = client_receive_end(&c, &text, NULL);
    assert_event(done, "done");
    assert_string_equal(text_at(done, "text"), text); /* the tokens make up the answer */
    double weight = 0;
    for (size_t i = 0; i < json_array_size(value_at(done, "evidence")); i++)
        weight += json_number_value(json_object_get(json_array_get(value_at(done, "evidence"), i), "weight"));
    assert_true(weight > 0 && weight <= 1.0001);
    assert_true(number_at(done, "newest_ago_s") >= 0 && number_at(done, "newest_ago_s") < 30);
    /* The figure itself depends on what else the machine does: bench/live.sh measures it. */
    print_message("newest frame when the question was read: %.3f s old\n", number_at(done, "newest_frame_ago_s"));
    assert_true(number_at(done, "newest_frame_ago_s") >= 0 && number_at(done, "newest_frame_ago_s") < 30);
    assert_true(number_at(done, "timings.ttft_ms") > 0);
    json_decref(done);
    free(text);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

static void sigterm_takes_less_than_two_seconds(void **state)
{
    (void)state;
    process p;
    client c;
    double seconds = 0;
    process_start(&p, OMNID, (const char *[]){MODEL, THREADS, NULL}); /* the default camera: the full test pattern */
    process_wait_segments(&p, NULL, 1);
    client_open(&c, &p, ZMQ_DEALER);
    client_send(&c, "{\"op\":\"ask\",\"id\":1,\"question\":\"Tell me all.\",\"max_tokens\":4096}");
    client other;
    client_open(&other, &p, ZMQ_DEALER);
    sleep_ms(20);
    json_decref(client_ask(&other, "{\"op\":\"status\"}"));
    client_close(&other);
    kill(p.pid, SIGTERM);
    int64_t start_us = omnid_clock_us();
    json_t *end = client_receive_end(&c, NULL, NULL);
    if (strcmp(text_at(end, "event"), "error") == 0) /* an early end token is possible too */
        assert_string_equal(text_at(end, "code"), "stopping");
    json_decref(end);
    assert_int_equal(process_wait(&p, 5000), 0);
    seconds = (double)(omnid_clock_us() - start_us) / 1e6;
    assert_true(seconds < 2);
    assert_int_equal(access(p.ask, F_OK), -1);
    client_close(&c);
    remove_folder(p.folder);
}

static void expect_exit(const char *const *args, int code, const char *words)
{
    process p;
    process_start(&p, OMNID, args);
    int found = process_wait(&p, 30000);
    char *log = process_log(&p);
    if (found != code || !strstr(log, words) || strstr(log, "Sanitizer"))
        fail_msg("want exit %d and '%s', found %d and '%s'", code, words, found, log);
    free(log);
    remove_folder(p.folder);
}

static void run(const char *command)
{
    assert_int_equal(system(command), 0);
}

static void bad_models_and_sources_are_told(void **state)
{
    (void)state;
    char torn[] = "/tmp/omnid-torn-XXXXXX", command[512], option[64];
    assert_non_null(mkdtemp(torn));
    snprintf(command, sizeof command, "cp %s/* %s/ && for f in %s/*.safetensors; do truncate -s 100 $f; done",
             TEST_MODEL, torn, torn);
    run(command);
    snprintf(option, sizeof option, "--model=%s", torn);
    expect_exit((const char *[]){option, NULL}, 66, "safetensors");
    remove_folder(torn);
    expect_exit((const char *[]){"--model=/nowhere", NULL}, 66, "/nowhere: no such folder");
    expect_exit((const char *[]){MODEL, "--camera.a.video=file:/nowhere.mp4", NULL}, 3, "/nowhere.mp4");
    expect_exit((const char *[]){MODEL, "--camera.a.video=tset:", NULL}, 3, "tset");
    expect_exit((const char *[]){MODEL, "--camera.a.video=file:" TEST_MODEL "/config.json", NULL}, 3, "[camera a]");
    expect_exit((const char *[]){MODEL, "--check", "--camera.a.video=test:ball", NULL}, 0, "camera a: video test:ball");
}

static void without_configuration_the_demo_model_runs(void **state)
{
    (void)state;
    process p;
    client c;
    if (access(OMNID_SOURCE_DIR "/models/demo/config.json", F_OK) != 0)
        skip(); /* models/demo is not there */
    process_start(&p, OMNID, NULL);
    process_wait_ready(&p);
    client_open(&c, &p, ZMQ_DEALER);
    json_t *status = client_ask(&c, "{\"op\":\"status\"}");
    assert_true(json_is_true(value_at(status, "model.demo")));
    assert_true(json_is_true(value_at(status, "cameras.0.demo")));
    assert_string_equal(text_at(status, "cameras.0.camera"), "default");
    json_decref(status);
    client_close(&c);
    assert_int_equal(process_stop(&p, SIGTERM, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_cameras_asked_at_once_do_not_mix),
        cmocka_unit_test(modes_history_and_last_s_change_the_answer),
        cmocka_unit_test(a_live_source_is_answered_with_now),
        cmocka_unit_test(sigterm_takes_less_than_two_seconds),
        cmocka_unit_test(bad_models_and_sources_are_told),
        cmocka_unit_test(without_configuration_the_demo_model_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
