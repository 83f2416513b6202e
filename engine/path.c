/* path.c: ops that a backend may record once and replay. */
#include "engine/path.h"

bool path_run(omnid_engine *e, uint64_t path, void (*enqueue)(void *user), void *user)
{
    const kernels_ops *ops = e->ops;
    omnid_error why = {0};
    if (!path_wanted(e)) {
        enqueue(user);
        return false;
    }
    if (ops->replay(e->stream, path))
        return true;
    ops->begin_capture(e->stream, path);
    enqueue(user);
    if (ops->end_capture(e->stream, &why))
        return false;
    enqueue(user);
    if (!e->path_refused)
        omnid_log(OMNID_LOG_WARNING, "backend %s: questions or decode steps are run without being recorded: %s",
                  ops->name, why.text);
    e->path_refused = true;
    return false;
}
