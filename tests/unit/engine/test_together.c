/* test_together.c: several answers decode in one step and each is what it is alone: with windows that have moved and windows
 * that have not, while one ends in the middle of a step and its memory becomes another's; on a backend that records its work,
 * from a recording. OMNID_TEST_BACKEND names the backend, "auto" if it does not. */
#include "tests/unit/engine/world.h"

#include <stdio.h>
#include <string.h>

enum { CAMERAS = 4 };

static const char *backend(void)
{
    const char *name = getenv("OMNID_TEST_BACKEND");
    return name ? name : "auto";
}

/* Cameras 0 and 1 have seen one segment, 2 and 3 two of which they keep the last. */
static void open_cameras(world *w, omnid_timeline *cameras[CAMERAS])
{
    omnid_error err = {0};
    for (int c = 0; c < CAMERAS; c++) {
        omnid_timeline_params tp = omnid_timeline_params_default();
        if (c >= 2) {
            tp.window_segments = 1;
            tp.hop_segments = 1;
        }
        world_ok(omnid_timeline_create(&cameras[c], w->engine, &tp, &err), &err);
        for (int s = 0; s < (c < 2 ? 1 : 2); s++)
            world_feed(w, cameras[c], 5 + c, s, s, 3);
    }
}

static void close_cameras(world *w, omnid_timeline *cameras[CAMERAS])
{
    for (int c = 0; c < CAMERAS; c++)
        omnid_timeline_destroy(&cameras[c]);
    world_close(w);
}

static omnid_question_params question(const char *text, int max_tokens)
{
    omnid_question_params q = omnid_question_params_default();
    q.question = text;
    q.max_tokens = max_tokens;
    return q;
}

/* Three rounds: where work is recorded, everything in the last one is replayed. */
static void answers_are_what_they_are_alone(void **state)
{
    static world w;
    static char alone[CAMERAS][4096];
    omnid_timeline *cameras[CAMERAS];
    (void)state;
    world_open(&w, "M3", backend(), NULL);
    open_cameras(&w, cameras);
    omnid_question_params q = question("What do you see?", 5);
    for (int c = 0; c < CAMERAS; c++)
        snprintf(alone[c], sizeof alone[c], "%s", world_ask(&w, cameras[c], &q, NULL)->text);
    assert_string_not_equal(alone[0], alone[1]);
    assert_string_not_equal(alone[1], alone[2]);
    for (int round = 0; round < 3; round++) {
        int places[CAMERAS], most = 0;
        w.n_slices = 0;
        for (int c = 0; c < CAMERAS; c++)
            places[c] = world_post(&w, cameras[(c + round) % CAMERAS], &q, NULL);
        world_run(&w);
        for (int i = 0; i < w.n_slices; i++)
            if (w.slices[i].kind == OMNID_SLICE_DECODE && w.slices[i].n_rows > most)
                most = w.slices[i].n_rows;
        assert_int_equal(most, CAMERAS);
        for (int c = 0; c < CAMERAS; c++) {
            const world_answer *a = &w.answers[places[c]];
            assert_true(a->done);
            assert_string_equal(a->text, alone[(c + round) % CAMERAS]);
            if (strcmp(backend(), "cuda") == 0 && round == 2)
                assert_int_equal(a->timings.replays, a->n_tokens);
            if (strcmp(backend(), "cuda") != 0)
                assert_int_equal(a->timings.replays, 0);
        }
    }
    close_cameras(&w, cameras);
}

/* Layer by layer: one of three answers is cancelled inside a step, and a longer question gets its memory before the step goes
 * on. Nothing of the step may reach it. */
static void memory_of_an_ended_answer_is_not_written(void **state)
{
    static world w;
    static char alone[CAMERAS][4096];
    omnid_timeline *cameras[CAMERAS];
    omnid_error err = {0};
    (void)state;
    omnid_engine_params ep = omnid_engine_params_default();
    ep.graphs = false;
    world_open(&w, "M3", backend(), &ep);
    open_cameras(&w, cameras);
    omnid_question_params q = question("What?", 40), other = question("And what else has been there, before?", 1);
    int rows = world_ask(&w, cameras[3], &other, NULL)->timings.rows_prefilled / w.info.n_layers;
    for (int c = 0; c < 3; c++)
        snprintf(alone[c], sizeof alone[c], "%s", world_ask(&w, cameras[c], &q, NULL)->text);
    int fewer = w.answers[(w.n_asked - 1) % 8].timings.rows_prefilled / w.info.n_layers;
    assert_true(fewer < rows && rows < fewer + q.max_tokens);
    other.max_tokens = fewer + q.max_tokens - rows; /* as many rows in all: the same memory, cut the same way */
    snprintf(alone[3], sizeof alone[3], "%s", world_ask(&w, cameras[3], &other, NULL)->text);
    int places[CAMERAS];
    for (int c = 0; c < 3; c++)
        places[c] = world_post(&w, cameras[c], &q, NULL);
    w.n_slices = 0;
    const omnid_slice *last = NULL;
    while (!last || last->kind != OMNID_SLICE_DECODE || last->n_rows != 3 || last->layer != 0) {
        world_ok(omnid_engine_step(w.engine, 0, &err), &err);
        last = &w.slices[w.n_slices - 1];
    }
    omnid_engine_cancel(w.engine, w.ids[places[1]]);
    world_ok(omnid_engine_step(w.engine, 0, &err), &err);
    assert_true(w.answers[places[1]].failed);
    places[3] = world_post(&w, cameras[3], &other, NULL);
    world_run(&w);
    for (int c = 0; c < CAMERAS; c++)
        if (c != 1) {
            assert_true(w.answers[places[c]].done);
            assert_string_equal(w.answers[places[c]].text, alone[c]);
            assert_int_equal(w.answers[places[c]].timings.replays, 0);
        }
    close_cameras(&w, cameras);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_what_they_are_alone),
        cmocka_unit_test(memory_of_an_ended_answer_is_not_written),
    };
    const struct CMUnitTest recorded[] = {
        cmocka_unit_test(answers_are_what_they_are_alone),
    };
    return strcmp(backend(), "cuda") == 0 ? cmocka_run_group_tests(recorded, NULL, NULL)
                                          : cmocka_run_group_tests(tests, NULL, NULL);
}
