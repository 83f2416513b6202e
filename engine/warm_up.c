/* warm_up.c: made-up segments and questions, so that what a device does once is done before somebody waits for it: loading
 * kernels, choosing algorithms of products, recording. */
#include <math.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "engine/random.h"
#include "engine/resize.h"

enum { N_SAMPLES = MEL_SEGMENT_SAMPLES + MEL_AHEAD, MIN_SIDE = 56 };

/* What a segment is made of: noise, so that no token is like another. */
typedef struct {
    int side;
    uint8_t *rgb;   /* [side][side][3] */
    float *samples; /* [N_SAMPLES] */
    random_pcg32 random;
} noise;

static omnid_status noise_make(noise *n, int max_pixels, omnid_error *err)
{
    int side = (int)sqrt((double)max_pixels) / RESIZE_UNIT * RESIZE_UNIT;
    *n = (noise){.side = side > MIN_SIDE ? side : MIN_SIDE, .random = random_pcg32_seed(1, 0)};
    n->rgb = malloc((size_t)n->side * (size_t)n->side * 3);
    n->samples = malloc(N_SAMPLES * sizeof *n->samples);
    return n->rgb && n->samples ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory for a segment");
}

static omnid_status make_segment(omnid_segment **out, noise *n, const omnid_timeline *tl, int64_t index, int n_frames,
                                 omnid_error *err)
{
    omnid_segment_params p = {.index = index};
    for (int i = 0; i < n->side * n->side * 3; i++)
        n->rgb[i] = (uint8_t)random_pcg32_next(&n->random);
    for (int i = 0; i < N_SAMPLES; i++)
        n->samples[i] = (float)(random_pcg32_next(&n->random) >> 8) / (float)(1 << 25) - 0.25f;
    p.n_frames = tl->params.has_video ? n_frames : 0;
    for (int i = 0; i < p.n_frames; i++)
        p.frames[i] = (omnid_frame){n->rgb, n->side, n->side, 3 * n->side};
    p.samples = tl->params.has_audio ? n->samples : NULL;
    p.n_samples = tl->params.has_audio ? N_SAMPLES / 4 * n_frames : 0;
    return omnid_segment_create(out, tl, &p, err);
}

static omnid_status run(omnid_engine *e, omnid_error *err)
{
    omnid_status status;
    while ((status = omnid_engine_step(e, 0, err)) == OMNID_OK)
        continue;
    return status == OMNID_AGAIN ? OMNID_OK : status;
}

/* Twice: what is new runs piece by piece the first time and is recorded the second. */
static omnid_status ask_twice(omnid_timeline *tl, noise *n, const char *text, bool now, omnid_error *err)
{
    omnid_question_params q = omnid_question_params_default();
    q.question = text;
    q.max_tokens = 3;
    q.mode = tl->params.modes & OMNID_MODE_EAGER      ? OMNID_MODE_EAGER
             : tl->params.modes & OMNID_MODE_DEFERRED ? OMNID_MODE_DEFERRED
                                                      : OMNID_MODE_OFFLINE;
    q.retention = tl->params.intra ? q.retention : "none";
    for (int i = 0; i < 2; i++) {
        uint64_t id;
        omnid_segment *open = NULL;
        if (now)
            OMNID_TRY(make_segment(&open, n, tl, omnid_timeline_get_status(tl).next_segment, 2, err));
        omnid_status status = omnid_timeline_ask(tl, &q, &open, &id, err);
        omnid_segment_destroy(&open);
        OMNID_TRY(status);
        OMNID_TRY(run(tl->engine, err));
    }
    return OMNID_OK;
}

/* Questions of some 5, 10 and 30 tokens: launches are of 16, 32 and 48 rows (path.h). */
static omnid_status ask(omnid_timeline *tl, noise *n, bool now, omnid_error *err)
{
    static const char *const texts[] = {"What is there?", "What can be seen and heard there now?",
                                        "Who has come and gone since the last question was asked, and is there "
                                        "anything else at all that somebody should be "
                                        "told about before this day is over?"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        OMNID_TRY(ask_twice(tl, n, texts[i], now, err));
    return OMNID_OK;
}

/* A window as it fills; with questions, whenever twice as much is in it. */
static omnid_status fill_window(omnid_timeline *tl, noise *n, bool questions, int64_t until_us, omnid_error *err)
{
    int window = tl->params.window_segments;
    for (int s = 0; s < window && omnid_clock_us() < until_us; s++) {
        omnid_segment *segment;
        OMNID_TRY(make_segment(&segment, n, tl, tl->params.first_segment + s, 4, err));
        omnid_status status = omnid_timeline_submit(tl, &segment, err);
        omnid_segment_destroy(&segment);
        OMNID_TRY(status);
        OMNID_TRY(run(tl->engine, err));
        if (questions && ((s & (s + 1)) == 0 || s + 1 == window))
            OMNID_TRY(ask(tl, n, false, err));
        if (questions && s == 0)
            OMNID_TRY(ask(tl, n, true, err));
    }
    return OMNID_OK;
}

/* A full window first: what is recorded is so with the addresses of memory, which grows with the window and stays. */
static omnid_status warm_up(omnid_timeline *tl, noise *n, int64_t until_us, omnid_error *err)
{
    OMNID_TRY(fill_window(tl, n, false, until_us, err));
    OMNID_TRY(ask(tl, n, true, err));
    omnid_timeline_forget(tl);
    return fill_window(tl, n, true, until_us, err);
}

omnid_status omnid_engine_warm_up(omnid_engine *e, const omnid_timeline_params *p, int at_most_ms, omnid_error *err)
{
    if (!engine_has_lanes(e) || p->mel_clip)
        return OMNID_OK;
    const omnid_callbacks callbacks = e->callbacks;
    int64_t until_us = omnid_clock_us() + (int64_t)at_most_ms * 1000;
    omnid_timeline *tl = NULL;
    noise n = {0};
    e->callbacks = (omnid_callbacks){0};
    omnid_status status = omnid_timeline_create(&tl, e, p, err);
    if (status == OMNID_OK)
        status = noise_make(&n, tl->params.max_pixels, err);
    if (status == OMNID_OK)
        status = warm_up(tl, &n, until_us, err);
    omnid_timeline_destroy(&tl);
    free(n.rgb);
    free(n.samples);
    pthread_mutex_lock(&e->lock);
    e->status.n_answers = 0;
    pthread_mutex_unlock(&e->lock);
    e->callbacks = callbacks;
    return status;
}
