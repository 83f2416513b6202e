/* connection.h: messages to clients that may be gone, or may not read.
 *
 * The ROUTER socket is mandatory and never waited for: a send says at once that the client is gone (EHOSTUNREACH) or full
 * (EAGAIN). What a full client should get is held here: tokens of one answer in one growing entry, everything else in
 * order, until it reads or the limit is passed. Clients without open answers and without held messages are not kept. */
#ifndef OMNID_DAEMON_CONNECTION_H
#define OMNID_DAEMON_CONNECTION_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct connections connections;

/* Who asked: the ROUTER's id of the connection, and whether an empty frame came first (REQ). Ids are at most 255 bytes. */
typedef struct {
    uint8_t id[255];
    uint8_t n_id;
    bool req;
} connection_peer;

/* Sends one message without waiting: 0, or EAGAIN (full), EHOSTUNREACH (gone), any other errno (taken as gone). attached:
 * a second frame behind the text; NULL = none. */
typedef int (*connection_send)(void *user, const connection_peer *peer, const char *text, size_t n, GBytes *attached);

typedef enum {
    CONNECTION_SENT,
    CONNECTION_HELD, /* full: kept, sent by connections_flush when there is room */
    CONNECTION_SLOW, /* full and past the limit: not kept. End the answer. */
    CONNECTION_GONE  /* nothing of it is kept any more */
} connection_result;

/* limit_bytes of held messages a client. */
connections *connections_create(connection_send send, void *user, size_t limit_bytes);
void connections_destroy(connections **c);

/* Sends or holds a JSON object. `answer` != 0 with text != NULL is a token event: a held one of the same answer grows. */
connection_result connections_send(connections *c, const connection_peer *peer, json_t *message);
/* The same with a second frame of any bytes, which count as the text does; NULL = none. */
connection_result connections_send_with(connections *c, const connection_peer *peer, json_t *message, GBytes *attached);
connection_result connections_send_token(connections *c, const connection_peer *peer, uint64_t answer, json_t *id,
                                         const char *text, size_t n);
/* Drops the held tokens of an answer (it ends with an error instead); its closing message then goes past the limit.
 * answer 0: nothing is dropped. */
connection_result connections_end_slow(connections *c, const connection_peer *peer, uint64_t answer, json_t *message);

/* Tries the held messages again. on_gone is called for each client found gone, after what was held for it is freed. */
void connections_flush(connections *c, void (*on_gone)(void *user, const connection_peer *peer), void *user);
bool connections_has_held(const connections *c);
size_t connections_held_bytes(const connections *c); /* of all clients */

bool connection_peer_equal(const connection_peer *a, const connection_peer *b); /* by id */

#endif
