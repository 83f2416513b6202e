/* v4l2_match.h: which node a URI means, the first time by what it says, then by the camera that was found. Pure functions. */
#ifndef OMNID_CAPTURE_V4L2_MATCH_H
#define OMNID_CAPTURE_V4L2_MATCH_H

#include "capture/v4l2_choose.h"

/* What stands behind "v4l2:". */
typedef struct {
    char device[256]; /* a path, a name in /dev/v4l/by-id or by-path, or a card's name */
    v4l2_want want;
} v4l2_uri;

/* Reads "v4l2:DEVICE[,size=WxH][,fps=N][,format=FOURCC]". Commas that begin no option belong to the name. ARGUMENT. */
omnid_status v4l2_uri_read(v4l2_uri *out, const char *uri, omnid_error *err);

/* The camera that was opened, in order to find it again on another path. Plain bytes; all zero = none yet. */
typedef struct {
    char path[128], name[64], bus[64], serial[128];
    int index;
    char choice[64]; /* text of the mode that worked */
} v4l2_identity;

v4l2_identity v4l2_identity_of(const v4l2_camera *c);

/* The node whose by-id or by-path name, or else whose card's name, is `device` (card: any case; a part of the name if that
 * is unambiguous). Of nodes only those that give pictures, or that could not be asked. NOT_FOUND, ARGUMENT (ambiguous):
 * both name what there is. */
omnid_status v4l2_match_name(int *out, const v4l2_camera *cameras, int n, const char *device, omnid_error *err);

/* The node of the camera `was`: the one of the same serial number (of several the one in the same socket); without a serial
 * number the one in the same socket; else, if that camera is nowhere, one of the same name that has no serial number
 * either and is at the path `named` that the URI gives (NULL = it gives none). NOT_FOUND. */
omnid_status v4l2_match_again(int *out, const v4l2_camera *cameras, int n, const v4l2_identity *was, const char *named,
                              omnid_error *err);

#endif
