/* test_cpu_panel.c: the attention loops of every instruction set that this processor has, and the bf16 loops with plain
 * instructions, against float64. The ops tests see only the fastest; a machine elsewhere takes another. */
#include "tests/unit/kernels/kernels_test.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/cpu/panel.h"

enum { MAX_HD = 96, MAX_WIDTH = PANEL_VECTORS * PANEL_LANES, MAX_BLOCKS = 3 };

typedef struct {
    double q[MAX_WIDTH][MAX_HD];
    double k[MAX_BLOCKS * PANEL_KEYS][MAX_HD], v[MAX_BLOCKS * PANEL_KEYS][MAX_HD];
    int n[MAX_BLOCKS], hd, width;
    int32_t limit[MAX_BLOCKS][MAX_WIDTH] __attribute__((aligned(64)));
} panel_case;

static double as_bf16(double x)
{
    return (double)f32_from_bf16(bf16_from_f32((float)x));
}

static void case_fill(panel_case *c, int hd, int width)
{
    c->hd = hd;
    c->width = width;
    for (int i = 0; i < width; i++)
        for (int d = 0; d < hd; d++)
            c->q[i][d] = as_bf16(3 * (double)test_random_normal());
    for (int b = 0; b < MAX_BLOCKS; b++) {
        c->n[b] = test_random_int(0, 1) ? (int)test_random_int(1, PANEL_KEYS) : PANEL_KEYS;
        for (int j = 0; j < c->n[b]; j++)
            for (int d = 0; d < hd; d++) {
                c->k[b * PANEL_KEYS + j][d] = as_bf16((double)test_random_normal());
                c->v[b * PANEL_KEYS + j][d] = as_bf16((double)test_random_normal());
            }
        for (int i = 0; i < width; i++)
            c->limit[b][i] = (int32_t)test_random_int(b == 0, c->n[b]); /* of the first block at least one */
    }
}

static double case_score(const panel_case *c, int i, int key)
{
    double sum = 0;
    for (int d = 0; d < c->hd; d++)
        sum += c->q[i][d] * c->k[key][d];
    return sum / sqrt(c->hd);
}

/* Output and log-sum-exp (base e) of column i. */
static double case_column(const panel_case *c, int i, bool limited, double out[MAX_HD])
{
    double sum = 0;
    for (int d = 0; d < c->hd; d++)
        out[d] = 0;
    for (int b = 0; b < MAX_BLOCKS; b++)
        for (int j = 0; j < (limited ? c->limit[b][i] : c->n[b]); j++) {
            double p = exp(case_score(c, i, b * PANEL_KEYS + j));
            sum += p;
            for (int d = 0; d < c->hd; d++)
                out[d] += p * c->v[b * PANEL_KEYS + j][d];
        }
    for (int d = 0; d < c->hd; d++)
        out[d] /= sum;
    return log(sum);
}

static float *memory(size_t n)
{
    float *data = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
    assert_non_null(data);
    return data;
}

static float pair(double lo, double hi)
{
    return number_from_bits(bf16_from_f32((float)lo) | (uint32_t)bf16_from_f32((float)hi) << 16);
}

/* Operands as the kernel reads them. */
typedef struct {
    float *q, *k, *v, *scratch;
    panel_block blocks[MAX_BLOCKS];
    panel p;
} operands;

static operands operands_new(const panel_case *c, const panel_ops *ops)
{
    int depth = ops->pairs ? (c->hd + 1) / 2 : c->hd;
    operands o = {.q = memory((size_t)(depth * c->width)),
                  .k = memory((size_t)(MAX_BLOCKS * PANEL_KEYS * depth)),
                  .v = memory(MAX_BLOCKS * panel_values_size(c->hd)),
                  .scratch = memory(PANEL_KEYS * MAX_WIDTH)};
    for (int i = 0; i < c->width; i++)
        for (int d = 0; d < depth; d++)
            o.q[d * c->width + i] =
                ops->pairs ? pair(c->q[i][2 * d], 2 * d + 1 < c->hd ? c->q[i][2 * d + 1] : 0) : (float)c->q[i][d];
    for (int b = 0; b < MAX_BLOCKS; b++) {
        float *k = o.k + b * PANEL_KEYS * depth, *v = o.v + (size_t)b * panel_values_size(c->hd);
        for (int j = 0; j < c->n[b]; j++) {
            const double *key = c->k[b * PANEL_KEYS + j];
            for (int d = 0; d < depth; d++)
                k[j * depth + d] =
                    ops->pairs ? pair(key[2 * d], 2 * d + 1 < c->hd ? key[2 * d + 1] : 0) : (float)key[d];
            uint16_t lo[MAX_HD], hi[MAX_HD];
            float row[MAX_HD];
            for (int d = 0; d < c->hd; d++) {
                row[d] = (float)c->v[b * PANEL_KEYS + j][d];
                lo[d] = bf16_from_f32(row[d]);
                hi[d] = j + 1 < c->n[b] ? bf16_from_f32((float)c->v[b * PANEL_KEYS + j + 1][d]) : 0;
            }
            if (!ops->pairs && j % 2)
                panel_pack_f32(v, row, j, c->n[b], c->hd);
            else if (!ops->pairs)
                panel_pack_bf16(v, lo, j, c->n[b], c->hd);
            else if (j % 2 == 0)
                panel_pack_pairs(v, lo, j + 1 < c->n[b] ? hi : NULL, j, c->n[b], c->hd);
        }
        o.blocks[b] = (panel_block){k, depth, v, c->n[b], c->n[b]};
    }
    o.p = (panel){c->width / ops->lanes, o.q, memory((size_t)(c->hd * c->width)), memory(MAX_WIDTH), memory(MAX_WIDTH)};
    return o;
}

static void operands_free(operands *o)
{
    float *all[] = {o->q, o->k, o->v, o->scratch, o->p.o, o->p.m, o->p.l};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void compare(const panel_case *c, const panel_ops *ops, bool limited)
{
    float scale = (float)(1.44269504088896340736 / sqrt(c->hd));
    operands o = operands_new(c, ops);
    ops->clear(&o.p, c->hd);
    for (int b = 0; b < MAX_BLOCKS; b++)
        ops->step(&o.p, &o.blocks[b], c->hd, scale, limited ? c->limit[b] : NULL, o.scratch);
    double out[MAX_HD], lse[MAX_WIDTH];
    for (int i = 0; i < c->width; i++) {
        lse[i] = case_column(c, i, limited, out);
        assert_float_equal(((double)o.p.m[i] + log2((double)o.p.l[i])) * log(2), lse[i], 1e-5);
        for (int d = 0; d < c->hd; d++) /* a bf16 kernel rounds each probability to 8 bits */
            assert_float_equal(o.p.o[d * c->width + i] / o.p.l[i], out[d], ops->pairs ? 1e-2 : 5e-6);
    }
    /* The second pass: probabilities summed over the columns. */
    float *sums = memory((size_t)(PANEL_KEYS * ops->lanes));
    for (int i = 0; i < c->width; i++)
        o.p.m[i] = i % 5 == 0 ? 1e30f : (float)(lse[i] / log(2));
    for (int i = 0; i < PANEL_KEYS * ops->lanes; i++)
        sums[i] = 0;
    ops->weigh(&o.p, &o.blocks[0], c->hd, scale, sums, o.scratch);
    for (int j = 0; j < c->n[0]; j++) {
        double got = 0, want = 0;
        for (int i = 0; i < ops->lanes; i++)
            got += (double)sums[j * ops->lanes + i];
        for (int i = 0; i < c->width; i++)
            want += i % 5 == 0 ? 0 : exp(case_score(c, i, j) - lse[i]);
        assert_float_equal(got, want, 2e-5 * want + 1e-9);
    }
    free(sums);
    operands_free(&o);
}

static void test_every_kernel(void **state)
{
    (void)state;
    panel_case *c = (panel_case *)memory((sizeof *c + 3) / 4);

    int n_kernels = 0;
    for (const panel_ops *const *ops = panel_all; *ops; ops++) {
        if (!(*ops)->usable()) {
            print_message("%s: this processor has no such instructions\n", (*ops)->name);
            continue;
        }
        n_kernels++;
        for (int i = 0; i < 12; i++) {
            case_fill(c, i < 3 ? 32 * (i + 1) : (int)test_random_int(1, MAX_HD), (i % 3 + 1) * (*ops)->lanes);
            compare(c, *ops, false);
            compare(c, *ops, true);
        }
    }
    free(c);
    assert_true(n_kernels >= 2); /* the two that run anywhere */
}

static void test_choice(void **state)
{
    (void)state;
    const panel_ops *plain = panel_choose(false), *pairs = panel_choose(true);
    assert_non_null(plain);
    assert_false(plain->pairs);
    assert_true(!pairs || (pairs->pairs && pairs->usable()));
    assert_ptr_equal(panel_for(KERNELS_F32), plain);
    assert_ptr_equal(panel_for(KERNELS_BF16), pairs ? pairs : plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kernel),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests_name("cpu_panel", tests, NULL, NULL);
}
