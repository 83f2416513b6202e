/* random.c: the control: as many tokens leave as with omnidrop, drawn by a hash of seed, layer and token. */
#include <stdlib.h>

#include "engine/prune/prune.h"
#include "engine/random.h"

typedef struct {
    uint64_t hash;
    int32_t place;
} draw;

static int by_hash(const void *a, const void *b)
{
    const draw *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* Keeps the places whose draws are not among the k lowest, in stream order. */
static void survivors(const draw *draws, int n, int k, const kernels_key *in, uint8_t *gone, kernels_key *out,
                      int32_t *kept)
{
    for (int i = 0; i < k; i++)
        gone[draws[i].place] = 1;
    for (int i = 0, at = 0; i < n; i++)
        if (!gone[i]) {
            out[at] = in[i];
            kept[at++] = i;
        }
}

static omnid_status leave(const prune_call *c, omnid_error *err)
{
    size_t n = (size_t)c->n, left = (size_t)(c->n - c->k);
    const kernels_ops *ops = c->stream->ops;
    draw *draws = malloc((n + 1) * sizeof *draws);
    kernels_key *in = malloc((n + 1) * sizeof *in), *out = malloc((left + 1) * sizeof *out);
    int32_t *kept = malloc((left + 1) * sizeof *kept);
    uint8_t *gone = calloc(n + 1, 1);
    omnid_status status = omnid_fail(err, OMNID_NOMEM, "no memory to draw from %d tokens", c->n);
    if (draws && in && out && kept && gone) {
        ops->download(c->stream, in, c->in, n * sizeof *in);
        for (int i = 0; i < c->n; i++)
            draws[i] = (draw){random_policy_key(c->seed, c->layer, (uint32_t)in[i].index), i};
        qsort(draws, n, sizeof *draws, by_hash);
        survivors(draws, c->n, c->k, in, gone, out, kept);
        ops->upload(c->stream, c->out, out, left * sizeof *out);
        if (c->kept)
            ops->upload(c->stream, c->kept, kept, left * sizeof *kept);
        status = kernels_stream_status(c->stream, err);
    }
    free(draws);
    free(in);
    free(out);
    free(kept);
    free(gone);
    return status;
}

const prune_policy prune_random = {.name = "random",
                                   .description = "as many tokens, drawn at random (for comparison)",
                                   .prunes = true,
                                   .leave = leave};
