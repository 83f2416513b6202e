/* test_memory.c: every allocation on the way from a folder to an answer fails once. Each time the caller hears of it once
 * and exactly (no memory), nothing leaks (address sanitizer), and the same thing works when it is tried again. */
#include "fault.h"
#include "tests/unit/engine/world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 56, N_SAMPLES = 1600 };

static void is_nomem(omnid_status status, const omnid_error *err, int n)
{
    if (status != OMNID_NOMEM || err->status != OMNID_NOMEM || !err->text[0])
        fail_msg("allocation %d: status %s, sentence \"%s\" (%s)", n, omnid_status_name(status), err->text,
                 omnid_status_name(err->status));
}

/* ---- opening a model ---- */

static const char *backend = "reference";
/* Another backend than the reference has its own allocations in opening, pages, scratch: one mode shows those. */
static bool one_mode;

static omnid_status open_model(omnid_model **out, omnid_error *err)
{
    omnid_model_params p = omnid_model_params_default();
    p.backend = backend;
    p.precision = OMNID_PRECISION_F32;
    p.n_threads = 1;
    return omnid_model_open(out, OMNID_SOURCE_DIR "/tests/golden/data/M3/model", &p, err);
}

static void opening_a_model(void **state)
{
    omnid_model *m = NULL;
    omnid_error err = {0};
    int *places;
    (void)state;
    omnid_log_set(OMNID_LOG_ERROR, NULL, NULL);
    fault_record();
    omnid_status status = open_model(&m, &err);
    int n_places = fault_recorded(&places);
    world_ok(status, &err);
    omnid_model_destroy(&m);
    assert_true(n_places > 50);
    for (int i = 0; i < n_places; i += one_mode ? 5 : 1) { /* the walk over the files is the same */
        err = (omnid_error){0};
        fault_arm(places[i]);
        status = open_model(&m, &err);
        assert_true(fault_disarm(NULL));
        is_nomem(status, &err, places[i]);
        assert_null(m);
    }
    world_ok(open_model(&m, &err), &err);
    omnid_model_destroy(&m);
    free(places);
}

/* ---- what an engine tells ---- */

typedef struct {
    int n_visible, n_done, n_failed;
    omnid_error error;
    int n_tokens, tokens[16], n_evidence, n_survivors;
    double logprobs[4], weight, retained;
} told;

static void on_done(void *user, uint64_t answer, const omnid_result *r)
{
    told *t = user;
    (void)answer;
    t->n_done++;
    t->n_tokens = r->n_tokens;
    for (int i = 0; i < r->n_tokens && i < 16; i++)
        t->tokens[i] = r->tokens[i];
    for (int i = 0; i < r->n_choices; i++)
        t->logprobs[i] = r->choice_logprobs[i];
    t->n_evidence = r->n_evidence;
    t->weight = r->n_evidence ? r->evidence[0].weight : 0;
    t->retained = r->retained;
    for (int l = 0; r->trace && l < r->n_layers; l++)
        for (int i = 0; i < r->layers[l].n; i++)
            t->n_survivors += (l + 1) * (1 + r->trace->survivors[l][i]);
}

static void on_error(void *user, uint64_t answer, const omnid_error *err)
{
    told *t = user;
    (void)answer;
    t->n_failed++;
    t->error = *err;
}

static void on_segment(void *user, omnid_timeline *tl, const omnid_segment_report *r)
{
    told *t = user;
    (void)tl;
    (void)r;
    t->n_visible++;
}

/* ---- an engine, one operation of it, the same again ---- */

typedef struct {
    omnid_model *model;
    omnid_engine *engine;
    omnid_timeline *timeline;
    told told;
    unsigned modes;
    omnid_question_params question;
} site;

static omnid_status create(site *s, omnid_error *err)
{
    omnid_engine_params ep = omnid_engine_params_default();
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_callbacks callbacks = {.user = &s->told, .on_done = on_done, .on_error = on_error, .on_segment = on_segment};
    tp.modes = s->modes;
    tp.window_segments = 4;
    tp.system = "";
    OMNID_TRY(omnid_engine_create(&s->engine, s->model, &ep, &callbacks, err));
    return omnid_timeline_create(&s->timeline, s->engine, &tp, err);
}

static omnid_status submit(site *s, int64_t index, omnid_error *err)
{
    static uint8_t rgb[SIDE * SIDE * 3];
    static float samples[N_SAMPLES];
    omnid_segment_params p = {.index = index, .n_frames = 4, .samples = samples, .n_samples = N_SAMPLES};
    omnid_segment *seg = NULL;
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        rgb[i] = (uint8_t)(i * (7 + index) % 251);
    for (int i = 0; i < N_SAMPLES; i++)
        samples[i] = 0.4f * sinf((float)i * (0.05f + 0.01f * (float)index));
    for (int i = 0; i < 4; i++)
        p.frames[i] = (omnid_frame){rgb + 3 * SIDE * i, SIDE, SIDE / 2, 3 * SIDE};
    OMNID_TRY(omnid_segment_create(&seg, s->timeline, &p, err));
    omnid_status status = omnid_timeline_submit(s->timeline, &seg, err);
    omnid_segment_destroy(&seg);
    return status;
}

/* Steps until nothing is left to do, or one fails. */
static omnid_status run(site *s, omnid_error *err)
{
    omnid_status status;
    do
        status = omnid_engine_step(s->engine, 0, err);
    while (status == OMNID_OK);
    return status == OMNID_AGAIN ? OMNID_OK : status;
}

static void run_well(site *s)
{
    omnid_error err = {0};
    world_ok(run(s, &err), &err);
}

static void begin(site *s, int n_segments)
{
    omnid_error err = {0};
    s->told = (told){0};
    world_ok(create(s, &err), &err);
    for (int i = 0; i < n_segments; i++) {
        world_ok(submit(s, i, &err), &err);
        run_well(s);
    }
    assert_int_equal(s->told.n_visible, n_segments);
}

static void creating_an_engine(void **state)
{
    site s = {.modes = OMNID_MODE_EAGER};
    omnid_error err = {0};
    int *places;
    (void)state;
    world_ok(open_model(&s.model, &err), &err);
    fault_record();
    omnid_status status = create(&s, &err);
    int n_places = fault_recorded(&places);
    world_ok(status, &err);
    omnid_engine_destroy(&s.engine);
    assert_true(n_places > 10);
    for (int i = 0; i < n_places; i++) {
        s.engine = NULL;
        s.timeline = NULL;
        err = (omnid_error){0};
        fault_arm(places[i]);
        status = create(&s, &err);
        assert_true(fault_disarm(NULL));
        is_nomem(status, &err, places[i]);
        assert_null(s.timeline);
        omnid_engine_destroy(&s.engine);
    }
    begin(&s, 1);
    omnid_engine_destroy(&s.engine);
    omnid_model_destroy(&s.model);
    free(places);
}

/* ---- a segment ---- */

static omnid_status feed(site *s, int64_t index, omnid_error *err)
{
    OMNID_TRY(submit(s, index, err));
    return run(s, err);
}

static void lose_segment(site *s, int n_before, int place)
{
    omnid_error err = {0};
    begin(s, n_before);
    fault_arm(place);
    omnid_status status = feed(s, n_before, &err);
    assert_true(fault_disarm(NULL));
    if (one_mode && status == OMNID_OK) { /* scratch that would have grown stays in two pieces */
        assert_int_equal(s->told.n_visible, n_before + 1);
        omnid_engine_destroy(&s->engine);
        return;
    }
    is_nomem(status, &err, place);
    run_well(s);
    omnid_timeline_status st = omnid_timeline_get_status(s->timeline);
    assert_int_equal(s->told.n_visible, n_before);
    assert_int_equal(st.n_segments, n_before);
    assert_int_equal(st.n_queued, 0);
    assert_int_equal(st.n_gaps, 0);
    /* the next one goes in; what was lost is a gap */
    world_ok(feed(s, n_before + 1, &err), &err);
    st = omnid_timeline_get_status(s->timeline);
    assert_int_equal(s->told.n_visible, n_before + 1);
    assert_int_equal(st.n_segments, n_before + 2);
    assert_int_equal(st.n_gaps, 1);
    omnid_segment_report reports[4];
    assert_int_equal(omnid_timeline_get_segments(s->timeline, reports, 4), n_before + 2);
    omnid_engine_destroy(&s->engine);
}

static void taking_in_a_segment(void **state)
{
    static const unsigned modes[] = {OMNID_MODE_EAGER, OMNID_MODE_DEFERRED, OMNID_MODE_OFFLINE};
    site s = {0};
    omnid_error err = {0};
    int total = 0;
    (void)state;
    world_ok(open_model(&s.model, &err), &err);
    for (int m = 0; m < (one_mode ? 1 : 6); m++) {
        int *places, n_before = m / 3; /* the first one brings the prefix and all the work space */
        s.modes = modes[m % 3];
        if (one_mode) { /* a backend keeps what it has made for a shape */
            begin(&s, n_before + 1);
            omnid_engine_destroy(&s.engine);
        }
        begin(&s, n_before);
        fault_record();
        omnid_status status = feed(&s, n_before, &err);
        int n_places = fault_recorded(&places);
        world_ok(status, &err);
        omnid_engine_destroy(&s.engine);
        for (int i = 0; i < n_places; i++)
            lose_segment(&s, n_before, places[i]);
        free(places);
        total += n_places;
    }
    assert_true(total > (one_mode ? 50 : 300));
    omnid_model_destroy(&s.model);
}

/* ---- a question ---- */

static void same_result(const told *a, const told *b)
{
    assert_int_equal(a->n_done, 1);
    assert_int_equal(a->n_failed, 0);
    assert_int_equal(a->n_tokens, b->n_tokens);
    for (int i = 0; i < a->n_tokens; i++)
        assert_int_equal(a->tokens[i], b->tokens[i]);
    for (int i = 0; i < 4; i++)
        assert_true(fabs(a->logprobs[i] - b->logprobs[i]) < 1e-9);
    assert_int_equal(a->n_evidence, b->n_evidence);
    assert_true(fabs(a->weight - b->weight) < 1e-9);
    assert_true(fabs(a->retained - b->retained) < 1e-12);
    assert_int_equal(a->n_survivors, b->n_survivors);
}

static omnid_status ask(site *s, omnid_error *err)
{
    uint64_t id;
    s->told = (told){0};
    OMNID_TRY(omnid_timeline_ask(s->timeline, &s->question, NULL, &id, err));
    return run(s, err);
}

static void lose_answer(site *s, int place, const told *good)
{
    omnid_error err = {0};
    begin(s, 1);
    fault_arm(place);
    omnid_status status = ask(s, &err);
    assert_true(fault_disarm(NULL));
    if (s->told.n_failed + s->told.n_done == 0)
        is_nomem(status, &err, place);
    else if (s->told.n_done)
        fail_msg("allocation %d failed, the answer came all the same", place);
    else
        is_nomem(s->told.error.status, &s->told.error, place);
    assert_in_range(s->told.n_failed, 0, 1);
    assert_int_equal(omnid_engine_get_status(s->engine).n_open_answers, 0);
    world_ok(ask(s, &err), &err);
    same_result(&s->told, good);
    omnid_engine_destroy(&s->engine);
}

static int fail_every_place(site *s)
{
    omnid_error err = {0};
    int *places;
    begin(s, 1);
    if (one_mode) {
        world_ok(ask(s, &err), &err);
        omnid_engine_destroy(&s->engine);
        begin(s, 1);
    }
    fault_record();
    omnid_status status = ask(s, &err);
    int n_places = fault_recorded(&places);
    world_ok(status, &err);
    told good = s->told;
    same_result(&good, &good);
    omnid_engine_destroy(&s->engine);
    for (int i = 0; i < n_places; i++)
        lose_answer(s, places[i], &good);
    free(places);
    return n_places;
}

static void answering_a_question(void **state)
{
    static const omnid_mode modes[] = {OMNID_MODE_EAGER, OMNID_MODE_DEFERRED, OMNID_MODE_OFFLINE};
    static const char *const choices[] = {"a", "bc"}, *const stop[] = {"never said"};
    static const omnid_turn turn = {"a", "b"};
    site s = {0};
    omnid_error err = {0};
    int total = 0;
    (void)state;
    world_ok(open_model(&s.model, &err), &err);
    for (int m = 0; m < (one_mode ? 1 : 7); m++) {
        omnid_question_params q = omnid_question_params_default();
        s.modes = q.mode = m < 6 ? modes[m % 3] : OMNID_MODE_DEFERRED;
        q.question = "a?";
        q.max_tokens = 2;
        q.retention = "0.3,0.4,0.5,2"; /* someone leaves after every layer */
        switch (m / 3) {
        case 0:
            q.trace = true;
            q.repetition_penalty = 1.2;
            q.temperature = 0.5;
            q.stop = stop;
            q.n_stop = 1;
            break;
        case 1:
            q.choices = choices;
            q.n_choices = 2;
            q.history = &turn;
            q.n_history = 1;
            q.policy = "random";
            break;
        default:
            q.policy = "none"; /* nobody leaves: the other way through the layers */
            q.retention = "none";
            q.max_tokens = 1;
        }
        s.question = q;
        total += fail_every_place(&s);
    }
    assert_true(total > (one_mode ? 50 : 300));
    omnid_model_destroy(&s.model);
}

/* ---- forget and cancel need no memory ---- */

static void forgetting_and_cancelling(void **state)
{
    site s = {.modes = OMNID_MODE_EAGER, .question = omnid_question_params_default()};
    omnid_error err = {0};
    uint64_t id = 0;
    int n_seen = -1;
    (void)state;
    world_ok(open_model(&s.model, &err), &err);
    begin(&s, 2);
    s.question.question = "What is it?";
    world_ok(omnid_timeline_ask(s.timeline, &s.question, NULL, &id, &err), &err);
    world_ok(omnid_engine_step(s.engine, 0, &err), &err);
    fault_arm(0);
    omnid_engine_cancel(s.engine, id);
    assert_int_equal(omnid_engine_step(s.engine, 0, &err), OMNID_AGAIN);
    fault_disarm(&n_seen);
    assert_int_equal(n_seen, 0);
    assert_int_equal(s.told.n_failed, 1);
    assert_int_equal(s.told.error.status, OMNID_CANCELLED);
    world_ok(omnid_timeline_ask(s.timeline, &s.question, NULL, &id, &err), &err);
    world_ok(submit(&s, 2, &err), &err);
    fault_arm(0);
    omnid_timeline_forget(s.timeline);
    assert_int_equal(omnid_engine_step(s.engine, 0, &err), OMNID_AGAIN);
    fault_disarm(&n_seen);
    assert_int_equal(n_seen, 0);
    assert_int_equal(s.told.n_failed, 2);
    assert_int_equal(omnid_timeline_get_status(s.timeline).n_segments, 0);
    world_ok(feed(&s, 0, &err), &err);
    assert_int_equal(omnid_timeline_get_status(s.timeline).n_segments, 1);
    omnid_engine_destroy(&s.engine);
    omnid_model_destroy(&s.model);
}

/* Two answers decode as one batch: whatever fails, one of them ends at most, and the other is what it is alone. */
static void one_of_two_answers(void **state)
{
    site s = {.modes = OMNID_MODE_EAGER};
    omnid_error err = {0};
    int *places, n_lost = 0;
    uint64_t id;
    (void)state;
    world_ok(open_model(&s.model, &err), &err);
    s.question = omnid_question_params_default();
    s.question.question = "a?";
    s.question.max_tokens = 3;
    begin(&s, 1);
    world_ok(ask(&s, &err), &err);
    const told good = s.told;
    for (int place = -1, n_places = 0, i = 0; i <= n_places; i += place < 0 ? 1 : 3) {
        if (i > 0)
            place = places[i - 1];
        if (s.engine)
            omnid_engine_destroy(&s.engine);
        begin(&s, 1);
        for (int n = 0; n < 2; n++)
            world_ok(omnid_timeline_ask(s.timeline, &s.question, NULL, &id, &err), &err);
        if (i == 0)
            fault_record();
        else
            fault_arm(place);
        world_ok(run(&s, &err), &err);
        if (i == 0)
            n_places = fault_recorded(&places);
        else
            assert_true(fault_disarm(NULL) || one_mode);
        assert_int_equal(s.told.n_done + s.told.n_failed, 2);
        assert_in_range(s.told.n_failed, i > 0 && !one_mode, i > 0);
        for (int t = 0; s.told.n_done && t < good.n_tokens; t++)
            assert_int_equal(s.told.tokens[t], good.tokens[t]);
        n_lost += s.told.n_failed;
    }
    assert_true(n_lost > 10);
    omnid_engine_destroy(&s.engine);
    omnid_model_destroy(&s.model);
    free(places);
}

/* The backend may be named. */
int main(int argc, char **argv)
{
    if (argc > 1)
        backend = argv[1];
    one_mode = strcmp(backend, "reference") != 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_a_model),           cmocka_unit_test(creating_an_engine),
        cmocka_unit_test(taking_in_a_segment),       cmocka_unit_test(answering_a_question),
        cmocka_unit_test(forgetting_and_cancelling), cmocka_unit_test(one_of_two_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
