/* gst_handover.h: tells ThreadSanitizer what GStreamer's threads are given and give back. */
#ifndef OMNID_CAPTURE_GST_HANDOVER_H
#define OMNID_CAPTURE_GST_HANDOVER_H

/* GStreamer hands a source to its threads, and takes it back, by locks of GLib's own that ThreadSanitizer cannot see. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define HAND_OVER(s) __tsan_release(s)
#define TAKE_OVER(s) __tsan_acquire(s)
#else
#define HAND_OVER(s) ((void)(s))
#define TAKE_OVER(s) ((void)(s))
#endif

#endif
