/* test_lost.c: a device that falls off its bus under the engine: everything ends with a sentence, at once and for good, and
 * `auto` takes the CPU. The device stays away, so each test is a process of its own. */
#include "tests/unit/engine/world.h"

#include <string.h>

#include "kernels/kernels.h"

static void lose_device(void)
{
    void (*lose)(void) = NULL;
    *(void **)&lose = world_emulation("cuda_emulation_lose");
    lose();
}

static void open_world(world *w)
{
    omnid_timeline_params t = omnid_timeline_params_default();
    t.window_segments = 4;
    t.max_pixels = WORLD_SIDE * WORLD_SIDE;
    world_open(w, "M3", "cuda", NULL);
    world_timeline(w, &t);
    world_feed(w, w->timeline, 1, 0, 0, 3);
}

static void expect_lost(world *w)
{
    omnid_error err = {0};
    assert_int_equal(omnid_engine_step(w->engine, 0, &err), OMNID_DEVICE);
    assert_string_equal(err.text,
                        "backend cuda: emulated device is lost (unspecified launch failure) until the program is "
                        "started afresh");
    assert_true(omnid_engine_get_status(w->engine).lost);
    assert_int_equal(omnid_engine_get_status(w->engine).n_open_answers, 0);
}

static void expect_ended(const world *w, int place)
{
    assert_true(w->answers[place].failed);
    assert_int_equal(w->answers[place].error.status, OMNID_DEVICE);
}

/* Steps until the loss is told; at most a few, for nobody should have to wait for it. */
static void run_until_told(world *w)
{
    omnid_error err = {0};
    for (int i = 0; i < 40 && !omnid_engine_get_status(w->engine).lost; i++)
        omnid_engine_step(w->engine, 0, &err);
    expect_lost(w);
}

static void under_answers(void **state)
{
    (void)state;
    world w;
    omnid_error err = {0};
    omnid_question_params q = omnid_question_params_default();
    q.question = "What was that?";
    q.max_tokens = 12;
    open_world(&w);
    assert_false(omnid_engine_get_status(w.engine).lost);
    int writing = world_post(&w, w.timeline, &q, NULL);
    do
        world_ok(omnid_engine_step(w.engine, 0, &err), &err);
    while (!w.answers[writing].streamed[0]);
    int waiting = world_post(&w, w.timeline, &q, NULL);
    lose_device();
    run_until_told(&w);
    expect_ended(&w, writing);
    expect_ended(&w, waiting);
    assert_non_null(strstr(w.answers[writing].error.text, "is lost"));
    int late = world_post(&w, w.timeline, &q, NULL); /* nothing is tried any more */
    expect_lost(&w);
    expect_ended(&w, late);
    world_close(&w);
}

static void under_a_segment(void **state)
{
    (void)state;
    world w;
    omnid_error err = {0};
    open_world(&w);
    omnid_segment *seg = world_segment(&w, w.timeline, 1, 1, 1, 3);
    world_ok(omnid_timeline_submit(w.timeline, &seg, &err), &err);
    for (int i = 0; i < 3; i++)
        world_ok(omnid_engine_step(w.engine, 0, &err), &err);
    lose_device();
    run_until_told(&w);
    assert_int_equal(omnid_timeline_get_status(w.timeline).n_segments, 1);
    world_close(&w);
}

static void under_an_idle_engine(void **state)
{
    (void)state;
    world w;
    omnid_error err = {0};
    const kernels_ops *ops;
    open_world(&w);
    lose_device();
    assert_int_equal(omnid_engine_step(w.engine, 0, &err), OMNID_AGAIN);
    omnid_segment *seg = world_segment(&w, w.timeline, 1, 1, 1, 3);
    world_ok(omnid_timeline_submit(w.timeline, &seg, &err), &err);
    run_until_told(&w);
    world_ok(kernels_find(&ops, "auto", &err), &err);
    assert_string_not_equal(ops->name, "cuda");
    assert_int_equal(kernels_find(&ops, "cuda", &err), OMNID_UNSUPPORTED);
    world_close(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(under_answers),
        cmocka_unit_test(under_a_segment),
        cmocka_unit_test(under_an_idle_engine),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
