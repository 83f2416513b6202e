/* ceiling.h: what this machine can do at best: oneDNN's packed product and memory read by all threads. */
#ifndef BENCH_CEILING_H
#define BENCH_CEILING_H

#include "base/base.h"

typedef struct {
    int rows[2];      /* 338, 30 */
    double gflops[2]; /* rows x 11008 x 2048, packed, weights rotated; 0 = not measured */
    double read_gb_s; /* a 512 MiB array read once */
} bench_ceiling;

/* Measures in a process of its own (so that its memory is not this one's): runs `program --ceiling PRECISION,THREADS`. */
omnid_status ceiling_measure(bench_ceiling *out, const char *program, bool bf16, int n_threads, omnid_error *err);

/* What that process does: measures and prints one line. Returns the exit status. */
int ceiling_main(const char *what);

#endif
