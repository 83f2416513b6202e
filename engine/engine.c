/* engine.c: life of the engine, and which slice runs next. */
#include "engine/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/schedule.h"

omnid_engine_params omnid_engine_params_default(void)
{
    return (omnid_engine_params){.max_open_questions = 64,
                                 .max_question_bytes = 16384,
                                 .max_queued_segments = 8,
                                 .slice_rows = 256,
                                 .graphs = true};
}

static omnid_status check_params(const omnid_engine_params *p, omnid_error *err)
{
    if (p->max_open_questions < 1 || p->max_open_questions > 1024 || p->max_question_bytes < 1 ||
        p->max_queued_segments < 1 || p->slice_rows < 1 || p->slice_rows > 4096)
        return omnid_fail(err, OMNID_ARGUMENT,
                          "engine: %d open questions, %d bytes a question, %d queued segments, %d rows a slice: want "
                          "1..1024, 1 or more, 1 or more, 1..4096",
                          p->max_open_questions, p->max_question_bytes, p->max_queued_segments, p->slice_rows);
    return OMNID_OK;
}

static void init_lock(omnid_engine *e)
{
    pthread_condattr_t attributes;
    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&e->work, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* One lane, or three: what segments do must not stand in the way of a question. */
static omnid_status open_lanes(omnid_engine *e, omnid_error *err)
{
    const int rows = e->params.slice_rows;
    OMNID_TRY(lane_open(&e->asking, &e->memory, KERNELS_FIRST, err));
    e->stream = e->asking.stream;
    e->asking.decoder = &e->decoder;
    e->asking.encoder = &e->encoder;
    e->fill = e->encode = &e->asking;
    encoder_work_init(&e->encoder, &e->memory, e->stream);
    OMNID_TRY(decoder_work_create(&e->decoder, &e->memory, e->stream, rows, err));
    if (!e->ops->wait)
        return OMNID_OK;
    OMNID_TRY(lane_open(&e->prefilling, &e->memory, KERNELS_LATER, err));
    OMNID_TRY(lane_open(&e->encoding, &e->memory, KERNELS_LATER, err));
    e->prefilling.decoder = &e->fill_decoder;
    e->encoding.encoder = &e->later_encoder;
    e->fill = &e->prefilling;
    e->encode = &e->encoding;
    encoder_work_init(&e->later_encoder, &e->memory, e->encoding.stream);
    return decoder_work_create(&e->fill_decoder, &e->memory, e->prefilling.stream, rows, err);
}

omnid_status omnid_engine_create(omnid_engine **out, const omnid_model *m, const omnid_engine_params *p,
                                 const omnid_callbacks *callbacks, omnid_error *err)
{
    *out = NULL;
    OMNID_TRY(check_params(p, err));
    omnid_engine *e = calloc(1, sizeof *e);
    if (!e)
        return omnid_fail(err, OMNID_NOMEM, "no memory for an engine");
    e->model = m;
    e->ops = m->ops;
    e->params = *p;
    e->callbacks = callbacks ? *callbacks : (omnid_callbacks){0};
    e->memory.model = m;
    e->submitted_end = &e->submitted;
    init_lock(e);
    e->open_answers = calloc((size_t)p->max_open_questions, sizeof *e->open_answers);
    omnid_status status = e->open_answers ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory for an engine");
    if (p->deterministic && e->ops->repeatable)
        e->ops->repeatable(m->backend);
    if (status == OMNID_OK)
        status = open_lanes(e, err);
    if (status == OMNID_OK)
        status = mel_create(&e->mel, err);
    engine_ask_memory(e);
    if (status != OMNID_OK)
        omnid_engine_destroy(&e);
    *out = e;
    return status;
}

static void free_answers(omnid_engine *e, answer *a)
{
    while (a) {
        answer *next = a->next;
        answer_free(&e->memory, a);
        a = next;
    }
}

void omnid_engine_destroy(omnid_engine **slot)
{
    omnid_engine *e = *slot;
    *slot = NULL;
    if (!e)
        return;
    schedule_take_new(e);
    schedule_end_all(e, NULL, OMNID_CANCELLED, "the engine has stopped");
    ingest_free(&e->open, &e->memory);
    for (int i = 0; i < ENGINE_SEGMENTS; i++)
        ingest_free(&e->background[i], &e->memory);
    row_set_free(&e->memory, &e->query);
    buffer_free(&e->memory, &e->logits);
    buffer_free(&e->memory, &e->last_row);
    while (e->timelines) {
        omnid_timeline *tl = e->timelines;
        e->timelines = tl->next;
        timeline_free(tl);
    }
    free_answers(e, e->spare);
    decode_batch_free(&e->batch, &e->memory);
    decoder_work_destroy(&e->decoder);
    decoder_work_destroy(&e->fill_decoder);
    encoder_work_destroy(&e->encoder);
    encoder_work_destroy(&e->later_encoder);
    mel_destroy(&e->mel);
    lane_close(&e->asking);
    lane_close(&e->prefilling);
    lane_close(&e->encoding);
    free(e->open_answers);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->work);
    free(e);
}

omnid_status engine_embed(omnid_engine *e, void *x, const int32_t *ids, int n, omnid_error *err)
{
    return lane_embed(&e->asking, x, ids, n, err);
}

omnid_status engine_copy_rows(omnid_engine *e, tensor *to, const tensor *from, omnid_error *err)
{
    return lane_copy_rows(&e->asking, to, from, err);
}

void engine_ask_memory(omnid_engine *e)
{
    const int64_t now = omnid_clock_us();
    kernels_memory device;
    if (e->memory_asked_us && now - e->memory_asked_us < ENGINE_MEMORY_US)
        return;
    e->memory_asked_us = now;
    e->ops->memory(e->model->backend, &device);
    pthread_mutex_lock(&e->lock);
    e->free_bytes = device.free;
    pthread_mutex_unlock(&e->lock);
}

/* Whether the device is lost, which is noted for good. */
static bool find_loss(omnid_engine *e)
{
    kernels_memory device;
    if (e->lost.status != OMNID_OK)
        return true;
    e->ops->memory(e->model->backend, &device);
    if (!device.lost)
        return false;
    omnid_fail(&e->lost, OMNID_DEVICE, "backend %s: %s is lost (%s) until the program is started afresh", e->ops->name,
               device.device, device.lost);
    pthread_mutex_lock(&e->lock);
    e->status.lost = true;
    pthread_mutex_unlock(&e->lock);
    return true;
}

void engine_look_for_loss(omnid_engine *e, omnid_error *failure)
{
    if ((failure->status == OMNID_DEVICE || failure->status == OMNID_NOMEM) && find_loss(e))
        *failure = e->lost;
}

void engine_tell_slice(omnid_engine *e, const omnid_slice *slice)
{
    if (e->callbacks.on_slice)
        e->callbacks.on_slice(e->callbacks.user, slice);
}

/* Waits for work, at most timeout_ms. Under the lock. */
static void wait_for_work(omnid_engine *e, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!e->woken && !schedule_has_work(e))
        if (pthread_cond_timedwait(&e->work, &e->lock, &until) == ETIMEDOUT)
            break;
    e->woken = false;
}

omnid_status omnid_engine_step(omnid_engine *e, int timeout_ms, omnid_error *err)
{
    pthread_mutex_lock(&e->lock);
    if (timeout_ms > 0)
        wait_for_work(e, timeout_ms);
    e->slice_started_us = omnid_clock_us();
    pthread_mutex_unlock(&e->lock);
    schedule_take_new(e);
    omnid_status status = e->lost.status == OMNID_OK ? schedule_run_slice(e, err) : OMNID_DEVICE;
    if (status != OMNID_OK && status != OMNID_AGAIN && err)
        engine_look_for_loss(e, err);
    if (e->lost.status != OMNID_OK) {
        schedule_end_all(e, NULL, OMNID_DEVICE, e->lost.text);
        status = omnid_fail(err, OMNID_DEVICE, "%s", e->lost.text);
    }
    schedule_publish(e);
    return status;
}

void omnid_engine_wake(omnid_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->woken = true;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

omnid_engine_status omnid_engine_get_status(omnid_engine *e)
{
    float sorted[ENGINE_TTFT_SAMPLES];
    pthread_mutex_lock(&e->lock);
    omnid_engine_status s = e->status;
    uint64_t held = atomic_load(&e->memory.held);
    s.memory_bytes = e->model->weight_bytes + held;
    s.free_bytes = e->free_bytes;
    s.n_open_answers = e->n_open;
    int64_t oldest = e->slice_started_us;
    for (const answer *a = e->submitted; a; a = a->next)
        oldest = !oldest || a->timings.queued_us < oldest ? a->timings.queued_us : oldest;
    s.n_timelines = s.n_queued_segments = 0;
    s.kv_bytes = 0;
    for (const omnid_timeline *tl = e->timelines; tl; tl = tl->next) {
        s.n_timelines++;
        s.n_queued_segments += tl->n_queued;
        s.kv_bytes += tl->status.memory_bytes;
    }
    s.work_bytes = held > s.kv_bytes ? held - s.kv_bytes : 0;
    int n = s.n_answers < ENGINE_TTFT_SAMPLES ? (int)s.n_answers : ENGINE_TTFT_SAMPLES;
    memcpy(sorted, e->ttft_ms, (size_t)n * sizeof *sorted);
    pthread_mutex_unlock(&e->lock);
    s.oldest_work_us = oldest ? omnid_clock_us() - oldest : 0;
    if (n > 0) {
        qsort(sorted, (size_t)n, sizeof *sorted, by_value);
        s.ttft_p50_ms = (double)sorted[n / 2];
        s.ttft_p95_ms = (double)sorted[n * 95 / 100];
    }
    return s;
}
