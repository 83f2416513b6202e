/* test_run_files.c: omnid-run's readers of frames, sound and turns, and how a clip is cut into segments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/run/run.h"

static char path[] = "/tmp/omnid-test-XXXXXX";

static void put(const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A .npy file of n_data bytes of data, byte i = i mod 251. Returns its size. */
static size_t make_npy(char *out, int version, const char *header, size_t n_data)
{
    size_t n = strlen(header), start = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (char)version;
    memset(out + 7, 0, 5);
    out[8] = (char)(n & 255);
    out[9] = (char)(n >> 8);
    memcpy(out + start, header, n);
    for (size_t i = 0; i < n_data; i++)
        out[start + n + i] = (char)(i % 251);
    return start + n + n_data;
}

#define GOOD_HEADER "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 28, 56, 3), }    \n"
enum { FRAME = 28 * 56 * 3, DATA = 5 * FRAME };
static char buffer[DATA + 4096];

static void test_npy_versions(void **state)
{
    (void)state;
    for (int version = 1; version <= 3; version++) {
        npy_frames f;
        put(buffer, make_npy(buffer, version, GOOD_HEADER, DATA));
        assert_int_equal(npy_read(&f, path, NULL), OMNID_OK);
        assert_int_equal(f.n, 5);
        assert_int_equal(f.height, 28);
        assert_int_equal(f.width, 56);
        for (size_t i = 0; i < DATA; i++)
            assert_int_equal(f.data[i], i % 251);
        npy_free(&f);
    }
}

static void test_npy_bad(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        omnid_status status;
    } bad[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 28, 56, 3), }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (5, 28, 56, 3), }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 28, 56), }", OMNID_SHAPE},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (), }", OMNID_SHAPE},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 28, 56, 4), }", OMNID_SHAPE},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 28, 57, 3), }", OMNID_SHAPE},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 0, 56, 3), }", OMNID_SHAPE},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 28, 56, 3), }", OMNID_SHAPE},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 28, 56, 3), }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4, 28, 56, 3), }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-5, 28, 56, 3), }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775807, 28, 56, 3), }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (92233720368547758070, 28, 56, 3), }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1), }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, }", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 28, 56, 3), 'more': 1}", OMNID_FORMAT},
        {"{'descr': '|u1', 'fortran_order': Maybe, 'shape': (5, 28, 56, 3), }", OMNID_FORMAT},
        {"{'descr': '|u1111111111111111111111', 'fortran_order': False, 'shape': (5, 28, 56, 3), }", OMNID_FORMAT},
        {"['descr']", OMNID_FORMAT},
        {"", OMNID_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        npy_frames f;
        omnid_error err = {0};
        put(buffer, make_npy(buffer, 1, bad[i].header, DATA));
        if (npy_read(&f, path, &err) != bad[i].status)
            fail_msg("%s: want %s, found %s (%s)", bad[i].header, omnid_status_name(bad[i].status),
                     omnid_status_name(err.status), err.text);
        assert_null(f.file);
        assert_non_null(strstr(err.text, path));
    }
}

/* Every place a file can be torn at, and every byte of the header another one. */
static void test_npy_torn(void **state)
{
    (void)state;
    size_t n =
        make_npy(buffer, 2, "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 28, 28, 3), }\n", 28 * 28 * 3);
    size_t header = n - 28 * 28 * 3;
    for (size_t cut = 0; cut < n; cut += cut < header ? 1 : 97) {
        npy_frames f;
        put(buffer, cut);
        assert_int_not_equal(npy_read(&f, path, NULL), OMNID_OK);
    }
    for (size_t i = 0; i < header; i++) {
        npy_frames f;
        char kept = buffer[i];
        buffer[i] = (char)(kept ^ 0x55);
        put(buffer, n);
        omnid_status st = npy_read(&f, path, NULL);
        if (st == OMNID_OK)
            npy_free(&f);
        buffer[i] = kept;
        if (i < 7 || (i >= 12 && i < 20)) /* magic and major version; the dictionary's first key */
            assert_int_not_equal(st, OMNID_OK);
    }
}

/* A WAV file with n samples 0, 1, 2, …; extra: an unknown chunk of odd size before the data. */
static size_t make_wav(char *out, int channels, int rate, int bits, int n, bool extra)
{
    uint8_t *p = (uint8_t *)out;
    uint32_t fmt[4] = {(uint32_t)(1 | channels << 16), (uint32_t)rate, (uint32_t)(rate * channels * bits / 8),
                       (uint32_t)(channels * bits / 8 | bits << 16)};
    uint32_t size = 16, data = (uint32_t)(2 * n), odd = 3;
    memcpy(p, "RIFF\0\0\0\0WAVEfmt ", 16);
    memcpy(p + 16, &size, 4);
    memcpy(p + 20, fmt, 16);
    p += 36;
    if (extra) {
        memcpy(p, "LIST", 4);
        memcpy(p + 4, &odd, 4);
        memcpy(p + 8, "abc", 4);
        p += 12;
    }
    memcpy(p, "data", 4);
    memcpy(p + 4, &data, 4);
    for (int i = 0; i < n; i++) {
        int16_t v = (int16_t)(i - 100);
        memcpy(p + 8 + 2 * i, &v, 2);
    }
    return (size_t)((char *)p - out) + 8 + data;
}

static void test_wav_good(void **state)
{
    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        wav_sound w;
        put(buffer, make_wav(buffer, 1, 16000, 16, 1000, extra));
        assert_int_equal(wav_read(&w, path, NULL), OMNID_OK);
        assert_int_equal(w.n, 1000);
        for (int i = 0; i < 1000; i++)
            assert_true(w.samples[i] == (float)(i - 100) / 32768.0f);
        wav_free(&w);
    }
}

static void test_wav_bad(void **state)
{
    (void)state;
    static const int bad[][3] = {{2, 16000, 16}, {1, 44100, 16}, {1, 16000, 8}, {1, 16000, 24}, {0, 16000, 16}};
    wav_sound w;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(buffer, make_wav(buffer, bad[i][0], bad[i][1], bad[i][2], 100, false));
        assert_int_equal(wav_read(&w, path, NULL), OMNID_UNSUPPORTED);
    }
    size_t n = make_wav(buffer, 1, 16000, 16, 100, true);
    for (size_t cut = 0; cut < n; cut++) {
        put(buffer, cut);
        assert_int_equal(wav_read(&w, path, NULL), OMNID_FORMAT);
        assert_null(w.samples);
    }
    memcpy(buffer + 12, "dat", 3); /* no fmt chunk */
    put(buffer, n);
    assert_int_equal(wav_read(&w, path, NULL), OMNID_FORMAT);
}

/* A streaming writer leaves 0xFFFFFFFF in the data chunk: the rest of the file is the sound. */
static void test_wav_unknown_size(void **state)
{
    (void)state;
    wav_sound w;
    size_t n = make_wav(buffer, 1, 16000, 16, 100, false);
    memset(buffer + 40, 0xFF, 4);
    put(buffer, n);
    assert_int_equal(wav_read(&w, path, NULL), OMNID_OK);
    assert_int_equal(w.n, 100);
    wav_free(&w);
}

static void expect_segment(clip *c, int64_t index, int n_frames, int n_samples)
{
    omnid_segment_params p;
    assert_int_equal(c->next(c, &p, NULL), OMNID_OK);
    assert_int_equal(p.index, index);
    assert_int_equal(p.n_frames, n_frames);
    assert_int_equal(p.n_samples, n_samples);
    assert_int_equal(p.samples != NULL, n_samples > 0);
    for (int i = 0; i < n_frames; i++) {
        assert_int_equal(p.frames[i].stride, 3 * 56);
        assert_int_equal(p.frames[i].rgb[0], (index * 4 + i) * FRAME % 251);
    }
}

/* 5 frames and 64,010 samples: the second segment awaits 10 samples, the third has nothing else. */
static void test_clip_cut(void **state)
{
    (void)state;
    static char sound[2 * 64010 + 64];
    char wav[] = "/tmp/omnid-test-XXXXXX";
    clip *c;
    omnid_segment_params p;
    int fd = mkstemp(wav);
    size_t n = make_wav(sound, 1, 16000, 16, 64010, false);
    assert_true(fd >= 0 && write(fd, sound, n) == (ssize_t)n && close(fd) == 0);
    put(buffer, make_npy(buffer, 1, GOOD_HEADER, DATA));
    assert_int_equal(clip_open_files(&c, path, wav, NULL), OMNID_OK);
    assert_true(c->has_video && c->has_audio);
    assert_int_equal(c->max_pixels, 28 * 56);
    assert_int_equal(c->n_segments, 3);
    expect_segment(c, 0, 4, 32040);
    expect_segment(c, 1, 1, 32010);
    expect_segment(c, 2, 0, 10);
    assert_int_equal(c->next(c, &p, NULL), OMNID_END);
    clip_close(&c);
    assert_int_equal(clip_open_files(&c, path, NULL, NULL), OMNID_OK);
    assert_true(c->has_video && !c->has_audio);
    assert_int_equal(c->n_segments, 2);
    clip_close(&c);
    unlink(wav);
}

static void test_turns(void **state)
{
    (void)state;
    static const char good[] = "[{\"question\": \"a\", \"answer\": \"b\"}, {\"question\": \"c\", \"answer\": \"d\"}]";
    static const char *const bad[] = {"", "{}", "[1]", "[{\"question\": \"a\"}]",
                                      "[{\"question\": \"a\", \"answer\": 1}]"};
    omnid_turn *turns;
    int n;
    put(good, strlen(good));
    assert_int_equal(turns_read(&turns, &n, path, NULL), OMNID_OK);
    assert_int_equal(n, 2);
    assert_string_equal(turns[1].question, "c");
    assert_string_equal(turns[1].answer, "d");
    turns_free(turns, n);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(bad[i], strlen(bad[i]));
        assert_int_equal(turns_read(&turns, &n, path, NULL), OMNID_FORMAT);
        assert_null(turns);
    }
}

static int set_up(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_versions), cmocka_unit_test(test_npy_bad), cmocka_unit_test(test_npy_torn),
        cmocka_unit_test(test_wav_good),     cmocka_unit_test(test_wav_bad), cmocka_unit_test(test_wav_unknown_size),
        cmocka_unit_test(test_clip_cut),     cmocka_unit_test(test_turns),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
