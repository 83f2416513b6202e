/* encoder_work.c: temporary memory of the encoders' slices. */
#include "engine/encoders.h"

#include <stdlib.h>

void encoder_work_init(encoder_work *w, memory *mem, kernels_stream *s)
{
    *w = (encoder_work){.mem = mem, .stream = s};
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
