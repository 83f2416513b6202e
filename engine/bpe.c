/* bpe.c: merges with a heap of candidates over a linked list of symbols. A candidate is not taken out of the heap when its
 * symbols change; it is recognised as stale when it comes up. */
#include "engine/bpe.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t pair; /* left << 32 | right; EMPTY = free */
    int32_t rank, merged;
} merge_slot;

struct bpe {
    int32_t byte_ids[256];
    merge_slot *slots; /* open addressing, at most half full */
    size_t mask;
};

typedef struct {
    int32_t id;         /* -1 = merged into the one before */
    int32_t prev, next; /* -1 = none */
} symbol;

typedef struct {
    int32_t rank, at, merged;
} candidate;

struct bpe_work {
    symbol *symbols;
    candidate *heap;
    int32_t *ids;
    size_t capacity; /* bytes of a word */
    size_t n_heap;
};

static const uint64_t EMPTY = UINT64_MAX;

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static size_t slot_of(const bpe *b, uint64_t pair)
{
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h ^ h >> 32) & b->mask;
    while (b->slots[i].pair != pair && b->slots[i].pair != EMPTY)
        i = (i + 1) & b->mask;
    return i;
}

omnid_status bpe_create(bpe **out, const int32_t byte_ids[256], size_t n_merges, omnid_error *err)
{
    size_t n_slots = 16;
    while (n_slots < 2 * n_merges + 2)
        n_slots *= 2;
    bpe *b = malloc(sizeof *b);
    merge_slot *slots = malloc(n_slots * sizeof *slots);
    *out = NULL;
    if (!b || !slots) {
        free(b);
        free(slots);
        return omnid_fail(err, OMNID_NOMEM, "no memory for %zu merges", n_merges);
    }
    for (size_t i = 0; i < n_slots; i++)
        slots[i].pair = EMPTY;
    *b = (bpe){.slots = slots, .mask = n_slots - 1};
    memcpy(b->byte_ids, byte_ids, sizeof b->byte_ids);
    *out = b;
    return OMNID_OK;
}

void bpe_destroy(bpe **b)
{
    if (!*b)
        return;
    free((*b)->slots);
    free(*b);
    *b = NULL;
}

void bpe_add(bpe *b, int32_t left, int32_t right, int32_t rank, int32_t merged)
{
    uint64_t pair = pair_of(left, right);
    b->slots[slot_of(b, pair)] = (merge_slot){pair, rank, merged};
}

omnid_status bpe_work_create(bpe_work **out, omnid_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory to encode text");
}

void bpe_work_destroy(bpe_work **w)
{
    if (!*w)
        return;
    free((*w)->symbols);
    free((*w)->heap);
    free((*w)->ids);
    free(*w);
    *w = NULL;
}

/* Each merge adds at most two candidates to the n - 1 first ones, and there are at most n - 1 merges: 3 n is room enough. */
static omnid_status make_room(bpe_work *w, size_t n, omnid_error *err)
{
    if (n <= w->capacity)
        return OMNID_OK;
    if (n > INT32_MAX / 4)
        return omnid_fail(err, OMNID_LIMIT, "a word of %zu bytes is too long", n);
    size_t capacity = n < 256 ? 256 : n + n / 2;
    free(w->symbols);
    free(w->heap);
    free(w->ids);
    w->symbols = malloc(capacity * sizeof *w->symbols);
    w->heap = malloc(3 * capacity * sizeof *w->heap);
    w->ids = malloc(capacity * sizeof *w->ids);
    w->capacity = w->symbols && w->heap && w->ids ? capacity : 0;
    if (!w->capacity)
        return omnid_fail(err, OMNID_NOMEM, "no memory to encode a word of %zu bytes", n);
    return OMNID_OK;
}

static bool before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(bpe_work *w, candidate c)
{
    size_t i = w->n_heap++;
    for (; i && before(&c, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = c;
}

static candidate heap_pop(bpe_work *w)
{
    candidate top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!before(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

/* Puts the pair that starts at symbol `at` into the heap if it can merge. */
static void consider(const bpe *b, bpe_work *w, int32_t at)
{
    if (at < 0 || w->symbols[at].next < 0)
        return;
    const merge_slot *m = &b->slots[slot_of(b, pair_of(w->symbols[at].id, w->symbols[w->symbols[at].next].id))];
    if (m->pair != EMPTY)
        heap_push(w, (candidate){m->rank, at, m->merged});
}

static void merge_at(const bpe *b, bpe_work *w, const candidate *c)
{
    symbol *s = &w->symbols[c->at];
    if (s->id < 0 || s->next < 0)
        return;
    symbol *right = &w->symbols[s->next];
    const merge_slot *m = &b->slots[slot_of(b, pair_of(s->id, right->id))];
    if (m->pair == EMPTY || m->merged != c->merged)
        return; /* stale: one of the two has merged with another neighbour */
    s->id = c->merged;
    s->next = right->next;
    right->id = -1;
    if (s->next >= 0)
        w->symbols[s->next].prev = c->at;
    consider(b, w, s->prev);
    consider(b, w, c->at);
}

omnid_status bpe_encode(const bpe *b, bpe_work *w, const char *word, size_t n, const int32_t **ids, size_t *n_ids,
                        omnid_error *err)
{
    *n_ids = 0;
    OMNID_TRY(make_room(w, n, err));
    *ids = w->ids;
    for (size_t i = 0; i < n; i++)
        w->symbols[i] = (symbol){b->byte_ids[(uint8_t)word[i]], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1};
    w->n_heap = 0;
    for (size_t i = 0; i + 1 < n; i++)
        consider(b, w, (int32_t)i);
    while (w->n_heap) {
        candidate c = heap_pop(w);
        merge_at(b, w, &c);
    }
    for (int32_t i = n ? 0 : -1; i >= 0; i = w->symbols[i].next)
        w->ids[(*n_ids)++] = w->symbols[i].id;
    return OMNID_OK;
}
