/* protocol_reply.c: what clients get, as JSON. */
#include "daemon/protocol.h"

#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *name, *text;
} codes[PROTOCOL_N_ERRORS] = {
#define PROTOCOL_ERROR_ROW(name, code, text) {code, text},
    PROTOCOL_ERROR_MAP(PROTOCOL_ERROR_ROW)
#undef PROTOCOL_ERROR_ROW
};

const char *protocol_code_name(protocol_code code)
{
    return codes[code].name;
}

const char *protocol_code_text(protocol_code code)
{
    return codes[code].text;
}

protocol_code protocol_code_of(omnid_status status)
{
    switch (status) {
    case OMNID_ARGUMENT:
    case OMNID_FORMAT:
    case OMNID_NOT_FOUND:
        return PROTOCOL_BAD_FIELD;
    case OMNID_LIMIT:
    case OMNID_BUSY:
        return PROTOCOL_LIMIT;
    case OMNID_EMPTY:
        return PROTOCOL_EMPTY;
    case OMNID_CANCELLED:
        return PROTOCOL_CANCELLED;
    case OMNID_DEADLINE:
        return PROTOCOL_DEADLINE;
    case OMNID_UNSUPPORTED:
        return PROTOCOL_UNSUPPORTED;
    case OMNID_NOMEM:
        return PROTOCOL_NO_MEMORY;
    default:
        return PROTOCOL_FAILED;
    }
}

bool protocol_fail(protocol_error *e, protocol_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    e->code = code;
    e->percent = -1;
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return false;
}

json_t *protocol_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* Milliseconds from a to b with three decimals; null when one of the two did not happen. */
static json_t *milliseconds(int64_t from_us, int64_t to_us)
{
    return from_us > 0 && to_us >= from_us ? json_real((double)(to_us - from_us) / 1000.0) : json_null();
}

json_t *protocol_time(int64_t wall_us)
{
    if (wall_us <= 0)
        return json_null();
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm parts;
    char text[64];
    if (!gmtime_r(&seconds, &parts))
        return json_null();
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(wall_us / 1000 % 1000));
    return json_string(text);
}

bool protocol_parse_time(const char *text, int64_t *wall_us)
{
    GTimeZone *utc = g_time_zone_new_utc();
    GDateTime *time = g_date_time_new_from_iso8601(text, utc); /* a zone in the text goes before this one */
    g_time_zone_unref(utc);
    if (!time)
        return false;
    *wall_us = g_date_time_to_unix(time) * 1000000 + g_date_time_get_microsecond(time);
    g_date_time_unref(time);
    return *wall_us > 0;
}

/* A string that may be cut inside a character (sentences have a fixed length). */
static json_t *json_text(const char *text)
{
    char *valid = g_utf8_make_valid(text, -1);
    json_t *value = json_string(valid);
    g_free(valid);
    return value;
}

json_t *protocol_reply(const char *event, json_t *id)
{
    json_t *reply = json_pack("{s:s}", "event", event);
    if (id)
        json_object_set(reply, "id", id);
    return reply;
}

json_t *protocol_reply_error(json_t *id, const protocol_error *e)
{
    json_t *reply = protocol_reply("error", id);
    json_object_set_new(reply, "code", json_string(protocol_code_name(e->code)));
    json_object_set_new(reply, "message", json_text(e->text));
    if (e->code == PROTOCOL_LOADING && e->percent >= 0)
        json_object_set_new(reply, "percent", json_real(e->percent));
    return reply;
}

/* 2 s: what a segment covers. */
enum { SEGMENT_US = 2000000 };

static json_t *evidence(const protocol_done *d, const omnid_result *r)
{
    json_t *list = json_array();
    for (int i = 0; i < r->n_evidence; i++) {
        const omnid_evidence *e = &r->evidence[i];
        int64_t end_us = e->wall_us ? e->wall_us + SEGMENT_US : 0;
        if (end_us > d->wall_us && e->wall_us < d->wall_us)
            end_us = d->wall_us; /* the open segment has got as far as now */
        json_t *moment = json_object();
        json_object_set_new(moment, "t0", protocol_time(e->wall_us));
        json_object_set_new(moment, "t1", protocol_time(end_us));
        json_object_set_new(moment, "ago_s", end_us ? json_real((double)(d->wall_us - end_us) / 1e6) : json_null());
        json_object_set_new(moment, "segment", json_integer(e->segment));
        json_object_set_new(moment, "weight", protocol_number(e->weight));
        json_object_set_new(moment, "audio_share", protocol_number(e->audio_share));
        json_array_append_new(list, moment);
    }
    return list;
}

/* The four columns of layers, each a list with one number a layer. */
static json_t *layers(const omnid_result *r)
{
    json_t *n = json_array(), *k = json_array(), *prefill = json_array(), *decode = json_array();
    for (int i = 0; i < r->n_layers; i++) {
        json_array_append_new(n, json_integer(r->layers[i].n));
        json_array_append_new(k, json_integer(r->layers[i].k));
        json_array_append_new(prefill, json_integer(r->layers[i].kv_rows_prefill));
        json_array_append_new(decode, json_integer(r->layers[i].kv_rows_decode));
    }
    return json_pack("{s:o, s:o, s:{s:o, s:o}}", "n", n, "k", k, "kv_rows_read", "prefill", prefill, "decode", decode);
}

static json_t *timings(const protocol_done *d, const omnid_result *r)
{
    const omnid_timings *t = &r->timings;
    int64_t first_us = t->first_token_us ? t->first_token_us : t->done_us;
    double decode_s = (double)(t->done_us - first_us) / 1e6;
    json_t *out = json_object();
    json_object_set_new(out, "ttft_ms", milliseconds(d->received_us, first_us));
    json_object_set_new(out, "queue_ms", milliseconds(d->received_us, t->started_us));
    json_object_set_new(out, "encode_ms", json_real((double)t->encode_us / 1000.0));
    json_object_set_new(out, "prefill_ms", json_real((double)t->prefill_us / 1000.0));
    json_object_set_new(out, "decode_ms", json_real((double)t->decode_us / 1000.0));
    json_object_set_new(out, "total_ms", milliseconds(d->received_us, t->done_us));
    json_object_set_new(out, "decode_tokens_s",
                        r->n_tokens > 1 && decode_s > 0 ? json_real((r->n_tokens - 1) / decode_s) : json_null());
    json_object_set_new(out, "encoder_calls", json_integer(t->encoder_calls));
    json_object_set_new(out, "rows_prefilled", json_integer(t->rows_prefilled));
    json_object_set_new(out, "layers", layers(r));
    return out;
}

static void add_choices(json_t *reply, const protocol_done *d, const omnid_result *r)
{
    if (!d->choices || r->n_choices <= 0)
        return;
    json_t *list = json_array();
    double highest = -INFINITY, sum = 0;
    for (int i = 0; i < r->n_choices; i++)
        highest = fmax(highest, r->choice_logprobs[i]);
    for (int i = 0; i < r->n_choices; i++)
        sum += exp(r->choice_logprobs[i] - highest);
    for (int i = 0; i < r->n_choices; i++) {
        json_t *choice = json_object();
        json_object_set(choice, "text", json_array_get(d->choices, (size_t)i));
        json_object_set_new(choice, "logprob", protocol_number(r->choice_logprobs[i]));
        json_object_set_new(choice, "share", protocol_number(exp(r->choice_logprobs[i] - highest) / sum));
        json_array_append_new(list, choice);
    }
    json_object_set_new(reply, "choices", list);
    json_object_set_new(reply, "best", json_integer(r->best_choice));
}

json_t *protocol_reply_done(const protocol_done *d, const omnid_result *r)
{
    json_t *reply = protocol_reply("done", d->id);
    json_object_set_new(reply, "text", json_text(r->text));
    json_object_set_new(reply, "stop", json_string(r->stop_reason));
    json_object_set_new(reply, "tokens", json_integer(r->n_tokens));
    json_object_set_new(reply, "camera", json_string(d->camera));
    json_object_set_new(reply, "mode", json_string(omnid_mode_name(r->mode)));
    json_object_set_new(reply, "policy", json_text(r->policy));
    json_object_set_new(reply, "retention_asked", json_text(d->retention));
    json_object_set_new(reply, "retention", protocol_number(r->retained));
    json_object_set_new(reply, "first_segment", json_integer(r->first_segment));
    json_object_set_new(reply, "last_segment", json_integer(r->last_segment));
    /* A frame stands for the half second after it, so the newest data may seem to end a little after now. */
    double newest_ago_s = fmax(0, (double)(d->wall_us - r->newest_wall_us) / 1e6);
    json_object_set_new(reply, "newest_ago_s", r->newest_wall_us ? json_real(newest_ago_s) : json_null());
    json_object_set_new(reply, "newest_frame_ago_s",
                        d->frame_ago_us < 0 ? json_null() : json_real((double)d->frame_ago_us / 1e6));
    add_choices(reply, d, r);
    json_object_set_new(reply, "evidence", evidence(d, r));
    json_object_set_new(reply, "timings", timings(d, r));
    return reply;
}

json_t *protocol_segment(const omnid_segment_report *r)
{
    json_t *out = json_object();
    json_object_set_new(out, "segment", json_integer(r->index));
    json_object_set_new(out, "t0", protocol_time(r->wall_us));
    json_object_set_new(out, "t1", protocol_time(r->wall_us ? r->wall_us + SEGMENT_US : 0));
    json_object_set_new(out, "width", json_integer(r->width));
    json_object_set_new(out, "height", json_integer(r->height));
    json_object_set_new(out, "grids", json_integer(r->n_grids));
    json_object_set_new(out, "rho_v", protocol_number(r->rho_v));
    json_object_set_new(out, "video_tokens", json_integer(r->n_video_tokens));
    json_object_set_new(out, "audio_tokens", json_integer(r->n_audio_tokens));
    json_object_set_new(out, "video_kept", json_integer(r->n_video_kept));
    json_object_set_new(out, "audio_kept", json_integer(r->n_audio_kept));
    json_object_set_new(out, "encoder_calls", json_integer(r->encoder_calls));
    json_object_set_new(out, "rows_prefilled", json_integer(r->rows_prefilled));
    json_object_set_new(out, "queue_ms", milliseconds(r->queued_us, r->started_us));
    json_object_set_new(out, "encode_ms", json_real((double)r->encode_us / 1000.0));
    json_object_set_new(out, "prefill_ms", json_real((double)r->prefill_us / 1000.0));
    return out;
}

json_t *protocol_source(const capture_source_status *s, int64_t now_us, int64_t wall_us)
{
    if (s->state == CAPTURE_OFF && !s->message[0])
        return json_null();
    json_t *out = json_object();
    json_object_set_new(out, "uri", json_text(s->uri ? s->uri : ""));
    json_object_set_new(out, "state", json_string(capture_state_name(s->state)));
    json_object_set_new(out, "fps", protocol_number(s->fps));
    json_object_set_new(out, "width", json_integer(s->width));
    json_object_set_new(out, "height", json_integer(s->height));
    json_object_set_new(out, "level_dbfs", protocol_number(s->level_dbfs));
    json_object_set_new(out, "dropped", json_integer(s->n_dropped));
    json_object_set_new(out, "restarts", json_integer(s->n_restarts));
    json_object_set_new(out, "lost_since",
                        s->lost_since_us ? protocol_time(wall_us - (now_us - s->lost_since_us)) : json_null());
    json_object_set_new(out, "left_behind", json_integer(s->n_left_behind));
    json_object_set_new(out, "message", json_text(s->message));
    return out;
}

char *protocol_text(const json_t *message)
{
    return json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(10));
}
