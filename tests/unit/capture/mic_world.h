/* mic_world.h: a simulated sound card: a crystal that is off, stamps that come late, samples that go missing. Its clock
 * begins at an arbitrary moment; "true" is when a sample was really taken. */
#ifndef OMNID_TESTS_MIC_WORLD_H
#define OMNID_TESTS_MIC_WORLD_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    double rate_hz;       /* by the card's word */
    double ppm;           /* what its crystal is off */
    double wander_ppm;    /* and what that changes with the room's heat, in the course of an hour */
    int n_block;          /* samples a callback */
    double late_ms;       /* stamps come late by up to so much */
    double outlier_share; /* of the stamps: late by up to 60 ms */
    double burst_every_s; /* 0 = never: nothing for 200 ms, then all at once */
} mic_card_params;

typedef struct {
    mic_card_params p;
    uint64_t seed;
    int64_t index;     /* of the next sample; the card's count */
    double true_s;     /* when it is taken */
    double burst_at_s; /* end of the next burst */
} mic_world;

enum { MIC_WORLD_BEGIN_US = 777777777 };

void mic_world_begin(mic_world *w, mic_card_params p);
/* Takes the next block: its first index and its stamp; *true_us = when its first sample was taken (both CLOCK_MONOTONIC). */
int64_t mic_world_block(mic_world *w, int64_t *stamp_us, double *true_us);
/* n samples that nobody counted, or so much time without the card. */
void mic_world_lose(mic_world *w, int n);
/* How long the card takes for a sample just now, in s. */
double mic_world_period(const mic_world *w);

#endif
