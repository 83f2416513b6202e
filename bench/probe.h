/* probe.h: an engine whose slices, segments and answers are written down. */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include "bench/synthetic.h"

/* What an answer told when it was done. */
typedef struct {
    omnid_timings timings;
    double retained;
    int n_tokens;
    bool done;
    omnid_error error;
} probe_answer;

typedef struct {
    omnid_engine *engine;
    omnid_slice *slices; /* [n_slices] since the last probe_clear */
    int n_slices, slice_capacity;
    omnid_segment_report *reports;
    int n_reports, report_capacity;
    probe_answer answer;
    bool lost; /* no memory to write down */
} probe;

/* The callbacks point at p, which must stay where it is. */
omnid_status probe_open(probe *p, const omnid_model *m, const omnid_engine_params *params, omnid_error *err);
void probe_close(probe *p);
void probe_clear(probe *p);

/* Steps until there is nothing to do. */
omnid_status probe_pump(probe *p, omnid_error *err);
/* Submits a made-up segment and steps until it is in. */
omnid_status probe_feed(probe *p, omnid_timeline *tl, synthetic *s, int64_t index, int n_frames, int n_samples,
                        omnid_error *err);
/* Asks and steps until the answer is done; what it told is in p->answer. */
omnid_status probe_ask(probe *p, omnid_timeline *tl, const omnid_question_params *q, omnid_error *err);

/* Median of n numbers, which are sorted in place; 0 for none. */
double median(double *values, int n);
/* The value below which a share of them lies (nearest rank), sorted in place. */
double quantile(double *values, int n, double share);

#endif
