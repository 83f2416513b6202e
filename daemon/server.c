/* server.c: the sockets and the loop. ZeroMQ is used from this thread only. */
#include "daemon/load.h"
#include "daemon/server_internal.h"
#include "daemon/service_log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum {
    SERVER_HWM = 32, /* messages libzmq holds for one client before it is full */
    SERVER_EVENTS_HWM = 1000,
    SERVER_MAX_MESSAGES = 64, /* read in one round, so that no client starves the rest */
    SERVER_HELD_MS = 20,      /* held messages are tried again after this */
    SERVER_IDLE_MS = 1000,
    SERVER_LINGER_MS = 200,
    SERVER_LOG_SKIPPED = 30, /* one line for so many skipped segments */
};

/* ------------------------------------------------------------------ sending */

static void release_bytes(void *data, void *hint)
{
    (void)data;
    g_bytes_unref(hint);
}

/* Sends bytes as a message's last frame without copying them; ZeroMQ's thread lets go of them. */
static int send_attached(void *socket, GBytes *bytes)
{
    zmq_msg_t message;
    gsize n = 0;
    void *data = (void *)g_bytes_get_data(bytes, &n);
    if (zmq_msg_init_data(&message, data, n, release_bytes, g_bytes_ref(bytes)) != 0) {
        g_bytes_unref(bytes);
        return -1;
    }
    int sent = zmq_msg_send(&message, socket, ZMQ_DONTWAIT);
    if (sent < 0)
        zmq_msg_close(&message);
    return sent;
}

static int send_message(void *user, const connection_peer *peer, const char *text, size_t n, GBytes *attached)
{
    server *s = user;
    /* Only the first frame can fail: libzmq checks the route and the room there. */
    if (zmq_send(s->router, peer->id, peer->n_id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return zmq_errno();
    if (peer->req && zmq_send(s->router, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return zmq_errno();
    if (zmq_send(s->router, text, n, ZMQ_DONTWAIT | (attached ? ZMQ_SNDMORE : 0)) < 0)
        return zmq_errno();
    return attached && send_attached(s->router, attached) < 0 ? zmq_errno() : 0;
}

void server_reply_with(server *s, const connection_peer *peer, json_t *reply, GBytes *attached)
{
    connection_result result = connections_send_with(s->connections, peer, reply, attached);
    if (result == CONNECTION_SLOW) {
        protocol_error e;
        protocol_fail(&e, PROTOCOL_SLOW,
                      "the client did not read, and this reply would be more than the %lld KiB that are held for it",
                      (long long)s->settings->daemon.answers_slow_client_kib);
        json_t *error = protocol_reply_error(json_object_get(reply, "id"), &e);
        result = connections_end_slow(s->connections, peer, 0, error);
        json_decref(error);
    }
    json_decref(reply);
    if (result == CONNECTION_GONE)
        server_client_gone(s, peer, -1);
}

void server_reply(server *s, const connection_peer *peer, json_t *reply)
{
    server_reply_with(s, peer, reply, NULL);
}

void server_reply_error(server *s, const connection_peer *peer, json_t *id, const protocol_error *e)
{
    server_reply(s, peer, protocol_reply_error(id, e));
}

void server_publish(server *s, const char *event, const char *camera_name, json_t *body)
{
    char topic[96];
    int n = snprintf(topic, sizeof topic, "%s/%s", event, camera_name ? camera_name : "");
    json_object_set_new(body, "event", json_string(event));
    if (camera_name)
        json_object_set_new(body, "camera", json_string(camera_name));
    char *line = protocol_text(body);
    if (line && zmq_send(s->publisher, topic, (size_t)n, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_send(s->publisher, line, strlen(line), ZMQ_DONTWAIT); /* a subscriber that is full misses it */
    free(line);
    json_decref(body);
}

/* ------------------------------------------------------------------ requests */

bool server_find_camera(const server *s, const protocol_request *r, size_t *index, protocol_error *e)
{
    if (!r->camera && s->settings->n_cameras == 1) {
        *index = 0;
        return true;
    }
    GString *names = g_string_new(NULL);
    bool found = false;
    for (size_t i = 0; i < s->settings->n_cameras; i++) {
        if (r->camera && strcmp(s->settings->cameras[i].name, r->camera) == 0) {
            *index = i;
            found = true;
        }
        g_string_append_printf(names, "%s%s", i ? ", " : "", s->settings->cameras[i].name);
    }
    if (!found && r->camera)
        protocol_fail(e, PROTOCOL_UNKNOWN_CAMERA, "no camera '%.64s'; there is %.300s", r->camera, names->str);
    else if (!found)
        protocol_fail(e, PROTOCOL_BAD_FIELD, "camera: want one of %.300s, found nothing", names->str);
    g_string_free(names, TRUE);
    return found;
}

bool server_is_ready(const server *s, protocol_error *e)
{
    double percent = 0;
    if (s->stopping)
        return protocol_fail(e, PROTOCOL_STOPPING, "the daemon is stopping");
    worker_state state = worker_get_state(s->worker, &percent);
    if (state == WORKER_READY)
        return true;
    if (state == WORKER_FAILED) {
        omnid_error err;
        worker_failure(s->worker, &err);
        return protocol_fail(e, PROTOCOL_FAILED, "%s", err.text);
    }
    protocol_fail(e, PROTOCOL_LOADING, "the model is loading: %.0f percent; ask again in a moment", percent);
    e->percent = percent;
    return false;
}

static void read_op(server *s, const server_sender *from, const protocol_request *r)
{
    protocol_error e;
    json_t *reply = r->op == PROTOCOL_STATUS     ? server_status(s, r, &e)
                    : r->op == PROTOCOL_TIMELINE ? server_timeline(s, r, &e)
                                                 : server_sources(s, r, &e);
    if (reply)
        server_reply(s, &from->peer, reply);
    else
        server_reply_error(s, &from->peer, r->id, &e);
}

static void handle(server *s, const server_sender *from, const char *text, size_t n)
{
    protocol_request r;
    protocol_error e;
    if (!protocol_parse(&r, text, n, &s->limits, &e))
        server_reply_error(s, &from->peer, r.id, &e);
    else if (r.op == PROTOCOL_ASK)
        server_ask(s, from, &r);
    else if (r.op == PROTOCOL_CANCEL)
        server_cancel(s, from, &r);
    else if (r.op == PROTOCOL_FORGET)
        server_forget(s, from, &r);
    else if (r.op == PROTOCOL_FRAME)
        server_frame(s, from, &r);
    else if (r.op == PROTOCOL_PAUSE || r.op == PROTOCOL_RESUME)
        server_pause(s, from, &r);
    else
        read_op(s, from, &r);
    protocol_request_clear(&r);
}

/* The frames of one message: id of the connection, an empty one (REQ), text. What comes after is read and left. */
static void read_frames(server *s, zmq_msg_t *first)
{
    server_sender from = {.fd = -1, .received_us = omnid_clock_us()};
    size_t n_id = zmq_msg_size(first);
    from.peer.n_id = (uint8_t)n_id;
    memcpy(from.peer.id, zmq_msg_data(first), from.peer.n_id);
    zmq_msg_t frame, body;
    bool more = zmq_msg_more(first), have = false, extra = false;
    zmq_msg_init(&body);
    while (more) {
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, s->router, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&frame);
            break;
        }
        more = zmq_msg_more(&frame);
        if (!have && !from.peer.req && zmq_msg_size(&frame) == 0 && more) {
            from.peer.req = true;
        } else if (!have) {
            zmq_msg_move(&body, &frame);
            have = true;
        } else {
            extra = true;
        }
        zmq_msg_close(&frame);
    }
    from.fd = have ? zmq_msg_get(&body, ZMQ_SRCFD) : -1;
    protocol_error e;
    if (extra) {
        protocol_fail(&e, PROTOCOL_BAD_JSON, "want one frame with one JSON object, found more frames");
        server_reply_error(s, &from.peer, NULL, &e);
    } else {
        handle(s, &from, zmq_msg_data(&body), zmq_msg_size(&body));
    }
    zmq_msg_close(&body);
}

static void read_router(server *s)
{
    for (int i = 0; i < SERVER_MAX_MESSAGES; i++) {
        zmq_msg_t first;
        zmq_msg_init(&first);
        if (zmq_msg_recv(&first, s->router, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&first);
            return;
        }
        read_frames(s, &first);
        zmq_msg_close(&first);
    }
}

/* The monitor names a connection by its file descriptor as soon as the peer hangs up: a client that waits for one reply
 * and vanishes would otherwise be noticed only when its answer is ready. */
void server_read_monitor(server *s)
{
    for (;;) {
        uint8_t event[6];
        char address[256];
        if (zmq_recv(s->monitor, event, sizeof event, ZMQ_DONTWAIT) < (int)sizeof event)
            return;
        zmq_recv(s->monitor, address, sizeof address, ZMQ_DONTWAIT);
        uint16_t kind;
        uint32_t fd;
        memcpy(&kind, event, sizeof kind);
        memcpy(&fd, event + 2, sizeof fd);
        if (kind == ZMQ_EVENT_DISCONNECTED)
            server_client_gone(s, NULL, (int)fd);
    }
}

/* ------------------------------------------------------------------ news of the engine and the cameras */

static void publish_news(server *s, const outbox_news *news)
{
    const char *name = news->kind == OUTBOX_HEALTH ? NULL : s->settings->cameras[news->camera].name;
    switch (news->kind) {
    case OUTBOX_SEGMENT:
        server_publish(s, "segment", name, protocol_segment(&news->segment));
        return;
    case OUTBOX_SOURCE:
        service_log(news->state == CAPTURE_LOST ? OMNID_LOG_WARNING : OMNID_LOG_INFO, name,
                    news->video ? "video" : "audio", "camera %s: %s %s%s%s", name, news->video ? "video" : "audio",
                    capture_state_name(news->state), news->text[0] ? ": " : "", news->text);
        server_publish(s, "source", name,
                       json_pack("{s:s, s:s, s:s}", "source", news->video ? "video" : "audio", "state",
                                 capture_state_name(news->state), "message", news->text));
        return;
    case OUTBOX_SKIPPED:
        if (news->n_skipped % SERVER_LOG_SKIPPED == 1)
            service_log(OMNID_LOG_WARNING, name, NULL, "camera %s: %s (%lld skipped so far)", name, news->text,
                        (long long)news->n_skipped);
        server_publish(s, "health", name,
                       json_pack("{s:s, s:I, s:s}", "state", "behind", "segment", (json_int_t)news->skipped, "message",
                                 news->text));
        return;
    case OUTBOX_LOAD:
        service_log(OMNID_LOG_WARNING, name, NULL, "camera %s: %s", name, news->text);
        server_publish(s, "health", name,
                       json_pack("{s:s, s:i, s:s, s:s}", "state", "load", "step", news->load, "load",
                                 load_name(news->load), "message", news->text));
        return;
    case OUTBOX_HEALTH:
        server_publish(s, "health", NULL, json_pack("{s:s, s:s}", "state", "failing", "message", news->text));
        return;
    }
}

static void publish_state(server *s)
{
    double percent = 0;
    worker_state state = worker_get_state(s->worker, &percent);
    if (state == s->last_state && (int)percent == s->last_percent)
        return;
    if (state == WORKER_READY && s->last_state != WORKER_READY)
        omnid_log(OMNID_LOG_INFO, "ready: %s on %s, asked at %s", omnid_model_get_info(worker_model(s->worker)).name,
                  omnid_model_get_info(worker_model(s->worker)).backend, s->endpoint->ask);
    s->last_state = state;
    s->last_percent = (int)percent;
    const char *name = state == WORKER_READY ? "ready" : state == WORKER_LOADING ? "loading" : "failed";
    server_publish(s, "health", NULL, json_pack("{s:s, s:f}", "state", name, "percent", percent));
}

static void take_outbox(server *s)
{
    GPtrArray *answers, *news;
    int64_t n_dropped = 0;
    outbox_take(s->outbox, &answers, &news, &n_dropped);
    publish_state(s);
    for (guint i = 0; i < answers->len; i++)
        server_take_answer(s, answers->pdata[i]);
    for (guint i = 0; i < news->len; i++)
        publish_news(s, news->pdata[i]);
    if (n_dropped > 0)
        omnid_log(OMNID_LOG_WARNING, "%lld events were not published: the server was too slow", (long long)n_dropped);
    g_ptr_array_unref(answers);
    g_ptr_array_unref(news);
}

/* ------------------------------------------------------------------ the loop */

static void on_gone(void *user, const connection_peer *peer)
{
    server_client_gone(user, peer, -1);
}

/* True when it is time to stop. */
static bool read_signal(server *s)
{
    struct signalfd_siginfo info;
    if (read(s->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return false;
    if (info.ssi_signo == SIGHUP && server_reload(s))
        return false;
    omnid_log(OMNID_LOG_INFO, "stopping on signal %u", info.ssi_signo);
    return true;
}

static int stop(server *s, int exit_code, const protocol_error *e)
{
    s->stopping = true;
    if (s->service)
        service_stop(s->service, e->text);
    server_end_all(s, e);
    connections_flush(s->connections, on_gone, s);
    server_publish(s, "health", NULL, json_pack("{s:s, s:s}", "state", "stopping", "message", e->text));
    return exit_code;
}

int server_run(server *s, worker *w)
{
    s->worker = w;
    protocol_error e;
    zmq_pollitem_t items[] = {{s->router, 0, ZMQ_POLLIN, 0},
                              {s->monitor, 0, ZMQ_POLLIN, 0},
                              {NULL, outbox_fd(s->outbox), ZMQ_POLLIN, 0},
                              {NULL, s->signal_fd, ZMQ_POLLIN, 0}};
    publish_state(s);
    for (;;) {
        server_tick_service(s);
        int timeout_ms = connections_has_held(s->connections) ? SERVER_HELD_MS : SERVER_IDLE_MS;
        timeout_ms = s->service ? service_wait_ms(s->service, timeout_ms) : timeout_ms;
        if (zmq_poll(items, 4, timeout_ms) < 0 && zmq_errno() != EINTR) {
            omnid_log(OMNID_LOG_ERROR, "poll: %s", zmq_strerror(zmq_errno()));
            protocol_fail(&e, PROTOCOL_STOPPING, "the daemon is stopping");
            return stop(s, EXIT_SYSTEM, &e);
        }
        if (items[3].revents && read_signal(s)) {
            protocol_fail(&e, PROTOCOL_STOPPING, "the daemon is stopping");
            return stop(s, EXIT_OK, &e);
        }
        if (items[1].revents)
            server_read_monitor(s);
        if (items[2].revents)
            take_outbox(s);
        if (items[0].revents)
            read_router(s);
        server_publish_gaps(s);
        connections_flush(s->connections, on_gone, s);
        if (worker_get_state(w, NULL) == WORKER_FAILED) {
            omnid_error err;
            int exit_code = worker_failure(w, &err);
            protocol_fail(&e, PROTOCOL_FAILED, "%s", err.text);
            return stop(s, exit_code, &e);
        }
    }
}

/* ------------------------------------------------------------------ both ends */

static omnid_status bind_socket(void *socket, const char *path, omnid_error *err)
{
    char address[128];
    snprintf(address, sizeof address, "ipc://%s", path);
    mode_t old = umask(0117); /* the mode must never be wider, not even between bind and chmod: 0660 */
    int bound = zmq_bind(socket, address);
    int error = zmq_errno();
    umask(old);
    return bound == 0 ? OMNID_OK : omnid_fail(err, OMNID_IO, "cannot bind %s: %s", path, zmq_strerror(error));
}

static void set_int(void *socket, int name, int value)
{
    zmq_setsockopt(socket, name, &value, sizeof value);
}

static omnid_status open_sockets(server *s, omnid_error *err)
{
    s->context = zmq_ctx_new();
    s->router = s->context ? zmq_socket(s->context, ZMQ_ROUTER) : NULL;
    s->publisher = s->context ? zmq_socket(s->context, ZMQ_PUB) : NULL;
    s->monitor = s->context ? zmq_socket(s->context, ZMQ_PAIR) : NULL;
    if (!s->router || !s->publisher || !s->monitor)
        return omnid_fail(err, OMNID_IO, "cannot make the sockets: %s", zmq_strerror(zmq_errno()));
    set_int(s->router, ZMQ_ROUTER_MANDATORY, 1);
    set_int(s->router, ZMQ_SNDHWM, SERVER_HWM);
    set_int(s->router, ZMQ_RCVHWM, SERVER_HWM);
    set_int(s->router, ZMQ_LINGER, SERVER_LINGER_MS);
    set_int(s->publisher, ZMQ_SNDHWM, SERVER_EVENTS_HWM);
    set_int(s->publisher, ZMQ_LINGER, SERVER_LINGER_MS);
    set_int(s->monitor, ZMQ_LINGER, 0);
    /* A little over the limit is answered with an error; far over it libzmq drops the connection unread. */
    int64_t most = (int64_t)s->limits.max_message_bytes * 4;
    zmq_setsockopt(s->router, ZMQ_MAXMSGSIZE, &most, sizeof most);
    if (zmq_socket_monitor(s->router, "inproc://monitor", ZMQ_EVENT_DISCONNECTED) != 0 ||
        zmq_connect(s->monitor, "inproc://monitor") != 0)
        return omnid_fail(err, OMNID_IO, "cannot watch the socket: %s", zmq_strerror(zmq_errno()));
    OMNID_TRY(bind_socket(s->publisher, s->endpoint->events, err));
    return bind_socket(s->router, s->endpoint->ask, err);
}

omnid_status server_create(server **out, const settings *configured, camera *const *cameras, outbox *o,
                           const endpoint *e, int signal_fd, omnid_error *err)
{
    server *s = g_new0(server, 1);
    s->settings = configured;
    s->cameras = cameras;
    s->outbox = o;
    s->endpoint = e;
    s->signal_fd = signal_fd;
    s->started_us = omnid_clock_us();
    s->last_percent = -1;
    s->limits = (protocol_limits){.max_message_bytes = (size_t)configured->daemon.answers_max_message_kib * 1024,
                                  .max_question_bytes = (size_t)configured->daemon.answers_max_question_bytes,
                                  .max_deadline_ms = configured->daemon.answers_max_deadline_ms};
    s->gaps = g_new0(struct server_gaps, configured->n_cameras);
    s->answers = g_ptr_array_new_with_free_func(server_answer_free);
    s->connections = connections_create(send_message, s, (size_t)configured->daemon.answers_slow_client_kib * 1024);
    omnid_status status = open_sockets(s, err);
    if (status != OMNID_OK)
        server_destroy(&s);
    *out = s;
    return status;
}

void server_destroy(server **s)
{
    if (!*s)
        return;
    if ((*s)->router)
        zmq_socket_monitor((*s)->router, NULL, 0);
    void *sockets[] = {(*s)->router, (*s)->publisher, (*s)->monitor};
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
        if (sockets[i])
            zmq_close(sockets[i]);
    if ((*s)->context)
        zmq_ctx_term((*s)->context);
    connections_destroy(&(*s)->connections);
    g_ptr_array_unref((*s)->answers);
    g_free((*s)->gaps);
    g_clear_pointer(s, g_free);
}
