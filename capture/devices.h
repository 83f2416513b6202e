/* devices.h: the cameras and microphones of this machine, and what omnid would do with each.
 *
 * Used by omnid-devices, by tools/demo.sh --camera and by the sentences that name what there is instead of what was asked. */
#ifndef OMNID_CAPTURE_DEVICES_H
#define OMNID_CAPTURE_DEVICES_H

#include "base/base.h"

#include <stdio.h>

typedef struct {
    bool video;       /* a camera; false: a microphone */
    char uri[320];    /* what to write into the configuration: "v4l2:/dev/v4l/by-id/…", "mic:USB Audio" */
    char path[128];   /* "/dev/video0", or PortAudio's host and index: "ALSA 3" */
    char name[128];   /* as the driver says it */
    char bus[128];    /* V4L2's bus_info; "" = not known. With serial: finds the device again on another path */
    char serial[128]; /* USB serial number; "" = none */
    bool usable;      /* omnid can use it */
    char choice[160]; /* "MJPG 640x480 at 15/s", "48000 Hz, 1 channel"; "" when not usable */
    char why[320];    /* one sentence: why this choice, or why it cannot be used and what to do */
} capture_device;

/* Every camera node and every microphone, cameras first, in the order of their paths. Opens each for a moment; one that is
 * busy or forbidden is in the list with its sentence in why, and so is the microphones' side as a whole (one unusable
 * entry without URI) when PortAudio does not start. *out is an array of *n, to be freed with free(); NULL and 0 when there
 * is none. NOMEM. Takes up to some seconds: PortAudio asks every card. */
OMNID_API omnid_status omnid_devices_list(capture_device **out, int *n, omnid_error *err);

/* Writes every format, size, rate and control of the camera at path (or a link to it), one a line. NOT_FOUND, IO (group
 * missing), UNSUPPORTED (no camera), DEVICE, NOMEM. */
OMNID_API omnid_status omnid_devices_print_modes(FILE *to, const char *path, omnid_error *err);

#endif
