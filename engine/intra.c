/* intra.c: audio saliency and temporal token merging: which tokens of a segment enter the decoder. */
#include "engine/intra.h"

#include <math.h>
#include <stdlib.h>

#include "engine/engine.h"

static omnid_status all_of(int32_t **list, int *n_kept, int n, omnid_error *err)
{
    *list = malloc(((size_t)n + 1) * sizeof **list);
    if (!*list)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d tokens", n);
    for (int i = 0; i < n; i++)
        (*list)[i] = i;
    *n_kept = n;
    return OMNID_OK;
}

/* kept[0 ..] = the n - k kept of n by score; ops need the list in the backend's memory first. */
static omnid_status keep_by(ingest *in, const tensor *score, int n, int k, int32_t *kept, int base, omnid_error *err)
{
    const kernels_ops *ops = in->tl->engine->ops;
    kernels_stream *stream = in->fill->stream;
    tensor list = tensor_1d(in->list.data, KERNELS_I32, n - k);
    ops->keep(stream, &list, score, k);
    ops->download(stream, kept, in->list.data, (size_t)(n - k) * sizeof *kept);
    OMNID_TRY(kernels_stream_status(stream, err));
    for (int i = 0; i < n - k; i++)
        kept[i] += base;
    return OMNID_OK;
}

/* floor of the float64 product. */
static int share(int n, double rho)
{
    return (int)floor((double)n * rho);
}

static omnid_status choose_audio(ingest *in, const tensor *saliency, omnid_error *err)
{
    page *p = in->page;
    OMNID_TRY(all_of(&p->audio_kept, &p->n_audio_kept, p->n_audio, err));
    int k = in->tl->params.intra ? share(p->n_audio, in->tl->params.rho_a) : 0;
    if (k == 0 || !saliency)
        return OMNID_OK;
    p->n_audio_kept = p->n_audio - k;
    return keep_by(in, saliency, p->n_audio, k, p->audio_kept, 0, err);
}

/* Vectors a grid at `place` of its group compares with: an earlier grid of this segment or the stored one. */
static tensor base_vectors(const ingest *in, int place, int n, int hidden)
{
    int which = place == 3;
    if (in->group_base[which] >= 0)
        return tensor_2d((float *)in->embeds.data + (int64_t)in->group_base[which] * n * hidden, KERNELS_F32, n,
                         hidden);
    const front_state *stored = &in->tl->front;
    return buffer_2d(which ? &stored->third : &stored->first, KERNELS_F32, n, hidden);
}

static omnid_status choose_grid(ingest *in, int grid, omnid_error *err)
{
    omnid_engine *e = in->tl->engine;
    page *p = in->page;
    int n = p->columns * p->rows, hidden = e->model->config.text.hidden, place = in->front.group_place;
    in->front.group_place = (place + 1) % 4;
    if (place == 0 || place == 2)
        in->group_base[place == 2] = grid;
    int k = place > 0 ? share(n, in->segment->rho_v) : 0;
    int32_t *kept = p->video_kept + p->n_video_kept;
    p->n_video_kept += n - k;
    for (int i = 0; k == 0 && i < n; i++)
        kept[i] = grid * n + i;
    if (k == 0)
        return OMNID_OK;
    tensor mine = tensor_2d((float *)in->embeds.data + (int64_t)grid * n * hidden, KERNELS_F32, n, hidden);
    tensor base = base_vectors(in, place, n, hidden), score = tensor_1d(in->scratch.data, KERNELS_F32, n);
    e->ops->similarity(in->fill->stream, &score, &mine, &base);
    return keep_by(in, &score, n, k, kept, grid * n, err);
}

omnid_status intra_choose(ingest *in, const tensor *saliency, omnid_error *err)
{
    memory *mem = &in->tl->engine->memory;
    page *p = in->page;
    size_t most = (size_t)(p->n_video > p->n_audio ? p->n_video : p->n_audio) + 1;
    OMNID_TRY(buffer_reserve(mem, &in->scratch, most * sizeof(float), err));
    OMNID_TRY(buffer_reserve(mem, &in->list, most * sizeof(int32_t), err));
    OMNID_TRY(choose_audio(in, saliency, err));
    OMNID_TRY(all_of(&p->video_kept, &p->n_video_kept, p->n_video, err));
    p->n_video_kept = 0;
    front_state *f = &in->front;
    bool goes_on = p->n_video && f->next_segment == p->segment && f->columns == p->columns && f->rows == p->rows;
    if (!goes_on)
        f->group_place = 0;
    f->columns = p->columns;
    f->rows = p->rows;
    f->next_segment = p->n_video ? p->segment + 1 : -1;
    in->group_base[0] = in->group_base[1] = -1;
    for (int g = 0; g < in->n_grids; g++)
        OMNID_TRY(choose_grid(in, g, err));
    return OMNID_OK;
}

static omnid_status keep_grid(ingest *in, buffer *to, int grid, omnid_error *err)
{
    omnid_engine *e = in->tl->engine;
    int n = in->page->columns * in->page->rows, hidden = e->model->config.text.hidden;
    OMNID_TRY(buffer_reserve(&e->memory, to, (size_t)n * (size_t)hidden * sizeof(float), err));
    tensor from = tensor_2d((float *)in->embeds.data + (int64_t)grid * n * hidden, KERNELS_F32, n, hidden);
    tensor into = buffer_2d(to, KERNELS_F32, n, hidden);
    return lane_copy_rows(in->fill, &into, &from, err);
}

omnid_status intra_keep_vectors(ingest *in, omnid_error *err)
{
    for (int which = 0; which < 2; which++)
        if (in->group_base[which] >= 0)
            OMNID_TRY(keep_grid(in, &in->group[which], in->group_base[which], err));
    return OMNID_OK;
}

static void swap(buffer *a, buffer *b)
{
    buffer kept = *a;
    *a = *b;
    *b = kept;
}

void intra_hand_over(ingest *in)
{
    front_state *mine = &in->front, *kept = &in->tl->front;
    mine->first = kept->first;
    mine->third = kept->third;
    if (in->group_base[0] >= 0)
        swap(&mine->first, &in->group[0]);
    if (in->group_base[1] >= 0)
        swap(&mine->third, &in->group[1]);
    *kept = *mine;
}
