/* model.c: opening a model folder, and the life of a model. */
#include "engine/model_load.h"
#include "engine/safetensors.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_SMALL_FILE = 4 << 20, DEFAULT_MAX_PIXELS = 336 * 336 };

omnid_model_params omnid_model_params_default(void)
{
    return (omnid_model_params){.backend = "auto", .precision = OMNID_PRECISION_AUTO, .weights = OMNID_WEIGHTS_AUTO};
}

const char *omnid_weights_name(omnid_weights w)
{
    return w == OMNID_WEIGHTS_INT8 ? "int8" : "auto";
}

omnid_status omnid_weights_parse(omnid_weights *out, const char *name, omnid_error *err)
{
    bool int8 = strcmp(name, "int8") == 0;
    if (!int8 && strcmp(name, "auto") != 0)
        return omnid_fail(err, OMNID_ARGUMENT, "weights: want auto or int8, found '%s'", name);
    *out = int8 ? OMNID_WEIGHTS_INT8 : OMNID_WEIGHTS_AUTO;
    return OMNID_OK;
}

/* ------------------------------------------------------------------ what every model has */

static int all_threads(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

bool model_may_fall_back(const omnid_model *m, const omnid_model_params *p)
{
    return (!p || !p->backend || strcmp(p->backend, "auto") == 0) && strcmp(m->ops->name, kernels_names()[0]) != 0;
}

/* The fastest that is linked in, because the one that `auto` found cannot be used: why. */
static omnid_status take_linked(omnid_model *m, int n_threads, const omnid_error *why, omnid_error *err)
{
    omnid_log(OMNID_LOG_WARNING, "backend auto: %s is used: %s", kernels_names()[0], why->text);
    if (m->backend)
        m->ops->close(&m->backend);
    OMNID_TRY(kernels_find(&m->ops, kernels_names()[0], err));
    return m->ops->open(&m->backend, n_threads, err);
}

static void choose_precision(omnid_model *m, const omnid_model_params *p)
{
    m->precision = p->precision == OMNID_PRECISION_F32    ? KERNELS_PLAIN_F32
                   : p->precision == OMNID_PRECISION_BF16 ? KERNELS_PLAIN_BF16
                                                          : m->ops->native_precision(m->backend);
    m->activation = m->precision == KERNELS_PLAIN_BF16 ? KERNELS_BF16 : KERNELS_F32;
    m->weights = p->weights == OMNID_WEIGHTS_INT8 ? KERNELS_INT8 : m->precision;
}

static omnid_status open_backend(omnid_model *m, const omnid_model_params *p, omnid_error *err)
{
    if (p->n_threads < 0 || p->n_threads > 4096)
        return omnid_fail(err, OMNID_ARGUMENT, "n_threads: want 0 .. 4096, found %d", p->n_threads);
    if ((unsigned)p->precision > OMNID_PRECISION_BF16)
        return omnid_fail(err, OMNID_ARGUMENT, "precision: want auto, f32 or bf16, found %d", (int)p->precision);
    if ((unsigned)p->weights > OMNID_WEIGHTS_INT8)
        return omnid_fail(err, OMNID_ARGUMENT, "weights: want auto or int8, found %d", (int)p->weights);
    OMNID_TRY(kernels_find(&m->ops, p->backend ? p->backend : "auto", err));
    omnid_error why = {0};
    omnid_status status = m->ops->open(&m->backend, p->n_threads, &why);
    if (status != OMNID_OK && !model_may_fall_back(m, p))
        return omnid_fail(err, status, "%s", why.text);
    if (status != OMNID_OK)
        OMNID_TRY(take_linked(m, p->n_threads, &why, err));
    m->n_threads = p->n_threads ? p->n_threads : all_threads();
    choose_precision(m, p);
    return OMNID_OK;
}

omnid_status model_create(omnid_model **out, const omnid_model_params *p, const char *name, omnid_error *err)
{
    *out = NULL;
    omnid_model *m = calloc(1, sizeof *m);
    if (!m || !(m->name = strdup(name))) {
        free(m);
        return omnid_fail(err, OMNID_NOMEM, "no memory for a model");
    }
    m->max_pixels = DEFAULT_MAX_PIXELS;
    omnid_model_params defaults = omnid_model_params_default();
    omnid_status status = open_backend(m, p ? p : &defaults, err);
    if (status != OMNID_OK)
        omnid_model_destroy(&m);
    *out = m;
    return status;
}

/* Two threads meet at the end of every product. For a small model that costs more than it brings, and where other programs
 * use the processors it costs milliseconds each time (demo model beside a busy machine: first token 3 ms with one thread,
 * 1,100 ms with two). */
static omnid_status choose_threads(omnid_model *m, const model_plan *plan, const omnid_model_params *p,
                                   omnid_error *err)
{
    const uint64_t worth_a_team = 100000000; /* parameters */
    if ((p && p->n_threads) || m->n_threads == 1 || plan->n_parameters >= worth_a_team)
        return OMNID_OK;
    m->ops->close(&m->backend);
    m->n_threads = 1;
    return m->ops->open(&m->backend, 1, err);
}

/* Plans memory, and says whether it suffices. */
static omnid_status plan_model(omnid_model *m, weight_source *s, model_plan *plan, const omnid_model_params *p,
                               omnid_error *err)
{
    OMNID_TRY(model_count_weights(m, s, plan, err));
    model_plan_memory(&m->plan, m, plan, p);
    return model_check_memory(&m->plan, omnid_model_get_info(m).precision, omnid_model_get_info(m).weights, err);
}

omnid_status model_fill(omnid_model *m, weight_source *s, const omnid_model_params *p, omnid_error *err)
{
    const omnid_model_params defaults = omnid_model_params_default();
    model_plan plan;
    omnid_error why = {0};
    omnid_status status = plan_model(m, s, &plan, p, &why);
    if (status == OMNID_LIMIT && !m->plan.limited && model_may_fall_back(m, p)) { /* the device is too small for it */
        OMNID_TRY(take_linked(m, p ? p->n_threads : 0, &why, err));
        choose_precision(m, p ? p : &defaults);
        OMNID_TRY(plan_model(m, s, &plan, p, err));
    } else if (status != OMNID_OK) {
        return omnid_fail(err, status, "%s", why.text);
    }
    OMNID_TRY(choose_threads(m, &plan, p, err));
    OMNID_TRY(model_load_weights(m, s, &plan, p, err));
    if (m->plan.n_timelines)
        OMNID_TRY(m->ops->reserve(m->backend, m->plan.kv + m->plan.work, err));
    omnid_log(OMNID_LOG_INFO, "model %s: %.2f G parameters, %.2f GB as packed (%s%s), backend %s, %d threads", m->name,
              (double)m->n_parameters / 1e9, (double)m->weight_bytes / 1e9, kernels_dtype_name(m->activation),
              m->weights == KERNELS_INT8 ? ", int8 weights" : "", m->ops->name, m->n_threads);
    return OMNID_OK;
}

void omnid_model_destroy(omnid_model **model)
{
    omnid_model *m = *model;
    if (!m)
        return;
    if (m->backend) {
        model_free_weights(m);
        m->ops->close(&m->backend);
    }
    omnid_tokenizer_destroy(&m->tokenizer);
    free(m->name);
    free(m->folder);
    free(m);
    *model = NULL;
}

omnid_model_info omnid_model_get_info(const omnid_model *m)
{
    const text_config *t = &m->config.text;
    return (omnid_model_info){
        .name = m->name,
        .backend = m->ops->name,
        .precision = m->precision == KERNELS_PLAIN_BF16 ? OMNID_PRECISION_BF16 : OMNID_PRECISION_F32,
        .weights = m->weights == KERNELS_INT8 ? OMNID_WEIGHTS_INT8 : OMNID_WEIGHTS_AUTO,
        .n_layers = t->n_layers,
        .hidden = t->hidden,
        .n_heads = t->n_heads,
        .n_kv_heads = t->n_kv_heads,
        .head_dim = t->head_dim,
        .intermediate = t->intermediate,
        .vocabulary = t->vocabulary,
        .max_positions = t->max_positions,
        .max_pixels = m->max_pixels,
        .n_threads = m->n_threads,
        .n_parameters = m->n_parameters,
        .weight_bytes = m->weight_bytes,
        .kv_bytes_per_token =
            2 * (uint64_t)t->n_layers * (uint64_t)(t->n_kv_heads * t->head_dim) * kernels_dtype_size(m->activation)};
}

omnid_memory_plan omnid_model_get_plan(const omnid_model *m)
{
    return m->plan;
}

const omnid_tokenizer *omnid_model_get_tokenizer(const omnid_model *m)
{
    return m->tokenizer;
}

/* ------------------------------------------------------------------ weights of a checkpoint */

typedef struct {
    weight_source base;
    safetensors *file;
    const safetensors_tensor *given[8]; /* since the last release */
    void *copies[8];                    /* of tensors that are not aligned in the file */
    int n_given;
} checkpoint;

static bool checkpoint_has(weight_source *s, const char *name)
{
    return safetensors_find(((checkpoint *)s)->file, name) != NULL;
}

static omnid_status checkpoint_get(weight_source *s, weight_data *out, const char *name, int n_dims, const int64_t *dim,
                                   bool with_data, omnid_error *err)
{
    checkpoint *c = (checkpoint *)s;
    const safetensors_tensor *t;
    OMNID_TRY(safetensors_get(c->file, &t, name, n_dims, dim, err));
    *out = (weight_data){.dtype = t->dtype};
    if (!with_data)
        return OMNID_OK;
    if (c->n_given == (int)(sizeof c->given / sizeof *c->given))
        return omnid_fail(err, OMNID_LIMIT, "%s: too many tensors at once", name);
    out->data = t->data;
    c->copies[c->n_given] = NULL;
    if ((uintptr_t)t->data % kernels_dtype_size(t->dtype) != 0) {
        void *copy = malloc(t->size);
        if (!copy)
            return omnid_fail(err, OMNID_NOMEM, "%s: no memory for %zu bytes", name, t->size);
        out->data = memcpy(copy, t->data, t->size);
        c->copies[c->n_given] = copy;
    }
    c->given[c->n_given++] = t;
    return OMNID_OK;
}

static void checkpoint_release(weight_source *s)
{
    checkpoint *c = (checkpoint *)s;
    for (int i = 0; i < c->n_given; i++) {
        safetensors_release(c->given[i]);
        free(c->copies[i]);
    }
    c->n_given = 0;
}

static omnid_status load_checkpoint(omnid_model *m, const omnid_model_params *p, omnid_error *err)
{
    checkpoint c = {.base = {checkpoint_has, checkpoint_get, checkpoint_release}};
    OMNID_TRY(safetensors_open(&c.file, m->folder, err));
    omnid_status status = model_fill(m, &c.base, p, err);
    checkpoint_release(&c.base);
    safetensors_close(&c.file);
    return status;
}

/* ------------------------------------------------------------------ opening a folder */

static omnid_status read_small(char **out, size_t *n, const char *folder, const char *name, omnid_error *err)
{
    char path[4096];
    *out = NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return omnid_fail(err, OMNID_ARGUMENT, "%.64s…: path too long", folder);
    return config_read_file(out, n, path, MAX_SMALL_FILE, err);
}

static omnid_status read_config(omnid_model *m, omnid_error *err)
{
    char *text;
    size_t n;
    OMNID_TRY(read_small(&text, &n, m->folder, "config.json", err));
    omnid_status status = config_parse(&m->config, text, n, err);
    free(text);
    return status;
}

static omnid_status read_omnid_json(omnid_model *m, omnid_error *err)
{
    char *text;
    size_t n;
    omnid_status status = read_small(&text, &n, m->folder, "omnid.json", err);
    if (status != OMNID_OK)
        return status == OMNID_NOT_FOUND ? OMNID_OK : status;
    status = model_read_omnid_json(m, text, n, err);
    free(text);
    return status;
}

static omnid_status read_tokenizer(omnid_model *m, omnid_error *err)
{
    char path[4096], *generation;
    if (snprintf(path, sizeof path, "%s/tokenizer.json", m->folder) >= (int)sizeof path)
        return omnid_fail(err, OMNID_ARGUMENT, "%.64s…: path too long", m->folder);
    OMNID_TRY(omnid_tokenizer_open(&m->tokenizer, path, err));
    size_t n = 0;
    omnid_status status = read_small(&generation, &n, m->folder, "generation_config.json", err);
    if (status != OMNID_OK && status != OMNID_NOT_FOUND)
        return status;
    status = model_find_ids(m, generation, n, err);
    free(generation);
    return status;
}

/* The last part of the folder's path, "." and ".." resolved. malloc'ed; NULL = no memory. */
static char *folder_name(const char *folder)
{
    char *full = realpath(folder, NULL);
    if (!full)
        return strdup(folder);
    const char *slash = strrchr(full, '/');
    char *name = strdup(slash && slash[1] ? slash + 1 : full);
    free(full);
    return name;
}

static omnid_status read_folder(omnid_model *m, const char *folder, omnid_error *err)
{
    m->folder = strdup(folder);
    if (!m->folder)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a model");
    OMNID_TRY(read_config(m, err));
    OMNID_TRY(read_omnid_json(m, err));
    return read_tokenizer(m, err);
}

omnid_status model_open_small(omnid_model **out, const char *folder, const omnid_model_params *p, omnid_error *err)
{
    *out = NULL;
    struct stat st;
    if (!folder || !*folder)
        return omnid_fail(err, OMNID_ARGUMENT, "want a model folder, found none");
    if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
        return omnid_fail(err, OMNID_NOT_FOUND, "%.400s: no such model folder", folder);
    char *name = folder_name(folder);
    if (!name)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a model");
    omnid_status status = model_create(out, p, name, err);
    free(name);
    OMNID_TRY(status);
    status = read_folder(*out, folder, err);
    if (status != OMNID_OK)
        model_open_failed(out, folder, err);
    return status;
}

void model_open_failed(omnid_model **out, const char *folder, omnid_error *err)
{
    omnid_fail_in(err, "model %.200s", folder);
    omnid_model_destroy(out);
}

omnid_status omnid_model_open(omnid_model **out, const char *folder, const omnid_model_params *p, omnid_error *err)
{
    OMNID_TRY(model_open_small(out, folder, p, err));
    omnid_status status = load_checkpoint(*out, p, err);
    if (status != OMNID_OK)
        model_open_failed(out, folder, err);
    return status;
}
