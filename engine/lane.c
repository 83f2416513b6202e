/* lane.c: a stream with its work space. */
#include "engine/lane.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

omnid_status lane_open(lane *l, memory *mem, kernels_priority priority, omnid_error *err)
{
    *l = (lane){.mem = mem};
    return mem->model->ops->stream_open(mem->model->backend, &l->stream, priority, err);
}

void lane_close(lane *l)
{
    if (!l->mem)
        return;
    buffer_free(l->mem, &l->ids);
    buffer_free(l->mem, &l->iota);
    if (l->stream)
        l->mem->model->ops->stream_close(&l->stream);
    *l = (lane){0};
}

omnid_status lane_embed(lane *l, void *x, const int32_t *ids, int n, omnid_error *err)
{
    const omnid_model *m = l->mem->model;
    OMNID_TRY(buffer_reserve(l->mem, &l->ids, (size_t)n * sizeof *ids, err));
    tensor list = tensor_1d(l->ids.data, KERNELS_I32, n);
    tensor rows = tensor_2d(x, KERNELS_F32, n, m->config.text.hidden);
    m->ops->upload(l->stream, l->ids.data, ids, (size_t)n * sizeof *ids);
    m->ops->embed(l->stream, &rows, &m->decoder.embedding, &list);
    return kernels_stream_status(l->stream, err);
}

static omnid_status grow_iota(lane *l, int64_t n, omnid_error *err)
{
    const kernels_ops *ops = l->mem->model->ops;
    int64_t most = 2 * n + 1024;
    int32_t *all = malloc((size_t)most * sizeof *all);
    if (!all)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a list of %lld rows", (long long)most);
    for (int64_t i = 0; i < most; i++)
        all[i] = (int32_t)i;
    omnid_status status = buffer_reserve(l->mem, &l->iota, (size_t)most * sizeof *all, err);
    if (status == OMNID_OK) {
        ops->upload(l->stream, l->iota.data, all, (size_t)most * sizeof *all);
        status = kernels_stream_status(l->stream, err);
    }
    l->n_iota = status == OMNID_OK ? most : 0;
    free(all);
    return status;
}

omnid_status lane_copy_rows(lane *l, tensor *to, const tensor *from, omnid_error *err)
{
    int64_t n = from->dim[0];
    if (n > l->n_iota)
        OMNID_TRY(grow_iota(l, n, err));
    tensor rows = tensor_1d(l->iota.data, KERNELS_I32, n);
    l->mem->model->ops->gather_rows(l->stream, to, from, &rows);
    return kernels_stream_status(l->stream, err);
}

void lane_follow(lane *l, lane *other)
{
    const kernels_ops *ops = l->mem->model->ops;
    if (ops->wait && l != other)
        ops->wait(l->stream, other->stream);
}

omnid_status lane_finish(lane *l, omnid_error *err)
{
    char nothing;
    l->mem->model->ops->download(l->stream, &nothing, NULL, 0);
    return kernels_stream_status(l->stream, err);
}

omnid_status lane_look(lane *l, omnid_error *err)
{
    char nothing = 0;
    l->mem->model->ops->upload(l->stream, &nothing, &nothing, 0);
    return kernels_stream_status(l->stream, err);
}

void lane_mark(lane *l)
{
    const kernels_ops *ops = l->mem->model->ops;
    if (ops->mark)
        ops->mark(l->stream);
}

int lane_behind(lane *l, int most)
{
    const kernels_ops *ops = l->mem->model->ops;
    return ops->behind ? ops->behind(l->stream, most) : 0;
}

void lane_wait_either(lane *l, int most, lane *other, int other_most)
{
    enum { YIELDS = 100 }; /* a large device is done before a thread has fallen asleep */
    static const struct timespec nap = {0, 50000};
    for (int i = 0; lane_behind(l, -1) > most && lane_behind(other, -1) > other_most; i++) {
        if (i < YIELDS)
            sched_yield();
        else
            nanosleep(&nap, NULL);
    }
}
