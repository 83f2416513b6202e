/* segmenter.c: which picture stands for which instant, where each sample belongs, when a segment is closed. */
#include "capture/segmenter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_SLOTS = SEGMENTER_HELD * CAPTURE_FRAMES,
    N_RING = SEGMENTER_HELD * CAPTURE_SAMPLES,
    N_WITH_AWAITED = CAPTURE_SAMPLES + CAPTURE_AWAITED,
};

/* Inside, times are relative to T0: instant k is at k * 0.5 s, sample i at i / 16000 s. */
struct segmenter {
    segmenter_params p;
    bool begun;
    int64_t t0_us;
    int64_t index;   /* of the open segment */
    int64_t seen_us; /* the newest time of any stream */
    int64_t last;    /* index of the last segment; valid once all streams ended */
    bool taken_last;

    picture *newest;   /* the newest picture; it may still be the one for the next instant */
    int64_t newest_us; /* its time; valid after it was let go, too */
    picture *before;   /* the one before it, which stands where the newest turns out to be damaged */
    int64_t before_us;
    bool any_picture;
    int64_t next_instant;     /* instants before this one are decided */
    picture *chosen[N_SLOTS]; /* instant k in slot k % N_SLOTS, for k in [4 index, next_instant); NULL = missing */
    bool video_ended;
    int64_t video_end_us;

    int64_t position;         /* of the sample after the newest */
    bool placed, overlapping; /* a block was placed; the last one overlapped */
    bool audio_ended;
    bool unexpected[2];       /* picture, sound: see segmenter_expect */
    bool awaiting_first[2];   /* expected again, and nothing came yet */
    int64_t excused_until[2]; /* no gap is counted up to this segment's end */
    segmenter_stats stats;
    char warning[256];
    int64_t warned_us;       /* time of the picture it is about */
    uint8_t present[N_RING]; /* position i at i % N_RING; both zero wherever nothing was written */
    float samples[N_RING];
};

/* A segment and what its pointers point to; the public part comes first. */
typedef struct {
    capture_segment seg;
    picture *pictures[CAPTURE_FRAMES];
    float samples[N_WITH_AWAITED];
} owned_segment;

omnid_status segmenter_create(segmenter **out, const segmenter_params *p, omnid_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a camera's %zu bytes of buffers", sizeof **out);
    (*out)->p = *p;
    return OMNID_OK;
}

void segmenter_destroy(segmenter **s)
{
    if (!*s)
        return;
    for (int i = 0; i < N_SLOTS; i++)
        picture_unref(&(*s)->chosen[i]);
    picture_unref(&(*s)->newest);
    picture_unref(&(*s)->before);
    free(*s);
    *s = NULL;
}

void capture_segment_free(capture_segment **seg)
{
    if (!*seg)
        return;
    owned_segment *o = (owned_segment *)*seg;
    for (int i = 0; i < CAPTURE_FRAMES; i++)
        picture_unref(&o->pictures[i]);
    free(o);
    *seg = NULL;
}

void segmenter_begin(segmenter *s, int64_t t0_us)
{
    if (!s->begun)
        s->t0_us = t0_us;
    s->begun = true;
}

bool segmenter_begun(const segmenter *s)
{
    return s->begun;
}

segmenter_stats segmenter_get_stats(const segmenter *s)
{
    return s->stats;
}

const char *segmenter_warning(const segmenter *s)
{
    return s->newest_us - s->warned_us < SEGMENTER_WARNING_US ? s->warning : "";
}

static int64_t segment_end_us(const segmenter *s)
{
    return (s->index + 1) * SEGMENTER_SEGMENT_US;
}

/* ---- streams that are away ---- */

enum { PICTURE, SOUND };

/* Nobody can count on the segment of t_us, relative to T0, being whole: the stream was away during a part of it. */
static void excuse(segmenter *s, int which, int64_t t_us)
{
    if (t_us >= 0 && t_us / SEGMENTER_SEGMENT_US + 1 > s->excused_until[which])
        s->excused_until[which] = t_us / SEGMENTER_SEGMENT_US + 1;
}

static void note_first(segmenter *s, int which, int64_t t_us)
{
    if (s->awaiting_first[which])
        excuse(s, which, t_us);
    s->awaiting_first[which] = false;
}

/* Every slot of both rings belongs to the open segment or to a later one. */
static void throw_away(segmenter *s, int which)
{
    if (which == PICTURE) {
        for (int i = 0; i < N_SLOTS; i++)
            picture_unref(&s->chosen[i]);
        picture_unref(&s->newest);
        picture_unref(&s->before);
    } else {
        memset(s->present, 0, sizeof s->present);
        memset(s->samples, 0, sizeof s->samples);
        s->placed = s->overlapping = false;
    }
}

void segmenter_expect(segmenter *s, bool video, bool expected, int64_t now_us)
{
    int which = video ? PICTURE : SOUND;
    bool returns = expected && s->unexpected[which];
    s->unexpected[which] = !expected;
    if (!expected)
        throw_away(s, which);
    if (returns && s->begun)
        excuse(s, which, now_us - s->t0_us);
    s->awaiting_first[which] = returns;
}

/* ---- pictures ---- */

void segmenter_let_go(segmenter *s)
{
    omnid_error err;
    /* One that cannot be converted stays marked as failed; picture_convert has released it either way. */
    if (s->newest)
        (void)picture_convert(s->newest, &err);
    if (s->before)
        (void)picture_convert(s->before, &err);
}

/* p, of time p_us, if it stands for the instant at t_us and its pixels can be made; else NULL. */
static picture *stands_for(segmenter *s, picture *p, int64_t p_us, int64_t t_us)
{
    if (!p || p_us > t_us || t_us - p_us > SEGMENTER_FRAME_AGE_US || p->failed)
        return NULL;
    if (p->rgb)
        return p;
    omnid_error err;
    if (picture_convert(p, &err) != OMNID_OK) {
        s->stats.n_dropped_frames++;
        memcpy(s->warning, err.text, sizeof s->warning - 1);
        s->warned_us = p_us;
        return NULL;
    }
    s->stats.n_converted++;
    return p;
}

/* The newest picture that stands for the instant at t_us, or NULL. Borrowed. */
static picture *picture_for(segmenter *s, int64_t t_us)
{
    picture *p = stands_for(s, s->newest, s->newest_us, t_us);
    return p ? p : stands_for(s, s->before, s->before_us, t_us);
}

/* Decides the instants before until_us: no picture that is still to come can be newer and not after them. */
static void decide_instants(segmenter *s, int64_t until_us)
{
    int64_t end = s->index * CAPTURE_FRAMES + N_SLOTS;
    for (; s->next_instant < end && s->next_instant * SEGMENTER_INSTANT_US < until_us; s->next_instant++) {
        picture *p = picture_for(s, s->next_instant * SEGMENTER_INSTANT_US);
        s->chosen[s->next_instant % N_SLOTS] = p ? picture_ref(p) : NULL;
    }
}

static omnid_status drop_picture(segmenter *s, picture **p)
{
    s->stats.n_dropped_frames++;
    picture_unref(p);
    return OMNID_OK;
}

omnid_status segmenter_put_picture(segmenter *s, picture **p)
{
    segmenter_begin(s, (*p)->t_us);
    int64_t t_us = (*p)->t_us - s->t0_us;
    if (!s->p.video || s->video_ended || s->unexpected[PICTURE] || (s->any_picture && t_us <= s->newest_us))
        return drop_picture(s, p);
    if (t_us + SEGMENTER_FRAME_AGE_US < s->next_instant * SEGMENTER_INSTANT_US)
        return drop_picture(s, p); /* the instants that it could stand for are decided */
    if (t_us >= (s->index + SEGMENTER_HELD) * SEGMENTER_SEGMENT_US) {
        if (s->p.clocked)
            return drop_picture(s, p);
        s->seen_us = t_us; /* makes the open segment ready */
        return OMNID_AGAIN;
    }
    note_first(s, PICTURE, t_us);
    decide_instants(s, t_us);
    picture_unref(&s->before);
    s->before = s->newest;
    s->before_us = s->newest_us;
    s->newest = *p;
    s->newest_us = t_us;
    s->any_picture = true;
    if (t_us > s->seen_us)
        s->seen_us = t_us;
    *p = NULL;
    return OMNID_OK;
}

/* ---- sound ---- */

/* Position of the sample at t_us, to the nearest: 16000 / 1000000 = 2 / 125. */
static int64_t position_at(int64_t t_us)
{
    int64_t n = t_us * 2 + 62; /* rounds; 125 is odd, so there are no halves */
    return n >= 0 ? n / 125 : -((124 - n) / 125);
}

/* Where a block of that time goes: right behind the last one unless its time is more than 50 ms off. */
static int64_t place_block(segmenter *s, int64_t t_us)
{
    int64_t at = position_at(t_us);
    int64_t error = at - s->position;
    bool overlaps = s->placed && (error < -SEGMENTER_SLACK || (s->overlapping && error < 0)); /* to its very end */
    if (s->placed && error > SEGMENTER_SLACK)
        s->stats.n_sound_gaps++;
    else if (overlaps)
        s->stats.n_sound_overlaps += !s->overlapping;
    else if (s->placed)
        at = s->position;
    s->overlapping = overlaps;
    return at;
}

/* Writes n samples from position `at` on; all of it lies within the ring's six segments. */
static void write_samples(segmenter *s, int64_t at, const float *x, int64_t n)
{
    int64_t slot = at % N_RING;
    for (int64_t i = 0; i < n; i++) {
        if (!isnan(x[i])) {
            s->samples[slot] = fminf(1.0f, fmaxf(-1.0f, x[i]));
            s->present[slot] = 1;
        }
        slot = slot + 1 == N_RING ? 0 : slot + 1;
    }
}

omnid_status segmenter_put_sound(segmenter *s, int64_t t_us, const float *samples, int n)
{
    segmenter_begin(s, t_us);
    if (!s->p.audio || s->audio_ended || s->unexpected[SOUND] || n <= 0)
        return OMNID_OK;
    t_us -= s->t0_us;
    note_first(s, SOUND, t_us);
    int64_t first = s->index * CAPTURE_SAMPLES, end = first + N_RING;
    if (!s->p.clocked && position_at(t_us) + n + SEGMENTER_SLACK > end) {
        s->seen_us = t_us; /* makes the open segment ready */
        return OMNID_AGAIN;
    }
    int64_t at = place_block(s, t_us);
    int64_t from = s->position > first ? s->position : first; /* of an overlap the older samples stay */
    from = from > at ? from : at;
    int64_t to = at + n < end ? at + n : end;
    if (from < to)
        write_samples(s, from, samples + (from - at), to - from);
    s->stats.n_dropped_samples += n - (from < to ? to - from : 0);
    if (at < 0) /* before T0 nothing is lost */
        s->stats.n_dropped_samples -= -at < n ? -at : n;
    if (to > s->position)
        s->position = to;
    s->placed = true;
    int64_t seen_us = s->position * 125 / 2;
    if (seen_us > s->seen_us)
        s->seen_us = seen_us;
    return OMNID_OK;
}

void segmenter_restart_audio(segmenter *s)
{
    s->placed = false;
    s->overlapping = false;
}

/* ---- the end of a clip ---- */

static bool all_ended(const segmenter *s)
{
    return (!s->p.video || s->video_ended) && (!s->p.audio || s->audio_ended);
}

static void find_last(segmenter *s)
{
    if (!all_ended(s))
        return;
    int64_t end_us = s->p.video && s->any_picture ? s->video_end_us : 0;
    int64_t n_video = (end_us + SEGMENTER_SEGMENT_US - 1) / SEGMENTER_SEGMENT_US;
    int64_t n_audio = s->p.audio ? (s->position + CAPTURE_SAMPLES - 1) / CAPTURE_SAMPLES : 0;
    s->last = (n_video > n_audio ? n_video : n_audio) - 1;
}

void segmenter_end_video(segmenter *s, int64_t end_us)
{
    if (s->video_ended)
        return;
    s->video_ended = true;
    s->video_end_us = s->any_picture ? end_us - s->t0_us - SEGMENTER_END_US : 0;
    if (s->any_picture && s->video_end_us <= s->newest_us)
        s->video_end_us = s->newest_us + 1;
    find_last(s);
}

void segmenter_end_audio(segmenter *s)
{
    s->audio_ended = true;
    find_last(s);
}

/* ---- closing ---- */

static bool video_complete(const segmenter *s)
{
    if (!s->p.video || s->video_ended || s->unexpected[PICTURE])
        return true;
    if (s->p.clip)
        return s->any_picture && s->newest_us >= segment_end_us(s);
    return s->next_instant >= (s->index + 1) * CAPTURE_FRAMES;
}

static bool audio_complete(const segmenter *s)
{
    if (!s->p.audio || s->audio_ended || s->unexpected[SOUND])
        return true;
    return s->placed && s->position >= (s->index + 1) * CAPTURE_SAMPLES + CAPTURE_AWAITED;
}

bool segmenter_finished(const segmenter *s)
{
    return all_ended(s) && (s->taken_last || s->index > s->last);
}

bool segmenter_ready(const segmenter *s, int64_t now_us)
{
    if (all_ended(s))
        return !segmenter_finished(s);
    if (!s->begun)
        return false;
    bool complete = video_complete(s) && audio_complete(s);
    if (!s->p.clocked)
        return complete || s->seen_us >= segment_end_us(s) + SEGMENTER_AHEAD_US;
    int64_t past_us = now_us - s->t0_us - segment_end_us(s);
    return past_us >= 0 && (complete || past_us >= s->p.late_us);
}

int64_t segmenter_next_us(const segmenter *s, int64_t now_us)
{
    if (!s->begun || !s->p.clocked || segmenter_finished(s))
        return INT64_MAX;
    int64_t end_us = s->t0_us + segment_end_us(s);
    return now_us < end_us ? end_us : end_us + s->p.late_us;
}

/* Instants of the open segment that a clip's end (or now) leaves. */
static int instants_before(const segmenter *s, int64_t end_us)
{
    int64_t n = (end_us - s->index * SEGMENTER_SEGMENT_US + SEGMENTER_INSTANT_US - 1) / SEGMENTER_INSTANT_US;
    return n < 0 ? 0 : n > CAPTURE_FRAMES ? CAPTURE_FRAMES : (int)n;
}

/* Frames of one segment have one size, that of the newest: the others count as missing. */
static void drop_other_sizes(picture **frames, int n)
{
    const picture *like = NULL;
    for (int i = n - 1; i >= 0; i--) {
        if (frames[i] && !like)
            like = frames[i];
        else if (frames[i] && (frames[i]->width != like->width || frames[i]->height != like->height))
            frames[i] = NULL;
    }
}

/* Fills a grid's missing frame with its other one. n instants, of which the trailing missing ones are cut when `partial`.
 * Returns the number of frames: 0 when a whole grid is missing. frames are borrowed. */
static int fill_grids(picture *frames[CAPTURE_FRAMES], int n, bool partial)
{
    drop_other_sizes(frames, n);
    while (partial && n > 0 && !frames[n - 1])
        n--;
    for (int i = 0; i < n; i += 2) {
        bool pair = i + 1 < n;
        if (!frames[i] && pair)
            frames[i] = frames[i + 1];
        if (pair && !frames[i + 1])
            frames[i + 1] = frames[i];
        if (!frames[i])
            return 0;
    }
    return n;
}

static void set_frames(owned_segment *o, picture *frames[CAPTURE_FRAMES], int n)
{
    o->seg.n_frames = n;
    for (int i = 0; i < n; i++) {
        o->pictures[i] = picture_ref(frames[i]);
        o->seg.frames[i] = (capture_frame){.rgb = frames[i]->rgb,
                                           .width = frames[i]->width,
                                           .height = frames[i]->height,
                                           .stride = frames[i]->stride,
                                           .t_us = frames[i]->t_us,
                                           .jpeg = frames[i]->jpeg,
                                           .n_jpeg = frames[i]->n_jpeg};
    }
}

static int count_present(const segmenter *s, int64_t from, int n)
{
    int n_present = 0;
    for (int i = 0; i < n; i++)
        n_present += s->present[(from + i) % N_RING];
    return n_present;
}

/* Copies n samples from the open segment's start; no sound at all when none of its own 2 s was heard. */
static void set_samples(const segmenter *s, owned_segment *o, int n)
{
    int64_t first = s->index * CAPTURE_SAMPLES;
    int n_own = n < CAPTURE_SAMPLES ? n : CAPTURE_SAMPLES;
    int n_present = count_present(s, first, n_own);
    if (!n_present)
        return;
    memcpy(o->samples, s->samples + first % N_RING, (size_t)n_own * sizeof *o->samples); /* a segment never wraps */
    for (int i = n_own; i < n; i++)
        o->samples[i] = s->samples[(first + i) % N_RING];
    n_present += count_present(s, first + n_own, n - n_own);
    o->seg.samples = o->samples;
    o->seg.n_samples = n;
    o->seg.n_samples_missing = n - n_present;
}

/* Samples that the open segment has: all of it with those awaited, zeros for what is missing; at a clip's end what is there. */
static int count_samples(const segmenter *s, bool partial)
{
    if (!s->p.audio)
        return 0;
    int64_t there = s->position - s->index * CAPTURE_SAMPLES;
    there = there < 0 ? 0 : there > N_WITH_AWAITED ? N_WITH_AWAITED : there;
    if (partial)
        return (int)there;
    if (s->audio_ended)
        return there > CAPTURE_SAMPLES ? (int)there : CAPTURE_SAMPLES;
    return N_WITH_AWAITED;
}

static owned_segment *new_segment(const segmenter *s, int64_t now_us, int64_t wall_us, omnid_error *err)
{
    owned_segment *o = calloc(1, sizeof *o);
    if (!o) {
        omnid_fail(err, OMNID_NOMEM, "out of memory for segment %lld", (long long)s->index);
        return NULL;
    }
    o->seg.index = s->index;
    o->seg.start_us = s->t0_us + s->index * SEGMENTER_SEGMENT_US;
    o->seg.wall_us = wall_us - (now_us - o->seg.start_us);
    return o;
}

static void count_closed(segmenter *s, const capture_segment *seg)
{
    bool had_video = s->p.video && !(s->video_ended && s->video_end_us <= s->index * SEGMENTER_SEGMENT_US);
    bool had_audio = s->p.audio && !(s->audio_ended && s->position <= s->index * CAPTURE_SAMPLES);
    bool excused[2];
    for (int i = 0; i < 2; i++)
        excused[i] = s->unexpected[i] || s->index < s->excused_until[i];
    s->stats.n_gaps_video += had_video && !excused[PICTURE] && !(seg && seg->n_frames);
    s->stats.n_gaps_audio += had_audio && !excused[SOUND] && !(seg && seg->n_samples);
    s->stats.n_segments += seg && (seg->n_frames || seg->n_samples);
}

/* Lets go of the open segment and opens the next. */
static void advance(segmenter *s)
{
    for (int i = 0; i < CAPTURE_FRAMES; i++)
        picture_unref(&s->chosen[(s->index * CAPTURE_FRAMES + i) % N_SLOTS]);
    int64_t at = s->index * CAPTURE_SAMPLES % N_RING; /* N_RING is a multiple: a segment never wraps */
    memset(s->samples + at, 0, CAPTURE_SAMPLES * sizeof *s->samples);
    memset(s->present + at, 0, CAPTURE_SAMPLES);
    s->index++;
}

static owned_segment *close_segment(segmenter *s, int64_t now_us, int64_t wall_us, omnid_error *err)
{
    decide_instants(s, segment_end_us(s));
    owned_segment *o = new_segment(s, now_us, wall_us, err);
    if (!o)
        return NULL;
    o->seg.last = all_ended(s) && s->index == s->last;
    int n = o->seg.last ? instants_before(s, s->video_end_us) : CAPTURE_FRAMES;
    picture *frames[CAPTURE_FRAMES];
    for (int i = 0; i < n; i++)
        frames[i] = s->chosen[(s->index * CAPTURE_FRAMES + i) % N_SLOTS];
    if (s->p.video)
        set_frames(o, frames, fill_grids(frames, n, o->seg.last));
    set_samples(s, o, count_samples(s, o->seg.last));
    return o;
}

omnid_status segmenter_take(segmenter *s, int64_t now_us, int64_t wall_us, capture_segment **out, omnid_error *err)
{
    *out = NULL;
    while (segmenter_ready(s, now_us)) {
        owned_segment *o = close_segment(s, now_us, wall_us, err);
        capture_segment *seg = o ? &o->seg : NULL;
        count_closed(s, seg);
        s->taken_last = all_ended(s) && s->index == s->last;
        advance(s);
        if (!seg)
            return OMNID_NOMEM;
        if (seg->n_frames || seg->n_samples) {
            *out = seg;
            return OMNID_OK;
        }
        capture_segment_free(&seg);
    }
    return OMNID_AGAIN;
}

/* The last frame of an open segment is the newest picture, up to half a second younger than the last instant: it fills a
 * grid, or stands in for the grid's second frame, so that nothing more has to be encoded. Returns the number of frames. */
static int add_newest(segmenter *s, picture *frames[CAPTURE_FRAMES], int n, int64_t now_us)
{
    bool newer = n > 0 && s->p.clocked && !s->video_ended &&
                 s->newest_us > (s->index * CAPTURE_FRAMES + n - 1) * SEGMENTER_INSTANT_US;
    picture *newest = newer ? picture_for(s, now_us) : NULL;
    if (!newest)
        return n;
    n += n % 2;
    frames[n - 1] = newest;
    return n;
}

omnid_status segmenter_snapshot(segmenter *s, int64_t now_us, int64_t wall_us, capture_segment **out, omnid_error *err)
{
    *out = NULL;
    if (!s->begun)
        return OMNID_OK;
    owned_segment *o = new_segment(s, now_us, wall_us, err);
    if (!o)
        return OMNID_NOMEM;
    int64_t now = s->p.clocked ? now_us - s->t0_us : s->seen_us;
    int n = instants_before(s, s->video_ended && s->video_end_us <= now ? s->video_end_us : now + 1);
    picture *frames[CAPTURE_FRAMES];
    for (int i = 0; i < n; i++) {
        int64_t k = s->index * CAPTURE_FRAMES + i;
        frames[i] = k < s->next_instant ? s->chosen[k % N_SLOTS] : picture_for(s, k * SEGMENTER_INSTANT_US);
    }
    n = add_newest(s, frames, n, now);
    if (s->p.video)
        set_frames(o, frames, fill_grids(frames, n, true));
    set_samples(s, o, count_samples(s, true));
    *out = &o->seg;
    if (!o->seg.n_frames && !o->seg.n_samples)
        capture_segment_free(out);
    return OMNID_OK;
}
