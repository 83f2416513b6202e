/* world.h: a tiny model, an engine, and made-up picture and sound, for tests of timelines, questions and the schedule. */
#ifndef TESTS_ENGINE_WORLD_H
#define TESTS_ENGINE_WORLD_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "engine/omnid.h"

enum { WORLD_SIDE = 84, WORLD_MAX_LAYERS = 16 };

/* What the last answer told, copied. */
typedef struct {
    bool done, failed;
    omnid_error error;
    char text[4096];
    char streamed[4096];
    float *logits; /* [vocabulary] */
    int n_tokens, tokens[256];
    int n_layers;
    omnid_layer_report layers[WORLD_MAX_LAYERS];
    int *survivors[WORLD_MAX_LAYERS];
    double retained;
    omnid_timings timings;
    omnid_evidence evidence[8];
    int n_evidence;
    int64_t first_segment, last_segment;
    int n_choices, best_choice;
    double choice_logprobs[8];
    char stop_reason[16];
} world_answer;

/* One of the slices that ran. */
typedef struct {
    omnid_slice slice;
    bool question_open; /* a question was queued when it started */
} world_slice;

typedef struct {
    omnid_model *model;
    omnid_engine *engine;
    omnid_timeline *timeline;
    omnid_model_info info;
    world_answer answers[8]; /* by order of asking, modulo 8 */
    uint64_t ids[8];
    int n_asked;
    omnid_slice *slices;
    int n_slices, slices_capacity;
    omnid_segment_load load; /* of the segments to come */
    omnid_segment_report last_report;
    int n_visible;
} world;

/* Model of tests/golden/data/NAME/model in f32 on the backend; an engine with default parameters. */
void world_open(world *w, const char *model, const char *backend, const omnid_engine_params *p);
void world_close(world *w);
/* Fails the test with the engine's sentence unless status is OMNID_OK. */
void world_ok(omnid_status status, const omnid_error *err);

/* A timeline with these parameters (destroys the one before). */
void world_timeline(world *w, const omnid_timeline_params *p);

/* Segment s of a made-up clip number `clip`: a moving square and a tone, the same for the same numbers whatever `index` it is
 * submitted as. parts: 1 picture, 2 sound. */
omnid_segment *world_segment(world *w, omnid_timeline *tl, int clip, int s, int64_t index, int parts);
/* Submits it and runs until it is visible. */
void world_feed(world *w, omnid_timeline *tl, int clip, int s, int64_t index, int parts);
/* Runs until nothing is left to do. */
void world_run(world *w);

/* Asks (with trace) and runs until the answer has ended; the answer is valid until seven more have been asked. */
const world_answer *world_ask(world *w, omnid_timeline *tl, const omnid_question_params *p, omnid_segment **now);
/* Asks without running: its place in answers. */
int world_post(world *w, omnid_timeline *tl, const omnid_question_params *p, omnid_segment **now);

/* A function of the emulated device (tests/cuda_on_cpu), by its name. A world has been opened on it. */
void *world_emulation(const char *function);

/* Largest |difference| of two answers' logits. */
double world_distance(const world *w, const world_answer *a, const world_answer *b);
/* Fails unless all layers have the same survivors. */
void world_same_survivors(const world_answer *a, const world_answer *b);

#endif
