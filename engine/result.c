/* result.c: what an answer tells at its end: text, numbers, evidence, and the trace where it was asked for. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

enum { MAX_EVIDENCE = 5 };

/* Weight of every segment of the view, and of its audio, over the layers from tds_start on (section 8). */
static void add_layer(const answer *a, int layer, const kernels_key *list, const float *S, double *weight,
                      double *audio, double *layer_weight)
{
    int64_t n = a->n[layer];
    double total = 0;
    for (int64_t i = 0; i < n; i++)
        total += (double)S[i];
    if (!(total > 0))
        return;
    for (int64_t i = 0; i < n; i++) {
        const kernels_key *key = &a->view.keys[list[i].index];
        const page *p = a->view.pages[key->page];
        double share = (double)S[i] / total;
        weight[key->page] += share;
        if (p->classes[key->row] != KERNELS_CLASS_VIDEO)
            audio[key->page] += share;
    }
    *layer_weight += 1;
}

static int heavier(const void *x, const void *y)
{
    const omnid_evidence *a = x, *b = y;
    if (a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    return (a->segment > b->segment) - (a->segment < b->segment);
}

static int report_evidence(const answer *a, const double *weight, const double *audio, double layers,
                           omnid_evidence *all, omnid_evidence *out)
{
    int n = a->view.n_pages, n_out = 0;
    for (int i = 0; i < n; i++)
        all[i] = (omnid_evidence){.segment = a->view.pages[i]->segment,
                                  .wall_us = a->view.pages[i]->wall_us,
                                  .weight = layers > 0 ? weight[i] / layers : 0,
                                  .audio_share = weight[i] > 0 ? audio[i] / weight[i] : 0};
    qsort(all, (size_t)n, sizeof *all, heavier);
    while (n_out < n && n_out < MAX_EVIDENCE && all[n_out].weight > 0 && all[n_out].weight >= 0.5 / n) {
        out[n_out] = all[n_out];
        n_out++;
    }
    return n_out;
}

static omnid_status collect_evidence(const answer *a, omnid_evidence *out, int *n_out, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const int n_layers = e->model->config.text.n_layers;
    size_t n = (size_t)a->view.n_pages, most = (size_t)a->n[0];
    double *weight = calloc(2 * n + 1, sizeof *weight), layers = 0;
    kernels_key *list = malloc((most + 1) * sizeof *list);
    float *S = malloc((most + 1) * sizeof *S);
    omnid_evidence *all = malloc((n + 1) * sizeof *all);
    omnid_status status = weight && list && S && all
                              ? OMNID_OK
                              : omnid_fail(err, OMNID_NOMEM, "no memory for the evidence of %zu tokens", most);
    if (status == OMNID_OK) {
        for (int l = a->ask.plan.tds_start; l < n_layers; l++) {
            if (a->scores_of[l] < 0 || a->n[l] == 0)
                continue;
            e->ops->download(e->stream, list, answer_list(a, l), (size_t)a->n[l] * sizeof *list);
            e->ops->download(e->stream, S, (float *)a->S.data + a->scores_of[l], (size_t)a->n[l] * sizeof *S);
            status = kernels_stream_status(e->stream, err);
            if (status != OMNID_OK)
                break;
            add_layer(a, l, list, S, weight, weight + n, &layers);
        }
        *n_out = report_evidence(a, weight, weight + n, layers, all, out);
    }
    free(weight);
    free(list);
    free(S);
    free(all);
    return status;
}

/* ---- trace ---- */

typedef struct {
    omnid_trace trace;
    int32_t *ids;
    int64_t *positions; /* [3][n_ids] */
    struct omnid_trace_segment *segments;
    int32_t **survivors;
    int at, n_layers;
} tracer;

static void trace_row(tracer *t, int32_t id, position p)
{
    t->ids[t->at] = id;
    t->positions[t->at] = p.t;
    t->positions[t->trace.n_ids + t->at] = p.h;
    t->positions[2 * t->trace.n_ids + t->at] = p.w;
    t->at++;
}

static void trace_prompt(tracer *t, const answer *a)
{
    const omnid_timeline *tl = a->timeline;
    const special_ids *ids = &tl->engine->model->ids;
    int64_t delta = a->view.delta;
    for (int i = 0; i < tl->prefix_ids.n; i++) {
        int64_t p = layout_prefix_position(i, tl->prefix_ids.n, tl->parts) + delta;
        trace_row(t, tl->prefix_ids.ids[i], (position){p, p, p});
    }
    for (int i = 0; i < a->view.n_pages; i++) {
        const page *p = a->view.pages[i];
        for (int v = 0; v < p->n_video; v++) {
            position at = layout_video(tl->st, p->segment, v, p->columns, p->rows);
            trace_row(t, ids->video, (position){at.t, at.h + delta, at.w + delta});
        }
        for (int s = 0; s < p->n_audio; s++)
            trace_row(t, ids->audio, layout_audio(tl->st, p->segment, s));
    }
    for (int i = 0; i < a->ask.query.n; i++) {
        int64_t p = layout_query_position(i, a->closers_at, tl->parts);
        trace_row(t, a->ask.query.ids[i], (position){p, p, p});
    }
}

static omnid_status trace_survivors(tracer *t, const answer *a, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    kernels_key *list = malloc(((size_t)a->n[0] + 1) * sizeof *list);
    for (int l = 0; list && l < t->n_layers; l++) {
        size_t n = (size_t)a->n[l];
        t->survivors[l] = malloc((n + 1) * sizeof **t->survivors);
        if (!t->survivors[l])
            break;
        e->ops->download(e->stream, list, answer_list(a, l), n * sizeof *list);
        for (size_t i = 0; i < n; i++)
            t->survivors[l][i] = list[i].index;
    }
    bool whole = list && t->survivors[t->n_layers - 1];
    free(list);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    return whole ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory for a trace of %d tokens", t->trace.n_ids);
}

static void trace_free(tracer *t)
{
    free(t->ids);
    free(t->positions);
    free(t->segments);
    for (int l = 0; t->survivors && l < t->n_layers; l++)
        free(t->survivors[l]);
    free(t->survivors);
}

static omnid_status trace_fill(tracer *t, const answer *a, omnid_error *err)
{
    t->n_layers = a->timeline->engine->model->config.text.n_layers;
    t->trace.n_ids = a->timeline->prefix_ids.n + a->n_before + a->ask.query.n;
    t->trace.n_segments = a->view.n_pages;
    t->ids = malloc((size_t)t->trace.n_ids * sizeof *t->ids);
    t->positions = malloc(3 * (size_t)t->trace.n_ids * sizeof *t->positions);
    t->segments = calloc((size_t)a->view.n_pages + 1, sizeof *t->segments);
    t->survivors = calloc((size_t)t->n_layers, sizeof *t->survivors);
    if (!t->ids || !t->positions || !t->segments || !t->survivors)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a trace of %d tokens", t->trace.n_ids);
    OMNID_TRY(trace_survivors(t, a, err));
    trace_prompt(t, a);
    for (int i = 0; i < a->view.n_pages; i++) {
        const page *p = a->view.pages[i];
        t->segments[i] = (struct omnid_trace_segment){p->n_video,      p->n_audio,    p->n_video_kept,
                                                      p->n_audio_kept, p->video_kept, p->audio_kept};
    }
    t->trace.input_ids = t->ids;
    t->trace.position_ids = t->positions;
    t->trace.segments = t->segments;
    t->trace.survivors = (const int32_t *const *)t->survivors;
    t->trace.logits = a->first_logits;
    return OMNID_OK;
}

/* ---- telling ---- */

static double fill_layers(answer *a, int n_layers)
{
    double sum = 0;
    for (int l = 0; l < n_layers; l++) {
        a->layers[l].n = (int)a->n[l];
        a->layers[l].k = (int)a->k[l];
        sum += (double)a->n[l];
    }
    return a->n_before ? sum / n_layers / a->n_before : 1.0;
}

static int best_choice(const answer *a)
{
    int best = 0;
    for (int i = 1; i < a->ask.n_choices; i++)
        if (a->choice_logprobs[i] > a->choice_logprobs[best])
            best = i;
    return best;
}

static void tell_done(omnid_engine *e, answer *a, const omnid_evidence *evidence, int n_evidence, const tracer *t)
{
    const int n_layers = e->model->config.text.n_layers;
    omnid_result r = {.answer = a->id,
                      .text = a->out ? a->out : "",
                      .tokens = a->tokens.ids,
                      .n_tokens = a->tokens.n,
                      .stop_reason = a->stop_reason,
                      .mode = a->ask.mode,
                      .policy = a->ask.policy->name,
                      .retained = fill_layers(a, n_layers),
                      .layers = a->layers,
                      .n_layers = n_layers,
                      .evidence = evidence,
                      .n_evidence = n_evidence,
                      .choice_logprobs = a->choice_logprobs,
                      .n_choices = a->ask.n_choices,
                      .best_choice = best_choice(a),
                      .first_segment = a->first_segment,
                      .last_segment = a->last_segment,
                      .newest_wall_us = a->newest_wall_us,
                      .timings = a->timings,
                      .trace = t ? &t->trace : NULL};
    if (e->callbacks.on_done)
        e->callbacks.on_done(e->callbacks.user, a->id, &r);
}

void answer_tell(omnid_engine *e, answer *a)
{
    tracer t = {0};
    omnid_evidence evidence[MAX_EVIDENCE];
    int n_evidence = 0;
    a->timings.done_us = omnid_clock_us();
    if (a->end.status == OMNID_OK)
        collect_evidence(a, evidence, &n_evidence, &a->end);
    if (a->end.status == OMNID_OK && a->ask.trace)
        trace_fill(&t, a, &a->end);
    if (a->end.status == OMNID_OK)
        tell_done(e, a, evidence, n_evidence, a->ask.trace ? &t : NULL);
    else if (e->callbacks.on_error)
        e->callbacks.on_error(e->callbacks.user, a->id, &a->end);
    trace_free(&t);
}
