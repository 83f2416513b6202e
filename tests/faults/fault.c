/* fault.c: the wrapped allocating functions. */
#include "fault.h"

#include <errno.h>
#include <execinfo.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 6, MAX_CHAINS = 1 << 15 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **p, size_t alignment, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **p, size_t alignment, size_t size);
char *__wrap_strdup(const char *s);

typedef struct {
    uint64_t hash; /* 0 = free */
    int first, last;
} chain;

static _Thread_local struct {
    bool armed, fired, recording;
    int at, seen;
    chain *chains; /* [MAX_CHAINS] */
} fault;

static uint64_t hash_callers(void)
{
    void *frames[DEPTH];
    int n = backtrace(frames, DEPTH);
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 2; i < n; i++) /* not this file's own */
        h = (h ^ (uint64_t)(uintptr_t)frames[i]) * 0x100000001b3u;
    return h ? h : 1;
}

static void record(void)
{
    uint64_t h = hash_callers();
    size_t i = h % MAX_CHAINS;
    while (fault.chains[i].hash && fault.chains[i].hash != h)
        i = (i + 1) % MAX_CHAINS;
    if (!fault.chains[i].hash)
        fault.chains[i] = (chain){h, fault.seen, fault.seen};
    fault.chains[i].last = fault.seen;
}

/* Counts one allocation; whether it is to fail. */
static __attribute__((noinline)) bool fails(void)
{
    if (fault.recording)
        record();
    if (!fault.armed && !fault.recording)
        return false;
    bool now = fault.armed && fault.seen == fault.at;
    fault.seen++;
    fault.fired |= now;
    if (now)
        errno = ENOMEM;
    return now;
}

void fault_arm(int n)
{
    fault.at = n;
    fault.seen = 0;
    fault.fired = false;
    fault.armed = true;
}

bool fault_disarm(int *n_seen)
{
    fault.armed = false;
    if (n_seen)
        *n_seen = fault.seen;
    return fault.fired;
}

void fault_record(void)
{
    void *frames[2];
    backtrace(frames, 2); /* loads what it needs */
    fault.chains = __real_calloc(MAX_CHAINS, sizeof *fault.chains);
    fault.seen = 0;
    fault.recording = fault.chains != NULL;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

int fault_recorded(int **list)
{
    int n = 0;
    fault.recording = false;
    *list = __real_malloc(2 * MAX_CHAINS * sizeof **list);
    for (int i = 0; *list && fault.chains && i < MAX_CHAINS; i++)
        if (fault.chains[i].hash) {
            (*list)[n++] = fault.chains[i].first;
            if (fault.chains[i].last != fault.chains[i].first)
                (*list)[n++] = fault.chains[i].last;
        }
    free(fault.chains);
    fault.chains = NULL;
    if (*list)
        qsort(*list, (size_t)n, sizeof **list, by_number);
    return n;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t size)
{
    return fails() ? ENOMEM : __real_posix_memalign(p, alignment, size);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}
