/* mic_steer.c: start by the median, follow by the loop, patch or restart where samples are missing. */
#include "capture/mic_steer.h"

#include "capture/capture.h"

#include <math.h>
#include <stdlib.h>

/* Stamps may be late by what a busy machine delays a thread; samples that are missing make every stamp late from then on. */
static const double JITTER_S = 0.010; /* of an error, no more counts for the loop */
static const double PATCH_S = 0.015;  /* an error above it is not jitter if it stays */
static const double GAP_S = MIC_STEER_GAP_US * 1e-6;
static const double SURE_S = 0.250;      /* an error above it needs no second one */
static const double GAP_SEEN_S = 0.2;    /* how long an error above GAP_S, */
static const double PATCH_SEEN_S = 0.5;  /* or above PATCH_S, must stay */
static const double SETTLE_S = 10.0;     /* time constant in which the output comes back to its true time */
static const double KNOWN_S = 30.0;      /* of the loop's age: then its rate is worth keeping */
static const double SLEW_PER_S = 100e-6; /* how fast the ratio may change */

enum { MIN_SUSPECT_BLOCKS = 3 };

void mic_steer_start(mic_steer *s, double rate_hz)
{
    *s =
        (mic_steer){.rate_hz = rate_hz, .period = 1.0 / rate_hz, .ratio = CAPTURE_RATE / rate_hz, .base_us = INT64_MIN};
}

/* Everything but the counters, and the crystal's rate once it is known well, begins anew. */
static void restart(mic_steer *s, bool late)
{
    mic_steer fresh;
    mic_steer_start(&fresh, s->rate_hz);
    fresh.period = s->dll.age > KNOWN_S ? s->dll.period : s->period;
    fresh.n_gaps = s->n_gaps + late;
    fresh.n_overlaps = s->n_overlaps + !late;
    fresh.n_patches = s->n_patches;
    *s = fresh;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Keeps what the stamp says; once there is enough, the line starts through the median, so that no single one counts. */
static void hold(mic_steer *s, int64_t number, int n, double t_s)
{
    if (s->n_held < MIC_STEER_N_HELD)
        s->held_s[s->n_held++] = t_s - (double)number * s->period;
    s->n_put = number + n;
    if ((double)s->n_put / s->rate_hz < MIC_STEER_HELD_US * 1e-6)
        return;
    qsort(s->held_s, (size_t)s->n_held, sizeof *s->held_s, by_value);
    s->start_s = s->held_s[s->n_held / 2];
    mic_dll_start(&s->dll, number, s->start_s + (double)number * s->period, s->rate_hz, s->period);
    s->running = true;
}

/* Whether errors of one sign, all at least suspect_s, have stayed for seen_s. */
static bool stayed(const mic_steer *s, double seen_s)
{
    return s->n_suspect_blocks >= MIN_SUSPECT_BLOCKS && (double)s->n_suspect / s->rate_hz >= seen_s;
}

static void suspect(mic_steer *s, double e, int n)
{
    int sign = fabs(e) < PATCH_S ? 0 : e > 0 ? 1 : -1;
    if (sign != s->suspect_sign || !sign) {
        s->suspect_sign = sign;
        s->suspect_s = fabs(e);
        s->n_suspect = 0;
        s->halfway = false;
        s->n_suspect_blocks = 0;
    }
    bool half = !s->halfway && (double)s->n_suspect / s->rate_hz >= PATCH_SEEN_S / 2;
    if (half || fabs(e) < s->suspect_s)
        s->suspect_s = fabs(e);
    s->halfway = s->halfway || half;
    s->n_suspect += n;
    s->n_suspect_blocks++;
}

/* How far the output's next sample is before (positive) or behind the one that belongs there, in s. */
static double lag(const mic_steer *s)
{
    double time_s = s->start_s + (double)s->n_out / CAPTURE_RATE;
    return (mic_dll_sample(&s->dll, time_s) - s->position) * s->dll.period;
}

/* The ratio for the next outputs: the card's true rate, and a little more or less to come back to the true time. */
static void set_ratio(mic_steer *s, int n)
{
    double nominal = CAPTURE_RATE / s->rate_hz;
    double most = MIC_STEER_PPM * 1e-6, old = s->ratio / nominal - 1.0, slew = SLEW_PER_S * n / s->rate_hz;
    double off = s->dll.period * s->rate_hz - 1.0 - lag(s) / SETTLE_S;
    off = fmin(fmax(off, -most), most);
    s->ratio = nominal * (1.0 + fmin(fmax(off, old - slew), old + slew));
}

static mic_steer_verdict begin(mic_steer *s, int64_t index, int n, int64_t t_us)
{
    s->base_us = t_us;
    s->shift = -index;
    hold(s, 0, n, 0.0);
    return MIC_STEER_RESTART;
}

/* The samples to fill in (or, negative, to leave out) for an error of e, which stamps alone do not explain. */
static int find_patch(mic_steer *s, double e, bool hole)
{
    if (hole && e > JITTER_S)
        return (int)lround(e / s->dll.period);
    if (!stayed(s, PATCH_SEEN_S))
        return 0;
    int patch = (int)lround(s->suspect_s / s->dll.period) * s->suspect_sign;
    s->suspect_sign = 0;
    return patch;
}

/* Whether an error of e is a gap or an overlap. */
static bool is_break(const mic_steer *s, double e, bool hole)
{
    return fabs(e) > SURE_S || (hole && e > GAP_S) || (s->suspect_s > GAP_S && stayed(s, GAP_SEEN_S));
}

/* While errors are in doubt, the line goes on as it is. */
static void follow(mic_steer *s, int64_t number, double e)
{
    if (number > s->dll.n)
        mic_dll_update(&s->dll, number, s->suspect_sign ? 0.0 : fmin(fmax(e, -JITTER_S), JITTER_S));
}

mic_steer_verdict mic_steer_put(mic_steer *s, int64_t index, int n, int64_t t_us, bool hole, int *patch)
{
    *patch = 0;
    if (s->base_us == INT64_MIN)
        return begin(s, index, n, t_us);
    double t_s = (double)(t_us - s->base_us) * 1e-6;
    int64_t number = index + s->shift, missing = number - s->n_put;
    if (!s->running) {
        if (missing || hole)
            return restart(s, true), begin(s, index, n, t_us);
        hold(s, number, n, t_s);
        return s->running ? MIC_STEER_GO : MIC_STEER_WAIT;
    }
    double e = mic_dll_error(&s->dll, number, t_s);
    suspect(s, e, n);
    double lag_s = lag(s);
    if (missing < 0 || (double)missing * s->dll.period > GAP_S || is_break(s, e, hole) || fabs(lag_s) > GAP_S)
        return restart(s, fabs(e) > GAP_S ? e > 0 : lag_s < 0), begin(s, index, n, t_us);
    int found = find_patch(s, e, hole);
    s->n_patches += found || missing;
    s->shift += found;
    number += found;
    *patch = (int)missing + found;
    follow(s, number, e - found * s->dll.period);
    s->n_put = number + n;
    set_ratio(s, n);
    return MIC_STEER_GO;
}

int64_t mic_steer_made(mic_steer *s, int n)
{
    int64_t t_us = s->base_us + llround((s->start_s + (double)s->n_out / CAPTURE_RATE) * 1e6);
    s->n_out += n;
    s->position += n / s->ratio;
    return t_us;
}
