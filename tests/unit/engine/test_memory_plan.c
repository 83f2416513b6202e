/* test_memory_plan.c: what is planned is enough for what is held, and not many times as much; what does not fit is refused. */
#include "tests/unit/engine/world.h"

#include <stdio.h>
#include <string.h>

#include "engine/omnid.h"

enum { WINDOW = 8, MIB = 1 << 20 };

/* A full window of the largest frames, and three windows more; in each mode questions of all kinds. */
static omnid_timeline_params timeline_of(unsigned modes)
{
    omnid_timeline_params t = omnid_timeline_params_default();
    t.window_segments = WINDOW;
    t.modes = modes;
    t.max_pixels = WORLD_SIDE * WORLD_SIDE;
    return t;
}

static omnid_model_params params_of(const char *backend)
{
    omnid_model_params p = omnid_model_params_default();
    p.backend = backend;
    p.precision = OMNID_PRECISION_F32;
    p.n_threads = 1;
    return p;
}

static const char *folder_of(const char *model)
{
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s/tests/golden/data/%s/model", OMNID_SOURCE_DIR, model);
    return folder;
}

static omnid_memory_plan plan_of(const char *model, const char *backend, const omnid_timeline_params *t, int n)
{
    omnid_model_params p = params_of(backend);
    omnid_model_report r;
    omnid_error err = {0};
    p.timelines = t;
    p.n_timelines = n;
    world_ok(omnid_model_inspect(&r, folder_of(model), &p, &err), &err);
    assert_int_equal(r.plan.n_timelines, n);
    assert_int_equal(r.need_bytes, r.plan.need);
    return r.plan;
}

static void holds_no_more(const world *w, const omnid_memory_plan *plan)
{
    omnid_engine_status s = omnid_engine_get_status(w->engine);
    if (s.kv_bytes > plan->kv)
        fail_msg("%llu bytes of KV are held, %llu were planned", (unsigned long long)s.kv_bytes,
                 (unsigned long long)plan->kv);
    if (s.work_bytes > plan->work)
        fail_msg("%llu bytes of work space are held, %llu were planned", (unsigned long long)s.work_bytes,
                 (unsigned long long)plan->work);
    assert_int_equal(s.memory_bytes, omnid_model_get_info(w->model).weight_bytes + s.kv_bytes + s.work_bytes);
}

static void enough_is_planned(const char *model, const char *backend, unsigned modes)
{
    static const omnid_mode all[] = {OMNID_MODE_EAGER, OMNID_MODE_DEFERRED, OMNID_MODE_OFFLINE};
    world w;
    omnid_timeline_params t = timeline_of(modes);
    omnid_question_params q = omnid_question_params_default();
    omnid_memory_plan plan = plan_of(model, backend, &t, 1);
    world_open(&w, model, backend, NULL);
    world_timeline(&w, &t);
    q.question = "What was that, and when, and why did it happen to be there?";
    q.max_tokens = 4;
    for (int s = 0; s < 4 * WINDOW; s++) {
        world_feed(&w, w.timeline, 1, s, s, 3);
        holds_no_more(&w, &plan);
        for (int m = 0; m < 3 && s % WINDOW == WINDOW - 1; m++) {
            omnid_segment *now = world_segment(&w, w.timeline, 2, s + 1, s + 1, 3);
            q.mode = all[m];
            q.retention = s % 2 ? "none" : "30";
            if (modes & all[m])
                world_ask(&w, w.timeline, &q, &now);
            omnid_segment_destroy(&now);
            holds_no_more(&w, &plan);
        }
    }
    omnid_engine_status s = omnid_engine_get_status(w.engine);
    assert_true(2 * s.kv_bytes > plan.kv);
    assert_true(s.free_bytes > 0);
    assert_true(plan.weights <= omnid_model_get_info(w.model).weight_bytes + MIB);
    assert_true(plan.weights + MIB >= omnid_model_get_info(w.model).weight_bytes);
    world_close(&w);
}

static void test_enough_is_planned(void **state)
{
    (void)state;
    static const char *const backends[] = {"cpu", "reference"};
    for (int b = 0; b < 2; b++) {
        omnid_model_report r;
        omnid_model_params p = params_of(backends[b]);
        if (omnid_model_inspect(&r, folder_of("M3"), &p, NULL) == OMNID_NOT_FOUND)
            continue; /* no cpu backend in this build */
        enough_is_planned("M3", backends[b], OMNID_MODE_EAGER);
    }
    enough_is_planned("M3", "auto", OMNID_MODE_DEFERRED);
    enough_is_planned("M3", "auto", OMNID_MODE_OFFLINE);
    enough_is_planned("M3", "auto", OMNID_MODE_EAGER | OMNID_MODE_DEFERRED | OMNID_MODE_OFFLINE);
}

/* The plan grows with what is configured, and only where it should. */
static void test_what_counts(void **state)
{
    (void)state;
    omnid_timeline_params t[2] = {timeline_of(OMNID_MODE_EAGER), timeline_of(OMNID_MODE_EAGER)};
    omnid_memory_plan none = plan_of("M3", "reference", NULL, 0), one = plan_of("M3", "reference", t, 1);
    omnid_memory_plan two = plan_of("M3", "reference", t, 2);
    assert_int_equal(none.kv, 0);
    assert_int_equal(two.kv, 2 * one.kv);
    assert_int_equal(two.work, one.work);
    assert_true(two.weights == one.weights && one.weights == none.weights && one.weights > 0);
    t[0].window_segments = 4 * WINDOW;
    omnid_memory_plan longer = plan_of("M3", "reference", t, 1);
    assert_true(longer.kv > 3 * one.kv && longer.kv < 4 * one.kv);
    t[0] = timeline_of(OMNID_MODE_EAGER);
    t[0].rho_v = 0;
    assert_true(plan_of("M3", "reference", t, 1).kv > one.kv);
    t[0] = timeline_of(OMNID_MODE_EAGER);
    t[0].has_video = false;
    assert_true(plan_of("M3", "reference", t, 1).kv < one.kv);
    t[0] = timeline_of(OMNID_MODE_EAGER);
    t[0].max_pixels *= 4;
    omnid_memory_plan larger = plan_of("M3", "reference", t, 1);
    assert_true(larger.kv > one.kv && larger.work > one.work);
    assert_false(one.own);
    assert_string_equal(one.device, "this machine");
    assert_true(one.total >= one.free && one.free > 0 && one.limit == one.total);
    assert_true(one.need >= one.weights + one.kv + one.work);
}

static void refused(const omnid_model_params *p, const char *sentence)
{
    omnid_model *m;
    omnid_error err = {0};
    assert_int_equal(omnid_model_open(&m, folder_of("M3"), p, &err), OMNID_LIMIT);
    assert_null(m);
    if (!strstr(err.text, sentence))
        fail_msg("wanted \"%s\" in: %s", sentence, err.text);
}

static void test_refusal(void **state)
{
    (void)state;
    omnid_timeline_params t = timeline_of(OMNID_MODE_EAGER);
    omnid_model_params p = params_of("reference");
    char sentence[256];
    const double gib = (double)(1 << 30);
    t.window_segments = 43200;
    p.timelines = &t;
    p.n_timelines = 1;
    omnid_memory_plan plan = plan_of("M3", "reference", &t, 1);
    p.memory_limit = plan.need - 1;
    snprintf(
        sentence, sizeof sentence,
        "the model needs %.2f GiB (weights %.2f, KV of 1 timeline %.2f, work space %.2f, the program 0.25), the limit "
        "is %.2f GiB: try a smaller window_s, fewer cameras, a smaller max_pixels or mode deferred",
        (double)plan.need / gib, (double)plan.weights / gib, (double)plan.kv / gib, (double)plan.work / gib,
        (double)p.memory_limit / gib);
    refused(&p, sentence);
    p.memory_limit = plan.weights + plan.weights / 16;
    refused(&p, "the limit is 0.00 GiB: try precision bf16, weights int8 or a smaller model");
    p.memory_limit = plan.need;
    omnid_model *m;
    omnid_error err = {0};
    world_ok(omnid_model_open(&m, folder_of("M3"), &p, &err), &err);
    omnid_memory_plan kept = omnid_model_get_plan(m);
    assert_int_equal(kept.kv, plan.kv);
    assert_int_equal(kept.limit, p.memory_limit);
    omnid_model_destroy(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_enough_is_planned), cmocka_unit_test(test_what_counts),
                                       cmocka_unit_test(test_refusal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
