/* fake_source.c: see fake_source.h. */
#include "fake_source.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

fake_script scripts[N_FAKES];

typedef struct {
    source_params p;
    fake_script *script;
    int64_t opened_us;
    int64_t n_frames, n_blocks;
    bool first_life;
    float samples[BLOCK];
} fake;

static omnid_status fake_convert(picture *p, omnid_error *err)
{
    p->stride = p->width * 3;
    p->rgb = calloc((size_t)p->height, (size_t)p->stride);
    return p->rgb ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "no memory");
}

static void fake_release(picture *p)
{
    (void)p;
}

static const picture_ops fake_pictures = {fake_convert, fake_release};

static omnid_status fake_check(const char *uri, omnid_error *err)
{
    int n = atoi(source_rest(uri));
    return n < N_FAKES ? OMNID_OK : omnid_fail(err, OMNID_ARGUMENT, "%s: want 0 or 1", uri);
}

static omnid_status fake_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    fake_script *script = &scripts[atoi(source_rest(p->uri))];
    *self = NULL;
    for (int waited = 0; waited < script->open_hangs_ms; waited += 10) {
        if (atomic_load(p->stop))
            return omnid_fail(err, OMNID_CANCELLED, "%s: stopped", p->uri);
        usleep(10000);
    }
    int tried = atomic_fetch_add(&script->n_tried, 1);
    if (tried > 0 && tried <= script->n_failing_opens)
        return omnid_fail(err, script->failure ? script->failure : OMNID_DEVICE, "%s: not plugged in", p->uri);
    fake *f = calloc(1, sizeof *f);
    f->p = *p;
    f->script = script;
    f->opened_us = omnid_clock_us();
    f->first_life = atomic_fetch_add(&script->n_opened, 1) == 0;
    for (int i = 0; i < BLOCK; i++)
        f->samples[i] = i % 2 ? 0.1f : -0.1f;
    *info = (source_info){p->want_video, p->want_audio, false, INT64_MIN};
    *self = f;
    return OMNID_OK;
}

static omnid_status fake_read(void *self, source_data *out, int timeout_ms, omnid_error *err)
{
    fake *f = self;
    const fake_script *script = f->script;
    int64_t now_us = omnid_clock_us(), age_ms = (now_us - f->opened_us) / 1000;
    if (f->first_life && script->read_hangs_ms && age_ms > 500)
        usleep((useconds_t)script->read_hangs_ms * 1000);
    if (f->first_life && script->first_life_ms && age_ms > script->first_life_ms)
        return script->opens_with_an_end ? OMNID_END : omnid_fail(err, OMNID_DEVICE, "%s: unplugged", f->p.uri);
    int64_t frame_us = f->p.want_video ? f->opened_us + f->n_frames * 40000 : INT64_MAX;
    int64_t block_us = f->p.want_audio ? f->opened_us + f->n_blocks * 20000 + 20000 : INT64_MAX; /* when it is whole */
    if (f->first_life && script->sound_until_ms && age_ms > script->sound_until_ms)
        block_us = INT64_MAX;
    int64_t due_us = frame_us < block_us ? frame_us : block_us;
    bool stalls = f->first_life && script->stall_after_ms && age_ms > script->stall_after_ms;
    if (stalls || due_us > now_us + timeout_ms * 1000) {
        usleep((useconds_t)timeout_ms * 1000);
        return OMNID_AGAIN;
    }
    if (due_us > now_us)
        usleep((useconds_t)(due_us - now_us));
    if (due_us == block_us) {
        f->n_blocks++;
        *out = (source_data){.kind = SOURCE_SOUND, .t_us = block_us - 20000, .samples = f->samples, .n_samples = BLOCK};
        return OMNID_OK;
    }
    f->n_frames++;
    *out = (source_data){.kind = SOURCE_PICTURE, .t_us = frame_us};
    return picture_create(&out->pic, frame_us, 32, 24, &fake_pictures, NULL, err);
}

static void fake_close(void **self)
{
    fake *f = *self;
    *self = NULL;
    if (f && f->first_life)
        usleep((useconds_t)f->script->close_hangs_ms * 1000);
    if (f)
        atomic_fetch_add(&f->script->n_closed, 1);
    free(f);
}

const source_ops fake_ops = {"fake", "fake:N  a test's", false, fake_check, fake_open, fake_read, fake_close};

int64_t fake_stop(omnid_capture *c)
{
    int64_t begun_us = omnid_clock_us();
    omnid_capture_stop(&c);
    assert_null(c);
    return (omnid_clock_us() - begun_us) / 1000;
}

int fake_set_up(void **state)
{
    (void)state;
    memset(scripts, 0, sizeof scripts);
    return 0;
}

void fake_await_count(atomic_int *counter, int n)
{
    for (int ms = 0; ms < PATIENCE_MS && atomic_load(counter) < n; ms += 5)
        usleep(5000);
    assert_true(atomic_load(counter) >= n);
}
