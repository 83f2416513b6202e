/* mic_listen.c: listens to a sound source and says what it hears, a line a segment, and what happens to the source.
 *
 *     vm-mic-listen URI SECONDS | list
 *
 *     12.345 running
 *     14.101 segment 0: -9.0 dBFS, tone 440.0 Hz, 0 missing
 *     15.200 lost: mic:hw:0,1: … gives no sound any more
 *
 * The first column is CLOCK_MONOTONIC in s, as /proc/uptime is. The tone is counted at the zeros: of a clean one only. */
#include "capture/capture.h"
#include "capture/mic_devices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static double now_s(void)
{
    return (double)omnid_clock_us() * 1e-6;
}

/* Hz, between the first and the last upward zero. */
static double tone(const float *x, int n)
{
    double first = 0.0, last = 0.0;
    int n_zeros = 0;
    for (int i = 1; i < n; i++) {
        if (!(x[i - 1] < 0.0f && x[i] >= 0.0f))
            continue;
        last = i - x[i] / (x[i] - x[i - 1]);
        first = n_zeros++ ? first : last;
    }
    return n_zeros > 1 ? (n_zeros - 1) * CAPTURE_RATE / (last - first) : 0.0;
}

static void tell_segment(void *user, const capture_segment *seg)
{
    (void)user;
    double sum = 0.0;
    for (int i = 0; i < seg->n_samples; i++)
        sum += (double)seg->samples[i] * seg->samples[i];
    printf("%.3f segment %lld: %.1f dBFS, tone %.2f Hz, %d missing\n", now_s(), (long long)seg->index,
           10.0 * log10(sum / (seg->n_samples + 1) + 1e-12), tone(seg->samples, seg->n_samples),
           seg->n_samples_missing);
}

static void tell_source(void *user, bool video, capture_state state, const char *message)
{
    (void)user;
    (void)video;
    printf("%.3f %s%s%s\n", now_s(), capture_state_name(state), *message ? ": " : "", message);
}

static int list(void)
{
    capture_device *devices;
    int n;
    omnid_error err;
    if (mic_devices_list(&devices, &n, &err) != OMNID_OK) {
        fprintf(stderr, "vm-mic-listen: %s\n", err.text);
        return 1;
    }
    for (int i = 0; i < n; i++)
        printf("%s | %s | %s | %s | %s\n", devices[i].uri, devices[i].path, devices[i].name, devices[i].choice,
               devices[i].why);
    free(devices);
    return 0;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && !strcmp(argv[1], "list"))
        return list();
    if (argc != 3) {
        fprintf(stderr, "usage: vm-mic-listen URI SECONDS | list\n");
        return 64;
    }
    omnid_log_set(getenv("VERBOSE") ? OMNID_LOG_DEBUG : OMNID_LOG_WARNING, NULL, NULL);
    capture_params p = capture_params_default();
    p.audio = argv[1];
    p.on_segment = tell_segment;
    p.on_source = tell_source;
    omnid_capture *c;
    omnid_error err;
    if (omnid_capture_start(&c, &p, &err) != OMNID_OK) {
        fprintf(stderr, "vm-mic-listen: %s\n", err.text);
        return 1;
    }
    usleep((useconds_t)(atof(argv[2]) * 1e6));
    capture_status status = omnid_capture_get_status(c);
    printf("%.3f status: %s, level %.1f dBFS, %lld segments, %lld gaps, %lld restarts\n", now_s(),
           capture_state_name(status.audio.state), status.audio.level_dbfs, (long long)status.n_segments,
           (long long)status.n_gaps_audio, (long long)status.audio.n_restarts);
    double begun_s = now_s();
    omnid_capture_stop(&c);
    printf("%.3f stopped in %.2f s\n", now_s(), now_s() - begun_s);
    return 0;
}
