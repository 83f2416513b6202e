/* mic_process.h: starts the helper program omnid-mic, reads what it says, and ends it whatever it does. */
#ifndef OMNID_CAPTURE_MIC_PROCESS_H
#define OMNID_CAPTURE_MIC_PROCESS_H

#include "capture/mic_wire.h"

typedef struct mic_process mic_process;

/* Starts the helper with the arguments arguments[0..], NULL at the end (at most 8; borrowed), the parent's pid put in behind
 * the first. The helper is $OMNID_MIC_HELPER, else `omnid-mic` beside this executable, else the installed one; it inherits
 * no descriptor and no signal setting, and dies with this thread. NOT_FOUND: no such program; DEVICE: it does not start. */
omnid_status mic_process_start(mic_process **out, const char *const *arguments, omnid_error *err);
/* The next message; *payload is borrowed until the next call and checked for its size. AGAIN: none within timeout_ms. Its
 * ERROR comes as that status and sentence. DEVICE: it ended or died, and how; FORMAT: what it says makes no sense. */
omnid_status mic_process_read(mic_process *p, mic_wire_head *head, const mic_wire_payload **payload, int timeout_ms,
                              omnid_error *err);
/* Asks it to leave, kills it after 1 s. At most 1.5 s. *p may be NULL. */
void mic_process_stop(mic_process **p);

#endif
