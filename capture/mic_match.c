/* mic_match.c: names of microphones. */
#include "capture/mic_match.h"

#include <stdio.h>
#include <string.h>

typedef bool matcher(const char *name, const char *wanted);

static bool same(const char *name, const char *wanted)
{
    return !strcmp(name, wanted);
}

static bool same_in_any_letters(const char *name, const char *wanted)
{
    return !strcasecmp(name, wanted);
}

/* "hw:1,1" must not find "hw:1,10". */
static bool holds(const char *name, const char *wanted)
{
    char text[160];
    bool hardware = !strncmp(wanted, "hw:", 3);
    snprintf(text, sizeof text, hardware ? "(%s)" : "%s", wanted);
    return *wanted && strcasestr(name, text);
}

static void list(char *out, size_t size, const char *const *names, int n, matcher *matches, const char *wanted)
{
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < n && used < size; i++)
        if (matches(names[i], wanted))
            used += (size_t)snprintf(out + used, size - used, "%s'%s'", used ? ", " : "", names[i]);
}

static bool any(const char *name, const char *wanted)
{
    (void)name;
    (void)wanted;
    return true;
}

omnid_status mic_match(int *out, const char *const *names, int n, const char *wanted, omnid_error *err)
{
    matcher *const ways[] = {same, same_in_any_letters, holds};
    char text[320];
    for (int way = 0; way < 3; way++) {
        int n_found = 0;
        for (int i = n - 1; i >= 0; i--)
            if (ways[way](names[i], wanted)) {
                *out = i;
                n_found++;
            }
        if (n_found == 1 || (n_found && way == 0))
            return OMNID_OK;
        if (!n_found)
            continue;
        list(text, sizeof text, names, n, ways[way], wanted);
        return omnid_fail(err, OMNID_ARGUMENT, "'%.60s' fits %d microphones: %s; give more of the name", wanted,
                          n_found, text);
    }
    if (!n)
        return omnid_fail(err, OMNID_NOT_FOUND, "no microphone '%.60s': none is plugged into this machine", wanted);
    list(text, sizeof text, names, n, any, wanted);
    return omnid_fail(err, OMNID_NOT_FOUND, "no microphone '%.60s'; there are %s", wanted, text);
}
