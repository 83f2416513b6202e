/* mic_portaudio.c: devices, the callback, opening. One stream a process, hence the few statics. */
#include "capture/mic_portaudio.h"

#include "capture/mic_cards.h"

#include <pa_linux_alsa.h>
#include <portaudio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_MS = 1000, MIN_PERIODS = 4 };

static PaStream *stream;

static omnid_status fail(omnid_error *err, PaError error, const char *what)
{
    const PaHostErrorInfo *host = Pa_GetLastHostErrorInfo();
    const char *text = error == paUnanticipatedHostError && host && host->errorText && *host->errorText
                           ? host->errorText
                           : Pa_GetErrorText(error);
    omnid_status status = error == paInsufficientMemory                                    ? OMNID_NOMEM
                          : error == paDeviceUnavailable || strcasestr(text, "busy")       ? OMNID_BUSY
                          : error == paInvalidSampleRate || error == paInvalidChannelCount ? OMNID_UNSUPPORTED
                                                                                           : OMNID_DEVICE;
    return omnid_fail(err, status, "%s: %s", what, text);
}

/* PortAudio opens every route that ALSA's configuration names, dozens, of which some wait for a sound server. */
static const char cards_only_conf[] = "pcm.hw { @args [ CARD DEV SUBDEV ] @args.CARD { type string default \"0\" } "
                                      "@args.DEV { type integer default 0 } @args.SUBDEV { type integer default -1 } "
                                      "type hw card $CARD device $DEV subdevice $SUBDEV }\n"
                                      "ctl.hw { @args [ CARD ] @args.CARD { type string default \"0\" } "
                                      "type hw card $CARD }\n"
                                      "pcm.default { type null }\n"; /* PortAudio 19.6 wants one more than the cards */

/* A configuration of ALSA that has the cards and nothing else, in a file that lasts as long as the process. Where it cannot
 * be had, ALSA's own serves. */
static void hide_routes(void)
{
    char path[32];
    int fd = memfd_create("alsa.conf", 0);
    if (fd < 0 || write(fd, cards_only_conf, sizeof cards_only_conf - 1) != (ssize_t)sizeof cards_only_conf - 1)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    setenv("ALSA_CONFIG_PATH", path, 0);
}

omnid_status mic_portaudio_start(bool cards_only, omnid_error *err)
{
    setenv("JACK_NO_START_SERVER", "1", 0); /* asking for the list must not start a sound server */
    if (cards_only)
        hide_routes();
    PaError error = Pa_Initialize();
    return error == paNoError ? OMNID_OK : fail(err, error, "PortAudio does not start");
}

/* ---- the list ---- */

/* ALSA's own routes to a sound server, and to whatever a person made the default. */
static bool is_server(const char *name)
{
    return !strcmp(name, "default") || !strcmp(name, "pulse") || !strcmp(name, "pipewire");
}

static int add_portaudio(mic_device *out)
{
    int n = 0;
    for (int i = 0; i < Pa_GetDeviceCount() && n < MIC_MAX_DEVICES; i++) {
        const PaDeviceInfo *info = Pa_GetDeviceInfo(i);
        if (info->maxInputChannels < 1)
            continue;
        const PaHostApiInfo *api = Pa_GetHostApiInfo(info->hostApi);
        mic_device *d = &out[n++];
        *d = (mic_device){.device = i, .n_channels = info->maxInputChannels, .rate_hz = info->defaultSampleRate};
        snprintf(d->name, sizeof d->name, "%s", info->name);
        d->listed = api->type != paALSA || strstr(d->name, "(hw:") || is_server(d->name);
    }
    return n;
}

/* How PortAudio shortens names is its own affair. */
static bool is_in(const mic_device *devices, int n, const mic_card *card)
{
    for (int i = 0; i < n; i++)
        if (mic_cards_names(devices[i].name, card))
            return true;
    return false;
}

/* What the kernel has and PortAudio does not: it leaves out every card that it could not open. */
static int add_hidden(mic_device *out, int n)
{
    mic_card cards[MIC_MAX_DEVICES];
    int n_cards = mic_cards_list(cards, MIC_MAX_DEVICES);
    for (int i = 0; i < n_cards && n < MIC_MAX_DEVICES; i++) {
        if (is_in(out, n, &cards[i]))
            continue;
        mic_device *d = &out[n++];
        *d = (mic_device){.device = -1, .listed = true, .status = OMNID_DEVICE};
        snprintf(d->name, sizeof d->name, "%s", cards[i].name);
        if (!mic_cards_why(&cards[i], d->why, sizeof d->why))
            snprintf(d->why, sizeof d->why, "PortAudio finds no way to record from it");
        if (strstr(d->why, "in use"))
            d->status = OMNID_BUSY;
    }
    return n;
}

int mic_portaudio_default(const mic_device *devices, int n)
{
    int by_portaudio = -1;
    for (int i = 0; i < n; i++) {
        if (!strcmp(devices[i].name, "default"))
            return i;
        if (devices[i].device >= 0 && devices[i].device == Pa_GetDefaultInputDevice())
            by_portaudio = i;
    }
    return by_portaudio;
}

static int by_rank(const void *a, const void *b)
{
    return ((const mic_device *)a)->rank - ((const mic_device *)b)->rank;
}

int mic_portaudio_devices(mic_device *out)
{
    int n = add_portaudio(out);
    n = add_hidden(out, n);
    int first = mic_portaudio_default(out, n);
    for (int i = 0; i < n; i++)
        out[i].rank = i + (i == first ? 0 : out[i].listed ? MIC_MAX_DEVICES : 2 * MIC_MAX_DEVICES);
    qsort(out, (size_t)n, sizeof *out, by_rank);
    return n;
}

/* The name without " (hw:1,0)", which changes with the order of plugging in, where no other has the same. */
static void stable_name(char *to, size_t size, const mic_device *devices, int n, int i)
{
    snprintf(to, size, "%s", devices[i].name);
    char *index = strstr(to, " (hw:");
    if (!index)
        return;
    size_t length = (size_t)(index - to);
    for (int other = 0; other < n; other++)
        if (other != i && !strncmp(devices[other].name, to, length))
            return;
    *index = '\0';
    if (length > 3 && !strcmp(index - 3, ": -")) /* PortAudio's sign for a device named as its card is */
        index[-3] = '\0';
}

void mic_portaudio_describe(capture_device *out, const mic_device *devices, int n, int i)
{
    const mic_device *d = &devices[i];
    char name[128];
    memset(out, 0, sizeof *out);
    stable_name(name, sizeof name, devices, n, i);
    snprintf(out->uri, sizeof out->uri, "mic:%s", name);
    snprintf(out->name, sizeof out->name, "%s", d->name);
    out->usable = d->device >= 0;
    if (!out->usable) {
        snprintf(out->path, sizeof out->path, "ALSA");
        snprintf(out->why, sizeof out->why, "%s", d->why);
        return;
    }
    const char *api = Pa_GetHostApiInfo(Pa_GetDeviceInfo(d->device)->hostApi)->name;
    snprintf(out->path, sizeof out->path, "%s %d", api, d->device);
    snprintf(out->choice, sizeof out->choice, "%.0f Hz, %s", d->rate_hz,
             d->n_channels == 1 ? "1 channel" : "2 channels");
    snprintf(out->why, sizeof out->why, "%s",
             is_server(d->name)
                 ? "goes through the sound server (PipeWire, PulseAudio) where one runs, which shares the card"
                 : "the card itself at its own rate, which no other program can use meanwhile");
}

/* ---- the callback ---- */

/* The stamp: now, less the age of the first frame. PortAudio's own times are CLOCK_REALTIME; their difference is the number
 * of frames that wait in the card's buffer, and good on any clock. Nothing here waits, allocates or logs. */
static int heard(const void *input, void *output, unsigned long n_frames, const PaStreamCallbackTimeInfo *times,
                 PaStreamCallbackFlags flags, void *user)
{
    (void)output;
    mic_stream *s = user;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double age_s = times->currentTime - times->inputBufferAdcTime, least_s = (double)n_frames / s->rate_hz;
    if (!(age_s >= least_s && age_s < 2.0)) /* a sound server's route or a host API that does not know */
        age_s = least_s;
    int64_t t_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - (int64_t)(age_s * 1e6);
    if (input)
        mic_ring_put(s->ring, input, (int64_t)n_frames, t_us, flags & paInputOverflow);
    return paContinue;
}

/* ---- opening ---- */

/* A long buffer of short periods: a machine that is busy for most of a second loses nothing, and the newest sound is only a
 * period old. PortAudio's own choice is four periods, the buffer as long as the latency. */
static PaError open_at(mic_stream *s, const mic_device *d, double rate_hz, int latency_ms)
{
    int n_periods = latency_ms * MIN_PERIODS > BUFFER_MS ? MIN_PERIODS : BUFFER_MS / latency_ms;
    bool alsa = Pa_GetHostApiInfo(Pa_GetDeviceInfo(d->device)->hostApi)->type == paALSA;
    if (alsa)
        PaAlsa_SetNumPeriods(n_periods);
    double suggested_s = latency_ms * (alsa ? n_periods : 1) * 1e-3;
    PaStreamParameters in = {d->device, s->n_channels, paFloat32, suggested_s, NULL};
    s->rate_hz = rate_hz;
    return Pa_OpenStream(&stream, &in, NULL, rate_hz, paFramesPerBufferUnspecified, paClipOff | paDitherOff, heard, s);
}

static PaError open_any(mic_stream *s, const mic_device *d, double rate_hz, int latency_ms)
{
    static const double others[] = {48000, 44100, 32000, 16000, 96000, 8000};
    PaError error = open_at(s, d, rate_hz > 0 ? rate_hz : d->rate_hz, latency_ms);
    for (size_t i = 0; rate_hz <= 0 && error == paInvalidSampleRate && i < sizeof others / sizeof *others; i++)
        error = open_at(s, d, others[i], latency_ms);
    return error;
}

static omnid_status start(mic_stream *s, const mic_device *d, omnid_error *err)
{
    const PaStreamInfo *info = Pa_GetStreamInfo(stream);
    if (info && info->sampleRate > 0)
        s->rate_hz = info->sampleRate;
    s->ring = mic_ring_create(s->n_channels, s->rate_hz);
    if (!s->ring)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a microphone");
    PaError error = Pa_StartStream(stream);
    return error == paNoError ? OMNID_OK : fail(err, error, d->name);
}

omnid_status mic_portaudio_open(mic_stream *s, const mic_device *d, double rate_hz, mic_channel channel, int latency_ms,
                                omnid_error *err)
{
    if (d->device < 0)
        return omnid_fail(err, d->status, "'%s': %s", d->name, d->why);
    s->n_channels = d->n_channels < 2 ? 1 : 2;
    if (channel == MIC_RIGHT && s->n_channels < 2)
        return omnid_fail(err, OMNID_UNSUPPORTED, "'%s' has one channel; want channel=left or mix", d->name);
    PaError error = open_any(s, d, rate_hz, latency_ms);
    if (error == paInvalidSampleRate)
        return omnid_fail(err, OMNID_UNSUPPORTED, "'%s' cannot record at %.0f Hz; its own rate is %.0f", d->name,
                          s->rate_hz, d->rate_hz);
    if (error != paNoError)
        return fail(err, error, d->name);
    return start(s, d, err);
}

void mic_portaudio_stop(void)
{
    if (stream) {
        Pa_AbortStream(stream);
        Pa_CloseStream(stream);
    }
    Pa_Terminate();
}
