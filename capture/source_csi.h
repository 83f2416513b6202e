/* source_csi.h: the launch string of a Jetson's camera. */
#ifndef OMNID_CAPTURE_SOURCE_CSI_H
#define OMNID_CAPTURE_SOURCE_CSI_H

#include "base/base.h"

/* "csi:N[,size=WxH][,fps=N]" to the pipeline that reads sensor N. ARGUMENT. */
omnid_status csi_describe(char *launch, size_t size, const char *uri, omnid_error *err);

#endif
