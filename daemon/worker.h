/* worker.h: the engine's thread: loads the model, starts the cameras, then steps. */
#ifndef OMNID_DAEMON_WORKER_H
#define OMNID_DAEMON_WORKER_H

#include "daemon/camera.h"
#include "daemon/settings.h"

typedef struct worker worker;

typedef enum { WORKER_LOADING, WORKER_READY, WORKER_FAILED } worker_state;

/* Process exit codes (docs/protocol.md, "Exit codes"). */
enum {
    EXIT_OK = 0,
    EXIT_USAGE = 2,
    EXIT_CONFIGURATION = 3,
    EXIT_MODEL = 66,
    EXIT_TAKEN = 69,
    EXIT_ENGINE = 70,
    EXIT_SYSTEM = 71
};

/* Starts the thread; s, cameras[s->n_cameras] and o outlive the worker. IO: no thread. */
omnid_status worker_start(worker **out, const settings *s, camera *const *cameras, outbox *o, omnid_error *err);
/* Tells the thread to stop and waits at most timeout_ms. False: it still runs (a long load or slice); the process can then
 * only leave by _exit. */
bool worker_stop(worker *w, int timeout_ms);
/* After worker_stop returned true and the cameras are destroyed. *w may be NULL. */
void worker_destroy(worker **w);

/* Any thread. percent (0..100 of the load) may be NULL. */
worker_state worker_get_state(worker *w, double *percent);
/* After FAILED: why, and the process's exit code for it. */
int worker_failure(worker *w, omnid_error *err);
/* After READY; the worker's. */
omnid_engine *worker_engine(worker *w);
const omnid_model *worker_model(worker *w);

#endif
