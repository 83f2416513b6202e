/* server_ask.c: from an ask to its last event. */
#include "daemon/server_internal.h"
#include "daemon/settings.h"

#include <math.h>
#include <string.h>

void server_answer_free(void *data)
{
    answer *a = data;
    json_decref(a->id);
    json_decref(a->choices);
    g_free(a->retention);
    g_free(a->question);
    g_free(a);
}

static bool same_id(const json_t *a, const json_t *b)
{
    return (!a && !b) || (a && b && json_equal(a, b));
}

/* The open answer of that client and id; NULL = none. */
static answer *find_by_id(const server *s, const connection_peer *peer, const json_t *id)
{
    for (guint i = 0; i < s->answers->len; i++) {
        answer *a = s->answers->pdata[i];
        if (!a->over && connection_peer_equal(&a->peer, peer) && same_id(a->id, id))
            return a;
    }
    return NULL;
}

static answer *find_by_number(const server *s, uint64_t number)
{
    for (guint i = 0; i < s->answers->len; i++) {
        answer *a = s->answers->pdata[i];
        if (a->number == number)
            return a;
    }
    return NULL;
}

size_t server_count_open(const server *s, const connection_peer *peer)
{
    size_t n = 0;
    for (guint i = 0; i < s->answers->len; i++) {
        const answer *a = s->answers->pdata[i];
        n += !peer || connection_peer_equal(&a->peer, peer);
    }
    return n;
}

/* ------------------------------------------------------------------ the question */

static bool check_room(const server *s, const server_sender *from, const protocol_request *r, protocol_error *e)
{
    const options_daemon *o = &s->settings->daemon;
    if (find_by_id(s, &from->peer, r->id))
        return protocol_fail(e, PROTOCOL_DUPLICATE_ID,
                             r->id ? "id: this client's question of that id is still open"
                                   : "id: this client has an open question without id; give each its own");
    if (server_count_open(s, &from->peer) >= (size_t)o->answers_max_open_client)
        return protocol_fail(e, PROTOCOL_LIMIT, "this client has %lld open questions, the most it may have",
                             (long long)o->answers_max_open_client);
    if (server_count_open(s, NULL) >= (size_t)o->answers_max_open)
        return protocol_fail(e, PROTOCOL_LIMIT, "%lld questions are open, the most there may be; ask again in a moment",
                             (long long)o->answers_max_open);
    return true;
}

static double real_or(double value, double otherwise)
{
    return isnan(value) ? otherwise : value;
}

static int64_t int_or(int64_t value, int64_t otherwise)
{
    return value == PROTOCOL_UNSET ? otherwise : value;
}

/* The question's parameters: what it says, else the camera's, else the daemon's. */
static bool fill_params(const server *s, const options_camera *own, const protocol_request *r, int64_t received_us,
                        omnid_question_params *p, protocol_error *e)
{
    const options_daemon *o = &s->settings->daemon;
    omnid_error err = {0};
    unsigned modes = 0;
    *p = omnid_question_params_default();
    if (r->mode ? omnid_mode_parse(&p->mode, r->mode, &err) != OMNID_OK
                : settings_parse_modes(own->modes, &modes, &p->mode, &err) != OMNID_OK)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "mode: %s", err.text);
    p->question = r->question;
    p->history = r->history;
    p->n_history = r->n_history;
    p->policy = r->policy ? r->policy : own->policy;
    p->retention = r->retention ? r->retention : own->retention;
    if (settings_check_retention(p->retention, &err) != OMNID_OK)
        return protocol_fail(e, PROTOCOL_BAD_FIELD, "%s", err.text);
    p->first_prune = (int)int_or(r->first_prune, o->answers_first_prune);
    p->seed = (uint64_t)int_or(r->seed, 0);
    p->max_tokens = (int)int_or(r->max_tokens, o->answers_max_tokens);
    p->temperature = real_or(r->temperature, o->answers_temperature);
    p->top_p = real_or(r->top_p, o->answers_top_p);
    p->repetition_penalty = real_or(r->repetition_penalty, o->answers_repetition_penalty);
    p->deadline_us = received_us + int_or(r->deadline_ms, o->answers_deadline_ms) * 1000;
    p->last_s = real_or(r->last_s, 0);
    p->stop = r->stop;
    p->n_stop = r->n_stop;
    p->choices = r->choices;
    p->n_choices = r->n_choices;
    return true;
}

/* Asks with the open segment when it is wanted. That may close and become visible between its copy and the question: then
 * the engine refuses it, and a fresh copy is taken. */
static omnid_status ask_engine(camera *c, const omnid_question_params *p, bool now, uint64_t *number,
                               int64_t *frame_wall_us, omnid_error *err)
{
    omnid_status status = OMNID_OK;
    for (int attempt = 0; attempt < 2; attempt++) {
        omnid_segment *open = NULL;
        *frame_wall_us = 0;
        if (now)
            OMNID_TRY(camera_open_segment(c, &open, frame_wall_us, err));
        if (*frame_wall_us == 0)
            *frame_wall_us = camera_newest_frame(c);
        bool had_open = open != NULL;
        status = omnid_timeline_ask(camera_timeline(c), p, &open, number, err);
        omnid_segment_destroy(&open);
        if (status != OMNID_ARGUMENT || !had_open)
            break;
    }
    return status;
}

/* Open questions are counted here before the engine is asked, so a limit of the engine's is about the question itself. */
static protocol_code code_of_asking(omnid_status status)
{
    return status == OMNID_LIMIT ? PROTOCOL_TOO_LONG : protocol_code_of(status);
}

static void remember(server *s, const server_sender *from, const protocol_request *r, const omnid_question_params *p,
                     size_t index, uint64_t number, int64_t frame_wall_us)
{
    answer *a = g_new0(answer, 1);
    a->number = number;
    a->peer = from->peer;
    a->fd = from->fd;
    a->id = json_incref(r->id);
    a->camera = index;
    a->stream = !from->peer.req && r->stream != 0;
    a->choices = json_incref(json_object_get(r->json, "choices"));
    a->retention = g_strdup(p->retention);
    a->question = g_strdup(r->question);
    a->received_us = from->received_us;
    int64_t asked_wall_us = omnid_wall_us() - (omnid_clock_us() - from->received_us);
    a->frame_ago_us = frame_wall_us ? asked_wall_us - frame_wall_us : -1;
    if (frame_wall_us && a->frame_ago_us < 0) /* it came while the question was being read */
        a->frame_ago_us = 0;
    g_ptr_array_add(s->answers, a);
}

void server_ask(server *s, const server_sender *from, protocol_request *r)
{
    size_t index = 0;
    uint64_t number = 0;
    int64_t frame_wall_us = 0;
    protocol_error e = {0};
    omnid_question_params p;
    omnid_error err = {0};
    bool good = server_find_camera(s, r, &index, &e) && server_is_ready(s, &e) && check_room(s, from, r, &e) &&
                fill_params(s, &s->settings->cameras[index], r, from->received_us, &p, &e);
    if (good) {
        bool now = r->now < 0 ? s->settings->daemon.answers_now : r->now;
        omnid_status status = ask_engine(s->cameras[index], &p, now, &number, &frame_wall_us, &err);
        good = status == OMNID_OK;
        if (!good)
            protocol_fail(&e, code_of_asking(status), "camera %s: %s", s->settings->cameras[index].name, err.text);
    }
    if (!good) {
        server_reply_error(s, &from->peer, r->id, &e);
        return;
    }
    /* A connection that ended before this message may have had the same descriptor: its end must not end this answer. */
    server_read_monitor(s);
    remember(s, from, r, &p, index, number, frame_wall_us);
}

void server_cancel(server *s, const server_sender *from, const protocol_request *r)
{
    const answer *a = find_by_id(s, &from->peer, r->id);
    json_t *reply = protocol_reply("cancel", r->id);
    json_object_set_new(reply, "found", json_boolean(a != NULL));
    server_reply(s, &from->peer, reply);
    if (a)
        omnid_engine_cancel(worker_engine(s->worker), a->number);
}

/* ------------------------------------------------------------------ the answer */

/* The client has heard the last of it. The engine may still be at work: it is told, and awaited. */
static void give_up(server *s, answer *a)
{
    a->over = true;
    omnid_engine_cancel(worker_engine(s->worker), a->number);
}

static void end_with_error(server *s, answer *a, const protocol_error *e)
{
    json_t *message = protocol_reply_error(a->id, e);
    connections_end_slow(s->connections, &a->peer, a->number, message); /* held tokens are of no use any more */
    json_decref(message);
    a->over = true;
}

static void end_slow(server *s, answer *a)
{
    protocol_error e;
    protocol_fail(&e, PROTOCOL_SLOW,
                  "the client did not read: %lld KiB of its answers were held, the most there may be",
                  (long long)s->settings->daemon.answers_slow_client_kib);
    end_with_error(s, a, &e);
    give_up(s, a);
}

static void send_tokens(server *s, answer *a, const GString *text)
{
    if (!a->stream || a->over || text->len == 0)
        return;
    switch (connections_send_token(s->connections, &a->peer, a->number, a->id, text->str, text->len)) {
    case CONNECTION_GONE:
        server_client_gone(s, &a->peer, -1);
        return;
    case CONNECTION_SLOW:
        end_slow(s, a);
        return;
    case CONNECTION_SENT:
    case CONNECTION_HELD:
        return;
    }
}

static void publish_answer(server *s, const answer *a, const json_t *done)
{
    json_t *event = json_object();
    static const char *const copied[] = {"mode", "policy", "retention", "stop", "tokens", "last_segment"};
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        json_object_set(event, copied[i], json_object_get(done, copied[i]));
    json_object_set(event, "ttft_ms", json_object_get(json_object_get(done, "timings"), "ttft_ms"));
    if (s->settings->daemon.answers_publish_text) {
        json_object_set_new(event, "question", json_string(a->question));
        json_object_set(event, "text", json_object_get(done, "text"));
    }
    server_publish(s, "answer", s->settings->cameras[a->camera].name, event);
}

static void send_done(server *s, answer *a, const omnid_result *r)
{
    protocol_done d = {.id = a->id,
                       .camera = s->settings->cameras[a->camera].name,
                       .retention = a->retention,
                       .choices = a->choices,
                       .received_us = a->received_us,
                       .frame_ago_us = a->frame_ago_us,
                       .now_us = omnid_clock_us(),
                       .wall_us = omnid_wall_us()};
    json_t *done = protocol_reply_done(&d, r);
    publish_answer(s, a, done);
    if (!a->over) {
        connection_result result = connections_send(s->connections, &a->peer, done);
        if (result == CONNECTION_SLOW)
            end_slow(s, a);
        if (result == CONNECTION_GONE)
            server_client_gone(s, &a->peer, -1);
    }
    json_decref(done);
}

void server_take_answer(server *s, const outbox_answer *news)
{
    answer *a = find_by_number(s, news->answer);
    if (!a)
        return;
    send_tokens(s, a, news->text);
    if (news->state == OUTBOX_OPEN)
        return;
    if (news->state == OUTBOX_DONE) {
        send_done(s, a, news->result);
    } else if (!a->over) {
        protocol_error e;
        protocol_fail(&e, protocol_code_of(news->error.status), "%s", news->error.text);
        end_with_error(s, a, &e);
    }
    g_ptr_array_remove(s->answers, a);
}

void server_client_gone(server *s, const connection_peer *peer, int fd)
{
    for (guint i = 0; i < s->answers->len; i++) {
        answer *a = s->answers->pdata[i];
        if (!a->over && (peer ? connection_peer_equal(&a->peer, peer) : a->fd == fd && fd >= 0))
            give_up(s, a);
    }
}

void server_end_all(server *s, const protocol_error *e)
{
    for (guint i = 0; i < s->answers->len; i++) {
        answer *a = s->answers->pdata[i];
        if (a->over)
            continue;
        end_with_error(s, a, e);
        give_up(s, a);
    }
}
