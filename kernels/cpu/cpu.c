/* cpu.c: the cpu backend: life, memory, streams with their scratch arena, and the table of ops. */
#include "kernels/cpu/cpu.h"
#include "kernels/backends.h"

#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

enum { CPU_ALIGN = 64, CPU_FIRST_BLOCK = 1 << 16, CPU_STREAM_BYTES = 64 << 20 /* oneDNN's own scratch, its kernels */ };

struct cpu_block {
    cpu_block *next;
    size_t size; /* bytes after the header */
};

/* aligned_alloc wants a multiple of the alignment; 0 bytes still give an address of their own. */
static void *cpu_memory(size_t size)
{
    if (size > SIZE_MAX - CPU_ALIGN)
        return NULL;
    size = (size + CPU_ALIGN - 1) / CPU_ALIGN * CPU_ALIGN;
    return aligned_alloc(CPU_ALIGN, size ? size : CPU_ALIGN);
}

static void *cpu_alloc(kernels_backend *b, size_t size)
{
    (void)b;
    return cpu_memory(size);
}

static void cpu_free(kernels_backend *b, void *data)
{
    (void)b;
    free(data);
}

static void cpu_memory_of(kernels_backend *b, kernels_memory *out)
{
    (void)b;
    kernels_machine_memory(out);
    out->stream = CPU_STREAM_BYTES;
}

static omnid_status cpu_reserve(kernels_backend *b, uint64_t size, omnid_error *err)
{
    (void)b;
    (void)size;
    (void)err;
    return OMNID_OK;
}

static int cpu_all_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

static void cpu_close(kernels_backend **backend)
{
    if (!*backend)
        return;
    cpu_dnnl_close(*backend);
    free(*backend);
    *backend = NULL;
}

static omnid_status cpu_open(kernels_backend **out, int n_threads, omnid_error *err)
{
    *out = NULL;
    if (n_threads < 0)
        return omnid_fail(err, OMNID_ARGUMENT, "cpu backend: threads is %d, want 0 (all) or more", n_threads);
    kernels_backend *b = calloc(1, sizeof *b);
    if (!b)
        return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for %zu bytes", sizeof *b);
    b->n_threads = n_threads ? n_threads : cpu_all_threads();
    omnid_status status = cpu_dnnl_open(b, err);
    if (status != OMNID_OK)
        cpu_close(&b);
    *out = b;
    return status;
}

/* ---- scratch arena ---- */

/* Puts a new block of at least `size` bytes in front; false without memory. */
static bool cpu_push_block(struct cpu_stream *s, size_t size)
{
    cpu_block *block = size > SIZE_MAX - 2 * CPU_ALIGN ? NULL : cpu_memory(CPU_ALIGN + size);
    if (!block)
        return false;
    block->next = s->blocks;
    block->size = size;
    s->blocks = block;
    s->used = 0;
    return true;
}

static void cpu_free_blocks(struct cpu_stream *s)
{
    while (s->blocks) {
        cpu_block *next = s->blocks->next;
        free(s->blocks);
        s->blocks = next;
    }
    s->used = 0;
}

bool cpu_begin(kernels_stream *s)
{
    if (s->error.status != OMNID_OK)
        return false;
#ifdef _OPENMP
    if (omp_get_max_threads() != s->backend->n_threads)
        omp_set_num_threads(s->backend->n_threads);
#endif
    struct cpu_stream *stream = (struct cpu_stream *)s;
    stream->used = 0;
    if (stream->blocks && stream->blocks->next) {
        size_t size = 0;
        for (const cpu_block *block = stream->blocks; block; block = block->next)
            size += block->size;
        cpu_free_blocks(stream);
        cpu_push_block(stream, size); /* without memory: the op's own cpu_scratch says so */
    }
    return true;
}

void *cpu_scratch(kernels_stream *s, size_t size)
{
    struct cpu_stream *stream = (struct cpu_stream *)s;
    size_t want = size > SIZE_MAX - CPU_ALIGN ? SIZE_MAX : (size + CPU_ALIGN - 1) / CPU_ALIGN * CPU_ALIGN;
    if (!stream->blocks || want > stream->blocks->size - stream->used) {
        size_t grown = stream->blocks ? 2 * stream->blocks->size : CPU_FIRST_BLOCK;
        if (!cpu_push_block(stream, want > grown ? want : grown)) {
            kernels_stream_fail(s, OMNID_NOMEM, "cpu backend: no memory for %zu bytes of scratch", size);
            return NULL;
        }
    }
    void *data = (char *)stream->blocks + CPU_ALIGN + stream->used;
    stream->used += want;
    return data;
}

size_t cpu_scratch_mark(const kernels_stream *s)
{
    return ((const struct cpu_stream *)s)->used;
}

void cpu_scratch_rewind(kernels_stream *s, size_t mark)
{
    struct cpu_stream *stream = (struct cpu_stream *)s;
    if (mark <= stream->used && stream->blocks && !stream->blocks->next)
        stream->used = mark;
}

int cpu_threads(const kernels_stream *s, int64_t work)
{
    const int64_t worth_a_team = 32768; /* elements: some 10 us, twice the price of waking a team */
    return work < worth_a_team ? 1 : s->backend->n_threads;
}

/* ---- streams ---- */

static omnid_status cpu_stream_open(kernels_backend *b, kernels_stream **out, kernels_priority priority,
                                    omnid_error *err)
{
    (void)priority; /* an op has run when it returns */
    struct cpu_stream *s = calloc(1, sizeof *s);
    *out = s ? &s->base : NULL;
    if (!s)
        return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for %zu bytes", sizeof *s);
    s->base.ops = &cpu_ops;
    s->base.backend = b;
    return OMNID_OK;
}

static void cpu_stream_close(kernels_stream **s)
{
    if (!*s)
        return;
    struct cpu_stream *stream = (struct cpu_stream *)*s;
    cpu_free_blocks(stream);
    free(stream);
    *s = NULL;
}

static void cpu_copy(kernels_stream *s, void *to, const void *from, size_t size)
{
    if (s->error.status == OMNID_OK && size > 0)
        memcpy(to, from, size);
}

const kernels_ops cpu_ops = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .native_precision = cpu_native_precision,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .memory = cpu_memory_of,
    .reserve = cpu_reserve,
    .stream_open = cpu_stream_open,
    .stream_close = cpu_stream_close,
    .upload = cpu_copy,
    .download = cpu_copy,
    .pack = cpu_pack,
    .weight_free = cpu_weight_free,
    .weight_bytes = cpu_weight_bytes,
    .linear = cpu_linear,
    .rmsnorm = cpu_rmsnorm,
    .layernorm = cpu_layernorm,
    .swiglu = cpu_swiglu,
    .add = cpu_add,
    .convert = cpu_convert,
    .embed = cpu_embed,
    .gather_rows = cpu_gather_rows,
    .patchify = cpu_patchify,
    .im2col3 = cpu_im2col3,
    .pool2 = cpu_pool2,
    .rotate = cpu_rotate,
    .encoder_attention = cpu_encoder_attention,
    .similarity = cpu_similarity,
    .keep = cpu_keep,
    .rotate_append = cpu_rotate_append,
    .attend = cpu_attend,
    .score = cpu_score,
    .select = cpu_select,
    .sample = cpu_sample,
};
