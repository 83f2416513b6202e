/* blocks.c: keys and lists of keys made into blocks, and a block brought into the form that panel.h reads. */
#include "kernels/cpu/blocks.h"

#include <string.h>

/* A run of fewer rows is gathered with others: a product over a short block is slower than the copy. */
enum { BLOCKS_RUN = 64, BLOCKS_BUILDERS = 2 * KERNELS_N_CLASSES };

struct blocks_pending {
    blocks_key run; /* first of n_run keys side by side */
    int32_t n_run;
    int32_t n_keys;
    blocks_key keys[PANEL_KEYS];
};

bool blocks_open(kernels_stream *s, blocks_plan *plan, const kernels_attention *a, int64_t n_keys)
{
    *plan = (blocks_plan){.a = a};
    size_t n_blocks = (size_t)(n_keys / BLOCKS_RUN + n_keys / PANEL_KEYS) + BLOCKS_BUILDERS + 1;
    plan->list = cpu_scratch(s, n_blocks * sizeof *plan->list);
    plan->store = cpu_scratch(s, (size_t)(n_keys + 1) * sizeof *plan->store);
    plan->pending = cpu_scratch(s, BLOCKS_BUILDERS * sizeof *plan->pending);
    if (!plan->list || !plan->store || !plan->pending)
        return false;
    for (int i = 0; i < BLOCKS_BUILDERS; i++)
        plan->pending[i].n_run = plan->pending[i].n_keys = 0;
    return true;
}

static void blocks_emit(blocks_plan *plan, int builder, blocks_key first, const blocks_key *keys, int32_t n)
{
    plan->list[plan->n++] =
        (blocks_block){.first = first, .keys = keys, .n = n, .cls = builder / 2, .causal = builder % 2};
    plan->n_keys += n;
}

static void blocks_emit_pending(blocks_plan *plan, int builder)
{
    blocks_pending *p = &plan->pending[builder];
    if (p->n_keys == 0)
        return;
    blocks_key *to = plan->store + plan->n_stored;
    memcpy(to, p->keys, (size_t)p->n_keys * sizeof *to);
    plan->n_stored += p->n_keys;
    blocks_emit(plan, builder, to[0], to, p->n_keys);
    p->n_keys = 0;
}

/* The run so far becomes a block of its own, or joins the keys to be gathered. */
static void blocks_end_run(blocks_plan *plan, int builder)
{
    blocks_pending *p = &plan->pending[builder];
    int32_t n = p->n_run;
    p->n_run = 0;
    if (n >= BLOCKS_RUN) {
        blocks_emit(plan, builder, p->run, NULL, n);
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        p->keys[p->n_keys++] = (blocks_key){p->run.page, p->run.row + i, p->run.place + i};
        if (p->n_keys == PANEL_KEYS)
            blocks_emit_pending(plan, builder);
    }
}

static void blocks_add(blocks_plan *plan, int builder, blocks_key key)
{
    blocks_pending *p = &plan->pending[builder];
    bool joins = p->n_run > 0 && p->n_run < PANEL_KEYS && key.page == p->run.page && key.row == p->run.row + p->n_run &&
                 key.place == p->run.place + p->n_run;
    if (!joins) {
        blocks_end_run(plan, builder);
        p->run = key;
    }
    p->n_run++;
}

static int blocks_builder(const blocks_plan *plan, const kernels_page *page, int32_t row, bool causal)
{
    return 2 * (plan->a->n_classes > 1 ? page->cls[row] : 0) + causal;
}

void blocks_add_rows(blocks_plan *plan, const kernels_page *page, int64_t n, bool causal)
{
    for (int32_t row = 0; row < n; row++)
        blocks_add(plan, blocks_builder(plan, page, row, causal), (blocks_key){page, row, row});
    for (int i = 0; i < BLOCKS_BUILDERS; i++)
        blocks_end_run(plan, i);
}

void blocks_add_keys(blocks_plan *plan, const kernels_key *keys, int64_t n, int64_t first_row)
{
    for (int32_t i = 0; i < n; i++) {
        bool own = keys[i].page == KERNELS_OWN_PAGE;
        const kernels_page *page = own ? &plan->a->descriptors->own : &plan->a->descriptors->pages[keys[i].page];
        bool causal = own && keys[i].row > plan->a->descriptors->own_first + first_row;
        blocks_add(plan, blocks_builder(plan, page, keys[i].row, causal), (blocks_key){page, keys[i].row, i});
    }
    for (int i = 0; i < BLOCKS_BUILDERS; i++)
        blocks_end_run(plan, i);
}

void blocks_finish(blocks_plan *plan)
{
    for (int i = 0; i < BLOCKS_BUILDERS; i++)
        blocks_emit_pending(plan, i);
}

size_t blocks_load_size(int head_dim)
{
    return panel_values_size(head_dim); /* keys need no more */
}

/* One row of head_dim numbers as float32. */
static void blocks_row(float *to, const void *from, kernels_dtype dtype, int head_dim)
{
    if (dtype == KERNELS_F32) {
        memcpy(to, from, (size_t)head_dim * sizeof *to);
        return;
    }
    const uint16_t *half = from;
    for (int d = 0; d < head_dim; d++)
        to[d] = f32_from_bf16(half[d]);
}

static const void *blocks_at(const blocks_block *block, const kernels_attention *a, const void *data, int kv_head,
                             int i)
{
    blocks_key key = block->keys ? block->keys[i] : block->first;
    int64_t row = block->keys ? key.row : key.row + i;
    int64_t at = ((int64_t)kv_head * key.page->capacity + row) * a->head_dim;
    return (const char *)data + at * (int64_t)kernels_dtype_size(a->dtype);
}

#define KEY_AT(i)   blocks_at(block, a, (block->keys ? block->keys[i].page : block->first.page)->k, kv_head, i)
#define VALUE_AT(i) blocks_at(block, a, (block->keys ? block->keys[i].page : block->first.page)->v, kv_head, i)

static panel_block blocks_load_pairs(const blocks_block *block, const kernels_attention *a, int kv_head, float *k,
                                     float *v)
{
    int depth = (a->head_dim + 1) / 2;
    panel_block out = {.k = k, .k_stride = depth, .v = v, .n = block->n, .n_packed = block->n};
    if (!block->keys && a->head_dim % 2 == 0)
        out.k = KEY_AT(0);
    else
        for (int i = 0; i < block->n; i++) {
            k[(int64_t)i * depth + depth - 1] = 0; /* an odd head_dim ends in half a pair */
            memcpy(k + (int64_t)i * depth, KEY_AT(i), (size_t)a->head_dim * sizeof(uint16_t));
        }
    for (int i = 0; v && i < block->n; i += 2)
        panel_pack_pairs(v, VALUE_AT(i), i + 1 < block->n ? VALUE_AT(i + 1) : NULL, i, block->n, a->head_dim);
    return out;
}

panel_block blocks_load(const blocks_block *block, const kernels_attention *a, int kv_head, const panel_ops *ops,
                        float *k, float *v)
{
    if (ops->pairs)
        return blocks_load_pairs(block, a, kv_head, k, v);
    panel_block out = {.k = k, .k_stride = a->head_dim, .v = v, .n = block->n, .n_packed = block->n};
    bool in_place = !block->keys && a->dtype == KERNELS_F32;
    if (in_place)
        out.k = KEY_AT(0);
    for (int i = 0; !in_place && i < block->n; i++)
        blocks_row(k + (int64_t)i * a->head_dim, KEY_AT(i), a->dtype, a->head_dim);
    for (int i = 0; v && i < block->n; i++)
        if (a->dtype == KERNELS_F32)
            panel_pack_f32(v, VALUE_AT(i), i, block->n, a->head_dim);
        else
            panel_pack_bf16(v, VALUE_AT(i), i, block->n, a->head_dim);
    return out;
}

int blocks_limits(const blocks_block *block, int32_t *limit, int width, int64_t column, int group, int64_t first_row,
                  int64_t own_first, bool *all)
{
    int n = 0;
    *all = true;
    for (int c = 0; c < width; c++) {
        int64_t last = own_first + first_row + (column + c) / group; /* last row of the page that it sees */
        if (block->keys)
            while (n < block->n && block->keys[n].row <= last)
                n++;
        else
            n = last < block->first.row                  ? 0
                : last - block->first.row + 1 < block->n ? (int)(last - block->first.row + 1)
                                                         : block->n;
        limit[c] = n;
        *all = *all && n == block->n;
    }
    return n;
}
