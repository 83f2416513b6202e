/* source_mic.c: "mic:NAME|default[,OPTION=VALUE…]", a microphone through PortAudio in the helper program omnid-mic. */
#include "capture/mic_cards.h"
#include "capture/mic_process.h"
#include "capture/mic_resampler.h"
#include "capture/mic_uri.h"
#include "capture/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* OPEN_MS: PortAudio asks every card and sound server when it starts. SILENCE_US: the helper tells of a silent card after
 * 2.2 s; when it says nothing for longer, it hangs. Both together: a loss is noticed within 3 s. */
enum {
    OPEN_MS = 15000,
    OPEN_SLICE_MS = 50,
    SILENCE_US = 2700000,
    FIRST_US = 6000000,
    SETTLE_US = 5000000,
    WARN_US = 60000000,
    RETURN_MS = 3000, /* how long one attempt waits for a card that is gone, looking every LOOK_MS */
    LOOK_MS = 200
};

typedef struct {
    char uri[64]; /* the beginning, for sentences */
    mic_process *process;
    mic_resampler *resampler;
    int64_t newest_us; /* when the helper was last heard */
    bool heard;
    int64_t quiet_until_us; /* no warning before: one a minute, and a sound server's first seconds are wild */
    char warning[256];
} mic;

static omnid_status mic_check(const char *uri, omnid_error *err)
{
    mic_uri o;
    return mic_uri_parse(&o, uri, err);
}

static void mic_close(void **self)
{
    mic *m = *self;
    *self = NULL;
    if (!m)
        return;
    mic_process_stop(&m->process);
    mic_resampler_destroy(&m->resampler);
    free(m);
}

/* Waits for OPENED. */
static omnid_status await_opened(mic *m, const atomic_bool *stop, mic_wire_opened *opened, omnid_error *err)
{
    int64_t until_us = omnid_clock_us() + (int64_t)OPEN_MS * 1000;
    while (omnid_clock_us() < until_us) {
        mic_wire_head head;
        const mic_wire_payload *payload;
        omnid_status status = mic_process_read(m->process, &head, &payload, OPEN_SLICE_MS, err);
        if (atomic_load(stop))
            return omnid_fail(err, OMNID_CANCELLED, "stopped");
        if (status == OMNID_AGAIN)
            continue;
        if (status == OMNID_OK && head.kind != MIC_WIRE_OPENED)
            return omnid_fail(err, OMNID_FORMAT, "the microphones' helper program does not say what it opened");
        if (status == OMNID_OK)
            *opened = payload->opened;
        return status;
    }
    return omnid_fail(err, OMNID_DEVICE, "does not open within %d s: a card or a sound server hangs", OPEN_MS / 1000);
}

/* Whether the kernel lists a card that is meant by this name, and it can be opened. */
static omnid_status find_card(const char *name, omnid_error *err)
{
    mic_card card;
    char why[sizeof err->text];
    OMNID_TRY(mic_cards_find(&card, name, err));
    return mic_cards_why(&card, why, sizeof why) ? omnid_fail(err, OMNID_BUSY, "%s", why) : OMNID_OK;
}

/* Waits a while for a card that was there before (*memory): the kernel's list costs nothing, while PortAudio asks every
 * card, and one that comes while it does so it does not see. */
static omnid_status await_card(const source_params *p, const char *name, omnid_error *err)
{
    const struct timespec pause = {0, LOOK_MS * 1000000};
    if (!p->memory || !*p->memory)
        return OMNID_OK;
    for (int64_t until_us = omnid_clock_us() + (int64_t)RETURN_MS * 1000;;) {
        omnid_status status = find_card(name, err);
        if (status == OMNID_OK || omnid_clock_us() > until_us || atomic_load(p->stop))
            return status == OMNID_NOT_FOUND ? status : OMNID_OK; /* of the rest PortAudio's own sentence is better */
        nanosleep(&pause, NULL);
    }
}

static omnid_status open_helper(mic *m, const source_params *p, omnid_error *err)
{
    mic_uri o;
    char rate[16], channel[16], latency[16];
    OMNID_TRY(mic_uri_parse(&o, p->uri, err));
    omnid_status there = await_card(p, o.name, err);
    if (there != OMNID_OK)
        return omnid_fail_in(err, "%s", m->uri);
    snprintf(rate, sizeof rate, "%d", o.rate_hz);
    snprintf(channel, sizeof channel, "%d", (int)o.channel);
    snprintf(latency, sizeof latency, "%d", o.latency_ms);
    const char *const arguments[] = {"record", rate, channel, latency, o.name, NULL};
    mic_wire_opened opened = {0};
    omnid_status status = mic_process_start(&m->process, arguments, err);
    if (status == OMNID_OK)
        status = await_opened(m, p->stop, &opened, err);
    if (status == OMNID_OK)
        status = mic_resampler_create(&m->resampler, opened.rate_hz, err);
    if (status != OMNID_OK)
        return omnid_fail_in(err, "%s", m->uri);
    omnid_log(OMNID_LOG_INFO, "%s: '%s' at %.0f Hz, %s", m->uri, opened.name, opened.rate_hz,
              opened.n_channels == 1 ? "1 channel" : "2 channels");
    m->newest_us = omnid_clock_us();
    m->quiet_until_us = m->newest_us + SETTLE_US;
    status = find_card(o.name, NULL); /* BUSY: by our own helper */
    if (p->memory)
        *p->memory = status == OMNID_OK || status == OMNID_BUSY;
    return OMNID_OK;
}

static omnid_status mic_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    *self = NULL;
    if (!p->want_audio)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: a microphone has no picture", p->uri);
    mic *m = calloc(1, sizeof *m);
    if (!m)
        return omnid_fail(err, OMNID_NOMEM, "%s: out of memory for a microphone", p->uri);
    snprintf(m->uri, sizeof m->uri, "%s", p->uri);
    *self = m;
    omnid_status status = open_helper(m, p, err);
    if (status != OMNID_OK)
        mic_close(self);
    *info = (source_info){.has_audio = true, .start_us = INT64_MIN};
    return status;
}

static void warn(mic *m, source_data *out)
{
    const mic_steer *s = mic_resampler_steer(m->resampler);
    m->quiet_until_us = m->newest_us + WARN_US;
    snprintf(m->warning, sizeof m->warning,
             "%s: sound was lost or came twice (%lld gaps and %lld overlaps since it was opened): the "
             "machine is too busy",
             m->uri, (long long)s->n_gaps, (long long)s->n_overlaps);
    out->warning = m->warning;
}

/* A block of the card to what the segmenter takes; AGAIN where nothing comes out of it yet. */
static omnid_status hear(mic *m, const mic_wire_head *head, const float *samples, source_data *out, omnid_error *err)
{
    const float *sound;
    bool restarted;
    m->newest_us = omnid_clock_us();
    m->heard = true;
    OMNID_TRY(mic_resampler_put(m->resampler, samples, head->index, (int)(head->n_bytes / sizeof *samples), head->t_us,
                                head->hole, &sound, &out->n_samples, &out->t_us, &restarted, err));
    if (restarted && m->newest_us > m->quiet_until_us)
        warn(m, out);
    out->kind = SOURCE_SOUND;
    out->samples = sound;
    return out->n_samples ? OMNID_OK : OMNID_AGAIN;
}

static omnid_status mic_read(void *self, source_data *out, int timeout_ms, omnid_error *err)
{
    mic *m = self;
    mic_wire_head head;
    const mic_wire_payload *payload;
    omnid_status status = mic_process_read(m->process, &head, &payload, timeout_ms, err);
    if (status == OMNID_OK && head.kind == MIC_WIRE_SOUND)
        status = hear(m, &head, payload->samples, out, err);
    else if (status == OMNID_OK)
        status = omnid_fail(err, OMNID_FORMAT, "the microphones' helper program says what was not asked");
    else if (status == OMNID_AGAIN && omnid_clock_us() - m->newest_us > (m->heard ? SILENCE_US : FIRST_US))
        status = omnid_fail(err, OMNID_DEVICE, "the microphones' helper program hangs");
    return status == OMNID_OK || status == OMNID_AGAIN ? status : omnid_fail_in(err, "%s", m->uri);
}

const source_ops source_mic = {
    .scheme = "mic",
    .description =
        "mic:default|NAME[,rate=HZ][,channel=left|right|mix][,latency_ms=N]  a microphone (part of its name)",
    .check = mic_check,
    .open = mic_open,
    .read = mic_read,
    .close = mic_close,
};
