/* sources.c: the table of sources. A new kind is a new file and a line here. */
#include "capture/source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const source_ops *const built_in[] = {
    &source_test,
    &source_file,
    &source_v4l2,
    &source_mic,
    &source_rtsp,
    &source_rtspt,
    &source_rtsps,
    &source_pipeline,
    &source_csi,
};
/* clang-format on */
enum { N_BUILT_IN = sizeof built_in / sizeof *built_in, N_ADDED = 8 };
static const source_ops *added[N_ADDED];
static int n_added;

/* The i-th row, NULL at the end. */
static const source_ops *row(int i)
{
    return i < N_BUILT_IN ? built_in[i] : i < N_BUILT_IN + n_added ? added[i - N_BUILT_IN] : NULL;
}

static size_t scheme_length(const char *uri)
{
    const char *colon = strchr(uri, ':');
    return colon ? (size_t)(colon - uri) : 0;
}

const char *source_rest(const char *uri)
{
    return uri + scheme_length(uri) + 1;
}

char *source_show(const char *uri)
{
    size_t size = strlen(uri) + 64; /* stars may be longer than what they hide */
    char *shown = malloc(size);
    if (!shown)
        return NULL;
    strcpy(shown, uri);
    omnid_capture_hide_password(shown, size);
    return shown;
}

omnid_status sources_find(const source_ops **out, const char *uri, omnid_error *err)
{
    size_t n = scheme_length(uri);
    for (int i = 0; row(i); i++)
        if (n == strlen(row(i)->scheme) && !strncmp(uri, row(i)->scheme, n)) {
            *out = row(i);
            return OMNID_OK;
        }
    char known[256] = "";
    for (int i = 0; row(i); i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s:", i ? ", " : "", row(i)->scheme);
    }
    char *shown = source_show(uri);
    omnid_status status = omnid_fail(err, OMNID_UNSUPPORTED, "source '%.200s': no such kind of source; known are %s",
                                     shown ? shown : "", known);
    free(shown);
    return status;
}

omnid_status sources_add(const source_ops *ops)
{
    if (n_added == N_ADDED)
        return OMNID_LIMIT;
    added[n_added++] = ops;
    return OMNID_OK;
}

static capture_scheme schemes[N_BUILT_IN + 1];

static void fill_schemes(void)
{
    for (int i = 0; i < N_BUILT_IN; i++)
        schemes[i] = (capture_scheme){built_in[i]->scheme, built_in[i]->description};
}

const capture_scheme *omnid_capture_schemes(int *n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_schemes);
    *n = N_BUILT_IN;
    return schemes;
}
