/* The segmenter with streams that are away for a while: paused, or not there at all. */
#include "segmenter_fakes.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

/* Puts the picture and sound of [from, to) s, ten frames a second. */
static void put_both(segmenter *s, int64_t t0, double from_s, double to_s)
{
    for (int64_t t = (int64_t)(from_s * 10); t < (int64_t)(to_s * 10); t++) {
        put_frame(s, t0 + t * 100 * MS);
        put_sound(s, t0, t * 1600, 1600);
    }
}

static void test_unexpected_stream(void **state)
{
    (void)state;
    const int64_t t0 = 5 * (int64_t)S;
    for (int video = 0; video < 2; video++) {
        segmenter *s = make(true, true, true, false);
        put_both(s, t0, 0, 1.2);
        segmenter_expect(s, video, false, t0 + 1200 * MS);
        put_both(s, t0, 1.2, 2.1); /* what comes of it is thrown away */
        capture_segment *seg, *open;
        assert_int_equal(segmenter_snapshot(s, t0 + 1900 * MS, 0, &open, NULL), OMNID_OK);
        assert_int_equal(open->n_frames, video ? 0 : 4);
        assert_true(video ? open->n_samples > 0 : open->n_samples == 0);
        capture_segment_free(&open);
        assert_true(segmenter_ready(s, t0 + 2010 * MS)); /* nobody waits for it */
        seg = take(s, t0 + 2010 * MS);
        assert_int_equal(seg->index, 0);
        assert_int_equal(seg->n_frames, video ? 0 : 4); /* the open segment's part is gone as well */
        assert_int_equal(seg->n_samples, video ? FULL : 0);
        capture_segment_free(&seg);
        put_both(s, t0, 2.1, 4.5);
        segmenter_expect(s, video, true, t0 + 4500 * MS);
        if (!video)
            segmenter_restart_audio(s);
        put_both(s, t0, 4.5, 8.1);
        for (int i = 1; i < 4; i++) {
            seg = take(s, t0 + 8040 * MS);
            assert_int_equal(seg->index, i);
            assert_int_equal(seg->n_frames, video && i < 2 ? 0 : 4);
            assert_int_equal(seg->n_samples, !video && i < 2 ? 0 : FULL);
            if (!video && i == 2)
                check_samples(seg, 2 * SAMPLES, FULL, 8000);
            capture_segment_free(&seg);
        }
        segmenter_stats stats = segmenter_get_stats(s);
        assert_int_equal(stats.n_gaps_video + stats.n_gaps_audio, 0);
        finish(s);
    }
}

/* A camera that takes long to come back has a gap between the segment in which it was asked to and its first data. */
static void test_gap_after_return(void **state)
{
    (void)state;
    segmenter *s = make(true, false, true, false);
    put_frame(s, S);
    segmenter_expect(s, true, false, S + 100 * MS);
    assert_null(take(s, 9 * (int64_t)S)); /* segments of nothing are skipped */
    assert_int_equal(segmenter_get_stats(s).n_gaps_video, 0);
    segmenter_expect(s, true, true, 9 * (int64_t)S + 500 * MS); /* in segment 4 */
    assert_null(take(s, 14 * (int64_t)S));
    assert_int_equal(segmenter_get_stats(s).n_gaps_video, 1); /* segment 5 */
    put_frame(s, 14 * (int64_t)S + 900 * MS);
    assert_null(take(s, 16 * (int64_t)S));
    assert_int_equal(segmenter_get_stats(s).n_gaps_video, 1); /* segment 6: half of it was heard of again */
    assert_null(take(s, 18 * (int64_t)S));
    assert_int_equal(segmenter_get_stats(s).n_gaps_video, 2);
    finish(s);
}

/* When a camera is closed its buffers go back at once; what they showed still stands for the instants to come. */
static void test_closed_camera_owns_nothing(void **state)
{
    (void)state;
    segmenter *s = make(true, false, true, false);
    put_frame(s, S);
    put_frame(s, S + 1400 * MS);
    put_frame(s, S + 1800 * MS);
    assert_true(n_live_natives > 0);
    segmenter_let_go(s);
    assert_int_equal(n_live_natives, 0);
    segmenter_let_go(s); /* nothing is left to do */
    capture_segment *seg = take(s, S + 2400 * MS);
    assert_non_null(seg);
    assert_int_equal(seg->n_frames, 4);
    capture_segment_free(&seg);
    picture *broken = make_picture(S + 2500 * MS, 4, 99);
    assert_int_equal(segmenter_put_picture(s, &broken), OMNID_OK);
    segmenter_let_go(s);
    assert_int_equal(n_live_natives, 0);
    finish(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_camera_owns_nothing),
        cmocka_unit_test(test_unexpected_stream),
        cmocka_unit_test(test_gap_after_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
