/* frames.c: a queue of segments with up to four JPEG files each, bounded by window and bytes. */
#include "daemon/frames.h"

#include <pthread.h>
#include <string.h>
#include <turbojpeg.h>

typedef struct {
    int64_t segment;
    int n;
    int64_t wall_us[CAPTURE_FRAMES]; /* 0 = unknown */
    int width[CAPTURE_FRAMES], height[CAPTURE_FRAMES];
    GBytes *jpeg[CAPTURE_FRAMES]; /* a repeated frame shares its bytes */
    size_t n_bytes;               /* shared ones once */
} kept_segment;

struct frames {
    size_t limit_bytes;
    int quality;
    pthread_mutex_t lock; /* of the rest */
    GQueue segments;      /* kept_segment *, oldest first */
    size_t n_bytes;
    unsigned n_clears;
};

void frames_one_clear(frames_one *one)
{
    g_clear_pointer(&one->jpeg, g_bytes_unref);
}

static void kept_free(void *data)
{
    kept_segment *k = data;
    for (int i = 0; i < k->n; i++)
        g_bytes_unref(k->jpeg[i]);
    g_free(k);
}

frames *frames_create(size_t limit_bytes, int quality)
{
    frames *f = g_new0(frames, 1);
    f->limit_bytes = limit_bytes;
    f->quality = quality;
    pthread_mutex_init(&f->lock, NULL);
    g_queue_init(&f->segments);
    return f;
}

void frames_destroy(frames **f)
{
    if (!*f)
        return;
    g_queue_clear_full(&(*f)->segments, kept_free);
    pthread_mutex_destroy(&(*f)->lock);
    g_clear_pointer(f, g_free);
}

/* ------------------------------------------------------------------ JPEG */

/* Pixels to a JPEG file; rgb is 3 bytes a pixel. */
static omnid_status compress(const uint8_t *rgb, int width, int stride, int height, int quality, GBytes **out,
                             omnid_error *err)
{
    unsigned char *data = NULL;
    unsigned long n = 0;
    tjhandle tj = tjInitCompress();
    bool good = tj && tjCompress2(tj, rgb, width, stride, height, TJPF_RGB, &data, &n, TJSAMP_420, quality, 0) == 0;
    *out = good ? g_bytes_new(data, n) : NULL;
    omnid_status status = good ? OMNID_OK
                               : omnid_fail(err, OMNID_FORMAT, "a frame of %dx%d does not become a JPEG: %s", width,
                                            height, tjGetErrorStr2(tj));
    tjFree(data);
    if (tj)
        tjDestroy(tj);
    return status;
}

omnid_status frames_encode(const capture_frame *frame, int quality, GBytes **out, omnid_error *err)
{
    if (frame->jpeg) {
        *out = g_bytes_new(frame->jpeg, frame->n_jpeg);
        return OMNID_OK;
    }
    return compress(frame->rgb, frame->width, frame->stride, frame->height, quality, out, err);
}

/* The largest size of M/8 with at most max_width columns; 1/8 when none is. */
static tjscalingfactor choose_factor(int width, int max_width)
{
    tjscalingfactor best = {1, 8};
    for (int m = 1; m <= 8; m++) {
        tjscalingfactor f = {m, 8};
        if (TJSCALED(width, f) <= max_width)
            best = f;
    }
    return best;
}

/* Decodes at the scale that fits and encodes again. */
static omnid_status rescale(tjhandle tj, frames_one *one, int max_width, int quality, omnid_error *err)
{
    gsize n = 0;
    const uint8_t *data = g_bytes_get_data(one->jpeg, &n);
    int width = 0, height = 0, sampling = 0, colours = 0;
    if (tjDecompressHeader3(tj, data, n, &width, &height, &sampling, &colours) != 0)
        return omnid_fail(err, OMNID_FORMAT, "the kept JPEG cannot be read: %s", tjGetErrorStr2(tj));
    tjscalingfactor factor = choose_factor(width, max_width);
    int small_width = TJSCALED(width, factor), small_height = TJSCALED(height, factor);
    uint8_t *rgb = g_malloc((gsize)small_width * 3 * (gsize)small_height);
    omnid_status status = OMNID_OK;
    if (tjDecompress2(tj, data, n, rgb, small_width, small_width * 3, small_height, TJPF_RGB, 0) != 0 &&
        tjGetErrorCode(tj) != TJERR_WARNING) /* a torn file is shown as far as it goes */
        status = omnid_fail(err, OMNID_FORMAT, "the kept JPEG cannot be read: %s", tjGetErrorStr2(tj));
    GBytes *small = NULL;
    if (status == OMNID_OK)
        status = compress(rgb, small_width, small_width * 3, small_height, quality, &small, err);
    g_free(rgb);
    OMNID_TRY(status);
    frames_one_clear(one);
    one->jpeg = small;
    one->width = small_width;
    one->height = small_height;
    return OMNID_OK;
}

omnid_status frames_scale(frames_one *one, int max_width, int quality, omnid_error *err)
{
    if (one->width <= max_width)
        return OMNID_OK;
    tjhandle tj = tjInitDecompress();
    if (!tj)
        return omnid_fail(err, OMNID_NOMEM, "no memory to scale a frame");
    omnid_status status = rescale(tj, one, max_width, quality, err);
    tjDestroy(tj);
    return status;
}

/* ------------------------------------------------------------------ what is kept */

/* When a frame was taken. */
static int64_t wall_of(const capture_segment *s, int i, bool timed)
{
    return timed ? s->wall_us + (s->frames[i].t_us - s->start_us) : 0;
}

/* Encodes a segment's frames. A frame that repeats the one before it shares its bytes. NULL: there are none. */
static kept_segment *encode_segment(const capture_segment *s, bool timed, int quality)
{
    kept_segment *k = g_new0(kept_segment, 1);
    k->segment = s->index;
    for (int i = 0; i < s->n_frames; i++) {
        omnid_error err;
        const capture_frame *frame = &s->frames[i];
        bool repeated = i > 0 && frame->rgb == s->frames[i - 1].rgb;
        if (repeated) {
            k->jpeg[i] = g_bytes_ref(k->jpeg[i - 1]);
        } else if (frames_encode(frame, quality, &k->jpeg[i], &err) != OMNID_OK) {
            omnid_log(OMNID_LOG_WARNING, "%s", err.text);
            break;
        }
        k->wall_us[i] = wall_of(s, i, timed);
        k->width[i] = frame->width;
        k->height[i] = frame->height;
        k->n_bytes += repeated ? 0 : g_bytes_get_size(k->jpeg[i]);
        k->n = i + 1;
    }
    if (k->n == 0)
        g_clear_pointer(&k, kept_free);
    return k;
}

/* Drops the oldest segment. The lock is held. */
static void drop_oldest(frames *f)
{
    kept_segment *k = g_queue_pop_head(&f->segments);
    f->n_bytes -= k->n_bytes;
    kept_free(k);
}

void frames_add(frames *f, const capture_segment *s, bool timed)
{
    if (f->limit_bytes == 0 || s->n_frames == 0)
        return;
    pthread_mutex_lock(&f->lock);
    unsigned n_clears = f->n_clears;
    pthread_mutex_unlock(&f->lock);
    kept_segment *k = encode_segment(s, timed, f->quality); /* milliseconds: not under the lock */
    if (!k)
        return;
    pthread_mutex_lock(&f->lock);
    if (n_clears == f->n_clears) {
        g_queue_push_tail(&f->segments, k);
        f->n_bytes += k->n_bytes;
        k = NULL;
        while (f->n_bytes > f->limit_bytes)
            drop_oldest(f);
    }
    pthread_mutex_unlock(&f->lock);
    g_clear_pointer(&k, kept_free);
}

void frames_trim(frames *f, int64_t first_segment)
{
    pthread_mutex_lock(&f->lock);
    while (!g_queue_is_empty(&f->segments) &&
           ((kept_segment *)g_queue_peek_head(&f->segments))->segment < first_segment)
        drop_oldest(f);
    pthread_mutex_unlock(&f->lock);
}

void frames_clear(frames *f)
{
    pthread_mutex_lock(&f->lock);
    f->n_clears++;
    while (!g_queue_is_empty(&f->segments))
        drop_oldest(f);
    pthread_mutex_unlock(&f->lock);
}

/* ------------------------------------------------------------------ finding one */

/* Index of the frame that q asks for among a segment's n, taken at wall_us; -1 = it is none of these. */
static int pick(const frames_query *q, int64_t segment, const int64_t *wall_us, int n)
{
    if (q->segment >= 0)
        return q->segment == segment && q->index < n ? q->index : -1;
    if (q->wall_us == 0)
        return n - 1;
    int i = n - 1;
    while (i >= 0 && (wall_us[i] == 0 || wall_us[i] > q->wall_us))
        i--;
    return i >= 0 && q->wall_us - wall_us[i] <= FRAMES_STAND_US ? i : -1;
}

static frames_one one_of(const kept_segment *k, int i)
{
    return (frames_one){
        .segment = k->segment, .index = i, .wall_us = k->wall_us[i], .width = k->width[i], .height = k->height[i]};
}

omnid_status frames_find(frames *f, const frames_query *q, frames_one *out)
{
    omnid_status status = OMNID_NOT_FOUND;
    pthread_mutex_lock(&f->lock);
    for (GList *l = f->segments.tail; l && status != OMNID_OK; l = l->prev) {
        const kept_segment *k = l->data;
        int i = pick(q, k->segment, k->wall_us, k->n);
        if (i < 0)
            continue;
        *out = one_of(k, i);
        out->jpeg = g_bytes_ref(k->jpeg[i]);
        status = OMNID_OK;
    }
    pthread_mutex_unlock(&f->lock);
    return status;
}

omnid_status frames_find_in(const frames *f, const capture_segment *s, bool timed, const frames_query *q,
                            frames_one *out, omnid_error *err)
{
    int64_t wall_us[CAPTURE_FRAMES];
    for (int k = 0; k < s->n_frames; k++)
        wall_us[k] = wall_of(s, k, timed);
    int i = pick(q, s->index, wall_us, s->n_frames);
    if (i < 0)
        return OMNID_NOT_FOUND;
    *out = (frames_one){.segment = s->index,
                        .index = i,
                        .wall_us = wall_us[i],
                        .width = s->frames[i].width,
                        .height = s->frames[i].height};
    return frames_encode(&s->frames[i], f->quality, &out->jpeg, err);
}

frames_range frames_get_range(frames *f)
{
    frames_range r = {0};
    pthread_mutex_lock(&f->lock);
    for (GList *l = f->segments.head; l; l = l->next)
        r.n += ((kept_segment *)l->data)->n;
    if (r.n > 0) {
        const kept_segment *first = f->segments.head->data, *last = f->segments.tail->data;
        r.n_bytes = f->n_bytes;
        r.oldest = one_of(first, 0);
        r.newest = one_of(last, last->n - 1);
    }
    pthread_mutex_unlock(&f->lock);
    return r;
}
