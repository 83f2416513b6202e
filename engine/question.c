/* question.c: from a question to the logits of its first token, slice by slice. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

/* Largest position of a page's tokens, those that left included; for its audio part alone where it has one and
 * only_last. */
static int64_t last_position(const answer *a, const page *p, bool only_last)
{
    int64_t st = a->timeline->st, delta = a->view.delta, last = INT64_MIN;
    if (p->n_audio)
        last = layout_audio(st, p->segment, p->n_audio - 1).t;
    if (p->n_video && !(only_last && p->n_audio)) {
        position v = layout_video(st, p->segment, p->n_video - 1, p->columns, p->rows);
        int64_t corner = v.h > v.w ? v.h + delta : v.w + delta;
        last = last > v.t ? last : v.t;
        last = last > corner ? last : corner;
    }
    return last;
}

/* e, and the first position after the whole prompt. */
static void place_query(answer *a)
{
    const page_view *v = &a->view;
    int64_t e = a->timeline->st + v->delta, last = e;
    for (int i = 0; i < v->n_pages; i++)
        if (v->pages[i]->n_video + v->pages[i]->n_audio) {
            e = 1 + last_position(a, v->pages[i], true);
            int64_t all = last_position(a, v->pages[i], false);
            last = all > last ? all : last;
        }
    int64_t query = layout_query_position(a->ask.query.n - 1, e, a->timeline->parts);
    a->closers_at = e;
    a->answer_at = 1 + (query > last ? query : last);
}

static void describe_view(answer *a)
{
    const page_view *v = &a->view;
    a->n_before = 0;
    a->first_segment = a->last_segment = -1;
    for (int i = 0; i < v->n_pages; i++) {
        const page *p = v->pages[i];
        a->n_before += p->n_video + p->n_audio;
        a->first_segment = a->first_segment < 0 ? p->segment : a->first_segment;
        a->last_segment = p->segment;
        if (p->wall_us)
            a->newest_wall_us = p->wall_us + (int64_t)((p->end_s - 2.0 * (double)p->segment) * 1e6);
    }
    a->c_last = 0;
    for (int i = 0; i < v->n_keys; i++)
        a->c_last = v->keys[i].segment > a->c_last ? v->keys[i].segment : a->c_last;
}

/* Room for keys and values of query and answer rows; survivors' rows too in the layers that have them. */
static omnid_status lay_out_own(answer *a, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const int n_layers = e->model->config.text.n_layers, text = a->ask.query.n + answer_max_new(a);
    int32_t capacity[CONFIG_MAX_LAYERS];
    for (int l = 0; l < n_layers; l++)
        capacity[l] = (int32_t)(l < a->listed_layers ? 0 : a->n[l]) + text;
    OMNID_TRY(kv_store_lay_out(&e->memory, &a->own, n_layers, capacity, err));
    uint8_t *classes = calloc((size_t)text + 1, 1);
    if (!classes)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d rows", text);
    for (int l = 0; l < n_layers; l++)
        if (l > 0 && l < a->listed_layers)
            a->own.layers[l].cls = a->own.layers[0].cls; /* text, all of them: one copy serves */
        else
            kv_store_set_classes(e->stream, &a->own, l, capacity[l] - text, classes, text);
    free(classes);
    return kernels_stream_status(e->stream, err);
}

/* The query's rows: places, descriptors of every listed layer, embeddings. */
static omnid_status lay_out_query(answer *a, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    row_set *r = &e->query;
    int n = a->ask.query.n, rows = answer_launch_rows(a), n_sets = a->listed_layers ? a->listed_layers : 1;
    if (a->whole)
        OMNID_TRY(row_set_reserve(&e->memory, r, e->params.slice_rows, n_sets, err)); /* recordings hold addresses */
    OMNID_TRY(row_set_cut(&e->memory, r, rows, rows, e->params.slice_rows, n_sets, err));
    for (int l = 0; l < a->listed_layers; l++) {
        if (a->whole)
            row_set_descriptor(r, l, 0)->n_rows = n;
        answer_describe(a, l, r, l, 0);
    }
    row_set_upload_descriptors(e->stream, r);
    position *at = calloc((size_t)rows + 1, sizeof *at);
    uint8_t *classes = calloc((size_t)rows + 1, 1);
    omnid_status status = at && classes ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory for %d rows", rows);
    if (status == OMNID_OK) {
        for (int i = 0; i < n; i++) {
            int64_t p = layout_query_position(i, a->closers_at, a->timeline->parts);
            at[i] = (position){p, p, p};
        }
        status = row_set_place(&e->memory, e->stream, r, at, classes, a->view.delta, err);
    }
    free(at);
    free(classes);
    return status == OMNID_OK ? engine_embed(e, r->x.data, a->ask.query.ids, n, err) : status;
}

/* The fork is complete: everything that is known before the first layer. */
static omnid_status begin_layers(answer *a, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const int n_layers = e->model->config.text.n_layers;
    const page_view *v = &a->view;
    a->listed_layers = a->ask.mode == OMNID_MODE_EAGER      ? n_layers
                       : a->ask.mode == OMNID_MODE_DEFERRED ? n_layers / 2
                                                            : 0;
    double from_s = a->ask.last_s > 0 && v->n_pages ? v->pages[v->n_pages - 1]->end_s - a->ask.last_s : -1;
    OMNID_TRY(page_view_upload(&e->memory, e->stream, &a->view, a->listed_layers, from_s, err));
    a->whole = answer_is_whole(a);
    describe_view(a);
    place_query(a);
    OMNID_TRY(answer_plan(a, v->n_keys, err));
    e->ops->upload(e->stream, a->lists.data, v->keys, (size_t)v->n_keys * sizeof *v->keys);
    OMNID_TRY(lay_out_own(a, err));
    OMNID_TRY(lay_out_query(a, err));
    a->layer = a->chunk = 0;
    if (a->listed_layers == 0)
        return answer_begin_own(a, err);
    a->stage = ANSWER_LISTED;
    return OMNID_OK;
}

static omnid_status begin(answer *a, omnid_error *err)
{
    omnid_timeline *tl = a->timeline;
    omnid_engine *e = tl->engine;
    a->timings.started_us = omnid_clock_us();
    if (tl->fresh && a->now) /* forgotten: the window is empty, and begins where the open segment is */
        tl->first = tl->params.first_segment = a->now->index;
    OMNID_TRY(page_view_take(&a->view, tl, tl->first, err));
    if (a->now && a->now->index < tl->first + tl->n_window)
        omnid_segment_destroy(&a->now); /* it has been closed and taken in since */
    if (a->now) {
        OMNID_TRY(ingest_begin(&e->open, tl, &a->now, &a->view, a->ask.mode, NULL, err));
        a->stage = ANSWER_NOW;
        return OMNID_OK;
    }
    if (a->view.n_pages == 0)
        return omnid_fail(err, OMNID_EMPTY, "nothing has been seen or heard yet: the first segment takes two seconds");
    return begin_layers(a, err);
}

static omnid_status take_open_segment(answer *a, omnid_slice *slice, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    OMNID_TRY(ingest_step(&e->open, slice, err));
    if (slice->kind == OMNID_SLICE_ENCODE)
        a->timings.encode_us += slice->end_us - slice->start_us;
    slice->kind = OMNID_SLICE_QUESTION;
    if (e->open.stage != INGEST_DONE)
        return OMNID_OK;
    page *p = e->open.page;
    e->open.page = NULL;
    a->timings.encoder_calls += p->report.encoder_calls;
    a->timings.rows_prefilled += p->report.rows_prefilled;
    ingest_abandon(&e->open);
    OMNID_TRY(page_view_add(&e->memory, &a->view, p, err));
    return begin_layers(a, err);
}

/* The query's rows through one layer over the pages' keys. */
static omnid_status step_listed(answer *a, omnid_slice *slice, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    row_set *r = &e->query;
    int l = a->layer, c = a->chunk;
    r->set = l;
    slice->layer = l;
    slice->n_layers = 1;
    slice->n_rows = row_set_chunk_rows(r, c);
    a->timings.rows_prefilled += slice->n_rows;
    const kernels_descriptor *d = row_set_descriptor(r, l, c);
    a->layers[l].kv_rows_prefill = d->n_prefix + d->n_keys + d->own_first + d->n_rows;
    decoder_layer_run(&e->decoder, l, r, c);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    OMNID_TRY(answer_score(a, r, c, r->first[c], err));
    if (++a->chunk < r->n_chunks)
        return OMNID_OK;
    OMNID_TRY(answer_select(a, r, err));
    a->chunk = 0;
    if (++a->layer < a->listed_layers)
        return OMNID_OK;
    if (a->layer < e->model->config.text.n_layers)
        return answer_begin_own(a, err);
    a->stage = ANSWER_HEAD;
    return OMNID_OK;
}

static omnid_status run_head(answer *a, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const text_config *c = &e->model->config.text;
    const row_set *r = a->listed_layers == c->n_layers ? &e->query : &a->own_rows;
    OMNID_TRY(buffer_reserve(&e->memory, &e->logits, (size_t)c->vocabulary * sizeof(float), err));
    tensor x = tensor_2d((float *)r->x.data + (int64_t)(r->n_rows - 1) * c->hidden, KERNELS_F32, 1, c->hidden);
    tensor logits = buffer_2d(&e->logits, KERNELS_F32, 1, c->vocabulary);
    decoder_head(&e->decoder, &logits, &x);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    a->stage = ANSWER_DECODE;
    return answer_take_logits(a, &logits, err);
}

omnid_status answer_step(answer *a, omnid_slice *slice, omnid_error *err)
{
    omnid_status status = OMNID_OK;
    bool open = a->stage == ANSWER_NOW;
    slice->kind = OMNID_SLICE_QUESTION;
    slice->timeline = a->timeline;
    slice->segment = slice->layer = -1;
    slice->n_layers = slice->n_rows = 0;
    int64_t start = omnid_clock_us();
    switch (a->stage) {
    case ANSWER_QUEUED:
        status = begin(a, err);
        break;
    case ANSWER_NOW:
        status = take_open_segment(a, slice, err);
        break;
    case ANSWER_LISTED:
        status = a->whole ? answer_step_whole(a, slice, err) : step_listed(a, slice, err);
        break;
    case ANSWER_OWN:
        status = answer_step_own(a, slice, err);
        break;
    case ANSWER_HEAD:
        status = run_head(a, err);
        break;
    case ANSWER_DECODE:
    case ANSWER_DONE:
        break;
    }
    slice->answer = a->id;
    slice->start_us = start;
    slice->end_us = omnid_clock_us();
    if (!open)
        a->timings.prefill_us += slice->end_us - start;
    return status;
}
