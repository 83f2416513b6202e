/* normalise.h: UTF-8 validity and Unicode's normal form C. */
#ifndef ENGINE_NORMALISE_H
#define ENGINE_NORMALISE_H

#include "base/base.h"

/* Offset of the first byte that is not part of well-formed UTF-8 (surrogates and overlong forms are not); n = all is well. */
size_t normalise_valid(const char *text, size_t n);

/* NFC of n bytes of valid UTF-8. *out is malloc'ed (free) and terminated; time is n log n for any text. NOMEM. */
omnid_status normalise_nfc(char **out, size_t *n_out, const char *text, size_t n, omnid_error *err);

#endif
