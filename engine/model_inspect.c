/* model_inspect.c: would a folder load, and what would it take? The loader's own walk over names and shapes, counting only;
 * a tensor that is missing or of another shape is noted and the walk goes on, so that all of them are counted. */
#include "engine/model_load.h"
#include "engine/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    weight_source base;
    safetensors *file;
    bool *used; /* [safetensors_count] */
    const char *dtype;
    int n_bad;         /* missing, of another shape, or of a dtype that cannot be used */
    omnid_error first; /* what the first of them is */
} inspection;

static bool inspection_has(weight_source *s, const char *name)
{
    return safetensors_find(((inspection *)s)->file, name) != NULL;
}

static omnid_status inspection_get(weight_source *s, weight_data *out, const char *name, int n_dims, const int64_t *dim,
                                   bool with_data, omnid_error *err)
{
    (void)with_data;
    (void)err;
    inspection *in = (inspection *)s;
    const safetensors_tensor *t;
    omnid_error found;
    *out = (weight_data){.dtype = KERNELS_BF16};
    omnid_status status = safetensors_get(in->file, &t, name, n_dims, dim, &found);
    if (t)
        in->used[safetensors_place(in->file, t)] = true;
    if (status != OMNID_OK) {
        if (in->n_bad++ == 0)
            in->first = found;
        return OMNID_OK;
    }
    out->dtype = t->dtype;
    if (n_dims > 1 && !in->dtype)
        in->dtype = kernels_dtype_name(t->dtype);
    return OMNID_OK;
}

static void inspection_release(weight_source *s)
{
    (void)s;
}

/* Of four grids one is whole and the others keep 1 - rho_v; a segment has two (docs/semantics.md, section 4). */
static double kept_tokens(const omnid_model *m)
{
    omnid_timeline_params p = omnid_timeline_params_default();
    double grid = m->max_pixels / (28.0 * 28.0), audio = 50;
    return grid * (1 + 3 * (1 - p.rho_v)) / 2 + audio * (1 - p.rho_a);
}

static void count_unused(omnid_model_report *out, const inspection *in)
{
    out->n_tensors = (int)safetensors_count(in->file);
    for (size_t i = 0; i < safetensors_count(in->file); i++) {
        if (in->used[i])
            continue;
        if (out->n_unused++ == 0)
            snprintf(out->first_unused, sizeof out->first_unused, "%s", safetensors_at(in->file, i)->name);
    }
}

/* What the model says by itself. */
static void describe(omnid_model_report *out, const omnid_model *m)
{
    omnid_model_info info = omnid_model_get_info(m);
    snprintf(out->name, sizeof out->name, "%s", info.name);
    out->backend = info.backend;
    out->precision = info.precision;
    out->weights = info.weights;
    out->n_layers = info.n_layers;
    out->hidden = info.hidden;
    out->vocabulary = info.vocabulary;
    out->max_pixels = info.max_pixels;
    out->kv_bytes_per_token = info.kv_bytes_per_token;
    out->limit_bytes = out->plan.limit;
    out->need_bytes = out->plan.need;
    out->tokens_per_segment = kept_tokens(m);
}

enum { N_COUNTS = 3 };

/* The plans of f32, bf16 and int8 weights by one source, and the one that is wanted. */
static omnid_status count_all(omnid_model_report *out, omnid_model *m, weight_source *s, const omnid_model_params *p,
                              omnid_error *err)
{
    const kernels_precision precision = m->precision, weights = m->weights;
    const kernels_precision cases[N_COUNTS][2] = {
        {KERNELS_PLAIN_F32, KERNELS_PLAIN_F32}, {KERNELS_PLAIN_BF16, KERNELS_PLAIN_BF16}, {precision, KERNELS_INT8}};
    uint64_t *const bytes[N_COUNTS] = {&out->f32_bytes, &out->bf16_bytes, &out->int8_bytes};
    omnid_status status = OMNID_OK;
    const kernels_dtype activation = m->activation;
    for (int i = 0; i < N_COUNTS && status == OMNID_OK; i++) {
        model_plan counted;
        omnid_memory_plan plan;
        m->precision = cases[i][0];
        m->weights = cases[i][1];
        m->activation = m->precision == KERNELS_PLAIN_BF16 ? KERNELS_BF16 : KERNELS_F32;
        status = model_count_weights(m, s, &counted, err);
        model_plan_memory(&plan, m, &counted, p);
        *bytes[i] = plan.need;
        out->n_parameters = counted.n_parameters;
        if (m->precision == precision && m->weights == weights)
            out->plan = plan;
    }
    m->precision = precision;
    m->weights = weights;
    m->activation = activation;
    return status;
}

static omnid_status inspect_weights(omnid_model_report *out, omnid_model *m, inspection *in,
                                    const omnid_model_params *p, omnid_error *err)
{
    omnid_status status = count_all(out, m, &in->base, p, err);
    if (in->n_bad) { /* says more than what the walk may have met after it; every pass met the same */
        int others = (status == OMNID_OK ? in->n_bad / N_COUNTS : in->n_bad) - 1;
        *err = in->first;
        if (others > 0)
            snprintf(err->text + strlen(err->text), sizeof err->text - strlen(err->text),
                     " (and %d more that are missing or of another shape)", others);
        return err->status;
    }
    OMNID_TRY(status);
    out->dtype = in->dtype ? in->dtype : "none";
    count_unused(out, in);
    return OMNID_OK;
}

static omnid_status inspect_checkpoint(omnid_model_report *out, omnid_model *m, const omnid_model_params *p,
                                       omnid_error *err)
{
    inspection in = {.base = {inspection_has, inspection_get, inspection_release}};
    OMNID_TRY(safetensors_open(&in.file, m->folder, err));
    in.used = calloc(safetensors_count(in.file) + 1, sizeof *in.used);
    omnid_status status = in.used ? inspect_weights(out, m, &in, p, err)
                                  : omnid_fail(err, OMNID_NOMEM, "no memory for a list of the tensors");
    free(in.used);
    safetensors_close(&in.file);
    return status;
}

omnid_status omnid_model_inspect(omnid_model_report *out, const char *folder, const omnid_model_params *p,
                                 omnid_error *err)
{
    omnid_error own;
    omnid_model *m;
    err = err ? err : &own;
    *out = (omnid_model_report){.name = ""};
    OMNID_TRY(model_open_small(&m, folder, p, err));
    omnid_status status = inspect_checkpoint(out, m, p, err);
    if (status != OMNID_OK) {
        model_open_failed(&m, folder, err);
        return status;
    }
    describe(out, m);
    bool fits = out->plan.limited || out->plan.need <= out->plan.limit, again = !fits && model_may_fall_back(m, p);
    omnid_model_destroy(&m);
    if (!again)
        return OMNID_OK;
    omnid_model_params linked = p ? *p : omnid_model_params_default();
    linked.backend = kernels_names()[0];
    return omnid_model_inspect(out, folder, &linked, err);
}

omnid_status omnid_model_fits(const omnid_model_report *r, omnid_error *err)
{
    return model_check_memory(&r->plan, r->precision, r->weights, err);
}

/* ------------------------------------------------------------------ a checkpoint that is not here */

typedef struct {
    weight_source base;
    bool tied;
} assumption;

static bool assumption_has(weight_source *s, const char *name)
{
    return !((assumption *)s)->tied || strcmp(name, "lm_head.weight") != 0;
}

static omnid_status assumption_get(weight_source *s, weight_data *out, const char *name, int n_dims, const int64_t *dim,
                                   bool with_data, omnid_error *err)
{
    (void)s;
    (void)name;
    (void)n_dims;
    (void)dim;
    (void)with_data;
    (void)err;
    *out = (weight_data){.dtype = KERNELS_BF16};
    return OMNID_OK;
}

omnid_status omnid_model_estimate(omnid_model_report *out, const char *config, size_t n, const omnid_model_params *p,
                                  omnid_error *err)
{
    omnid_model *m;
    *out = (omnid_model_report){.name = ""};
    OMNID_TRY(model_create(&m, p, "", err));
    omnid_status status = config_parse(&m->config, config, n, err);
    if (status == OMNID_OK) {
        assumption a = {.base = {assumption_has, assumption_get, inspection_release}, .tied = m->config.text.tied};
        status = count_all(out, m, &a.base, p, err);
    }
    if (status == OMNID_OK) {
        describe(out, m);
        out->dtype = "bf16";
    }
    omnid_model_destroy(&m);
    return status;
}
