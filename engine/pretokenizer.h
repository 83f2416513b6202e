/* pretokenizer.h: cuts text into the pieces that BPE works on, by the regular expression of tokenizer.json. */
#ifndef ENGINE_PRETOKENIZER_H
#define ENGINE_PRETOKENIZER_H

#include "base/base.h"

typedef struct pretokenizer pretokenizer;               /* immutable; any thread */
typedef struct pretokenizer_cursor pretokenizer_cursor; /* one walk over one text */

/* pattern: as in tokenizer.json (Oniguruma's syntax); NULL = the text is one piece. FORMAT: it does not compile. */
omnid_status pretokenizer_create(pretokenizer **out, const char *pattern, omnid_error *err);
void pretokenizer_destroy(pretokenizer **p); /* *p may be NULL */

omnid_status pretokenizer_cursor_create(pretokenizer_cursor **out, const pretokenizer *p, omnid_error *err);
void pretokenizer_cursor_destroy(pretokenizer_cursor **c); /* *c may be NULL */
/* Starts over with n bytes of valid UTF-8, borrowed until the walk ends. */
void pretokenizer_cursor_set(pretokenizer_cursor *c, const char *text, size_t n);

/* The next piece ("isolated": matches and what lies between them). AGAIN: there is none. LIMIT: the expression needs more
 * memory than allowed. */
omnid_status pretokenizer_next(pretokenizer_cursor *c, const char **piece, size_t *n, omnid_error *err);

#endif
