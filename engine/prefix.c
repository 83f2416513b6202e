/* prefix.c: a timeline's system prompt and openers. */
#include "engine/prefix.h"

#include <stdlib.h>

#include "engine/engine.h"

/* Places (δ = 0: the query is moved, never these keys) and classes. */
static omnid_status place(omnid_timeline *tl, lane *on, row_set *rows, omnid_error *err)
{
    omnid_engine *e = tl->engine;
    int n = tl->prefix_ids.n, n_layers = e->model->config.text.n_layers;
    position *at = malloc((size_t)n * sizeof *at);
    uint8_t *classes = malloc((size_t)n);
    omnid_status status = at && classes ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory for %d rows", n);
    if (status == OMNID_OK) {
        for (int i = 0; i < n; i++) {
            int64_t p = layout_prefix_position(i, n, tl->parts);
            at[i] = (position){p, p, p};
            classes[i] = KERNELS_CLASS_PREFIX;
        }
        status = row_set_place(&e->memory, on->stream, rows, at, classes, 0, err);
    }
    if (status == OMNID_OK && tl->prefix_kv.n_layers == 0)
        status = kv_store_lay_out_even(&e->memory, &tl->prefix_kv, n_layers, n, err);
    for (int l = 0; status == OMNID_OK && l < n_layers; l++)
        kv_store_set_classes(on->stream, &tl->prefix_kv, l, 0, classes, n);
    free(at);
    free(classes);
    return status;
}

static omnid_status begin(omnid_timeline *tl, lane *on, row_set *rows, omnid_error *err)
{
    omnid_engine *e = tl->engine;
    int n = tl->prefix_ids.n;
    OMNID_TRY(row_set_cut(&e->memory, rows, n, n, e->params.slice_rows, e->model->config.text.n_layers, err));
    OMNID_TRY(place(tl, on, rows, err));
    for (int l = 0; l < e->model->config.text.n_layers; l++)
        row_set_describe(rows, l, &(kernels_descriptor){.own = tl->prefix_kv.layers[l]});
    row_set_upload_descriptors(on->stream, rows);
    return lane_embed(on, rows->x.data, tl->prefix_ids.ids, n, err);
}

omnid_status prefix_step(omnid_timeline *tl, lane *on, row_set *rows, int *layer, int *chunk, omnid_slice *slice,
                         omnid_error *err)
{
    omnid_engine *e = tl->engine;
    if (*layer == 0 && *chunk == 0)
        OMNID_TRY(begin(tl, on, rows, err));
    rows->set = *layer;
    slice->kind = OMNID_SLICE_INGEST;
    slice->layer = *layer;
    slice->n_layers = 1;
    slice->n_rows = row_set_chunk_rows(rows, *chunk);
    decoder_layer_run(on->decoder, *layer, rows, *chunk);
    OMNID_TRY(kernels_stream_status(on->stream, err));
    if (++*chunk == rows->n_chunks) {
        *chunk = 0;
        if (++*layer == e->model->config.text.n_layers) {
            OMNID_TRY(lane_finish(on, err)); /* every lane reads it from now on */
            tl->prefix_ready = true;
        }
    }
    return OMNID_OK;
}
