/* test: and file: end to end, with clips that GStreamer makes here: numbers of segments, frames and samples to one, the
 * right colours and tones, and a sentence for everything that cannot be played. */
#include "capture/source.h"
#include "clips.h"

#include <gst/gst.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

enum { FULL = CAPTURE_SAMPLES + CAPTURE_AWAITED };

/* 5.3 s of picture at 30 fps and of 440 Hz: 159 frames, 84,800 samples; lossless sound, so that samples can be compared. */
#define CLIP_AV                                                                                                        \
    "videotestsrc num-buffers=159 ! video/x-raw,width=160,height=120,framerate=30/1 ! vp8enc deadline=1 ! mux. "       \
    "audiotestsrc num-buffers=530 samplesperbuffer=160 freq=440 ! audio/x-raw,format=S16LE,rate=16000,channels=1 ! "   \
    "flacenc ! mux. matroskamux name=mux"
#define CLIP_VIDEO                                                                                                     \
    "videotestsrc num-buffers=121 ! video/x-raw,width=160,height=120,framerate=30/1 ! vp8enc deadline=1 ! webmmux"
#define CLIP_AUDIO                                                                                                     \
    "audiotestsrc num-buffers=45 samplesperbuffer=1600 freq=440 ! audio/x-raw,format=S16LE,rate=16000,channels=1 ! "   \
    "wavenc"

static char uri[600];

static const char *uri_of(const char *path)
{
    snprintf(uri, sizeof uri, "file:%s", path);
    return uri;
}

/* Plays to the end and stops. The status before the stop. */
static capture_status play(keeper *k, const capture_params *p)
{
    omnid_capture *c;
    omnid_error err;
    if (omnid_capture_start(&c, p, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    assert_int_equal(omnid_capture_wait_end(c, 60000), OMNID_OK);
    capture_status status = omnid_capture_get_status(c);
    omnid_capture_stop(&c);
    assert_null(c);
    assert_int_equal(status.n_segments, k->n);
    return status;
}

static capture_status play_fast(keeper *k, const char *video, const char *audio)
{
    capture_params p = keeper_params(k, video, audio);
    p.fast = true;
    return play(k, &p);
}

typedef struct {
    int n_frames, n_samples;
} want_segment;

static void check_segments(const keeper *k, const want_segment *want, int n)
{
    assert_int_equal(k->n, n);
    for (int i = 0; i < n; i++) {
        const capture_segment *seg = &k->kept[i]->seg;
        assert_int_equal(seg->index, i);
        assert_int_equal(seg->n_frames, want[i].n_frames);
        assert_int_equal(seg->n_samples, want[i].n_samples);
        assert_int_equal(seg->n_samples_missing, 0);
        assert_int_equal(seg->last, i == n - 1);
    }
}

/* audiotestsrc's sine at 16 kHz: sample i is 0.8 sin(2 pi 440 (i + 1) / 16000). */
static void check_tone(const keeper *k, int n)
{
    for (int s = 0; s < n; s++)
        for (int i = 0; i < k->kept[s]->seg.n_samples; i++) {
            double want = 0.8 * sin(2.0 * M_PI * 440.0 * (s * CAPTURE_SAMPLES + i + 1) / CAPTURE_RATE);
            if (fabs(k->kept[s]->samples[i] - want) > 2e-4)
                fail_msg("segment %d, sample %d is %g, want %g", s, i, (double)k->kept[s]->samples[i], want);
        }
}

/* Frequency by counting rising zero crossings of a whole segment. */
static double frequency(const kept_segment *s)
{
    int rises = 0;
    for (int i = 1; i < CAPTURE_SAMPLES; i++)
        rises += s->samples[i - 1] < 0.0f && s->samples[i] >= 0.0f;
    return rises / 2.0;
}

static void check_pixel(const kept_segment *s, double x, double y, int r, int g, int b)
{
    const capture_frame *f = &s->seg.frames[0];
    const uint8_t *p = s->frame + (int)(y * f->height) * f->stride + (int)(x * f->width) * 3;
    const int want[3] = {r, g, b};
    for (int i = 0; i < 3; i++)
        if (abs(p[i] - want[i]) > 16)
            fail_msg("pixel at %.2f, %.2f is %d %d %d, want %d %d %d", x, y, p[0], p[1], p[2], r, g, b);
}

static const int bars[7][3] = {{255, 255, 255}, {255, 255, 0}, {0, 255, 255}, {0, 255, 0},
                               {255, 0, 255},   {255, 0, 0},   {0, 0, 255}};

/* The seven bars of smpte's upper part, from left to right. */
static void check_bars(const kept_segment *s)
{
    for (int i = 0; i < 7; i++)
        check_pixel(s, (i + 0.5) / 7, 0.3, bars[i][0], bars[i][1], bars[i][2]);
}

/* ---- file: ---- */

static void test_file_with_both(void **state)
{
    (void)state;
    keeper k;
    const char *path = clip_make("av.mkv", CLIP_AV);
    capture_status status = play_fast(&k, uri_of(path), "same");
    check_segments(&k, (want_segment[]){{4, FULL}, {4, FULL}, {3, 20800}}, 3);
    check_tone(&k, 3);
    check_bars(k.kept[0]);
    check_bars(k.kept[2]);
    assert_int_equal(k.kept[2]->seg.frames[0].width, 160);
    assert_int_equal(k.kept[2]->seg.frames[0].height, 120);
    assert_int_equal(k.kept[2]->seg.start_us, 4000000);
    assert_int_equal(k.video, CAPTURE_ENDED);
    assert_int_equal(k.audio, CAPTURE_ENDED);
    assert_int_equal(status.n_gaps_video + status.n_gaps_audio + status.video.n_dropped + status.audio.n_dropped, 0);
    keeper_free(&k);
    status = play_fast(&k, uri, NULL); /* only its picture */
    check_segments(&k, (want_segment[]){{4, 0}, {4, 0}, {3, 0}}, 3);
    assert_int_equal(status.audio.state, CAPTURE_OFF);
    keeper_free(&k);
    play_fast(&k, NULL, uri); /* only its sound */
    check_segments(&k, (want_segment[]){{0, FULL}, {0, FULL}, {0, 20800}}, 3);
    check_tone(&k, 3);
    keeper_free(&k);
    unlink(path);
}

static void test_file_without_sound(void **state)
{
    (void)state;
    keeper k;
    const char *path = clip_make("v.webm", CLIP_VIDEO);
    capture_status status = play_fast(&k, uri_of(path), "same");
    check_segments(&k, (want_segment[]){{4, 0}, {4, 0}, {1, 0}}, 3); /* 121 frames: 4.033 s */
    assert_int_equal(status.audio.state, CAPTURE_OFF);
    assert_int_equal(status.video.width, 160);
    keeper_free(&k);
    unlink(path);
}

static void test_file_without_picture(void **state)
{
    (void)state;
    keeper k;
    const char *path = clip_make("a.wav", CLIP_AUDIO);
    capture_status status = play_fast(&k, uri_of(path), "same");
    check_segments(&k, (want_segment[]){{0, FULL}, {0, FULL}, {0, 8000}}, 3);
    check_tone(&k, 3);
    assert_int_equal(status.video.state, CAPTURE_OFF);
    keeper_free(&k);
    unlink(path);
}

static void test_picture_and_sound_of_two_files(void **state)
{
    (void)state;
    keeper k;
    char video[600];
    snprintf(video, sizeof video, "%s", uri_of(clip_make("two-v.webm", CLIP_VIDEO)));
    const char *path = clip_make("two-a.wav", CLIP_AUDIO);
    play_fast(&k, video, uri_of(path));
    check_segments(&k, (want_segment[]){{4, FULL}, {4, FULL}, {1, 8000}}, 3);
    check_tone(&k, 3);
    check_bars(k.kept[1]);
    keeper_free(&k);
    unlink(path);
    unlink(video + strlen("file:"));
}

/* Another rate, two channels, a lossy codec: 3.5 s of 1000 Hz, to within what Vorbis pads. */
static void test_sound_is_resampled_to_16_khz_mono(void **state)
{
    (void)state;
    keeper k;
    const char *path = clip_make("a.ogg", "audiotestsrc num-buffers=350 samplesperbuffer=441 freq=1000 ! "
                                          "audio/x-raw,rate=44100,channels=2 ! vorbisenc quality=0.6 ! oggmux");
    play_fast(&k, uri_of(path), "same");
    assert_int_equal(k.n, 2);
    assert_in_range(k.kept[1]->seg.n_samples, 24000 - 2, 24000 + 1024);
    assert_in_range(frequency(k.kept[0]) * 2, 1999, 2001);
    double peak = 0.0;
    for (int i = 1000; i < CAPTURE_SAMPLES; i++)
        peak = fmax(peak, fabs(k.kept[0]->samples[i]));
    assert_in_range(peak * 100, 72, 88); /* 0.8: mono is the mean of both channels */
    keeper_free(&k);
    unlink(path);
}

/* Writes "turn by 90 degrees" into the track header of a QuickTime file, as telephones do. */
static void turn_track(const char *path)
{
    static const uint8_t matrix[20] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}; /* a b u c d */
    static uint8_t bytes[1 << 20];
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    const uint8_t *header = memmem(bytes, n, "tkhd", 4);
    assert_non_null(header);
    assert_int_equal(fseek(f, (long)(header - bytes) + 4 + 40, SEEK_SET), 0);
    assert_int_equal(fwrite(matrix, 1, sizeof matrix, f), sizeof matrix);
    fclose(f);
}

static void test_rotation_and_pixel_aspect(void **state)
{
    (void)state;
    keeper k;
    const char *path = clip_make("turned.mov", "videotestsrc num-buffers=15 ! video/x-raw,width=160,height=120,"
                                               "framerate=30/1,format=RGB ! jpegenc quality=95 ! qtmux");
    turn_track(path);
    play_fast(&k, uri_of(path), "same");
    assert_int_equal(k.n, 1);
    assert_int_equal(k.kept[0]->seg.frames[0].width, 120);
    assert_int_equal(k.kept[0]->seg.frames[0].height, 160);
    for (int i = 0; i < 7; i++) /* left becomes top, top becomes right */
        check_pixel(k.kept[0], 0.7, (i + 0.5) / 7, bars[i][0], bars[i][1], bars[i][2]);
    keeper_free(&k);
    unlink(path);
    path = clip_make("wide.webm", "videotestsrc num-buffers=15 ! video/x-raw,width=160,height=120,framerate=30/1,"
                                  "pixel-aspect-ratio=2/1 ! vp8enc deadline=1 ! webmmux");
    play_fast(&k, uri_of(path), "same");
    assert_int_equal(k.kept[0]->seg.frames[0].width, 320);
    assert_int_equal(k.kept[0]->seg.frames[0].height, 120);
    check_bars(k.kept[0]);
    keeper_free(&k);
    unlink(path);
}

/* Paced by the clock: the same segments, in the time that the clip lasts, and an open segment on the way. */
static void test_file_in_real_time(void **state)
{
    (void)state;
    keeper k;
    const char *path = clip_make("paced.mkv", CLIP_AV);
    capture_params p = keeper_params(&k, uri_of(path), "same");
    omnid_capture *c;
    int64_t begun_us = omnid_clock_us(), begun_wall_us = omnid_wall_us();
    assert_int_equal(omnid_capture_start(&c, &p, NULL), OMNID_OK);
    bool seen = false; /* an open segment 1 that grows */
    for (int tries = 0; tries < 600 && !seen; tries++) {
        capture_segment *open;
        assert_int_equal(omnid_capture_wait_end(c, 20), OMNID_DEADLINE);
        assert_int_equal(omnid_capture_open_segment(c, &open, NULL), OMNID_OK);
        seen = open && open->index == 1 && open->n_frames >= 2 && open->n_samples >= 8000;
        capture_segment_free(&open);
    }
    assert_true(seen);
    assert_int_equal(omnid_capture_wait_end(c, 60000), OMNID_OK);
    int64_t took_us = omnid_clock_us() - begun_us;
    omnid_capture_stop(&c);
    assert_in_range(took_us, 5200000, 9500000);
    check_segments(&k, (want_segment[]){{4, FULL}, {4, FULL}, {3, 20800}}, 3);
    check_tone(&k, 3);
    assert_in_range(k.kept[0]->seg.start_us - begun_us, 0, 2000000);
    assert_int_equal(k.kept[1]->seg.start_us - k.kept[0]->seg.start_us, 2000000);
    assert_in_range(k.kept[0]->seg.wall_us - begun_wall_us - (k.kept[0]->seg.start_us - begun_us) + 20000, 0, 40000);
    keeper_free(&k);
    unlink(path);
}

/* Played in a loop, time goes on: no gap, no end, and the sound of each turn right behind the one before. */
static void test_loop(void **state)
{
    (void)state;
    for (int fast = 1; fast >= 0; fast--) {
        keeper k;
        const char *path = clip_make(
            "loop.mkv", "videotestsrc num-buffers=33 ! video/x-raw,width=160,height=120,framerate=30/1 ! "
                        "vp8enc deadline=1 ! mux. audiotestsrc num-buffers=110 samplesperbuffer=160 freq=440 ! "
                        "audio/x-raw,format=S16LE,rate=16000,channels=1 ! flacenc ! mux. matroskamux name=mux");
        capture_params p = keeper_params(&k, uri_of(path), "same");
        p.loop = true;
        p.fast = fast;
        omnid_capture *c;
        assert_int_equal(omnid_capture_start(&c, &p, NULL), OMNID_OK);
        assert_int_equal(omnid_capture_wait_end(c, fast ? 1500 : 6800), OMNID_DEADLINE); /* 1.1 s a turn, and no end */
        omnid_capture_stop(&c);
        assert_true(k.n >= 3);
        for (int s = 0; s < 3; s++) {
            assert_int_equal(k.kept[s]->seg.index, s);
            assert_int_equal(k.kept[s]->seg.n_frames, 4);
            assert_int_equal(k.kept[s]->seg.n_samples, FULL);
            assert_in_range(k.kept[s]->seg.n_samples_missing, 0, fast ? 0 : 64);
            assert_false(k.kept[s]->seg.last);
            for (int i = 0; i < FULL && fast; i++) { /* 1.1 s is 484 periods: the tone goes on */
                double want = 0.8 * sin(2.0 * M_PI * 440.0 * (s * CAPTURE_SAMPLES + i + 1) / CAPTURE_RATE);
                if (fabs(k.kept[s]->samples[i] - want) > 2e-4)
                    fail_msg("segment %d, sample %d is %g, want %g", s, i, (double)k.kept[s]->samples[i], want);
            }
        }
        keeper_free(&k);
        unlink(path);
    }
}

/* As fast as it is read means as fast as the callback: nothing is lost while it blocks. */
static void test_callback_paces(void **state)
{
    (void)state;
    keeper k;
    const char *path = clip_make("slow.mkv", CLIP_AV);
    capture_params p = keeper_params(&k, uri_of(path), "same");
    p.fast = true;
    k.sleep_ms = 300;
    int64_t begun_us = omnid_clock_us();
    capture_status status = play(&k, &p);
    assert_true(omnid_clock_us() - begun_us >= 900000);
    check_segments(&k, (want_segment[]){{4, FULL}, {4, FULL}, {3, 20800}}, 3);
    check_tone(&k, 3);
    assert_int_equal(status.video.n_dropped + status.audio.n_dropped, 0);
    keeper_free(&k);
    unlink(path);
    /* 40 s, much more than the segmenter can hold */
    p = keeper_params(&k, "test:ball,size=64x48,fps=10,duration=40", "same");
    p.fast = true;
    k.sleep_ms = 20;
    status = play(&k, &p);
    assert_int_equal(k.n, 20);
    for (int i = 0; i < k.n; i++) {
        assert_int_equal(k.kept[i]->seg.index, i);
        assert_int_equal(k.kept[i]->seg.n_frames, 4);
        assert_int_equal(k.kept[i]->seg.n_samples, i < 19 ? FULL : CAPTURE_SAMPLES);
        assert_int_equal(k.kept[i]->seg.n_samples_missing, 0);
    }
    assert_int_equal(status.video.n_dropped + status.audio.n_dropped, 0);
    keeper_free(&k);
}

/* 159 frames come out of the source and not one of them is converted before the segmenter chooses it. */
static void test_source_converts_nothing(void **state)
{
    (void)state;
    const char *path = clip_make("raw.mkv", CLIP_AV);
    const source_params p = {.uri = uri_of(path), .want_video = true, .want_audio = true, .fast = true};
    source_info info;
    void *self;
    omnid_error err;
    int n_pictures = 0, n_samples = 0;
    int64_t newest_us[2] = {-1, -1};
    assert_int_equal(source_file.open(&self, &p, &info, &err), OMNID_OK);
    assert_true(info.has_video && info.has_audio && info.clip);
    assert_int_equal(info.start_us, 0);
    for (omnid_status status; (status = source_file.read(self, &(source_data){0}, 0, &err)) == OMNID_AGAIN;)
        continue; /* the first thing that came is lost; it is the first of either */
    for (;;) {
        source_data d;
        omnid_status status = source_file.read(self, &d, 100, &err);
        if (status == OMNID_END)
            break;
        assert_true(status == OMNID_OK || status == OMNID_AGAIN);
        if (status == OMNID_OK && d.kind == SOURCE_PICTURE) {
            assert_null(d.pic->rgb);
            assert_true(d.t_us > newest_us[0]);
            newest_us[0] = d.t_us;
            n_pictures++;
            picture_unref(&d.pic);
        } else if (status == OMNID_OK && d.kind == SOURCE_SOUND) {
            assert_true(d.t_us > newest_us[1]);
            newest_us[1] = d.t_us;
            n_samples += d.n_samples;
        }
    }
    assert_in_range(n_pictures, 158, 159);
    assert_in_range(n_samples, 84800 - 8192, 84800);
    source_file.close(&self);
    assert_null(self);
    unlink(path);
}

/* ---- test: ---- */

/* Plays a live test picture until two segments are closed. */
static capture_status play_live(keeper *k, const char *name)
{
    capture_params p = keeper_params(k, name, "same");
    omnid_capture *c;
    assert_int_equal(omnid_capture_start(&c, &p, NULL), OMNID_OK);
    capture_status status = omnid_capture_get_status(c);
    for (int tries = 0; tries < 200 && status.n_segments < 2; tries++) {
        assert_int_equal(omnid_capture_wait_end(c, 100), OMNID_DEADLINE);
        status = omnid_capture_get_status(c);
    }
    assert_string_equal(status.video.uri, name);
    omnid_capture_stop(&c);
    assert_true(k->n >= 2);
    return status;
}

/* A live source's sound may begin later than its picture; afterwards nothing is missing. */
static bool is_whole(const keeper *k)
{
    for (int i = 0; i < 2; i++) {
        const capture_segment *s = &k->kept[i]->seg;
        print_message("segment %d: %d frames, %d samples, %d missing\n", i, s->n_frames, s->n_samples,
                      s->n_samples_missing);
        if (s->n_frames != 4 || s->n_samples != FULL || s->n_samples_missing > (i ? 0 : 16000))
            return false;
    }
    return true;
}

/* A machine that is busy for 300 ms loses live data, rightly; so there are three turns to be whole. */
static void test_test_source_live(void **state)
{
    (void)state;
    keeper k;
    capture_status status = play_live(&k, "test:smpte,size=320x240,freq=500");
    for (int turn = 1; turn < 3 && !is_whole(&k); turn++) {
        keeper_free(&k);
        status = play_live(&k, "test:smpte,size=320x240,freq=500");
    }
    assert_true(is_whole(&k));
    for (int s = 0; s < 2; s++) {
        assert_int_equal(k.kept[s]->seg.index, s);
        assert_false(k.kept[s]->seg.last);
        check_bars(k.kept[s]);
    }
    assert_in_range(frequency(k.kept[1]) * 2, 998, 1002);
    assert_int_equal(status.video.state, CAPTURE_RUNNING);
    assert_int_equal(status.audio.state, CAPTURE_RUNNING);
    assert_int_equal(status.video.width, 320);
    assert_int_equal(status.video.height, 240);
    assert_in_range(status.video.fps * 10, 240, 310);
    assert_in_range(-status.audio.level_dbfs * 100, 890, 920); /* a sine of 0.5: -9.03 */
    keeper_free(&k);
}

static void test_test_source_options(void **state)
{
    (void)state;
    keeper k;
    capture_params p = keeper_params(&k, "test:red,size=64x48,fps=5,duration=2.4,wave=silence", "same");
    p.fast = true;
    capture_status status = play(&k, &p);
    check_segments(&k, (want_segment[]){{4, FULL}, {1, 6400}}, 2); /* 2.4 s */
    check_pixel(k.kept[0], 0.5, 0.5, 255, 0, 0);
    assert_true(status.audio.level_dbfs == -120.0);
    keeper_free(&k);
}

/* ---- what cannot be played ---- */

static void expect(const char *video, const char *audio, omnid_status want, const char *part, const char *part2)
{
    capture_params p = capture_params_default();
    p.video = video;
    p.audio = audio;
    p.fast = true;
    omnid_capture *c;
    omnid_error err = {0};
    omnid_status status = omnid_capture_start(&c, &p, &err);
    print_message("%s\n", err.text);
    assert_null(c);
    assert_int_equal(status, want);
    assert_int_equal(err.status, want);
    if (!strstr(err.text, part) || !strstr(err.text, part2))
        fail_msg("want a sentence with '%s' and '%s', found '%s'", part, part2, err.text);
}

static void write_bytes(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void test_sentences(void **state)
{
    (void)state;
    expect(NULL, NULL, OMNID_ARGUMENT, "needs a source", "");
    expect(NULL, "same", OMNID_ARGUMENT, "needs a source", "");
    expect("v4l9:/dev/video0", NULL, OMNID_UNSUPPORTED, "v4l9:/dev/video0", "known are test:, file:");
    expect("nonsense", NULL, OMNID_UNSUPPORTED, "nonsense", "test:");
    expect("file:", NULL, OMNID_ARGUMENT, "file:", "path");
    expect("file:/no/such/clip.mkv", "same", OMNID_NOT_FOUND, "/no/such/clip.mkv", "No such file");
    expect("file:/", "same", OMNID_FORMAT, "file:/", "folder");
    expect("test:nosuchpattern", "same", OMNID_ARGUMENT, "nosuchpattern", "ball");
    expect("test:,wave=nosuchwave", "same", OMNID_ARGUMENT, "nosuchwave", "sine");
    expect("test:ball,size=8x8", NULL, OMNID_ARGUMENT, "size", "8x8");
    expect("test:ball,fps=0", NULL, OMNID_ARGUMENT, "fps", "1..120");
    expect("test:ball,colour=red", NULL, OMNID_ARGUMENT, "colour", "known are");
    char path[600];
    snprintf(path, sizeof path, "file:%s/empty-%d.mkv", CLIPS_DIR, (int)getpid());
    write_bytes(path + 5, "", 0);
    expect(path, "same", OMNID_FORMAT, path, "empty");
    char noise[5000];
    srand(1);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(rand() >> 7);
    write_bytes(path + 5, noise, sizeof noise);
    expect(path, "same", OMNID_FORMAT, path, "");
    write_bytes(path + 5, "\x1a\x45\xdf\xa3\x01\x00", 6); /* a Matroska file that stops after its first bytes */
    expect(path, "same", OMNID_FORMAT, path, "");
    unlink(path + 5);
    const char *clip = clip_make("says.wav", CLIP_AUDIO);
    expect(uri_of(clip), NULL, OMNID_FORMAT, uri, "no picture");
    unlink(clip);
    clip = clip_make("says.webm", CLIP_VIDEO);
    expect(NULL, uri_of(clip), OMNID_FORMAT, uri, "no sound");
    unlink(clip);
}

/* A clip whose end is torn off plays up to there. */
static void test_torn_file(void **state)
{
    (void)state;
    keeper k;
    const char *path = clip_make("torn.mkv", CLIP_AV);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size * 2 / 3), 0);
    play_fast(&k, uri_of(path), "same");
    assert_in_range(k.n, 1, 3);
    assert_int_equal(k.kept[0]->seg.n_frames, 4);
    assert_true(k.kept[k.n - 1]->seg.last);
    assert_int_equal(k.video, CAPTURE_ENDED);
    keeper_free(&k);
    unlink(path);
}

static void test_missing_decoder(void **state)
{
    (void)state;
    const char *names[] = {"vp8dec", "avdec_vp8", "v4l2slvp8dec", "vavp8dec", "vaapivp8dec", "nvvp8dec"};
    GstPluginFeature *features[sizeof names / sizeof *names];
    const char *path = clip_make("nodec.webm", CLIP_VIDEO);
    GstRegistry *registry = gst_registry_get();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        features[i] = gst_registry_lookup_feature(registry, names[i]);
        if (features[i])
            gst_registry_remove_feature(registry, features[i]);
    }
    expect(uri_of(path), "same", OMNID_UNSUPPORTED, uri, "VP8");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (features[i]) {
            gst_registry_add_feature(registry, features[i]);
            gst_object_unref(features[i]);
        }
    unlink(path);
}

static void test_check_and_schemes(void **state)
{
    (void)state;
    omnid_error err;
    assert_int_equal(omnid_capture_check("test:ball", &err), OMNID_OK);
    assert_int_equal(omnid_capture_check("test:boll", &err), OMNID_ARGUMENT);
    assert_int_equal(omnid_capture_check("file:/nowhere", &err), OMNID_NOT_FOUND);
    int n;
    const capture_scheme *s = omnid_capture_schemes(&n);
    assert_string_equal(s[0].scheme, "test");
    assert_string_equal(s[1].scheme, "file");
    assert_null(s[n].scheme);
    for (int i = 0; i < n; i++) {
        /* nothing stands behind the scheme: known, and whatever its check says, it says it with the name */
        char bare[40];
        snprintf(bare, sizeof bare, "%s:", s[i].scheme);
        omnid_status status = omnid_capture_check(bare, &err);
        assert_true(status == OMNID_OK || strstr(err.text, s[i].scheme));
        assert_true(status == OMNID_OK || !strstr(err.text, "no such kind"));
        assert_non_null(strstr(s[i].description, s[i].scheme));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_with_both),
        cmocka_unit_test(test_file_without_sound),
        cmocka_unit_test(test_file_without_picture),
        cmocka_unit_test(test_picture_and_sound_of_two_files),
        cmocka_unit_test(test_sound_is_resampled_to_16_khz_mono),
        cmocka_unit_test(test_rotation_and_pixel_aspect),
        cmocka_unit_test(test_file_in_real_time),
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_callback_paces),
        cmocka_unit_test(test_source_converts_nothing),
        cmocka_unit_test(test_test_source_live),
        cmocka_unit_test(test_test_source_options),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_torn_file),
        cmocka_unit_test(test_missing_decoder),
        cmocka_unit_test(test_check_and_schemes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
