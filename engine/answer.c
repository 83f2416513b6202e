/* answer.c: what was asked, checked and copied; life of an answer. */
#include "engine/answer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

enum { MAX_TOKENS = 4096, MAX_CHOICES = 64, TURN_BYTES = 64 /* what the template adds to an earlier turn, at most */ };

answer *answer_create(void)
{
    return calloc(1, sizeof(answer));
}

omnid_question_params omnid_question_params_default(void)
{
    return (omnid_question_params){.max_tokens = 256, .top_p = 1.0, .repetition_penalty = 1.0};
}

static omnid_status check_numbers(const omnid_question_params *p, omnid_error *err)
{
    if (!p->question || !*p->question)
        return omnid_fail(err, OMNID_ARGUMENT, "the question is empty");
    if (p->max_tokens < 1 || p->max_tokens > MAX_TOKENS)
        return omnid_fail(err, OMNID_ARGUMENT, "max_tokens is %d, want 1..%d", p->max_tokens, MAX_TOKENS);
    if (!(p->temperature >= 0 && p->temperature <= 100) || !(p->top_p > 0 && p->top_p <= 1) ||
        !(p->repetition_penalty > 0 && p->repetition_penalty <= 100))
        return omnid_fail(err, OMNID_ARGUMENT,
                          "temperature %g, top_p %g, repetition_penalty %g: want 0..100, above 0 to 1, "
                          "above 0 to 100",
                          p->temperature, p->top_p, p->repetition_penalty);
    if (!(p->last_s >= 0) || p->first_prune < 0)
        return omnid_fail(err, OMNID_ARGUMENT, "last_s %g, first_prune %d: want 0 or more", p->last_s, p->first_prune);
    if (p->n_choices == 1 || p->n_choices < 0 || p->n_choices > MAX_CHOICES)
        return omnid_fail(err, OMNID_ARGUMENT, "%d choices, want 2..%d", p->n_choices, MAX_CHOICES);
    return OMNID_OK;
}

static omnid_status choose_mode(answer *a, const omnid_timeline *tl, omnid_mode mode, omnid_error *err)
{
    static const omnid_mode order[] = {OMNID_MODE_EAGER, OMNID_MODE_DEFERRED, OMNID_MODE_OFFLINE};
    for (size_t i = 0; !mode && i < 3; i++)
        if (tl->params.modes & order[i])
            mode = order[i];
    a->ask.mode = mode;
    if (!(tl->params.modes & mode))
        return omnid_fail(err, OMNID_ARGUMENT, "the timeline does not keep what mode %s needs", omnid_mode_name(mode));
    return OMNID_OK;
}

static omnid_status fill_choices(answer *a, const omnid_timeline *tl, const omnid_question_params *p, omnid_error *err)
{
    const omnid_model *m = tl->engine->model;
    const size_t most = (size_t)tl->engine->params.max_question_bytes;
    if (p->n_choices == 0)
        return OMNID_OK;
    a->ask.choices = calloc((size_t)p->n_choices, sizeof *a->ask.choices);
    a->choice_logprobs = calloc((size_t)p->n_choices, sizeof *a->choice_logprobs);
    if (!a->ask.choices || !a->choice_logprobs)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d choices", p->n_choices);
    a->ask.n_choices = p->n_choices;
    for (int i = 0; i < p->n_choices; i++) {
        if (!p->choices[i] || !*p->choices[i])
            return omnid_fail(err, OMNID_ARGUMENT, "choice %d is empty", i + 1);
        if (strlen(p->choices[i]) > most)
            return omnid_fail(err, OMNID_LIMIT, "choice %d has %zu bytes, at most %zu", i + 1, strlen(p->choices[i]),
                              most);
        OMNID_TRY(id_list_add_text(&a->ask.choices[i], m->tokenizer, p->choices[i], err));
        OMNID_TRY(id_list_add(&a->ask.choices[i], m->ids.im_end, err));
        if (a->ask.choices[i].n > MAX_TOKENS)
            return omnid_fail(err, OMNID_LIMIT, "choice %d has %d tokens, at most %d", i + 1, a->ask.choices[i].n,
                              MAX_TOKENS);
    }
    return OMNID_OK;
}

static omnid_status check_size(const omnid_timeline *tl, const omnid_question_params *p, omnid_error *err)
{
    size_t n = strlen(p->question), most = (size_t)tl->engine->params.max_question_bytes;
    for (int i = 0; i < p->n_history && n <= most; i++) {
        if (!p->history[i].question || !p->history[i].answer)
            return omnid_fail(err, OMNID_ARGUMENT, "turn %d of the history lacks its question or its answer", i + 1);
        n += TURN_BYTES + strlen(p->history[i].question) + strlen(p->history[i].answer);
    }
    if (n > most)
        return omnid_fail(err, OMNID_LIMIT,
                          "question and history have %zu bytes or more (%d for each turn), at most %zu", n, TURN_BYTES,
                          most);
    return OMNID_OK;
}

enum { SEGMENT_POSITIONS = 50, LEAST_TEXT = 1024 };

/* Positions behind the full window belong to the question, its history and the answer. A window that leaves hardly any was
 * told when the timeline was made; then LEAST_TEXT are granted all the same. */
static omnid_status check_positions(const answer *a, const omnid_timeline *tl, omnid_error *err)
{
    const int64_t n_window = SEGMENT_POSITIONS * (int64_t)tl->params.window_segments;
    int64_t room = tl->engine->model->config.text.max_positions - n_window - tl->prefix_ids.n;
    int most = 0;
    room = room < LEAST_TEXT ? LEAST_TEXT : room;
    for (int i = 0; i < a->ask.n_choices; i++)
        most = a->ask.choices[i].n > most ? a->ask.choices[i].n : most;
    if (a->ask.query.n + most <= room)
        return OMNID_OK;
    return omnid_fail(
        err, OMNID_LIMIT,
        "question, history and choices have %d tokens; beside a window of %d segments the model has room for %lld",
        a->ask.query.n + most, tl->params.window_segments, (long long)room);
}

static omnid_status parse_retention(answer *a, const omnid_timeline *tl, const char *spec, omnid_error *err)
{
    const omnid_model *m = tl->engine->model;
    retention_named named[8];
    for (int i = 0; i < m->n_schedules; i++) {
        named[i] = (retention_named){.p_init = m->schedules[i].p_init,
                                     .p_final = m->schedules[i].p_final,
                                     .t_mid = m->schedules[i].t_mid,
                                     .tds_start = m->schedules[i].tds_start};
        memcpy(named[i].name, m->schedules[i].name, sizeof named[i].name);
    }
    retention_window window = retention_window_default();
    return retention_parse(&a->ask.plan, spec, m->config.text.n_layers, named, m->n_schedules, &window, err);
}

omnid_status answer_request_fill(answer *a, const omnid_timeline *tl, const omnid_question_params *p, omnid_error *err)
{
    const omnid_model *m = tl->engine->model;
    answer_request *ask = &a->ask;
    OMNID_TRY(check_numbers(p, err));
    OMNID_TRY(check_size(tl, p, err));
    OMNID_TRY(choose_mode(a, tl, p->mode, err));
    OMNID_TRY(prune_find(&ask->policy, p->policy, err));
    OMNID_TRY(parse_retention(a, tl, p->retention, err));
    OMNID_TRY(layout_query(&ask->query, m, p, tl->parts, &ask->first_score_row, err));
    OMNID_TRY(fill_choices(a, tl, p, err));
    OMNID_TRY(check_positions(a, tl, err));
    OMNID_TRY(utf8_stream_create(&a->text, p->stop, p->n_stop, err));
    ask->first_prune = p->first_prune;
    ask->max_tokens = p->max_tokens;
    ask->sampling = (kernels_sampling){(float)p->temperature, (float)p->top_p, (float)p->repetition_penalty};
    ask->seed = p->seed;
    ask->deadline_us = p->deadline_us;
    ask->last_s = p->last_s;
    ask->trace = p->trace;
    a->random = random_pcg32_seed(p->seed, 0);
    a->layers = calloc((size_t)m->config.text.n_layers, sizeof *a->layers);
    return a->layers ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory for an answer");
}

void answer_reset(memory *mem, answer *a)
{
    page_view_release(mem, &a->view);
    omnid_segment_destroy(&a->now);
    id_list_free(&a->ask.query);
    for (int i = 0; i < a->ask.n_choices; i++)
        id_list_free(&a->ask.choices[i]);
    free(a->ask.choices);
    free(a->choice_logprobs);
    utf8_stream_destroy(&a->text);
    free(a->out);
    id_list_free(&a->tokens);
    free(a->host_logits);
    free(a->first_logits);
    free(a->layers);
    free(a->classes);
    free(a->in_rows);
    free(a->host_list);
    free(a->S_sum);
    answer kept = {.view = a->view,
                   .lists = a->lists,
                   .S = a->S,
                   .rows = a->rows,
                   .own_rows = a->own_rows,
                   .spare_x = a->spare_x,
                   .in_cos = a->in_cos,
                   .in_sin = a->in_sin,
                   .places = a->places,
                   .own = a->own,
                   .seen = a->seen};
    *a = kept;
}

void answer_free(memory *mem, answer *a)
{
    answer_reset(mem, a);
    page_view_free(mem, &a->view);
    row_set_free(mem, &a->own_rows);
    kv_store_free(mem, &a->own);
    buffer *all[] = {&a->lists, &a->S, &a->rows, &a->spare_x, &a->in_cos, &a->in_sin, &a->places, &a->seen};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_free(mem, all[i]);
    free(a);
}
