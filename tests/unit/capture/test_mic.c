/* The source mic: and its helper program, with a helper that hangs, dies and raves in omnid-mic's place. */
#include "capture/mic_devices.h"
#include "capture/mic_process.h"
#include "capture/source.h"
#include "clips.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static void pretend(const char *how)
{
    setenv("OMNID_MIC_HELPER", MIC_FAKE_PATH, 1);
    setenv("MIC_FAKE", how, 1);
}

static atomic_bool never;

static omnid_status open_mic(void **self, const char *uri, omnid_error *err)
{
    source_info info;
    const source_params p = {.uri = uri, .want_audio = true, .stop = &never};
    const source_ops *ops;
    assert_int_equal(sources_find(&ops, uri, err), OMNID_OK);
    assert_ptr_equal(ops, &source_mic);
    omnid_status status = ops->open(self, &p, &info, err);
    assert_true(status != OMNID_OK || (info.has_audio && !info.has_video && !info.clip));
    return status;
}

/* Reads until something other than AGAIN comes. */
static omnid_status read_mic(void *self, source_data *data, omnid_error *err)
{
    omnid_status status = OMNID_AGAIN;
    for (int64_t until_us = omnid_clock_us() + PATIENCE_MS * 1000LL;
         status == OMNID_AGAIN && omnid_clock_us() < until_us;)
        status = source_mic.read(self, data, 100, err);
    return status;
}

/* Closes and returns how many ms it took. */
static int64_t close_mic(void **self)
{
    int64_t begun_us = omnid_clock_us();
    source_mic.close(self);
    assert_null(*self);
    return (omnid_clock_us() - begun_us) / 1000;
}

static void test_speaks_well(void **state)
{
    (void)state;
    void *mic;
    omnid_error err;
    source_data data = {0};
    pretend("well");
    if (open_mic(&mic, "mic:fake", &err) != OMNID_OK)
        fail_msg("%s", err.text);
    int64_t next_us = 0, n = 0;
    double sum = 0.0;
    while (n < 32000) {
        assert_int_equal(read_mic(mic, &data, &err), OMNID_OK);
        assert_int_equal(data.kind, SOURCE_SOUND);
        assert_true(!next_us || llabs(data.t_us - next_us) <= 70); /* behind each other, to the sample */
        assert_true(data.t_us <= omnid_clock_us());
        for (int i = 0; i < data.n_samples; i++)
            sum += (double)data.samples[i] * data.samples[i];
        n += data.n_samples;
        next_us = data.t_us + llround(data.n_samples * 62.5);
    }
    assert_true(fabs(sqrt(2.0 * sum / (double)n) - 0.5) < 0.02);
    close_mic(&mic);
    source_mic.close(&mic); /* NULL is no harm */
}

/* 2.7 s, not for ever; and a helper that does not leave is killed. */
static void test_goes_silent(void **state)
{
    (void)state;
    void *mic;
    omnid_error err;
    source_data data = {0};
    omnid_status status = OMNID_OK;
    pretend("silent");
    assert_int_equal(open_mic(&mic, "mic:fake", &err), OMNID_OK);
    while (status == OMNID_OK)
        status = read_mic(mic, &data, &err);
    assert_int_equal(status, OMNID_DEVICE);
    assert_string_equal(err.text, "mic:fake: the microphones' helper program hangs");
    int64_t took_ms = close_mic(&mic);
    assert_true(took_ms >= 900); /* it was asked first */
    print_message("a helper that hangs was gone after %d ms\n", (int)took_ms);
}

static void test_dies(void **state)
{
    (void)state;
    void *mic;
    omnid_error err;
    source_data data = {0};
    omnid_status status = OMNID_OK;
    pretend("crash");
    assert_int_equal(open_mic(&mic, "mic:fake", &err), OMNID_OK);
    while (status == OMNID_OK)
        status = read_mic(mic, &data, &err);
    assert_int_equal(status, OMNID_DEVICE);
    assert_string_equal(err.text, "mic:fake: the microphones' helper program died: signal 11 (Segmentation fault)");
    assert_int_equal(read_mic(mic, &data, &err), OMNID_DEVICE); /* and stays dead */
    close_mic(&mic);
}

static void test_does_not_open(void **state)
{
    (void)state;
    const struct {
        const char *how;
        omnid_status status;
        const char *says;
    } cases[] = {
        {"exit", OMNID_DEVICE, "mic:fake: the microphones' helper program left with status 3 and without a word"},
        {"torn", OMNID_DEVICE, "left with status 0"},
        {"busy", OMNID_BUSY, "mic:fake: 'fake': in use by another program"},
        {"noise", OMNID_FORMAT, "speaks another language"},
        {"size", OMNID_FORMAT, "speaks another language"},
        {"kind", OMNID_FORMAT, "speaks another language"},
        {"status", OMNID_FORMAT, "an error without a status"},
        {"rate", OMNID_ARGUMENT, "rate is nan Hz"},
        {"list", OMNID_FORMAT, "does not say what it opened"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *mic = &mic;
        omnid_error err = {0};
        pretend(cases[i].how);
        omnid_status status = open_mic(&mic, "mic:fake", &err);
        assert_null(mic);
        if (status != cases[i].status || !strstr(err.text, cases[i].says))
            fail_msg("%s: %s: %s", cases[i].how, omnid_status_name(status), err.text);
    }
    void *mic;
    omnid_error err;
    source_data data = {0};
    pretend("unasked");
    assert_int_equal(open_mic(&mic, "mic:fake", &err), OMNID_OK);
    assert_int_equal(read_mic(mic, &data, &err), OMNID_FORMAT);
    close_mic(&mic);
}

static void test_no_helper(void **state)
{
    (void)state;
    void *mic;
    omnid_error err;
    setenv("OMNID_MIC_HELPER", "/nowhere/omnid-mic", 1);
    assert_int_equal(open_mic(&mic, "mic:fake", &err), OMNID_NOT_FOUND);
    assert_non_null(strstr(err.text, "'/nowhere/omnid-mic' is not there"));
    setenv("OMNID_MIC_HELPER", OMNID_SOURCE_DIR "/README.md", 1);
    assert_int_equal(open_mic(&mic, "mic:fake", &err), OMNID_NOT_FOUND);
}

/* More complaints than their pipe holds, before it opens. */
static void test_chatter(void **state)
{
    (void)state;
    void *mic;
    omnid_error err;
    source_data data = {0};
    pretend("chatter");
    if (open_mic(&mic, "mic:fake", &err) != OMNID_OK)
        fail_msg("%s", err.text);
    assert_int_equal(read_mic(mic, &data, &err), OMNID_OK);
    close_mic(&mic);
}

static void test_inherits_nothing(void **state)
{
    (void)state;
    void *mic;
    omnid_error err;
    sigset_t usr2, before;
    int fd = open("/dev/null", O_RDONLY), other = dup(fd); /* without close-on-exec */
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, &before);
    signal(SIGUSR1, SIG_IGN);
    pretend("heritage");
    assert_int_equal(open_mic(&mic, "mic:a b, c,rate=8000,channel=right", &err), OMNID_DEVICE);
    assert_string_equal(
        err.text, "mic:a b, c,rate=8000,channel=right: fds 0, blocked 0, ignored 0, parent 1: record 8000 2 50 a b, c");
    signal(SIGUSR1, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(fd);
    close(other);
}

static void test_list(void **state)
{
    (void)state;
    capture_device *list;
    int n;
    omnid_error err;
    pretend("list");
    assert_int_equal(mic_devices_list(&list, &n, &err), OMNID_OK);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].uri, "mic:one");
    assert_true(list[0].usable);
    assert_int_equal(strlen(list[0].why), sizeof list[0].why - 1);
    assert_string_equal(list[1].uri, "mic:two");
    assert_false(list[1].usable);
    free(list);
    pretend("half a list");
    assert_int_equal(mic_devices_list(&list, &n, &err), OMNID_FORMAT);
    assert_null(list);
    assert_int_equal(n, 0);
    pretend("exit");
    assert_int_equal(mic_devices_list(&list, &n, &err), OMNID_DEVICE);
}

/* The real helper on this machine, whatever it has. */
static void test_real_list(void **state)
{
    (void)state;
    capture_device *list;
    int n;
    omnid_error err;
    setenv("OMNID_MIC_HELPER", OMNID_BINARY_DIR "/omnid-mic", 1);
    if (mic_devices_list(&list, &n, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < n; i++) {
        assert_false(list[i].video);
        assert_memory_equal(list[i].uri, "mic:", 4);
        assert_true(list[i].usable ? *list[i].choice : *list[i].why);
        print_message("%s: %s%s\n", list[i].uri, list[i].choice, list[i].why);
    }
    free(list);
    void *mic;
    assert_int_equal(open_mic(&mic, "mic:no such microphone", &err), OMNID_NOT_FOUND);
    assert_memory_equal(err.text, "mic:no such microphone: no microphone 'no such microphone'", 58);
}

/* Waits until the capture's status is as wanted. */
static capture_status await(omnid_capture *c, capture_state audio, int64_t n_segments)
{
    capture_status s = omnid_capture_get_status(c);
    for (int64_t until_us = omnid_clock_us() + PATIENCE_MS * 1000LL; omnid_clock_us() < until_us; usleep(20000)) {
        s = omnid_capture_get_status(c);
        if (s.audio.state == audio && s.n_segments >= n_segments)
            return s;
    }
    fail_msg("sound is %s, want %s; %d segments, want %d", capture_state_name(s.audio.state), capture_state_name(audio),
             (int)s.n_segments, (int)n_segments);
    return s;
}

/* A microphone that hangs while it opens, or that goes silent without a word: the picture goes on, and at its pace. */
static void test_picture_does_not_wait(void **state)
{
    (void)state;
    const char *const hows[] = {"hang", "silent"};
    for (int i = 0; i < 2; i++) {
        keeper k;
        pretend(hows[i]);
        omnid_capture *c = keeper_start(&k, "test:ball,size=160x120,fps=10", "mic:fake");
        capture_status s = await(c, i ? CAPTURE_LOST : CAPTURE_STARTING, i ? 0 : 2);
        assert_int_equal(s.video.state, CAPTURE_RUNNING);
        int64_t n_before = s.n_segments, asked_us = omnid_clock_us();
        for (int64_t until_us = asked_us + PATIENCE_MS * 1000LL; s.n_segments < n_before + 2; usleep(20000)) {
            assert_true(omnid_clock_us() < until_us);
            s = omnid_capture_get_status(c);
        }
        int64_t begun_us = omnid_clock_us();
        omnid_capture_stop(&c);
        print_message("%s: stopped within %d ms\n", hows[i], (int)((omnid_clock_us() - begun_us) / 1000));
        for (int n = 0; n < k.n; n++) {
            assert_int_equal(k.kept[n]->seg.index, k.kept[0]->seg.index + n); /* none is left out */
            assert_true(k.kept[n]->seg.n_frames > 0);
        }
        keeper_free(&k);
    }
}

/* Lost and found again, with its level; the meter is that of every source. */
static void test_comes_back(void **state)
{
    (void)state;
    keeper k;
    unlink("mic-free");
    pretend("busy until free"); /* environment variables must not change while threads run */
    omnid_capture *c = keeper_start(&k, NULL, "mic:fake");
    capture_status s = await(c, CAPTURE_LOST, 0);
    assert_string_equal(s.audio.message, "mic:fake: 'fake': in use by another program");
    fclose(fopen("mic-free", "w"));
    s = await(c, CAPTURE_RUNNING, 2);
    assert_true(s.audio.n_restarts >= 1);
    if (fabs(s.audio.level_dbfs + 9.03) > 1.5) /* a sine of 0.5 */
        fail_msg("%.1f dBFS", s.audio.level_dbfs);
    omnid_capture_stop(&c);
    unlink("mic-free");
    assert_true(k.n >= 2);
    assert_int_equal(k.kept[1]->seg.n_samples, CAPTURE_SAMPLES + CAPTURE_AWAITED);
    keeper_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_speaks_well),
        cmocka_unit_test(test_goes_silent),
        cmocka_unit_test(test_dies),
        cmocka_unit_test(test_does_not_open),
        cmocka_unit_test(test_no_helper),
        cmocka_unit_test(test_chatter),
        cmocka_unit_test(test_inherits_nothing),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_real_list),
        cmocka_unit_test(test_picture_does_not_wait),
        cmocka_unit_test(test_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
