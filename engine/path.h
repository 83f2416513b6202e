/* path.h: ops that a backend may record once and replay (kernels.h, replay): their hash, and running them. */
#ifndef ENGINE_PATH_H
#define ENGINE_PATH_H

#include "engine/engine.h"

/* What a hash begins with. */
enum { PATH_QUESTION = 1, PATH_DECODE };

/* The hash of a path: of everything that its ops are given, one after the other. */
static inline uint64_t path_add(uint64_t path, uint64_t value)
{
    path = (path ^ value) * 0x9e3779b97f4a7c15u; /* the multiplier of splitmix64; odd, so nothing is lost */
    return path ^ path >> 29;
}

static inline uint64_t path_add_address(uint64_t path, const void *data)
{
    return path_add(path, (uint64_t)(uintptr_t)data);
}

/* Whether paths are recorded: the backend can, and the engine may. */
static inline bool path_wanted(const omnid_engine *e)
{
    return e->params.graphs && e->ops->replay;
}

/* Rows of a launch for n: a power of two from `least` on, or three quarters of one from 48 on; `most` at most. Paths differ in
 * these, not in n. */
static inline int path_rows(int n, int least, int most)
{
    int rows = least;
    while (rows < n)
        rows *= 2;
    if (rows >= 64 && rows / 4 * 3 >= n)
        rows = rows / 4 * 3;
    return rows < most ? rows : most;
}

/* Does what enqueue(user) enqueues on the engine's stream, which depends on what `path` is the hash of and on nothing else.
 * enqueue may be called once, twice or not at all, and only enqueues ops. True: the path was replayed. */
bool path_run(omnid_engine *e, uint64_t path, void (*enqueue)(void *user), void *user);

#endif
