/* trace.c: answers as JSON. The trace's keys are a contract with programs that compare implementations. */
#include "tools/run/run.h"

#include <jansson.h>
#include <stdio.h>

static json_t *ints32(const int32_t *v, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(v[i]));
    return list;
}

static json_t *ints64(const int64_t *v, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(v[i]));
    return list;
}

static json_t *ms(int64_t us)
{
    return json_real((double)us / 1000.0);
}

static json_t *positions(const omnid_trace *t)
{
    json_t *axes = json_array();
    for (int axis = 0; axis < 3; axis++)
        json_array_append_new(axes, ints64(t->position_ids + (int64_t)axis * t->n_ids, t->n_ids));
    return axes;
}

static json_t *segments(const omnid_trace *t)
{
    json_t *list = json_array();
    for (int i = 0; i < t->n_segments; i++) {
        const struct omnid_trace_segment *s = &t->segments[i];
        json_t *o = json_object();
        json_object_set_new(o, "video_tokens", json_integer(s->n_video));
        json_object_set_new(o, "audio_tokens", json_integer(s->n_audio));
        json_object_set_new(o, "video_kept", ints32(s->video_kept, s->n_video_kept));
        json_object_set_new(o, "audio_kept", ints32(s->audio_kept, s->n_audio_kept));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *layers(const omnid_result *r)
{
    json_t *list = json_array();
    for (int l = 0; l < r->n_layers; l++) {
        json_t *o = json_object();
        json_object_set_new(o, "n", json_integer(r->layers[l].n));
        json_object_set_new(o, "k", json_integer(r->layers[l].k));
        json_object_set_new(o, "survivors", ints32(r->trace->survivors[l], r->layers[l].n));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *floats(const float *v, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real((double)v[i])); /* a NaN makes json_real NULL and the dump fail */
    return list;
}

/* Rows of KV that attention read, a layer. */
static json_t *rows_read(const omnid_result *r)
{
    json_t *list = json_array();
    for (int l = 0; l < r->n_layers; l++) {
        json_t *o = json_object();
        json_object_set_new(o, "prefill", json_integer(r->layers[l].kv_rows_prefill));
        json_object_set_new(o, "decode", json_integer(r->layers[l].kv_rows_decode));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *ingested(const run_reports *reports)
{
    json_t *list = json_array();
    for (int i = 0; i < reports->n; i++) {
        const omnid_segment_report *s = &reports->items[i];
        json_t *o = json_object();
        json_object_set_new(o, "segment", json_integer(s->index));
        json_object_set_new(o, "encoder_calls", json_integer(s->encoder_calls));
        json_object_set_new(o, "rows_prefilled", json_integer(s->rows_prefilled));
        json_object_set_new(o, "encode_ms", ms(s->encode_us));
        json_object_set_new(o, "prefill_ms", ms(s->prefill_us));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *timings(const omnid_result *r, const run_reports *reports)
{
    const omnid_timings *t = &r->timings;
    json_t *o = json_object();
    json_object_set_new(o, "ttft_ms", ms(t->first_token_us - t->queued_us));
    json_object_set_new(o, "total_ms", ms(t->done_us - t->queued_us));
    json_object_set_new(o, "encode_ms", ms(t->encode_us));
    json_object_set_new(o, "prefill_ms", ms(t->prefill_us));
    json_object_set_new(o, "decode_ms", ms(t->decode_us));
    json_object_set_new(o, "encoder_calls", json_integer(t->encoder_calls));
    json_object_set_new(o, "rows_prefilled", json_integer(t->rows_prefilled));
    json_object_set_new(o, "kv_rows_read", rows_read(r));
    json_object_set_new(o, "segments", ingested(reports));
    return o;
}

static json_t *trace_object(const omnid_result *r, const run_reports *reports, int vocabulary)
{
    json_t *o = json_object();
    json_object_set_new(o, "mode", json_string(omnid_mode_name(r->mode)));
    json_object_set_new(o, "input_ids", ints32(r->trace->input_ids, r->trace->n_ids));
    json_object_set_new(o, "position_ids", positions(r->trace));
    json_object_set_new(o, "segments", segments(r->trace));
    json_object_set_new(o, "layers", layers(r));
    json_object_set_new(o, "retained", json_real(r->retained));
    json_object_set_new(o, "logits", floats(r->trace->logits, vocabulary));
    json_object_set_new(o, "tokens", ints32(r->tokens, r->n_tokens));
    json_object_set_new(o, "text", json_string(r->text));
    json_object_set_new(o, "timings", timings(r, reports));
    return o;
}

omnid_status trace_write(const char *path, const omnid_result *r, const run_reports *reports, int vocabulary,
                         omnid_error *err)
{
    if (!r->trace)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: the engine gave no trace", path);
    for (int i = 0; i < vocabulary; i++)
        if (!(r->trace->logits[i] - r->trace->logits[i] == 0))
            return omnid_fail(err, OMNID_FORMAT, "%s: logit %d is no finite number; JSON cannot hold it", path, i);
    json_t *o = trace_object(r, reports, vocabulary);
    int failed = json_dump_file(o, path, JSON_REAL_PRECISION(9));
    json_decref(o);
    return failed ? omnid_fail(err, OMNID_IO, "%s: cannot be written", path) : OMNID_OK;
}

static void add_choices(json_t *o, const omnid_result *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->n_choices; i++)
        json_array_append_new(list, json_real(r->choice_logprobs[i]));
    json_object_set_new(o, "choice_logprobs", list);
    json_object_set_new(o, "best_choice", json_integer(r->best_choice));
}

omnid_status trace_print_answer(const char *question, const omnid_result *r, omnid_error *err)
{
    json_t *o = json_object();
    json_object_set_new(o, "question", json_string(question));
    json_object_set_new(o, "text", json_string(r->text));
    json_object_set_new(o, "retained", json_real(r->retained));
    json_object_set_new(o, "ttft_ms", ms(r->timings.first_token_us - r->timings.queued_us));
    if (r->n_choices)
        add_choices(o, r);
    int failed = json_dumpf(o, stdout, JSON_REAL_PRECISION(9));
    json_decref(o);
    if (failed || putchar('\n') == EOF)
        return omnid_fail(err, OMNID_IO, "the answer cannot be written as JSON to standard output");
    return OMNID_OK;
}
