/* utf8_stream.h: the text of an answer, token by token: bytes in, whole UTF-8 characters out, stop strings held back. */
#ifndef ENGINE_UTF8_STREAM_H
#define ENGINE_UTF8_STREAM_H

#include "base/base.h"

enum { UTF8_STREAM_MAX_STOPS = 16, UTF8_STREAM_MAX_STOP_BYTES = 1024 };

typedef struct utf8_stream utf8_stream;

/* stop: n_stop strings, copied; empty ones are refused, as are more or longer ones than the limits (LIMIT). */
omnid_status utf8_stream_create(utf8_stream **out, const char *const *stop, int n_stop, omnid_error *err);
void utf8_stream_destroy(utf8_stream **u); /* *u may be NULL */

/* Takes n bytes of one token. *text (borrowed until the next call; terminated) is what may be shown now, *n_text its
 * bytes: whole characters, invalid bytes as U+FFFD (one for each maximal ill-formed part, as Rust's and Python's lossy
 * decoding do), nothing that could still become a stop string. *stopped: a stop string is complete, *text ends before it and
 * later calls give nothing. NOMEM. */
omnid_status utf8_stream_push(utf8_stream *u, const char *bytes, size_t n, const char **text, size_t *n_text,
                              bool *stopped, omnid_error *err);

/* The end of the answer: what was held back, an unfinished character as U+FFFD. */
omnid_status utf8_stream_end(utf8_stream *u, const char **text, size_t *n_text, bool *stopped, omnid_error *err);

#endif
