/* mic_portaudio.h: the helper program's side of PortAudio: the list of microphones, one open stream. */
#ifndef OMNID_CAPTURE_MIC_PORTAUDIO_H
#define OMNID_CAPTURE_MIC_PORTAUDIO_H

#include "capture/mic_ring.h"
#include "capture/mic_wire.h"

enum { MIC_MAX_DEVICES = 64 };

/* A microphone that a person may name. */
typedef struct {
    char name[128];
    int device;     /* PortAudio's number; -1 = left out by PortAudio, why tells the reason */
    int n_channels; /* most */
    double rate_hz; /* the card's own, by PortAudio */
    int rank;       /* place in the list */
    bool listed; /* a card, the default or a sound server; false: one of ALSA's many routes, found by its name only */
    omnid_status status; /* with device -1 */
    char why[256];
} mic_device;

/* Starts PortAudio; once a process. cards_only: it sees sound cards alone, none of ALSA's routes, and is there in a fraction of
 * the time. DEVICE. */
omnid_status mic_portaudio_start(bool cards_only, omnid_error *err);
/* Every microphone, at most MIC_MAX_DEVICES, the default first, those that are not listed last; returns how many. */
int mic_portaudio_devices(mic_device *out);
/* Which of them is the default: ALSA's `default`, which on a desktop is the sound server and shares the card, else
 * PortAudio's; -1 = none. */
int mic_portaudio_default(const mic_device *devices, int n);
/* Fills in a row of omnid_devices_list for devices[i] of n. */
void mic_portaudio_describe(capture_device *out, const mic_device *devices, int n, int i);

typedef struct {
    mic_ring *ring;
    double rate_hz;
    int n_channels;
} mic_stream;

/* Opens and starts a microphone; its blocks come into s->ring from then on. rate_hz 0 = its own. BUSY, NOT_FOUND,
 * UNSUPPORTED (rate, channel), DEVICE, NOMEM. The stream ends with the process or with mic_portaudio_stop. */
omnid_status mic_portaudio_open(mic_stream *s, const mic_device *d, double rate_hz, mic_channel channel, int latency_ms,
                                omnid_error *err);
/* Closes the stream and PortAudio. May hang for ever where the card is gone. */
void mic_portaudio_stop(void);

#endif
