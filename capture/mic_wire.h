/* mic_wire.h: what omnid-mic, the helper program, says on its standard output. One machine, one build: plain structs.
 *
 * The helper owns PortAudio. A card that goes can leave PortAudio spinning or hanging, and PortAudio learns of a new card
 * only by a fresh start: a program that can be killed has neither problem.
 *
 *     omnid-mic list PARENT                                    DEVICE… DONE | ERROR
 *     omnid-mic record PARENT RATE CHANNEL LATENCY_MS NAME     OPENED SOUND… | ERROR
 *
 * PARENT: the pid with which the helper dies. RATE 0 = the card's own; LATENCY_MS as the URI's option; CHANNEL a
 * mic_channel. The end of standard input means: close and leave. Standard error is chatter of ALSA's and JACK's. */
#ifndef OMNID_CAPTURE_MIC_WIRE_H
#define OMNID_CAPTURE_MIC_WIRE_H

#include "capture/devices.h"

enum { MIC_WIRE_MAGIC = 0x434d4f31, MIC_WIRE_SAMPLES = 1024 /* at most in a SOUND */ };

typedef enum { MIC_MIX, MIC_LEFT, MIC_RIGHT, MIC_N_CHANNELS } mic_channel;

typedef enum {
    MIC_WIRE_OPENED = 1, /* mic_wire_opened */
    MIC_WIRE_SOUND,      /* float[], mono, 1..MIC_WIRE_SAMPLES of them */
    MIC_WIRE_DEVICE,     /* capture_device */
    MIC_WIRE_DONE,       /* nothing */
    MIC_WIRE_ERROR,      /* omnid_error; the last */
} mic_wire_kind;

/* Before each payload. */
typedef struct {
    uint32_t magic, kind, n_bytes; /* of the payload */
    uint32_t hole;                 /* SOUND: the card lost samples before this block */
    int64_t t_us;                  /* SOUND: CLOCK_MONOTONIC at which the first sample was taken */
    int64_t index;                 /* SOUND: its number since the card was opened */
} mic_wire_head;

typedef struct {
    double rate_hz;
    int32_t n_channels; /* of the card; the sound is mono */
    char name[128];     /* the card's */
} mic_wire_opened;

typedef union {
    mic_wire_opened opened;
    float samples[MIC_WIRE_SAMPLES];
    capture_device device;
    omnid_error error;
} mic_wire_payload;

#endif
