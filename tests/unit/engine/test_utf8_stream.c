/* test_utf8_stream.c: whole characters whatever the cuts, U+FFFD where Unicode says so, stop strings. */
#include "engine/utf8_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FFFD "\xEF\xBF\xBD"

typedef struct {
    char text[4096];
    size_t n;
    bool stopped;
} collected;

static utf8_stream *create(const char *const *stop, int n_stop)
{
    utf8_stream *u;
    omnid_error err = {0};
    if (utf8_stream_create(&u, stop, n_stop, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    return u;
}

static void push(utf8_stream *u, collected *c, const char *bytes, size_t n)
{
    const char *text;
    size_t n_text;
    omnid_error err = {0};
    assert_int_equal(utf8_stream_push(u, bytes, n, &text, &n_text, &c->stopped, &err), OMNID_OK);
    assert_int_equal(text[n_text], 0);
    memcpy(c->text + c->n, text, n_text + 1);
    c->n += n_text;
}

static void end(utf8_stream *u, collected *c)
{
    const char *text;
    size_t n_text;
    omnid_error err = {0};
    assert_int_equal(utf8_stream_end(u, &text, &n_text, &c->stopped, &err), OMNID_OK);
    memcpy(c->text + c->n, text, n_text + 1);
    c->n += n_text;
}

/* The text of n bytes in pieces of `step`. */
static collected run(const char *bytes, size_t n, size_t step, const char *const *stop, int n_stop)
{
    collected c = {.n = 0};
    utf8_stream *u = create(stop, n_stop);
    for (size_t i = 0; i < n && !c.stopped; i += step)
        push(u, &c, bytes + i, n - i < step ? n - i : step);
    if (!c.stopped)
        end(u, &c);
    utf8_stream_destroy(&u);
    utf8_stream_destroy(&u);
    return c;
}

static void test_replacement(void **state)
{
    (void)state;
    /* From Unicode 15, section 3.9, tables 3-8 to 3-11, and what Rust's from_utf8_lossy gives. */
    static const struct {
        const char *bytes, *text;
    } cases[] = {{"hello", "hello"},
                 {"h\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80!", "h\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80!"},
                 {"ar\xB4ideo", "ar" FFFD "ideo"},
                 {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A"},
                 {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A"},
                 {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", FFFD FFFD FFFD FFFD FFFD "A" FFFD FFFD "B"},
                 {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", FFFD FFFD FFFD FFFD "A"},
                 {"a\xE2\x82", "a" FFFD},
                 {"a\xF0\x9F\x98", "a" FFFD},
                 {"a\xF0", "a" FFFD},
                 {"\xE2\xE2\x82\xAC", FFFD "\xE2\x82\xAC"},
                 {"\xF0\x9F\xF0\x9F\x98\x80", FFFD "\xF0\x9F\x98\x80"},
                 {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= 10; step++) {
            collected c = run(cases[i].bytes, strlen(cases[i].bytes), step, NULL, 0);
            if (strcmp(c.text, cases[i].text) != 0)
                fail_msg("case %zu in steps of %zu: \"%s\"", i, step, c.text);
        }
}

/* A character is shown as soon as it is whole, and never before. */
static void test_whole_characters(void **state)
{
    (void)state;
    collected c = {.n = 0};
    utf8_stream *u = create(NULL, 0);
    push(u, &c, "a\xF0", 2);
    assert_string_equal(c.text, "a");
    push(u, &c, "\x9F", 1);
    push(u, &c, "\x98", 1);
    assert_string_equal(c.text, "a");
    push(u, &c, "", 0);
    push(u, &c, "\x80", 1);
    assert_string_equal(c.text, "a\xF0\x9F\x98\x80");
    end(u, &c);
    assert_string_equal(c.text, "a\xF0\x9F\x98\x80");
    utf8_stream_destroy(&u);
}

static void test_stop_strings(void **state)
{
    (void)state;
    static const char *const stop[] = {"STOP", "\n\n", "OPT\xC3\xA9"};
    static const struct {
        const char *bytes, *text;
        bool stopped;
    } cases[] = {{"one STOP two", "one ", true},
                 {"one STO", "one STO", false},
                 {"one STOSTOP", "one STO", true},
                 {"a\nb\n\nc", "a\nb", true},
                 {"STOP", "", true},
                 {"SSTOPT\xC3\xA9", "S", true}, /* the earliest counts */
                 {"xOPT\xC3\xA9y", "x", true},
                 {"xOPT\xC3", "xOPT" FFFD, false},
                 {"", "", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step <= 14; step++) {
            collected c = run(cases[i].bytes, strlen(cases[i].bytes), step, stop, 3);
            if (strcmp(c.text, cases[i].text) != 0 || c.stopped != cases[i].stopped)
                fail_msg("case %zu in steps of %zu: \"%s\"%s", i, step, c.text, c.stopped ? " stopped" : "");
        }
}

static void test_what_waits(void **state)
{
    (void)state;
    static const char *const stop[] = {"STOP"};
    collected c = {.n = 0};
    utf8_stream *u = create(stop, 1);
    push(u, &c, "a ST", 4);
    assert_string_equal(c.text, "a ");
    push(u, &c, "x", 1);
    assert_string_equal(c.text, "a STx");
    push(u, &c, "STO", 3);
    push(u, &c, "P and more", 10);
    assert_true(c.stopped);
    assert_string_equal(c.text, "a STx");
    push(u, &c, "nothing", 7);
    end(u, &c);
    assert_true(c.stopped);
    assert_string_equal(c.text, "a STx");
    utf8_stream_destroy(&u);
}

static void test_limits(void **state)
{
    (void)state;
    char long_stop[UTF8_STREAM_MAX_STOP_BYTES + 2];
    memset(long_stop, 'x', sizeof long_stop);
    long_stop[sizeof long_stop - 1] = '\0';
    const char *too_long[] = {long_stop}, *fits[] = {long_stop + 1}, *empty[] = {"a", ""},
               *many[UTF8_STREAM_MAX_STOPS + 1];
    for (int i = 0; i <= UTF8_STREAM_MAX_STOPS; i++)
        many[i] = "a";
    utf8_stream *u;
    omnid_error err;
    assert_int_equal(utf8_stream_create(&u, too_long, 1, &err), OMNID_LIMIT);
    assert_null(u);
    assert_int_equal(utf8_stream_create(&u, empty, 2, &err), OMNID_LIMIT);
    assert_int_equal(utf8_stream_create(&u, many, UTF8_STREAM_MAX_STOPS + 1, &err), OMNID_LIMIT);
    assert_int_equal(utf8_stream_create(&u, fits, 1, &err), OMNID_OK);
    utf8_stream_destroy(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replacement), cmocka_unit_test(test_whole_characters),
                                       cmocka_unit_test(test_stop_strings), cmocka_unit_test(test_what_waits),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
