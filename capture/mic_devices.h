/* mic_devices.h: the microphones of this machine, as PortAudio and the kernel know them. */
#ifndef OMNID_CAPTURE_MIC_DEVICES_H
#define OMNID_CAPTURE_MIC_DEVICES_H

#include "capture/devices.h"

/* Every microphone that a person would name: `default` (the sound server's, where there is one) first, then the cards in
 * PortAudio's order, then cards that PortAudio leaves out because they are busy or forbidden, with the reason in why.
 * *out is an array of *n, to be freed with free(); NULL and 0 when there is none. NOMEM; DEVICE: PortAudio does not start,
 * or its helper program is missing, dies or does not answer within 10 s. Asks the helper program, so that a card that hangs
 * cannot hold the caller. Any thread. */
omnid_status mic_devices_list(capture_device **out, int *n, omnid_error *err);

#endif
