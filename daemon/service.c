/* service.c: sd_notify's messages; what is due when is decided here, from facts and a clock that the caller gives. */
#include "daemon/service.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum { SERVICE_LOADING_US = 1000000 }; /* between two messages while nothing changes */

struct service {
    service_send send;
    void *user;
    int64_t watchdog_us; /* the manager's interval; 0 = none */
    int64_t fed_us;      /* when the watchdog was fed last */
    int64_t moved_us;    /* when the load came further last */
    int64_t told_us;     /* when the last message about the load was sent */
    int percent;         /* told last; -1 = none */
    bool ready, starving;
    service_facts last; /* told last; its text is not kept */
    char lost[SERVICE_LINE_BYTES];
};

static void send_to_manager(void *user, const char *text)
{
    (void)user;
    sd_notify(0, text); /* no socket: 0; a socket that is gone: nothing can be done about it */
}

service *service_create(void)
{
    uint64_t watchdog_us = 0;
    bool watched = sd_watchdog_enabled(0, &watchdog_us) > 0;
    return service_create_with(send_to_manager, NULL, watched ? (int64_t)watchdog_us : 0);
}

service *service_create_with(service_send send, void *user, int64_t watchdog_us)
{
    service *s = g_new0(service, 1);
    s->send = send;
    s->user = user;
    s->watchdog_us = watchdog_us;
    s->percent = -1;
    return s;
}

void service_destroy(service **s)
{
    g_clear_pointer(s, g_free);
}

static void tell(service *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(service *s, const char *format, ...)
{
    char text[SERVICE_LINE_BYTES * 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->send(s->user, text);
}

static void tell_loading(service *s, const service_facts *f, int64_t now_us)
{
    bool first = s->percent < 0, further = f->percent != s->percent;
    if (!first && !further && now_us - s->told_us < SERVICE_LOADING_US)
        return;
    if (first || further)
        s->moved_us = now_us;
    s->percent = f->percent;
    s->told_us = now_us;
    if (now_us - s->moved_us < SERVICE_LOAD_STUCK_S * 1000000LL)
        tell(s, "EXTEND_TIMEOUT_USEC=%lld\nSTATUS=loading the model: %d percent", SERVICE_EXTEND_S * 1000000LL,
             f->percent);
}

/* "segment 412, 32 visible, lag 0.3 s, 0 skipped": of several cameras the sums, and the greatest lag. */
static void status_line(char *line, size_t n, const service_facts *f)
{
    char cameras[32] = "", lost[SERVICE_LINE_BYTES] = "";
    if (f->n_cameras > 1)
        snprintf(cameras, sizeof cameras, "%d cameras, ", f->n_cameras);
    if (f->n_lost > 0)
        snprintf(lost, sizeof lost, ", %d of %d sources lost: %s", f->n_lost, f->n_sources, f->lost);
    snprintf(line, n, "%ssegments %lld, visible %d, lag %.1f s, skipped %lld%s", cameras, (long long)f->n_segments,
             f->n_visible, f->lag_s, (long long)f->n_skipped, lost);
}

static void tell_status(service *s, const service_facts *f)
{
    char line[SERVICE_LINE_BYTES];
    bool changed = f->n_segments != s->last.n_segments || f->n_visible != s->last.n_visible ||
                   f->n_lost != s->last.n_lost || strcmp(f->lost, s->lost) != 0;
    if (s->ready && !changed)
        return;
    status_line(line, sizeof line, f);
    tell(s, "%sSTATUS=%s", s->ready ? "" : "READY=1\n", line);
    s->ready = true;
    s->last = *f;
    snprintf(s->lost, sizeof s->lost, "%s", f->lost);
}

static void feed(service *s, const service_facts *f, int64_t now_us)
{
    bool hangs = f->oldest_work_us > SERVICE_OLDEST_WORK_S * 1000000LL;
    if (hangs && !s->starving)
        omnid_log(OMNID_LOG_ERROR, "the engine has been at one piece of work for %.0f s%s",
                  (double)f->oldest_work_us / 1e6, s->watchdog_us ? "; the watchdog is not fed any more" : "");
    s->starving = hangs;
    if (s->watchdog_us == 0 || hangs || (s->fed_us && now_us - s->fed_us < s->watchdog_us / 4))
        return;
    s->fed_us = now_us;
    s->send(s->user, "WATCHDOG=1");
}

void service_tick(service *s, const service_facts *f, int64_t now_us)
{
    if (f->state == SERVICE_LOADING) {
        tell_loading(s, f, now_us);
    } else if (f->state == SERVICE_READY) {
        tell_status(s, f);
        feed(s, f, now_us);
    }
}

int service_wait_ms(const service *s, int idle_ms)
{
    int64_t most_ms = s->watchdog_us / 4000;
    if (s->watchdog_us == 0 || most_ms >= idle_ms)
        return idle_ms;
    return most_ms < 1 ? 1 : (int)most_ms;
}

void service_begin_reload(service *s, int64_t now_us)
{
    /* While the model still loads neither this nor READY at its end would be true. */
    if (s->ready)
        tell(s, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reading the configuration", (long long)now_us);
}

void service_end_reload(service *s, const char *result)
{
    tell(s, "%sSTATUS=%.400s", s->ready ? "READY=1\n" : "", result);
}

void service_stop(service *s, const char *why)
{
    tell(s, "STOPPING=1\nSTATUS=%.400s", why);
}
