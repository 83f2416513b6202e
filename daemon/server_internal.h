/* server_internal.h: what the files of the server share: server.c (sockets and loop), server_ask.c (questions and their
 * answers), server_status.c (the ops that only read), server_camera.c (the ops on one camera: frame, pause, resume, forget). */
#ifndef OMNID_DAEMON_SERVER_INTERNAL_H
#define OMNID_DAEMON_SERVER_INTERNAL_H

#include "daemon/connection.h"
#include "daemon/protocol.h"
#include "daemon/server.h"
#include "daemon/service.h"

/* A question under way. */
typedef struct {
    uint64_t number; /* the engine's */
    connection_peer peer;
    int fd;     /* of the connection; names it to the socket monitor */
    json_t *id; /* NULL = none */
    size_t camera;
    bool stream;
    bool over;       /* the client was told the end, or is gone: only the engine's end is awaited */
    json_t *choices; /* NULL = none */
    char *retention, *question;
    int64_t received_us;
    int64_t first_text_us;
    int64_t frame_ago_us; /* age of the newest frame it sees when it was asked; < 0 = unknown */
} answer;

struct server {
    const settings *settings;
    camera *const *cameras;
    outbox *outbox;
    const endpoint *endpoint;
    worker *worker; /* set by server_run */
    int signal_fd;
    void *context, *router, *publisher, *monitor; /* libzmq's */
    connections *connections;
    GPtrArray *answers; /* answer * */
    protocol_limits limits;
    int64_t started_us;
    int last_percent;
    worker_state last_state;
    bool stopping;
    service *service;     /* NULL = none is told */
    const reload *reload; /* NULL = SIGHUP stops */
    bool had_terminal;    /* on standard input, when it was set */
    int64_t service_us;   /* when the service manager's facts were gathered last */
    struct server_gaps {
        int64_t video, audio;
    } * gaps; /* [n_cameras]: those told so far */
    int64_t gaps_told_us;
};

/* One message from a client. Takes nothing. */
typedef struct {
    connection_peer peer;
    int fd;
    int64_t received_us;
} server_sender;

/* server.c */
void server_reply(server *s, const connection_peer *peer, json_t *reply); /* takes reply */
/* The same with a second frame, which is not taken; NULL = none. A client too full for it is told `slow` instead. */
void server_reply_with(server *s, const connection_peer *peer, json_t *reply, GBytes *attached);
void server_reply_error(server *s, const connection_peer *peer, json_t *id, const protocol_error *e);
void server_publish(server *s, const char *event, const char *camera_name, json_t *body); /* takes body */
void server_read_monitor(server *s);
/* The camera a request names: found (index), or *e filled. The only camera needs no name. */
bool server_find_camera(const server *s, const protocol_request *r, size_t *index, protocol_error *e);
/* READY, or *e says loading, stopping or failed. */
bool server_is_ready(const server *s, protocol_error *e);

/* server_ask.c */
void server_ask(server *s, const server_sender *from, protocol_request *r);
void server_cancel(server *s, const server_sender *from, const protocol_request *r);
void server_take_answer(server *s, const outbox_answer *news);
void server_client_gone(server *s, const connection_peer *peer, int fd); /* peer NULL: by fd */
void server_end_all(server *s, const protocol_error *e);
void server_answer_free(void *data);
size_t server_count_open(const server *s, const connection_peer *peer); /* peer NULL: of all */

/* server_service.c */
void server_tick_service(server *s);
bool server_reload(server *s); /* false: SIGHUP said that the terminal is gone, so it is time to stop */

/* server_camera.c */
void server_frame(server *s, const server_sender *from, const protocol_request *r);
void server_pause(server *s, const server_sender *from, const protocol_request *r); /* and resume */
void server_forget(server *s, const server_sender *from, const protocol_request *r);
/* Tells segments without picture or sound since it was last called, at most once a second. */
void server_publish_gaps(server *s);

/* server_status.c */
json_t *server_status(server *s, const protocol_request *r, protocol_error *e); /* NULL: *e */
json_t *server_timeline(server *s, const protocol_request *r, protocol_error *e);
json_t *server_sources(server *s, const protocol_request *r, protocol_error *e);

#endif
