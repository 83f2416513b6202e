/* test_connection.c: messages to clients that are full, slow or gone, over a send that does as told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/connection.h"

#include <errno.h>
#include <string.h>

/* What the fake socket does, and what went through it. */
typedef struct {
    int error;         /* of every send; 0 = they go through */
    int n_room;        /* with error 0: after so many, EAGAIN; < 0 = no end */
    GPtrArray *sent;   /* char * */
    size_t n_attached; /* bytes of second frames */
    int n_gone;
} wire;

static int send_on(void *user, const connection_peer *peer, const char *text, size_t n, GBytes *attached)
{
    wire *w = user;
    (void)peer;
    if (w->error)
        return w->error;
    if (w->n_room == 0)
        return EAGAIN;
    w->n_room -= w->n_room > 0;
    g_ptr_array_add(w->sent, g_strndup(text, n));
    w->n_attached += attached ? g_bytes_get_size(attached) : 0;
    return 0;
}

static void on_gone(void *user, const connection_peer *peer)
{
    (void)peer;
    ((wire *)user)->n_gone++;
}

static wire new_wire(void)
{
    return (wire){.n_room = -1, .sent = g_ptr_array_new_with_free_func(g_free)};
}

static const connection_peer peer_a = {.id = {1}, .n_id = 1}, peer_b = {.id = {2}, .n_id = 1};

static json_t *message(const char *name)
{
    return json_pack("{s:s}", "event", name);
}

static connection_result send_named(connections *c, const connection_peer *peer, const char *name)
{
    json_t *m = message(name);
    connection_result result = connections_send(c, peer, m);
    json_decref(m);
    return result;
}

static void a_client_that_reads_gets_all_at_once(void **state)
{
    (void)state;
    wire w = new_wire();
    connections *c = connections_create(send_on, &w, 1000);
    json_t *id = json_integer(4);
    assert_int_equal(connections_send_token(c, &peer_a, 9, id, "hi \xe2\x82\xac", 6), CONNECTION_SENT);
    assert_int_equal(send_named(c, &peer_a, "done"), CONNECTION_SENT);
    assert_int_equal(w.sent->len, 2);
    json_t *token = json_loads(w.sent->pdata[0], 0, NULL);
    assert_string_equal(json_string_value(json_object_get(token, "text")), "hi \xe2\x82\xac");
    assert_string_equal(json_string_value(json_object_get(token, "event")), "token");
    assert_int_equal(json_integer_value(json_object_get(token, "id")), 4);
    assert_false(connections_has_held(c));
    json_decref(token);
    json_decref(id);
    connections_destroy(&c);
    g_ptr_array_unref(w.sent);
}

static void tokens_of_a_full_client_come_together(void **state)
{
    (void)state;
    wire w = new_wire();
    connections *c = connections_create(send_on, &w, 1000);
    w.error = EAGAIN;
    assert_int_equal(connections_send_token(c, &peer_a, 1, NULL, "a", 1), CONNECTION_HELD);
    assert_int_equal(connections_send_token(c, &peer_a, 2, NULL, "x", 1), CONNECTION_HELD);
    w.error = 0; /* room again, but what is held goes first */
    assert_int_equal(connections_send_token(c, &peer_a, 1, NULL, "b", 1), CONNECTION_HELD);
    assert_int_equal(send_named(c, &peer_a, "done"), CONNECTION_HELD);
    assert_int_equal(send_named(c, &peer_b, "other"), CONNECTION_SENT); /* nobody waits for another */
    assert_int_equal(connections_held_bytes(c), 3 + strlen("{\"event\":\"done\"}"));
    connections_flush(c, on_gone, &w);
    assert_int_equal(w.sent->len, 4);
    assert_string_equal(w.sent->pdata[1], "{\"event\":\"token\",\"text\":\"ab\"}");
    assert_string_equal(w.sent->pdata[2], "{\"event\":\"token\",\"text\":\"x\"}");
    assert_string_equal(w.sent->pdata[3], "{\"event\":\"done\"}");
    assert_false(connections_has_held(c));
    connections_destroy(&c);
    g_ptr_array_unref(w.sent);
}

static void past_the_limit_the_answer_ends_and_the_end_still_fits(void **state)
{
    (void)state;
    wire w = new_wire();
    connections *c = connections_create(send_on, &w, 100);
    char text[90];
    memset(text, 'z', sizeof text);
    w.error = EAGAIN;
    assert_int_equal(connections_send_token(c, &peer_a, 1, NULL, text, sizeof text), CONNECTION_HELD);
    assert_int_equal(connections_send_token(c, &peer_a, 1, NULL, text, sizeof text), CONNECTION_SLOW);
    assert_int_equal(send_named(c, &peer_a, "status is refused too"), CONNECTION_SLOW);
    json_t *end = message("error");
    assert_int_equal(connections_end_slow(c, &peer_a, 1, end), CONNECTION_HELD);
    json_decref(end);
    assert_int_equal(connections_held_bytes(c), strlen("{\"event\":\"error\"}")); /* its tokens are dropped */
    w.error = 0;
    connections_flush(c, on_gone, &w);
    assert_int_equal(w.sent->len, 1);
    assert_string_equal(w.sent->pdata[0], "{\"event\":\"error\"}");
    connections_destroy(&c);
    g_ptr_array_unref(w.sent);
}

static void a_second_frame_is_held_and_counted(void **state)
{
    (void)state;
    wire w = new_wire();
    connections *c = connections_create(send_on, &w, 200);
    GBytes *small = g_bytes_new_static("0123456789", 10), *large = g_bytes_new_take(g_malloc0(300), 300);
    json_t *m = message("frame");
    size_t n_text = strlen("{\"event\":\"frame\"}");
    w.error = EAGAIN;
    assert_int_equal(connections_send_with(c, &peer_a, m, small), CONNECTION_HELD);
    assert_int_equal(connections_held_bytes(c), n_text + 10);
    assert_int_equal(connections_send_with(c, &peer_a, m, large), CONNECTION_SLOW);
    json_t *end = message("error"); /* is told in its place; what was held before stays */
    assert_int_equal(connections_end_slow(c, &peer_a, 0, end), CONNECTION_HELD);
    w.error = 0;
    connections_flush(c, on_gone, &w);
    assert_int_equal(w.sent->len, 2);
    assert_string_equal(w.sent->pdata[0], "{\"event\":\"frame\"}");
    assert_string_equal(w.sent->pdata[1], "{\"event\":\"error\"}");
    assert_int_equal(w.n_attached, 10);
    assert_int_equal(connections_held_bytes(c), 0);
    assert_int_equal(connections_send_with(c, &peer_a, m, large), CONNECTION_SENT);
    assert_int_equal(w.n_attached, 310);
    json_decref(m);
    json_decref(end);
    g_bytes_unref(small);
    g_bytes_unref(large);
    connections_destroy(&c);
    g_ptr_array_unref(w.sent);
}

static void closing_messages_have_an_end_too(void **state)
{
    (void)state;
    wire w = new_wire();
    connections *c = connections_create(send_on, &w, 10);
    json_t *end = message("error");
    int n = 0;
    w.error = EAGAIN;
    while (n < 1000 && connections_end_slow(c, &peer_a, (uint64_t)n + 1, end) == CONNECTION_HELD)
        n++;
    assert_in_range(n, 16, 200);
    json_decref(end);
    connections_destroy(&c);
    g_ptr_array_unref(w.sent);
}

static void gone_is_told_once(void **state)
{
    (void)state;
    wire w = new_wire();
    connections *c = connections_create(send_on, &w, 1000);
    w.error = EAGAIN;
    send_named(c, &peer_a, "one");
    send_named(c, &peer_a, "two");
    w.error = EHOSTUNREACH;
    connections_flush(c, on_gone, &w);
    assert_int_equal(w.n_gone, 1);
    assert_false(connections_has_held(c));
    assert_int_equal(send_named(c, &peer_a, "three"), CONNECTION_GONE);
    connections_destroy(&c);
    g_ptr_array_unref(w.sent);
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    wire w = new_wire();
    connections *c = connections_create(send_on, &w, 1 << 20);
    GString *text = g_string_new("a"); /* so that the cut falls inside a character */
    for (int i = 0; i < 30000; i++)
        g_string_append(text, "\xe2\x82\xac");
    w.n_room = 1;
    assert_int_equal(connections_send_token(c, &peer_a, 1, NULL, text->str, text->len), CONNECTION_HELD);
    w.n_room = -1;
    connections_flush(c, on_gone, &w);
    assert_true(w.sent->len >= 3);
    GString *got = g_string_new(NULL);
    for (guint i = 0; i < w.sent->len; i++) {
        json_t *token = json_loads(w.sent->pdata[i], 0, NULL);
        assert_non_null(token);
        assert_true(json_string_length(json_object_get(token, "text")) <= 32768);
        g_string_append(got, json_string_value(json_object_get(token, "text")));
        json_decref(token);
    }
    assert_int_equal(got->len, text->len);
    assert_true(g_string_equal(got, text));
    g_string_free(got, TRUE);
    g_string_free(text, TRUE);
    connections_destroy(&c);
    g_ptr_array_unref(w.sent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_reads_gets_all_at_once),
        cmocka_unit_test(tokens_of_a_full_client_come_together),
        cmocka_unit_test(past_the_limit_the_answer_ends_and_the_end_still_fits),
        cmocka_unit_test(a_second_frame_is_held_and_counted),
        cmocka_unit_test(closing_messages_have_an_end_too),
        cmocka_unit_test(gone_is_told_once),
        cmocka_unit_test(long_text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
