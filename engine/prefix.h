/* prefix.h: a timeline's system prompt and openers: prefilled once, seen by every row of the timeline. */
#ifndef ENGINE_PREFIX_H
#define ENGINE_PREFIX_H

#include "engine/lane.h"
#include "engine/timeline.h"

/* Runs one slice of the prefix through the decoder; *layer and *chunk say how far it has come (both 0 at first). Sets
 * tl->prefix_ready after the last, when the device has done it. rows: work space. */
omnid_status prefix_step(omnid_timeline *tl, lane *on, row_set *rows, int *layer, int *chunk, omnid_slice *slice,
                         omnid_error *err);

#endif
