/* server_service.c: what the loop tells the service manager, and SIGHUP. */
#include "daemon/server_internal.h"
#include "daemon/service_log.h"

#include <string.h>
#include <unistd.h>

enum { SERVICE_FACTS_US = 200000 }; /* between two looks: each takes every camera's locks */

void server_set_service(server *s, service *v, const reload *r)
{
    s->service = v;
    s->reload = r;
    s->had_terminal = isatty(STDIN_FILENO);
}

static void add_source(service_facts *f, GString *lost, const char *name, const char *what, capture_state state)
{
    if (state == CAPTURE_OFF)
        return;
    f->n_sources++;
    if (state != CAPTURE_LOST)
        return;
    f->n_lost++;
    g_string_append_printf(lost, "%s%s %s", lost->len ? ", " : "", name, what);
}

static void add_camera(service_facts *f, GString *lost, camera *c)
{
    camera_status status;
    const char *name = camera_settings(c)->name;
    bool started = camera_get_status(c, &status);
    f->n_skipped += status.n_skipped;
    if (!started)
        return;
    f->n_segments += status.capture.n_segments;
    f->n_visible += status.timeline.n_segments;
    if (status.timeline.lag_s > f->lag_s)
        f->lag_s = status.timeline.lag_s;
    add_source(f, lost, name, "video", status.capture.video.state);
    add_source(f, lost, name, "audio", status.capture.audio.state);
}

void server_tick_service(server *s)
{
    int64_t now_us = omnid_clock_us();
    if (!s->service || (s->service_us && now_us - s->service_us < SERVICE_FACTS_US))
        return;
    s->service_us = now_us;
    double percent = 0;
    worker_state state = worker_get_state(s->worker, &percent);
    service_facts f = {.state = state == WORKER_READY     ? SERVICE_READY
                                : state == WORKER_LOADING ? SERVICE_LOADING
                                                          : SERVICE_FAILED,
                       .percent = (int)percent,
                       .n_cameras = (int)s->settings->n_cameras};
    GString *lost = g_string_new(NULL);
    if (state == WORKER_READY) {
        f.oldest_work_us = omnid_engine_get_status(worker_engine(s->worker)).oldest_work_us;
        for (size_t i = 0; i < s->settings->n_cameras; i++)
            add_camera(&f, lost, s->cameras[i]);
    }
    f.lost = lost->str;
    service_tick(s->service, &f, now_us);
    g_string_free(lost, TRUE);
}

bool server_reload(server *s)
{
    /* Who closes the terminal window does not expect the camera to go on. */
    if (!s->reload || (s->had_terminal && !isatty(STDIN_FILENO)))
        return false;
    char *report = NULL;
    omnid_error err;
    if (s->service)
        service_begin_reload(s->service, omnid_clock_us());
    if (reload_run(s->reload, &report, &err) == OMNID_OK) {
        service_log_open(s->settings->daemon.omnid_log);
        s->limits.max_deadline_ms = s->settings->daemon.answers_max_deadline_ms;
        omnid_log(OMNID_LOG_INFO, "%s", report);
    } else {
        omnid_log(OMNID_LOG_ERROR, "not reloaded, the configuration as it was stays in force: %s", err.text);
    }
    if (s->service)
        service_end_reload(s->service, report ? report : err.text);
    g_free(report);
    return true;
}
