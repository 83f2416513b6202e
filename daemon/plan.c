/* plan.c: from settings to the engine's parameters. */
#include "daemon/plan.h"

#include <glib.h>
#include <string.h>

#include "daemon/camera.h"

omnid_status plan_timeline(omnid_timeline_params *out, const options_camera *c, const options_daemon *o,
                           omnid_error *err)
{
    omnid_timeline_params p = omnid_timeline_params_default();
    omnid_mode first = OMNID_MODE_EAGER;
    OMNID_TRY(settings_parse_modes(c->modes, &p.modes, &first, err));
    p.system = c->system[0] ? c->system : NULL;
    p.has_video = c->video[0] != '\0';
    p.has_audio = c->audio[0] != '\0' && strcmp(c->audio, "none") != 0;
    p.window_segments = (int)((c->window_s + 1) / 2);
    p.hop_segments = (int)((c->hop_s + 1) / 2);
    p.intra = o->timeline_intra;
    p.rho_a = o->timeline_rho_a;
    p.rho_v = o->timeline_rho_v;
    p.max_pixels = (int)c->max_pixels;
    *out = p;
    return OMNID_OK;
}

static omnid_engine_params engine_params(const options_daemon *o)
{
    omnid_engine_params p = omnid_engine_params_default();
    p.max_open_questions = (int)o->answers_max_open;
    p.max_question_bytes = (int)o->answers_max_question_bytes;
    p.max_queued_segments =
        o->timeline_max_queued < CAMERA_ENGINE_QUEUE ? (int)o->timeline_max_queued : CAMERA_ENGINE_QUEUE;
    p.graphs = o->model_graphs;
    return p;
}

omnid_status plan_make(plan *out, const settings *s, omnid_error *err)
{
    const options_daemon *o = &s->daemon;
    *out = (plan){.model = omnid_model_params_default(), .engine = engine_params(o)};
    out->timelines = g_new0(omnid_timeline_params, s->n_cameras + 1);
    for (size_t i = 0; i < s->n_cameras; i++)
        if (plan_timeline(&out->timelines[i], &s->cameras[i], o, err) != OMNID_OK) {
            plan_clear(out);
            return omnid_fail_in(err, "[camera %s]", s->cameras[i].name);
        }
    out->model.backend = o->model_backend;
    out->model.precision = strcmp(o->model_precision, "f32") == 0    ? OMNID_PRECISION_F32
                           : strcmp(o->model_precision, "bf16") == 0 ? OMNID_PRECISION_BF16
                                                                     : OMNID_PRECISION_AUTO;
    out->model.weights = strcmp(o->model_weights, "int8") == 0 ? OMNID_WEIGHTS_INT8 : OMNID_WEIGHTS_AUTO;
    out->model.n_threads = (int)o->model_threads;
    out->model.memory_limit = (uint64_t)o->model_memory_limit_mib << 20;
    out->model.timelines = out->timelines;
    out->model.n_timelines = (int)s->n_cameras;
    out->model.engine = &out->engine;
    return OMNID_OK;
}

void plan_clear(plan *p)
{
    g_clear_pointer(&p->timelines, g_free);
}
