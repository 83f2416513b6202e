/* compare.c: one answer of the engine against one answer of the other implementation (expected/NAME.json). */
#include "tests/golden/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const json_t *expected;
    const omnid_result *r;
    const golden_limits *limits;
    char *why;
    size_t n_why;
} comparison;

static bool differs(comparison *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool differs(comparison *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->why, c->n_why, format, args);
    va_end(args);
    return false;
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool same_count(comparison *c, const char *what, int64_t got, int64_t want)
{
    return got == want || differs(c, "%s: %lld, expected %lld", what, (long long)got, (long long)want);
}

/* got [n] against a JSON list of integers. */
static bool same_list(comparison *c, const char *what, const int32_t *got, int64_t n, const json_t *want)
{
    if (!json_is_array(want))
        return differs(c, "%s: the expected answer has none", what);
    if (n != (int64_t)json_array_size(want))
        return differs(c, "%s: %lld of them, expected %zu", what, (long long)n, json_array_size(want));
    for (int64_t i = 0; i < n; i++) {
        int64_t w = json_integer_value(json_array_get(want, (size_t)i));
        if (got[i] != w)
            return differs(c, "%s: %d at %lld of %lld, expected %lld", what, got[i], (long long)i, (long long)n,
                           (long long)w);
    }
    return true;
}

static bool same_prompt(comparison *c)
{
    const omnid_trace *t = c->r->trace;
    if (!same_list(c, "input_ids", t->input_ids, t->n_ids, json_object_get(c->expected, "input_ids")))
        return false;
    const json_t *positions = json_object_get(c->expected, "position_ids");
    for (int axis = 0; axis < 3; axis++)
        for (int i = 0; i < t->n_ids; i++) {
            int64_t got = t->position_ids[(size_t)axis * (size_t)t->n_ids + (size_t)i];
            int64_t want = json_integer_value(json_array_get(json_array_get(positions, (size_t)axis), (size_t)i)) +
                           c->limits->shift;
            if (got != want)
                return differs(c, "position_ids %c: %lld at %d of %d, expected %lld", "thw"[axis], (long long)got, i,
                               t -> n_ids, (long long)want);
        }
    return true;
}

static bool same_segments(comparison *c)
{
    const omnid_trace *t = c->r->trace;
    const json_t *segments = json_object_get(c->expected, "segments");
    if (!same_count(c, "segments", t->n_segments, (int64_t)json_array_size(segments)))
        return false;
    for (int i = 0; i < t->n_segments; i++) {
        const struct omnid_trace_segment *g = &t->segments[i];
        const json_t *w = json_array_get(segments, (size_t)i);
        char what[64];
        snprintf(what, sizeof what, "segment %d of the window: tokens of video", i);
        bool same = same_count(c, what, g->n_video, number(w, "video"));
        snprintf(what, sizeof what, "segment %d of the window: tokens of audio", i);
        same = same && same_count(c, what, g->n_audio, number(w, "audio"));
        snprintf(what, sizeof what, "segment %d of the window: video kept", i);
        same = same && same_list(c, what, g->video_kept, g->n_video_kept, json_object_get(w, "video_kept"));
        snprintf(what, sizeof what, "segment %d of the window: audio kept", i);
        if (!(same && same_list(c, what, g->audio_kept, g->n_audio_kept, json_object_get(w, "audio_kept"))))
            return false;
    }
    return true;
}

static bool same_layers(comparison *c)
{
    const omnid_result *r = c->r;
    if (!same_count(c, "layers", r->n_layers, number(c->expected, "L")))
        return false;
    int64_t text = number(c->expected, "prefix_len") + number(c->expected, "query_len");
    for (int l = 0; l < r->n_layers; l++) {
        char what[64];
        int64_t n = json_integer_value(json_array_get(json_object_get(c->expected, "n_l"), (size_t)l));
        snprintf(what, sizeof what, "layer %d: n", l);
        bool same = same_count(c, what, r->layers[l].n, n);
        snprintf(what, sizeof what, "layer %d: k", l);
        same = same && same_count(c, what, r->layers[l].k,
                                  json_integer_value(json_array_get(json_object_get(c->expected, "k_l"), (size_t)l)));
        snprintf(what, sizeof what, "layer %d: survivors", l);
        same = same && same_list(c, what, r->trace->survivors[l], n,
                                 json_array_get(json_object_get(c->expected, "survivors"), (size_t)l));
        snprintf(what, sizeof what, "layer %d: KV rows read by the question", l);
        same = same && same_count(c, what, r->layers[l].kv_rows_prefill, text + n);
        snprintf(what, sizeof what, "layer %d: KV rows read by a decode step", l);
        if (!(same && (r->n_tokens < 2 || same_count(c, what, r->layers[l].kv_rows_decode, text + n + 1))))
            return false;
    }
    double retained = json_real_value(json_object_get(c->expected, "retained_ratio"));
    return fabs(r->retained - retained) <= 1e-6 || differs(c, "retained: %.7f, expected %.7f", r->retained, retained);
}

static bool same_logits(comparison *c)
{
    const json_t *logits = json_object_get(c->expected, "logits");
    double worst = 0;
    size_t at = 0, n = json_array_size(logits);
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)c->r->trace->logits[i] - json_number_value(json_array_get(logits, i)));
        if (!(d <= worst)) {
            worst = d;
            at = i;
        }
    }
    return worst <= c->limits->logits_tolerance ||
           differs(c, "logits: %.6g at id %zu, expected %.6g: tolerance %g", (double)c->r->trace->logits[at], at,
                   json_number_value(json_array_get(logits, at)), c->limits->logits_tolerance);
}

static bool same_tokens(comparison *c)
{
    const omnid_result *r = c->r;
    const json_t *tokens = json_object_get(c->expected, "tokens"), *gaps = json_object_get(c->expected, "top2_gap");
    size_t n = json_array_size(tokens), sure = 0;
    while (sure < n && json_number_value(json_array_get(gaps, sure)) >= c->limits->min_top2_gap)
        sure++;
    if (sure == n && !same_count(c, "tokens", r->n_tokens, (int64_t)n))
        return false;
    for (size_t i = 0; i < sure; i++) {
        int64_t want = json_integer_value(json_array_get(tokens, i));
        if ((int64_t)i >= r->n_tokens || r->tokens[i] != want)
            return differs(c, "token %zu of %zu: %d, expected %lld", i, n, (int64_t)i < r->n_tokens ? r->tokens[i] : -1,
                           (long long)want);
    }
    const char *text = json_string_value(json_object_get(c->expected, "text"));
    if (sure == n && strstr(text, "\xef\xbf\xbd") == NULL && strcmp(text, r->text) != 0)
        return differs(c, "text: '%s', expected '%s'", r->text, text);
    return true;
}

/* The engine reports the heaviest moments; every one it reports must be right, and the heaviest must be there. */
static bool same_evidence(comparison *c)
{
    const omnid_result *r = c->r;
    const json_t *all = json_object_get(c->expected, "evidence"), *e;
    double highest = 0, reported = 0;
    size_t i;
    json_array_foreach(all, i, e)
    {
        highest = fmax(highest, json_number_value(json_object_get(e, "weight")));
    }
    for (int j = 0; j < r->n_evidence; j++) {
        const omnid_evidence *g = &r->evidence[j];
        double weight = -1, audio = -1;
        json_array_foreach(all, i, e)
        {
            if (number(e, "segment") + c->limits->shift / 50 == g->segment) {
                weight = json_number_value(json_object_get(e, "weight"));
                audio = json_number_value(json_object_get(e, "audio"));
            }
        }
        if (fabs(g->weight - weight) > 1e-4 || fabs(g->audio_share - audio) > 1e-3)
            return differs(c, "evidence of segment %lld: weight %.6f and audio %.6f, expected %.6f and %.6f",
                           (long long)g->segment, g->weight, g->audio_share, weight, audio);
        if (j > 0 && g->weight > r->evidence[j - 1].weight)
            return differs(c, "evidence %d is heavier than the one before it", j);
        reported = fmax(reported, g->weight);
    }
    return fabs(reported - highest) <= 1e-4 || differs(c, "heaviest evidence: %.6f, expected %.6f", reported, highest);
}

bool golden_compare(const json_t *expected, const omnid_result *r, const golden_limits *limits, char *why, size_t n_why)
{
    comparison c = {expected, r, limits, why, n_why};
    if (r->trace == NULL)
        return differs(&c, "the result has no trace");
    const char *mode = json_string_value(json_object_get(expected, "mode"));
    if (strcmp(mode, omnid_mode_name(r->mode)) != 0)
        return differs(&c, "mode: %s, expected %s", omnid_mode_name(r->mode), mode);
    return same_prompt(&c) && same_segments(&c) && same_layers(&c) && same_logits(&c) && same_tokens(&c) &&
           same_evidence(&c);
}
