/* memory.c: growable pieces of the backend's memory, counted. */
#include "engine/memory.h"

omnid_status buffer_reserve(memory *mem, buffer *b, size_t size, omnid_error *err)
{
    if (b->data && size <= b->size)
        return OMNID_OK;
    buffer_free(mem, b);
    size = size ? size : 1;
    b->data = mem->model->ops->alloc(mem->model->backend, size);
    if (!b->data)
        return omnid_fail(err, OMNID_NOMEM, "%s: no memory for %zu bytes beside the %llu held", mem->model->ops->name,
                          size, (unsigned long long)atomic_load(&mem->held));
    b->size = size;
    atomic_fetch_add(&mem->held, size);
    return OMNID_OK;
}

void buffer_free(memory *mem, buffer *b)
{
    if (b->data) {
        mem->model->ops->free(mem->model->backend, b->data);
        atomic_fetch_sub(&mem->held, b->size);
    }
    b->data = NULL;
    b->size = 0;
}
