/* mic_fake.c: a helper program instead of omnid-mic, which does what $MIC_FAKE says: speaks well, hangs, dies, raves. */
#include "capture/mic_wire.h"

#include <dirent.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { RATE = 48000, BLOCK = 960 };

static void put(const void *data, size_t n)
{
    if (write(STDOUT_FILENO, data, n) != (ssize_t)n)
        _exit(9);
}

static void say(mic_wire_kind kind, const void *payload, size_t n)
{
    mic_wire_head head = {.magic = MIC_WIRE_MAGIC, .kind = kind, .n_bytes = (uint32_t)n};
    put(&head, sizeof head);
    put(payload, n);
}

static void open_well(void)
{
    mic_wire_opened opened = {.rate_hz = RATE, .n_channels = 2};
    memset(opened.name, 'f', sizeof opened.name); /* a text without its end */
    say(MIC_WIRE_OPENED, &opened, sizeof opened);
}

/* n blocks in real time: 440 Hz at half of full scale; n < 0: until the end of standard input. */
static void speak(int n)
{
    static float samples[BLOCK];
    int64_t begin_us = omnid_clock_us();
    for (int64_t b = 0; n < 0 || b < n; b++) {
        mic_wire_head head = {MIC_WIRE_MAGIC, MIC_WIRE_SOUND, sizeof samples, 0, begin_us + b * 20000, b * BLOCK};
        for (int i = 0; i < BLOCK; i++)
            samples[i] = 0.5f * (float)sin(2 * M_PI * 440.0 * (double)(b * BLOCK + i) / RATE);
        int64_t wait_us = head.t_us + 20000 - omnid_clock_us();
        struct pollfd end = {STDIN_FILENO, POLLIN, 0};
        if (poll(&end, 1, wait_us > 0 ? (int)(wait_us / 1000) : 0) > 0)
            _exit(0);
        put(&head, sizeof head);
        put(samples, sizeof samples);
    }
}

static void hang(void)
{
    signal(SIGTERM, SIG_IGN);
    for (;;)
        pause();
}

/* What it inherited besides 0, 1 and 2, how it was told to see signals, and its arguments, as an error's sentence. */
static void tell_heritage(int argc, char **argv)
{
    omnid_error e = {.status = OMNID_DEVICE};
    int n_fds = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *entry; d && (entry = readdir(d));)
        n_fds += *entry->d_name != '.' && atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(d);
    sigset_t mask;
    struct sigaction usr1;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigaction(SIGUSR1, NULL, &usr1);
    int n = snprintf(e.text, sizeof e.text, "fds %d, blocked %d, ignored %d, parent %d:", n_fds,
                     sigismember(&mask, SIGUSR2), usr1.sa_handler == SIG_IGN, argc > 2 && getppid() == atoi(argv[2]));
    for (int i = 1; i < argc; i++)
        if (i != 2)
            n += snprintf(e.text + n, sizeof e.text - (size_t)n, " %s", argv[i]);
    say(MIC_WIRE_ERROR, &e, sizeof e);
}

static void tell_list(void)
{
    capture_device row = {.usable = true};
    snprintf(row.uri, sizeof row.uri, "mic:one");
    memset(row.why, 'w', sizeof row.why);
    say(MIC_WIRE_DEVICE, &row, sizeof row);
    snprintf(row.uri, sizeof row.uri, "mic:two");
    row.usable = false;
    say(MIC_WIRE_DEVICE, &row, sizeof row);
}

static void rave(const char *how)
{
    char noise[3000];
    if (!strcmp(how, "noise")) {
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (char)(i * 7919 >> 3);
        put(noise, sizeof noise);
    } else if (!strcmp(how, "size")) {
        mic_wire_head head = {MIC_WIRE_MAGIC, MIC_WIRE_SOUND, 0xfffffff0u, 0, 0, 0};
        put(&head, sizeof head);
    } else if (!strcmp(how, "kind")) {
        say(77, noise, 0);
    } else if (!strcmp(how, "torn")) {
        mic_wire_head head = {MIC_WIRE_MAGIC, MIC_WIRE_OPENED, sizeof(mic_wire_opened), 0, 0, 0};
        put(&head, sizeof head);
        put(noise, 5);
    } else if (!strcmp(how, "status")) {
        omnid_error e = {.status = (omnid_status)4711};
        memset(e.text, 'e', sizeof e.text);
        say(MIC_WIRE_ERROR, &e, sizeof e);
    } else if (!strcmp(how, "rate")) {
        mic_wire_opened opened = {.rate_hz = NAN};
        say(MIC_WIRE_OPENED, &opened, sizeof opened);
        hang();
    } else if (!strcmp(how, "unasked")) {
        open_well();
        open_well();
        hang();
    }
}

int main(int argc, char **argv)
{
    const char *how = getenv("MIC_FAKE");
    how = how ? how : "";
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no test leaves one behind */
    if (!strcmp(how, "well") || (!strcmp(how, "busy until free") && !access("mic-free", F_OK))) {
        open_well();
        speak(-1);
    } else if (!strcmp(how, "hang")) {
        hang();
    } else if (!strcmp(how, "silent")) { /* the card is gone and PortAudio does not come back */
        open_well();
        speak(25);
        hang();
    } else if (!strcmp(how, "crash")) {
        open_well();
        speak(10);
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    } else if (!strcmp(how, "exit")) {
        return 3;
    } else if (!strcmp(how, "busy") || (!strcmp(how, "busy until free") && access("mic-free", F_OK))) {
        omnid_error e = {OMNID_BUSY, "'fake': in use by another program"};
        say(MIC_WIRE_ERROR, &e, sizeof e);
    } else if (!strcmp(how, "chatter")) { /* more than its pipe holds */
        for (int i = 0; i < 20000; i++)
            fprintf(stderr, "ALSA lib pcm.c:2666:(snd_pcm_open_noupdate) Unknown PCM %d\n\n", i);
        open_well();
        speak(-1);
    } else if (!strcmp(how, "heritage")) {
        tell_heritage(argc, argv);
    } else if (!strcmp(how, "list")) {
        tell_list();
        say(MIC_WIRE_DONE, NULL, 0);
    } else if (!strcmp(how, "half a list")) {
        tell_list();
        open_well();
    } else {
        rave(how);
    }
    return 0;
}
