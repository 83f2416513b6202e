/* sampling.c: from the logits of one position to the next token, or to the next choice that is scored. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

/* Adds text to the answer and tells it. */
static omnid_status tell_text(answer *a, const char *text, size_t n, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    if (n == 0)
        return OMNID_OK;
    if (a->n_out + n + 1 > a->out_capacity) {
        size_t capacity = 2 * (a->n_out + n + 1);
        char *out = realloc(a->out, capacity);
        if (!out)
            return omnid_fail(err, OMNID_NOMEM, "no memory for an answer of %zu bytes", capacity);
        a->out = out;
        a->out_capacity = capacity;
    }
    memcpy(a->out + a->n_out, text, n);
    a->n_out += n;
    a->out[a->n_out] = '\0';
    if (e->callbacks.on_text)
        e->callbacks.on_text(e->callbacks.user, a->id, text, n);
    return OMNID_OK;
}

static omnid_status finish(answer *a, const char *reason, omnid_error *err)
{
    const char *text;
    size_t n;
    bool stopped = false;
    a->stop_reason = reason;
    a->stage = ANSWER_DONE;
    if (a->ask.n_choices)
        return OMNID_OK;
    OMNID_TRY(utf8_stream_end(a->text, &text, &n, &stopped, err));
    if (stopped)
        a->stop_reason = "stop";
    return tell_text(a, text, n, err);
}

static bool is_end(const omnid_model *m, int32_t id)
{
    for (int i = 0; i < m->ids.n_eos; i++)
        if (m->ids.eos[i] == id)
            return true;
    return false;
}

static omnid_status take_token(answer *a, int32_t id, omnid_error *err)
{
    const omnid_model *m = a->timeline->engine->model;
    OMNID_TRY(id_list_add(&a->tokens, id, err));
    if (is_end(m, id))
        return finish(a, "end", err);
    if (!tokenizer_is_special(m->tokenizer, id)) {
        size_t n_bytes, n;
        const char *bytes = tokenizer_bytes(m->tokenizer, id, &n_bytes), *text;
        bool stopped;
        OMNID_TRY(utf8_stream_push(a->text, bytes, n_bytes, &text, &n, &stopped, err));
        OMNID_TRY(tell_text(a, text, n, err));
        if (stopped) {
            a->stop_reason = "stop";
            a->stage = ANSWER_DONE;
            return OMNID_OK;
        }
    }
    a->next_token = id;
    return a->tokens.n == a->ask.max_tokens ? finish(a, "length", err) : OMNID_OK;
}

/* Ids the repetition penalty counts: the prompt's, as transformers has them, and the answer's. */
static omnid_status upload_seen(answer *a, tensor *seen, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const id_list *lists[] = {&a->timeline->prefix_ids, &a->ask.query, &a->tokens};
    size_t n = 0, all = 2;
    for (size_t i = 0; i < 3; i++)
        all += (size_t)lists[i]->n;
    OMNID_TRY(buffer_reserve(&e->memory, &a->seen, 2 * all * sizeof(int32_t), err));
    for (size_t i = 0; i < 3; i++) {
        if (lists[i]->n)
            e->ops->upload(e->stream, (int32_t *)a->seen.data + n, lists[i]->ids,
                           (size_t)lists[i]->n * sizeof(int32_t));
        n += (size_t)lists[i]->n;
    }
    int32_t parts[2] = {e->model->ids.video, e->model->ids.audio};
    e->ops->upload(e->stream, (int32_t *)a->seen.data + n, parts, sizeof parts);
    *seen = tensor_1d(a->seen.data, KERNELS_I32, (int64_t)n + 2);
    return kernels_stream_status(e->stream, err);
}

static omnid_status sample(answer *a, const tensor *logits, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    bool penalty = a->ask.sampling.repetition_penalty != 1.0f;
    tensor seen;
    if (penalty)
        OMNID_TRY(upload_seen(a, &seen, err));
    int32_t id = 0;
    double u = a->ask.sampling.temperature > 0 ? random_pcg32_uniform(&a->random) : 0;
    e->ops->sample(e->stream, &id, logits, penalty ? &seen : NULL, &a->ask.sampling, u);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    if (!a->timings.first_token_us)
        a->timings.first_token_us = omnid_clock_us();
    return take_token(a, id, err);
}

static double log_probability(const float *logits, int n, int32_t id)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        most = logits[i] > most ? logits[i] : most;
    for (int i = 0; i < n; i++)
        sum += exp((double)logits[i] - most);
    return (double)logits[id] - most - log(sum);
}

/* Adds the log-probability of the present token of the present choice; the next token of it runs next, or the next choice
 * begins at the query's end. */
static omnid_status score_choice(answer *a, omnid_error *err)
{
    int n = a->timeline->engine->model->config.text.vocabulary;
    if (!a->timings.first_token_us)
        a->timings.first_token_us = omnid_clock_us();
    const float *logits = a->host_logits;
    for (;;) {
        const id_list *c = &a->ask.choices[a->choice];
        a->choice_logprobs[a->choice] += log_probability(logits, n, c->ids[a->choice_token]);
        if (++a->choice_token < c->n) {
            a->next_token = c->ids[a->choice_token - 1];
            return OMNID_OK;
        }
        a->choice_token = 0;
        a->n_fed = 0;
        if (++a->choice == a->ask.n_choices)
            return finish(a, "choices", err);
        logits = a->first_logits;
    }
}

/* Host copies where something needs them: choices, the trace. */
static omnid_status fetch_logits(answer *a, const tensor *logits, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    size_t size = (size_t)e->model->config.text.vocabulary * sizeof(float);
    bool first = !a->first_logits;
    if (!a->ask.n_choices && !(a->ask.trace && first))
        return OMNID_OK;
    if (!a->host_logits)
        a->host_logits = malloc(size);
    if (first)
        a->first_logits = malloc(size);
    if (!a->host_logits || !a->first_logits)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %zu bytes of logits", size);
    e->ops->download(e->stream, a->host_logits, logits->data, size);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    if (first)
        memcpy(a->first_logits, a->host_logits, size);
    return OMNID_OK;
}

omnid_status answer_take_logits(answer *a, const tensor *logits, omnid_error *err)
{
    OMNID_TRY(fetch_logits(a, logits, err));
    return a->ask.n_choices ? score_choice(a, err) : sample(a, logits, err);
}
