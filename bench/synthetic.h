/* synthetic.h: made-up picture and sound for measurements: a moving pattern and a changing tone under noise. */
#ifndef BENCH_SYNTHETIC_H
#define BENCH_SYNTHETIC_H

#include "engine/omnid.h"

typedef struct synthetic synthetic;

/* A source of side x side frames. */
omnid_status synthetic_create(synthetic **out, int width, int height, omnid_error *err);
void synthetic_destroy(synthetic **s);

/* Segment number index with n_frames (0..4) and n_samples (0 = no sound; at most 32,040). What p points into changes with
 * the next call. */
void synthetic_segment(synthetic *s, omnid_segment_params *p, int64_t index, int n_frames, int n_samples);

/* The same, created for and submitted to tl; BUSY leaves nothing behind. */
omnid_status synthetic_submit(synthetic *s, omnid_timeline *tl, int64_t index, int n_frames, int n_samples,
                              omnid_error *err);

/* A field of /proc/self/status in bytes ("VmHWM", "VmRSS"); 0 where there is none. */
uint64_t process_memory(const char *field);

#endif
