/* test_protocol_examples.c: sends every "json request" of docs/protocol.md to a daemon and holds its reply against the "json reply"
 * below it: the same events, and in each every field of the example with a value of the same type. Events of "json event"
 * blocks must be published. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

static process daemon_one;
static client events;

static int start_daemon(void **state)
{
    (void)state;
    char address[128];
    int timeout_ms = 20000;
    process_start(&daemon_one, OMNID,
                  (const char *[]){"--model=" TEST_MODEL, "--model.threads=1",
                                   "--camera.door.video=test:ball,size=56x56,fps=2",
                                   "--camera.yard.video=test:smpte,size=56x56,fps=2", NULL});
    events.context = zmq_ctx_new();
    events.socket = zmq_socket(events.context, ZMQ_SUB);
    snprintf(address, sizeof address, "ipc://%s", daemon_one.events);
    zmq_setsockopt(events.socket, ZMQ_SUBSCRIBE, "", 0);
    zmq_setsockopt(events.socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_connect(events.socket, address);
    process_wait_segments(&daemon_one, "door", 2);
    process_wait_segments(&daemon_one, "yard", 2);
    return 0;
}

static int stop_daemon(void **state)
{
    (void)state;
    client_close(&events);
    return process_stop(&daemon_one, SIGTERM, NULL);
}

/* The next block ```json KIND at or after *at: its text (free), *at behind it; NULL: no more. */
static char *next_block(const char **at, char *kind, size_t n_kind)
{
    const char *fence = strstr(*at, "\n```json ");
    if (!fence)
        return NULL;
    fence += strlen("\n```json ");
    const char *body = strchr(fence, '\n'), *end = strstr(fence, "\n```\n");
    assert_non_null(body);
    assert_non_null(end);
    snprintf(kind, n_kind, "%.*s", (int)(body - fence), fence);
    *at = end;
    return strndup(body, (size_t)(end - body));
}

/* Every field of the example is in the value, with the same type; numbers are numbers, and null may stand for anything. */
static void assert_like(const json_t *example, const json_t *value, const char *where)
{
    if (!value)
        fail_msg("%s is not in the reply", where);
    if (json_is_null(value) || (json_is_number(example) && json_is_number(value)))
        return;
    if (json_typeof(example) != json_typeof(value) && !(json_is_boolean(example) && json_is_boolean(value)))
        fail_msg("%s has another type in the reply", where);
    const char *key;
    json_t *field;
    char below[256];
    json_object_foreach((json_t *)example, key, field)
    {
        snprintf(below, sizeof below, "%s.%s", where, key);
        assert_like(field, json_object_get(value, key), below);
    }
    if (json_is_array(example) && json_array_size(example) > 0) {
        snprintf(below, sizeof below, "%s[0]", where);
        assert_like(json_array_get(example, 0), json_array_get(value, 0), below);
    }
}

/* And the other way round for objects: a field that the page does not show is not documented. */
static void assert_documented(const json_t *example, const json_t *value, const char *where)
{
    const char *key;
    json_t *field;
    json_object_foreach((json_t *)value, key, field)
    {
        const json_t *shown = json_object_get(example, key);
        char below[256];
        snprintf(below, sizeof below, "%s.%s", where, key);
        if (!shown)
            fail_msg("%s is not in the page's example", below);
        if (json_is_object(field))
            assert_documented(shown, field, below);
        if (json_is_array(field) && json_is_object(json_array_get(field, 0)))
            assert_documented(json_array_get(shown, 0), json_array_get(field, 0), below);
    }
}

/* The sentence, or its beginning where the example leaves the rest out. */
static void assert_message(const char *found, const char *wanted)
{
    const char *dots = strstr(wanted, "…");
    if (dots ? strncmp(found, wanted, (size_t)(dots - wanted)) != 0 : strcmp(found, wanted) != 0)
        fail_msg("want '%s', found '%s'", wanted, found);
}

/* Reads the reply's objects one by one and compares each with the next event of its kind. */
static void check_reply(client *c, const char *text, bool first)
{
    json_error_t where;
    while (text[strspn(text, " \n")]) {
        json_t *example = json_loads(text, JSON_DISABLE_EOF_CHECK, &where);
        if (!example)
            fail_msg("example is not JSON: %s in %s", where.text, text);
        text += where.position;
        const char *event = text_at(example, "event");
        void *jpeg;
        size_t n_jpeg;
        json_t *value = client_receive_with(c, 60000, &jpeg, &n_jpeg);
        while (value && strcmp(text_at(value, "event"), "token") == 0 && strcmp(event, "token") != 0) {
            json_decref(value);
            value = client_receive(c, 60000);
        }
        assert_non_null(value);
        assert_string_equal(text_at(value, "event"), event);
        assert_like(example, value, event);
        assert_int_equal(n_jpeg, json_integer_value(json_object_get(value, "bytes"))); /* none: 0 */
        free(jpeg);
        if (json_object_get(example, "id"))
            assert_true(json_equal(json_object_get(example, "id"), json_object_get(value, "id")));
        if (strcmp(event, "error") == 0) {
            assert_string_equal(text_at(value, "code"), text_at(example, "code"));
            assert_message(text_at(value, "message"), text_at(example, "message"));
        }
        if (first && strcmp(event, "done") == 0)
            assert_documented(example, value, event);
        if (strcmp(event, "status") == 0 || strcmp(event, "timeline") == 0 || strcmp(event, "frame") == 0)
            assert_documented(example, value, event);
        json_decref(example);
        json_decref(value);
    }
}

static void check_event(const char *text)
{
    char topic[128], body[16384];
    json_t *example = json_loads(text, 0, NULL);
    assert_non_null(example);
    for (int i = 0;; i++) {
        if (i == 1000)
            fail_msg("among 1000 events there was no %s", text_at(example, "event"));
        assert_true(zmq_recv(events.socket, topic, sizeof topic, 0) > 0);
        int n = zmq_recv(events.socket, body, sizeof body, 0);
        assert_true(n > 0);
        json_t *event = json_loadb(body, (size_t)n, 0, NULL);
        bool same = strcmp(text_at(event, "event"), text_at(example, "event")) == 0;
        if (same)
            assert_like(example, event, text_at(example, "event"));
        json_decref(event);
        if (same)
            break;
    }
    json_decref(example);
}

static void the_pages_examples_work(void **state)
{
    (void)state;
    static char page[1 << 17];
    char kind[32];
    int n_requests = 0, n_replies = 0, n_events = 0;
    client c;
    FILE *file = fopen(OMNID_SOURCE_DIR "/docs/protocol.md", "r");
    assert_non_null(file);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    client_open(&c, &daemon_one, ZMQ_DEALER);
    const char *at = page;
    for (char *text; (text = next_block(&at, kind, sizeof kind)); free(text)) {
        if (strcmp(kind, "request") == 0) {
            assert_int_equal(n_requests++, n_replies);
            client_send(&c, text);
        } else if (strcmp(kind, "reply") == 0) {
            check_reply(&c, text, n_replies++ == 0);
        } else {
            assert_string_equal(kind, "event");
            check_event(text);
            n_events++;
        }
    }
    assert_int_equal(n_requests, n_replies);
    assert_true(n_requests >= 13 && n_events >= 2);
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_pages_examples_work)};
    return cmocka_run_group_tests(tests, start_daemon, stop_daemon);
}
