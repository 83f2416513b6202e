/* vm_player.h: plays silence without end, and clicks of which it tells the moment. */
#ifndef OMNID_TESTS_VM_PLAYER_H
#define OMNID_TESTS_VM_PLAYER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct vm_player vm_player;

/* Opens an ALSA playback device ("hw:0,0") and starts a thread. NULL after a sentence on standard error. */
vm_player *vm_player_start(const char *device);
/* Writes a click behind what is queued. Blocks until then; the CLOCK_MONOTONIC of its first sample in us, usually still to
 * come, or -1 when the device has failed. One thread. */
int64_t vm_player_click(vm_player *p);
void vm_player_stop(vm_player **p);

#endif
