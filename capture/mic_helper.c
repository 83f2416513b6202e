/* mic_helper.c: the program omnid-mic. What it says and why it is a program: mic_wire.h. */
#include "capture/mic_cards.h"
#include "capture/mic_match.h"
#include "capture/mic_portaudio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    TURN_MS = 20,         /* how often the ring is emptied */
    FIRST_US = 5000000,   /* a card that was started has this long until its first block */
    SILENCE_US = 2200000, /* then none for so long means that it is gone: PortAudio 19.6 tells nothing and spins */
    DOUBT_US = 200000,    /* after so long, a look whether the kernel still has it */
    BEHIND_US = 1000000,  /* sound that waits for longer is left out: later, no segment would take it */
    PIPE_BYTES = 16384    /* more would be more waiting: 0.1 s at 44.1 kHz */
};

static bool write_all(const void *data, size_t n)
{
    for (const char *at = data; n;) {
        ssize_t done = write(STDOUT_FILENO, at, n);
        if (done < 0 && errno != EINTR)
            return false;
        at += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

static bool say(mic_wire_kind kind, const void *payload, size_t n_bytes)
{
    mic_wire_head head = {.magic = MIC_WIRE_MAGIC, .kind = kind, .n_bytes = (uint32_t)n_bytes};
    return write_all(&head, sizeof head) && write_all(payload, n_bytes);
}

/* Tells the error and leaves at once: with a card that is gone, closing may never return. */
static _Noreturn void leave_with(const omnid_error *err)
{
    say(MIC_WIRE_ERROR, err, sizeof *err);
    _exit(1);
}

static void list(void)
{
    static mic_device devices[MIC_MAX_DEVICES];
    int n = mic_portaudio_devices(devices);
    for (int i = 0; i < n; i++) {
        capture_device row;
        mic_portaudio_describe(&row, devices, n, i);
        if (devices[i].listed && !say(MIC_WIRE_DEVICE, &row, sizeof row))
            return;
    }
    say(MIC_WIRE_DONE, NULL, 0);
}

/* A listed one by what is a part of its name; one of the other routes by its whole name only. */
static omnid_status choose(const mic_device **out, const char *wanted, omnid_error *err)
{
    static mic_device devices[MIC_MAX_DEVICES];
    const char *names[MIC_MAX_DEVICES];
    int n = mic_portaudio_devices(devices), at = -1, n_listed = 0;
    for (int i = 0; i < n; i++) {
        names[i] = devices[i].name;
        n_listed += devices[i].listed;
        if (!strcmp(names[i], wanted))
            at = i;
    }
    if (at < 0 && !strcmp(wanted, "default"))
        at = mic_portaudio_default(devices, n);
    if (at < 0)
        OMNID_TRY(mic_match(&at, names, n_listed, wanted, err));
    *out = &devices[at];
    return OMNID_OK;
}

static int mix(float *to, const mic_block *b, int n_channels, mic_channel channel)
{
    for (int i = 0; i < b->n_frames; i++) {
        const float *frame = b->frames + (size_t)i * (size_t)n_channels;
        to[i] = n_channels == 1 || channel == MIC_LEFT ? frame[0]
                : channel == MIC_RIGHT                 ? frame[1]
                                                       : 0.5f * (frame[0] + frame[1]);
    }
    return b->n_frames;
}

/* Sends what is in the ring; false: nobody reads. *n_sent counts blocks. */
static bool send_blocks(const mic_stream *s, mic_channel channel, int *n_sent)
{
    float samples[MIC_RING_FRAMES];
    for (mic_block b; mic_ring_peek(s->ring, &b); mic_ring_drop(s->ring), ++*n_sent) {
        if (mic_ring_shed(s->ring, BEHIND_US) && !mic_ring_peek(s->ring, &b))
            break;
        int n = mix(samples, &b, s->n_channels, channel);
        mic_wire_head head = {MIC_WIRE_MAGIC, MIC_WIRE_SOUND, (uint32_t)n * sizeof *samples, b.hole, b.t_us, b.index};
        if (!write_all(&head, sizeof head) || !write_all(samples, head.n_bytes))
            return false;
    }
    return true;
}

/* Whether a card that is named by its number has left the kernel's list; of a sound server's route nothing is known. */
static bool is_unplugged(const mic_device *d)
{
    mic_card cards[MIC_MAX_DEVICES];
    if (!strstr(d->name, "(hw:"))
        return false;
    int n = mic_cards_list(cards, MIC_MAX_DEVICES);
    for (int i = 0; i < n; i++)
        if (mic_cards_names(d->name, &cards[i]))
            return false;
    return true;
}

/* Sends what comes until the end is asked for (OK) or the card is gone. */
static omnid_status send_all(const mic_stream *s, const mic_device *d, mic_channel channel, omnid_error *err)
{
    bool listed = !is_unplugged(d); /* where /proc is hidden, nothing is */
    int64_t newest_us = omnid_clock_us();
    for (int n_sent = 0;;) {
        struct pollfd end = {STDIN_FILENO, POLLIN, 0};
        if (poll(&end, 1, TURN_MS) > 0)
            return OMNID_OK;
        int before = n_sent;
        if (!send_blocks(s, channel, &n_sent))
            return OMNID_OK;
        int64_t now_us = omnid_clock_us(), silent_us = n_sent > before ? 0 : now_us - newest_us;
        newest_us = now_us - silent_us;
        if (listed && silent_us > DOUBT_US && is_unplugged(d))
            return omnid_fail(err, OMNID_DEVICE, "'%s' was unplugged", d->name);
        if (silent_us > (n_sent ? SILENCE_US : FIRST_US))
            return omnid_fail(err, OMNID_DEVICE, "'%s' gives no sound any more (unplugged?)", d->name);
    }
}

static omnid_status record(char **arguments, omnid_error *err)
{
    mic_stream s = {0};
    const mic_device *d;
    mic_channel channel = (mic_channel)atoi(arguments[1]);
    OMNID_TRY(choose(&d, arguments[3], err));
    OMNID_TRY(mic_portaudio_open(&s, d, atof(arguments[0]), channel, atoi(arguments[2]), err));
    mic_wire_opened opened = {.rate_hz = s.rate_hz, .n_channels = s.n_channels};
    snprintf(opened.name, sizeof opened.name, "%s", d->name);
    if (!say(MIC_WIRE_OPENED, &opened, sizeof opened))
        return OMNID_OK;
    return send_all(&s, d, channel, err);
}

/* Whether the name says one of the kernel's cards, and not a route of ALSA's or a sound server. */
static bool names_card(const char *wanted)
{
    mic_card card;
    return strcmp(wanted, "default") && mic_cards_find(&card, wanted, NULL) == OMNID_OK;
}

int main(int argc, char **argv)
{
    bool lists = argc == 3 && !strcmp(argv[1], "list"), records = argc == 7 && !strcmp(argv[1], "record");
    if (!lists && !records) {
        fprintf(stderr, "omnid-mic is started by omnid: it records from a microphone; `omnid-devices` lists them\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    fcntl(STDOUT_FILENO, F_SETPIPE_SZ, PIPE_BYTES);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != atoi(argv[2])) /* it was gone before we asked */
        return 1;
    omnid_error err = {0};
    if (mic_portaudio_start(records && names_card(argv[6]), &err) != OMNID_OK)
        leave_with(&err);
    if (lists)
        list();
    else if (record(argv + 3, &err) != OMNID_OK)
        leave_with(&err);
    mic_portaudio_stop();
    _exit(0); /* what ALSA and JACK keep is the kernel's to take back */
}
