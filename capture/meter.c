/* meter.c: sums in quarter seconds, so that no list of arrivals is kept. */
#include "capture/meter.h"

#include <math.h>
#include <string.h>

enum { N_KEPT = METER_BUCKETS + 1 };

/* Empties the quarter seconds that began since the last call. */
static void roll(meter *m, int64_t now_us)
{
    int64_t bucket = now_us / METER_BUCKET_US;
    if (bucket - m->bucket >= N_KEPT) {
        memset(m->sum, 0, sizeof m->sum);
        memset(m->n, 0, sizeof m->n);
        m->bucket = bucket;
    }
    while (m->bucket < bucket) {
        m->bucket++;
        m->sum[m->bucket % N_KEPT] = 0.0;
        m->n[m->bucket % N_KEPT] = 0;
    }
}

void meter_add(meter *m, int64_t now_us, int64_t n, double sum_squares)
{
    roll(m, now_us);
    if (!m->first)
        m->first = m->bucket;
    m->n[m->bucket % N_KEPT] += n;
    m->sum[m->bucket % N_KEPT] += sum_squares;
}

double meter_rate(meter *m, int64_t now_us)
{
    roll(m, now_us);
    int64_t n = 0, n_whole = m->bucket - m->first;
    for (int i = 0; i < N_KEPT; i++)
        n += i == m->bucket % N_KEPT ? 0 : m->n[i]; /* the quarter second going on is not whole yet */
    if (!m->first || n_whole <= 0)
        return 0.0;
    n_whole = n_whole < METER_BUCKETS ? n_whole : METER_BUCKETS;
    return (double)n * 1e6 / ((double)n_whole * METER_BUCKET_US);
}

double meter_dbfs(meter *m, int64_t now_us)
{
    roll(m, now_us);
    int64_t n = 0;
    double sum = 0.0;
    for (int i = 0; i < N_KEPT; i++) {
        n += m->n[i];
        sum += m->sum[i];
    }
    double level = n > 0 && sum > 0.0 ? 10.0 * log10(sum / (double)n) : METER_SILENCE_DBFS;
    return level < METER_SILENCE_DBFS ? METER_SILENCE_DBFS : level;
}

double meter_sum_squares(const float *x, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += isfinite(x[i]) ? (double)x[i] * x[i] : 0.0;
    return sum;
}
