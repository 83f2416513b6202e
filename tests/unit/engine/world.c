/* world.c: a tiny model, an engine, and made-up picture and sound. */
#include "world.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void world_ok(omnid_status status, const omnid_error *err)
{
    if (status != OMNID_OK)
        fail_msg("%s: %s", omnid_status_name(status), err->text);
}

static world_answer *answer_of(world *w, uint64_t id)
{
    for (int i = 0; i < 8; i++)
        if (w->ids[i] == id)
            return &w->answers[i];
    return NULL;
}

static void on_text(void *user, uint64_t id, const char *text, size_t n)
{
    world_answer *a = answer_of(user, id);
    if (a && strlen(a->streamed) + n < sizeof a->streamed)
        strncat(a->streamed, text, n);
}

static void copy_trace(world *w, world_answer *a, const omnid_result *r)
{
    if (!r->trace)
        return;
    size_t n = (size_t)w->info.vocabulary;
    a->logits = malloc(n * sizeof *a->logits);
    memcpy(a->logits, r->trace->logits, n * sizeof *a->logits);
    for (int l = 0; l < r->n_layers; l++) {
        size_t size = (size_t)r->layers[l].n * sizeof(int);
        a->survivors[l] = malloc(size + 1);
        memcpy(a->survivors[l], r->trace->survivors[l], size);
    }
}

static void on_done(void *user, uint64_t id, const omnid_result *r)
{
    world *w = user;
    world_answer *a = answer_of(w, id);
    if (!a)
        return;
    assert_false(a->done || a->failed);
    a->done = true;
    snprintf(a->text, sizeof a->text, "%s", r->text);
    snprintf(a->stop_reason, sizeof a->stop_reason, "%s", r->stop_reason);
    a->n_tokens = r->n_tokens;
    for (int i = 0; i < r->n_tokens && i < 256; i++)
        a->tokens[i] = r->tokens[i];
    a->n_layers = r->n_layers;
    memcpy(a->layers, r->layers, (size_t)r->n_layers * sizeof *a->layers);
    a->retained = r->retained;
    a->timings = r->timings;
    a->n_evidence = r->n_evidence;
    memcpy(a->evidence, r->evidence, (size_t)r->n_evidence * sizeof *a->evidence);
    a->first_segment = r->first_segment;
    a->last_segment = r->last_segment;
    a->n_choices = r->n_choices;
    a->best_choice = r->best_choice;
    for (int i = 0; i < r->n_choices; i++)
        a->choice_logprobs[i] = r->choice_logprobs[i];
    copy_trace(w, a, r);
}

static void on_error(void *user, uint64_t id, const omnid_error *err)
{
    world_answer *a = answer_of(user, id);
    if (!a)
        return;
    assert_false(a->done || a->failed);
    a->failed = true;
    a->error = *err;
}

static void on_segment(void *user, omnid_timeline *tl, const omnid_segment_report *r)
{
    world *w = user;
    (void)tl;
    w->last_report = *r;
    w->n_visible++;
}

static void on_slice(void *user, const omnid_slice *s)
{
    world *w = user;
    if (w->n_slices == w->slices_capacity) {
        w->slices_capacity = w->slices_capacity ? 2 * w->slices_capacity : 1024;
        w->slices = realloc(w->slices, (size_t)w->slices_capacity * sizeof *w->slices);
        assert_non_null(w->slices);
    }
    w->slices[w->n_slices++] = *s;
}

void world_open(world *w, const char *model, const char *backend, const omnid_engine_params *p)
{
    char folder[1024];
    omnid_error err = {0};
    omnid_model_params mp = omnid_model_params_default();
    omnid_engine_params ep = p ? *p : omnid_engine_params_default();
    omnid_callbacks callbacks = {w, on_text, on_done, on_error, on_segment, on_slice};
    const char *moved = getenv("OMNID_TEST_SOURCE"); /* the tree, where it is not where it was built */
    *w = (world){0};
    snprintf(folder, sizeof folder, "%s/tests/golden/data/%s/model", moved ? moved : OMNID_SOURCE_DIR, model);
    mp.backend = backend;
    mp.precision = OMNID_PRECISION_F32;
    mp.n_threads = 1;
    world_ok(omnid_model_open(&w->model, folder, &mp, &err), &err);
    w->info = omnid_model_get_info(w->model);
    assert_true(w->info.n_layers <= WORLD_MAX_LAYERS);
    world_ok(omnid_engine_create(&w->engine, w->model, &ep, &callbacks, &err), &err);
}

static void clear_answer(world_answer *a)
{
    free(a->logits);
    for (int l = 0; l < WORLD_MAX_LAYERS; l++)
        free(a->survivors[l]);
    *a = (world_answer){0};
}

void world_close(world *w)
{
    omnid_engine_destroy(&w->engine);
    omnid_model_destroy(&w->model);
    for (int i = 0; i < 8; i++)
        clear_answer(&w->answers[i]);
    free(w->slices);
}

void world_timeline(world *w, const omnid_timeline_params *p)
{
    omnid_error err = {0};
    omnid_timeline_destroy(&w->timeline);
    world_ok(omnid_timeline_create(&w->timeline, w->engine, p, &err), &err);
}

static void paint(uint8_t *rgb, int clip, int s, int frame)
{
    int at = (clip * 37 + s * 11 + frame * 5) % (WORLD_SIDE - 28);
    for (int y = 0; y < WORLD_SIDE; y++)
        for (int x = 0; x < WORLD_SIDE; x++) {
            bool in = x >= at && x < at + 28 && y >= at / 2 && y < at / 2 + 28;
            uint8_t *p = rgb + 3 * (y * WORLD_SIDE + x);
            p[0] = (uint8_t)(in ? 40 * (s % 6) : 200 - x);
            p[1] = (uint8_t)(in ? 255 - 30 * (clip % 8) : 30 + y);
            p[2] = (uint8_t)(in ? 90 + 9 * frame : (x * y + 17 * s) & 255);
        }
}

static void sound(float *samples, int clip, int s)
{
    uint32_t noise = (uint32_t)(clip * 7919 + 1);
    for (int i = 0; i < 32040; i++) {
        int at = s * 32000 + i;
        noise = ((uint32_t)at + (uint32_t)clip * 7919u) * 2654435761u;
        noise ^= noise >> 15;
        samples[i] = 0.3f * sinf((float)(at % 16000) * (0.02f + 0.013f * (float)((s + clip) % 7))) +
                     0.05f * ((float)(noise % 2000) / 1000.0f - 1.0f);
    }
}

omnid_segment *world_segment(world *w, omnid_timeline *tl, int clip, int s, int64_t index, int parts)
{
    static uint8_t frames[4][WORLD_SIDE * WORLD_SIDE * 3];
    static float samples[32040];
    omnid_segment_params p = {.index = index, .wall_us = 1000000 * (1 + 2 * index), .load = w->load};
    omnid_segment *seg = NULL;
    omnid_error err = {0};
    for (int i = 0; i < 4; i++) {
        paint(frames[i], clip, s, i);
        p.frames[i] = (omnid_frame){frames[i], WORLD_SIDE, WORLD_SIDE, 3 * WORLD_SIDE};
    }
    sound(samples, clip, s);
    p.n_frames = parts & 1 ? 4 : 0;
    p.samples = parts & 2 ? samples : NULL;
    p.n_samples = parts & 2 ? 32040 : 0;
    world_ok(omnid_segment_create(&seg, tl, &p, &err), &err);
    return seg;
}

void world_run(world *w)
{
    omnid_error err = {0};
    omnid_status status;
    while ((status = omnid_engine_step(w->engine, 0, &err)) == OMNID_OK)
        continue;
    if (status != OMNID_AGAIN)
        fail_msg("%s", err.text);
}

void world_feed(world *w, omnid_timeline *tl, int clip, int s, int64_t index, int parts)
{
    omnid_error err = {0};
    omnid_segment *seg = world_segment(w, tl, clip, s, index, parts);
    world_ok(omnid_timeline_submit(tl, &seg, &err), &err);
    assert_null(seg);
    world_run(w);
}

int world_post(world *w, omnid_timeline *tl, const omnid_question_params *p, omnid_segment **now)
{
    omnid_error err = {0};
    int place = w->n_asked++ % 8;
    clear_answer(&w->answers[place]);
    world_ok(omnid_timeline_ask(tl, p, now, &w->ids[place], &err), &err);
    return place;
}

const world_answer *world_ask(world *w, omnid_timeline *tl, const omnid_question_params *p, omnid_segment **now)
{
    omnid_question_params traced = *p;
    traced.trace = true;
    world_answer *a = &w->answers[world_post(w, tl, &traced, now)];
    world_run(w);
    if (a->failed)
        fail_msg("%s", a->error.text);
    assert_true(a->done);
    return a;
}

double world_distance(const world *w, const world_answer *a, const world_answer *b)
{
    double most = 0;
    for (int i = 0; i < w->info.vocabulary; i++)
        most = fmax(most, fabs((double)a->logits[i] - (double)b->logits[i]));
    return most;
}

void world_same_survivors(const world_answer *a, const world_answer *b)
{
    for (int l = 0; l < a->n_layers; l++) {
        assert_int_equal(a->layers[l].n, b->layers[l].n);
        for (int i = 0; i < a->layers[l].n; i++)
            if (a->survivors[l][i] != b->survivors[l][i])
                fail_msg("layer %d: survivor %d is token %d in one, %d in the other", l, i, a->survivors[l][i],
                         b->survivors[l][i]);
    }
}

void *world_emulation(const char *function)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/libomnid-cuda.so", getenv("OMNID_PLUGINS"));
    void *plugin = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(plugin);
    void *found = dlsym(plugin, function);
    assert_non_null(found);
    dlclose(plugin); /* the engine has it open */
    return found;
}
