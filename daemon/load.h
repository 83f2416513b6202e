/* load.h: how cheaply a camera's segments are taken in when the engine does not keep up: steps with hysteresis.
 *
 * Segments that close while more and more others wait say that the engine is behind, and a step is taken. What waits already
 * was made before the step, so the next one is not judged until that is through, and then by whether still more wait. A long
 * calm takes a step back; where that turns out too early, the next calm has to last twice as long. Only what the last step
 * cannot heal is skipped, see camera.c. No threads, no clock: one call a segment. */
#ifndef OMNID_DAEMON_LOAD_H
#define OMNID_DAEMON_LOAD_H

#include "engine/omnid.h"

enum {
    LOAD_STEPS = 4,           /* 0: as configured */
    LOAD_PATIENCE = 15,       /* segments of calm before a step back: 30 s */
    LOAD_MAX_PATIENCE = 1800, /* an hour */
    LOAD_HELD = 450,          /* a step back that lasted so long was none too early: a quarter of an hour */
};

typedef struct {
    int step;
    int base;         /* so many wait since the last step without its being behind */
    int n_behind;     /* closed running while more waited */
    int n_calm;       /* closed since any waited, or since the last step */
    int n_not_judged; /* yet to come: were on their way when the step was taken */
    int patience;     /* LOAD_PATIENCE .. LOAD_MAX_PATIENCE; 0 = before the first call */
    int n_since_back; /* closed since the last step back; -1 = there was none, or it has held */
} load_state;

/* A segment closes while n_waiting others wait for the engine, of n_most that may before one is skipped. True: *l took a step. */
bool load_judge(load_state *l, int n_waiting, int n_most);

/* What a step does to a segment, and its name: "full", "fewer tokens", "smaller frames", "one grid". */
omnid_segment_load load_of(int step);
const char *load_name(int step);

#endif
