/* encoder_attention.c     y = softmax(q kᵀ / sqrt(head_dim)) v inside each span of rows
 * qkv: [n][3 d]     y: [n][d]     saliency[j] = mean over heads and over rows i of j's span of the probability i -> j.
 * Rows outside every span are not written. */
#include "kernels/reference/reference.h"

/* One head of one span of n rows; qkv as float32 [n][3 d]; p: [n] and value: [head_dim] to work in;
 * seen: [n], Σ of probabilities. */
static void encode_head(tensor *y, int64_t first, int64_t n, const float *qkv, int64_t d, int head, int head_dim,
                        double *p, double *value, double *seen)
{
    const float *q = qkv + head * head_dim, *k = q + d, *v = k + d;
    for (int64_t i = 0; i < n; i++) {
        double highest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < n; j++) {
            p[j] = reference_dot(q + i * 3 * d, k + j * 3 * d, head_dim) / sqrt(head_dim);
            highest = p[j] > highest ? p[j] : highest;
        }
        for (int64_t j = 0; j < n; j++)
            sum += p[j] = exp(p[j] - highest);
        for (int64_t j = 0; j < n; j++)
            seen[j] += p[j] / sum;
        memset(value, 0, (size_t)head_dim * sizeof *value);
        for (int64_t j = 0; j < n; j++)
            for (int e = 0; e < head_dim; e++)
                value[e] += p[j] * (double)v[j * 3 * d + e];
        for (int e = 0; e < head_dim; e++)
            reference_store(tensor_row(y, first + i), y->dtype, (int64_t)head * head_dim + e, value[e] / sum);
    }
}

static void encode_span(kernels_stream *s, tensor *y, const tensor *qkv, int64_t first, int64_t n, int n_heads,
                        int head_dim, tensor *saliency)
{
    int64_t d = (int64_t)n_heads * head_dim;
    float *rows = reference_memory(s, n * 3 * d, sizeof *rows);
    double *p = reference_memory(s, n, sizeof *p), *seen = reference_memory(s, n, sizeof *seen);
    double *value = reference_memory(s, head_dim, sizeof *value);
    if (rows && p && seen && value) {
        for (int64_t i = 0; i < n; i++)
            reference_load_run(rows + i * 3 * d, tensor_row(qkv, first + i), qkv->dtype, 0, 3 * d);
        for (int head = 0; head < n_heads; head++)
            encode_head(y, first, n, rows, d, head, head_dim, p, value, seen);
        for (int64_t j = 0; saliency && j < n; j++)
            ((float *)saliency->data)[first + j] = (float)(seen[j] / ((double)n_heads * (double)n));
    }
    free(rows);
    free(p);
    free(seen);
    free(value);
}

void reference_encoder_attention(kernels_stream *s, tensor *y, const tensor *qkv, int n_heads, int head_dim,
                                 const int32_t *spans, int n_spans, tensor *saliency)
{
    if (!check_encoder_attention(s, y, qkv, n_heads, head_dim, spans, n_spans, saliency))
        return;
    for (int i = 0; i < n_spans; i++)
        encode_span(s, y, qkv, spans[i], spans[i + 1] - spans[i], n_heads, head_dim, saliency);
}
