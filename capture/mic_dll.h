/* mic_dll.h: a delay-locked loop that turns jittery (sample count, time) pairs into a smooth line.
 *
 * A sound card's samples come evenly by its own crystal; the instants at which a program is told of them do not. The loop
 * keeps an estimate of the line time(n) = t + (n - n_ref) * period and corrects it a little with every pair. Source:
 * F. Adriaensen, "Using a DLL to filter time", Linux Audio Conference 2005, section 3: with e the error of the loop's
 * prediction for a period of T seconds,  t1 += b e + T,  T += c e,  b = sqrt(2) w,  c = w^2,  w = 2 pi B T.
 * Here blocks have any length: the second state is the length of one sample, so that c e is divided by the block's samples.
 * Pure: no clock, no memory of its own but this struct. */
#ifndef OMNID_CAPTURE_MIC_DLL_H
#define OMNID_CAPTURE_MIC_DLL_H

#include <stdint.h>

typedef struct {
    double nominal;      /* s, one sample by the card's word */
    double period;       /* s, one sample by the loop; within MIC_DLL_PPM of nominal */
    double t;            /* s, time of sample n */
    double age;          /* s since the start: the bandwidth narrows with it */
    int64_t n;           /* number of the newest block's first sample */
    double bandwidth_hz; /* B that the last update used */
} mic_dll;

enum { MIC_DLL_PPM = 2000 }; /* no crystal is further off; an estimate that is would be a wrong one */

/* Starts the line through sample n at t_s. period: what is known of it, in s; 1 / rate_hz where nothing is. */
void mic_dll_start(mic_dll *d, int64_t n, double t_s, double rate_hz, double period);
/* Time in s of a sample by the line as it is now. Any n. */
double mic_dll_time(const mic_dll *d, double n);
/* Number (with a fraction) of the sample at a time in s. */
double mic_dll_sample(const mic_dll *d, double t_s);
/* What pair (n, t_s) is off the line, in s: positive = later than predicted. Changes nothing. */
double mic_dll_error(const mic_dll *d, int64_t n, double t_s);
/* Corrects the line by the error e of the pair with sample n, n greater than that of the last update. */
void mic_dll_update(mic_dll *d, int64_t n, double e);

#endif
