/* bpe.h: byte-pair merges by rank, as the `tokenizers` library orders them: lowest rank first, then leftmost. */
#ifndef ENGINE_BPE_H
#define ENGINE_BPE_H

#include "base/base.h"

typedef struct bpe bpe;           /* immutable once filled; any thread */
typedef struct bpe_work bpe_work; /* room for one word at a time; one thread */

/* byte_ids[b]: id of the token that is byte b alone. n_merges: room in the table. NOMEM. */
omnid_status bpe_create(bpe **out, const int32_t byte_ids[256], size_t n_merges, omnid_error *err);
void bpe_destroy(bpe **b); /* *b may be NULL */
/* left, right -> merged with this rank; a pair given twice keeps the later rank. At most n_merges calls. */
void bpe_add(bpe *b, int32_t left, int32_t right, int32_t rank, int32_t merged);

omnid_status bpe_work_create(bpe_work **out, omnid_error *err);
void bpe_work_destroy(bpe_work **w); /* *w may be NULL */

/* Ids of n bytes of one word, n < 2^31. *ids is borrowed from w until the next call. n log n. */
omnid_status bpe_encode(const bpe *b, bpe_work *w, const char *word, size_t n, const int32_t **ids, size_t *n_ids,
                        omnid_error *err);

#endif
