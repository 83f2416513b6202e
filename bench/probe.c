/* probe.c: an engine under observation. */
#include "bench/probe.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more of `size` bytes; false: no memory. */
static bool grow(void **items, int n, int *capacity, size_t size)
{
    if (n < *capacity)
        return true;
    int more = *capacity ? 2 * *capacity : 1024;
    void *larger = realloc(*items, (size_t)more * size);
    if (!larger)
        return false;
    *items = larger;
    *capacity = more;
    return true;
}

static void on_slice(void *user, const omnid_slice *s)
{
    probe *p = user;
    if (grow((void **)&p->slices, p->n_slices, &p->slice_capacity, sizeof *s))
        p->slices[p->n_slices++] = *s;
    else
        p->lost = true;
}

static void on_segment(void *user, omnid_timeline *tl, const omnid_segment_report *r)
{
    probe *p = user;
    (void)tl;
    if (grow((void **)&p->reports, p->n_reports, &p->report_capacity, sizeof *r))
        p->reports[p->n_reports++] = *r;
    else
        p->lost = true;
}

static void on_done(void *user, uint64_t answer, const omnid_result *r)
{
    probe *p = user;
    (void)answer;
    p->answer = (probe_answer){.timings = r->timings, .retained = r->retained, .n_tokens = r->n_tokens, .done = true};
}

static void on_error(void *user, uint64_t answer, const omnid_error *err)
{
    probe *p = user;
    (void)answer;
    p->answer = (probe_answer){.done = true, .error = *err};
}

omnid_status probe_open(probe *p, const omnid_model *m, const omnid_engine_params *params, omnid_error *err)
{
    const omnid_callbacks callbacks = {
        .user = p, .on_done = on_done, .on_error = on_error, .on_segment = on_segment, .on_slice = on_slice};
    memset(p, 0, sizeof *p);
    return omnid_engine_create(&p->engine, m, params, &callbacks, err);
}

void probe_close(probe *p)
{
    omnid_engine_destroy(&p->engine);
    free(p->slices);
    free(p->reports);
    memset(p, 0, sizeof *p);
}

void probe_clear(probe *p)
{
    p->n_slices = p->n_reports = 0;
    p->answer = (probe_answer){0};
}

omnid_status probe_pump(probe *p, omnid_error *err)
{
    for (;;) {
        omnid_status st = omnid_engine_step(p->engine, 0, err);
        if (p->lost)
            return omnid_fail(err, OMNID_NOMEM, "no memory to write slices down");
        if (st != OMNID_OK)
            return st == OMNID_AGAIN ? OMNID_OK : st;
    }
}

omnid_status probe_feed(probe *p, omnid_timeline *tl, synthetic *s, int64_t index, int n_frames, int n_samples,
                        omnid_error *err)
{
    OMNID_TRY(synthetic_submit(s, tl, index, n_frames, n_samples, err));
    return probe_pump(p, err);
}

omnid_status probe_ask(probe *p, omnid_timeline *tl, const omnid_question_params *q, omnid_error *err)
{
    uint64_t answer;
    p->answer = (probe_answer){0};
    OMNID_TRY(omnid_timeline_ask(tl, q, NULL, &answer, err));
    while (!p->answer.done) {
        omnid_status st = omnid_engine_step(p->engine, 100, err);
        if (st != OMNID_OK && st != OMNID_AGAIN)
            return st;
    }
    if (p->answer.error.status != OMNID_OK && err)
        *err = p->answer.error;
    return p->answer.error.status;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double quantile(double *values, int n, double share)
{
    if (n == 0)
        return 0;
    qsort(values, (size_t)n, sizeof *values, compare);
    int at = (int)(share * n);
    return values[at < n ? at : n - 1];
}

double median(double *values, int n)
{
    return quantile(values, n, 0.5);
}
