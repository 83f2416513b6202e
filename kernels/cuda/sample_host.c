/* sample_host.c: a draw by the reference, for the few that integer sums cannot decide (sample.cu). */
#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"

void cuda_sample_on_host(kernels_stream *s, int32_t *out, const tensor *logits, const tensor *seen,
                         const kernels_sampling *p, double u)
{
    int64_t v = logits->dim[0] * tensor_cols(logits), n_seen = seen ? seen->dim[0] : 0;
    float *values = malloc((size_t)v * sizeof *values);
    int32_t *ids = malloc((size_t)(n_seen + 1) * sizeof *ids);
    if (values && ids) {
        cuda_download(s, values, logits->data, (size_t)v * sizeof *values);
        if (n_seen)
            cuda_download(s, ids, seen->data, (size_t)n_seen * sizeof *ids);
        tensor host = tensor_2d(values, KERNELS_F32, 1, v), host_seen = tensor_1d(ids, KERNELS_I32, n_seen);
        reference_sample(s, out, &host, seen ? &host_seen : NULL, p, u);
    } else {
        kernels_stream_fail(s, OMNID_NOMEM, "cuda backend: no memory for a copy of %lld logits", (long long)v);
    }
    free(values);
    free(ids);
}
