/* golden.h: what the golden tests share: reading the fixtures of tests/golden/data, asking the engine what a case asks, and
 * comparing. Reading fails the running cmocka test with a sentence; memory given out is the caller's (free, json_decref). */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>

#include "engine/omnid.h"

enum { GOLDEN_PATH = 1024, GOLDEN_SEGMENT_SAMPLES = 32000, GOLDEN_AHEAD = 40 };

/* printf into path [GOLDEN_PATH], under tests/golden/data. */
void golden_path(char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A whole file; *n its bytes, one zero byte after them. */
void *golden_read(const char *path, size_t *n);
json_t *golden_json(const char *path);

/* Raw values of an entry {"file", "shape"} of an index in `folder`: *n values of element_size bytes (checked with shape). */
void *golden_values(const char *folder, const json_t *entry, size_t element_size, size_t *n);
int golden_dim(const json_t *entry, int i); /* shape[i] */

/* uint8 [n][height][width][3] of an .npy file; samples of a 16-bit mono 16 kHz .wav as -1..1. */
uint8_t *golden_frames(const char *path, int *n, int *height, int *width);
float *golden_samples(const char *path, int *n);

/* Fails unless |got - want| <= tolerance for all n; the sentence has the largest difference and where. */
void golden_close(const char *what, const float *got, const float *want, size_t n, double tolerance);
double golden_cosine(const float *a, const float *b, size_t n);

/* Fails with the engine's sentence unless status is OMNID_OK. */
void golden_ok(omnid_status status, const omnid_error *err);

/* ---- comparing an answer with an expected/NAME.json ---- */

typedef struct {
    double logits_tolerance; /* 1e-3 in f32 */
    double min_top2_gap;     /* tokens are compared up to the first step whose two best logits are closer */
    int64_t shift;           /* positions are this much larger than expected, segments shift / 50 */
} golden_limits;

/* True when r, which has a trace, equals what is expected: ids, positions, kept tokens, n, k, survivors, retained ratio,
 * logits, tokens, text, evidence, KV rows read. Otherwise why [n_why] says what differs first. */
bool golden_compare(const json_t *expected, const omnid_result *r, const golden_limits *limits, char *why,
                    size_t n_why);

/* ---- running a case ---- */

typedef struct {
    char folder[GOLDEN_PATH]; /* data/MODEL/CASE */
    json_t *meta;             /* case.json */
    uint8_t *frames;
    int n_frames, height, width;
    float *samples;
    int n_samples;
} golden_case;

void golden_case_open(golden_case *c, const char *model, const char *name);
void golden_case_close(golden_case *c);

typedef struct {
    const char *backend; /* "auto", "cpu", "reference" */
    omnid_precision precision;
    omnid_weights weights;
    int64_t first_segment; /* of the stream: 0, or far into it */
    int slice_rows;        /* 0 = the engine's default */
    int times;             /* how often each question is asked, one after the other; 0 = once */
    bool no_graphs;        /* nothing is recorded and replayed */
    /* Called with every answer that r is for; name is the expected file's. Returns false when it does not agree and fills
     * why. */
    bool (*check)(void *user, const golden_case *c, const char *name, const omnid_result *r, char *why, size_t n_why);
    bool (*wanted)(const json_t *answer); /* NULL = all */
    void *user;
} golden_run_params;

/* For check and wanted: the cosine of the first position's logits with the expected ones, nothing pruned (a decision may fall
 * otherwise in coarser numbers), is *(double *)user at least. Prints it. */
bool golden_check_cosine(void *user, const golden_case *c, const char *name, const omnid_result *r, char *why,
                         size_t n_why);
bool golden_wanted_unpruned(const json_t *answer);

/* Feeds the case as a clip or stream and asks everything it asks; returns the number of answers checked and prints those
 * that do not agree; *n_bad of them. */
int golden_run(const golden_case *c, const char *model, const golden_run_params *p, int *n_bad);
/* The unpruned answers of a case, which there must be, each with a cosine of logits of at least `least`; asserts. */
void golden_assert_cosine(const char *model, const char *name, const char *backend, omnid_precision precision,
                          omnid_weights weights, double least);

#endif
