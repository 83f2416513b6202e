/* check.c: would this folder load here, and if not, what to do? The engine says what is in it; here are the words. */
#include "daemon/model_store.h"
#include "tools/model/commands.h"
#include "tools/model/record.h"

#include <stdio.h>
#include <string.h>

enum { WINDOW_S = 64, SEGMENT_S = 2 };

/* ------------------------------------------------------------------ memory */

/* "bf16", "int8 weights and f32", … */
static const char *held_as(const omnid_model_report *r)
{
    bool bf16 = r->precision == OMNID_PRECISION_BF16;
    if (r->weights == OMNID_WEIGHTS_INT8)
        return bf16 ? "int8 weights and bf16" : "int8 weights and f32";
    return bf16 ? "bf16" : "f32";
}

static void print_remedies(const omnid_model_report *r, int indent)
{
    const uint64_t rest = r->need_bytes - r->plan.kv;
    if (rest < r->limit_bytes && (double)(r->limit_bytes - rest) * WINDOW_S > 4.0 * (double)r->plan.kv)
        printf("%*s         the window is too long for what is left beside the rest: omnid --timeline.window_s=%.0f\n",
               indent, "", (double)(r->limit_bytes - rest) / (double)r->plan.kv * (WINDOW_S - SEGMENT_S));
    if (r->int8_bytes < r->need_bytes && r->int8_bytes <= r->limit_bytes)
        printf("%*s         with int8 weights it needs %s and fits: omnid --model.weights=int8\n", indent, "",
               tool_size_text(r->int8_bytes).text);
    if (r->precision == OMNID_PRECISION_F32 && r->weights == OMNID_WEIGHTS_AUTO && r->bf16_bytes <= r->limit_bytes)
        printf(
            "%*s         in bf16 it needs %s and fits: omnid --model.precision=bf16 (slower here than f32 would be)\n",
            indent, "", tool_size_text(r->bf16_bytes).text);
    else if (r->n_parameters > 6000000000u)
        printf("%*s         a smaller one: omnid-model fetch qwen2.5-omni-3b\n", indent, "");
    printf("%*s         %s with %s would do\n", indent, "", r->plan.own ? "a GPU" : "a machine, or a control group,",
           tool_size_text(r->need_bytes).text);
}

void check_plan_camera(omnid_model_params *p)
{
    static omnid_timeline_params camera;
    camera = omnid_timeline_params_default();
    camera.window_segments = WINDOW_S / SEGMENT_S;
    p->timelines = &camera;
    p->n_timelines = 1;
}

model_exit check_print_memory(const omnid_model_report *r, bool chosen, int indent)
{
    omnid_error err;
    bool fits = omnid_model_fits(r, &err) == OMNID_OK, f32 = r->precision == OMNID_PRECISION_F32;
    printf("%*smemory   needs %s in %s%s; %s has %s%s: %s\n", indent, "", tool_size_text(r->need_bytes).text,
           held_as(r), f32 && !chosen ? " (no bf16 instructions here)" : "", r->plan.device,
           tool_size_text(r->limit_bytes).text, r->plan.own && !r->plan.limited ? " free" : "",
           fits ? "fits" : "does not fit");
    printf("%*sof that  weights %s, KV of %d s of one camera %s (about %.0f tokens), work space %s\n", indent, "",
           tool_size_text(r->plan.weights).text, WINDOW_S, tool_size_text(r->plan.kv).text,
           r->tokens_per_segment * WINDOW_S / SEGMENT_S, tool_size_text(r->plan.work).text);
    if (!fits)
        print_remedies(r, indent);
    return fits ? MODEL_OK : MODEL_NO;
}

/* ------------------------------------------------------------------ files */

static model_exit check_hashes(const record *r, const char *folder, omnid_error *err)
{
    for (guint i = 0; i < r->files->len; i++)
        MODEL_TRY(record_hash_file(r->files->pdata[i], folder, err));
    printf("  hashes   all %u files are as the hub lists them\n", r->files->len);
    return MODEL_OK;
}

/* What the record of a fetch says; folders that were not fetched have none, which is no fault. */
static model_exit check_files(const check_options *o, const char *folder, omnid_error *err)
{
    record r;
    model_exit code = record_read(&r, folder, err);
    if (code == MODEL_MISSING && o->hashes)
        return model_fail(err, MODEL_MISSING,
                          "%.300s was not fetched by omnid-model: there are no hashes to compare with", folder);
    if (code == MODEL_MISSING)
        return MODEL_OK;
    MODEL_TRY(code);
    int n_missing = record_n_missing(&r, folder);
    printf("  files    %u, %s, commit %.12s of %s\n", r.files->len, tool_size_text(record_bytes(&r)).text, r.commit,
           r.repository);
    if (n_missing)
        code =
            model_fail(err, MODEL_MISSING, "%d of %u files are missing or cut short: omnid-model fetch %.100s goes on",
                       n_missing, r.files->len, r.name);
    else if (!r.complete)
        code = model_fail(err, MODEL_MISSING, "its fetch has not ended: omnid-model fetch %.100s goes on", r.name);
    else if (o->hashes)
        code = check_hashes(&r, folder, err);
    record_clear(&r);
    return code;
}

static void print_report(const omnid_model_report *r)
{
    printf("  model    %s parameters, %d layers, hidden %d, %s in the files\n", tool_count_text(r->n_parameters).text,
           r->n_layers, r->hidden, r->dtype);
    printf("  tensors  %d of the thinker, every one that is needed is there and has its shape", r->n_tensors);
    if (r->n_unused)
        printf("; %d without use (%s%s)", r->n_unused, r->first_unused, r->n_unused > 1 ? ", …" : "");
    printf("\n  tokens   tokenizer.json loads; special tokens agree with config.json; vocabulary %d\n", r->vocabulary);
}

model_exit check_run(const check_options *o, omnid_error *err)
{
    char *folder;
    omnid_model_report r;
    omnid_status status = model_store_find(&folder, o->model, err);
    if (status != OMNID_OK)
        return model_exit_of(status);
    printf("%s\n", folder);
    model_exit code = check_files(o, folder, err);
    if (code == MODEL_OK) {
        omnid_model_params p = o->params;
        check_plan_camera(&p);
        status = omnid_model_inspect(&r, folder, &p, err);
        code = model_exit_of(status);
    }
    if (code == MODEL_OK) {
        print_report(&r);
        code = check_print_memory(&r, o->params.precision != OMNID_PRECISION_AUTO, 2);
        if (code == MODEL_NO)
            model_fail(err, MODEL_NO, "sound, but it does not fit: it needs %s in %s, %s has %s",
                       tool_size_text(r.need_bytes).text, held_as(&r), r.plan.device,
                       tool_size_text(r.limit_bytes).text);
    }
    fflush(stdout);
    g_free(folder);
    return code;
}
