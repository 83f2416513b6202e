/* plugin.c: finds a backend's shared object and takes its table. */
#include "kernels/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "/a/b/c" -> "/a/b"; a name without a slash -> ".". */
static void cut_to_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    else
        strcpy(path, "."); /* a name has one character at least */
}

static bool program_folder(char folder[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    if (n <= 0)
        return false;
    folder[n] = '\0';
    cut_to_folder(folder);
    return true;
}

/* Of the object this function lies in: the program, or libomnid.so under another one. */
static bool library_folder(char folder[PATH_MAX])
{
    Dl_info info;
    if (!dladdr(&cut_to_folder, &info) || !info.dli_fname || !realpath(info.dli_fname, folder))
        return false;
    cut_to_folder(folder);
    return true;
}

/* folder/inside/libomnid-name.so into path; false when there is no such file. */
static bool plugin_at(char path[PATH_MAX], const char *folder, const char *inside, const char *name)
{
    int n = snprintf(path, PATH_MAX, "%s/%slibomnid-%s.so", folder, inside, name);
    return n > 0 && n < PATH_MAX && access(path, F_OK) == 0;
}

static bool plugin_find(char path[PATH_MAX], const char *name)
{
    static const char *const inside[] = {"", "omnid/", "../lib/omnid/", "../" OMNID_LIBDIR "/omnid/"};
    const char *only = getenv("OMNID_PLUGINS");
    if (only)
        return plugin_at(path, only, "", name);
    char folder[PATH_MAX];
    for (int from = 0; from < 2; from++)
        for (size_t i = 0; (from ? library_folder : program_folder)(folder) && i < sizeof inside / sizeof *inside; i++)
            if (plugin_at(path, folder, inside[i], name))
                return true;
    return false;
}

/* A pointer to an object as one to a function: ISO C has no cast for what dlsym gives. */
static kernels_plugin_entry *plugin_entry(void *object)
{
    kernels_plugin_entry *entry = NULL;
    void *symbol = dlsym(object, KERNELS_PLUGIN_ENTRY_STRING);
    if (symbol)
        memcpy(&entry, &symbol, sizeof entry);
    return entry;
}

omnid_status plugin_load(const kernels_plugin **out, const char *name, omnid_error *err)
{
    char path[PATH_MAX];
    *out = NULL;
    if (!plugin_find(path, name)) {
        const char *only = getenv("OMNID_PLUGINS");
        return omnid_fail(
            err, OMNID_NOT_FOUND, "backend %s: there is no libomnid-%s.so %s%s; install it or choose another backend",
            name, name, only ? "in OMNID_PLUGINS=" : "beside the program or in its lib/omnid", only ? only : "");
    }
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return omnid_fail(err, OMNID_IO, "backend %s: %s does not load: %s", name, path, dlerror());
    kernels_plugin_entry *entry = plugin_entry(object);
    const kernels_plugin *plugin = entry ? entry() : NULL;
    if (!plugin || plugin->ops_size != sizeof(kernels_ops) || strcmp(plugin->version, OMNID_VERSION) != 0) {
        omnid_fail(err, OMNID_IO, "backend %s: %s is of omnid %s, this is %s: install both of one build", name, path,
                   plugin ? plugin->version : "with another interface", OMNID_VERSION);
        dlclose(object);
        return OMNID_IO;
    }
    *out = plugin; /* the object stays loaded: CUDA's own threads and exit handlers would not survive its leaving */
    return OMNID_OK;
}
