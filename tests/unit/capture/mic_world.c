/* mic_world.c: a sound card out of numbers. */
#include "mic_world.h"

#include <math.h>

/* 0..1; xorshift64 */
static double random_share(mic_world *w)
{
    w->seed ^= w->seed << 13;
    w->seed ^= w->seed >> 7;
    w->seed ^= w->seed << 17;
    return (double)(w->seed >> 11) / 9007199254740992.0;
}

void mic_world_begin(mic_world *w, mic_card_params p)
{
    *w = (mic_world){.p = p, .seed = 88172645463325252ull, .burst_at_s = p.burst_every_s};
}

double mic_world_period(const mic_world *w)
{
    double ppm = w->p.ppm + w->p.wander_ppm * sin(2.0 * M_PI * w->true_s / 3600.0);
    return 1.0 / (w->p.rate_hz * (1.0 + ppm * 1e-6));
}

int64_t mic_world_block(mic_world *w, int64_t *stamp_us, double *true_us)
{
    int64_t index = w->index;
    double late_s = random_share(w) * w->p.late_ms * 1e-3;
    if (random_share(w) < w->p.outlier_share)
        late_s += random_share(w) * 0.06;
    while (w->p.burst_every_s > 0 && w->true_s > w->burst_at_s)
        w->burst_at_s += w->p.burst_every_s;
    if (w->p.burst_every_s > 0 && w->burst_at_s - w->true_s < 0.2)
        late_s = w->burst_at_s - w->true_s;
    *true_us = MIC_WORLD_BEGIN_US + w->true_s * 1e6;
    *stamp_us = (int64_t)(*true_us + late_s * 1e6);
    w->index += w->p.n_block;
    w->true_s += w->p.n_block * mic_world_period(w);
    return index;
}

void mic_world_lose(mic_world *w, int n)
{
    w->true_s += n * mic_world_period(w);
}
