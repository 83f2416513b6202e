/* blas.h: cuBLASLt as a table of functions, taken from the library at run time: the plugin links against no version of it,
 * and the emulation puts its own functions here. */
#ifndef OMNID_KERNELS_CUDA_BLAS_H
#define OMNID_KERNELS_CUDA_BLAS_H

#include <cublasLt.h>

#include "kernels/cuda/cuda.h"

/* X(name in the table, name in the library) */
#define CUDA_BLAS_FUNCTIONS(X)                                                                                         \
    X(create, cublasLtCreate)                                                                                          \
    X(destroy, cublasLtDestroy)                                                                                        \
    X(status_string, cublasLtGetStatusString)                                                                          \
    X(desc_create, cublasLtMatmulDescCreate)                                                                           \
    X(desc_destroy, cublasLtMatmulDescDestroy)                                                                         \
    X(desc_set, cublasLtMatmulDescSetAttribute)                                                                        \
    X(layout_create, cublasLtMatrixLayoutCreate)                                                                       \
    X(layout_destroy, cublasLtMatrixLayoutDestroy)                                                                     \
    X(preference_create, cublasLtMatmulPreferenceCreate)                                                               \
    X(preference_destroy, cublasLtMatmulPreferenceDestroy)                                                             \
    X(preference_set, cublasLtMatmulPreferenceSetAttribute)                                                            \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic)                                                                       \
    X(matmul, cublasLtMatmul)

typedef struct {
#define CUDA_BLAS_FIELD(name, function) __typeof__(&function) name;
    CUDA_BLAS_FUNCTIONS(CUDA_BLAS_FIELD)
#undef CUDA_BLAS_FIELD
} cuda_blas_functions;

/* blas_library.c: the functions of libcublasLt.so.CUBLAS_VER_MAJOR. NOT_FOUND with the loader's sentence. */
omnid_status cuda_blas_load(cuda_blas_functions *out, omnid_error *err);

#endif
