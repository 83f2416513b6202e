/* test_outbox.c: from the engine's thread to the server's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/outbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static bool readable(const outbox *o)
{
    struct pollfd p = {.fd = outbox_fd(o), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void text_of_one_answer_comes_together_and_in_order(void **state)
{
    (void)state;
    outbox *o = NULL;
    GPtrArray *answers, *news;
    int64_t n_dropped = 0;
    assert_int_equal(outbox_create(&o, NULL), OMNID_OK);
    assert_false(readable(o));
    outbox_add_text(o, 1, "he", 2);
    outbox_add_text(o, 2, "x", 1);
    outbox_add_text(o, 1, "llo", 3);
    assert_true(readable(o));
    omnid_layer_report layer = {.n = 3, .k = 1};
    omnid_result r = {
        .answer = 1, .text = "hello", .stop_reason = "end", .policy = "none", .layers = &layer, .n_layers = 1};
    outbox_add_result(o, 1, &r);
    layer.n = 0; /* the copy is deep */
    outbox_take(o, &answers, &news, &n_dropped);
    assert_false(readable(o));
    assert_int_equal(answers->len, 2);
    outbox_answer *first = answers->pdata[0];
    assert_string_equal(first->text->str, "hello");
    assert_int_equal(first->state, OUTBOX_DONE);
    assert_int_equal(first->result->layers[0].n, 3);
    assert_int_equal(((outbox_answer *)answers->pdata[1])->state, OUTBOX_OPEN);
    g_ptr_array_unref(answers);
    g_ptr_array_unref(news);
    outbox_destroy(&o);
    outbox_destroy(&o); /* harmless */
}

static void news_drop_their_oldest(void **state)
{
    (void)state;
    outbox *o = NULL;
    GPtrArray *answers, *news;
    int64_t n_dropped = 0;
    assert_int_equal(outbox_create(&o, NULL), OMNID_OK);
    for (int i = 0; i < OUTBOX_MAX_NEWS + 10; i++) {
        outbox_news one = {.kind = OUTBOX_SKIPPED, .skipped = i};
        outbox_add_news(o, &one);
    }
    outbox_take(o, &answers, &news, &n_dropped);
    assert_int_equal(news->len, OUTBOX_MAX_NEWS);
    assert_int_equal(n_dropped, 10);
    assert_int_equal(((outbox_news *)news->pdata[0])->skipped, 10);
    g_ptr_array_unref(answers);
    g_ptr_array_unref(news);
    outbox_destroy(&o);
}

static void *write_tokens(void *user)
{
    char text[8];
    omnid_error end = {.status = OMNID_CANCELLED};
    for (int i = 0; i < 20000; i++)
        outbox_add_text(user, 5, text, (size_t)snprintf(text, sizeof text, "%d,", i % 10));
    outbox_add_error(user, 5, &end);
    return NULL;
}

static void nothing_is_lost_between_two_threads(void **state)
{
    (void)state;
    outbox *o = NULL;
    pthread_t writer;
    size_t n_bytes = 0;
    assert_int_equal(outbox_create(&o, NULL), OMNID_OK);
    assert_int_equal(pthread_create(&writer, NULL, write_tokens, o), 0);
    for (bool over = false; !over;) {
        GPtrArray *answers, *news;
        int64_t n_dropped = 0;
        struct pollfd p = {.fd = outbox_fd(o), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 10000), 1); /* a lost wake would show here */
        outbox_take(o, &answers, &news, &n_dropped);
        for (guint i = 0; i < answers->len; i++) {
            outbox_answer *a = answers->pdata[i];
            n_bytes += a->text->len;
            over = a->state == OUTBOX_FAILED;
        }
        g_ptr_array_unref(answers);
        g_ptr_array_unref(news);
    }
    pthread_join(writer, NULL);
    assert_int_equal(n_bytes, 40000);
    outbox_destroy(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_one_answer_comes_together_and_in_order),
        cmocka_unit_test(news_drop_their_oldest),
        cmocka_unit_test(nothing_is_lost_between_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
