/* plugin.h: what a backend that is loaded at run time shows to kernels_find(), and nothing else.
 *
 * A plugin is a shared object libomnid-NAME.so with one function, KERNELS_PLUGIN_ENTRY; all else in it is hidden. It brings
 * its own copy of check.c, kernels.c and base, so nothing of the program is needed to load it. */
#ifndef OMNID_KERNELS_PLUGIN_H
#define OMNID_KERNELS_PLUGIN_H

#include "kernels/kernels.h"

/* The number is that of this header's structs and of kernels_ops: a plugin of another number has no such symbol. */
#define KERNELS_PLUGIN_ENTRY        omnid_kernels_plugin_1
#define KERNELS_PLUGIN_ENTRY_STRING "omnid_kernels_plugin_1"

typedef struct {
    size_t ops_size;     /* sizeof(kernels_ops) the plugin was built with */
    const char *version; /* OMNID_VERSION it was built with; both have to be the program's own */
    const kernels_ops *ops;
    /* Is there a device that open() could use? The sentence says what is missing. */
    omnid_status (*usable)(omnid_error *err);
} kernels_plugin;

/* Borrowed; valid while the object is loaded, which is until the process ends. */
typedef const kernels_plugin *kernels_plugin_entry(void);

/* plugin.c: finds and loads libomnid-NAME.so: in $OMNID_PLUGINS if that is set, else beside the program or the library
 * this is linked into, and in their lib/omnid. NOT_FOUND: there is none; IO: one that does not load or is of another build. */
omnid_status plugin_load(const kernels_plugin **out, const char *name, omnid_error *err);

#endif
