/* v4l2_try.c: starts a camera for a moment by hand: GStreamer does not tell which errno a driver gave. */
#include "capture/v4l2_list.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { N_BUFFERS = 2 };

static int set_format(int fd, const v4l2_camera *c, uint32_t fourcc, int width, int height)
{
    struct v4l2_format f = {.type = c->multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE};
    if (c->multiplanar) {
        f.fmt.pix_mp.pixelformat = fourcc;
        f.fmt.pix_mp.width = (uint32_t)width;
        f.fmt.pix_mp.height = (uint32_t)height;
    } else {
        f.fmt.pix.pixelformat = fourcc;
        f.fmt.pix.width = (uint32_t)width;
        f.fmt.pix.height = (uint32_t)height;
    }
    return ioctl(fd, VIDIOC_S_FMT, &f) ? errno : 0;
}

/* The rate decides how much of the bus is asked for. A driver without rates refuses; that is no reason not to start. */
static void set_rate(int fd, const v4l2_camera *c, v4l2_rate rate)
{
    struct v4l2_streamparm p = {.type =
                                    c->multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE};
    p.parm.capture.timeperframe = (struct v4l2_fract){rate.d, rate.n};
    if (rate.n && ioctl(fd, VIDIOC_S_PARM, &p))
        return;
}

/* Queues buffers and starts: 0 or the errno. */
static int start(int fd, const v4l2_camera *c)
{
    uint32_t type = c->multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
    struct v4l2_requestbuffers r = {.count = N_BUFFERS, .type = type, .memory = V4L2_MEMORY_MMAP};
    if (ioctl(fd, VIDIOC_REQBUFS, &r))
        return errno;
    for (uint32_t i = 0; i < r.count; i++) {
        struct v4l2_plane planes[VIDEO_MAX_PLANES] = {0};
        struct v4l2_buffer b = {.index = i, .type = type, .memory = V4L2_MEMORY_MMAP};
        if (c->multiplanar) {
            b.m.planes = planes;
            b.length = VIDEO_MAX_PLANES;
        }
        if (ioctl(fd, VIDIOC_QUERYBUF, &b) || ioctl(fd, VIDIOC_QBUF, &b))
            return errno;
    }
    return ioctl(fd, VIDIOC_STREAMON, &type) ? errno : 0;
}

int v4l2_list_try(const v4l2_camera *c, uint32_t fourcc, int width, int height, v4l2_rate rate)
{
    int fd = open(c->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = set_format(fd, c, fourcc, width, height);
    if (!error) {
        set_rate(fd, c, rate);
        error = start(fd, c);
    }
    close(fd); /* stops it and frees its buffers */
    return error;
}
