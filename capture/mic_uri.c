/* mic_uri.c: options from the end, the rest is the name. */
#include "capture/mic_uri.h"

#include "capture/source.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A word of small letters and a sign of equality at the front; names of cards have none. */
static bool is_option(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    return n && text[n] == '=';
}

static bool read_whole(int *out, const char *text, long low, long high)
{
    char *end;
    long value = strtol(text, &end, 10);
    *out = (int)value;
    return isdigit((unsigned char)*text) && !*end && value >= low && value <= high;
}

static omnid_status read_option(mic_uri *o, const char *uri, const char *option, omnid_error *err)
{
    static const char *const channels[MIC_N_CHANNELS] = {"mix", "left", "right"};
    const char *value = strchr(option, '=') + 1, *want;
    int n_key = (int)(value - 1 - option);
    if (!strncmp(option, "rate=", 5)) {
        want = "Hz, 4000..384000";
        if (read_whole(&o->rate_hz, value, 4000, 384000))
            return OMNID_OK;
    } else if (!strncmp(option, "latency_ms=", 11)) {
        want = "ms, 10..200";
        if (read_whole(&o->latency_ms, value, 10, 200))
            return OMNID_OK;
    } else if (!strncmp(option, "channel=", 8)) {
        want = "left, right or mix";
        for (int i = 0; i < MIC_N_CHANNELS; i++)
            if (!strcmp(value, channels[i]))
                return o->channel = (mic_channel)i, OMNID_OK;
    } else {
        return omnid_fail(err, OMNID_ARGUMENT, "%.200s: no option '%.*s'; known are rate, channel, latency_ms", uri,
                          n_key, option);
    }
    return omnid_fail(err, OMNID_ARGUMENT, "%.200s: %.*s is '%s'; want %s", uri, n_key, option, value, want);
}

omnid_status mic_uri_parse(mic_uri *out, const char *uri, omnid_error *err)
{
    char text[256];
    *out = (mic_uri){.channel = MIC_MIX, .latency_ms = MIC_LATENCY_MS};
    if (strlen(source_rest(uri)) >= sizeof text)
        return omnid_fail(err, OMNID_ARGUMENT, "%.60s…: want at most %zu letters behind 'mic:'", uri, sizeof text - 1);
    strcpy(text, source_rest(uri));
    for (char *comma; (comma = strrchr(text, ',')) && is_option(comma + 1); *comma = '\0')
        OMNID_TRY(read_option(out, uri, comma + 1, err));
    if (!*text || is_option(text))
        return omnid_fail(err, OMNID_ARGUMENT,
                          "%.200s: names no microphone; want mic:default, or mic:NAME with a part of a name that "
                          "omnid-devices lists",
                          uri);
    if (strlen(text) >= sizeof out->name)
        return omnid_fail(err, OMNID_ARGUMENT, "%.60s…: want a name of at most %zu letters", uri, sizeof out->name - 1);
    strcpy(out->name, text);
    return OMNID_OK;
}
