/* sources.c: the table of sources. A new kind is a new file and a line here. */
#include "capture/source.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { N_BUILT_IN = 4, N_ADDED = 8 };

static const source_ops *table[N_BUILT_IN + N_ADDED] = {
    &source_test,
    &source_file,
    &source_v4l2,
    &source_mic,
};
static int n_sources = N_BUILT_IN;

static size_t scheme_length(const char *uri)
{
    const char *colon = strchr(uri, ':');
    return colon ? (size_t)(colon - uri) : 0;
}

const char *source_rest(const char *uri)
{
    return uri + scheme_length(uri) + 1;
}

omnid_status sources_find(const source_ops **out, const char *uri, omnid_error *err)
{
    size_t n = scheme_length(uri);
    for (int i = 0; i < n_sources; i++)
        if (n == strlen(table[i]->scheme) && !strncmp(uri, table[i]->scheme, n)) {
            *out = table[i];
            return OMNID_OK;
        }
    char known[256] = "";
    for (int i = 0; i < n_sources; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s:", i ? ", " : "", table[i]->scheme);
    }
    return omnid_fail(err, OMNID_UNSUPPORTED, "source '%.200s': no such kind of source; known are %s", uri, known);
}

omnid_status sources_add(const source_ops *ops)
{
    if (n_sources == N_BUILT_IN + N_ADDED)
        return OMNID_LIMIT;
    table[n_sources++] = ops;
    return OMNID_OK;
}

static capture_scheme schemes[N_BUILT_IN + 1];

static void fill_schemes(void)
{
    for (int i = 0; i < N_BUILT_IN; i++)
        schemes[i] = (capture_scheme){table[i]->scheme, table[i]->description};
}

const capture_scheme *omnid_capture_schemes(int *n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_schemes);
    *n = N_BUILT_IN;
    return schemes;
}
