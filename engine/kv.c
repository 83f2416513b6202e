/* kv.c: keys and values of some rows in some layers, and the page of one segment. */
#include "engine/kv.h"

#include <stdlib.h>

static size_t align64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

omnid_status kv_store_lay_out(memory *mem, kv_store *kv, int n_layers, const int32_t *capacity, omnid_error *err)
{
    const text_config *c = &mem->model->config.text;
    size_t row = (size_t)c->n_kv_heads * (size_t)c->head_dim * kernels_dtype_size(mem->model->activation);
    size_t size = 0;
    for (int l = 0; l < n_layers; l++)
        size += 2 * align64(row * (size_t)capacity[l]) + align64((size_t)capacity[l]);
    if (n_layers > kv->layers_capacity) {
        kernels_page *layers = realloc(kv->layers, (size_t)n_layers * sizeof *layers);
        if (!layers)
            return omnid_fail(err, OMNID_NOMEM, "no memory for a table of %d layers", n_layers);
        kv->layers = layers;
        kv->layers_capacity = n_layers;
    }
    OMNID_TRY(buffer_reserve(mem, &kv->memory, size, err));
    kv->n_layers = n_layers;
    char *at = kv->memory.data;
    for (int l = 0; l < n_layers; l++) {
        size_t bytes = align64(row * (size_t)capacity[l]);
        kv->layers[l] =
            (kernels_page){.k = at, .v = at + bytes, .cls = (uint8_t *)(at + 2 * bytes), .capacity = capacity[l]};
        at += 2 * bytes + align64((size_t)capacity[l]);
    }
    return OMNID_OK;
}

omnid_status kv_store_lay_out_even(memory *mem, kv_store *kv, int n_layers, int32_t capacity, omnid_error *err)
{
    int32_t all[CONFIG_MAX_LAYERS];
    for (int l = 0; l < n_layers; l++)
        all[l] = capacity;
    return kv_store_lay_out(mem, kv, n_layers, all, err);
}

void kv_store_set_classes(kernels_stream *s, kv_store *kv, int layer, int first, const uint8_t *classes, int n)
{
    if (n > 0)
        s->ops->upload(s, (uint8_t *)(uintptr_t)kv->layers[layer].cls + first, classes, (size_t)n);
}

void kv_store_free(memory *mem, kv_store *kv)
{
    buffer_free(mem, &kv->memory);
    free(kv->layers);
    *kv = (kv_store){0};
}

page *page_create(int64_t segment)
{
    page *p = calloc(1, sizeof *p);
    if (p) {
        p->refs = 1;
        p->segment = segment;
    }
    return p;
}

page *page_ref(page *p)
{
    p->refs++;
    return p;
}

void page_unref(memory *mem, page **slot)
{
    page *p = *slot;
    *slot = NULL;
    if (!p || --p->refs > 0)
        return;
    kv_store_free(mem, &p->kv);
    buffer_free(mem, &p->hidden);
    buffer_free(mem, &p->embeds);
    free(p->video_kept);
    free(p->audio_kept);
    free(p->at);
    free(p->classes);
    free(p);
}

uint64_t page_bytes(const page *p)
{
    return p->kv.memory.size + p->hidden.size + p->embeds.size;
}
