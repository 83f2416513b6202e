/* Names: the URI taken apart, the microphone a person means, the cards that the kernel lists. */
#include "capture/capture.h"
#include "capture/mic_cards.h"
#include "capture/mic_match.h"
#include "capture/mic_uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static void test_uris(void **state)
{
    (void)state;
    mic_uri u;
    omnid_error err;
    assert_int_equal(mic_uri_parse(&u, "mic:default", &err), OMNID_OK);
    assert_string_equal(u.name, "default");
    assert_int_equal(u.rate_hz, 0);
    assert_int_equal(u.channel, MIC_MIX);
    assert_int_equal(u.latency_ms, MIC_LATENCY_MS);
    assert_int_equal(mic_uri_parse(&u, "mic:Loopback: PCM (hw:0,1),channel=right,rate=48000,latency_ms=50", &err),
                     OMNID_OK);
    assert_string_equal(u.name, "Loopback: PCM (hw:0,1)");
    assert_int_equal(u.rate_hz, 48000);
    assert_int_equal(u.channel, MIC_RIGHT);
    assert_int_equal(u.latency_ms, 50);
    assert_int_equal(mic_uri_parse(&u, "mic:Yeti, blue,channel=left", &err), OMNID_OK);
    assert_string_equal(u.name, "Yeti, blue"); /* what is no option is the name's */
    assert_int_equal(u.channel, MIC_LEFT);
}

static void test_bad_uris(void **state)
{
    (void)state;
    const struct {
        const char *uri, *says;
    } bad[] = {
        {"mic:", "names no microphone"},
        {"mic:,rate=48000", "names no microphone"},
        {"mic:rate=48000", "names no microphone"},
        {"mic:x,rate=", "rate is ''; want Hz, 4000..384000"},
        {"mic:x,rate=3999", "rate is '3999'"},
        {"mic:x,rate=48000.5", "rate is '48000.5'"},
        {"mic:x,rate=-48000", "rate is '-48000'"},
        {"mic:x,rate=99999999999999999999", "rate is"},
        {"mic:x,channel=middle", "want left, right or mix"},
        {"mic:x,latency_ms=5", "want ms, 10..200"},
        {"mic:x,gain=3", "no option 'gain'; known are rate, channel, latency_ms"},
    };
    mic_uri u;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        omnid_error err = {0};
        assert_int_equal(mic_uri_parse(&u, bad[i].uri, &err), OMNID_ARGUMENT);
        if (!strstr(err.text, bad[i].says))
            fail_msg("'%s' says: %s", bad[i].uri, err.text);
        assert_int_equal(omnid_capture_check(bad[i].uri, &err), OMNID_ARGUMENT);
    }
    char uri[600] = "mic:";
    memset(uri + 4, 'x', 200); /* longer than a name */
    assert_int_equal(mic_uri_parse(&u, uri, NULL), OMNID_ARGUMENT);
    memset(uri + 4, 'x', 590);
    assert_int_equal(mic_uri_parse(&u, uri, NULL), OMNID_ARGUMENT);
}

static const char *const names[] = {
    "default",
    "USB Audio Device: - (hw:1,0)",
    "USB audio CODEC: Audio (hw:2,0)",
    "HDA Intel: ALC (hw:0,0)",
    "HDA Intel: ALC (hw:0,10)",
    "usb audio device: - (HW:1,0)",
};

static void check_match(const char *wanted, int want)
{
    int at = -1;
    omnid_error err;
    if (mic_match(&at, names, 6, wanted, &err) != OMNID_OK)
        fail_msg("'%s': %s", wanted, err.text);
    assert_int_equal(at, want);
}

static void test_matching(void **state)
{
    (void)state;
    check_match("default", 0);
    check_match("USB Audio Device: - (hw:1,0)", 1); /* itself goes before the same in other letters */
    check_match("usb audio device: - (HW:1,0)", 5);
    check_match("DEFAULT", 0);
    check_match("codec", 2);
    check_match("hw:2,0", 2);
    check_match("(hw:0,1", 4); /* a part like any other */
}

static void test_no_match(void **state)
{
    (void)state;
    int at;
    omnid_error err;
    assert_int_equal(mic_match(&at, names, 6, "hw:0,1", &err), OMNID_NOT_FOUND); /* not hw:0,10 */
    assert_non_null(strstr(err.text, "no microphone 'hw:0,1'; there are 'default', 'USB Audio Device: - (hw:1,0)'"));
    assert_int_equal(mic_match(&at, names, 6, "Intel", &err), OMNID_ARGUMENT);
    assert_string_equal(err.text, "'Intel' fits 2 microphones: 'HDA Intel: ALC (hw:0,0)', 'HDA Intel: ALC (hw:0,10)'; "
                                  "give more of the name");
    assert_int_equal(mic_match(&at, names, 6, "", &err), OMNID_NOT_FOUND);
    assert_int_equal(mic_match(&at, NULL, 0, "x", &err), OMNID_NOT_FOUND);
    assert_string_equal(err.text, "no microphone 'x': none is plugged into this machine");
    const char *many[64];
    for (int i = 0; i < 64; i++)
        many[i] = "a microphone of a name that is quite long, as some are, and that is met 64 times";
    assert_int_equal(mic_match(&at, many, 64, "Long", &err), OMNID_ARGUMENT); /* the list ends where its room does */
    assert_int_equal(mic_match(&at, many, 64, "met", &err), OMNID_ARGUMENT);
    assert_int_equal(mic_match(&at, many, 64, "z", &err), OMNID_NOT_FOUND);
}

static const char cards_text[] = " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n"
                                 "                      HDA Intel PCH at 0xf7f10000 irq 33\n"
                                 " 1 [Device         ]: USB-Audio - USB Audio Device\n"
                                 "                      C-Media - USB Audio Device at usb-0000:00:14.0-1\n"
                                 "12 [Loopback       ]: Loopback - Loopback\n"
                                 "                      Loopback 1\n";
static const char pcms_text[] = "00-00: ALC887 Analog : ALC887 Analog : playback 1 : capture 1\n"
                                "00-03: HDMI 0 : HDMI 0 : playback 1\n"
                                "01-00: USB Audio : USB Audio : playback 1 : capture 1\n"
                                "12-01: Loopback PCM : Loopback PCM : playback 8 : capture 8\n"
                                "03-00: USB Audio Device : USB Audio Device : capture 1\n";

static void test_cards(void **state)
{
    (void)state;
    mic_card cards[8];
    assert_int_equal(mic_cards_parse(cards, 8, cards_text, pcms_text), 4);
    assert_string_equal(cards[0].name, "HDA Intel PCH: ALC887 Analog (hw:0,0)");
    assert_string_equal(cards[1].name, "USB Audio Device: USB Audio (hw:1,0)");
    assert_string_equal(cards[2].name, "Loopback: PCM (hw:12,1)");
    assert_int_equal(cards[2].card, 12);
    assert_int_equal(cards[2].device, 1);
    assert_string_equal(cards[3].name, "card 3: USB Audio Device (hw:3,0)"); /* a card that nothing is known of */
    assert_int_equal(mic_cards_parse(cards, 2, cards_text, pcms_text), 2);
    assert_int_equal(mic_cards_parse(cards, 8, "", ""), 0);
}

static void test_torn_cards(void **state)
{
    (void)state;
    mic_card cards[8];
    char a[sizeof cards_text], b[sizeof pcms_text];
    for (size_t i = 0; i < sizeof cards_text; i++)
        for (size_t k = 0; k < sizeof pcms_text; k += 3) {
            snprintf(a, i + 1, "%s", cards_text);
            snprintf(b, k + 1, "%s", pcms_text);
            assert_in_range(mic_cards_parse(cards, 8, a, b), 0, 4);
        }
    assert_int_equal(mic_cards_parse(cards, 8, "]: ]: - \n\n[", "-1--1: a : b : capture 1\n:::\n : : : capture \n"), 0);
}

static void test_why(void **state)
{
    (void)state;
    char why[256];
    const mic_card none = {77, 3, "nothing (hw:77,3)"};
    assert_true(mic_cards_why(&none, why, sizeof why));
    assert_non_null(strstr(why, "/dev/snd/pcmC77D3c is not there"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uris),     cmocka_unit_test(test_bad_uris), cmocka_unit_test(test_matching),
        cmocka_unit_test(test_no_match), cmocka_unit_test(test_cards),    cmocka_unit_test(test_torn_cards),
        cmocka_unit_test(test_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
