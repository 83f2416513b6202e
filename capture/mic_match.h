/* mic_match.h: which of the microphones a person means. */
#ifndef OMNID_CAPTURE_MIC_MATCH_H
#define OMNID_CAPTURE_MIC_MATCH_H

#include "base/base.h"

/* The index into names[0..n) for what was asked for: the name itself, else the same in other letters, else the only one it
 * is a part of, in any letters; "hw:1,0" is a part of "USB Audio: USB Audio (hw:1,0)" only. NOT_FOUND and ARGUMENT
 * (several) name what there is. Pure. */
omnid_status mic_match(int *out, const char *const *names, int n, const char *wanted, omnid_error *err);

#endif
