/* memory.h: growable pieces of the backend's memory, counted. */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include <stdatomic.h>

#include "engine/model.h"

/* Whose memory is counted where; one an engine. */
typedef struct {
    const omnid_model *model;
    _Atomic uint64_t held; /* bytes given out now */
} memory;

/* Backend memory that grows and is used again; what was in it is lost when it grows. All zero = empty. */
typedef struct {
    void *data;
    size_t size;
} buffer;

/* Makes b at least size bytes. NOMEM leaves it empty. */
omnid_status buffer_reserve(memory *mem, buffer *b, size_t size, omnid_error *err);
void buffer_free(memory *mem, buffer *b);

/* Views of a buffer that has been reserved large enough. */
static inline tensor buffer_2d(const buffer *b, kernels_dtype dtype, int64_t n_rows, int64_t n_cols)
{
    return tensor_2d(b->data, dtype, n_rows, n_cols);
}

#endif
