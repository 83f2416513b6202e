/* model_load.h: what the model*.c files share: where weights come from, the walk over all of them, the memory plan.
 *
 * The walk (model_weights.c) runs twice over one source: first counting, which checks every name and shape and adds up what
 * the model will take, then packing. So a model that cannot fit, or is torn, is refused before anything is allocated. */
#ifndef ENGINE_MODEL_LOAD_H
#define ENGINE_MODEL_LOAD_H

#include "engine/model.h"

enum { MODEL_MAX_NAME = 160 };

typedef struct {
    const void *data;    /* aligned to its dtype; NULL when only counted */
    kernels_dtype dtype; /* F32, BF16 or F16 */
} weight_data;

typedef struct weight_source weight_source;
struct weight_source {
    bool (*has)(weight_source *s, const char *name);
    /* The tensor `name` of this shape, or NOT_FOUND, SHAPE, UNSUPPORTED, NOMEM. with_data false: data is not needed. */
    omnid_status (*get)(weight_source *s, weight_data *out, const char *name, int n_dims, const int64_t *dim,
                        bool with_data, omnid_error *err);
    /* All data given out since the last call may go. */
    void (*release)(weight_source *s);
};

/* What the model takes, in bytes. */
typedef struct {
    uint64_t n_parameters;
    uint64_t packed;    /* matrices as the model has them, their biases and all vectors in F32 */
    uint64_t embedding; /* in the checkpoint's dtype, or int8 */
    uint64_t staging;   /* the largest matrix as the source holds it while it is packed */
} model_plan;

/* Counts into *plan without touching data. */
omnid_status model_count_weights(omnid_model *m, weight_source *s, model_plan *plan, omnid_error *err);
/* Packs and uploads everything; m's weights are set as far as it came. Reports progress by p->on_progress. */
omnid_status model_load_weights(omnid_model *m, weight_source *s, const model_plan *plan, const omnid_model_params *p,
                                omnid_error *err);
void model_free_weights(omnid_model *m);

/* The plan of weights and of what params say will run on them, against the backend's memory. */
void model_plan_memory(omnid_memory_plan *out, const omnid_model *m, const model_plan *weights,
                       const omnid_model_params *p);
/* LIMIT with the numbers, and what to do, when the plan of a model as it is held needs more than there is. */
omnid_status model_check_memory(const omnid_memory_plan *plan, omnid_precision precision, omnid_weights weights,
                                omnid_error *err);

/* Name, max_pixels and schedules of the folder's omnid.json (may be missing). */
omnid_status model_read_omnid_json(omnid_model *m, const char *json, size_t n, omnid_error *err);
/* m->ids from tokenizer and config; generation_config.json (NULL = there is none) adds ends of an answer. */
omnid_status model_find_ids(omnid_model *m, const char *generation, size_t n, omnid_error *err);

/* Whether another backend may be taken instead of the one that `auto` found: it cannot be opened, or has too little memory. */
bool model_may_fall_back(const omnid_model *m, const omnid_model_params *p);
/* Backend, precision and thread count of p; a name for the model (copied). */
omnid_status model_create(omnid_model **out, const omnid_model_params *p, const char *name, omnid_error *err);
/* A model with the small files of a folder read (config.json, omnid.json, tokenizer) and no weights yet. *out is NULL on
 * failure. */
omnid_status model_open_small(omnid_model **out, const char *folder, const omnid_model_params *p, omnid_error *err);
/* Puts the folder before the sentence in *err and destroys *out. */
void model_open_failed(omnid_model **out, const char *folder, omnid_error *err);
/* Checks memory and loads from s; on another backend where the one that `auto` found is too small for it. */
omnid_status model_fill(omnid_model *m, weight_source *s, const omnid_model_params *p, omnid_error *err);

#endif
