/* server.h: the loop between clients, signals and the engine. It runs on the main thread and waits in one place. */
#ifndef OMNID_DAEMON_SERVER_H
#define OMNID_DAEMON_SERVER_H

#include "daemon/endpoint.h"
#include "daemon/reload.h"
#include "daemon/service.h"
#include "daemon/worker.h"

typedef struct server server;

/* Binds both sockets (mode 0660). All arguments outlive the server. signal_fd: a signalfd; SIGHUP read from it reloads
 * (server_set_service), any other signal stops the loop. IO: cannot bind, with the path. */
omnid_status server_create(server **out, const settings *s, camera *const *cameras, outbox *o, const endpoint *e,
                           int signal_fd, omnid_error *err);
/* Whom the loop tells how things are, and what SIGHUP reads again; both outlive the server. Before server_run. */
void server_set_service(server *s, service *v, const reload *r);
/* Serves until a signal comes or the worker has failed; then every open answer has been told `stopping` (or why the worker
 * failed). Returns the process's exit code. */
int server_run(server *s, worker *w);
/* Waits at most a fifth of a second for the last messages to leave. *s may be NULL. */
void server_destroy(server **s);

#endif
