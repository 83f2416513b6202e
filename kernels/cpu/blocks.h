/* blocks.h: private to kernels/cpu: the keys of an attention as blocks of at most PANEL_KEYS of one class.
 *
 * Rows that lie side by side in a page make a block that is read where it lies; single survivors are gathered into scratch,
 * once a block for all the queries that meet it. Which key is in which block depends on the lists alone, never on the
 * number of threads, and so does every sum over blocks. */
#ifndef OMNID_KERNELS_CPU_BLOCKS_H
#define OMNID_KERNELS_CPU_BLOCKS_H

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/panel.h"

typedef struct {
    const kernels_page *page;
    int32_t row;
    int32_t place; /* in the list it came from */
} blocks_key;

typedef struct {
    blocks_key first;       /* of a run of n rows of one page, with n places in order */
    const blocks_key *keys; /* [n], or NULL: a run */
    int32_t n;
    int32_t cls;
    bool causal; /* query row i sees rows 0 .. own_first + i; rows ascend in the block */
} blocks_block;

typedef struct blocks_pending blocks_pending;

typedef struct {
    const kernels_attention *a;
    blocks_block *list;
    int n;             /* blocks */
    int64_t n_keys;    /* in all blocks */
    blocks_key *store; /* keys of the blocks that are no runs */
    int64_t n_stored;
    blocks_pending *pending; /* [class][causal]: keys not in a block yet */
} blocks_plan;

/* Scratch for at most n_keys keys; false: the stream has failed. */
bool blocks_open(kernels_stream *s, blocks_plan *plan, const kernels_attention *a, int64_t n_keys);
/* Rows 0 .. n - 1 of a page. */
void blocks_add_rows(blocks_plan *plan, const kernels_page *page, int64_t n, bool causal);
/* Entries of a list; those of the own page that query row first_row does not see yet are causal. */
void blocks_add_keys(blocks_plan *plan, const kernels_key *keys, int64_t n, int64_t first_row);
/* Makes blocks of what is left. */
void blocks_finish(blocks_plan *plan);

/* Floats of scratch that blocks_load needs for keys and for values. */
size_t blocks_load_size(int head_dim);
/* Keys and values (v NULL: keys alone) of one key head as the panel kernel wants them: in place or in k, v. */
panel_block blocks_load(const blocks_block *block, const kernels_attention *a, int kv_head, const panel_ops *ops,
                        float *k, float *v);
/* limit[c] for the columns of a panel: keys of a causal block that the query row of column c sees. `width` columns from
 * `column` on, `group` columns a query row, rows from first_row on. Returns the highest; *all: every column sees all. */
int blocks_limits(const blocks_block *block, int32_t *limit, int width, int64_t column, int group, int64_t first_row,
                  int64_t own_first, bool *all);

#endif
