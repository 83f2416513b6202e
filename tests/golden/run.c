/* run.c: feeds a case to the engine as the clip or stream it is, and asks what its case.json lists. */
#include "tests/golden/golden.h"

#include <stdio.h>
#include <string.h>

void golden_case_open(golden_case *c, const char *model, const char *name)
{
    char path[GOLDEN_PATH];
    *c = (golden_case){0};
    golden_path(c->folder, "%s/%s", model, name);
    golden_path(path, "%s/%s/case.json", model, name);
    c->meta = golden_json(path);
    const char *kind = json_string_value(json_object_get(c->meta, "kind"));
    assert_non_null(kind);
    if (strcmp(kind, "audio") != 0) {
        golden_path(path, "%s/%s/frames.npy", model, name);
        c->frames = golden_frames(path, &c->n_frames, &c->height, &c->width);
    }
    if (strcmp(kind, "video") != 0) {
        golden_path(path, "%s/%s/audio.wav", model, name);
        c->samples = golden_samples(path, &c->n_samples);
    }
}

void golden_case_close(golden_case *c)
{
    json_decref(c->meta);
    free(c->frames);
    free(c->samples);
}

/* ---- one engine and one timeline over a case ---- */

typedef struct {
    const golden_case *c;
    const golden_run_params *p;
    omnid_model *model;
    omnid_engine *engine;
    omnid_timeline *timeline;
    int64_t n_fed;
    const char *name; /* of the answer under way */
    bool done;
    int n_checked, n_bad;
} feeder;

static void on_done(void *user, uint64_t answer, const omnid_result *r)
{
    (void)answer;
    feeder *f = user;
    char why[512] = "";
    f->done = true;
    f->n_checked++;
    if (!f->p->check(f->p->user, f->c, f->name, r, why, sizeof why)) {
        print_error("%s/%s: %s\n", f->c->folder, f->name, why);
        f->n_bad++;
    }
}

static void on_error(void *user, uint64_t answer, const omnid_error *err)
{
    (void)answer;
    feeder *f = user;
    f->done = true;
    f->n_checked++;
    f->n_bad++;
    print_error("%s/%s: error %s: %s\n", f->c->folder, f->name, omnid_status_name(err->status), err->text);
}

/* Steps until nothing is left to do. */
static void settle(feeder *f)
{
    omnid_error err = {0};
    omnid_status status;
    while ((status = omnid_engine_step(f->engine, 0, &err)) == OMNID_OK) {
    }
    if (status != OMNID_AGAIN)
        golden_ok(status, &err);
}

static bool missing(const feeder *f, int64_t s, char part)
{
    char key[24];
    snprintf(key, sizeof key, "%lld", (long long)s);
    const char *gap = json_string_value(json_object_get(json_object_get(f->c->meta, "gaps"), key));
    return gap != NULL && strchr(gap, part) != NULL;
}

/* Segment s with at most so many frames and samples of it. */
static omnid_segment *make_segment(const feeder *f, int64_t s, int max_frames, int max_samples)
{
    const golden_case *c = f->c;
    omnid_segment_params p = {.index = f->p->first_segment + s};
    for (int i = 0; i < max_frames && 4 * s + i < c->n_frames && !missing(f, s, 'v'); i++) {
        const uint8_t *rgb = c->frames + (size_t)(4 * s + i) * (size_t)c->height * (size_t)c->width * 3;
        p.frames[p.n_frames++] = (omnid_frame){rgb, c->width, c->height, 3 * c->width};
    }
    int64_t left = c->n_samples - GOLDEN_SEGMENT_SAMPLES * s;
    if (left > 0 && !missing(f, s, 'a')) {
        p.samples = c->samples + GOLDEN_SEGMENT_SAMPLES * s;
        p.n_samples = (int)(left < max_samples ? left : max_samples);
    }
    omnid_segment *out = NULL;
    omnid_error err = {0};
    golden_ok(omnid_segment_create(&out, f->timeline, &p, &err), &err);
    return out;
}

static void feed_until(feeder *f, int64_t n)
{
    omnid_error err = {0};
    for (; f->n_fed < n; f->n_fed++) {
        omnid_segment *s = make_segment(f, f->n_fed, 4, GOLDEN_SEGMENT_SAMPLES + GOLDEN_AHEAD);
        golden_ok(omnid_timeline_submit(f->timeline, &s, &err), &err);
        assert_null(s);
        const char *reference = json_string_value(json_object_get(f->c->meta, "mel_ref"));
        if (strcmp(reference, "clip") != 0)
            settle(f); /* a clip's segments wait for its end */
    }
}

static const char *text_or(const json_t *o, const char *key, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : otherwise;
}

static void ask(feeder *f, const json_t *answer, const json_t *moment)
{
    char name[256];
    omnid_turn turns[8];
    omnid_error err = {0};
    snprintf(name, sizeof name, "%s%s%s", text_or(moment, "name", ""), moment != NULL ? "_" : "",
             text_or(answer, "name", ""));
    f->name = name;
    omnid_question_params q = omnid_question_params_default();
    q.question = text_or(answer, "question", text_or(f->c->meta, "question", NULL));
    q.retention = text_or(answer, "retention", NULL);
    q.policy = text_or(answer, "policy", NULL);
    q.first_prune = (int)json_integer_value(json_object_get(answer, "first_prune"));
    q.seed = (uint64_t)json_integer_value(json_object_get(answer, "seed"));
    q.last_s = json_number_value(json_object_get(answer, "last_s"));
    q.max_tokens = (int)json_integer_value(json_object_get(f->c->meta, "max_tokens"));
    q.trace = true;
    golden_ok(omnid_mode_parse(&q.mode, text_or(answer, "mode", ""), &err), &err);
    size_t i;
    const json_t *turn;
    json_array_foreach(json_object_get(answer, "history"), i, turn)
    {
        assert_true(i < 8);
        turns[i] = (omnid_turn){json_string_value(json_array_get(turn, 0)), json_string_value(json_array_get(turn, 1))};
    }
    q.history = turns;
    q.n_history = (int)json_array_size(json_object_get(answer, "history"));
    omnid_segment *now = NULL;
    if (json_object_get(moment, "samples") != NULL)
        now = make_segment(f, f->n_fed, (int)json_integer_value(json_object_get(moment, "frames")),
                           (int)json_integer_value(json_object_get(moment, "samples")));
    uint64_t number = 0;
    f->done = false;
    golden_ok(omnid_timeline_ask(f->timeline, &q, &now, &number, &err), &err);
    assert_null(now);
    settle(f);
    if (!f->done)
        fail_msg("%s/%s: the engine has nothing to do and the answer is not done", f->c->folder, name);
}

static void ask_all(feeder *f, const json_t *moment, bool none)
{
    size_t i;
    const json_t *answer;
    json_array_foreach(json_object_get(f->c->meta, "answers"), i, answer)
    {
        if ((strcmp(text_or(answer, "retention", ""), "none") == 0) == none && (!f->p->wanted || f->p->wanted(answer)))
            for (int time = 0; time == 0 || time < f->p->times; time++)
                ask(f, answer, moment);
    }
}

/* All moments of a case over one timeline, with section 4 (none = false) or without. */
static void run_timeline(feeder *f, bool none)
{
    const golden_case *c = f->c;
    omnid_error err = {0};
    omnid_timeline_params p = omnid_timeline_params_default();
    p.system = json_string_value(json_object_get(c->meta, "system"));
    p.has_video = c->frames != NULL;
    p.has_audio = c->samples != NULL;
    p.modes = OMNID_MODE_EAGER | OMNID_MODE_DEFERRED | OMNID_MODE_OFFLINE;
    p.intra = !none;
    p.mel_clip = strcmp(json_string_value(json_object_get(c->meta, "mel_ref")), "clip") == 0;
    p.first_segment = f->p->first_segment;
    const json_t *moments = json_object_get(c->meta, "moments"), *moment;
    if (moments != NULL) {
        p.window_segments = (int)json_integer_value(json_object_get(c->meta, "W"));
        p.hop_segments = (int)json_integer_value(json_object_get(c->meta, "hop"));
    }
    golden_ok(omnid_timeline_create(&f->timeline, f->engine, &p, &err), &err);
    f->n_fed = 0;
    if (moments == NULL) {
        int by_frames = (c->n_frames + 3) / 4;
        int by_samples = (c->n_samples + GOLDEN_SEGMENT_SAMPLES - 1) / GOLDEN_SEGMENT_SAMPLES;
        feed_until(f, by_frames > by_samples ? by_frames : by_samples);
        golden_ok(omnid_timeline_end(f->timeline, &err), &err);
        settle(f);
        ask_all(f, NULL, none);
    }
    size_t i;
    json_array_foreach(moments, i, moment)
    {
        feed_until(f, json_integer_value(json_object_get(moment, "after")));
        settle(f);
        ask_all(f, moment, none);
    }
    omnid_timeline_destroy(&f->timeline);
}

static bool asks(const feeder *f, bool none)
{
    size_t i;
    const json_t *answer;
    json_array_foreach(json_object_get(f->c->meta, "answers"), i, answer)
    {
        if ((strcmp(text_or(answer, "retention", ""), "none") == 0) == none && (!f->p->wanted || f->p->wanted(answer)))
            return true;
    }
    return false;
}

bool golden_wanted_unpruned(const json_t *answer)
{
    return strcmp(json_string_value(json_object_get(answer, "retention")), "none") == 0;
}

bool golden_check_cosine(void *user, const golden_case *c, const char *name, const omnid_result *r, char *why,
                         size_t n_why)
{
    const double least = *(const double *)user;
    char path[GOLDEN_PATH + 300];
    snprintf(path, sizeof path, "%s/expected/%s.json", c->folder, name);
    json_t *expected = golden_json(path), *logits = json_object_get(expected, "logits");
    size_t n = json_array_size(logits);
    float *want = malloc(n * sizeof *want);
    assert_non_null(want);
    for (size_t i = 0; i < n; i++)
        want[i] = (float)json_number_value(json_array_get(logits, i));
    double cosine = golden_cosine(r->trace->logits, want, n);
    free(want);
    json_decref(expected);
    print_message("%s/%s: cosine %.6f\n", c->folder, name, cosine);
    if (cosine >= least)
        return true;
    snprintf(why, n_why, "cosine of logits %.6f, wanted %.6f", cosine, least);
    return false;
}

int golden_run(const golden_case *c, const char *model, const golden_run_params *p, int *n_bad)
{
    feeder f = {.c = c, .p = p};
    omnid_error err = {0};
    char path[GOLDEN_PATH];
    golden_path(path, "%s/model", model);
    omnid_model_params mp = omnid_model_params_default();
    mp.backend = p->backend;
    mp.precision = p->precision;
    mp.weights = p->weights;
    mp.n_threads = 1;
    golden_ok(omnid_model_open(&f.model, path, &mp, &err), &err);
    omnid_engine_params ep = omnid_engine_params_default();
    ep.deterministic = true;
    ep.graphs = !p->no_graphs;
    if (p->slice_rows > 0)
        ep.slice_rows = p->slice_rows;
    omnid_callbacks callbacks = {.user = &f, .on_done = on_done, .on_error = on_error};
    golden_ok(omnid_engine_create(&f.engine, f.model, &ep, &callbacks, &err), &err);
    for (int none = 0; none < 2; none++)
        if (asks(&f, none))
            run_timeline(&f, none);
    omnid_engine_destroy(&f.engine);
    omnid_model_destroy(&f.model);
    *n_bad = f.n_bad;
    return f.n_checked;
}

void golden_assert_cosine(const char *model, const char *name, const char *backend, omnid_precision precision,
                          omnid_weights weights, double least)
{
    int n_bad = 0;
    golden_run_params p = {.backend = backend,
                           .precision = precision,
                           .weights = weights,
                           .check = golden_check_cosine,
                           .wanted = golden_wanted_unpruned,
                           .user = &least,
                           .times = 3}; /* plainly, recorded, replayed: where the backend can */
    golden_case c;
    golden_case_open(&c, model, name);
    int n = golden_run(&c, model, &p, &n_bad);
    golden_case_close(&c);
    assert_true(n >= 1);
    assert_int_equal(n_bad, 0);
}
