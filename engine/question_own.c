/* question_own.c: the layers in which survivors run again with the query (deferred: the upper half; offline: all): their
 * keys and values live in the fork, and who leaves after a layer has no row in the next. */
#include <stdlib.h>

#include "engine/engine.h"

static int n_tables_of(const answer *a)
{
    return rotary_n_tables(a->view.delta);
}

/* x rows 0 .. n - 1 from the pages' kept rows, behind them the query's. */
static omnid_status gather_in(answer *a, int n, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const int hidden = e->model->config.text.hidden;
    size_t size = ((size_t)n + (size_t)a->ask.query.n) * (size_t)hidden * sizeof(float);
    OMNID_TRY(buffer_reserve(&e->memory, &a->own_rows.x, size, err));
    OMNID_TRY(buffer_reserve(&e->memory, &a->spare_x, size, err));
    for (int i = 0; i < n; i++)
        a->in_rows[i] = a->host_list[i].row;
    e->ops->upload(e->stream, a->rows.data, a->in_rows, (size_t)n * sizeof *a->in_rows);
    for (int i = 0, end; i < n; i = end) {
        const page *p = a->view.pages[a->host_list[i].page];
        for (end = i + 1; end < n && a->host_list[end].page == a->host_list[i].page;)
            end++;
        const buffer *kept = a->ask.mode == OMNID_MODE_OFFLINE ? &p->embeds : &p->hidden;
        tensor from = buffer_2d(kept, KERNELS_F32, page_n_kept(p), hidden);
        tensor rows = tensor_1d((int32_t *)a->rows.data + i, KERNELS_I32, end - i);
        tensor to = tensor_2d((float *)a->own_rows.x.data + (int64_t)i * hidden, KERNELS_F32, end - i, hidden);
        e->ops->gather_rows(e->stream, &to, &from, &rows);
    }
    tensor query = buffer_2d(&e->query.x, KERNELS_F32, a->ask.query.n, hidden);
    tensor behind = tensor_2d((float *)a->own_rows.x.data + (int64_t)n * hidden, KERNELS_F32, a->ask.query.n, hidden);
    return engine_copy_rows(e, &behind, &query, err);
}

/* Angles and classes of all rows that come in; in_rows is then the identity. */
static omnid_status place_in(answer *a, int n, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    int all = n + a->ask.query.n, half = e->model->config.text.head_dim / 2;
    size_t size = (size_t)n_tables_of(a) * (size_t)all * (size_t)half;
    OMNID_TRY(buffer_reserve(&e->memory, &a->in_cos, size * sizeof(float), err));
    OMNID_TRY(buffer_reserve(&e->memory, &a->in_sin, size * sizeof(float), err));
    position *at = malloc(((size_t)all + 1) * sizeof *at);
    float *angles = malloc((2 * size + 1) * sizeof *angles);
    if (!at || !angles) {
        free(at);
        free(angles);
        return omnid_fail(err, OMNID_NOMEM, "no memory for the places of %d rows", all);
    }
    for (int i = 0; i < all; i++) {
        if (i < n) {
            const page *p = a->view.pages[a->host_list[i].page];
            at[i] = p->at[a->host_list[i].row];
            a->classes[i] = p->classes[a->host_list[i].row];
        } else {
            int64_t at_query = layout_query_position(i - n, a->closers_at, a->timeline->parts);
            at[i] = (position){at_query, at_query, at_query};
            a->classes[i] = KERNELS_CLASS_TEXT;
        }
        if (a->classes[i] == KERNELS_CLASS_VIDEO) {
            at[i].h += a->view.delta;
            at[i].w += a->view.delta;
        }
        a->in_rows[i] = i;
    }
    rotary_tables(angles, angles + size, e->model, at, all, a->view.delta);
    e->ops->upload(e->stream, a->in_cos.data, angles, size * sizeof *angles);
    e->ops->upload(e->stream, a->in_sin.data, angles + size, size * sizeof *angles);
    free(at);
    free(angles);
    return kernels_stream_status(e->stream, err);
}

/* Places of the rows now in, from those of the rows that came in. */
static omnid_status take_places(answer *a, int n_in, int rows, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    uint8_t *classes = malloc((size_t)rows + 1);
    if (!classes)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d rows", rows);
    for (int i = 0; i < rows; i++)
        classes[i] = a->classes[a->in_rows[i]];
    omnid_status status = row_set_gather(&e->memory, e->stream, &a->own_rows, n_tables_of(a), n_in + a->ask.query.n,
                                         &a->in_cos, &a->in_sin, a->in_rows, classes, &a->places, err);
    for (int l = a->layer; status == OMNID_OK && l < a->own.n_layers && a->n[l] == a->n[a->layer]; l++)
        kv_store_set_classes(e->stream, &a->own, l, 0, classes, rows);
    free(classes);
    return status;
}

/* Chunks and descriptors of the present layer. */
static omnid_status lay_out_layer(answer *a, bool moved, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    row_set *r = &a->own_rows;
    int n = (int)a->n[a->layer], rows = n + a->ask.query.n;
    OMNID_TRY(row_set_cut(&e->memory, r, rows, n, e->params.slice_rows, 1, err));
    answer_describe(a, a->layer, r, 0, n);
    row_set_upload_descriptors(e->stream, r);
    return moved ? take_places(a, (int)a->n[a->listed_layers], rows, err) : kernels_stream_status(e->stream, err);
}

/* The list of a layer whose tokens are rows 0 .. n - 1 of the fork's own page. */
static void upload_list(answer *a, int n)
{
    omnid_engine *e = a->timeline->engine;
    for (int i = 0; i < n; i++) {
        a->host_list[i].page = KERNELS_OWN_PAGE;
        a->host_list[i].row = i;
    }
    e->ops->upload(e->stream, answer_list(a, a->layer), a->host_list, (size_t)n * sizeof *a->host_list);
}

omnid_status answer_begin_own(answer *a, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    int n = (int)a->n[a->layer];
    size_t rows = (size_t)n + (size_t)a->ask.query.n + 1;
    kernels_key *list = realloc(a->host_list, rows * sizeof *list);
    a->host_list = list ? list : a->host_list;
    int32_t *in_rows = realloc(a->in_rows, rows * sizeof *in_rows);
    a->in_rows = in_rows ? in_rows : a->in_rows;
    uint8_t *classes = realloc(a->classes, rows);
    a->classes = classes ? classes : a->classes;
    if (!list || !in_rows || !classes)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %zu rows", rows);
    int from = a->layer > 0 && a->k[a->layer - 1] == 0 ? a->layer - 1 : a->layer; /* nobody left: no list was made */
    e->ops->download(e->stream, list, answer_list(a, from), (size_t)n * sizeof *list);
    OMNID_TRY(kernels_stream_status(e->stream, err)); /* pages and rows are read from it */
    OMNID_TRY(gather_in(a, n, err));
    OMNID_TRY(place_in(a, n, err));
    upload_list(a, n);
    a->stage = ANSWER_OWN;
    a->chunk = 0;
    return lay_out_layer(a, true, err);
}

/* Rows of who left go; x moves to the spare memory and back. */
static omnid_status compact(answer *a, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    const int hidden = e->model->config.text.hidden, n_query = a->ask.query.n;
    int before = (int)a->n[a->layer - 1], n = (int)a->n[a->layer];
    int32_t *kept = malloc(((size_t)n + (size_t)n_query + 1) * sizeof *kept);
    if (!kept)
        return omnid_fail(err, OMNID_NOMEM, "no memory for %d rows", n + n_query);
    e->ops->download(e->stream, kept, a->rows.data, (size_t)n * sizeof *kept);
    omnid_status status = kernels_stream_status(e->stream, err);
    if (status != OMNID_OK) {
        free(kept);
        return status;
    }
    for (int i = 0; i < n_query; i++)
        kept[n + i] = before + i;
    for (int i = 0; i < n + n_query; i++) {
        a->in_rows[i] = a->in_rows[kept[i]];
        if (i < n)
            a->host_list[i] = a->host_list[kept[i]];
    }
    e->ops->upload(e->stream, a->rows.data, kept, (size_t)(n + n_query) * sizeof *kept);
    free(kept);
    tensor rows = tensor_1d(a->rows.data, KERNELS_I32, n + n_query);
    tensor from = buffer_2d(&a->own_rows.x, KERNELS_F32, before + n_query, hidden);
    tensor to = buffer_2d(&a->spare_x, KERNELS_F32, n + n_query, hidden);
    e->ops->gather_rows(e->stream, &to, &from, &rows);
    buffer swap = a->own_rows.x;
    a->own_rows.x = a->spare_x;
    a->spare_x = swap;
    upload_list(a, n);
    return kernels_stream_status(e->stream, err);
}

omnid_status answer_step_own(answer *a, omnid_slice *slice, omnid_error *err)
{
    omnid_engine *e = a->timeline->engine;
    row_set *r = &a->own_rows;
    int l = a->layer, c = a->chunk, query_row = r->first[c] - (int)a->n[l];
    slice->layer = l;
    slice->n_layers = 1;
    slice->n_rows = row_set_chunk_rows(r, c);
    a->timings.rows_prefilled += slice->n_rows;
    a->layers[l].kv_rows_prefill = a->timeline->prefix_ids.n + r->n_rows;
    decoder_layer_run(&e->decoder, l, r, c);
    OMNID_TRY(kernels_stream_status(e->stream, err));
    OMNID_TRY(answer_score(a, r, c, query_row, err));
    if (++a->chunk < r->n_chunks)
        return OMNID_OK;
    OMNID_TRY(answer_select(a, r, err));
    a->chunk = 0;
    if (++a->layer == e->model->config.text.n_layers) {
        a->stage = ANSWER_HEAD;
        return OMNID_OK;
    }
    bool moved = a->k[l] > 0;
    if (moved)
        OMNID_TRY(compact(a, err));
    return lay_out_layer(a, moved, err);
}
