/* mic_uri.h: "mic:NAME|default[,OPTION=VALUE…]" taken apart. */
#ifndef OMNID_CAPTURE_MIC_URI_H
#define OMNID_CAPTURE_MIC_URI_H

#include "capture/mic_wire.h"

/* How often the card tells of its sound, thus how old the newest is. */
enum { MIC_LATENCY_MS = 50 };

typedef struct {
    char name[128]; /* may hold commas: "hw:0,1" */
    int rate_hz;    /* 0 = the card's own */
    mic_channel channel;
    int latency_ms;
} mic_uri;

/* ARGUMENT: which part, what was wanted and what was found. Pure. */
omnid_status mic_uri_parse(mic_uri *out, const char *uri, omnid_error *err);

#endif
