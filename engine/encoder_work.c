/* encoder_work.c: temporary memory of the encoders' slices. */
#include "engine/encoders.h"

#include <stdlib.h>

void encoder_work_init(encoder_work *w, memory *mem, kernels_stream *s)
{
    *w = (encoder_work){.mem = mem, .stream = s};
}

omnid_status encoder_reserve(encoder_work *w, buffer *b, int64_t n, kernels_dtype dtype, omnid_error *err)
{
    return buffer_reserve(w->mem, b, (size_t)n * kernels_dtype_size(dtype), err);
}

void encoder_work_destroy(encoder_work *w)
{
    buffer *all[] = {&w->norm,   &w->qkv,        &w->attn,       &w->wide,  &w->ffn,
                     &w->merged, &w->vision_cos, &w->vision_sin, &w->order, &w->inverse};
    for (size_t i = 0; w->mem && i < sizeof all / sizeof *all; i++)
        buffer_free(w->mem, all[i]);
    free(w->spans);
    *w = (encoder_work){0};
}
