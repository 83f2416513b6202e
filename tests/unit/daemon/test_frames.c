/* test_frames.c: which JPEGs are kept, which one is found, and what they show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/frames.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

enum { WIDTH = 64, HEIGHT = 48, START = 1000000000 };

/* Segment `index` of four grey frames of levels 10 + 40 i, taken 20 ms after their half second began. */
typedef struct {
    capture_segment seg;
    uint8_t pixels[CAPTURE_FRAMES][WIDTH * HEIGHT * 3];
} grey_segment;

static void make_grey(grey_segment *g, int64_t index, int n_frames)
{
    memset(g, 0, sizeof *g);
    g->seg = (capture_segment){
        .index = index, .wall_us = START + index * 2000000, .start_us = 77 + index * 2000000, .n_frames = n_frames};
    for (int i = 0; i < n_frames; i++) {
        memset(g->pixels[i], 10 + 40 * i, sizeof g->pixels[i]);
        g->seg.frames[i] = (capture_frame){.rgb = g->pixels[i],
                                           .width = WIDTH,
                                           .height = HEIGHT,
                                           .stride = WIDTH * 3,
                                           .t_us = g->seg.start_us + i * 500000 + 20000};
    }
}

static frames *with_segments(size_t limit_bytes, int64_t from, int64_t to)
{
    frames *f = frames_create(limit_bytes, 85);
    grey_segment *g = malloc(sizeof *g);
    for (int64_t s = from; s < to; s++) {
        make_grey(g, s, CAPTURE_FRAMES);
        frames_add(f, &g->seg, true);
    }
    free(g);
    return f;
}

/* The size of a JPEG, and the level of its middle. */
static int grey_of(GBytes *jpeg, int *width, int *height)
{
    gsize n = 0;
    const uint8_t *data = g_bytes_get_data(jpeg, &n);
    int sampling, colours;
    tjhandle tj = tjInitDecompress();
    assert_int_equal(tjDecompressHeader3(tj, data, n, width, height, &sampling, &colours), 0);
    uint8_t *pixels = malloc((size_t)*width * (size_t)*height);
    assert_int_equal(tjDecompress2(tj, data, n, pixels, *width, 0, *height, TJPF_GRAY, 0), 0);
    int level = pixels[*width * (*height / 2) + *width / 2];
    free(pixels);
    tjDestroy(tj);
    return level;
}

/* Finds it; -1 = not there, else its segment * 10 + index, after its picture was looked at. */
static int find(frames *f, frames_query q)
{
    frames_one one = {0};
    if (frames_find(f, &q, &one) != OMNID_OK)
        return -1;
    int width = 0, height = 0, level = grey_of(one.jpeg, &width, &height);
    assert_true(abs(level - (10 + 40 * one.index)) <= 3);
    assert_true(width == WIDTH && height == HEIGHT && one.width == WIDTH && one.height == HEIGHT);
    assert_true(one.wall_us == START + one.segment * 2000000 + one.index * 500000 + 20000);
    frames_one_clear(&one);
    return (int)one.segment * 10 + one.index;
}

static int find_at(frames *f, int64_t wall_us)
{
    return find(f, (frames_query){.segment = -1, .wall_us = START + wall_us});
}

static void frames_are_found_by_segment_moment_and_as_the_newest(void **state)
{
    (void)state;
    frames *f = with_segments(1 << 20, 3, 6);
    assert_int_equal(find(f, (frames_query){.segment = -1}), 53);
    assert_int_equal(find(f, (frames_query){.segment = 4, .index = 2}), 42);
    assert_int_equal(find(f, (frames_query){.segment = 6}), -1);
    assert_int_equal(find(f, (frames_query){.segment = 2}), -1);
    assert_int_equal(find_at(f, 8020000), 40); /* to the microsecond */
    assert_int_equal(find_at(f, 8019999), 33);
    assert_int_equal(find_at(f, 9300000), 42);
    assert_int_equal(find_at(f, 6019999), -1);  /* before the oldest */
    assert_int_equal(find_at(f, 13520000), 53); /* the newest stands for two seconds */
    assert_int_equal(find_at(f, 13520001), -1);
    frames_range r = frames_get_range(f);
    assert_int_equal(r.n, 12);
    assert_true(r.oldest.segment == 3 && r.oldest.index == 0 && r.newest.segment == 5 && r.newest.index == 3);
    assert_true(r.newest.wall_us == START + 11520000);
    frames_destroy(&f);
}

static void a_gap_shows_nothing_old(void **state)
{
    (void)state;
    grey_segment *g = malloc(sizeof *g);
    frames *f = with_segments(1 << 20, 0, 1);
    make_grey(g, 9, 2); /* the last of a clip: two frames */
    frames_add(f, &g->seg, true);
    make_grey(g, 10, 0); /* sound alone */
    frames_add(f, &g->seg, true);
    assert_int_equal(find_at(f, 3000000), 3);
    assert_int_equal(find_at(f, 10000000), -1);
    assert_int_equal(find_at(f, 18600000), 91);
    assert_int_equal(find(f, (frames_query){.segment = 9, .index = 2}), -1);
    assert_int_equal(find(f, (frames_query){.segment = 10}), -1);
    assert_int_equal(frames_get_range(f).n, 6);
    free(g);
    frames_destroy(&f);
}

static void without_a_wall_clock_only_segments_are_found(void **state)
{
    (void)state;
    frames_one one = {0};
    grey_segment *g = malloc(sizeof *g);
    frames *f = frames_create(1 << 20, 85);
    make_grey(g, 0, 4);
    frames_add(f, &g->seg, false);
    assert_int_equal(frames_find(f, &(frames_query){.segment = -1, .wall_us = START + 1000000}, &one), OMNID_NOT_FOUND);
    assert_int_equal(frames_find(f, &(frames_query){.segment = -1}, &one), OMNID_OK);
    assert_true(one.index == 3 && one.wall_us == 0);
    frames_one_clear(&one);
    free(g);
    frames_destroy(&f);
}

static void window_bytes_and_forget_bound_what_is_kept(void **state)
{
    (void)state;
    frames *f = with_segments(1 << 20, 0, 8);
    size_t n_all = frames_get_range(f).n_bytes;
    frames_trim(f, 6);
    assert_int_equal(find(f, (frames_query){.segment = 5}), -1);
    assert_int_equal(find(f, (frames_query){.segment = 6}), 60);
    assert_int_equal(frames_get_range(f).n, 8);
    assert_true(frames_get_range(f).n_bytes < n_all / 3);
    frames_clear(f);
    assert_int_equal(frames_get_range(f).n, 0);
    assert_int_equal(frames_get_range(f).n_bytes, 0);
    frames_destroy(&f);

    size_t n_three = n_all / 8 * 3 + n_all / 16; /* room for three segments */
    f = with_segments(n_three, 0, 8);
    assert_int_equal(frames_get_range(f).n, 12);
    assert_true(frames_get_range(f).n_bytes <= n_three);
    assert_int_equal(find(f, (frames_query){.segment = 4}), -1);
    assert_int_equal(find(f, (frames_query){.segment = 5}), 50);
    frames_destroy(&f);

    f = with_segments(10, 0, 2); /* not even one fits */
    assert_int_equal(frames_get_range(f).n, 0);
    frames_destroy(&f);
    f = with_segments(0, 0, 2);
    assert_int_equal(frames_get_range(f).n, 0);
    frames_destroy(&f);
}

static void a_repeated_frame_costs_nothing(void **state)
{
    (void)state;
    grey_segment *g = malloc(sizeof *g);
    frames *f = frames_create(1 << 20, 85);
    make_grey(g, 0, 4);
    frames_add(f, &g->seg, true);
    size_t n_four = frames_get_range(f).n_bytes;
    make_grey(g, 1, 4);
    g->seg.frames[1] = g->seg.frames[0];
    frames_add(f, &g->seg, true);
    assert_int_equal(frames_get_range(f).n, 8);
    assert_in_range(frames_get_range(f).n_bytes - n_four, n_four / 2, n_four * 7 / 8);
    free(g);
    frames_destroy(&f);
}

static void a_cameras_own_jpeg_is_kept_as_it_is(void **state)
{
    (void)state;
    static const uint8_t own[] = "as the camera made it";
    GBytes *got = NULL;
    grey_segment *g = malloc(sizeof *g);
    make_grey(g, 0, 4);
    g->seg.frames[2].jpeg = own;
    g->seg.frames[2].n_jpeg = sizeof own;
    assert_int_equal(frames_encode(&g->seg.frames[2], 85, &got, NULL), OMNID_OK);
    assert_int_equal(g_bytes_get_size(got), sizeof own);
    assert_memory_equal(g_bytes_get_data(got, NULL), own, sizeof own);
    assert_ptr_not_equal(g_bytes_get_data(got, NULL), own); /* it outlives the segment */
    g_bytes_unref(got);
    free(g);
}

static void scaling_gives_the_largest_that_fits(void **state)
{
    (void)state;
    static const int cases[][3] = {{64, 64, 48}, {100, 64, 48}, {63, 56, 42}, {32, 32, 24}, {17, 16, 12}, {1, 8, 6}};
    frames *f = with_segments(1 << 20, 0, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        frames_one one = {0};
        omnid_error err;
        int width, height;
        assert_int_equal(frames_find(f, &(frames_query){.segment = 0, .index = 1}, &one), OMNID_OK);
        assert_int_equal(frames_scale(&one, cases[i][0], 85, &err), OMNID_OK);
        assert_true(abs(grey_of(one.jpeg, &width, &height) - 50) <= 3);
        assert_true(width == cases[i][1] && height == cases[i][2] && one.width == width && one.height == height);
        frames_one_clear(&one);
    }
    frames_one bad = {.width = 64, .height = 48, .jpeg = g_bytes_new_static("\xff\xd8junk", 6)};
    omnid_error err;
    assert_int_equal(frames_scale(&bad, 32, 85, &err), OMNID_FORMAT);
    assert_non_null(strstr(err.text, "cannot be read"));
    frames_one_clear(&bad);
    frames_destroy(&f);
}

static void *add_many(void *user)
{
    grey_segment *g = malloc(sizeof *g);
    for (int64_t s = 0; s < 200; s++) {
        make_grey(g, s, CAPTURE_FRAMES);
        frames_add(user, &g->seg, true);
    }
    free(g);
    return NULL;
}

static void capture_adds_while_others_look_and_forget(void **state)
{
    (void)state;
    frames *f = frames_create(1 << 16, 85);
    pthread_t adder;
    int n_found = 0;
    assert_int_equal(pthread_create(&adder, NULL, add_many, f), 0);
    for (int i = 0; i < 1000; i++) {
        n_found += find(f, (frames_query){.segment = -1}) >= 0;
        if (i % 100 == 99)
            frames_clear(f);
        frames_trim(f, i / 10);
    }
    pthread_join(adder, NULL);
    assert_true(frames_get_range(f).n_bytes <= 1 << 16);
    frames_clear(f);
    assert_int_equal(frames_get_range(f).n_bytes, 0);
    frames_destroy(&f);
    (void)n_found;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_found_by_segment_moment_and_as_the_newest),
        cmocka_unit_test(a_gap_shows_nothing_old),
        cmocka_unit_test(without_a_wall_clock_only_segments_are_found),
        cmocka_unit_test(window_bytes_and_forget_bound_what_is_kept),
        cmocka_unit_test(a_repeated_frame_costs_nothing),
        cmocka_unit_test(a_cameras_own_jpeg_is_kept_as_it_is),
        cmocka_unit_test(scaling_gives_the_largest_that_fits),
        cmocka_unit_test(capture_adds_while_others_look_and_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
