/* test_replay.c: paths of ops that a backend records: run plainly, recorded and replayed they do the same with what their
 * buffers hold by then; what cannot be recorded is run plainly. Backends that record nothing have nothing to show here. */
#include "tests/unit/kernels/kernels_test.h"

#include <string.h>

enum { ROWS = 12, IN = 64, OUT = 48 };

/* x [ROWS][IN] -> a norm, a product onto y, and the row of y that `row` names. */
typedef struct {
    tensor x, w, norm, y, row, last;
    kernels_weight *weight;
    int n_runs; /* of the ops, by the host */
} path_case;

typedef struct {
    test_image x, w, weight, y, row, last;
    kernels_dtype dtype; /* of the norm and of the packed weight */
} material;

static material material_new(kernels_dtype dtype)
{
    material m = {test_image_new(KERNELS_F32, ROWS, IN, 0),
                  test_image_new(KERNELS_F32, IN, 1, 1),
                  test_image_new(KERNELS_F32, OUT, IN, 0),
                  test_image_new(KERNELS_F32, ROWS, OUT, 0),
                  test_image_new(KERNELS_I32, 1, 1, 1),
                  test_image_new(KERNELS_F32, 1, OUT, 0),
                  dtype};
    test_fill_normal(&m.w, 1);
    test_fill_normal(&m.weight, 0.2f);
    return m;
}

static void material_free(material *m)
{
    test_image *all[] = {&m->x, &m->w, &m->weight, &m->y, &m->row, &m->last};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        test_image_free(all[i]);
}

static path_case case_up(test_rig *rig, const material *m)
{
    const kernels_precision precision = m->dtype == KERNELS_BF16 ? KERNELS_PLAIN_BF16 : KERNELS_PLAIN_F32;
    test_image norm = test_image_new(m->dtype, ROWS, IN, 0);
    path_case c = {.x = test_up(rig, &m->x),
                   .w = test_up(rig, &m->w),
                   .norm = test_up(rig, &norm),
                   .y = test_up(rig, &m->y),
                   .row = test_up(rig, &m->row),
                   .last = test_up(rig, &m->last)};
    kernels_part part = {.data = m->weight.host.data, .dtype = KERNELS_F32, .n = OUT};
    omnid_error err = {0};
    assert_int_equal(rig->ops->pack(rig->backend, &c.weight, &part, 1, IN, precision, &err), OMNID_OK);
    test_image_free(&norm);
    return c;
}

static void run_ops(test_rig *rig, path_case *c)
{
    c->n_runs++;
    rig->ops->rmsnorm(rig->stream, &c->norm, &c->x, &c->w, 1e-6f);
    rig->ops->linear(rig->stream, &c->y, &c->norm, c->weight, &(kernels_epilogue){.residual = &c->y});
    rig->ops->gather_rows(rig->stream, &c->last, &c->y, &c->row);
}

/* As the engine does. True: replayed. */
static bool run_path(test_rig *rig, path_case *c, uint64_t path, void (*run)(test_rig *, path_case *))
{
    omnid_error why = {0};
    if (rig->ops->replay(rig->stream, path))
        return true;
    rig->ops->begin_capture(rig->stream, path);
    run(rig, c);
    if (!rig->ops->end_capture(rig->stream, &why)) {
        assert_true(strlen(why.text) > 10);
        run(rig, c);
    }
    return false;
}

/* Other numbers in the same buffers. */
static void change(test_rig *rig, const path_case *c, material *m, int row)
{
    test_fill_normal(&m->x, 1);
    test_fill_normal(&m->y, 1);
    test_set(&m->row, 0, 0, row);
    test_poison(&m->last);
    rig->ops->upload(rig->stream, c->x.data, m->x.host.data, ROWS * IN * sizeof(float));
    rig->ops->upload(rig->stream, c->y.data, m->y.host.data, ROWS * OUT * sizeof(float));
    rig->ops->upload(rig->stream, c->row.data, m->row.host.data, sizeof(int32_t));
}

/* What the ops make of m by the reference. */
static void expect(test_rig *reference, const material *m, test_image *last)
{
    path_case c = case_up(reference, m);
    run_ops(reference, &c);
    test_down(reference, &c.last, last);
    test_assert_ok(reference);
    reference->ops->weight_free(reference->backend, &c.weight);
    test_free_memory(reference);
}

static void run_without_product(test_rig *rig, path_case *c)
{
    c->n_runs++;
    rig->ops->gather_rows(rig->stream, &c->last, &c->y, &c->row);
}

/* late: the product is not met before the path is recorded, so what a backend finds out about it has to wait. */
static void replay_often(test_rig *rig, test_rig *reference, kernels_dtype dtype, bool late)
{
    const double near = dtype == KERNELS_BF16 ? 1e-2 : 1e-5;
    material m = material_new(dtype);
    path_case c = case_up(rig, &m);
    for (int time = 0; time < 6; time++) {
        test_image got = test_image_copy(&m.last), want = test_image_copy(&m.last);
        bool without = late && time == 0;
        change(rig, &c, &m, 5 * time % ROWS);
        assert_int_equal(run_path(rig, &c, (uint64_t)(77 + dtype + 10 * late), without ? run_without_product : run_ops),
                         time > 1);
        test_down(rig, &c.last, &got);
        test_assert_ok(rig);
        expect(reference, &m, &want);
        if (!without)
            test_assert_close(&got, &want, near, near);
        test_image_free(&got);
        test_image_free(&want);
    }
    assert_int_equal(c.n_runs, 2); /* plainly and to be recorded */
    rig->ops->weight_free(rig->backend, &c.weight);
    material_free(&m);
}

static void test_replays(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    for (int i = 0; i < 4 && rig.ops->replay; i++)
        replay_often(&rig, &reference, i / 2 ? KERNELS_BF16 : KERNELS_F32, i % 2 == 0);
    test_close(&reference);
}

/* More paths than a backend keeps: those that were given up begin anew, and every one is right. */
static void test_many_paths(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    {
        if (!rig.ops->replay)
            continue;
        material m = material_new(KERNELS_F32);
        path_case c = case_up(&rig, &m);
        int n_replayed = 0;
        for (int time = 0; time < 500; time++) {
            change(&rig, &c, &m, time % ROWS);
            n_replayed += run_path(&rig, &c, (uint64_t)(time < 400 ? time / 2 : time % 10), run_ops);
        }
        assert_int_equal(n_replayed, 80); /* of the last ten, again and again */
        test_image got = test_image_copy(&m.last), want = test_image_copy(&m.last);
        test_down(&rig, &c.last, &got);
        test_assert_ok(&rig);
        expect(&reference, &m, &want);
        test_assert_close(&got, &want, 1e-5, 1e-5);
        test_image_free(&got);
        test_image_free(&want);
        rig.ops->weight_free(rig.backend, &c.weight);
        material_free(&m);
    }
    test_close(&reference);
}

static void run_with_upload(test_rig *rig, path_case *c)
{
    const int32_t row = 3;
    rig->ops->upload(rig->stream, c->row.data, &row, sizeof row);
    run_ops(rig, c);
}

static void run_with_wait(test_rig *rig, path_case *c)
{
    run_ops(rig, c);
    rig->ops->download(rig->stream, NULL, NULL, 0);
}

/* A path that has the host in it is never recorded, and does its work each time. */
static void test_falls_back(void **state)
{
    (void)state;
    test_rig reference = test_open("reference");
    TEST_EACH_BACKEND(rig)
    {
        if (!rig.ops->replay)
            continue;
        material m = material_new(KERNELS_F32);
        path_case c = case_up(&rig, &m);
        for (int time = 0; time < 8; time++) {
            test_image got = test_image_copy(&m.last), want = test_image_copy(&m.last);
            change(&rig, &c, &m, time % 2 ? 4 : 3);
            assert_false(time % 2 ? run_path(&rig, &c, 4, run_with_wait) : run_path(&rig, &c, 3, run_with_upload));
            test_down(&rig, &c.last, &got);
            test_assert_ok(&rig);
            expect(&reference, &m, &want);
            test_assert_close(&got, &want, 1e-5, 1e-5);
            test_image_free(&got);
            test_image_free(&want);
        }
        rig.ops->weight_free(rig.backend, &c.weight);
        material_free(&m);
    }
    test_close(&reference);
}

static void run_misshaped(test_rig *rig, path_case *c)
{
    tensor short_y = tensor_rows(&c->y, 0, ROWS - 1);
    rig->ops->linear(rig->stream, &short_y, &c->norm, c->weight, NULL);
    run_ops(rig, c);
}

/* What fails for its own reasons tells them, recorded or not; the stream goes on afterwards. */
static void test_errors_are_told(void **state)
{
    (void)state;
    TEST_EACH_BACKEND(rig)
    {
        if (!rig.ops->replay)
            continue;
        material m = material_new(KERNELS_F32);
        path_case c = case_up(&rig, &m);
        for (int time = 0; time < 4; time++) {
            change(&rig, &c, &m, 1);
            assert_false(run_path(&rig, &c, 5, run_misshaped));
            test_assert_failed(&rig, OMNID_SHAPE);
        }
        for (int time = 0; time < 4; time++) {
            change(&rig, &c, &m,
                   time == 3 ? ROWS : 1); /* a row that is not there is found by the device, replayed or not */
            assert_int_equal(run_path(&rig, &c, 6, run_ops), time > 1);
            if (time == 3)
                test_assert_failed(&rig, OMNID_SHAPE);
            else
                test_assert_ok(&rig);
        }
        rig.ops->weight_free(rig.backend, &c.weight);
        material_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replays),
        cmocka_unit_test(test_many_paths),
        cmocka_unit_test(test_falls_back),
        cmocka_unit_test(test_errors_are_told),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
