/* page_view.c: some pages of a timeline as attention sees them. */
#include <stdlib.h>

#include "engine/timeline.h"

omnid_status page_view_take(page_view *v, omnid_timeline *tl, int64_t first, omnid_error *err)
{
    int skip = first - tl->first < tl->n_window ? (int)(first - tl->first) : tl->n_window;
    v->n_pages = 0;
    v->first = first;
    v->delta = timeline_delta(first);
    page **pages = realloc(v->pages, ((size_t)(tl->n_window - skip) + 1) * sizeof *pages); /* + 1: the open segment */
    if (!pages)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a view of %d segments", tl->n_window - skip);
    v->pages = pages;
    for (int i = skip; i < tl->n_window; i++)
        v->pages[v->n_pages++] = page_ref(tl->window[i]);
    return OMNID_OK;
}

omnid_status page_view_add(memory *mem, page_view *v, page *p, omnid_error *err)
{
    page **pages = realloc(v->pages, ((size_t)v->n_pages + 1) * sizeof *pages);
    if (!pages) {
        page_unref(mem, &p);
        return omnid_fail(err, OMNID_NOMEM, "no memory for a view of %d segments", v->n_pages + 1);
    }
    v->pages = pages;
    v->pages[v->n_pages++] = p;
    return OMNID_OK;
}

static int list_keys(page_view *v, double from_s)
{
    int n = 0;
    for (int i = 0; i < v->n_pages; i++) {
        const page *p = v->pages[i];
        for (int row = 0; p->end_s > from_s && row < page_n_kept(p); row++, n++)
            v->keys[n] = (kernels_key){.page = i, .row = row, .segment = (int32_t)(p->segment - v->first), .index = n};
    }
    return n;
}

omnid_status page_view_upload(memory *mem, kernels_stream *s, page_view *v, int n_layers, double from_s,
                              omnid_error *err)
{
    size_t n = 0, table = (size_t)n_layers * (size_t)v->n_pages;
    for (int i = 0; i < v->n_pages; i++)
        n += (size_t)page_n_kept(v->pages[i]);
    kernels_key *keys = realloc(v->keys, (n + 1) * sizeof *keys);
    kernels_page *pages = malloc((table + 1) * sizeof *pages);
    omnid_status status =
        keys && pages ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory for a list of %zu tokens", n);
    if (keys)
        v->keys = keys;
    if (status == OMNID_OK)
        status = buffer_reserve(mem, &v->tables, (table + 1) * sizeof *pages, err);
    if (status == OMNID_OK) {
        v->n_keys = list_keys(v, from_s);
        v->n_layers = n_layers;
        for (int l = 0; l < n_layers; l++)
            for (int i = 0; i < v->n_pages; i++)
                pages[l * v->n_pages + i] =
                    l < v->pages[i]->kv.n_layers ? v->pages[i]->kv.layers[l] : (kernels_page){0};
        s->ops->upload(s, v->tables.data, pages, table * sizeof *pages);
        status = kernels_stream_status(s, err);
    }
    free(pages);
    return status;
}

omnid_status page_view_upload_keys(memory *mem, kernels_stream *s, page_view *v, omnid_error *err)
{
    OMNID_TRY(buffer_reserve(mem, &v->keys_dev, ((size_t)v->n_keys + 1) * sizeof *v->keys, err));
    s->ops->upload(s, v->keys_dev.data, v->keys, (size_t)v->n_keys * sizeof *v->keys);
    return kernels_stream_status(s, err);
}

void page_view_release(memory *mem, page_view *v)
{
    for (int i = 0; i < v->n_pages; i++)
        page_unref(mem, &v->pages[i]);
    v->n_pages = 0;
    v->n_keys = 0;
}

void page_view_free(memory *mem, page_view *v)
{
    page_view_release(mem, v);
    buffer_free(mem, &v->keys_dev);
    buffer_free(mem, &v->tables);
    free(v->pages);
    free(v->keys);
    *v = (page_view){0};
}
