/* model_plan.c: would a model fit, with what is to run on it? Asked before anything large is allocated. */
#include "engine/model_load.h"

#include <stdio.h>

#include "engine/memory_plan.h"

static const uint64_t PROCESS = (uint64_t)256 << 20; /* program, libraries, tokenizer, capture's buffers */
static const uint64_t DRIVER = (uint64_t)512
                               << 20; /* of a device: code that is loaded late, recorded paths. At most this … */
enum { DRIVER_SHARE = 32 };           /* … and this part of it */
static const double GIB = 1024.0 * 1024.0 * 1024.0;

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void model_plan_memory(omnid_memory_plan *out, const omnid_model *m, const model_plan *weights,
                       const omnid_model_params *p)
{
    const omnid_engine_params defaults = omnid_engine_params_default();
    const omnid_engine_params *engine = p && p->engine ? p->engine : &defaults;
    const int n_timelines = p && p->timelines ? p->n_timelines : 0;
    kernels_memory device;
    m->ops->memory(m->backend, &device);
    *out = (omnid_memory_plan){.own = device.own, .total = device.total, .free = device.free};
    snprintf(out->device, sizeof out->device, "%s", device.device);
    out->n_timelines = n_timelines;
    out->weights = weights->packed + weights->embedding;
    for (int i = 0; i < n_timelines; i++)
        out->kv += memory_plan_kv(m, &p->timelines[i]);
    out->work = memory_plan_work(m, &device, engine, n_timelines ? p->timelines : NULL, n_timelines);
    uint64_t run = out->kv + out->work;
    if (device.own) {
        kernels_memory machine;
        kernels_machine_memory(&machine);
        out->driver = device.total / DRIVER_SHARE < DRIVER ? device.total / DRIVER_SHARE : DRIVER;
        out->need = out->weights + run + out->driver;
        out->limit = device.free;
        out->host_need = weights->staging + PROCESS;
        out->host_total = machine.total;
    } else {
        out->need =
            out->weights + larger(weights->staging, run) + PROCESS; /* the matrix is gone before the first segment */
        out->limit = device.total;
    }
    out->limited = p && p->memory_limit;
    if (out->limited)
        out->limit = p->memory_limit;
}

/* What to do about it; weights that leave hardly anything are the matter themselves. */
static const char *remedy(const omnid_memory_plan *plan, omnid_precision precision, omnid_weights weights)
{
    if (plan->weights <= plan->limit - plan->limit / 8)
        return "a smaller window_s, fewer cameras, a smaller max_pixels or mode deferred";
    if (weights == OMNID_WEIGHTS_INT8)
        return "a smaller model";
    return precision == OMNID_PRECISION_F32 ? "precision bf16, weights int8 or a smaller model"
                                            : "weights int8 or a smaller model";
}

/* "the limit is 2.00 GiB", "this machine has 25.30 GiB", "NVIDIA H100 has 3.10 GiB free of 79.10". */
static const char *room(char *out, size_t size, const omnid_memory_plan *plan)
{
    if (plan->limited)
        snprintf(out, size, "the limit is %.2f GiB", (double)plan->limit / GIB);
    else if (plan->own)
        snprintf(out, size, "%s has %.2f GiB free of %.2f", plan->device, (double)plan->limit / GIB,
                 (double)plan->total / GIB);
    else
        snprintf(out, size, "%s has %.2f GiB", plan->device, (double)plan->limit / GIB);
    return out;
}

omnid_status model_check_memory(const omnid_memory_plan *plan, omnid_precision precision, omnid_weights weights,
                                omnid_error *err)
{
    char has[160], rest[96] = "";
    if (plan->need > plan->limit) {
        snprintf(rest, sizeof rest, ", the %s %.2f", plan->own ? "driver" : "program",
                 (double)(plan->own ? plan->driver : PROCESS) / GIB);
        return omnid_fail(
            err, OMNID_LIMIT,
            "the model needs %.2f GiB (weights %.2f, KV of %d timeline%s %.2f, work space %.2f%s), %s: try %s",
            (double)plan->need / GIB, (double)plan->weights / GIB, plan->n_timelines, plan->n_timelines == 1 ? "" : "s",
            (double)plan->kv / GIB, (double)plan->work / GIB, rest, room(has, sizeof has, plan),
            remedy(plan, precision, weights));
    }
    if (plan->host_need > plan->host_total)
        return omnid_fail(
            err, OMNID_LIMIT,
            "the model needs %.2f GiB of the machine's memory while it is loaded (its largest matrix, the "
            "program), beside what is on %s; this machine has %.2f GiB",
            (double)plan->host_need / GIB, plan->device, (double)plan->host_total / GIB);
    return OMNID_OK;
}
