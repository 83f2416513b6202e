/* precision.c: what the model's precision and int8 weights change: the same weights and the same timeline once more in f32. Logits
 * of the first generated position with the same tokens in on both sides (nothing pruned, and survivors forced to be the same),
 * and how many of each layer's survivors are the same where each side decides for itself. */
#include "bench/bench.h"
#include "bench/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_SEGMENTS = 8, AUDIO_BIT = 1 << 19, SEGMENT_BITS = 20 };

/* What is asked for. forced: section 4 takes nothing out, and a layer's survivors are drawn from token numbers (policy random),
 * so no rounding decides who is in. */
typedef struct {
    const char *retention;
    bool forced;
} way;

/* One answer: who was in at each layer, by segment and place in it, and the logits. */
typedef struct {
    int n_layers, n_logits;
    int *n;        /* [n_layers] */
    int64_t **ids; /* [n_layers][n], rising */
    float *logits;
    omnid_error error;
    bool done;
} outcome;

static void outcome_free(outcome *o)
{
    for (int l = 0; o->ids && l < o->n_layers; l++)
        free(o->ids[l]);
    free(o->ids);
    free(o->n);
    free(o->logits);
    memset(o, 0, sizeof *o);
}

/* Identities of the tokens that entered the decoder, in its order: video before audio in each segment. malloc'ed. */
static int64_t *entered_ids(const omnid_trace *t)
{
    size_t n = 0, at = 0;
    for (int s = 0; s < t->n_segments; s++)
        n += (size_t)(t->segments[s].n_video_kept + t->segments[s].n_audio_kept);
    int64_t *ids = malloc((n + 1) * sizeof *ids);
    for (int s = 0; ids && s < t->n_segments; s++) {
        for (int i = 0; i < t->segments[s].n_video_kept; i++)
            ids[at++] = ((int64_t)s << SEGMENT_BITS) + t->segments[s].video_kept[i];
        for (int i = 0; i < t->segments[s].n_audio_kept; i++)
            ids[at++] = ((int64_t)s << SEGMENT_BITS) + AUDIO_BIT + t->segments[s].audio_kept[i];
    }
    return ids;
}

static bool copy_layers(outcome *o, const omnid_result *r, const int64_t *entered)
{
    o->n_layers = r->n_layers;
    o->n = calloc((size_t)r->n_layers, sizeof *o->n);
    o->ids = calloc((size_t)r->n_layers, sizeof *o->ids);
    for (int l = 0; o->n && o->ids && l < r->n_layers; l++) {
        int n = r->layers[l].n;
        o->ids[l] = malloc(((size_t)n + 1) * sizeof **o->ids);
        if (!o->ids[l])
            return false;
        o->n[l] = n;
        for (int i = 0; i < n; i++)
            o->ids[l][i] = entered[r->trace->survivors[l][i]];
    }
    return o->n && o->ids;
}

static void on_done(void *user, uint64_t answer, const omnid_result *r)
{
    outcome *o = user;
    size_t n = (size_t)o->n_logits;
    (void)answer;
    o->done = true;
    int64_t *entered = r->trace ? entered_ids(r->trace) : NULL;
    o->logits = malloc(n * sizeof *o->logits);
    if (entered && o->logits && copy_layers(o, r, entered))
        memcpy(o->logits, r->trace->logits, n * sizeof *o->logits);
    else
        omnid_fail(&o->error, OMNID_NOMEM, "no memory for an answer's trace");
    free(entered);
}

static void on_error(void *user, uint64_t answer, const omnid_error *err)
{
    outcome *o = user;
    (void)answer;
    o->done = true;
    o->error = *err;
}

static omnid_status pump(omnid_engine *e, const bool *done, omnid_error *err)
{
    omnid_status st;
    while ((st = omnid_engine_step(e, 0, err)) == OMNID_OK || (done && !*done && st == OMNID_AGAIN))
        ;
    return st == OMNID_AGAIN ? OMNID_OK : st;
}

static omnid_status ask(outcome *o, bench *b, omnid_engine *e, way how, omnid_error *err)
{
    omnid_timeline *tl = NULL;
    omnid_timeline_params t = omnid_timeline_params_default();
    omnid_question_params q = omnid_question_params_default();
    uint64_t answer;
    t.has_video = t.has_audio = true;
    t.modes = OMNID_MODE_EAGER;
    t.intra = strcmp(how.retention, "none") != 0;
    if (how.forced)
        t.rho_a = t.rho_v = 0;
    t.max_pixels = b->o->side * b->o->side;
    q.question = "What is on the screen?";
    q.retention = how.retention;
    q.policy = how.forced ? "random" : NULL;
    q.seed = 1;
    q.max_tokens = 1;
    q.trace = true;
    OMNID_TRY(omnid_timeline_create(&tl, e, &t, err));
    for (int i = 0; i < N_SEGMENTS; i++) {
        OMNID_TRY(synthetic_submit(b->source, tl, i, 4, BENCH_SAMPLES, err));
        OMNID_TRY(pump(e, NULL, err));
    }
    OMNID_TRY(omnid_timeline_ask(tl, &q, NULL, &answer, err));
    OMNID_TRY(pump(e, &o->done, err));
    if (o->error.status != OMNID_OK)
        *err = o->error;
    return o->error.status;
}

/* The engine and its timelines live as long as one question. The picture's noise begins anew, so both sides see the same. */
static omnid_status answer_of(outcome *o, bench *b, const omnid_model *m, way how, omnid_error *err)
{
    const omnid_callbacks callbacks = {.user = o, .on_done = on_done, .on_error = on_error};
    const omnid_engine_params p = omnid_engine_params_default();
    omnid_engine *e = NULL;
    o->n_logits = omnid_model_get_info(m).vocabulary;
    synthetic_destroy(&b->source);
    OMNID_TRY(synthetic_create(&b->source, b->o->side, b->o->side, err));
    OMNID_TRY(omnid_engine_create(&e, m, &p, &callbacks, err));
    omnid_status st = ask(o, b, e, how, err);
    omnid_engine_destroy(&e);
    return st;
}

static double cosine(const outcome *x, const outcome *y)
{
    double xy = 0, xx = 0, yy = 0;
    for (int i = 0; i < x->n_logits; i++) {
        xy += (double)x->logits[i] * (double)y->logits[i];
        xx += (double)x->logits[i] * (double)x->logits[i];
        yy += (double)y->logits[i] * (double)y->logits[i];
    }
    return xy / sqrt(xx * yy);
}

/* Share of x's ids that y has too; both rise. */
static double common(const int64_t *x, int n_x, const int64_t *y, int n_y)
{
    int n = 0;
    for (int i = 0, j = 0; i < n_x && j < n_y;) {
        n += x[i] == y[j];
        int64_t a = x[i], c = y[j];
        i += a <= c;
        j += c <= a;
    }
    return n_x > 0 ? (double)n / n_x : 1;
}

static void add(bench *b, const char *name, const char *retention, double value)
{
    if (b->r->n_figures < BENCH_MAX_FIGURES)
        b->r->figures[b->r->n_figures++] = (bench_figure){.part = "f32",
                                                          .name = name,
                                                          .unit = "share",
                                                          .mode = OMNID_MODE_EAGER,
                                                          .retention = retention,
                                                          .n_segments = N_SEGMENTS,
                                                          .n_at_once = 1,
                                                          .p50 = value,
                                                          .p95 = value,
                                                          .n = 1};
}

static void compare(bench *b, way how, const outcome *want, const outcome *got)
{
    double least = 1, sum = 0;
    for (int l = 0; l < want->n_layers; l++) {
        double share = common(want->ids[l], want->n[l], got->ids[l], got->n[l]);
        least = share < least ? share : least;
        sum += share;
    }
    add(b, how.forced ? "overlap, forced" : "overlap, least layer", how.retention, least);
    add(b, how.forced ? "logit cosine, forced" : "logit cosine", how.retention, cosine(want, got));
    if (!how.forced)
        add(b, "overlap, mean of layers", how.retention, sum / want->n_layers);
}

static omnid_status compare_at(bench *b, const omnid_model *exact, way how, omnid_error *err)
{
    outcome want = {0}, got = {0};
    omnid_status st = answer_of(&want, b, exact, how, err);
    if (st == OMNID_OK)
        st = answer_of(&got, b, b->model, how, err);
    if (st == OMNID_OK)
        compare(b, how, &want, &got);
    outcome_free(&want);
    outcome_free(&got);
    return st;
}

omnid_status bench_precision(bench *b, const char *shape, const omnid_model_params *params, omnid_error *err)
{
    static const way ways[] = {{"none", false}, {"45", false}, {"30", false}, {"30", true}};
    omnid_model *exact = NULL;
    omnid_model_params p = *params;
    p.precision = OMNID_PRECISION_F32;
    p.weights = OMNID_WEIGHTS_AUTO;
    omnid_status st = omnid_model_create_random(&exact, shape, 1, &p, err);
    for (size_t i = 0; st == OMNID_OK && i < sizeof ways / sizeof *ways; i++)
        st = compare_at(b, exact, ways[i], err);
    omnid_model_destroy(&exact);
    if (st == OMNID_OK || (st != OMNID_LIMIT && st != OMNID_NOMEM))
        return st;
    fprintf(stderr, "not compared with f32: %s\n", err->text);
    size_t used = strlen(b->r->cut);
    snprintf(b->r->cut + used, sizeof b->r->cut - used, "%scomparison with f32 (no room)", used ? "; " : "");
    *err = (omnid_error){0};
    return OMNID_OK;
}
