/* dnnl_glue.c: the one file that knows oneDNN, and the difference between the C APIs of its versions 2 and 3. */
#include "kernels/cpu/dnnl_glue.h"

#include "kernels/cpu/code_pages.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* A product of one shape is code: 256 KiB of address space, of which some 20 are resident (code_pages.h), and 1 to 2 ms to
 * make. A camera needs some thirty; a question about the open segment brings row counts that may never come again. */
enum {
    GLUE_CACHE = 128, /* products kept */
    GLUE_PAGES = 4,   /* products whose code may be in huge pages */
    GLUE_SHARED = 8,  /* kept by oneDNN itself, which would keep 1024: reorders while weights are packed */
    GLUE_TYPICAL_M = 256
};

/* ---- version 2: descriptors are structs, operations have descriptors; version 3: descriptors are handles ---- */

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t glue_borrowed; /* a descriptor to read */
#define GLUE_READ(desc) (desc)
#define GLUE_FREE(desc) ((desc) ? (void)dnnl_memory_desc_destroy(desc) : (void)0)
#define GLUE_NO_DESC    NULL
#define GLUE_BIAS(desc) (desc)

static dnnl_status_t glue_strided(dnnl_memory_desc_t *desc, int64_t d0, int64_t d1, dnnl_data_type_t type, int64_t s0,
                                  int64_t s1)
{
    dnnl_dims_t dims = {d0, d1}, strides = {s0, s1};
    return dnnl_memory_desc_create_with_strides(desc, 2, dims, type, strides);
}

static dnnl_status_t glue_any(dnnl_memory_desc_t *desc, int64_t d0, int64_t d1, dnnl_data_type_t type)
{
    dnnl_dims_t dims = {d0, d1};
    return dnnl_memory_desc_create_with_tag(desc, 2, dims, type, dnnl_format_tag_any);
}

static dnnl_status_t glue_copy(dnnl_memory_desc_t *desc, glue_borrowed from)
{
    return dnnl_memory_desc_clone(desc, from);
}

static dnnl_status_t glue_part(dnnl_memory_desc_t *desc, glue_borrowed from, const dnnl_dims_t dims,
                               const dnnl_dims_t offsets)
{
    return dnnl_memory_desc_create_submemory(desc, from, dims, offsets);
}

static dnnl_status_t glue_matmul_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, glue_borrowed x,
                                      glue_borrowed w, glue_borrowed bias, glue_borrowed y, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(out, engine, x, w, bias, y, attr);
}

static dnnl_status_t glue_append_gelu(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_gelu_erf, 0, 0);
}

static dnnl_status_t glue_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

/* Inner blocks of a packed layout. */
static int glue_inner(glue_borrowed desc, dnnl_dims_t blocks, dnnl_dims_t which, dnnl_dims_t strides)
{
    int n = 0;
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    if (dnnl_memory_desc_query(desc, dnnl_query_format_kind, &kind) != dnnl_success || kind != dnnl_blocked ||
        dnnl_memory_desc_query(desc, dnnl_query_inner_nblks_s32, &n) != dnnl_success)
        return -1;
    const dnnl_dims_t *from = NULL;
    if (n > 0) {
        dnnl_memory_desc_query(desc, dnnl_query_inner_blks, &from);
        memcpy(blocks, *from, sizeof(dnnl_dims_t));
        dnnl_memory_desc_query(desc, dnnl_query_inner_idxs, &from);
        memcpy(which, *from, sizeof(dnnl_dims_t));
    }
    dnnl_memory_desc_query(desc, dnnl_query_strides, &from);
    memcpy(strides, *from, sizeof(dnnl_dims_t));
    return n;
}
#else
typedef const dnnl_memory_desc_t *glue_borrowed;
#define GLUE_READ(desc) (&(desc))
#define GLUE_FREE(desc) ((void)(desc))
#define GLUE_NO_DESC                                                                                                   \
    (dnnl_memory_desc_t)                                                                                               \
    {                                                                                                                  \
        0                                                                                                              \
    }

static dnnl_status_t glue_strided(dnnl_memory_desc_t *desc, int64_t d0, int64_t d1, dnnl_data_type_t type, int64_t s0,
                                  int64_t s1)
{
    dnnl_dims_t dims = {d0, d1}, strides = {s0, s1};
    return dnnl_memory_desc_init_by_strides(desc, 2, dims, type, strides);
}

static dnnl_status_t glue_any(dnnl_memory_desc_t *desc, int64_t d0, int64_t d1, dnnl_data_type_t type)
{
    dnnl_dims_t dims = {d0, d1};
    return dnnl_memory_desc_init_by_tag(desc, 2, dims, type, dnnl_format_tag_any);
}

static dnnl_status_t glue_copy(dnnl_memory_desc_t *desc, glue_borrowed from)
{
    *desc = *from;
    return dnnl_success;
}

static dnnl_status_t glue_part(dnnl_memory_desc_t *desc, glue_borrowed from, const dnnl_dims_t dims,
                               const dnnl_dims_t offsets)
{
    return dnnl_memory_desc_init_submemory(desc, from, dims, offsets);
}

static dnnl_status_t glue_matmul_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, glue_borrowed x,
                                      glue_borrowed w, glue_borrowed bias, glue_borrowed y, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, x, w, bias, y);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &desc, attr, engine, NULL) : status;
}

static dnnl_status_t glue_append_gelu(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_gelu_erf, 0, 0);
}

static dnnl_status_t glue_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1);
}

static int glue_inner(glue_borrowed desc, dnnl_dims_t blocks, dnnl_dims_t which, dnnl_dims_t strides)
{
    if (desc->format_kind != dnnl_blocked)
        return -1;
    memcpy(blocks, desc->format_desc.blocking.inner_blks, sizeof(dnnl_dims_t));
    memcpy(which, desc->format_desc.blocking.inner_idxs, sizeof(dnnl_dims_t));
    memcpy(strides, desc->format_desc.blocking.strides, sizeof(dnnl_dims_t));
    return desc->format_desc.blocking.inner_nblks;
}
#endif

/* ---- the same for both ---- */

struct dnnl_glue_layout {
    dnnl_memory_desc_t desc; /* of [k][n] */
    int64_t n, k;
    kernels_precision precision;
};

struct dnnl_glue_matmul {
    dnnl_glue_matmul *next; /* less lately used */
    dnnl_glue_product key;
    dnnl_primitive_t primitive;
    dnnl_memory_t x, w, bias, y, scratch;
    size_t scratch_size;
    char name[48];
};

typedef struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_glue_matmul *products; /* lately used first */
    int n_products, n_made;
} glue;

static omnid_status glue_fail(omnid_error *err, dnnl_status_t status, const char *what, int64_t n, int64_t k)
{
    if (status == dnnl_success)
        return OMNID_OK;
    return omnid_fail(err, status == dnnl_out_of_memory ? OMNID_NOMEM : OMNID_UNSUPPORTED,
                      "oneDNN: %s of a weight [%lld][%lld] failed with its status %d", what, (long long)n, (long long)k,
                      (int)status);
}

omnid_status cpu_dnnl_open(kernels_backend *b, omnid_error *err)
{
    glue *g = calloc(1, sizeof *g);
    if (!g)
        return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for %zu bytes", sizeof *g);
    b->dnnl = g;
    dnnl_status_t status = dnnl_engine_create(&g->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = dnnl_stream_create(&g->stream, g->engine, dnnl_stream_default_flags);
    if (status == dnnl_success)
        status = dnnl_set_primitive_cache_capacity(GLUE_SHARED);
    if (status == dnnl_success)
        return OMNID_OK;
    cpu_dnnl_close(b);
    return omnid_fail(err, OMNID_DEVICE, "oneDNN: no CPU engine, its status is %d", (int)status);
}

static void glue_matmul_free(dnnl_glue_matmul *m)
{
    dnnl_memory_t memory[] = {m->x, m->w, m->bias, m->y, m->scratch};
    for (size_t i = 0; i < sizeof memory / sizeof memory[0]; i++)
        if (memory[i])
            dnnl_memory_destroy(memory[i]);
    if (m->primitive)
        dnnl_primitive_destroy(m->primitive);
    free(m);
}

void cpu_dnnl_close(kernels_backend *b)
{
    glue *g = b->dnnl;
    b->dnnl = NULL;
    if (!g)
        return;
    while (g->products) {
        dnnl_glue_matmul *next = g->products->next;
        glue_matmul_free(g->products);
        g->products = next;
    }
    if (g->stream)
        dnnl_stream_destroy(g->stream);
    if (g->engine)
        dnnl_engine_destroy(g->engine);
    free(g);
}

kernels_precision cpu_native_precision(kernels_backend *b)
{
    (void)b;
#if defined(__x86_64__)
    unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(), want = (unsigned)dnnl_cpu_isa_avx512_core_bf16;
    return (isa & want) == want ? KERNELS_PLAIN_BF16 : KERNELS_PLAIN_F32;
#elif defined(__aarch64__) && defined(__linux__)
    const unsigned long hwcap2_bf16 = 1ul << 14;
    return getauxval(AT_HWCAP2) & hwcap2_bf16 ? KERNELS_PLAIN_BF16 : KERNELS_PLAIN_F32;
#else
    return KERNELS_PLAIN_F32;
#endif
}

static dnnl_data_type_t glue_type(kernels_precision precision)
{
    return precision == KERNELS_PLAIN_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* ---- layouts ---- */

omnid_status dnnl_glue_layout_open(kernels_backend *b, dnnl_glue_layout **out, int64_t n, int64_t k,
                                   kernels_precision precision, omnid_error *err)
{
    const glue *g = b->dnnl;
    *out = NULL;
    dnnl_glue_layout *layout = calloc(1, sizeof *layout);
    if (!layout)
        return omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for %zu bytes", sizeof *layout);
    layout->n = n;
    layout->k = k;
    layout->precision = precision;
    dnnl_memory_desc_t x = GLUE_NO_DESC, w = GLUE_NO_DESC, y = GLUE_NO_DESC;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = glue_strided(&x, GLUE_TYPICAL_M, k, glue_type(precision), k, 1);
    if (status == dnnl_success)
        status = glue_any(&w, k, n, glue_type(precision));
    if (status == dnnl_success)
        status = glue_strided(&y, GLUE_TYPICAL_M, n, dnnl_f32, n, 1);
    if (status == dnnl_success)
        status = glue_matmul_desc(&desc, g->engine, GLUE_READ(x), GLUE_READ(w), NULL, GLUE_READ(y), NULL);
    if (status == dnnl_success)
        status = glue_copy(&layout->desc, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0));
    GLUE_FREE(x);
    GLUE_FREE(w);
    GLUE_FREE(y);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    *out = layout;
    if (status != dnnl_success)
        dnnl_glue_layout_close(out);
    return glue_fail(err, status, "the layout", n, k);
}

void dnnl_glue_layout_close(dnnl_glue_layout **layout)
{
    if (*layout)
        GLUE_FREE((*layout)->desc);
    free(*layout);
    *layout = NULL;
}

size_t dnnl_glue_layout_bytes(const dnnl_glue_layout *layout)
{
    return dnnl_memory_desc_get_size(GLUE_READ(layout->desc));
}

int dnnl_glue_layout_width(const dnnl_glue_layout *layout, int64_t *k_rounded)
{
    dnnl_dims_t blocks, which, strides; /* of [k][n] */
    if (layout->precision != KERNELS_PLAIN_F32 || glue_inner(GLUE_READ(layout->desc), blocks, which, strides) != 2 ||
        which[0] != 0 || which[1] != 1)
        return 0;
    *k_rounded = (layout->k + blocks[0] - 1) / blocks[0] * blocks[0];
    /* Blocks of k follow each other, then blocks of n: a panel of blocks[1] columns is dense. */
    bool panels = strides[0] == blocks[0] * blocks[1] && strides[1] == *k_rounded * blocks[1];
    return panels ? (int)blocks[1] : 0;
}

omnid_status dnnl_glue_pack(kernels_backend *b, const dnnl_glue_layout *layout, void *packed, int64_t first,
                            int64_t n_rows, const void *rows, omnid_error *err)
{
    const glue *g = b->dnnl;
    dnnl_memory_desc_t from = GLUE_NO_DESC, to = GLUE_NO_DESC;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t reorder = NULL;
    dnnl_memory_t from_memory = NULL, to_memory = NULL;
    dnnl_dims_t dims = {layout->k, n_rows}, offsets = {0, first};
    dnnl_status_t status = glue_strided(&from, layout->k, n_rows, glue_type(layout->precision), 1, layout->k);
    if (status == dnnl_success)
        status = glue_part(&to, GLUE_READ(layout->desc), dims, offsets);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(&desc, GLUE_READ(from), g->engine, GLUE_READ(to), g->engine, NULL);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&reorder, desc);
    if (status == dnnl_success) /* oneDNN takes sources without const; it does not write to them */
        status = dnnl_memory_create(&from_memory, GLUE_READ(from), g->engine, (void *)(uintptr_t)rows);
    if (status == dnnl_success)
        status = dnnl_memory_create(&to_memory, GLUE_READ(to), g->engine, packed);
    if (status == dnnl_success) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from_memory}, {DNNL_ARG_TO, to_memory}};
        status = dnnl_primitive_execute(reorder, g->stream, 2, args);
    }
    if (status == dnnl_success)
        status = dnnl_stream_wait(g->stream);
    if (from_memory)
        dnnl_memory_destroy(from_memory);
    if (to_memory)
        dnnl_memory_destroy(to_memory);
    if (reorder)
        dnnl_primitive_destroy(reorder);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    GLUE_FREE(from);
    GLUE_FREE(to);
    return glue_fail(err, status, "packing", layout->n, layout->k);
}

/* ---- products ---- */

static dnnl_status_t glue_attributes(dnnl_primitive_attr_t *out, const dnnl_glue_product *p)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success && p->gelu)
        status = glue_append_gelu(ops);
    if (status == dnnl_success && p->sum)
        status = glue_append_sum(ops);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_post_ops(attr, ops);
    if (ops)
        dnnl_post_ops_destroy(ops);
    *out = attr;
    return status;
}

static dnnl_status_t glue_memory(const glue *g, dnnl_memory_t *out, dnnl_primitive_desc_t desc, dnnl_query_t what)
{
    return dnnl_memory_create(out, dnnl_primitive_desc_query_md(desc, what, what == dnnl_query_weights_md ? 0 : 0),
                              g->engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t glue_matmul_fill(const glue *g, dnnl_glue_matmul *m, dnnl_primitive_desc_t desc)
{
    const char *name = "";
    m->scratch_size = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0));
    if (dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name) == dnnl_success)
        strncpy(m->name, name, sizeof m->name - 1);
    dnnl_status_t status = dnnl_primitive_create(&m->primitive, desc);
    if (status == dnnl_success)
        status = glue_memory(g, &m->x, desc, dnnl_query_src_md);
    if (status == dnnl_success)
        status = glue_memory(g, &m->w, desc, dnnl_query_weights_md);
    if (status == dnnl_success)
        status = dnnl_memory_create(&m->bias, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 1), g->engine,
                                    DNNL_MEMORY_NONE);
    if (status == dnnl_success)
        status = glue_memory(g, &m->y, desc, dnnl_query_dst_md);
    if (status == dnnl_success)
        status = glue_memory(g, &m->scratch, desc, dnnl_query_scratchpad_md);
    return status;
}

static dnnl_glue_matmul *glue_matmul_make(const glue *g, const dnnl_glue_layout *layout, const dnnl_glue_product *p,
                                          omnid_error *err)
{
    dnnl_glue_matmul *m = calloc(1, sizeof *m);
    if (!m) {
        omnid_fail(err, OMNID_NOMEM, "cpu backend: no memory for %zu bytes", sizeof *m);
        return NULL;
    }
    m->key = *p;
    dnnl_memory_desc_t x = GLUE_NO_DESC, bias = GLUE_NO_DESC, y = GLUE_NO_DESC;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = glue_strided(&x, p->m, p->k, glue_type((kernels_precision)p->precision), p->x_stride, 1);
    if (status == dnnl_success)
        status = glue_strided(&bias, 1, p->n, dnnl_f32, p->n, 1);
    if (status == dnnl_success)
        status = glue_strided(&y, p->m, p->n, p->y_dtype == KERNELS_BF16 ? dnnl_bf16 : dnnl_f32, p->y_stride, 1);
    if (status == dnnl_success)
        status = glue_attributes(&attr, p);
    if (status == dnnl_success)
        status = glue_matmul_desc(&desc, g->engine, GLUE_READ(x), GLUE_READ(layout->desc), GLUE_READ(bias),
                                  GLUE_READ(y), attr);
    if (status == dnnl_success)
        status = glue_matmul_fill(g, m, desc);
    GLUE_FREE(x);
    GLUE_FREE(bias);
    GLUE_FREE(y);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    if (glue_fail(err, status, "a product", p->n, p->k) == OMNID_OK)
        return m;
    glue_matmul_free(m);
    return NULL;
}

dnnl_glue_matmul *dnnl_glue_matmul_get(kernels_backend *b, const dnnl_glue_layout *layout, const dnnl_glue_product *p,
                                       omnid_error *err)
{
    glue *g = b->dnnl;
    dnnl_glue_matmul **at = &g->products, **last = at;
    while (*at && memcmp(&(*at)->key, p, sizeof *p) != 0) {
        last = at;
        at = &(*at)->next;
    }
    dnnl_glue_matmul *m = *at;
    if (m) {
        *at = m->next;
    } else {
        m = glue_matmul_make(g, layout, p, err);
        if (!m)
            return NULL;
        if (++g->n_made % GLUE_PAGES == 0)
            cpu_code_pages_keep_small();
        if (g->n_products == GLUE_CACHE) {
            glue_matmul_free(*last);
            *last = NULL;
        } else {
            g->n_products++;
        }
    }
    m->next = g->products;
    g->products = m;
    return m;
}

size_t dnnl_glue_matmul_scratch(const dnnl_glue_matmul *m)
{
    return m->scratch_size;
}

const char *dnnl_glue_matmul_name(const dnnl_glue_matmul *m)
{
    return m->name;
}

omnid_status dnnl_glue_matmul_run(kernels_backend *b, dnnl_glue_matmul *m, void *y, const void *x, const void *packed,
                                  const float *bias, void *scratch, omnid_error *err)
{
    const glue *g = b->dnnl;
    const struct {
        dnnl_memory_t memory;
        const void *data;
    } set[] = {{m->x, x}, {m->w, packed}, {m->bias, bias}, {m->y, y}, {m->scratch, scratch}};
    dnnl_status_t status = dnnl_success;
    for (size_t i = 0; i < sizeof set / sizeof set[0] && status == dnnl_success; i++)
        status = dnnl_memory_set_data_handle(set[i].memory, (void *)(uintptr_t)set[i].data);
    if (status == dnnl_success) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, m->x},
                                  {DNNL_ARG_WEIGHTS, m->w},
                                  {DNNL_ARG_BIAS, m->bias},
                                  {DNNL_ARG_DST, m->y},
                                  {DNNL_ARG_SCRATCHPAD, m->scratch}};
        status = dnnl_primitive_execute(m->primitive, g->stream, 5, args);
    }
    if (status == dnnl_success)
        status = dnnl_stream_wait(g->stream);
    return glue_fail(err, status, "a product", m->key.n, m->key.k);
}
