/* The segmenter against a fake clock: every rule of docs/capture.md, one table or one function a rule. */
#include "segmenter_fakes.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

/* ---- frames ---- */

/* The newest of the given times that is at or before t and at most 500 ms old; -1 = missing. */
static int64_t newest_before(const int64_t *times, int n, int64_t t_us)
{
    int64_t best = -1;
    for (int i = 0; i < n; i++)
        if (times[i] <= t_us && times[i] > best && t_us - times[i] <= SEGMENTER_FRAME_AGE_US)
            best = times[i];
    return best;
}

/* Plays frames of the given times, in order, through a live camera without sound and compares each instant. */
static void play_frames(const int64_t *times, int n, int n_segments)
{
    const int64_t t0 = 7 * (int64_t)S + 123;
    segmenter *s = make(true, false, true, false);
    segmenter_begin(s, t0);
    int next = 0, closed = 0;
    for (int64_t now = 0; closed < n_segments; now += 5 * MS) {
        for (; next < n && times[next] <= now; next++)
            assert_int_equal(put_frame(s, t0 + times[next]), OMNID_OK);
        assert_true(now < 60 * (int64_t)S); /* a segment that was skipped */
        capture_segment *seg = take(s, t0 + now);
        if (!seg)
            continue;
        assert_int_equal(seg->index, closed);
        assert_int_equal(seg->n_frames, CAPTURE_FRAMES);
        assert_int_equal(seg->start_us, t0 + closed * 2 * (int64_t)S);
        for (int i = 0; i < CAPTURE_FRAMES; i++)
            assert_int_equal(frame_time(seg, i) - t0, newest_before(times, n, closed * 2 * (int64_t)S + i * 500 * MS));
        assert_in_range(now, (closed + 1) * 2 * S, (closed + 1) * 2 * S + SEGMENTER_LATE_US);
        capture_segment_free(&seg);
        closed++;
    }
    finish(s);
}

static void test_frame_rates(void **state)
{
    (void)state;
    const struct {
        double fps;
        int n_converted; /* in 5 segments: only the chosen ones, each once */
    } cases[] = {{60, 20}, {30, 20}, {29.97, 20}, {25, 20}, {15, 20}, {10, 20}, {5, 20}, {2, 20}, {1, 10}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int64_t times[800];
        int n = (int)(cases[c].fps * 11);
        for (int i = 0; i < n; i++)
            times[i] = (int64_t)floor(i * 1e6 / cases[c].fps);
        play_frames(times, n, 5);
        /* one more frame may have been chosen for the segment that is open at the end */
        assert_in_range(n_conversions, cases[c].n_converted, cases[c].n_converted + 1);
    }
}

static void test_frame_jitter(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 20; round++) {
        int64_t times[400];
        for (int i = 0; i < 400; i++) /* 33 ms apart, up to 30 ms late each, order kept */
            times[i] = i * 33333 + rand() % 30000;
        times[0] = 0;
        play_frames(times, 400, 5);
    }
}

static void test_frame_exactly_at_the_instant(void **state)
{
    (void)state;
    const int64_t before[] = {0, 499999, 999999, 1500001, 2000000, 2600000};
    segmenter *s = make(true, false, true, false);
    segmenter_begin(s, 0);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        put_frame(s, before[i]);
    capture_segment *seg = take(s, 2 * S);
    assert_int_equal(frame_time(seg, 0), 0);
    assert_int_equal(frame_time(seg, 1), 499999);
    assert_int_equal(frame_time(seg, 2), 999999);
    assert_int_equal(frame_time(seg, 3), 999999); /* 500001 is too old by one, so the grid's other frame stands in */
    capture_segment_free(&seg);
    finish(s);
}

/* All 16 patterns of instants that have a frame; a frame 100 ms before an instant is too old for the next one. */
static void test_missing_frames(void **state)
{
    (void)state;
    for (int pattern = 0; pattern < 16; pattern++) {
        segmenter *s = make(true, true, true, false);
        segmenter_begin(s, 0);
        put_sound(s, 0, 0, 2 * SAMPLES); /* so that a segment without picture is not skipped */
        for (int i = 0; i < 4; i++)
            if (pattern & 1 << i)
                put_frame(s, 2 * S + i * 500 * MS - 100 * MS);
        capture_segment *first = take(s, 2 * S + SEGMENTER_LATE_US), *seg = take(s, 4 * S + SEGMENTER_LATE_US);
        assert_int_equal(first->n_frames, 0);
        assert_int_equal(seg->index, 1);
        bool whole = (pattern & 3) && (pattern & 12);
        assert_int_equal(seg->n_frames, whole ? 4 : 0);
        for (int i = 0; i < seg->n_frames; i++) {
            int from = pattern & 1 << i ? i : i ^ 1; /* the other of the grid */
            assert_int_equal(frame_time(seg, i), 2 * S + from * 500 * MS - 100 * MS);
        }
        assert_int_equal(segmenter_get_stats(s).n_gaps_video, whole ? 1 : 2);
        capture_segment_free(&first);
        capture_segment_free(&seg);
        finish(s);
    }
}

static void test_late_and_disordered_frames_are_dropped(void **state)
{
    (void)state;
    segmenter *s = make(true, false, true, false);
    segmenter_begin(s, 0);
    put_frame(s, 0);
    put_frame(s, 600 * MS);
    put_frame(s, 550 * MS); /* older than the newest */
    assert_int_equal(segmenter_get_stats(s).n_dropped_frames, 1);
    put_frame(s, 600 * MS); /* twice */
    assert_int_equal(segmenter_get_stats(s).n_dropped_frames, 2);
    put_frame(s, 1100 * MS);
    capture_segment *seg = take(s, 2 * S + SEGMENTER_LATE_US);
    assert_non_null(seg);
    capture_segment_free(&seg);
    put_frame(s, 1400 * MS); /* of the closed segment, too old for 2.0 s */
    assert_int_equal(segmenter_get_stats(s).n_dropped_frames, 3);
    put_frame(s, 1700 * MS);       /* of the closed segment, right for 2.0 s */
    put_frame(s, 30 * (int64_t)S); /* from the future: a broken clock must not fill memory */
    assert_int_equal(segmenter_get_stats(s).n_dropped_frames, 4);
    put_frame(s, 2300 * MS);
    put_frame(s, 2800 * MS);
    put_frame(s, 3300 * MS);
    seg = take(s, 4 * S + SEGMENTER_LATE_US);
    assert_int_equal(seg->n_frames, 4);
    assert_int_equal(frame_time(seg, 0), 1700 * MS);
    capture_segment_free(&seg);
    finish(s);
}

static void test_frames_of_one_segment_have_one_size(void **state)
{
    (void)state;
    segmenter *s = make(true, false, true, false);
    segmenter_begin(s, 0);
    for (int i = 0; i < 9; i++) { /* the size changes at 0.5 s, and again at 2.5 s */
        picture *p = make_picture(i * 500 * MS, i < 1 ? 3 : i < 5 ? 4 : 2, 1);
        segmenter_put_picture(s, &p);
    }
    capture_segment *seg = take(s, 2 * S);
    assert_int_equal(seg->n_frames, 4);
    assert_int_equal(frame_time(seg, 0), 500 * MS);
    for (int i = 0; i < 4; i++)
        assert_int_equal(seg->frames[i].width, 4);
    capture_segment_free(&seg);
    seg = take(s, 4 * S);
    assert_int_equal(frame_time(seg, 0), 2500 * MS);
    assert_int_equal(seg->frames[0].width, 2);
    capture_segment_free(&seg);
    finish(s);
}

static void test_picture_that_cannot_be_converted(void **state)
{
    (void)state;
    segmenter *s = make(true, false, true, false);
    segmenter_begin(s, 0);
    for (int i = 0; i < 5; i++) {
        picture *p = make_picture(i * 500 * MS, 4, i == 1 ? 99 : 1);
        segmenter_put_picture(s, &p);
    }
    capture_segment *seg = take(s, 2 * S);
    assert_int_equal(seg->n_frames, 4);
    assert_int_equal(frame_time(seg, 1), 0);
    assert_int_equal(segmenter_get_stats(s).n_dropped_frames, 1);
    assert_string_equal(segmenter_warning(s), "a picture that cannot be converted");
    capture_segment_free(&seg);
    for (int t = 2; t <= 60; t += 2) { /* and is not spoken of for ever */
        assert_true(*segmenter_warning(s));
        put_frame(s, (t + 1) * S);
        seg = take(s, (t + 2) * S + SEGMENTER_LATE_US);
        capture_segment_free(&seg);
    }
    assert_string_equal(segmenter_warning(s), "");
    finish(s);
}

/* A damaged picture is nobody's: the good one before it stands, while it is young enough. */
static void test_good_picture_before_a_damaged_one(void **state)
{
    (void)state;
    segmenter *s = make(true, false, true, false);
    segmenter_begin(s, 0);
    const int64_t good[] = {0, 450, 999, 1100}, bad[] = {490, 1450, 1990};
    for (int i = 0; i < 4; i++) {
        put_frame(s, good[i] * MS);
        if (i == 1 || i == 3)
            for (int j = i == 1 ? 0 : 1; j < (i == 1 ? 1 : 3); j++) {
                picture *p = make_picture(bad[j] * MS, 4, 99);
                segmenter_put_picture(s, &p);
            }
    }
    capture_segment *seg = take(s, 2 * S + SEGMENTER_LATE_US);
    assert_int_equal(seg->n_frames, 4);
    assert_int_equal(frame_time(seg, 1), 450 * MS); /* for 500 ms, instead of the one of 490 */
    assert_int_equal(frame_time(seg, 2), 999 * MS);
    assert_int_equal(frame_time(seg, 3), 1100 * MS);              /* for 1500, instead of the one of 1450 */
    assert_int_equal(segmenter_get_stats(s).n_dropped_frames, 2); /* the one of 1990 was never wanted */
    capture_segment_free(&seg);
    finish(s);
}

/* ---- sound ---- */

static void test_awaited_samples(void **state)
{
    (void)state;
    for (int n = 39; n <= 41; n++)
        for (int awaited = 0; awaited < 2; awaited++) {
            segmenter *s = make(false, true, true, false);
            segmenter_begin(s, 0);
            put_sound(s, 0, 0, SAMPLES + n);
            assert_int_equal(segmenter_ready(s, 2 * S - 1), false); /* never before its end */
            bool at_once = n >= CAPTURE_AWAITED;
            assert_int_equal(segmenter_ready(s, 2 * S), at_once);
            if (!at_once && awaited) { /* one more comes in time */
                put_sound(s, 0, SAMPLES + n, 1);
                assert_true(segmenter_ready(s, 2 * S));
                n++;
            } else if (!at_once) {
                assert_false(segmenter_ready(s, 2 * S + SEGMENTER_LATE_US - 1));
                assert_int_equal(segmenter_next_us(s, 2 * S), 2 * S + SEGMENTER_LATE_US);
            }
            capture_segment *seg = take(s, 2 * S + SEGMENTER_LATE_US);
            check_samples(seg, 0, FULL, n < CAPTURE_AWAITED ? CAPTURE_AWAITED - n : 0);
            n -= !at_once && awaited;
            capture_segment_free(&seg);
            finish(s);
        }
}

static void test_samples_go_where_their_time_says(void **state)
{
    (void)state;
    const struct {
        const char *name;
        int64_t shift_us; /* of the second block's time against where the first ends (0.5 s) */
        int n_missing, n_dropped;
        int gaps, overlaps;
    } cases[] = {
        {"in order", 0, 0, 0, 0, 0},
        {"10 ms late: absorbed", 10 * MS, 0, 0, 0, 0},
        {"50 ms late: absorbed", 50 * MS, 0, 0, 0, 0},
        {"51 ms late: a gap", 51 * MS, 816, 0, 1, 0},
        {"500 ms late: a gap", 500 * MS, 8000, 0, 1, 0},
        {"50 ms early: absorbed", -50 * MS, 0, 0, 0, 0},
        {"51 ms early: an overlap", -51 * MS, 0, 816, 0, 1},
        {"400 ms early: an overlap", -400 * MS, 0, 6400, 0, 1},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        segmenter *s = make(false, true, true, false);
        segmenter_begin(s, 0);
        put_sound(s, 0, 0, 8000);
        int64_t jump = llabs(cases[c].shift_us) > 50 * MS ? cases[c].shift_us * 2 / 125 : 0;
        for (int i = 0; i < 40000; i += 400) /* values tell where each sample must end up */
            put_sound_as(s, 500 * MS + cases[c].shift_us + (int64_t)i * 125 / 2, 8000 + jump + i, 400);
        capture_segment *seg = take(s, 2 * S + SEGMENTER_LATE_US);
        print_message("%s\n", cases[c].name);
        check_samples(seg, 0, FULL, cases[c].n_missing);
        segmenter_stats stats = segmenter_get_stats(s);
        assert_int_equal(stats.n_dropped_samples, cases[c].n_dropped);
        assert_int_equal(stats.n_sound_gaps, cases[c].gaps);
        assert_int_equal(stats.n_sound_overlaps, cases[c].overlaps);
        capture_segment_free(&seg);
        finish(s);
    }
}

static void test_late_sound_is_dropped(void **state)
{
    (void)state;
    segmenter *s = make(false, true, true, false);
    segmenter_begin(s, 0);
    put_sound(s, 0, 0, 16000);
    capture_segment *seg = take(s, 2 * S + SEGMENTER_LATE_US);
    check_samples(seg, 0, FULL, FULL - 16000);
    capture_segment_free(&seg);
    put_sound(s, 0, 16000, 16000 + SAMPLES + 40); /* goes on where it stopped: 1 s of it is too late */
    assert_int_equal(segmenter_get_stats(s).n_dropped_samples, 16000);
    seg = take(s, 4 * S);
    check_samples(seg, SAMPLES, FULL, 0);
    capture_segment_free(&seg);
    finish(s);
}

/* As a container gives it: blocks of odd sizes, PTS rounded to the microsecond or the millisecond, sound 0.3 s after
 * the picture. Every sample must be exactly where its count says. */
static void test_positions_are_exact_for_file_pts(void **state)
{
    (void)state;
    const int64_t starts[] = {0, 4800, 4801, 31999, 32000};
    for (int rounding = 0; rounding < 2; rounding++)
        for (size_t c = 0; c < sizeof starts / sizeof *starts; c++) {
            segmenter *s = make(true, true, false, true);
            segmenter_begin(s, 0);
            srand(3);
            int64_t at = starts[c], end = starts[c] + 100001;
            for (int k = 0; k < 17; k++)
                put_frame(s, k * 500 * MS);
            int closed = 0;
            while (at < end) {
                int n = 1 + rand() % 1152;
                n = at + n > end ? (int)(end - at) : n;
                int64_t t_us = (at * 125 + 1) / 2;
                if (rounding && at > starts[c]) /* the first PTS of a stream is the one that counts */
                    t_us = (t_us + 500) / 1000 * 1000;
                assert_int_equal(put_sound_as(s, t_us, at, n), OMNID_OK);
                at += n;
                for (capture_segment *seg; (seg = take(s, 0)); closed++) {
                    assert_int_equal(seg->index, closed);
                    int missing = (int)(starts[c] - closed * SAMPLES);
                    missing = missing < 0 ? 0 : missing > FULL ? FULL : missing;
                    if (missing < SAMPLES)
                        check_samples(seg, (int64_t)closed * SAMPLES, FULL, missing);
                    else
                        assert_null(seg->samples);
                    capture_segment_free(&seg);
                }
            }
            segmenter_end_audio(s);
            segmenter_end_video(s, 8500 * MS);
            while (!segmenter_finished(s)) {
                capture_segment *seg = take(s, 0);
                if (seg->index == end / SAMPLES && !seg->last)
                    check_samples(seg, end / SAMPLES * SAMPLES, SAMPLES, SAMPLES - (int)(end % SAMPLES));
                capture_segment_free(&seg);
            }
            assert_int_equal(segmenter_get_stats(s).n_dropped_samples, 0);
            finish(s);
        }
}

static void test_samples_are_clamped(void **state)
{
    (void)state;
    segmenter *s = make(false, true, false, true);
    const float x[] = {0.5f, 1.5f, -7.0f, NAN, INFINITY, -0.25f};
    segmenter_begin(s, 0);
    segmenter_put_sound(s, 0, x, 6);
    segmenter_end_audio(s);
    capture_segment *seg = take(s, 0);
    const float want[] = {0.5f, 1.0f, -1.0f, 0.0f, 1.0f, -0.25f};
    assert_int_equal(seg->n_samples, 6);
    assert_int_equal(seg->n_samples_missing, 1);
    for (int i = 0; i < 6; i++)
        assert_true(seg->samples[i] == want[i]);
    capture_segment_free(&seg);
    finish(s);
}

/* ---- streams that stall ---- */

static void test_a_stalled_stream_does_not_delay_the_other(void **state)
{
    (void)state;
    for (int stalled = 0; stalled < 2; stalled++) { /* 0: the picture, 1: the sound; after 3 s */
        segmenter *s = make(true, true, true, false);
        segmenter_begin(s, 0);
        int closed = 0;
        for (int64_t now = 0; now < 13 * S; now += 10 * MS) {
            if (now < 3 * S || stalled == 1)
                put_frame(s, now);
            if (now < 3 * S || stalled == 0)
                put_sound(s, 0, now * 2 / 125, 160);
            capture_segment *seg = take(s, now);
            if (!seg)
                continue;
            assert_int_equal(seg->index, closed);
            int64_t late = now - (closed + 1) * 2 * S;
            assert_in_range(late, 0, SEGMENTER_LATE_US);
            assert_int_equal(seg->n_frames, stalled == 1 || closed < 2 ? 4 : 0); /* 3.5 s repeats 3.0 s */
            if (stalled == 1)
                assert_int_equal(seg->n_samples, closed < 2 ? FULL : 0);
            else
                check_samples(seg, (int64_t)closed * SAMPLES, FULL, 0);
            capture_segment_free(&seg);
            closed++;
        }
        assert_int_equal(closed, 6);
        finish(s);
    }
}

static void test_long_outage_skips_segments(void **state)
{
    (void)state;
    segmenter *s = make(true, true, true, false);
    int64_t t0 = 5 * (int64_t)S;
    for (int64_t t = 0; t < 2500 * MS; t += 100 * MS) {
        put_frame(s, t0 + t);
        put_sound(s, t0, t * 2 / 125, 1600);
    }
    capture_segment *seg = take(s, t0 + 2500 * MS);
    assert_int_equal(seg->index, 0);
    capture_segment_free(&seg);
    seg = take(s, t0 + 4300 * MS);
    assert_int_equal(seg->index, 1);
    assert_int_equal(seg->n_frames, 0); /* its second grid is missing */
    assert_int_equal(seg->n_samples_missing, FULL - 8000);
    capture_segment_free(&seg);
    int64_t back = 3600 * (int64_t)S + 700 * MS; /* an hour without anything, the clock looked at now and then */
    for (int64_t t = 5 * (int64_t)S; t < back; t += 7 * (int64_t)S)
        assert_null(take(s, t0 + t));
    segmenter_restart_audio(s);
    for (int64_t t = 0; t < 4 * (int64_t)S; t += 100 * MS) {
        put_frame(s, t0 + back + t);
        put_sound(s, t0, (back + t) * 2 / 125, 1600);
    }
    seg = take(s, t0 + back + 4 * (int64_t)S);
    assert_int_equal(seg->index, 1800);
    assert_int_equal(seg->start_us, t0 + 3600 * (int64_t)S);
    assert_int_equal(seg->n_frames, 0); /* instants 0 and 0.5 s are missing */
    check_samples(seg, 1800 * (int64_t)SAMPLES, FULL, 11200);
    capture_segment_free(&seg);
    seg = take(s, t0 + back + 4 * (int64_t)S);
    assert_int_equal(seg->index, 1801);
    assert_int_equal(seg->n_frames, 4);
    check_samples(seg, 1801 * (int64_t)SAMPLES, FULL, 0);
    capture_segment_free(&seg);
    segmenter_stats stats = segmenter_get_stats(s);
    assert_int_equal(stats.n_segments, 4);
    assert_int_equal(stats.n_gaps_video, 1800);
    assert_int_equal(stats.n_gaps_audio, 1798);
    finish(s);
}

/* A microphone whose clock is off, its blocks stamped by the camera's clock with jitter: it never leaves the picture by
 * more than the 50 ms at which a gap or an overlap is made. */
static void test_drift(void **state)
{
    (void)state;
    for (int ppm = -200; ppm <= 200; ppm += 400) {
        segmenter *s = make(false, true, true, false);
        segmenter_begin(s, 0);
        srand(5);
        int64_t sent = 0;
        for (int64_t now = 0; now < 3600 * (int64_t)S; now += 20 * MS) {
            int64_t due = (int64_t)((double)now * 0.016 * (1 + ppm * 1e-6));
            put_sound_as(s, now + rand() % (4 * MS) - 2 * MS - (due - sent) * 125 / 2, now * 2 / 125,
                         (int)(due - sent));
            sent = due;
            capture_segment *seg = take(s, now);
            if (seg && seg->n_samples == FULL)
                for (int i = 0; i < FULL; i += 1000) { /* a sample's value is the position at which it was heard */
                    int64_t at = seg->index * SAMPLES + i;
                    int64_t heard = lroundf(seg->samples[i] * 32768.0f) - 1 - at % 30011;
                    heard = (heard + 30011 + 15005) % 30011 - 15005;
                    if (seg->samples[i] != 0.0f)
                        assert_in_range(heard + 2000, 0, 4000);
                }
            capture_segment_free(&seg);
        }
        segmenter_stats stats = segmenter_get_stats(s);
        assert_in_range(ppm < 0 ? stats.n_sound_gaps : stats.n_sound_overlaps, 10,
                        18); /* 3600 s * 200 ppm / 50 ms = 14 */
        assert_int_equal(ppm < 0 ? stats.n_sound_overlaps : stats.n_sound_gaps, 0);
        finish(s);
    }
}

/* ---- the end of a clip, unpaced ---- */

static void test_clip_ends(void **state)
{
    (void)state;
    const struct {
        int64_t video_us; /* length; 0 = no video */
        int64_t n_audio;  /* samples; 0 = no audio */
        int n_segments, last_frames, last_samples;
    } cases[] = {
        {4 * S, 0, 2, 4, 0},         {4 * S + 1, 0, 3, 1, 0},
        {5 * S, 0, 3, 2, 0},         {5 * S + 100 * MS, 0, 3, 3, 0},
        {500 * MS, 0, 1, 1, 0},      {0, 64000, 2, 0, 32000},
        {0, 64001, 3, 0, 1},         {0, 63999, 2, 0, 31999},
        {0, 100, 1, 0, 100},         {4 * S, 64000, 2, 4, 32000},
        {4 * S, 64039, 3, 0, 39},    {5 * S, 64000, 3, 2, 0},
        {4 * S, 100000, 4, 0, 4000}, {3 * S, 48320, 2, 2, 16320},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        segmenter *s = make(cases[c].video_us > 0, cases[c].n_audio > 0, false, true);
        segmenter_begin(s, 0);
        int64_t at = 0;
        int closed = 0, last_frames = -1, last_samples = -1, n_last = 0;
        int64_t heard = 0;
        for (int64_t t = 0; t < 9 * (int64_t)S; t += 100 * MS) {
            if (t < cases[c].video_us)
                assert_int_equal(put_frame(s, t), OMNID_OK);
            int n = (int)(cases[c].n_audio - at < 1600 ? cases[c].n_audio - at : 1600);
            put_sound(s, 0, at, n);
            at += n;
            if (t >= cases[c].video_us)
                segmenter_end_video(s, cases[c].video_us);
            if (at == cases[c].n_audio)
                segmenter_end_audio(s);
            for (capture_segment *seg; (seg = take(s, 0));) {
                assert_int_equal(seg->index, closed++);
                last_frames = seg->n_frames;
                last_samples = seg->n_samples;
                n_last += seg->last;
                assert_int_equal(seg->last, segmenter_finished(s));
                heard +=
                    (seg->n_samples < SAMPLES ? seg->n_samples : SAMPLES) - (seg->last ? seg->n_samples_missing : 0);
                if (seg->last)
                    assert_int_equal(seg->n_samples_missing, 0); /* nothing is invented at the end */
                capture_segment_free(&seg);
            }
        }
        print_message("case %zu\n", c);
        assert_true(segmenter_finished(s));
        assert_int_equal(closed, cases[c].n_segments);
        assert_int_equal(n_last, 1);
        assert_int_equal(last_frames, cases[c].last_frames);
        assert_int_equal(last_samples, cases[c].last_samples);
        if (cases[c].video_us == 0)
            assert_int_equal(heard, cases[c].n_audio);
        finish(s);
    }
}

/* A picture that ends at 4 s by a rounded PTS does not make a third segment of one frame; one that goes on does. */
static void test_rounded_end_of_picture(void **state)
{
    (void)state;
    const struct {
        int64_t end_us;
        int n_segments;
    } cases[] = {{3999 * MS, 2}, {4000 * MS, 2}, {4000333, 2}, {4004 * MS, 2}, {4010 * MS, 3}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        segmenter *s = make(true, false, false, true);
        segmenter_begin(s, 0);
        for (int64_t t = 0; t < 4 * S; t += 100 * MS)
            put_frame(s, t);
        segmenter_end_video(s, cases[c].end_us);
        int n = 0;
        for (capture_segment *seg; (seg = take(s, 0)); n++) {
            assert_int_equal(seg->last, n + 1 == cases[c].n_segments);
            assert_int_equal(seg->n_frames, n < 2 ? 4 : 1);
            capture_segment_free(&seg);
        }
        assert_int_equal(n, cases[c].n_segments);
        finish(s);
    }
}

/* Sound of the next segment's first samples is in the segment before, when the clip ends right there. */
static void test_awaited_samples_at_the_end(void **state)
{
    (void)state;
    for (int extra = 39; extra <= 41; extra++) {
        segmenter *s = make(false, true, false, true);
        segmenter_begin(s, 0);
        put_sound(s, 0, 0, SAMPLES + extra);
        segmenter_end_audio(s);
        capture_segment *seg = take(s, 0), *last = take(s, 0);
        check_samples(seg, 0, SAMPLES + (extra < 40 ? extra : 40), 0);
        check_samples(last, SAMPLES, extra, 0);
        assert_false(seg->last);
        assert_true(last->last);
        capture_segment_free(&seg);
        capture_segment_free(&last);
        finish(s);
    }
}

static void test_one_stream_far_ahead(void **state)
{
    (void)state;
    segmenter *s = make(true, true, false, true);
    segmenter_begin(s, 0);
    int64_t t = 0;
    put_sound(s, 0, 0, 1600); /* the sound stops after 0.1 s and never ends */
    for (; put_frame(s, t) == OMNID_OK && t < 100 * (int64_t)S; t += 100 * MS)
        continue;
    assert_int_equal(t, SEGMENTER_HELD * 2 * S); /* bounded */
    for (int closed = 0; closed < 2; closed++) {
        assert_true(segmenter_ready(s, 0));
        capture_segment *seg = take(s, 0);
        assert_int_equal(seg->index, closed);
        assert_int_equal(seg->n_frames, 4);
        assert_int_equal(seg->n_samples, closed ? 0 : FULL);
        capture_segment_free(&seg);
    }
    assert_int_equal(put_frame(s, t), OMNID_OK); /* there is room again */
    finish(s);
}

static void test_a_jump_of_pts_by_an_hour(void **state)
{
    (void)state;
    segmenter *s = make(true, true, false, true);
    segmenter_begin(s, 0);
    int64_t index = -1;
    for (int64_t t = 0; t < 6 * (int64_t)S; t += 100 * MS) {
        int64_t at = t < 3 * S ? t : t + 3600 * (int64_t)S;
        for (int done = 0, tries = 0; done < 2; tries++) {
            assert_true(tries < 10);
            omnid_status status = done ? put_sound(s, 0, at * 2 / 125, 1600) : put_frame(s, at);
            done += status == OMNID_OK;
            capture_segment *seg = take(s, 0);
            if (seg)
                index = seg->index;
            capture_segment_free(&seg);
            assert_true(status == OMNID_OK || status == OMNID_AGAIN);
        }
    }
    segmenter_end_video(s, 3606 * (int64_t)S);
    segmenter_end_audio(s);
    capture_segment *seg = take(s, 0);
    assert_in_range(index, 1799, 1801);
    while (seg) {
        index = seg->index;
        assert_int_equal(seg->last, index == 1802);
        capture_segment_free(&seg);
        seg = take(s, 0);
    }
    assert_int_equal(index, 1802);
    assert_int_equal(segmenter_get_stats(s).n_dropped_frames + segmenter_get_stats(s).n_dropped_samples, 0);
    finish(s);
}

/* ---- the open segment ---- */

static void test_snapshot(void **state)
{
    (void)state;
    segmenter *s = make(true, true, true, false);
    capture_segment *seg;
    assert_int_equal(segmenter_snapshot(s, 0, 0, &seg, NULL), OMNID_OK);
    assert_null(seg); /* nothing seen yet */
    const int64_t t0 = 3 * (int64_t)S;
    segmenter_begin(s, t0);
    const struct {
        int64_t now_us;
        int n_frames;
        int64_t newest_us; /* of the last frame */
    } cases[] = {{0, 1, 0},
                 {400 * MS, 2, 400 * MS}, /* fills the grid */
                 {500 * MS, 2, 500 * MS},
                 {999 * MS, 2, 900 * MS}, /* instead of the one of 500 ms: the newest there is */
                 {1100 * MS, 4, 1100 * MS},
                 {1700 * MS, 4, 1700 * MS}};
    int64_t t = 0;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (; t <= cases[c].now_us; t += 100 * MS) {
            put_frame(s, t0 + t);
            put_sound(s, t0, t * 2 / 125, 1600);
        }
        assert_int_equal(segmenter_snapshot(s, t0 + cases[c].now_us, 77 * (int64_t)S, &seg, NULL), OMNID_OK);
        assert_int_equal(seg->index, 0);
        assert_int_equal(seg->n_frames, cases[c].n_frames);
        assert_int_equal(frame_time(seg, seg->n_frames - 1), t0 + cases[c].newest_us);
        assert_int_equal(seg->frames[seg->n_frames - 1].t_us, t0 + cases[c].newest_us);
        assert_int_equal(seg->wall_us, 77 * (int64_t)S - cases[c].now_us);
        check_samples(seg, 0, (int)(t * 2 / 125), 0);
        capture_segment_free(&seg);
    }
    put_sound(s, t0, t * 2 / 125, 8000);
    put_frame(s, t0 + 2000 * MS);
    capture_segment *whole = take(s, t0 + 2300 * MS);
    assert_int_equal(whole->n_frames, 4); /* looking changed nothing */
    for (int i = 0; i < 4; i++)
        assert_int_equal(frame_time(whole, i), t0 + i * 500 * MS);
    assert_int_equal(segmenter_get_stats(s).n_converted, 8); /* and those of 400, 900, 1100 and 1700 ms */
    check_samples(whole, 0, FULL, 0);
    assert_int_equal(segmenter_snapshot(s, t0 + 2900 * MS, 0, &seg, NULL), OMNID_OK);
    assert_int_equal(seg->index, 1);
    assert_int_equal(seg->n_frames, 2); /* 2.5 s has the frame of 2.0 s, which is just young enough */
    capture_segment_free(&seg);
    segmenter_destroy(&s); /* a copy outlives its segmenter */
    assert_int_equal(frame_time(whole, 3), t0 + 1500 * MS);
    capture_segment_free(&whole);
    assert_int_equal(n_live_natives, 0);
}

static void test_times_of_segments(void **state)
{
    (void)state;
    segmenter *s = make(true, false, true, false);
    const int64_t t0 = 1234567;
    for (int i = 0; i < 30; i++)
        put_frame(s, t0 + i * 200 * MS);
    for (int k = 0; k < 2; k++) {
        capture_segment *seg = take(s, t0 + 6 * S);
        assert_int_equal(seg->start_us, t0 + k * 2 * S); /* T0 is the first frame's time */
        assert_int_equal(seg->wall_us, seg->start_us + 1000 * (int64_t)S);
        capture_segment_free(&seg);
    }
    finish(s);
}

/* ---- ten hours ---- */

static void test_ten_hours(void **state)
{
    (void)state;
    segmenter *s = make(true, true, true, false);
    const int64_t hours = 10 * 3600 * (int64_t)S, t0 = 900000 * (int64_t)S;
    segmenter_begin(s, t0);
    int64_t closed = 0, put = 0;
    srand(9);
    for (int64_t now = 0; now < hours; now += 100 * MS) {
        put_frame(s, t0 + now + (now ? rand() % (20 * MS) : 0));
        int64_t due = now * 2 / 125 + rand() % 800; /* blocks come in bursts, their times are right */
        if (due > put) {
            put_sound(s, t0, put, (int)(due - put));
            put = due;
        }
        capture_segment *seg = take(s, t0 + now);
        if (!seg)
            continue;
        assert_int_equal(seg->index, closed++);
        assert_int_equal(seg->n_frames, 4);
        assert_int_equal(seg->n_samples, FULL);
        assert_int_equal(seg->n_samples_missing, 0);
        for (int i = 0; i < FULL; i += 997)
            assert_true(seg->samples[i] == value_at(seg->index * SAMPLES + i));
        for (int i = 0; i < 4; i++)
            assert_in_range(seg->start_us + i * 500 * MS - frame_time(seg, i), 0, 120 * MS);
        capture_segment_free(&seg);
    }
    assert_in_range(closed, 17998, 18000);
    segmenter_stats stats = segmenter_get_stats(s);
    assert_int_equal(stats.n_dropped_frames + stats.n_dropped_samples + stats.n_sound_gaps + stats.n_sound_overlaps, 0);
    assert_int_equal(stats.n_gaps_video + stats.n_gaps_audio, 0);
    finish(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_rates),
        cmocka_unit_test(test_frame_jitter),
        cmocka_unit_test(test_frame_exactly_at_the_instant),
        cmocka_unit_test(test_missing_frames),
        cmocka_unit_test(test_late_and_disordered_frames_are_dropped),
        cmocka_unit_test(test_frames_of_one_segment_have_one_size),
        cmocka_unit_test(test_picture_that_cannot_be_converted),
        cmocka_unit_test(test_good_picture_before_a_damaged_one),
        cmocka_unit_test(test_awaited_samples),
        cmocka_unit_test(test_samples_go_where_their_time_says),
        cmocka_unit_test(test_late_sound_is_dropped),
        cmocka_unit_test(test_positions_are_exact_for_file_pts),
        cmocka_unit_test(test_samples_are_clamped),
        cmocka_unit_test(test_a_stalled_stream_does_not_delay_the_other),
        cmocka_unit_test(test_long_outage_skips_segments),
        cmocka_unit_test(test_drift),
        cmocka_unit_test(test_clip_ends),
        cmocka_unit_test(test_rounded_end_of_picture),
        cmocka_unit_test(test_awaited_samples_at_the_end),
        cmocka_unit_test(test_one_stream_far_ahead),
        cmocka_unit_test(test_a_jump_of_pts_by_an_hour),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_times_of_segments),
        cmocka_unit_test(test_ten_hours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
