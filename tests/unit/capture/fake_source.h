/* fake_source.h: "fake:N", a camera that dies, stalls, hangs and comes back as a script says; and what its tests share. */
#ifndef OMNID_TESTS_FAKE_SOURCE_H
#define OMNID_TESTS_FAKE_SOURCE_H

#include "capture/source.h"
#include "clips.h"

enum { FULL = CAPTURE_SAMPLES + CAPTURE_AWAITED, BLOCK = 320, N_FAKES = 2 };

/* What "fake:N" does. Set before the capture starts; 0 = does not. Its picture has 25 frames a second. */
typedef struct {
    int first_life_ms;        /* then read fails; 0 = lives for ever */
    int stall_after_ms;       /* nothing more comes, and no error; in the first life */
    int sound_until_ms;       /* no more sound comes, and the picture goes on; in the first life */
    int n_failing_opens;      /* after the first life */
    atomic_int open_hangs_ms; /* not longer than to the stop */
    int read_hangs_ms;        /* in the first life, after 500 ms; whatever the timeout says */
    int close_hangs_ms;       /* after the first life */
    bool opens_with_an_end;   /* ends after the first life instead */
    omnid_status failure;     /* of opens; OK = DEVICE */
    atomic_int n_opened, n_tried, n_closed;
} fake_script;

extern fake_script scripts[N_FAKES];
extern const source_ops fake_ops;

/* Clears the scripts: a test's setup function. */
int fake_set_up(void **state);
/* Stops and returns how many ms it took. */
int64_t fake_stop(omnid_capture *c);
/* Waits until the counter is at least n. */
void fake_await_count(atomic_int *counter, int n);

#endif
