/* backends.c: the list of backends: those that are linked in, and cuda, which is a plugin. */
#include "kernels/backends.h"
#include "kernels/plugin.h"

#include <string.h>

/* Fastest first. */
static const kernels_ops *const backends[] = {
#ifdef OMNID_HAVE_CPU
    &cpu_ops,
#endif
    &reference_ops,
};

static const char *const backend_names[] = {
#ifdef OMNID_HAVE_CPU
    "cpu",
#endif
    "reference",
    NULL,
};

const char *const *kernels_names(void)
{
    return backend_names;
}

static omnid_status find_cuda(const kernels_ops **out, omnid_error *err)
{
    const kernels_plugin *plugin;
    OMNID_TRY(plugin_load(&plugin, "cuda", err));
    OMNID_TRY(plugin->usable(err));
    *out = plugin->ops;
    return OMNID_OK;
}

/* cuda where it can be used, else the fastest that is linked in; says why it is not cuda. */
static omnid_status find_auto(const kernels_ops **out)
{
    omnid_error err = {0};
    omnid_status status = find_cuda(out, &err);
    if (status != OMNID_OK) {
        *out = backends[0];
        omnid_log(status == OMNID_NOT_FOUND ? OMNID_LOG_DEBUG : OMNID_LOG_INFO, "backend auto: %s is used: %s",
                  (*out)->name, err.text);
    }
    return OMNID_OK;
}

omnid_status kernels_find(const kernels_ops **out, const char *name, omnid_error *err)
{
    *out = NULL;
    if (strcmp(name, "auto") == 0)
        return find_auto(out);
    if (strcmp(name, "cuda") == 0)
        return find_cuda(out, err);
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(name, backends[i]->name) == 0) {
            *out = backends[i];
            return OMNID_OK;
        }
    return omnid_fail(err, OMNID_NOT_FOUND, "no backend named '%s': want auto, cuda%s or reference", name,
#ifdef OMNID_HAVE_CPU
                      ", cpu"
#else
                      ""
#endif
    );
}
