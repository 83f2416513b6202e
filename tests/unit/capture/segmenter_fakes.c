/* segmenter_fakes.c: see segmenter_fakes.h. */
#include "segmenter_fakes.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

int n_live_natives, n_conversions;

static omnid_status fake_convert(picture *p, omnid_error *err)
{
    if (p->height == 99)
        return omnid_fail(err, OMNID_FORMAT, "a picture that cannot be converted");
    p->stride = 12;
    p->rgb = calloc(1, 12);
    memcpy(p->rgb, &p->t_us, sizeof p->t_us);
    n_conversions++;
    return OMNID_OK;
}

static void fake_release(picture *p)
{
    (void)p;
    n_live_natives--;
}

static const picture_ops fake_ops = {fake_convert, fake_release};

picture *make_picture(int64_t t_us, int width, int height)
{
    picture *p;
    n_live_natives++;
    assert_int_equal(picture_create(&p, t_us, width, height, &fake_ops, &n_live_natives, NULL), OMNID_OK);
    return p;
}

omnid_status put_frame(segmenter *s, int64_t t_us)
{
    picture *p = make_picture(t_us, 4, 1);
    omnid_status status = segmenter_put_picture(s, &p);
    picture_unref(&p);
    return status;
}

/* The value of the sample at a position: another for each of 30011 in a row, never 0. */
float value_at(int64_t position)
{
    return (float)(position % 30011 + 1) / 32768.0f;
}

/* Puts n samples whose values say that they are at `position`, at the time t_us. */
omnid_status put_sound_as(segmenter *s, int64_t t_us, int64_t position, int n)
{
    static float values[30011 + SAMPLES * 2]; /* value_at, made once */
    for (int i = 0; values[0] == 0.0f && i < 30011 + SAMPLES * 2; i++)
        values[30011 + SAMPLES * 2 - 1 - i] = value_at(30011 + SAMPLES * 2 - 1 - i);
    const float *x = values + position % 30011;
    omnid_status status = OMNID_OK;
    for (int i = 0; i < n && status == OMNID_OK; i += 8000)
        status = segmenter_put_sound(s, t_us + (int64_t)i * 125 / 2, x + i, n - i < 8000 ? n - i : 8000);
    return status;
}

/* The same with the right time for T0 = t0_us. */
omnid_status put_sound(segmenter *s, int64_t t0_us, int64_t position, int n)
{
    return put_sound_as(s, t0_us + position * 125 / 2, position, n);
}

segmenter *make(bool video, bool audio, bool clocked, bool clip)
{
    segmenter *s;
    const segmenter_params p = {video, audio, clocked, clip, SEGMENTER_LATE_US};
    assert_int_equal(segmenter_create(&s, &p, NULL), OMNID_OK);
    n_conversions = n_live_natives = 0;
    return s;
}

void finish(segmenter *s)
{
    segmenter_destroy(&s);
    assert_null(s);
    assert_int_equal(n_live_natives, 0);
}

capture_segment *take(segmenter *s, int64_t now_us)
{
    capture_segment *seg;
    omnid_status status = segmenter_take(s, now_us, now_us + 1000 * (int64_t)S, &seg, NULL);
    assert_int_equal(status, seg ? OMNID_OK : OMNID_AGAIN);
    return seg;
}

int64_t frame_time(const capture_segment *seg, int i)
{
    int64_t t_us;
    memcpy(&t_us, seg->frames[i].rgb, sizeof t_us);
    return t_us;
}

/* Each sample is the one of its position or, where missing, zero; `missing` says how many are. */
void check_samples(const capture_segment *seg, int64_t first_position, int n, int missing)
{
    assert_int_equal(seg->n_samples, n);
    assert_int_equal(seg->n_samples_missing, missing);
    int zeros = 0;
    for (int i = 0; i < n; i++) {
        zeros += seg->samples[i] == 0.0f;
        if (seg->samples[i] != 0.0f && seg->samples[i] != value_at(first_position + i))
            fail_msg("sample %d is %g, want %g", i, (double)seg->samples[i], (double)value_at(first_position + i));
    }
    assert_int_equal(zeros, missing);
}
