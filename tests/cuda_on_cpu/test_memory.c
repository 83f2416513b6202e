/* test_memory.c: a device whose memory runs out while the engine works. One answer ends, one segment is skipped; the engine,
 * and what others hold, are as they were. The device has OMNID_CUDA_MEMORY bytes. */
#include "tests/unit/engine/world.h"

#include <stdio.h>
#include <string.h>

#include "engine/model.h"

enum { MAX_HELD = 64 };

/* What a neighbour holds of the device: all of it, but for so many bytes in one piece. */
typedef struct {
    void *held[MAX_HELD];
    int n;
} neighbour;

static uint64_t free_bytes(const world *w)
{
    kernels_memory m;
    w->model->ops->memory(w->model->backend, &m);
    return m.free;
}

static void take_all_but(neighbour *who, const world *w, size_t rest)
{
    const kernels_ops *ops = w->model->ops;
    who->n = 0;
    ops->free(w->model->backend, ops->alloc(w->model->backend, 1)); /* what was given back before is seen to be free */
    for (size_t size = (size_t)1 << 40; size >= 1024 && who->n < MAX_HELD;) {
        void *piece = free_bytes(w) > rest && size <= free_bytes(w) - rest ? ops->alloc(w->model->backend, size) : NULL;
        if (piece)
            who->held[who->n++] = piece;
        else
            size /= 2;
    }
    assert_true(free_bytes(w) <= rest + 1024);
}

static void give_back(neighbour *who, const world *w)
{
    while (who->n)
        w->model->ops->free(w->model->backend, who->held[--who->n]);
}

static omnid_timeline_params small_timeline(void)
{
    omnid_timeline_params t = omnid_timeline_params_default();
    t.window_segments = 4;
    t.max_pixels = WORLD_SIDE * WORLD_SIDE;
    return t;
}

/* Steps until nothing is left to do; what went wrong last. */
static omnid_status run_all(world *w, omnid_error *err)
{
    omnid_status worst = OMNID_OK, status;
    omnid_error here = {0};
    while ((status = omnid_engine_step(w->engine, 0, &here)) != OMNID_AGAIN)
        if (status != OMNID_OK) {
            worst = status;
            *err = here;
        }
    return worst;
}

static void test_a_segment_is_skipped(void **state)
{
    (void)state;
    world w;
    neighbour who;
    omnid_error err = {0};
    omnid_timeline_params t = small_timeline();
    world_open(&w, "M3", "cuda", NULL);
    world_timeline(&w, &t);
    world_feed(&w, w.timeline, 1, 0, 0, 3);
    take_all_but(&who, &w, 2000);
    omnid_segment *seg = world_segment(&w, w.timeline, 1, 1, 1, 3);
    world_ok(omnid_timeline_submit(w.timeline, &seg, &err), &err);
    assert_int_equal(run_all(&w, &err), OMNID_NOMEM);
    assert_non_null(strstr(err.text, "segment 1 is lost: cuda: no memory for "));
    assert_int_equal(omnid_timeline_get_status(w.timeline).n_segments, 1);
    give_back(&who, &w);
    world_feed(&w, w.timeline, 1, 2, 2, 3);
    omnid_timeline_status st = omnid_timeline_get_status(w.timeline);
    assert_int_equal(st.n_segments, 3);
    assert_int_equal(st.n_gaps, 1);
    world_close(&w);
}

/* The one that finds no memory ends alone: the answer under way beside it goes on, and is what it is without it. */
static void test_an_answer_ends_alone(void **state)
{
    (void)state;
    world w;
    neighbour who;
    omnid_error err = {0};
    omnid_timeline_params t = small_timeline();
    omnid_question_params q = omnid_question_params_default(), longer = q;
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    q.question = "What was that?";
    q.max_tokens = 12;
    longer.question = text;
    world_open(&w, "M3", "cuda", NULL);
    world_timeline(&w, &t);
    for (int s = 0; s < 3; s++)
        world_feed(&w, w.timeline, 1, s, s, 3);
    world_ask(&w, w.timeline, &q, NULL);
    world_ask(&w, w.timeline, &q, NULL); /* its work space is there now, and a second answer's, too */
    const world_answer *alone = world_ask(&w, w.timeline, &q, NULL);
    int good = world_post(&w, w.timeline, &q, NULL);
    do
        world_ok(omnid_engine_step(w.engine, 0, &err), &err);
    while (!w.answers[good].streamed[0]); /* it writes */
    take_all_but(&who, &w, 4000);
    int bad = world_post(&w, w.timeline, &longer, NULL);
    assert_int_equal(run_all(&w, &err), OMNID_OK);
    assert_true(w.answers[bad].failed);
    assert_int_equal(w.answers[bad].error.status, OMNID_NOMEM);
    assert_non_null(strstr(w.answers[bad].error.text, "no memory for "));
    assert_true(w.answers[good].done);
    assert_string_equal(w.answers[good].text, alone->text);
    assert_int_equal(w.answers[good].n_tokens, alone->n_tokens);
    give_back(&who, &w);
    longer.max_tokens = 2;
    world_ask(&w, w.timeline, &longer, NULL);
    assert_int_equal(omnid_engine_get_status(w.engine).n_open_answers, 0);
    world_close(&w);
}

/* Everything that was taken from the device is given back, and no more was in use at once than planned. */
static void test_the_plan_holds_on_a_device(void **state)
{
    (void)state;
    world w;
    omnid_error err = {0};
    omnid_timeline_params t = small_timeline();
    omnid_question_params q = omnid_question_params_default();
    omnid_model_params p = omnid_model_params_default();
    omnid_model_report r;
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tests/golden/data/M3/model", OMNID_SOURCE_DIR);
    p.backend = "cuda";
    p.precision = OMNID_PRECISION_F32;
    p.timelines = &t;
    p.n_timelines = 1;
    world_ok(omnid_model_inspect(&r, folder, &p, &err), &err);
    assert_true(r.plan.own);
    assert_string_equal(r.plan.device, "emulated device");
    assert_int_equal(r.plan.need, r.plan.weights + r.plan.kv + r.plan.work + r.plan.driver);
    assert_int_equal(r.plan.driver, r.plan.total / 32);
    assert_true(r.plan.host_need > 0 && r.plan.host_total > 0 && r.plan.limit == r.plan.free);
    q.question = "What was that?";
    q.max_tokens = 8;
    world_open(&w, "M3", "cuda", NULL);
    world_timeline(&w, &t);
    for (int s = 0; s < 6; s++) {
        world_feed(&w, w.timeline, 1, s, s, 3);
        omnid_segment *now = world_segment(&w, w.timeline, 2, s + 1, s + 1, 3);
        world_ask(&w, w.timeline, &q, &now);
        uint64_t used = r.plan.free - free_bytes(&w); /* the backend's own was in use when the plan was made */
        if (used > r.plan.need)
            fail_msg("%llu bytes of the device are used, %llu were planned", (unsigned long long)used,
                     (unsigned long long)r.plan.need);
        assert_true(omnid_engine_get_status(w.engine).free_bytes > 0);
    }
    world_close(&w);
}

static void test_too_small_a_device(void **state)
{
    (void)state;
    omnid_timeline_params t = small_timeline();
    omnid_model_params p = omnid_model_params_default();
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tests/golden/data/M3/model", OMNID_SOURCE_DIR);
    p.backend = "cuda";
    p.timelines = &t;
    p.n_timelines = 1;
    omnid_model *m;
    omnid_error err = {0};
    t.window_segments = 43200;
    assert_int_equal(omnid_model_open(&m, folder, &p, &err), OMNID_LIMIT);
    assert_null(m);
    if (!strstr(err.text, "emulated device has 0.") || !strstr(err.text, " GiB free of 0.29: try a smaller window_s"))
        fail_msg("%s", err.text);
    t.window_segments = 4;
    world_ok(omnid_model_open(&m, folder, &p, &err), &err);
    assert_string_equal(omnid_model_get_info(m).backend, "cuda");
    omnid_model_destroy(&m);
}

/* auto: what is too large for the device runs elsewhere. */
static void test_auto_takes_another(void **state)
{
    (void)state;
    omnid_timeline_params t = small_timeline();
    omnid_model_params p = omnid_model_params_default();
    omnid_model_report r;
    omnid_model *m;
    omnid_error err = {0};
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tests/golden/data/M3/model", OMNID_SOURCE_DIR);
    p.timelines = &t;
    p.n_timelines = 1;
    world_ok(omnid_model_open(&m, folder, &p, &err), &err);
    assert_string_equal(omnid_model_get_info(m).backend, "cuda");
    omnid_model_destroy(&m);
    t.window_segments = 43200;
    world_ok(omnid_model_open(&m, folder, &p, &err), &err);
    assert_string_equal(omnid_model_get_info(m).backend, kernels_names()[0]);
    assert_false(omnid_model_get_plan(m).own);
    omnid_model_destroy(&m);
    world_ok(omnid_model_inspect(&r, folder, &p, &err), &err);
    assert_string_equal(r.backend, kernels_names()[0]);
    t.window_segments = 4;
    static const char *const lacks[] = {"no cublas", "no code"};
    for (int i = 0; i < 2; i++) {
        setenv("OMNID_CUDA_EMULATE", lacks[i], 1);
        world_ok(omnid_model_open(&m, folder, &p, &err), &err);
        assert_string_equal(omnid_model_get_info(m).backend, kernels_names()[0]);
        omnid_model_destroy(&m);
    }
    p.backend = "cuda";
    assert_int_equal(omnid_model_open(&m, folder, &p, &err), OMNID_UNSUPPORTED);
    assert_non_null(strstr(err.text, "has no code for emulated device (compute capability 8.6)"));
    unsetenv("OMNID_CUDA_EMULATE");
}

/* Without an argument the device is large; "small": it has 300 MiB. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_segment_is_skipped),
        cmocka_unit_test(test_an_answer_ends_alone),
        cmocka_unit_test(test_the_plan_holds_on_a_device),
    };
    const struct CMUnitTest small[] = {cmocka_unit_test(test_too_small_a_device),
                                       cmocka_unit_test(test_auto_takes_another)};
    (void)argv;
    return argc > 1 ? cmocka_run_group_tests_name("small device", small, NULL, NULL)
                    : cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
