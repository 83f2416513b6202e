/* segmenter_fakes.h: pictures and sound that say themselves when and where they were made.
 *
 * A fake picture is 4 x 1 pixels whose bytes hold its own time; a fake sample holds its own position. A test reads out of a
 * segment what went where. Wrong calls fail the test. */
#ifndef OMNID_TESTS_SEGMENTER_FAKES_H
#define OMNID_TESTS_SEGMENTER_FAKES_H

#include "capture/segmenter.h"

enum { S = 1000000, MS = 1000, SAMPLES = CAPTURE_SAMPLES, FULL = CAPTURE_SAMPLES + CAPTURE_AWAITED };

extern int n_live_natives; /* pictures whose native part was not released yet */
extern int n_conversions;  /* since make */

/* A picture of that time; of height 99 its conversion fails. */
picture *make_picture(int64_t t_us, int width, int height);
/* Puts a picture of that time; the status is segmenter_put_picture's. */
omnid_status put_frame(segmenter *s, int64_t t_us);
/* The value of the sample at a position: another for each of 30011 in a row, never 0. */
float value_at(int64_t position);
/* Puts n samples (at most 64000) that say they are at `position`, at the time t_us; and with the right time for T0. */
omnid_status put_sound_as(segmenter *s, int64_t t_us, int64_t position, int n);
omnid_status put_sound(segmenter *s, int64_t t0_us, int64_t position, int n);
/* make and finish: a segmenter, and its end, at which every picture must be gone. */
segmenter *make(bool video, bool audio, bool clocked, bool clip);
void finish(segmenter *s);
/* The next closed segment or NULL; the wall clock is 1000 s ahead of the other. */
capture_segment *take(segmenter *s, int64_t now_us);
int64_t frame_time(const capture_segment *seg, int i);
/* Each sample is the one of its position or, where missing, zero; `missing` says how many are. */
void check_samples(const capture_segment *seg, int64_t first_position, int n, int missing);

#endif
