/* sync_estimate.h: how far picture and sound of one event lie apart, from frames that come twice a second.
 *
 * Both streams are told of an event at a known time. The sound's answer is exact to a sample. The picture's is not: of each
 * frame one knows only whether it shows the event yet. But events fall anywhere between frames, so over many of them the
 * share of frames that show it goes from 0 to 1 as a frame's time behind the event grows, and where it is a half is the
 * picture's middle delay. A camera of period T shows an event with its next frame, T / 2 later in the middle, however good
 * its times are; so much is taken off. */
#ifndef OMNID_TESTS_SYNC_ESTIMATE_H
#define OMNID_TESTS_SYNC_ESTIMATE_H

#include <stdbool.h>

/* One event as heard and seen. Times in ms behind the moment at which the stream was told. */
typedef struct {
    bool heard;
    double sound_ms;
    int n_frames;
    double frame_ms[8]; /* of the frames around the event; may be negative */
    bool shows[8];      /* whether that frame shows it */
} sync_event;

typedef struct {
    int n_events, n_heard, n_frames;
    double sound_ms;        /* median */
    double picture_ms;      /* middle delay less half a frame */
    double offset_ms;       /* picture_ms - sound_ms: above 0 the picture is late */
    double low_ms, high_ms; /* 95 % of 400 draws of the same events with replacement lie between */
    double sound_spread_ms; /* half of what lies between the 5th and 95th percentile */
} sync_result;

/* events: [n], n at least 1. False: nothing was heard, or frames on one side are missing. */
bool sync_estimate(sync_result *out, const sync_event *events, int n, double frame_period_ms);

#endif
