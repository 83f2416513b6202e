/* reference.c: life, memory, streams and the table of the reference backend. Weights and memory are plain malloc. */
#include "kernels/reference/reference.h"
#include "kernels/backends.h"

enum { REFERENCE_ALIGN = 64 };

struct kernels_backend {
    int unused; /* the backend has no state; an object, so that open and close pair up */
};

static omnid_status reference_open(kernels_backend **out, int n_threads, omnid_error *err)
{
    *out = NULL;
    if (n_threads < 0)
        return omnid_fail(err, OMNID_ARGUMENT, "reference backend: threads is %d, want 0 (all) or more", n_threads);
    *out = calloc(1, sizeof **out);
    return *out ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "reference backend: no memory for %zu bytes", sizeof **out);
}

static void reference_close(kernels_backend **backend)
{
    free(*backend);
    *backend = NULL;
}

static kernels_precision reference_native_precision(kernels_backend *b)
{
    (void)b;
    return KERNELS_PLAIN_F32;
}

static void *reference_alloc(kernels_backend *b, size_t size)
{
    (void)b;
    if (size > SIZE_MAX - REFERENCE_ALIGN)
        return NULL;
    size_t rounded = (size + REFERENCE_ALIGN - 1) / REFERENCE_ALIGN * REFERENCE_ALIGN;
    return aligned_alloc(REFERENCE_ALIGN, rounded ? rounded : REFERENCE_ALIGN);
}

static void reference_free(kernels_backend *b, void *data)
{
    (void)b;
    free(data);
}

static void reference_memory_of(kernels_backend *b, kernels_memory *out)
{
    (void)b;
    kernels_machine_memory(out);
}

static omnid_status reference_reserve(kernels_backend *b, uint64_t size, omnid_error *err)
{
    (void)b;
    (void)size;
    (void)err;
    return OMNID_OK;
}

static omnid_status reference_stream_open(kernels_backend *b, kernels_stream **out, kernels_priority priority,
                                          omnid_error *err)
{
    (void)priority; /* an op has run when it returns */
    kernels_stream *s = calloc(1, sizeof *s);
    *out = s;
    if (!s)
        return omnid_fail(err, OMNID_NOMEM, "reference backend: no memory for %zu bytes", sizeof *s);
    s->ops = &reference_ops;
    s->backend = b;
    return OMNID_OK;
}

static void reference_stream_close(kernels_stream **s)
{
    free(*s);
    *s = NULL;
}

static void reference_copy(kernels_stream *s, void *to, const void *from, size_t size)
{
    if (s->error.status == OMNID_OK && size > 0)
        memcpy(to, from, size);
}

const kernels_ops reference_ops = {
    .name = "reference",
    .open = reference_open,
    .close = reference_close,
    .native_precision = reference_native_precision,
    .alloc = reference_alloc,
    .free = reference_free,
    .memory = reference_memory_of,
    .reserve = reference_reserve,
    .stream_open = reference_stream_open,
    .stream_close = reference_stream_close,
    .upload = reference_copy,
    .download = reference_copy,
    .pack = reference_pack,
    .weight_free = reference_weight_free,
    .weight_bytes = reference_weight_bytes,
    .linear = reference_linear,
    .rmsnorm = reference_rmsnorm,
    .layernorm = reference_layernorm,
    .swiglu = reference_swiglu,
    .add = reference_add,
    .convert = reference_convert,
    .embed = reference_embed,
    .gather_rows = reference_gather_rows,
    .patchify = reference_patchify,
    .im2col3 = reference_im2col3,
    .pool2 = reference_pool2,
    .rotate = reference_rotate,
    .encoder_attention = reference_encoder_attention,
    .similarity = reference_similarity,
    .keep = reference_keep,
    .rotate_append = reference_rotate_append,
    .attend = reference_attend,
    .score = reference_score,
    .select = reference_select,
    .sample = reference_sample,
};
