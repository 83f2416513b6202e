/* test_questions.c: answers do not depend on how the work was cut or on what was asked before; what is asked wrongly is
 * refused with a sentence. */
#include "world.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void feed(world *w, unsigned modes, int n)
{
    omnid_timeline_params tp = omnid_timeline_params_default();
    tp.modes = modes;
    world_timeline(w, &tp);
    for (int s = 0; s < n; s++)
        world_feed(w, w->timeline, 2, s, s, 3);
}

static omnid_question_params question(const char *text)
{
    omnid_question_params q = omnid_question_params_default();
    q.question = text;
    q.max_tokens = 5;
    return q;
}

static void same_answer(const world *w, const world_answer *a, const world_answer *b, double tolerance)
{
    double distance = world_distance(w, a, b);
    if (!(distance <= tolerance))
        fail_msg("logits differ by %g, tolerance %g", distance, tolerance);
    world_same_survivors(a, b);
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->n_tokens, b->n_tokens);
}

static void deferred_equals_offline(void **state)
{
    static const char *const retentions[] = {"30", "20", "0.05,0.6,0.4,2", "none"};
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_DEFERRED | OMNID_MODE_OFFLINE, 5);
    for (int r = 0; r < 4; r++) {
        omnid_question_params q = question("What is the square's way?");
        q.retention = retentions[r];
        q.mode = OMNID_MODE_DEFERRED;
        const world_answer *deferred = world_ask(&w, w.timeline, &q, NULL);
        q.mode = OMNID_MODE_OFFLINE;
        q.first_prune = w.info.n_layers / 2 - 1;
        same_answer(&w, deferred, world_ask(&w, w.timeline, &q, NULL), 1e-4);
    }
    world_close(&w);
}

/* Slices of 7 rows: segment, question and its scores come in several chunks. */
static void chunked_equals_one_shot(void **state)
{
    static const omnid_mode modes[] = {OMNID_MODE_EAGER, OMNID_MODE_DEFERRED, OMNID_MODE_OFFLINE};
    omnid_engine_params ep = omnid_engine_params_default();
    world whole, chunked;
    (void)state;
    world_open(&whole, "M1", "auto", NULL);
    ep.slice_rows = 7;
    world_open(&chunked, "M1", "auto", &ep);
    for (int m = 0; m < 3; m++) {
        static const omnid_turn turns[] = {{"Who is there?", "Nobody at all."}};
        omnid_question_params q = question("And now, after all that has happened, what can you see there?");
        q.history = turns;
        q.n_history = m == 1;
        feed(&whole, modes[m], 4);
        feed(&chunked, modes[m], 4);
        const world_answer *a = world_ask(&whole, whole.timeline, &q, NULL);
        const world_answer *b = world_ask(&chunked, chunked.timeline, &q, NULL);
        same_answer(&whole, a, b, 1e-4);
        assert_int_equal(a->timings.rows_prefilled, b->timings.rows_prefilled);
    }
    for (int i = 0; i < chunked.n_slices; i++)
        if (chunked.slices[i].kind != OMNID_SLICE_ENCODE)
            assert_true(chunked.slices[i].n_rows <= 7);
    world_close(&whole);
    world_close(&chunked);
}

static void alone_equals_after_others(void **state)
{
    static const char *const others[] = {"Is it loud?", "What colour?", "How many?"};
    world w;
    (void)state;
    world_open(&w, "M2", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER, 4);
    omnid_question_params q = question("Where does it go?");
    const world_answer *alone = world_ask(&w, w.timeline, &q, NULL);
    for (int i = 0; i < 3; i++) {
        omnid_question_params other = question(others[i]);
        other.retention = i ? "20" : "0.05,0.6,0.4,2";
        world_ask(&w, w.timeline, &other, NULL);
    }
    same_answer(&w, alone, world_ask(&w, w.timeline, &q, NULL), 0);
    world_close(&w);
}

/* Answers of three cameras, asked at once, decode as one batch and are what each is alone. */
static void cameras_do_not_mix(void **state)
{
    world w;
    omnid_timeline *cameras[3] = {0};
    omnid_error err = {0};
    omnid_timeline_params tp = omnid_timeline_params_default();
    const world_answer *alone[3];
    static char texts[3][4096];
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    omnid_question_params q = question("What do you see?");
    q.max_tokens = 12;
    for (int c = 0; c < 3; c++) {
        world_ok(omnid_timeline_create(&cameras[c], w.engine, &tp, &err), &err);
        for (int s = 0; s < 3; s++)
            world_feed(&w, cameras[c], 5 + c, s, s, 3);
        alone[c] = world_ask(&w, cameras[c], &q, NULL);
        snprintf(texts[c], sizeof texts[c], "%s", alone[c]->text);
    }
    assert_string_not_equal(texts[0], texts[1]);
    assert_string_not_equal(texts[1], texts[2]);
    int places[3];
    w.n_slices = 0;
    for (int c = 0; c < 3; c++)
        places[c] = world_post(&w, cameras[c], &q, NULL);
    world_run(&w);
    int most = 0;
    for (int i = 0; i < w.n_slices; i++)
        if (w.slices[i].kind == OMNID_SLICE_DECODE && w.slices[i].n_rows > most)
            most = w.slices[i].n_rows;
    assert_int_equal(most, 3);
    for (int c = 0; c < 3; c++) {
        assert_true(w.answers[places[c]].done);
        assert_string_equal(w.answers[places[c]].text, texts[c]);
        assert_string_equal(w.answers[places[c]].streamed, texts[c]);
    }
    for (int c = 0; c < 3; c++)
        omnid_timeline_destroy(&cameras[c]);
    world_close(&w);
}

static void choices_are_scored(void **state)
{
    static const char *const choices[] = {"yes", "no, it is not", "perhaps"};
    static const char *const turned[] = {"perhaps", "yes", "no, it is not"};
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER, 3);
    omnid_question_params q = question("Is it red?");
    q.choices = choices;
    q.n_choices = 3;
    const world_answer *a = world_ask(&w, w.timeline, &q, NULL);
    q.choices = turned;
    const world_answer *b = world_ask(&w, w.timeline, &q, NULL);
    assert_string_equal(a->stop_reason, "choices");
    assert_int_equal(a->n_tokens, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(a->choice_logprobs[i] < 0 && isfinite(a->choice_logprobs[i]));
        assert_true(fabs(a->choice_logprobs[i] - b->choice_logprobs[(i + 1) % 3]) < 1e-4);
        assert_true(a->choice_logprobs[a->best_choice] >= a->choice_logprobs[i]);
    }
    world_close(&w);
}

static void answers_stop(void **state)
{
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER, 3);
    omnid_question_params q = question("Tell me more.");
    q.max_tokens = 20;
    const world_answer *free_one = world_ask(&w, w.timeline, &q, NULL);
    assert_string_equal(free_one->streamed, free_one->text);
    size_t n = strlen(free_one->text);
    assert_true(n > 6);
    char stop[4] = {free_one->text[n / 2], free_one->text[n / 2 + 1], 0};
    const char *stops[] = {stop};
    q.stop = stops;
    q.n_stop = 1;
    const world_answer *stopped = world_ask(&w, w.timeline, &q, NULL);
    assert_string_equal(stopped->stop_reason, "stop");
    assert_null(strstr(stopped->text, stop));
    assert_int_equal(strncmp(stopped->text, free_one->text, strlen(stopped->text)), 0);
    q.n_stop = 0;
    q.max_tokens = 2;
    const world_answer *shorter = world_ask(&w, w.timeline, &q, NULL);
    assert_int_equal(shorter->n_tokens, 2);
    assert_string_equal(shorter->stop_reason, "length");
    world_close(&w);
}

/* Seeds repeat; different seeds differ; temperature 0 needs none. */
static void sampling_follows_its_seed(void **state)
{
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER, 2);
    omnid_question_params q = question("Sing.");
    q.max_tokens = 16;
    q.temperature = 1.5;
    q.seed = 11;
    const world_answer *a = world_ask(&w, w.timeline, &q, NULL);
    const world_answer *b = world_ask(&w, w.timeline, &q, NULL);
    assert_string_equal(a->text, b->text);
    q.seed = 12;
    assert_string_not_equal(a->text, world_ask(&w, w.timeline, &q, NULL)->text);
    q.temperature = 0;
    const world_answer *greedy = world_ask(&w, w.timeline, &q, NULL);
    q.repetition_penalty = 50;
    const world_answer *penalised = world_ask(&w, w.timeline, &q, NULL);
    for (int i = 0; i < penalised->n_tokens; i++)
        for (int j = 0; j < i; j++)
            assert_int_not_equal(penalised->tokens[i], penalised->tokens[j]);
    assert_true(greedy->done);
    world_close(&w);
}

static void last_s_sees_the_newest_only(void **state)
{
    world w;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER | OMNID_MODE_OFFLINE, 5);
    omnid_question_params q = question("What was last?");
    q.last_s = 4;
    for (int m = 0; m < 2; m++) {
        q.mode = m ? OMNID_MODE_OFFLINE : OMNID_MODE_EAGER;
        const world_answer *a = world_ask(&w, w.timeline, &q, NULL);
        for (int i = 0; i < a->n_evidence; i++)
            assert_true(a->evidence[i].segment >= 3);
        q.last_s = 0;
        const world_answer *all = world_ask(&w, w.timeline, &q, NULL);
        assert_true(a->layers[0].n < all->layers[0].n / 2 + 40 && a->layers[0].n > 70);
        q.last_s = 4;
    }
    world_close(&w);
}

static omnid_status refuse(world *w, const omnid_question_params *q, const char *wanted)
{
    omnid_error err = {0};
    uint64_t id;
    omnid_status status = omnid_timeline_ask(w->timeline, q, NULL, &id, &err);
    assert_int_not_equal(status, OMNID_OK);
    if (!strstr(err.text, wanted))
        fail_msg("\"%s\" does not tell about \"%s\"", err.text, wanted);
    return status;
}

/* The model has 32768 positions; a window of 600 segments leaves some 2700 of them. */
static void a_question_that_passes_the_models_positions_is_refused(void **state)
{
    world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    char text[16000];
    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = "0q5 zk9jx"[i * i % 9];
    text[sizeof text - 1] = 0;
    world_open(&w, "M1", "auto", NULL);
    tp.window_segments = 600;
    world_timeline(&w, &tp);
    world_feed(&w, w.timeline, 0, 0, 0, 3);
    omnid_question_params q = question(text);
    assert_int_equal(refuse(&w, &q, "beside a window of 600 segments the model has room for 2"), OMNID_LIMIT);
    text[1000] = 0;
    const world_answer *a = world_ask(&w, w.timeline, &q, NULL);
    assert_true(a->done);
    world_close(&w);
}

static void wrong_questions_are_refused(void **state)
{
    world w;
    omnid_timeline_params tp = omnid_timeline_params_default();
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    world_timeline(&w, &tp);
    omnid_question_params q = question("Anything?");
    assert_int_equal(refuse(&w, &q, "nothing has been seen"), OMNID_EMPTY);
    world_feed(&w, w.timeline, 0, 0, 0, 3);
    char *long_one = malloc(20001);
    memset(long_one, 'a', 20000);
    long_one[20000] = 0;
    q.question = long_one;
    assert_int_equal(refuse(&w, &q, "at most 16384"), OMNID_LIMIT);
    free(long_one);
    q = question("");
    assert_int_equal(refuse(&w, &q, "empty"), OMNID_ARGUMENT);
    q = question("Bytes \xff\xfe?");
    refuse(&w, &q, "UTF-8");
    q = question("Mode?");
    q.mode = OMNID_MODE_OFFLINE;
    assert_int_equal(refuse(&w, &q, "offline"), OMNID_ARGUMENT);
    q = question("Policy?");
    q.policy = "omnidrip";
    assert_int_equal(refuse(&w, &q, "omnidrop"), OMNID_ARGUMENT);
    q = question("Retention?");
    q.retention = "0,1.5";
    assert_int_equal(refuse(&w, &q, "retention"), OMNID_ARGUMENT);
    q = question("Tokens?");
    q.max_tokens = 0;
    assert_int_equal(refuse(&w, &q, "max_tokens"), OMNID_ARGUMENT);
    q = question("Warm?");
    q.temperature = NAN;
    assert_int_equal(refuse(&w, &q, "temperature"), OMNID_ARGUMENT);
    q = question("Choices?");
    q.n_choices = 1;
    assert_int_equal(refuse(&w, &q, "choices"), OMNID_ARGUMENT);
    assert_int_equal(omnid_engine_get_status(w.engine).n_open_answers, 0);
    world_close(&w);
}

static void forget_forgets(void **state)
{
    world w;
    omnid_error err = {0};
    uint64_t id;
    (void)state;
    world_open(&w, "M1", "auto", NULL);
    feed(&w, OMNID_MODE_EAGER, 4);
    omnid_question_params q = question("Who?");
    int place = world_post(&w, w.timeline, &q, NULL);
    omnid_timeline_forget(w.timeline);
    world_run(&w);
    assert_true(w.answers[place].failed);
    assert_int_equal(w.answers[place].error.status, OMNID_CANCELLED);
    assert_int_equal(omnid_timeline_get_status(w.timeline).n_segments, 0);
    assert_int_equal(omnid_timeline_ask(w.timeline, &q, NULL, &id, &err), OMNID_EMPTY);
    /* what comes after is as if it were the first */
    for (int s = 0; s < 3; s++)
        world_feed(&w, w.timeline, 6, s, 10 + s, 3);
    const world_answer *after = world_ask(&w, w.timeline, &q, NULL);
    feed(&w, OMNID_MODE_EAGER, 0);
    for (int s = 0; s < 3; s++)
        world_feed(&w, w.timeline, 6, s, s, 3);
    same_answer(&w, after, world_ask(&w, w.timeline, &q, NULL), 1e-4);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deferred_equals_offline),
        cmocka_unit_test(chunked_equals_one_shot),
        cmocka_unit_test(alone_equals_after_others),
        cmocka_unit_test(cameras_do_not_mix),
        cmocka_unit_test(choices_are_scored),
        cmocka_unit_test(answers_stop),
        cmocka_unit_test(sampling_follows_its_seed),
        cmocka_unit_test(last_s_sees_the_newest_only),
        cmocka_unit_test(a_question_that_passes_the_models_positions_is_refused),
        cmocka_unit_test(wrong_questions_are_refused),
        cmocka_unit_test(forget_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
