/* meter.h: frames a second and sound level over the last two seconds. */
#ifndef OMNID_CAPTURE_METER_H
#define OMNID_CAPTURE_METER_H

#include "base/base.h"

enum { METER_BUCKETS = 8, METER_BUCKET_US = 250000 };
#define METER_SILENCE_DBFS (-120.0)

/* Sums of the last 8 quarter seconds and of the one that is going on. Zero it to begin. The caller locks. */
typedef struct {
    int64_t bucket; /* number of the newest quarter second */
    int64_t first;  /* of the first that anything was added to; 0 = none */
    double sum[METER_BUCKETS + 1];
    int64_t n[METER_BUCKETS + 1];
} meter;

/* Adds n things of the given sum of squares (0 for frames) that arrived at now_us. */
void meter_add(meter *m, int64_t now_us, int64_t n, double sum_squares);
/* Things a second over the last 2 s (over less after the start); 0 when nothing came. */
double meter_rate(meter *m, int64_t now_us);
/* 10 log10 of the mean square: a full-scale square wave is 0, a full-scale sine -3.01; at least -120. */
double meter_dbfs(meter *m, int64_t now_us);
double meter_sum_squares(const float *x, int n);

#endif
