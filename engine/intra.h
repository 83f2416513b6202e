/* intra.h: intra-modality pruning before the decoder (docs/semantics.md, section 4). */
#ifndef ENGINE_INTRA_H
#define ENGINE_INTRA_H

#include "engine/ingest.h"

/* Chooses the kept video and audio tokens of in->page from in->embeds and the saliency of audio tokens (NULL = no audio);
 * sets the page's kept lists and in->front's group. Without intra pruning all are kept. NOMEM. */
omnid_status intra_choose(ingest *in, const tensor *saliency, omnid_error *err);
/* Keeps the group's vectors that later segments compare with, in in->group. */
omnid_status intra_keep_vectors(ingest *in, omnid_error *err);
/* They and in->front become the timeline's. */
void intra_hand_over(ingest *in);

#endif
