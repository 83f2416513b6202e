/* mic_devices.c: asks the helper program for the list. */
#include "capture/mic_devices.h"

#include "capture/mic_process.h"

#include <stdlib.h>

enum { LIST_MS = 10000, MAX_DEVICES = 256 };

/* Reads DEVICE messages up to DONE. */
static omnid_status read_list(mic_process *p, capture_device **out, int *n, omnid_error *err)
{
    int64_t until_us = omnid_clock_us() + (int64_t)LIST_MS * 1000;
    for (;;) {
        mic_wire_head head;
        const mic_wire_payload *payload;
        int left_ms = (int)((until_us - omnid_clock_us()) / 1000);
        omnid_status status = mic_process_read(p, &head, &payload, left_ms > 0 ? left_ms : 0, err);
        if (status == OMNID_AGAIN)
            return omnid_fail(err, OMNID_DEVICE,
                              "the list of microphones did not come within %d s: a card or a sound "
                              "server hangs",
                              LIST_MS / 1000);
        if (status != OMNID_OK || head.kind == MIC_WIRE_DONE)
            return status;
        if (head.kind != MIC_WIRE_DEVICE || *n == MAX_DEVICES)
            return omnid_fail(err, OMNID_FORMAT, "the microphones' helper program answers something else than a list");
        capture_device *grown = realloc(*out, (size_t)(*n + 1) * sizeof **out);
        if (!grown)
            return omnid_fail(err, OMNID_NOMEM, "out of memory for the list of microphones");
        *out = grown;
        grown[(*n)++] = payload->device;
    }
}

omnid_status mic_devices_list(capture_device **out, int *n, omnid_error *err)
{
    static const char *const arguments[] = {"list", NULL};
    mic_process *p;
    *out = NULL;
    *n = 0;
    OMNID_TRY(mic_process_start(&p, arguments, err));
    omnid_status status = read_list(p, out, n, err);
    mic_process_stop(&p);
    if (status == OMNID_OK)
        return OMNID_OK;
    free(*out);
    *out = NULL;
    *n = 0;
    return status;
}
