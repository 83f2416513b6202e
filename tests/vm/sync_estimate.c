/* sync_estimate.c: median of the sound's delays, and the delay at which half of the frames show the event. */
#include "tests/vm/sync_estimate.h"

#include <stdlib.h>
#include <string.h>

enum { N_DRAWS = 400 };

typedef struct {
    double ms;
    bool shows;
} observed;

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int compare_observed(const void *a, const void *b)
{
    return compare_doubles(&((const observed *)a)->ms, &((const observed *)b)->ms);
}

/* v is sorted. */
static double percentile(const double *v, int n, double p)
{
    return v[(int)(p * (n - 1) + 0.5)];
}

/* The delay c with the fewest frames on its wrong side: old ones behind it, new ones before it. Of equally good ones the
 * middle. o is sorted here. */
static bool half_way(observed *o, int n, double *out)
{
    qsort(o, (size_t)n, sizeof *o, compare_observed);
    int wrong = 0, best, n_old = 0;
    for (int i = 0; i < n; i++)
        n_old += !o[i].shows;
    if (n_old == 0 || n_old == n)
        return false;
    wrong = best = n_old; /* c before every frame */
    double first = o[0].ms, last = o[0].ms;
    for (int i = 0; i < n; i++) {
        wrong += o[i].shows ? 1 : -1;
        double c = i + 1 < n ? (o[i].ms + o[i + 1].ms) / 2 : o[i].ms;
        if (wrong < best)
            first = c;
        if (wrong <= best)
            last = c;
        best = wrong < best ? wrong : best;
    }
    *out = (first + last) / 2;
    return true;
}

/* One estimate from the events that draw names; scratch holds 8 frames and one sound an event. */
static bool estimate(sync_result *out, const sync_event *events, const int *draw, int n, double period_ms,
                     observed *frames, double *sounds)
{
    int n_frames = 0, n_heard = 0;
    for (int i = 0; i < n; i++) {
        const sync_event *e = &events[draw[i]];
        for (int k = 0; k < e->n_frames; k++)
            frames[n_frames++] = (observed){e->frame_ms[k], e->shows[k]};
        if (e->heard)
            sounds[n_heard++] = e->sound_ms;
    }
    double half;
    if (n_heard == 0 || !half_way(frames, n_frames, &half))
        return false;
    qsort(sounds, (size_t)n_heard, sizeof *sounds, compare_doubles);
    *out = (sync_result){.n_events = n,
                         .n_heard = n_heard,
                         .n_frames = n_frames,
                         .sound_ms = percentile(sounds, n_heard, 0.5),
                         .picture_ms = half - period_ms / 2};
    out->offset_ms = out->picture_ms - out->sound_ms;
    out->sound_spread_ms = (percentile(sounds, n_heard, 0.95) - percentile(sounds, n_heard, 0.05)) / 2;
    return true;
}

bool sync_estimate(sync_result *out, const sync_event *events, int n, double frame_period_ms)
{
    size_t count = (size_t)n;
    int *draw = malloc(count * sizeof *draw);
    observed *frames = malloc(count * 8 * sizeof *frames);
    double *sounds = malloc(count * sizeof *sounds);
    double offsets[N_DRAWS];
    unsigned seed = 1;
    bool ok = draw && frames && sounds;
    for (int i = 0; ok && i < n; i++)
        draw[i] = i;
    ok = ok && estimate(out, events, draw, n, frame_period_ms, frames, sounds);
    int n_offsets = 0;
    for (int d = 0; ok && d < N_DRAWS; d++) {
        sync_result one;
        for (int i = 0; i < n; i++)
            draw[i] = rand_r(&seed) % n;
        if (estimate(&one, events, draw, n, frame_period_ms, frames, sounds))
            offsets[n_offsets++] = one.offset_ms;
    }
    if (ok && n_offsets > 0) {
        qsort(offsets, (size_t)n_offsets, sizeof *offsets, compare_doubles);
        out->low_ms = percentile(offsets, n_offsets, 0.025);
        out->high_ms = percentile(offsets, n_offsets, 0.975);
    }
    free(draw);
    free(frames);
    free(sounds);
    return ok;
}
