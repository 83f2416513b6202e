/* omnidrop.c: OmniDrop (arXiv:2605.14458): the tokens the query attends to least leave, with the temporal diversity score
 * in the deeper layers (Algorithm 1; docs/semantics.md, section 5). */
#include "engine/prune/prune.h"

static omnid_status leave(const prune_call *c, omnid_error *err)
{
    c->stream->ops->select(c->stream, c->descriptor, c->max_keys);
    return kernels_stream_status(c->stream, err);
}

const prune_policy prune_omnidrop = {.name = "omnidrop",
                                     .description = "layer by layer, what the question attends to least (OmniDrop)",
                                     .prunes = true,
                                     .uses_scores = true,
                                     .on_device = true,
                                     .leave = leave};
