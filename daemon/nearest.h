/* nearest.h: the word a person probably meant. */
#ifndef OMNID_DAEMON_NEAREST_H
#define OMNID_DAEMON_NEAREST_H

#include <stddef.h>

/* The one of names[n] that takes the fewest insertions, deletions and replacements of bytes to become word; the first of
 * equals; "" when n is 0. Case is ignored. Words are compared by their first 64 bytes. Borrowed from names. */
const char *nearest_word(const char *word, const char *const *names, size_t n);

#endif
