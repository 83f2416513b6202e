/* fuzz_uri.c: what whoever configures omnid writes as a source: URIs that are taken apart by hand, and the hiding of passwords. */
#include "capture/capture.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Their check asks no device and builds no pipeline. */
static bool is_cheap(const char *uri)
{
    static const char *const schemes[] = {"rtsp:", "rtsps:", "mic:", "test:"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (!strncmp(uri, schemes[i], strlen(schemes[i])))
            return true;
    return false;
}

/* Hidden once is hidden, whatever the room, and nothing is written behind it. */
static void hide(const char *uri, size_t room)
{
    char *text = malloc(room), *again = malloc(room);
    size_t n = strlen(uri) < room ? strlen(uri) : room - 1;
    memcpy(text, uri, n);
    text[n] = '\0';
    omnid_capture_hide_password(text, room);
    if (strlen(text) >= room)
        abort();
    strcpy(again, text);
    omnid_capture_hide_password(again, room);
    if (strlen(uri) + 64 <= room && strcmp(text, again) != 0)
        abort();
    free(text);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *uri = calloc(1, size + 1);
    memcpy(uri, data, size);
    hide(uri, size + 1);
    hide(uri, size / 2 + 1);
    omnid_error err = {0};
    if (is_cheap(uri) && omnid_capture_check(uri, &err) != OMNID_OK && !err.text[0])
        abort();
    free(uri);
    return 0;
}
