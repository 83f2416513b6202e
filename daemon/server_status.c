/* server_status.c: status, timeline and sources: what can be told at once. */
#include "daemon/load.h"
#include "daemon/server_internal.h"

#include <math.h>
#include <string.h>

static json_t *model_status(const server *s)
{
    if (worker_get_state(s->worker, NULL) != WORKER_READY)
        return json_null();
    omnid_model_info i = omnid_model_get_info(worker_model(s->worker));
    json_t *out = json_object();
    json_object_set_new(out, "name", json_string(i.name));
    json_object_set_new(out, "path", json_string(s->settings->model_path));
    json_object_set_new(out, "demo", json_boolean(s->settings->demo_model));
    json_object_set_new(out, "backend", json_string(i.backend));
    json_object_set_new(out, "precision", json_string(i.precision == OMNID_PRECISION_BF16 ? "bf16" : "f32"));
    json_object_set_new(out, "weights", json_string(i.weights == OMNID_WEIGHTS_INT8 ? "int8" : "auto"));
    json_object_set_new(out, "layers", json_integer(i.n_layers));
    json_object_set_new(out, "parameters", json_integer((json_int_t)i.n_parameters));
    json_object_set_new(out, "weight_bytes", json_integer((json_int_t)i.weight_bytes));
    json_object_set_new(out, "kv_bytes_per_token", json_integer((json_int_t)i.kv_bytes_per_token));
    json_object_set_new(out, "threads", json_integer(i.n_threads));
    return out;
}

/* What the engine holds beside what was planned for it. */
static json_t *memory_status(const server *s, const omnid_engine_status *e)
{
    omnid_memory_plan p = omnid_model_get_plan(worker_model(s->worker));
    json_t *out = json_object();
    json_object_set_new(out, "device", json_string(p.device));
    json_object_set_new(out, "total_bytes", json_integer((json_int_t)p.total));
    json_object_set_new(out, "free_bytes", json_integer((json_int_t)e->free_bytes));
    json_object_set_new(out, "weight_bytes",
                        json_integer((json_int_t)omnid_model_get_info(worker_model(s->worker)).weight_bytes));
    json_object_set_new(out, "kv_bytes", json_integer((json_int_t)e->kv_bytes));
    json_object_set_new(out, "kv_planned_bytes", json_integer((json_int_t)p.kv));
    json_object_set_new(out, "work_bytes", json_integer((json_int_t)e->work_bytes));
    json_object_set_new(out, "work_planned_bytes", json_integer((json_int_t)p.work));
    return out;
}

static json_t *engine_status(const server *s)
{
    if (worker_get_state(s->worker, NULL) != WORKER_READY)
        return json_null();
    omnid_engine_status e = omnid_engine_get_status(worker_engine(s->worker));
    json_t *out = json_object();
    json_object_set_new(out, "memory_bytes", json_integer((json_int_t)e.memory_bytes));
    json_object_set_new(out, "memory", memory_status(s, &e));
    json_object_set_new(out, "open_answers", json_integer(e.n_open_answers));
    json_object_set_new(out, "queued_segments", json_integer(e.n_queued_segments));
    json_object_set_new(out, "answers", json_integer((json_int_t)e.n_answers));
    json_object_set_new(out, "ttft_p50_ms", protocol_number(e.ttft_p50_ms));
    json_object_set_new(out, "ttft_p95_ms", protocol_number(e.ttft_p95_ms));
    json_object_set_new(out, "oldest_work_ms", json_real((double)e.oldest_work_us / 1000.0));
    return out;
}

static json_t *source_json(bool started, const capture_source_status *source)
{
    return started ? protocol_source(source, omnid_clock_us(), omnid_wall_us()) : json_null();
}

static json_t *camera_json(const server *s, size_t i)
{
    camera_status c;
    const options_camera *own = &s->settings->cameras[i];
    bool started = camera_get_status(s->cameras[i], &c);
    json_t *out = json_object();
    json_object_set_new(out, "camera", json_string(own->name));
    json_object_set_new(out, "demo", json_boolean(s->settings->demo_camera));
    json_object_set_new(out, "video", source_json(started, &c.capture.video));
    json_object_set_new(out, "audio", source_json(started, &c.capture.audio));
    json_object_set_new(out, "segments", json_integer((json_int_t)c.capture.n_segments));
    json_object_set_new(out, "gaps_video", json_integer((json_int_t)c.capture.n_gaps_video));
    json_object_set_new(out, "gaps_audio", json_integer((json_int_t)c.capture.n_gaps_audio));
    json_object_set_new(out, "skipped", json_integer((json_int_t)c.n_skipped));
    json_object_set_new(out, "waiting", json_integer(c.n_waiting + c.timeline.n_queued));
    json_object_set_new(out, "visible", json_integer(c.timeline.n_segments));
    json_object_set_new(out, "load", json_string(load_name(c.load)));
    json_object_set_new(out, "lag_s", protocol_number(c.timeline.lag_s));
    json_object_set_new(out, "real_time_factor", protocol_number(c.timeline.real_time_factor));
    json_object_set_new(out, "memory_bytes", json_integer((json_int_t)c.timeline.memory_bytes));
    json_object_set_new(out, "frames", json_integer(c.frames.n));
    json_object_set_new(out, "frames_bytes", json_integer((json_int_t)c.frames.n_bytes));
    json_object_set_new(out, "window_s", json_integer((json_int_t)own->window_s));
    json_object_set_new(out, "modes", json_string(own->modes));
    json_object_set_new(out, "retention", json_string(own->retention));
    json_object_set_new(out, "policy", json_string(own->policy));
    return out;
}

/* The named camera alone, or all. NULL: there is none of that name. */
static json_t *each_camera(const server *s, const protocol_request *r, json_t *(*make)(const server *, size_t),
                           protocol_error *e)
{
    size_t only = 0;
    if (r->camera && !server_find_camera(s, r, &only, e))
        return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < s->settings->n_cameras; i++)
        if (!r->camera || i == only)
            json_array_append_new(list, make(s, i));
    return list;
}

json_t *server_status(server *s, const protocol_request *r, protocol_error *e)
{
    json_t *cameras = each_camera(s, r, camera_json, e);
    if (!cameras)
        return NULL;
    double percent = 0;
    worker_state state = worker_get_state(s->worker, &percent);
    const options_daemon *o = &s->settings->daemon;
    json_t *out = protocol_reply("status", r->id);
    json_object_set_new(out, "version", json_integer(PROTOCOL_VERSION));
    json_object_set_new(out, "omnid", json_string(OMNID_VERSION));
    json_object_set_new(out, "state",
                        json_string(s->stopping               ? "stopping"
                                    : state == WORKER_READY   ? "ready"
                                    : state == WORKER_LOADING ? "loading"
                                                              : "failed"));
    json_object_set_new(out, "percent", json_real(percent));
    json_object_set_new(out, "uptime_s", json_real((double)(omnid_clock_us() - s->started_us) / 1e6));
    json_object_set_new(out, "model", model_status(s));
    json_object_set_new(out, "engine", engine_status(s));
    json_object_set_new(out, "cameras", cameras);
    json_object_set_new(out, "limits",
                        json_pack("{s:I, s:I, s:I, s:I, s:I}", "message_bytes", (json_int_t)s->limits.max_message_bytes,
                                  "question_bytes", (json_int_t)s->limits.max_question_bytes, "open",
                                  (json_int_t)o->answers_max_open, "open_client",
                                  (json_int_t)o->answers_max_open_client, "deadline_ms",
                                  (json_int_t)o->answers_max_deadline_ms));
    return out;
}

static json_t *segments_json(omnid_timeline *timeline)
{
    json_t *list = json_array();
    int n = omnid_timeline_get_segments(timeline, NULL, 0);
    omnid_segment_report *reports = n > 0 ? g_new0(omnid_segment_report, n) : NULL;
    int n_now = n > 0 ? omnid_timeline_get_segments(timeline, reports, n) : 0;
    for (int i = 0; i < n_now && i < n; i++)
        json_array_append_new(list, protocol_segment(&reports[i]));
    g_free(reports);
    return list;
}

json_t *server_timeline(server *s, const protocol_request *r, protocol_error *e)
{
    size_t index = 0;
    if (!server_find_camera(s, r, &index, e) || !server_is_ready(s, e))
        return NULL;
    omnid_timeline *timeline = camera_timeline(s->cameras[index]);
    omnid_timeline_status t = omnid_timeline_get_status(timeline);
    json_t *out = protocol_reply("timeline", r->id);
    json_object_set_new(out, "camera", json_string(s->settings->cameras[index].name));
    json_object_set_new(out, "first_segment", json_integer(t.first_segment));
    json_object_set_new(out, "next_segment", json_integer(t.next_segment));
    json_object_set_new(out, "t0", protocol_time(t.first_wall_us));
    json_object_set_new(out, "t1", protocol_time(t.last_wall_us));
    json_object_set_new(out, "left", json_integer(t.n_left));
    json_object_set_new(out, "gaps", json_integer(t.n_gaps));
    json_object_set_new(out, "queued", json_integer(t.n_queued));
    json_object_set_new(out, "tokens", json_integer(t.n_tokens));
    json_object_set_new(out, "memory_bytes", json_integer((json_int_t)t.memory_bytes));
    json_object_set_new(out, "segments", segments_json(timeline));
    return out;
}

static json_t *camera_sources(const server *s, size_t i)
{
    camera_status c;
    bool started = camera_get_status(s->cameras[i], &c);
    return json_pack("{s:s, s:o, s:o}", "camera", s->settings->cameras[i].name, "video",
                     source_json(started, &c.capture.video), "audio", source_json(started, &c.capture.audio));
}

json_t *server_sources(server *s, const protocol_request *r, protocol_error *e)
{
    json_t *cameras = each_camera(s, r, camera_sources, e);
    if (!cameras)
        return NULL;
    int n = 0;
    const capture_scheme *schemes = omnid_capture_schemes(&n);
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s}", "scheme", schemes[i].scheme, "description", schemes[i].description));
    json_t *out = protocol_reply("sources", r->id);
    json_object_set_new(out, "schemes", list);
    json_object_set_new(out, "cameras", cameras);
    return out;
}
