/* Network cameras, against a real RTSP server that is started, stopped, killed and started again on the same port. */
#include "capture/source.h"
#include "clips.h"

#include <gst/gst.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

typedef struct {
    pid_t pid;
    int port;
    char uri[160];
} server;

typedef struct {
    const char *codec, *sound, *user, *password, *n_frames;
} server_options;

/* Starts it on `port` (0: any) and waits until it listens. */
static server serve(int port, const server_options *o)
{
    server s = {0};
    int pipe_ends[2];
    char port_text[16];
    snprintf(port_text, sizeof port_text, "%d", port);
    assert_int_equal(pipe(pipe_ends), 0);
    s.pid = fork();
    if (s.pid == 0) {
        dup2(pipe_ends[1], STDOUT_FILENO);
        close(pipe_ends[0]);
        close(pipe_ends[1]);
        execl(RTSP_SERVER, "rtsp-server", port_text, o->codec, o->sound, o->user ? o->user : "",
              o->password ? o->password : "", o->n_frames ? o->n_frames : "0", (char *)NULL);
        _exit(127);
    }
    close(pipe_ends[1]);
    FILE *said = fdopen(pipe_ends[0], "r");
    if (fscanf(said, "port %d", &s.port) != 1)
        fail_msg("the RTSP server does not start");
    fclose(said);
    snprintf(s.uri, sizeof s.uri, "rtsp://127.0.0.1:%d/live", s.port);
    return s;
}

static void kill_server(server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

/* The server's green, and its tone of 440 Hz and -9 dBFS. */
static void check_green(const kept_segment *s)
{
    assert_int_equal(s->seg.frames[0].width, 320);
    assert_int_equal(s->seg.frames[0].height, 240);
    const uint8_t *p = s->frame + (size_t)s->seg.frames[0].stride * 120 + 160 * 3;
    assert_in_range(p[0], 0x10, 0x30);
    assert_in_range(p[1], 0xb0, 0xd0);
    assert_in_range(p[2], 0x30, 0x50);
}

static void check_tone(const kept_segment *s)
{
    double sum = 0.0, re = 0.0, im = 0.0;
    const int first = 8000, n = 16000; /* a second: 440 whole turns */
    for (int i = first; i < first + n; i++) {
        double x = (double)s->samples[i], w = 2.0 * M_PI * 440.0 * i / CAPTURE_RATE;
        sum += x * x;
        re += x * cos(w);
        im += x * sin(w);
    }
    double rms = sqrt(sum / n), at_440 = sqrt(2.0) * sqrt(re * re + im * im) / n;
    assert_in_range(rms * 1000, 250, 450); /* 0.354 */
    assert_true(at_440 > 0.8 * rms);
}

/* The newest segment that a busy machine did not tear; NULL when there is none. */
static const kept_segment *whole_segment(const keeper *k, int n_frames)
{
    for (int i = k->n - 1; i >= 0; i--) {
        const capture_segment *s = &k->kept[i]->seg;
        if (s->n_frames == n_frames && s->n_samples >= CAPTURE_SAMPLES && s->n_samples_missing == 0)
            return k->kept[i];
    }
    return NULL;
}

/* Picture and sound of a camera are what its server sends. False: no segment came whole. */
static bool check_camera(const server_options *o)
{
    bool has_video = strcmp(o->codec, "none") != 0;
    keeper k;
    server s = serve(0, o);
    omnid_capture *c = has_video ? keeper_start(&k, s.uri, "same") : keeper_start(&k, NULL, s.uri);
    if (has_video)
        await_state(c, true, CAPTURE_RUNNING);
    await_state(c, false, CAPTURE_RUNNING);
    await_segments(c, 3);
    omnid_capture_stop(&c);
    kill_server(&s);
    const kept_segment *whole = whole_segment(&k, has_video ? 4 : 0);
    if (whole && has_video)
        check_green(whole);
    if (whole)
        check_tone(whole);
    if (whole && strcmp(o->codec, "mjpeg") == 0)
        assert_true(whole->seg.frames[0].n_jpeg > 0); /* it went through undecoded */
    keeper_free(&k);
    return whole != NULL;
}

static void test_codecs(void **state)
{
    (void)state;
    static const server_options cameras[] = {
        {.codec = "h264", .sound = "alaw"},
        {.codec = "h265", .sound = "aac"},
        {.codec = "mjpeg", .sound = "opus"},
        {.codec = "none", .sound = "l16"},
    };
    for (size_t i = 0; i < sizeof cameras / sizeof *cameras; i++) {
        print_message("%s and %s\n", cameras[i].codec, cameras[i].sound);
        bool whole = false;
        for (int tries = 0; tries < 5 && !whole; tries++)
            whole = check_camera(&cameras[i]);
        assert_true(whole);
    }
}

/* Sound that is wanted and not there is told, costs nothing and is no gap; sound that nobody wants is not fetched. */
static void test_without_sound(void **state)
{
    (void)state;
    keeper k;
    server s = serve(0, &(server_options){.codec = "mjpeg", .sound = "none"});
    omnid_capture *c = keeper_start(&k, s.uri, "same");
    await_state(c, true, CAPTURE_RUNNING);
    capture_source_status audio = await_state(c, false, CAPTURE_OFF);
    assert_non_null(strstr(audio.message, ": has no sound"));
    omnid_error err;
    assert_int_equal(omnid_capture_pause(c, false, true, &err), OMNID_UNSUPPORTED);
    await_segments(c, 2);
    assert_int_equal(omnid_capture_get_status(c).n_gaps_audio, 0);
    kill_server(&s); /* the camera comes back with a microphone */
    await_state(c, true, CAPTURE_LOST);
    s = serve(s.port, &(server_options){.codec = "mjpeg", .sound = "alaw"});
    await_state(c, true, CAPTURE_RUNNING);
    await_state(c, false, CAPTURE_RUNNING);
    omnid_capture_stop(&c);
    keeper_free(&k);
    c = keeper_start(&k, s.uri, NULL);
    await_state(c, true, CAPTURE_RUNNING);
    assert_int_equal(omnid_capture_get_status(c).audio.state, CAPTURE_OFF);
    omnid_capture_stop(&c);
    kill_server(&s);
    keeper_free(&k);
}

/* Sound whose decoder is not installed is told and left out; the picture goes on, and the source is not opened again. */
static void test_sound_without_decoder(void **state)
{
    (void)state;
    static const char *const names[] = {"alawdec", "avdec_pcm_alaw"};
    gst_init(NULL, NULL);
    GstPluginFeature *features[2];
    for (size_t i = 0; i < 2; i++)
        if ((features[i] = gst_registry_lookup_feature(gst_registry_get(), names[i])))
            gst_registry_remove_feature(gst_registry_get(), features[i]);
    keeper k;
    server s = serve(0, &(server_options){.codec = "mjpeg", .sound = "alaw"});
    omnid_capture *c = keeper_start(&k, s.uri, "same");
    await_state(c, true, CAPTURE_RUNNING);
    capture_source_status status = await_state(c, false, CAPTURE_LOST); /* none for 10 s */
    print_message("%s\n", status.message);
    status = omnid_capture_get_status(c).video;
    assert_int_equal(status.state, CAPTURE_RUNNING);
    assert_int_equal(status.n_restarts, 0);
    assert_non_null(strstr(status.message, ": the sound is left out: "));
    omnid_capture_stop(&c);
    kill_server(&s);
    for (size_t i = 0; i < 2; i++)
        if (features[i]) {
            gst_registry_add_feature(gst_registry_get(), features[i]);
            gst_object_unref(features[i]);
        }
    assert_int_equal(k.kept[k.n - 1]->seg.n_frames, 4);
    keeper_free(&k);
}

static char logged[65536];

static void keep_log(void *user, omnid_log_level level, const char *line)
{
    (void)user, (void)level;
    size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", line);
    print_message("log: %s\n", line);
}

static void check_secret(const char *text)
{
    assert_null(strstr(text, "p@ss"));
    assert_null(strstr(text, "p%40ss"));
    assert_null(strstr(text, "wr%6fng"));
    assert_null(strstr(text, "wrong"));
    assert_null(strstr(text, "watcher"));
}

static void test_passwords(void **state)
{
    (void)state;
    keeper k;
    char uri[200];
    server s = serve(0, &(server_options){.codec = "mjpeg", .sound = "none", .user = "watcher", .password = "p@ss:/1"});
    static const struct {
        const char *user;
        capture_state want;
        const char *says;
    } cases[] = {
        {"watcher:p%40ss%3A%2F1@", CAPTURE_RUNNING, ""},
        {"watcher:wr%6fng@", CAPTURE_LOST, ": the camera refuses this user and password"},
        {"", CAPTURE_LOST, ": the camera wants a user and a password; write rtsp://USER:PASSWORD@127.0.0.1/"},
    };
    omnid_log_set(OMNID_LOG_DEBUG, keep_log, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(uri, sizeof uri, "rtsp://%s127.0.0.1:%d/live", cases[i].user, s.port);
        omnid_capture *c = keeper_start(&k, uri, NULL);
        capture_source_status status = await_state(c, true, cases[i].want);
        assert_non_null(strstr(status.message, cases[i].says));
        check_secret(status.message);
        check_secret(status.uri);
        if (cases[i].want == CAPTURE_LOST) {
            assert_true(status.lost_since_us > 0 && status.lost_since_us <= omnid_clock_us());
            usleep(2500 * 1000); /* other failures would have been tried three times by now */
            assert_int_equal(omnid_capture_get_status(c).video.n_restarts, 1);
        }
        omnid_capture_stop(&c);
        keeper_free(&k);
    }
    omnid_log_set(OMNID_LOG_INFO, NULL, NULL);
    check_secret(logged);
    assert_non_null(strstr(logged, "trying again every 30 s"));
    kill_server(&s);
}

static void test_sentences(void **state)
{
    (void)state;
    keeper k;
    server s = serve(0, &(server_options){.codec = "none", .sound = "alaw"});
    char wrong_path[64], refused[64];
    snprintf(wrong_path, sizeof wrong_path, "rtsp://127.0.0.1:%d/nothing", s.port);
    snprintf(refused, sizeof refused, "rtsp://me:secret@127.0.0.1:1/live");
    const struct {
        const char *uri, *says;
    } cases[] = {
        {wrong_path, ": the camera knows no such path (Not Found (404))"},
        {refused, "rtsp://***@127.0.0.1:1/live: 127.0.0.1 refuses port 1; is its RTSP server switched on"},
        {"rtsp://no.such.host.invalid/live", ": no host of the name 'no.such.host.invalid' is known here"},
        {s.uri, ": the server offers no picture"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        omnid_capture *c = keeper_start(&k, cases[i].uri, NULL);
        capture_source_status status = await_state(c, true, CAPTURE_LOST);
        if (!strstr(status.message, cases[i].says))
            fail_msg("told '%s', want '%s'", status.message, cases[i].says);
        omnid_capture_stop(&c);
        keeper_free(&k);
    }
    kill_server(&s);
}

static void test_bad_uris(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"rtsp:", "names no host"},
        {"rtsp:///live", "names no host"},
        {"rtsp://cam:port/live", "cannot be read"},
        {"rtsp://cam:99999/live", "cannot be read"},
        {"rtsp://me:se/cret@cam/live", "cannot be read"},
        {"rtsp://:secret@cam/live", "has a password without a user"},
        {"rtsp://ca m/live", "holds a space"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        omnid_error err = {0};
        omnid_status status = omnid_capture_check(bad[i][0], &err);
        if (status != OMNID_ARGUMENT || !strstr(err.text, bad[i][1]))
            fail_msg("%s: %s: %s", bad[i][0], omnid_status_name(status), err.text);
        assert_null(strstr(err.text, "cret"));
    }
    assert_int_equal(omnid_capture_check("rtspt://me:x@[::1]:8554/a?b=c", NULL), OMNID_OK);
    assert_int_equal(omnid_capture_check("rtsps://cam", NULL), OMNID_OK);
}

/* Killed and started again on the same port; silent with its connection open; ended by the server. */
static void test_lost_and_found(void **state)
{
    (void)state;
    keeper k;
    const server_options o = {.codec = "h264", .sound = "alaw"};
    server s = serve(0, &o);
    omnid_capture *c = keeper_start(&k, s.uri, "same");
    await_state(c, true, CAPTURE_RUNNING);
    kill_server(&s);
    capture_source_status status = await_state(c, true, CAPTURE_LOST);
    assert_int_equal(omnid_capture_get_status(c).audio.state, CAPTURE_LOST);
    print_message("killed: %s\n", status.message);
    usleep(3000 * 1000);
    int64_t back_us = omnid_clock_us();
    s = serve(s.port, &o);
    await_state(c, true, CAPTURE_RUNNING);
    print_message("back after %lld ms\n", (long long)(omnid_clock_us() - back_us) / 1000);
    await_state(c, false, CAPTURE_RUNNING);
    assert_int_equal(omnid_capture_get_status(c).video.lost_since_us, 0);
    kill(s.pid, SIGSTOP); /* the cable is out: nothing comes, and nobody says so */
    status = await_state(c, true, CAPTURE_LOST);
    assert_non_null(strstr(status.message, ": no picture for 3 s"));
    usleep(4000 * 1000);
    back_us = omnid_clock_us();
    kill(s.pid, SIGCONT);
    await_state(c, true, CAPTURE_RUNNING);
    print_message("back after %lld ms\n", (long long)(omnid_clock_us() - back_us) / 1000);
    assert_true(omnid_capture_get_status(c).video.n_restarts >= 2);
    int64_t before = omnid_capture_get_status(c).n_segments;
    await_segments(c, before + 2);
    int64_t begun_us = omnid_clock_us();
    omnid_capture_stop(&c);
    assert_true(omnid_clock_us() - begun_us < 2500000);
    assert_true(k.n_lost >= 4); /* picture and sound, twice */
    check_green(k.kept[k.n - 1]);
    kill_server(&s);
    keeper_free(&k);
}

/* A server that plays something to its end: a loss like any other. */
static void test_server_ends_the_stream(void **state)
{
    (void)state;
    keeper k;
    server s = serve(0, &(server_options){.codec = "mjpeg", .sound = "none", .n_frames = "45"});
    omnid_capture *c = keeper_start(&k, s.uri, NULL);
    await_state(c, true, CAPTURE_RUNNING);
    capture_source_status status = await_state(c, true, CAPTURE_LOST);
    print_message("ended: %s\n", status.message);
    await_state(c, true, CAPTURE_RUNNING);
    omnid_capture_stop(&c);
    kill_server(&s);
    keeper_free(&k);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_uris),
        cmocka_unit_test(test_codecs),
        cmocka_unit_test(test_without_sound),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_lost_and_found),
        cmocka_unit_test(test_server_ends_the_stream),
        cmocka_unit_test(test_sound_without_decoder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
