/* source_pipeline.h: a source out of a gst-launch string; "pipeline:" and what is made of one. */
#ifndef OMNID_CAPTURE_SOURCE_PIPELINE_H
#define OMNID_CAPTURE_SOURCE_PIPELINE_H

#include "capture/source_gst.h"

/* Parses a launch string without starting anything. ARGUMENT: GStreamer's own sentence, or no element named video or
 * audio. UNSUPPORTED: names the element that is not installed and the package. name: what sentences call it. */
omnid_status pipeline_check(const char *launch, const char *name, omnid_error *err);

/* source_ops.open for a launch string. */
omnid_status pipeline_open(void **self, const source_params *p, const char *launch, source_info *info,
                           omnid_error *err);

#endif
