/* mic_dll.c: the delay-locked loop. */
#include "capture/mic_dll.h"

#include <math.h>

/* Wide at first, so that a bad first pair is forgotten within seconds, then narrow: at 0.02 Hz and 50 blocks a second, 5 ms
 * of jitter leave 0.3 ms, and a crystal 500 ppm off is caught with an error of 2 ms at most on the way. */
static const double FIRST_HZ = 0.5, LAST_HZ = 0.02, NARROWS = 0.6;
/* So long only the phase is corrected: a first error of 10 ms would else look like a crystal 2000 ppm off, and take a minute
 * to be forgotten. */
static const double PHASE_ONLY_S = 3.0;

void mic_dll_start(mic_dll *d, int64_t n, double t_s, double rate_hz, double period)
{
    *d = (mic_dll){.nominal = 1.0 / rate_hz, .period = period, .t = t_s, .n = n, .bandwidth_hz = FIRST_HZ};
}

double mic_dll_time(const mic_dll *d, double n)
{
    return d->t + (n - (double)d->n) * d->period;
}

double mic_dll_sample(const mic_dll *d, double t_s)
{
    return (double)d->n + (t_s - d->t) / d->period;
}

double mic_dll_error(const mic_dll *d, int64_t n, double t_s)
{
    return t_s - mic_dll_time(d, (double)n);
}

void mic_dll_update(mic_dll *d, int64_t n, double e)
{
    double n_block = (double)(n - d->n), block_s = n_block * d->period;
    d->age += block_s;
    double hz = NARROWS / d->age;
    d->bandwidth_hz = hz > FIRST_HZ ? FIRST_HZ : hz < LAST_HZ ? LAST_HZ : hz;
    double w = 2.0 * M_PI * d->bandwidth_hz * block_s;
    w = w > 0.5 ? 0.5 : w; /* a block of a second or more: the loop stays stable */
    d->t += block_s + sqrt(2.0) * w * e;
    d->n = n;
    if (d->age > PHASE_ONLY_S)
        d->period += w * w * e / n_block;
    double most = d->nominal * MIC_DLL_PPM * 1e-6;
    if (fabs(d->period - d->nominal) > most)
        d->period = d->nominal + copysign(most, d->period - d->nominal);
}
