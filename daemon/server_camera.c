/* server_camera.c: the ops on one camera: frame, pause, resume, forget; and the gaps of all. */
#include "daemon/server_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GAPS_EVERY_US = 1000000 };

static const char *name_of(const server *s, size_t index)
{
    return s->settings->cameras[index].name;
}

/* The camera of a request to a daemon that is ready; false after the error was sent. */
static bool find_ready(server *s, const server_sender *from, const protocol_request *r, size_t *index)
{
    protocol_error e;
    if (server_find_camera(s, r, index, &e) && server_is_ready(s, &e))
        return true;
    server_reply_error(s, &from->peer, r->id, &e);
    return false;
}

void server_forget(server *s, const server_sender *from, const protocol_request *r)
{
    size_t index = 0;
    if (!find_ready(s, from, r, &index))
        return;
    camera_forget(s->cameras[index]);
    json_t *reply = protocol_reply("forget", r->id);
    json_object_set_new(reply, "camera", json_string(name_of(s, index)));
    server_reply(s, &from->peer, reply);
}

/* ------------------------------------------------------------------ frame */

/* What can be known before anything is looked for. */
static bool check_frames(const server *s, size_t index, const protocol_request *r, protocol_error *e)
{
    const options_camera *own = &s->settings->cameras[index];
    if (own->video[0] == '\0')
        return protocol_fail(e, PROTOCOL_UNSUPPORTED, "camera %s has no picture", own->name);
    if (s->settings->daemon.timeline_frames_mib == 0)
        return protocol_fail(e, PROTOCOL_UNSUPPORTED, "no frames are kept: [timeline] frames_mib is 0");
    if (own->fast && (r->wall_us != PROTOCOL_UNSET || !isnan(r->ago_s)))
        return protocol_fail(e, PROTOCOL_UNSUPPORTED,
                             "camera %s reads a file with fast, so its moments have no wall clock; ask by segment",
                             own->name);
    return true;
}

static frames_query query_of(const protocol_request *r)
{
    frames_query q = {.segment = -1};
    if (r->segment != PROTOCOL_UNSET) {
        q.segment = r->segment;
        q.index = r->frame == PROTOCOL_UNSET ? 0 : (int)r->frame;
    } else if (r->wall_us != PROTOCOL_UNSET) {
        q.wall_us = r->wall_us;
    } else if (!isnan(r->ago_s)) {
        q.wall_us = omnid_wall_us() - (int64_t)(r->ago_s * 1e6);
    }
    return q;
}

/* "segment 12 (2026-11-21T10:30:00.000Z)" */
static void print_place(char *text, size_t n, const frames_one *one)
{
    json_t *time = protocol_time(one->wall_us);
    const char *t = json_string_value(time);
    snprintf(text, n, "segment %lld%s%s%s", (long long)one->segment, t ? " (" : "", t ? t : "", t ? ")" : "");
    json_decref(time);
}

static bool not_there(const server *s, size_t index, protocol_error *e)
{
    camera_status c;
    camera_get_status(s->cameras[index], &c);
    if (c.frames.n == 0)
        return protocol_fail(e, PROTOCOL_EMPTY, "camera %s: no frame is kept yet; the first segment takes 2 seconds",
                             name_of(s, index));
    char oldest[96], newest[96];
    print_place(oldest, sizeof oldest, &c.frames.oldest);
    print_place(newest, sizeof newest, &c.frames.newest);
    return protocol_fail(e, PROTOCOL_NOT_THERE, "camera %s: no frame of that moment; there are %d from %s to %s",
                         name_of(s, index), c.frames.n, oldest, newest);
}

static bool find_frame(server *s, size_t index, const protocol_request *r, frames_one *one, protocol_error *e)
{
    omnid_error err = {0};
    if (!check_frames(s, index, r, e))
        return false;
    frames_query q = query_of(r);
    omnid_status status = camera_frame(s->cameras[index], &q, one, &err);
    if (status == OMNID_NOT_FOUND)
        return not_there(s, index, e);
    if (status == OMNID_OK && r->max_width != PROTOCOL_UNSET)
        status = frames_scale(one, (int)r->max_width, (int)s->settings->daemon.timeline_frames_quality, &err);
    if (status == OMNID_OK)
        return true;
    frames_one_clear(one);
    return protocol_fail(e, PROTOCOL_FAILED, "camera %s: %s", name_of(s, index), err.text);
}

void server_frame(server *s, const server_sender *from, const protocol_request *r)
{
    size_t index = 0;
    protocol_error e;
    frames_one one = {0};
    if (!find_ready(s, from, r, &index))
        return;
    if (!find_frame(s, index, r, &one, &e)) {
        server_reply_error(s, &from->peer, r->id, &e);
        return;
    }
    json_t *reply = protocol_reply("frame", r->id);
    json_object_set_new(reply, "camera", json_string(name_of(s, index)));
    json_object_set_new(reply, "segment", json_integer(one.segment));
    json_object_set_new(reply, "frame", json_integer(one.index));
    json_object_set_new(reply, "t", protocol_time(one.wall_us));
    json_object_set_new(reply, "ago_s",
                        one.wall_us ? json_real((double)(omnid_wall_us() - one.wall_us) / 1e6) : json_null());
    json_object_set_new(reply, "width", json_integer(one.width));
    json_object_set_new(reply, "height", json_integer(one.height));
    json_object_set_new(reply, "bytes", json_integer((json_int_t)g_bytes_get_size(one.jpeg)));
    server_reply_with(s, &from->peer, reply, one.jpeg);
    frames_one_clear(&one);
}

/* ------------------------------------------------------------------ pause and resume */

static json_t *state_json(const capture_source_status *source)
{
    return source->state == CAPTURE_OFF ? json_null() : json_string(capture_state_name(source->state));
}

void server_pause(server *s, const server_sender *from, const protocol_request *r)
{
    size_t index = 0;
    omnid_error err = {0};
    if (!find_ready(s, from, r, &index))
        return;
    omnid_status status = camera_pause(s->cameras[index], r->video, r->audio, r->op == PROTOCOL_PAUSE, &err);
    if (status != OMNID_OK) {
        protocol_error e;
        protocol_fail(&e, protocol_code_of(status), "camera %s: %s", name_of(s, index), err.text);
        server_reply_error(s, &from->peer, r->id, &e);
        return;
    }
    camera_status c;
    camera_get_status(s->cameras[index], &c);
    json_t *reply = protocol_reply(protocol_op_name(r->op), r->id);
    json_object_set_new(reply, "camera", json_string(name_of(s, index)));
    json_object_set_new(reply, "video", state_json(&c.capture.video));
    json_object_set_new(reply, "audio", state_json(&c.capture.audio));
    server_reply(s, &from->peer, reply);
}

/* ------------------------------------------------------------------ gaps */

void server_publish_gaps(server *s)
{
    int64_t now_us = omnid_clock_us();
    if (now_us - s->gaps_told_us < GAPS_EVERY_US)
        return;
    s->gaps_told_us = now_us;
    for (size_t i = 0; i < s->settings->n_cameras; i++) {
        camera_status c;
        struct server_gaps *told = &s->gaps[i];
        if (!camera_get_status(s->cameras[i], &c))
            continue;
        int64_t video = c.capture.n_gaps_video, audio = c.capture.n_gaps_audio;
        if (video == told->video && audio == told->audio)
            continue;
        server_publish(s, "gap", name_of(s, i),
                       json_pack("{s:I, s:I, s:I, s:I}", "video", (json_int_t)(video - told->video), "audio",
                                 (json_int_t)(audio - told->audio), "gaps_video", (json_int_t)video, "gaps_audio",
                                 (json_int_t)audio));
        *told = (struct server_gaps){video, audio};
    }
}
