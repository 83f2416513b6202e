/* service.h: what a service manager hears of the daemon (sd_notify(3)): readiness, a line of status, the watchdog's food.
 * Without one (no $NOTIFY_SOCKET) nothing is sent and nothing else changes. */
#ifndef OMNID_DAEMON_SERVICE_H
#define OMNID_DAEMON_SERVICE_H

#include "base/base.h"

typedef struct service service;

enum {
    SERVICE_OLDEST_WORK_S = 30, /* the watchdog is fed while the engine has no piece of work older than this */
    SERVICE_EXTEND_S = 30,      /* while the model loads, each message asks for so much more time to start */
    SERVICE_LOAD_STUCK_S = 600, /* and none does once the load has not come further for this long */
    SERVICE_LINE_BYTES = 512
};

typedef enum { SERVICE_LOADING, SERVICE_READY, SERVICE_FAILED } service_state;

/* How things are now. */
typedef struct {
    service_state state;
    int percent;            /* 0..100 of the load */
    int64_t oldest_work_us; /* omnid_engine_status */
    int n_cameras, n_visible, n_sources, n_lost;
    int64_t n_segments, n_skipped;
    double lag_s;     /* the greatest of all cameras */
    const char *lost; /* names of the lost sources; "" = none */
} service_facts;

/* Sends one message, as sd_notify's `state`. */
typedef void (*service_send)(void *user, const char *text);

/* Of the environment ($NOTIFY_SOCKET, $WATCHDOG_USEC, $WATCHDOG_PID). */
service *service_create(void);
/* With a sender of the caller's (tests). watchdog_us 0: no watchdog. */
service *service_create_with(service_send send, void *user, int64_t watchdog_us);
/* *s may be NULL. */
void service_destroy(service **s);

/* Tells what is due at now_us (omnid_clock_us): time to start and percent while loading; READY once; STATUS when segments
 * or lost sources have changed; WATCHDOG four times in the manager's interval unless the engine hangs. Called from the
 * server's loop, which is thereby part of what the watchdog watches. */
void service_tick(service *s, const service_facts *f, int64_t now_us);
/* The longest that the loop may wait between two ticks. */
int service_wait_ms(const service *s, int idle_ms);
/* Around a reload: RELOADING with the clock's time, then READY. */
void service_begin_reload(service *s, int64_t now_us);
void service_end_reload(service *s, const char *result);
/* The daemon ends; why: a sentence. */
void service_stop(service *s, const char *why);

#endif
