/* test_protocol.c: messages from clients, good and bad, and docs/protocol.md's tables against the code's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/protocol.h"

#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const protocol_limits limits = {.max_message_bytes = 4096, .max_question_bytes = 100, .max_deadline_ms = 5000};

static void every_field_arrives(void **state)
{
    (void)state;
    protocol_request r;
    protocol_error e;
    const char *text =
        "{\"op\":\"ask\",\"id\":\"a\",\"question\":\"q\",\"camera\":\"door\",\"mode\":\"offline\",\"policy\":"
        "\"random\","
        "\"retention\":20,\"first_prune\":3,\"max_tokens\":7,\"temperature\":0.5,\"top_p\":0.9,"
        "\"repetition_penalty\":1.1,\"seed\":11,\"deadline_ms\":5000,\"stream\":false,\"now\":true,\"last_s\":4,"
        "\"history\":[{\"question\":\"hq\",\"answer\":\"ha\"}],\"stop\":[\"x\",\"yy\"]}";
    assert_true(protocol_parse(&r, text, strlen(text), &limits, &e));
    assert_int_equal(r.op, PROTOCOL_ASK);
    assert_string_equal(json_string_value(r.id), "a");
    assert_string_equal(r.question, "q");
    assert_string_equal(r.camera, "door");
    assert_string_equal(r.mode, "offline");
    assert_string_equal(r.policy, "random");
    assert_string_equal(r.retention, "20");
    assert_int_equal(r.first_prune, 3);
    assert_int_equal(r.max_tokens, 7);
    assert_true(r.temperature == 0.5 && r.top_p == 0.9 && r.repetition_penalty == 1.1 && r.last_s == 4);
    assert_int_equal(r.seed, 11);
    assert_int_equal(r.deadline_ms, 5000);
    assert_int_equal(r.stream, 0);
    assert_int_equal(r.now, 1);
    assert_int_equal(r.n_history, 1);
    assert_string_equal(r.history[0].answer, "ha");
    assert_int_equal(r.n_stop, 2);
    assert_string_equal(r.stop[1], "yy");
    protocol_request_clear(&r);
}

static void what_is_not_given_is_unset(void **state)
{
    (void)state;
    protocol_request r;
    protocol_error e;
    const char *text = "{\"op\":\"ask\",\"question\":\"q\",\"retention\":\"0,0.2,0.5,14\"}";
    assert_true(protocol_parse(&r, text, strlen(text), &limits, &e));
    assert_null(r.id);
    assert_null(r.camera);
    assert_null(r.mode);
    assert_string_equal(r.retention, "0,0.2,0.5,14");
    assert_true(r.first_prune == PROTOCOL_UNSET && r.max_tokens == PROTOCOL_UNSET && r.seed == PROTOCOL_UNSET);
    assert_true(isnan(r.temperature) && isnan(r.top_p) && isnan(r.last_s));
    assert_int_equal(r.stream, -1);
    assert_int_equal(r.now, -1);
    assert_int_equal(r.n_choices + r.n_history + r.n_stop, 0);
    protocol_request_clear(&r);
}

/* What is wrong, the code for it, words of the sentence. %s: a long text. */
static const struct {
    const char *text;
    protocol_code code;
    const char *words;
} bad[] = {
    {"", PROTOCOL_BAD_JSON, "not JSON"},
    {"{", PROTOCOL_BAD_JSON, "not JSON"},
    {"{\"op\":\"status\"} x", PROTOCOL_BAD_JSON, "end of file"},
    {"null", PROTOCOL_BAD_JSON, "not JSON"},
    {"[\"op\"]", PROTOCOL_BAD_JSON, "found a list"},
    {"{\"op\":\"status\",\"op\":\"ask\"}", PROTOCOL_BAD_JSON, "duplicate"},
    {"{\"op\":\"ask\",\"question\":\"\xff\"}", PROTOCOL_BAD_JSON, "not JSON"},
    {"{\"op\":\"ask\",\"question\":\"a\\u0000b\"}", PROTOCOL_BAD_JSON, "NUL"},
    {"{\"op\":3}", PROTOCOL_BAD_FIELD, "op: want a string, found a whole number"},
    {"{\"op\":\"\"}", PROTOCOL_UNKNOWN_OP, "unknown op ''"},
    {"{\"op\":\"canel\"}", PROTOCOL_UNKNOWN_OP, "nearest is cancel"},
    {"{\"op\":\"status\",\"question\":\"x\"}", PROTOCOL_UNKNOWN_FIELD, "status has no field 'question'"},
    {"{\"op\":\"cancel\",\"id\":1,\"camera\":\"x\"}", PROTOCOL_UNKNOWN_FIELD, "cancel has no field 'camera'"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"Mode\":\"eager\"}", PROTOCOL_UNKNOWN_FIELD, "nearest is mode"},
    {"{\"op\":\"ask\"}", PROTOCOL_BAD_FIELD, "question: want a string, found nothing"},
    {"{\"op\":\"ask\",\"question\":\"\"}", PROTOCOL_BAD_FIELD, "empty string"},
    {"{\"op\":\"ask\",\"question\":7}", PROTOCOL_BAD_FIELD, "question: want a string"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"id\":1.5}", PROTOCOL_BAD_FIELD, "id: want"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"id\":\"\"}", PROTOCOL_BAD_FIELD, "id: want"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"id\":null}", PROTOCOL_BAD_FIELD, "found null"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"max_tokens\":0}", PROTOCOL_BAD_FIELD, "max_tokens: want 1 to 4096, found 0"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"max_tokens\":4097}", PROTOCOL_BAD_FIELD, "found 4097"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"max_tokens\":2.0}", PROTOCOL_BAD_FIELD,
     "want a whole number, found a number"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"max_tokens\":\"9\"}", PROTOCOL_BAD_FIELD, "found a string"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"temperature\":-1}", PROTOCOL_BAD_FIELD, "temperature: want 0 to 100"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"top_p\":0}", PROTOCOL_BAD_FIELD, "top_p"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"seed\":-1}", PROTOCOL_BAD_FIELD, "seed"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"deadline_ms\":5001}", PROTOCOL_BAD_FIELD, "deadline_ms: want 1 to 5000"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"stream\":1}", PROTOCOL_BAD_FIELD, "stream: want true or false"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"retention\":0}", PROTOCOL_BAD_FIELD, "retention"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"retention\":101}", PROTOCOL_BAD_FIELD, "at most 100"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"retention\":[]}", PROTOCOL_BAD_FIELD, "found a list"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"choices\":[\"a\"]}", PROTOCOL_BAD_FIELD,
     "choices: want 2 to 64 entries, found 1"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"choices\":[\"a\",2]}", PROTOCOL_BAD_FIELD, "choices: entry 1"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"choices\":[\"a\",\"\"]}", PROTOCOL_BAD_FIELD, "an empty one"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"choices\":\"ab\"}", PROTOCOL_BAD_FIELD, "choices: want a list"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"choices\":[\"a\",\"b\"],\"stop\":[\"c\"]}", PROTOCOL_BAD_FIELD,
     "does not go with choices"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"history\":[{\"question\":\"a\"}]}", PROTOCOL_BAD_FIELD, "history: entry 0"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"history\":[3]}", PROTOCOL_BAD_FIELD, "history: entry 0"},
    {"{\"op\":\"ask\",\"question\":\"x\",\"history\":[{\"question\":\"a\",\"answer\":\"b\",\"c\":1}]}",
     PROTOCOL_BAD_FIELD, "exactly"},
    {"{\"op\":\"cancel\"}", PROTOCOL_BAD_FIELD, "id: want the id"},
    {"{\"op\":\"frame\",\"t\":1795257088}", PROTOCOL_BAD_FIELD, "t: want a string, found a whole number"},
    {"{\"op\":\"frame\",\"t\":\"noon\"}", PROTOCOL_BAD_FIELD,
     "t: want a moment like 2026-11-21T10:31:28.500Z, found 'noon'"},
    {"{\"op\":\"frame\",\"ago_s\":-1}", PROTOCOL_BAD_FIELD, "ago_s: want 0 to"},
    {"{\"op\":\"frame\",\"ago_s\":\"1\"}", PROTOCOL_BAD_FIELD, "ago_s: want a number, found a string"},
    {"{\"op\":\"frame\",\"ago_s\":1,\"segment\":4}", PROTOCOL_BAD_FIELD, "want one of them at most, found 2"},
    {"{\"op\":\"frame\",\"segment\":-1}", PROTOCOL_BAD_FIELD, "segment: want 0 to"},
    {"{\"op\":\"frame\",\"segment\":1,\"frame\":4}", PROTOCOL_BAD_FIELD, "frame: want 0 to 3, found 4"},
    {"{\"op\":\"frame\",\"frame\":1}", PROTOCOL_BAD_FIELD, "frame: does not go without segment"},
    {"{\"op\":\"frame\",\"max_width\":8}", PROTOCOL_BAD_FIELD, "max_width: want 16 to 16384, found 8"},
    {"{\"op\":\"frame\",\"index\":1}", PROTOCOL_UNKNOWN_FIELD, "frame has no field 'index'"},
    {"{\"op\":\"frames\"}", PROTOCOL_UNKNOWN_OP, "nearest is frame"},
    {"{\"op\":\"pause\",\"what\":\"picture\"}", PROTOCOL_BAD_FIELD, "what: want video, audio or both, found 'picture'"},
    {"{\"op\":\"pause\",\"what\":true}", PROTOCOL_BAD_FIELD, "what: want a string, found true"},
    {"{\"op\":\"resume\",\"t\":\"x\"}", PROTOCOL_UNKNOWN_FIELD, "resume has no field 't'"},
};

static void bad_messages_get_code_and_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        protocol_request r;
        protocol_error e;
        bool good = protocol_parse(&r, bad[i].text, strlen(bad[i].text), &limits, &e);
        if (good || e.code != bad[i].code || !strstr(e.text, bad[i].words))
            fail_msg("%s: want %s '%s', found %s '%s'", bad[i].text, protocol_code_name(bad[i].code), bad[i].words,
                     good ? "no error" : protocol_code_name(e.code), good ? "" : e.text);
        protocol_request_clear(&r);
    }
}

static void long_and_deep_messages_are_refused(void **state)
{
    (void)state;
    protocol_request r;
    protocol_error e;
    char *text = malloc(8192);
    memset(text, '[', 8192);
    assert_false(protocol_parse(&r, text, 8192, &limits, &e));
    assert_int_equal(e.code, PROTOCOL_TOO_LONG);
    protocol_request_clear(&r);
    assert_false(protocol_parse(&r, text, 4096, &limits, &e)); /* 4096 levels */
    assert_int_equal(e.code, PROTOCOL_BAD_JSON);
    protocol_request_clear(&r);
    /* question, history and choices count together */
    int n = sprintf(
        text, "{\"op\":\"ask\",\"question\":\"%060d\",\"history\":[{\"question\":\"%040d\",\"answer\":\"a\"}]}", 1, 1);
    assert_false(protocol_parse(&r, text, (size_t)n, &limits, &e));
    assert_int_equal(e.code, PROTOCOL_TOO_LONG);
    assert_non_null(strstr(e.text, "at most 100 bytes, found 101"));
    protocol_request_clear(&r);
    free(text);
}

static void an_error_keeps_the_id(void **state)
{
    (void)state;
    protocol_request r;
    protocol_error e;
    const char *text = "{\"op\":\"ask\",\"id\":77,\"question\":\"x\",\"nonsense\":1}";
    assert_false(protocol_parse(&r, text, strlen(text), &limits, &e));
    json_t *reply = protocol_reply_error(r.id, &e);
    assert_int_equal(json_integer_value(json_object_get(reply, "id")), 77);
    assert_string_equal(json_string_value(json_object_get(reply, "code")), "unknown_field");
    json_decref(reply);
    protocol_request_clear(&r);
}

static void times_are_iso_with_milliseconds(void **state)
{
    (void)state;
    json_t *time = protocol_time(1795257088123456);
    assert_string_equal(json_string_value(time), "2026-11-21T10:31:28.123Z");
    json_decref(time);
    assert_true(json_is_null(protocol_time(0)));
    int64_t wall_us = 0;
    assert_true(protocol_parse_time("2026-11-21T10:31:28.123Z", &wall_us));
    assert_true(wall_us == 1795257088123000);
    assert_true(protocol_parse_time("2026-11-21T11:31:28.123+01:00", &wall_us));
    assert_true(wall_us == 1795257088123000);
    assert_false(protocol_parse_time("yesterday", &wall_us));
    assert_false(protocol_parse_time("1969-12-31T00:00:00Z", &wall_us));
}

static void frame_and_pause_have_their_fields(void **state)
{
    (void)state;
    protocol_request r;
    protocol_error e;
    const char *text = "{\"op\":\"frame\",\"camera\":\"door\",\"segment\":7,\"frame\":3,\"max_width\":320}";
    assert_true(protocol_parse(&r, text, strlen(text), &limits, &e));
    assert_int_equal(r.op, PROTOCOL_FRAME);
    assert_string_equal(r.camera, "door");
    assert_true(r.segment == 7 && r.frame == 3 && r.max_width == 320);
    assert_true(r.wall_us == PROTOCOL_UNSET && isnan(r.ago_s));
    protocol_request_clear(&r);
    text = "{\"op\":\"frame\",\"t\":\"2026-11-21T10:31:28.500Z\"}";
    assert_true(protocol_parse(&r, text, strlen(text), &limits, &e));
    assert_true(r.wall_us == 1795257088500000 && r.segment == PROTOCOL_UNSET && r.frame == PROTOCOL_UNSET);
    protocol_request_clear(&r);
    text = "{\"op\":\"frame\",\"ago_s\":12.5}";
    assert_true(protocol_parse(&r, text, strlen(text), &limits, &e));
    assert_true(r.ago_s == 12.5);
    protocol_request_clear(&r);
    static const struct {
        const char *text;
        bool video, audio;
    } pauses[] = {{"{\"op\":\"pause\"}", true, true},
                  {"{\"op\":\"pause\",\"what\":\"both\"}", true, true},
                  {"{\"op\":\"resume\",\"what\":\"video\"}", true, false},
                  {"{\"op\":\"pause\",\"what\":\"audio\"}", false, true}};
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        assert_true(protocol_parse(&r, pauses[i].text, strlen(pauses[i].text), &limits, &e));
        assert_int_equal(r.op, i == 2 ? PROTOCOL_RESUME : PROTOCOL_PAUSE);
        assert_true(r.video == pauses[i].video && r.audio == pauses[i].audio);
        protocol_request_clear(&r);
    }
}

/* The first column of the table that follows `heading` and then `header` in the page; NULL-terminated, g_strfreev. */
static char **first_column(const char *page, const char *heading, const char *header, int column)
{
    GPtrArray *names = g_ptr_array_new();
    const char *at = strstr(page, heading);
    at = at ? strstr(at, header) : NULL;
    assert_non_null(at);
    char **lines = g_strsplit(at, "\n", -1);
    for (int i = 2; lines[i] && lines[i][0] == '|'; i++) {
        char **cells = g_strsplit(lines[i], " | ", -1);
        char *name = g_strdup(cells[column] + (column == 0 ? 2 : 0));
        g_ptr_array_add(names, g_strdelimit(g_strstrip(name), "`", ' '));
        g_strstrip(name);
        g_strfreev(cells);
    }
    g_strfreev(lines);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

static void the_page_has_the_codes_fields_and_errors(void **state)
{
    (void)state;
    char *page = NULL;
    assert_true(g_file_get_contents(OMNID_SOURCE_DIR "/docs/protocol.md", &page, NULL, NULL));
    for (int op = 0; op < PROTOCOL_N_OPS; op++) {
        const char *names[64];
        size_t n = protocol_op_fields((protocol_op)op, names, 64);
        char heading[64];
        snprintf(heading, sizeof heading, "\n## %s\n", protocol_op_name((protocol_op)op));
        char **fields = first_column(page, heading, "| field | type ", 0);
        assert_int_equal(g_strv_length(fields), n);
        for (size_t i = 0; i < n; i++)
            if (!g_strv_contains((const char *const *)fields, names[i]))
                fail_msg("%s: field %s is not in docs/protocol.md", protocol_op_name((protocol_op)op), names[i]);
        g_strfreev(fields);
    }
    char **codes = first_column(page, "\n## Errors\n", "| code | means", 0);
    char **texts = first_column(page, "\n## Errors\n", "| code | means", 1);
    assert_int_equal(g_strv_length(codes), PROTOCOL_N_ERRORS);
    for (int i = 0; i < PROTOCOL_N_ERRORS; i++) {
        assert_string_equal(codes[i], protocol_code_name((protocol_code)i));
        assert_string_equal(texts[i], protocol_code_text((protocol_code)i));
    }
    g_strfreev(codes);
    g_strfreev(texts);
    g_free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_arrives),
        cmocka_unit_test(what_is_not_given_is_unset),
        cmocka_unit_test(bad_messages_get_code_and_sentence),
        cmocka_unit_test(long_and_deep_messages_are_refused),
        cmocka_unit_test(an_error_keeps_the_id),
        cmocka_unit_test(times_are_iso_with_milliseconds),
        cmocka_unit_test(frame_and_pause_have_their_fields),
        cmocka_unit_test(the_page_has_the_codes_fields_and_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
