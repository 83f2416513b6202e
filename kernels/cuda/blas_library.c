/* blas_library.c: loads cuBLASLt. */
#include <dlfcn.h>
#include <string.h>

#include "kernels/cuda/blas.h"

#define STRING_OF(x) #x
#define STRING(x)    STRING_OF(x)
#define LIBRARY      "libcublasLt.so." STRING(CUBLAS_VER_MAJOR)

omnid_status cuda_blas_load(cuda_blas_functions *out, omnid_error *err)
{
    /* The loader's own places (ldconfig, LD_LIBRARY_PATH) first, then where the toolkit puts it. */
    static const char *const names[] = {LIBRARY, "/usr/local/cuda/lib64/" LIBRARY};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return omnid_fail(err, OMNID_NOT_FOUND, "%s does not load: %s", LIBRARY, dlerror());
    void *symbol;
#define TAKE(name, function)                                                                                           \
    symbol = dlsym(library, #function);                                                                                \
    if (!symbol) {                                                                                                     \
        dlclose(library);                                                                                              \
        return omnid_fail(err, OMNID_NOT_FOUND, "%s has no %s", LIBRARY, #function);                                   \
    }                                                                                                                  \
    memcpy(&out->name, &symbol, sizeof symbol);
    CUDA_BLAS_FUNCTIONS(TAKE)
#undef TAKE
    return OMNID_OK;
}
