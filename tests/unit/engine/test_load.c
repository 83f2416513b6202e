/* test_load.c: segments taken in more cheaply than their timeline says are what a timeline with those settings makes of them. */
#include "world.h"

enum { GRID = 9 /* tokens of a frame of the world */, SEGMENTS = 4 };

/* An answer over SEGMENTS segments. */
static const world_answer *answer(world *w, const omnid_timeline_params *tp, omnid_segment_load how)
{
    omnid_question_params q = omnid_question_params_default();
    world_timeline(w, tp);
    w->load = how;
    for (int s = 0; s < SEGMENTS; s++)
        world_feed(w, w->timeline, 2, s, s, 3);
    w->load = (omnid_segment_load){0};
    q.question = "What moves?";
    q.max_tokens = 6;
    return world_ask(w, w->timeline, &q, NULL);
}

static void same_answers(world *w, omnid_segment_load how, const omnid_timeline_params *own)
{
    omnid_timeline_params tp = omnid_timeline_params_default();
    const world_answer *cheap = answer(w, &tp, how);
    omnid_segment_report r = w->last_report;
    const world_answer *same = answer(w, own, (omnid_segment_load){0});
    assert_true(world_distance(w, cheap, same) == 0);
    world_same_survivors(cheap, same);
    assert_int_equal(r.width, w->last_report.width);
    assert_int_equal(r.height, w->last_report.height);
    assert_int_equal(r.n_grids, 2);
    assert_true(r.rho_v == w->last_report.rho_v);
    const world_answer *full = answer(w, &tp, (omnid_segment_load){0});
    assert_true(world_distance(w, cheap, full) > 0);
}

static void a_cheap_segment_is_as_its_own_timeline_makes_it(void **state)
{
    (void)state;
    static world w;
    omnid_timeline_params fewer = omnid_timeline_params_default(), smaller = omnid_timeline_params_default();
    fewer.rho_v = 0.9;
    smaller.max_pixels = WORLD_SIDE * WORLD_SIDE / 2;
    world_open(&w, "M1", "auto", NULL);
    same_answers(&w, (omnid_segment_load){.rho_v = 0.9}, &fewer);
    assert_true(w.last_report.rho_v == 0.8 && w.last_report.width == WORLD_SIDE);
    same_answers(&w, (omnid_segment_load){.pixel_share = 0.5}, &smaller);
    world_close(&w);
}

/* The larger share leaves; without intra-modality pruning none does. */
static void a_load_never_keeps_more(void **state)
{
    (void)state;
    static world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    world_open(&w, "M1", "auto", NULL);
    tp.rho_v = 0.95;
    answer(&w, &tp, (omnid_segment_load){.rho_v = 0.9});
    assert_true(w.last_report.rho_v == 0.95);
    tp.intra = false;
    world_timeline(&w, &tp);
    w.load = (omnid_segment_load){.rho_v = 0.9};
    world_feed(&w, w.timeline, 2, 0, 0, 3);
    assert_int_equal(w.last_report.n_video_kept, 2 * GRID);
    assert_true(w.last_report.rho_v == 0);
    world_close(&w);
}

/* Groups of four grids are then four segments long, and the segment's two seconds are all there. */
static void one_grid_stands_for_two(void **state)
{
    (void)state;
    static world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_question_params q = omnid_question_params_default();
    world_open(&w, "M1", "auto", NULL);
    world_timeline(&w, &tp);
    w.load = (omnid_segment_load){.one_grid = true};
    for (int s = 0; s < 5; s++) {
        world_feed(&w, w.timeline, 2, s, s, 1);
        assert_int_equal(w.last_report.n_grids, 1);
        assert_int_equal(w.last_report.n_video_tokens, GRID);
        assert_int_equal(w.last_report.n_video_kept, s % 4 == 0 ? GRID : GRID - 7); /* 7 = floor(9 * 0.8) */
        assert_int_equal(w.last_report.encoder_calls, 1);
    }
    world_timeline(&w, &tp);
    w.load = (omnid_segment_load){0};
    world_feed(&w, w.timeline, 2, 0, 0, 1);
    w.load = (omnid_segment_load){.one_grid = true};
    world_feed(&w, w.timeline, 2, 1, 1, 1);
    q.question = "What moves?";
    q.max_tokens = 2;
    q.last_s = 1.5; /* before the end of the second segment, not of its first second */
    assert_int_equal(world_ask(&w, w.timeline, &q, NULL)->layers[0].n, GRID - 7);
    world_close(&w);
}

static void bad_loads_are_refused(void **state)
{
    (void)state;
    static world w;
    static const omnid_segment_load bad[] = {
        {.rho_v = -0.1}, {.rho_v = 1.5}, {.pixel_share = -1}, {.pixel_share = 1.01}};
    omnid_timeline_params tp = omnid_timeline_params_default();
    world_open(&w, "M1", "auto", NULL);
    world_timeline(&w, &tp);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        omnid_segment_params p = {.load = bad[i]};
        omnid_segment *s;
        omnid_error err;
        assert_int_equal(omnid_segment_create(&s, w.timeline, &p, &err), OMNID_ARGUMENT);
        assert_null(s);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cheap_segment_is_as_its_own_timeline_makes_it),
        cmocka_unit_test(a_load_never_keeps_more),
        cmocka_unit_test(one_grid_stands_for_two),
        cmocka_unit_test(bad_loads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
