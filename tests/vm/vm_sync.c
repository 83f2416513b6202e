/* vm-sync: how far apart picture and sound of one moment come out of a capture.
 *
 *   vm-sync VIDEO AUDIO CAMERA PLAYBACK SECONDS [REPORT_S]
 *   vm-sync v4l2:/dev/video0 mic:Loopback /dev/video0 hw:0,0 30
 *
 * VIDEO and AUDIO are a capture's URIs. CAMERA is the same (vivid) camera's node, whose brightness is changed; PLAYBACK is
 * what AUDIO records, where a click is played at the same moment. Both moments are taken by CLOCK_MONOTONIC, so neither has
 * to wait for the other. What the capture makes of them is read off its segments: the click's sample, and of each frame
 * whether it is bright (sync_estimate.h says how frames that come twice a second can tell). Every REPORT_S seconds and at
 * the end a line is written. Exit status: 0 when no line's 95 % interval lies outside ±40 ms, 1 when one does or nothing
 * could be measured, 2 usage. */
#include "capture/capture.h"
#include "tests/vm/sync_estimate.h"
#include "tests/vm/vm_player.h"

#include <fcntl.h>
#include <linux/videodev2.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MAX_EVENTS = 8192, MAX_FRAMES = 32768, DARK = 32, BRIGHT = 255, LIMIT_MS = 40, AROUND_US = 300000 };

typedef struct {
    int64_t click_us, light_us; /* moments of CLOCK_MONOTONIC */
    bool bright;                /* after it */
} event;

typedef struct {
    int64_t t_us;
    double level;
} frame;

typedef struct {
    pthread_mutex_t lock; /* of all below */
    event events[MAX_EVENTS];
    frame frames[MAX_FRAMES];
    int64_t clicks_us[MAX_EVENTS];
    int n_events, n_frames, n_clicks;
    int64_t n_segments, n_without;
} record;

static record all = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- what the capture makes of it ---- */

static double level_of(const capture_frame *f)
{
    double sum = 0;
    int n = 0;
    for (int y = f->height / 4; y < f->height * 3 / 4; y += 8)
        for (int x = f->width / 4; x < f->width * 3 / 4; x += 8, n++)
            sum += f->rgb[(size_t)y * (size_t)f->stride + (size_t)x * 3 + 1];
    return n ? sum / n : 0;
}

/* A click starts where a sample is loud after 50 ms that were not. */
static void find_clicks(const capture_segment *seg)
{
    static int64_t loud_us = INT64_MIN / 2;
    int n = seg->n_samples < CAPTURE_SAMPLES ? seg->n_samples : CAPTURE_SAMPLES;
    for (int i = 0; i < n; i++) {
        if (fabsf(seg->samples[i]) < 0.12f)
            continue;
        int64_t t_us = seg->start_us + (int64_t)i * 125 / 2;
        if (t_us - loud_us > 50000 && all.n_clicks < MAX_EVENTS)
            all.clicks_us[all.n_clicks++] = t_us;
        loud_us = t_us;
    }
}

static void on_segment(void *user, const capture_segment *seg)
{
    (void)user;
    pthread_mutex_lock(&all.lock);
    all.n_segments++;
    all.n_without += seg->n_frames == 0 || !seg->samples;
    for (int k = 0; k < seg->n_frames && all.n_frames < MAX_FRAMES; k++)
        all.frames[all.n_frames++] = (frame){seg->start_us + (int64_t)k * 500000, level_of(&seg->frames[k])};
    if (seg->samples)
        find_clicks(seg);
    pthread_mutex_unlock(&all.lock);
}

static void on_source(void *user, bool video, capture_state state, const char *message)
{
    (void)user;
    fprintf(stderr, "vm-sync: %s: %s %s\n", video ? "picture" : "sound", capture_state_name(state), message);
}

/* ---- from what was done and what came to an estimate ---- */

/* Half way between the darkest and the brightest frame. */
static double threshold(void)
{
    double low = 255, high = 0;
    for (int i = 0; i < all.n_frames; i++) {
        low = fmin(low, all.frames[i].level);
        high = fmax(high, all.frames[i].level);
    }
    return (low + high) / 2;
}

static sync_event match(const event *e, double half)
{
    sync_event out = {0};
    for (int i = 0; i < all.n_clicks && !out.heard; i++) {
        int64_t late_us = all.clicks_us[i] - e->click_us;
        out.heard = llabs(late_us) < AROUND_US;
        out.sound_ms = (double)late_us / 1000;
    }
    for (int i = 0; i < all.n_frames && out.n_frames < 8; i++) {
        int64_t late_us = all.frames[i].t_us - e->light_us;
        if (llabs(late_us) >= AROUND_US)
            continue;
        out.frame_ms[out.n_frames] = (double)late_us / 1000;
        out.shows[out.n_frames++] = (all.frames[i].level > half) == e->bright;
    }
    return out;
}

/* Writes a line about the events from index from on. False: outside the limit, or nothing measured. */
static bool report(const char *name, int from, int64_t before_us, double fps)
{
    sync_event *events = calloc(MAX_EVENTS, sizeof *events);
    sync_result r;
    int n = 0;
    pthread_mutex_lock(&all.lock);
    double half = threshold();
    for (int i = from; i < all.n_events; i++)
        if (all.events[i].light_us < before_us && events)
            events[n++] = match(&all.events[i], half);
    long long n_segments = all.n_segments, n_without = all.n_without;
    int n_clicks = all.n_clicks, n_frames = all.n_frames;
    pthread_mutex_unlock(&all.lock);
    bool ok = n > 0 && fps > 0 && sync_estimate(&r, events, n, 1000 / fps);
    free(events);
    if (!ok) {
        printf("%s: nothing measured: %d events, %d clicks heard, %d frames, half way at %.0f; %.1f frames/s, %lld "
               "segments, "
               "%lld without picture or sound\n",
               name, n, n_clicks, n_frames, half, fps, n_segments, n_without);
        return false;
    }
    printf(
        "%s: picture %+.0f ms after sound (95 %%: %+.0f to %+.0f); behind the moment: picture %.0f ms, sound %.1f ms "
        "(± %.1f); %d events, %d heard; %.1f frames/s; %lld segments, %lld without picture or sound\n",
        name, r.offset_ms, r.low_ms, r.high_ms, r.picture_ms, r.sound_ms, r.sound_spread_ms, r.n_events, r.n_heard, fps,
        n_segments, n_without);
    fflush(stdout);
    return fabs(r.offset_ms) <= LIMIT_MS;
}

/* ---- the moments ---- */

static void sleep_until(int64_t t_us)
{
    struct timespec until = {t_us / 1000000, t_us % 1000000 * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* Opened for each change: a node held open would keep a camera that was unplugged from coming back. */
static bool set_brightness(const char *camera, int value)
{
    int fd = open(camera, O_RDWR | O_CLOEXEC);
    struct v4l2_control control = {.id = V4L2_CID_BRIGHTNESS, .value = value};
    bool ok = fd >= 0 && ioctl(fd, VIDIOC_S_CTRL, &control) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* One event: click and change of light. False: the camera or the playback device is away. */
static bool make_event(vm_player *player, const char *camera, bool bright)
{
    int64_t click_us = vm_player_click(player);
    sleep_until(click_us);
    int64_t before_us = omnid_clock_us();
    if (click_us < 0 || !set_brightness(camera, bright ? BRIGHT : DARK))
        return false;
    int64_t after_us = omnid_clock_us();
    if (after_us - before_us > 20000) /* which frame it went into cannot be told */
        return true;
    pthread_mutex_lock(&all.lock);
    if (all.n_events < MAX_EVENTS)
        all.events[all.n_events++] = (event){click_us, (before_us + after_us) / 2, bright};
    pthread_mutex_unlock(&all.lock);
    return true;
}

static bool measure(omnid_capture *capture, vm_player *player, const char *camera, double seconds, double report_s)
{
    int64_t start_us = omnid_clock_us(), end_us = start_us + (int64_t)(seconds * 1e6);
    int64_t next_us = start_us + (int64_t)(report_s * 1e6);
    unsigned seed = 7;
    bool bright = false, ok = true;
    int from = 0;
    double fps = 0;
    while (omnid_clock_us() < end_us) {
        bright = !bright;
        if (!make_event(player, camera, bright))
            fprintf(stderr, "vm-sync: the camera or the card is away\n");
        sleep_until(omnid_clock_us() + 700000 + rand_r(&seed) % 500000);
        capture_status s = omnid_capture_get_status(capture);
        fps = s.video.fps > 0 ? s.video.fps : fps;
        if (omnid_clock_us() >= next_us) {
            char name[32];
            snprintf(name, sizeof name, "%5.0f s", (double)(next_us - start_us) / 1e6);
            ok = report(name, from, omnid_clock_us() - 4000000, fps) && ok;
            from = all.n_events;
            next_us += (int64_t)(report_s * 1e6);
        }
    }
    sleep_until(omnid_clock_us() + 5000000); /* until the last event's segment is closed */
    return report("in all", 0, INT64_MAX, fps) && ok;
}

static bool wait_running(omnid_capture *capture)
{
    for (int i = 0; i < 600; i++) {
        capture_status s = omnid_capture_get_status(capture);
        if (s.video.state == CAPTURE_RUNNING && s.audio.state == CAPTURE_RUNNING)
            return true;
        usleep(100000);
    }
    fprintf(stderr, "vm-sync: picture and sound did not start in a minute\n");
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 7 || atof(argv[5]) <= 0) {
        fprintf(stderr, "usage: vm-sync VIDEO AUDIO CAMERA PLAYBACK SECONDS [REPORT_S]\n");
        return 2;
    }
    capture_params params = capture_params_default();
    params.video = argv[1];
    params.audio = argv[2];
    params.on_segment = on_segment;
    params.on_source = on_source;
    omnid_capture *capture = NULL;
    omnid_error err = {0};
    if (omnid_capture_start(&capture, &params, &err) != OMNID_OK) {
        fprintf(stderr, "vm-sync: %s\n", err.text);
        return 1;
    }
    bool ok = wait_running(capture);
    vm_player *player = ok ? vm_player_start(argv[4]) : NULL;
    double seconds = atof(argv[5]);
    ok = player && measure(capture, player, argv[3], seconds, argc > 6 ? atof(argv[6]) : 2 * seconds);
    vm_player_stop(&player);
    omnid_capture_stop(&capture);
    return ok ? 0 : 1;
}
