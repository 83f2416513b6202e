/* test_service.c: what the service manager is told and when, by a clock of the test's own; and what counts as the journal. */
#include "daemon/service.h"
#include "daemon/service_log.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SECOND = 1000000 };

typedef struct {
    GString *text; /* all messages, each in its brackets */
    service *service;
    service_facts facts;
} fixture;

static void write_down(void *user, const char *text)
{
    g_string_append_printf(user, "[%s]", text);
}

static fixture open_service(int64_t watchdog_us)
{
    fixture f = {.text = g_string_new(NULL), .facts = {.n_cameras = 1, .n_sources = 2, .lost = ""}};
    f.service = service_create_with(write_down, f.text, watchdog_us);
    return f;
}

static void close_service(fixture *f)
{
    service_destroy(&f->service);
    service_destroy(&f->service);
    g_string_free(f->text, TRUE);
}

static void tick(fixture *f, int64_t now_us)
{
    g_string_truncate(f->text, 0);
    service_tick(f->service, &f->facts, now_us);
}

static void loading_asks_for_time_as_long_as_it_gets_on(void **state)
{
    (void)state;
    fixture f = open_service(8 * SECOND);
    tick(&f, 100 * SECOND);
    assert_string_equal(f.text->str, "[EXTEND_TIMEOUT_USEC=30000000\nSTATUS=loading the model: 0 percent]");
    tick(&f, 100 * SECOND + 500000); /* nothing new within a second */
    assert_string_equal(f.text->str, "");
    f.facts.percent = 42;
    tick(&f, 100 * SECOND + 600000);
    assert_string_equal(f.text->str, "[EXTEND_TIMEOUT_USEC=30000000\nSTATUS=loading the model: 42 percent]");
    int n_messages = 0;
    int64_t last = 0;
    for (int64_t t = 101 * SECOND; t < 1000 * SECOND; t += SECOND) { /* it stays at 42 */
        tick(&f, t);
        n_messages += f.text->len > 0;
        last = f.text->len > 0 ? t : last;
    }
    assert_true(n_messages > 200);
    assert_in_range(last / SECOND, 100 + SERVICE_LOAD_STUCK_S - 2, 101 + SERVICE_LOAD_STUCK_S);
    close_service(&f);
}

static void ready_is_said_once_and_status_with_news(void **state)
{
    (void)state;
    fixture f = open_service(0);
    f.facts.state = SERVICE_READY;
    tick(&f, SECOND);
    assert_string_equal(f.text->str, "[READY=1\nSTATUS=segments 0, visible 0, lag 0.0 s, skipped 0]");
    tick(&f, 2 * SECOND);
    assert_string_equal(f.text->str, "");
    f.facts.n_segments = 412;
    f.facts.n_visible = 32;
    f.facts.lag_s = 0.31;
    tick(&f, 3 * SECOND);
    assert_string_equal(f.text->str, "[STATUS=segments 412, visible 32, lag 0.3 s, skipped 0]");
    f.facts.n_cameras = 2;
    f.facts.n_lost = 1;
    f.facts.lost = "door video";
    tick(&f, 4 * SECOND);
    assert_string_equal(f.text->str, "[STATUS=2 cameras, segments 412, visible 32, lag 0.3 s, skipped 0, "
                                     "1 of 2 sources lost: door video]");
    f.facts.lost = "yard video"; /* as many, but another */
    tick(&f, 5 * SECOND);
    assert_non_null(strstr(f.text->str, "lost: yard video]"));
    close_service(&f);
}

static void the_watchdog_is_fed_unless_the_engine_hangs(void **state)
{
    (void)state;
    fixture f = open_service(8 * SECOND);
    f.facts.state = SERVICE_READY;
    omnid_log_set(OMNID_LOG_ERROR, NULL, NULL);
    tick(&f, 10 * SECOND);
    assert_non_null(strstr(f.text->str, "[WATCHDOG=1]"));
    tick(&f, 11 * SECOND);
    assert_string_equal(f.text->str, ""); /* four times in its interval are enough */
    f.facts.oldest_work_us = SERVICE_OLDEST_WORK_S * (int64_t)SECOND;
    tick(&f, 12 * SECOND);
    assert_string_equal(f.text->str, "[WATCHDOG=1]");
    f.facts.oldest_work_us++;
    for (int64_t t = 13; t < 60; t++) {
        tick(&f, t * SECOND);
        assert_string_equal(f.text->str, "");
    }
    f.facts.oldest_work_us = 0; /* it was only slow */
    tick(&f, 60 * SECOND);
    assert_string_equal(f.text->str, "[WATCHDOG=1]");
    close_service(&f);
    f = open_service(0); /* no watchdog, no food */
    f.facts.state = SERVICE_READY;
    tick(&f, 10 * SECOND);
    assert_null(strstr(f.text->str, "WATCHDOG"));
    close_service(&f);
}

static void the_loop_waits_no_longer_than_the_watchdog_allows(void **state)
{
    (void)state;
    fixture f = open_service(0);
    assert_int_equal(service_wait_ms(f.service, 1000), 1000);
    close_service(&f);
    f = open_service(60 * (int64_t)SECOND);
    assert_int_equal(service_wait_ms(f.service, 1000), 1000);
    assert_int_equal(service_wait_ms(f.service, 20), 20);
    close_service(&f);
    f = open_service(2 * SECOND);
    assert_int_equal(service_wait_ms(f.service, 1000), 500);
    close_service(&f);
    f = open_service(3);
    assert_int_equal(service_wait_ms(f.service, 1000), 1);
    close_service(&f);
}

static void a_reload_is_bracketed(void **state)
{
    (void)state;
    fixture f = open_service(0);
    service_begin_reload(f.service, 77);
    service_end_reload(f.service, "nothing has changed"); /* while it loads, READY would be a lie */
    assert_string_equal(f.text->str, "[STATUS=nothing has changed]");
    f.facts.state = SERVICE_READY;
    tick(&f, SECOND);
    g_string_truncate(f.text, 0);
    service_begin_reload(f.service, 2 * SECOND);
    service_end_reload(f.service, "nothing has changed");
    assert_string_equal(f.text->str, "[RELOADING=1\nMONOTONIC_USEC=2000000\nSTATUS=reading the configuration]"
                                     "[READY=1\nSTATUS=nothing has changed]");
    g_string_truncate(f.text, 0);
    service_stop(f.service, "the daemon is stopping");
    assert_string_equal(f.text->str, "[STOPPING=1\nSTATUS=the daemon is stopping]");
    f.facts.state = SERVICE_FAILED; /* whatever comes afterwards, nothing is said */
    tick(&f, 3 * SECOND);
    assert_string_equal(f.text->str, "");
    close_service(&f);
}

static void only_the_same_file_is_the_journal(void **state)
{
    (void)state;
    assert_true(service_log_is_journal("8:1234567890123", 8, 1234567890123));
    assert_false(service_log_is_journal("8:1234567890123", 9, 1234567890123));
    assert_false(service_log_is_journal("8:1234567890123", 8, 12));
    assert_false(service_log_is_journal(NULL, 8, 12));
    assert_false(service_log_is_journal("", 0, 0));
    assert_false(service_log_is_journal("8", 8, 0));
    assert_false(service_log_is_journal("x:y", 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_asks_for_time_as_long_as_it_gets_on),
        cmocka_unit_test(ready_is_said_once_and_status_with_news),
        cmocka_unit_test(the_watchdog_is_fed_unless_the_engine_hangs),
        cmocka_unit_test(the_loop_waits_no_longer_than_the_watchdog_allows),
        cmocka_unit_test(a_reload_is_bracketed),
        cmocka_unit_test(only_the_same_file_is_the_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
