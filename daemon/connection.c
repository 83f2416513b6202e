/* connection.c: one queue of held messages for each client that does not read. */
#include "daemon/connection.h"
#include "daemon/protocol.h"

#include <errno.h>
#include <string.h>

/* A held message: either finished text, or a token event that may still grow. */
typedef struct {
    uint64_t answer;  /* != 0: token event */
    json_t *id;       /* of the token event */
    GString *text;    /* of the token event, or the whole message */
    GBytes *attached; /* behind a whole message; NULL = none */
    bool req;
} held;

/* CONNECTION_MAX_CLOSING: closing errors may pass the byte limit, one an answer, but not without end. */
enum { CONNECTION_MAX_CLIENTS = 1024, CONNECTION_MAX_CLOSING = 64 };

/* Bytes of one token event: libzmq counts messages, not bytes, so long texts would get past its limit. */
enum { CONNECTION_MAX_TOKEN = 32768 };

typedef struct {
    connection_peer peer;
    GQueue messages; /* held * */
    size_t n_bytes;
    int n_closing;
} client;

struct connections {
    connection_send send;
    void *user;
    size_t limit_bytes;
    GPtrArray *clients; /* client * that have held messages */
};

static void held_free(void *data)
{
    held *h = data;
    json_decref(h->id);
    g_clear_pointer(&h->attached, g_bytes_unref);
    g_string_free(h->text, TRUE);
    g_free(h);
}

static void client_free(void *data)
{
    client *c = data;
    g_queue_clear_full(&c->messages, held_free);
    g_free(c);
}

connections *connections_create(connection_send send, void *user, size_t limit_bytes)
{
    connections *c = g_new0(connections, 1);
    c->send = send;
    c->user = user;
    c->limit_bytes = limit_bytes;
    c->clients = g_ptr_array_new_with_free_func(client_free);
    return c;
}

void connections_destroy(connections **c)
{
    if (!*c)
        return;
    g_ptr_array_unref((*c)->clients);
    g_clear_pointer(c, g_free);
}

bool connection_peer_equal(const connection_peer *a, const connection_peer *b)
{
    return a->n_id == b->n_id && memcmp(a->id, b->id, a->n_id) == 0;
}

static client *find(const connections *c, const connection_peer *peer)
{
    for (guint i = 0; i < c->clients->len; i++) {
        client *one = c->clients->pdata[i];
        if (connection_peer_equal(&one->peer, peer))
            return one;
    }
    return NULL;
}

static client *find_or_add(connections *c, const connection_peer *peer)
{
    client *one = find(c, peer);
    if (one || c->clients->len >= CONNECTION_MAX_CLIENTS)
        return one;
    one = g_new0(client, 1);
    one->peer = *peer;
    g_queue_init(&one->messages);
    g_ptr_array_add(c->clients, one);
    return one;
}

static char *token_text(json_t *id, const char *text, size_t n)
{
    json_t *event = json_pack("{s:s, s:s%}", "event", "token", "text", text, n);
    if (id && event)
        json_object_set(event, "id", id);
    char *line = event ? protocol_text(event) : NULL;
    json_decref(event);
    return line;
}

/* The most bytes of text, at most CONNECTION_MAX_TOKEN, that end with a whole character. */
static size_t token_part(const char *text, size_t n)
{
    if (n <= CONNECTION_MAX_TOKEN)
        return n;
    size_t part = CONNECTION_MAX_TOKEN;
    while (part > CONNECTION_MAX_TOKEN - 4 && ((unsigned char)text[part] & 0xc0) == 0x80)
        part--;
    return part;
}

/* Sends text in token events until all is sent or one fails: 0, EAGAIN, or another errno = gone. *n_sent bytes went. */
static int send_text(connections *c, const connection_peer *peer, json_t *id, const char *text, size_t n,
                     size_t *n_sent)
{
    int error = 0;
    *n_sent = 0;
    while (*n_sent < n && error == 0) {
        size_t part = token_part(text + *n_sent, n - *n_sent);
        char *line = token_text(id, text + *n_sent, part);
        error = line ? c->send(c->user, peer, line, strlen(line), NULL) : 0; /* text that is no UTF-8 is left out */
        free(line);
        *n_sent += error == 0 ? part : 0;
    }
    return error;
}

/* 0, EAGAIN, or another errno = gone. What was sent of a token event is taken out of it. */
static int send_held(connections *c, client *one, held *h)
{
    connection_peer to = one->peer;
    size_t n_sent = 0;
    to.req = h->req;
    int error = h->answer ? send_text(c, &to, h->id, h->text->str, h->text->len, &n_sent)
                          : c->send(c->user, &to, h->text->str, h->text->len, h->attached);
    g_string_erase(h->text, 0, (gssize)n_sent);
    one->n_bytes -= n_sent;
    return error;
}

static size_t held_bytes(const held *h)
{
    return h->text->len + (h->attached ? g_bytes_get_size(h->attached) : 0);
}

/* Keeps a message for a full client; forced: a closing error, small, past the byte limit. */
static connection_result hold(connections *c, const connection_peer *peer, uint64_t answer, json_t *id,
                              const char *text, size_t n, GBytes *attached, bool forced)
{
    client *one = find_or_add(c, peer);
    size_t n_all = n + (attached ? g_bytes_get_size(attached) : 0);
    if (!one)
        return CONNECTION_SLOW;
    if (forced ? ++one->n_closing > CONNECTION_MAX_CLOSING : one->n_bytes + n_all > c->limit_bytes)
        return CONNECTION_SLOW;
    one->n_bytes += n_all;
    for (GList *l = one->messages.tail; l && answer; l = l->prev) {
        held *h = l->data;
        if (h->answer == answer) {
            g_string_append_len(h->text, text, (gssize)n);
            return CONNECTION_HELD;
        }
    }
    held *h = g_new0(held, 1);
    h->answer = answer;
    h->id = json_incref(id);
    h->text = g_string_new_len(text, (gssize)n);
    h->attached = attached ? g_bytes_ref(attached) : NULL;
    h->req = peer->req;
    g_queue_push_tail(&one->messages, h);
    return CONNECTION_HELD;
}

/* Sends at once unless the client already has held messages, which go first. */
static connection_result send_or_hold(connections *c, const connection_peer *peer, const char *line, GBytes *attached,
                                      bool forced)
{
    int error = find(c, peer) ? EAGAIN : c->send(c->user, peer, line, strlen(line), attached);
    if (error == EAGAIN)
        return hold(c, peer, 0, NULL, line, strlen(line), attached, forced);
    return error == 0 ? CONNECTION_SENT : CONNECTION_GONE;
}

connection_result connections_send_with(connections *c, const connection_peer *peer, json_t *message, GBytes *attached)
{
    char *line = protocol_text(message);
    if (!line)
        return CONNECTION_SLOW;
    connection_result result = send_or_hold(c, peer, line, attached, false);
    free(line);
    return result;
}

connection_result connections_send(connections *c, const connection_peer *peer, json_t *message)
{
    return connections_send_with(c, peer, message, NULL);
}

connection_result connections_send_token(connections *c, const connection_peer *peer, uint64_t answer, json_t *id,
                                         const char *text, size_t n)
{
    if (find(c, peer))
        return hold(c, peer, answer, id, text, n, NULL, false);
    size_t n_sent = 0;
    int error = send_text(c, peer, id, text, n, &n_sent);
    if (error == EAGAIN)
        return hold(c, peer, answer, id, text + n_sent, n - n_sent, NULL, false);
    return error == 0 ? CONNECTION_SENT : CONNECTION_GONE;
}

connection_result connections_end_slow(connections *c, const connection_peer *peer, uint64_t answer, json_t *message)
{
    client *one = find(c, peer);
    for (GList *l = one && answer ? one->messages.head : NULL, *next; l; l = next) {
        held *h = l->data;
        next = l->next;
        if (h->answer != answer)
            continue;
        one->n_bytes -= held_bytes(h);
        held_free(h);
        g_queue_delete_link(&one->messages, l);
    }
    char *line = protocol_text(message);
    if (!line)
        return CONNECTION_SLOW;
    connection_result result = send_or_hold(c, peer, line, NULL, true);
    free(line);
    return result;
}

/* True when the client is done with: everything sent, or gone (*gone). */
static bool flush_client(connections *c, client *one, bool *gone)
{
    while (!g_queue_is_empty(&one->messages)) {
        held *h = one->messages.head->data;
        int error = send_held(c, one, h);
        if (error == EAGAIN)
            return false;
        if (error != 0) {
            *gone = true;
            return true;
        }
        one->n_bytes -= held_bytes(h);
        held_free(g_queue_pop_head(&one->messages));
    }
    return true;
}

void connections_flush(connections *c, void (*on_gone)(void *user, const connection_peer *peer), void *user)
{
    for (guint i = c->clients->len; i > 0; i--) {
        client *one = c->clients->pdata[i - 1];
        bool gone = false;
        if (!flush_client(c, one, &gone))
            continue;
        connection_peer peer = one->peer;
        g_ptr_array_remove_index(c->clients, i - 1);
        if (gone)
            on_gone(user, &peer);
    }
}

bool connections_has_held(const connections *c)
{
    return c->clients->len > 0;
}

size_t connections_held_bytes(const connections *c)
{
    size_t n = 0;
    for (guint i = 0; i < c->clients->len; i++)
        n += ((client *)c->clients->pdata[i])->n_bytes;
    return n;
}
