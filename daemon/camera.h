/* camera.h: one [camera NAME]: a capture, a timeline, the few segments that wait between the two, and the frames kept. */
#ifndef OMNID_DAEMON_CAMERA_H
#define OMNID_DAEMON_CAMERA_H

#include "capture/capture.h"
#include "daemon/frames.h"
#include "daemon/options.h"
#include "daemon/outbox.h"
#include "engine/omnid.h"

typedef struct camera camera;

/* Segments of a timeline that the engine itself may hold waiting; the others wait here, where the oldest can be dropped. */
enum { CAMERA_ENGINE_QUEUE = 2 };

/* own, daemon and o outlive the camera. index: its place in the configuration. */
camera *camera_create(const options_camera *own, const options_daemon *daemon, size_t index, outbox *o);
/* After camera_stop, and after the engine's last step. *c may be NULL. */
void camera_destroy(camera **c);

/* Starts the capture and makes the timeline, of what the sources turned out to have. The engine's thread, before its first
 * step. Errors are those of omnid_capture_start and omnid_timeline_create. */
omnid_status camera_start(camera *c, omnid_engine *e, omnid_error *err);
/* Stops the capture within 2 s; also one that never started. Any thread. */
void camera_stop(camera *c);

const options_camera *camera_settings(const camera *c);
/* NULL before camera_start. Any thread. */
omnid_timeline *camera_timeline(camera *c);

/* The engine made a segment visible: waiting ones may go on. The engine's thread. */
void camera_on_visible(camera *c);
/* The open segment, ready for a question; *out is NULL when it holds nothing yet. *frame_wall_us: CLOCK_REALTIME of its newest
 * frame; 0 = none, or unknown. Any thread. */
omnid_status camera_open_segment(camera *c, omnid_segment **out, int64_t *frame_wall_us, omnid_error *err);
/* The same of the newest frame that a question without the open segment sees, if it is kept. Any thread. */
int64_t camera_newest_frame(camera *c);
/* Wipes the timeline, what waits for it, and the frames. Any thread. */
void camera_forget(camera *c);

/* A frame that the window holds, the open segment's included; the caller clears *out. NOT_FOUND (err unset): there is none
 * such. Else errors of the capture or of JPEG. After camera_start. Any thread. */
omnid_status camera_frame(camera *c, const frames_query *q, frames_one *out, omnid_error *err);
/* Pauses or resumes picture, sound or, with both set, what of them there is. Errors are those of omnid_capture_pause; then
 * nothing has changed. After camera_start. Any thread. */
omnid_status camera_pause(camera *c, bool video, bool audio, bool paused, omnid_error *err);

typedef struct {
    capture_status capture;
    omnid_timeline_status timeline;
    frames_range frames;
    int n_waiting;     /* segments held here */
    int load;          /* step of load.h at which segments are taken in */
    int64_t n_skipped; /* segments dropped because the engine is behind or could not take them */
} camera_status;
/* False before camera_start; then *out is zero but for n_skipped. Any thread. */
bool camera_get_status(camera *c, camera_status *out);

#endif
