/* attention_case.h: random pages, lists and queries for the tests of attend and score. Rows that nothing may read are
 * poisoned with NaN: unlisted rows of a page, prefix rows from n_prefix on, own rows that no query row sees. */
#ifndef OMNID_ATTENTION_CASE_H
#define OMNID_ATTENTION_CASE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/kernels/kernels_test.h"

typedef struct {
    kernels_dtype dtype;
    int n_heads, n_kv_heads, head_dim, n_classes;
    int n_rows, n_prefix, n_keys, own_first;
    int n_pages, capacity; /* of the pages that are listed */
    int scatter;           /* 0: whole runs, 1: about half of the rows, 2: in random order too */
    int n_own_scored, first_score_row;
    float q_scale;
} case_shape;

enum { CASE_MAX_PAGES = 32 };

typedef struct {
    case_shape shape;
    test_image k[CASE_MAX_PAGES + 2], v[CASE_MAX_PAGES + 2]; /* the last two: prefix, own */
    uint8_t *cls[CASE_MAX_PAGES + 2];
    int capacity[CASE_MAX_PAGES + 2];
    test_image q;
    kernels_key *keys;   /* [n_keys] */
    kernels_key *scored; /* [n_keys + n_own_scored] */
    int n_scored;
} attention_case;

/* What a backend sees. `a` points into the struct itself: it stays where case_up filled it. */
typedef struct {
    kernels_attention a;
    tensor q;
    kernels_descriptor descriptor; /* a copy of the one that a names */
} case_on;

static inline void case_fill_row(attention_case *c, int page, int row)
{
    for (int head = 0; head < c->shape.n_kv_heads; head++)
        for (int d = 0; d < c->shape.head_dim; d++) {
            test_set(&c->k[page], (int64_t)head * c->capacity[page] + row, d, (double)test_random_normal());
            test_set(&c->v[page], (int64_t)head * c->capacity[page] + row, d, (double)test_random_normal());
        }
}

static inline void case_new_page(attention_case *c, int page, int capacity)
{
    c->capacity[page] = capacity;
    c->k[page] = test_image_new(c->shape.dtype, (int64_t)c->shape.n_kv_heads * capacity, c->shape.head_dim, 0);
    c->v[page] = test_image_new(c->shape.dtype, (int64_t)c->shape.n_kv_heads * capacity, c->shape.head_dim, 0);
    c->cls[page] = malloc((size_t)capacity);
    assert_non_null(c->cls[page]);
    for (int i = 0; i < capacity; i++) /* runs of one class, as audio and video of a segment make them */
        c->cls[page][i] =
            (uint8_t)(i > 0 && test_random_int(0, 9) ? c->cls[page][i - 1] : test_random_int(0, KERNELS_N_CLASSES - 1));
}

static inline void case_list(attention_case *c)
{
    const case_shape *s = &c->shape;
    int n = 0;
    for (int page = 0; page < s->n_pages && n < s->n_keys; page++)
        for (int row = 0; row < s->capacity && n < s->n_keys; row++)
            if (!s->scatter || test_random_int(0, 1)) {
                c->keys[n] = (kernels_key){.page = page, .row = row, .segment = page, .index = n};
                n++;
            }
    assert_int_equal(n, s->n_keys);
    for (int i = n - 1; s->scatter == 2 && i > 0; i--) {
        int j = (int)test_random_int(0, i);
        kernels_key key = c->keys[i];
        c->keys[i] = c->keys[j];
        c->keys[j] = key;
    }
    for (int i = 0; i < n; i++) {
        c->scored[i] = c->keys[i];
        case_fill_row(c, c->keys[i].page, c->keys[i].row);
    }
    c->n_scored = n;
    for (int i = 0; i < s->n_own_scored; i++)
        c->scored[c->n_scored++] = (kernels_key){.page = KERNELS_OWN_PAGE, .row = i};
}

static inline attention_case *case_new(case_shape shape)
{
    attention_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->shape = shape;
    assert_true(shape.n_pages <= CASE_MAX_PAGES);
    int n_own = shape.own_first + shape.n_rows, prefix = shape.n_pages, own = shape.n_pages + 1;
    c->keys = calloc((size_t)shape.n_keys + 1, sizeof *c->keys);
    c->scored = calloc((size_t)(shape.n_keys + shape.n_own_scored) + 1, sizeof *c->scored);
    assert_true(c->keys && c->scored);
    for (int page = 0; page < shape.n_pages; page++)
        case_new_page(c, page, shape.capacity);
    case_new_page(c, prefix, shape.n_prefix + 3);
    case_new_page(c, own, n_own > 0 ? n_own + 5 : 5);
    case_list(c);
    for (int row = 0; row < shape.n_prefix; row++)
        case_fill_row(c, prefix, row);
    for (int row = 0; row < n_own; row++)
        case_fill_row(c, own, row);
    int64_t max_rows = shape.n_rows + 2, width = (int64_t)shape.n_heads * shape.head_dim;
    c->q = test_image_new(shape.dtype, shape.n_classes * max_rows, width, width + 8);
    for (int cls = 0; cls < shape.n_classes; cls++)
        for (int64_t row = 0; row < shape.n_rows; row++)
            for (int64_t i = 0; i < width; i++)
                test_set(&c->q, cls * max_rows + row, i, (double)(shape.q_scale * test_random_normal()));
    return c;
}

static inline void case_free(attention_case *c)
{
    for (int page = 0; page < c->shape.n_pages + 2; page++) {
        test_image_free(&c->k[page]);
        test_image_free(&c->v[page]);
        free(c->cls[page]);
    }
    test_image_free(&c->q);
    free(c->keys);
    free(c->scored);
    free(c);
}

/* S: [n_scored] in the backend's memory, or NULL where nothing is scored. */
static inline void case_up(case_on *on, test_rig *rig, const attention_case *c, float *S)
{
    const case_shape *s = &c->shape;
    kernels_page pages[CASE_MAX_PAGES + 2];
    /* One block each for all keys, values and classes: a rig holds few addresses. */
    for (int page = 0; page < s->n_pages + 2; page++) {
        pages[page].capacity = c->capacity[page];
        pages[page].k = test_up(rig, &c->k[page]).data;
        pages[page].v = test_up(rig, &c->v[page]).data;
        pages[page].cls = test_put(rig, c->cls[page], (size_t)c->capacity[page]);
    }
    on->q = test_up(rig, &c->q);
    on->descriptor =
        (kernels_descriptor){.n_rows = s->n_rows,
                             .n_prefix = s->n_prefix,
                             .n_keys = s->n_keys,
                             .own_first = s->own_first,
                             .n_score = S ? c->n_scored : 0,
                             .first_score_row = s->first_score_row,
                             .prefix = pages[s->n_pages],
                             .own = pages[s->n_pages + 1],
                             .pages = test_put(rig, pages, (size_t)s->n_pages * sizeof *pages),
                             .keys = test_put(rig, c->keys, (size_t)(s->n_keys + 1) * sizeof *c->keys),
                             .scored = test_put(rig, c->scored, (size_t)(c->n_scored + 1) * sizeof *c->scored),
                             .S = S};
    on->a = (kernels_attention){.descriptors = test_put(rig, &on->descriptor, sizeof on->descriptor),
                                .n_sets = 1,
                                .n_heads = s->n_heads,
                                .n_kv_heads = s->n_kv_heads,
                                .head_dim = s->head_dim,
                                .n_classes = s->n_classes,
                                .q = &on->q,
                                .max_rows = s->n_rows + 2,
                                .dtype = s->dtype};
}

#endif
