/* The ring between PortAudio's callback and the helper's loop: nothing is lost unnoticed, nothing is mixed up. */
#include "capture/mic_ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

enum { CHANNELS = 2, MAX = 3000, TOTAL = 4000000 /* frames */ };

/* Another value for every frame and channel, exact in a float. */
static float value_of(int64_t frame, int channel)
{
    return (float)((frame * CHANNELS + channel) & 0xffffff);
}

static void put(mic_ring *r, int64_t first, int n, bool hole)
{
    static float frames[MAX * CHANNELS];
    for (int i = 0; i < n * CHANNELS; i++)
        frames[i] = value_of(first + i / CHANNELS, i % CHANNELS);
    mic_ring_put(r, frames, n, first * 1000000 / 48000, hole);
}

/* Checks a block; returns the index behind it. */
static int64_t check(const mic_block *b)
{
    assert_in_range(b->n_frames, 1, MIC_RING_FRAMES);
    assert_true(llabs(b->t_us - b->index * 1000000 / 48000) <= 2);
    for (int i = 0; i < b->n_frames * CHANNELS; i++)
        assert_true(b->frames[i] == value_of(b->index + i / CHANNELS, i % CHANNELS));
    return b->index + b->n_frames;
}

static void test_blocks(void **state)
{
    (void)state;
    mic_ring *r = mic_ring_create(CHANNELS, 48000);
    mic_block b;
    assert_false(mic_ring_peek(r, &b));
    put(r, 0, 100, false);
    put(r, 100, 1100, true);
    int64_t next = 0;
    const int sizes[] = {100, 512, 512, 76};
    for (int i = 0; i < 4; i++, mic_ring_drop(r)) {
        assert_true(mic_ring_peek(r, &b));
        assert_int_equal(b.index, next);
        assert_int_equal(b.n_frames, sizes[i]);
        assert_int_equal(b.hole, i == 1); /* told once, by the first block behind it */
        next = check(&b);
    }
    assert_false(mic_ring_peek(r, &b));
    mic_ring_destroy(&r);
    assert_null(r);
}

/* A reader that is too slow misses the newest, and sees by the number how much. */
static void test_full(void **state)
{
    (void)state;
    mic_ring *r = mic_ring_create(CHANNELS, 48000);
    mic_block b;
    int64_t n_put = 0;
    for (int i = 0; i < MIC_RING_SLOTS + 5; i++, n_put += 10)
        put(r, n_put, 10, i == MIC_RING_SLOTS);
    for (int i = 0; i < MIC_RING_SLOTS; i++, mic_ring_drop(r)) {
        assert_true(mic_ring_peek(r, &b));
        assert_int_equal(check(&b), 10 * (i + 1));
        assert_false(b.hole);
    }
    assert_false(mic_ring_peek(r, &b));
    put(r, n_put, 10, false);
    assert_true(mic_ring_peek(r, &b));
    assert_int_equal(b.index, n_put);
    assert_true(b.hole); /* told with the first that finds room */
    mic_ring_destroy(&r);
}

static void *put_all(void *user)
{
    unsigned seed = 7;
    for (int64_t first = 0; first < TOTAL;) {
        int n = 1 + rand_r(&seed) % MAX;
        put(user, first, n, false);
        first += n;
        if (n % 8 == 0)
            usleep(200);
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    mic_ring *r = mic_ring_create(CHANNELS, 48000);
    pthread_t thread;
    int64_t next = 0, n_heard = 0;
    assert_int_equal(pthread_create(&thread, NULL, put_all, r), 0);
    for (mic_block b; next < TOTAL - MAX * 2;) {
        if (!mic_ring_peek(r, &b)) {
            sched_yield();
            continue;
        }
        assert_true(b.index >= next);
        next = check(&b);
        n_heard += b.n_frames;
        mic_ring_drop(r);
    }
    pthread_join(thread, NULL);
    assert_true(n_heard > TOTAL / 100); /* how much is lost is the machine's affair; that it is told is not */
    mic_ring_destroy(&r);
}

/* A reader that is behind for longer than allowed goes on with the newest, and sees by the number what it missed. */
static void test_shed(void **state)
{
    (void)state;
    mic_ring *r = mic_ring_create(CHANNELS, 48000);
    mic_block b;
    assert_false(mic_ring_shed(r, 0));
    for (int i = 0; i < 11; i++) /* 10 ms each: the oldest was taken 100 ms before the newest */
        put(r, 480 * i, 480, false);
    assert_false(mic_ring_shed(r, 100000));
    assert_true(mic_ring_peek(r, &b));
    assert_int_equal(b.index, 0);
    assert_true(mic_ring_shed(r, 99000));
    assert_true(mic_ring_peek(r, &b));
    assert_int_equal(check(&b), 480 * 11);
    assert_int_equal(b.index, 480 * 10);
    assert_false(mic_ring_shed(r, 0));
    mic_ring_drop(r);
    assert_false(mic_ring_peek(r, &b));
    mic_ring_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_shed),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
