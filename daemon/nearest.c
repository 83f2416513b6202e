/* nearest.c: Levenshtein's distance, one row at a time. */
#include "daemon/nearest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum { NEAREST_BYTES = 64 };

static int nearest_distance(const char *a, const char *b)
{
    size_t n_a = strnlen(a, NEAREST_BYTES), n_b = strnlen(b, NEAREST_BYTES);
    int row[NEAREST_BYTES + 1];
    for (size_t j = 0; j <= n_b; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= n_a; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n_b; j++) {
            int above = row[j];
            int replaced = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            int moved = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = replaced < moved ? replaced : moved;
            diagonal = above;
        }
    }
    return row[n_b];
}

const char *nearest_word(const char *word, const char *const *names, size_t n)
{
    const char *best = "";
    int best_distance = INT32_MAX;
    for (size_t i = 0; i < n; i++) {
        int distance = nearest_distance(word, names[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best;
}
