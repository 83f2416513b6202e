/* v4l2_list.c: asks the kernel, through libv4l2, what there is. Conversion by libv4l2 stays off: v4l2src does without. */
#include "capture/v4l2_list.h"

#include "capture/v4l2_choose.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libv4l2.h>
#include <limits.h>
#include <linux/videodev2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_SIDE = 32768 };

/* ---- files of sysfs and /dev/v4l ---- */

/* The first line of a small file; "" where it cannot be read. */
static void read_line(char *out, size_t size, const char *path)
{
    *out = '\0';
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    if (!fgets(out, (int)size, f))
        *out = '\0';
    fclose(f);
    out[strcspn(out, "\n")] = '\0';
}

/* The serial number lies beside idVendor in one of the folders above the node's USB interface. */
static void read_serial(v4l2_camera *c, const char *node)
{
    char link[PATH_MAX], folder[PATH_MAX], file[PATH_MAX + 16];
    snprintf(link, sizeof link, "/sys/class/video4linux/%s/device", node);
    if (!realpath(link, folder))
        return;
    for (char *slash; strlen(folder) > strlen("/sys/devices") && (slash = strrchr(folder, '/')); *slash = '\0') {
        snprintf(file, sizeof file, "%s/idVendor", folder);
        if (access(file, R_OK))
            continue;
        snprintf(file, sizeof file, "%s/serial", folder);
        read_line(c->serial, sizeof c->serial, file);
        return;
    }
}

/* The name in the folder whose link ends at path; "" = none. */
static void find_link(char *out, size_t size, const char *folder, const char *path)
{
    DIR *d = opendir(folder);
    *out = '\0';
    for (struct dirent *e; d && !*out && (e = readdir(d));) {
        char link[PATH_MAX], end[PATH_MAX];
        snprintf(link, sizeof link, "%s/%s", folder, e->d_name);
        if (*e->d_name != '.' && strlen(link) < size && realpath(link, end) && !strcmp(end, path))
            memcpy(out, link, strlen(link) + 1);
    }
    if (d)
        closedir(d);
}

static void read_system(v4l2_camera *c)
{
    const char *node = strrchr(c->path, '/') + 1;
    char file[PATH_MAX], line[64];
    snprintf(file, sizeof file, "/sys/class/video4linux/%s/name", node);
    read_line(c->name, sizeof c->name, file);
    snprintf(file, sizeof file, "/sys/class/video4linux/%s/index", node);
    read_line(line, sizeof line, file);
    c->index = atoi(line);
    read_serial(c, node);
    find_link(c->by_id, sizeof c->by_id, "/dev/v4l/by-id", c->path);
    find_link(c->by_path, sizeof c->by_path, "/dev/v4l/by-path", c->path);
}

/* ---- errors ---- */

static const char *group_of(const char *path)
{
    struct stat st;
    const struct group *g = stat(path, &st) || !st.st_gid ? NULL : getgrgid(st.st_gid);
    return g ? g->gr_name : "video";
}

omnid_status v4l2_list_explain(const char *path, int error, omnid_error *err)
{
    switch (error) {
    case EBUSY:
        return omnid_fail(
            err, OMNID_BUSY,
            "%s is in use by another program; close that one ('fuser -v %s' names it), or take another camera", path,
            path);
    case EACCES:
    case EPERM:
        return omnid_fail(
            err, OMNID_IO,
            "%s may not be opened by this user: add the user to the group '%s' ('sudo usermod -aG %s USER') "
            "and log in again",
            path, group_of(path), group_of(path));
    case ENOENT:
        return omnid_fail(err, OMNID_NOT_FOUND,
                          "%s does not exist: plug the camera in; 'omnid-devices' lists those there are", path);
    case ENODEV:
    case ENXIO:
        return omnid_fail(err, OMNID_NOT_FOUND, "%s: the camera has gone; plug it in again, it is taken up by itself",
                          path);
    case ENOSPC:
        return omnid_fail(
            err, OMNID_DEVICE,
            "%s: the USB bus has no room left for this camera: plug it into another socket, or give the other "
            "cameras a smaller size or rate (size=, fps=)",
            path);
    case ENOTTY:
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s is no V4L2 camera; 'omnid-devices' lists those there are", path);
    default:
        return omnid_fail(err, OMNID_DEVICE, "%s: %s", path, strerror(error));
    }
}

/* ---- asking ---- */

/* ioctl that goes on after a signal. */
static int ask(int fd, unsigned long request, void *argument)
{
    int result;
    do
        result = v4l2_ioctl(fd, request, argument);
    while (result == -1 && errno == EINTR);
    return result;
}

static uint32_t capabilities_of(const struct v4l2_capability *caps)
{
    return caps->capabilities & V4L2_CAP_DEVICE_CAPS ? caps->device_caps : caps->capabilities;
}

/* A descriptor for v4l2_ioctl, or -1 with errno; v4l2_close it. libv4l2 passes on what it was not given: multiplanar nodes,
 * which it would show as single-planar ones that v4l2src then does not find. */
static int open_node(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return -1;
    if (!S_ISCHR(st.st_mode)) {
        errno = ENOTTY;
        return -1;
    }
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct v4l2_capability caps;
    if (ioctl(fd, VIDIOC_QUERYCAP, &caps) == 0) {
        uint32_t bits = capabilities_of(&caps);
        if (!(bits & V4L2_CAP_VIDEO_CAPTURE) || v4l2_fd_open(fd, V4L2_DISABLE_CONVERSION) >= 0)
            return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void read_capabilities(v4l2_camera *c, const struct v4l2_capability *caps)
{
    uint32_t bits = capabilities_of(caps);
    snprintf(c->name, sizeof c->name, "%.32s", (const char *)caps->card);
    snprintf(c->driver, sizeof c->driver, "%.16s", (const char *)caps->driver);
    snprintf(c->bus, sizeof c->bus, "%.32s", (const char *)caps->bus_info);
    c->converter = bits & (V4L2_CAP_VIDEO_M2M | V4L2_CAP_VIDEO_M2M_MPLANE);
    c->capture = !c->converter && bits & (V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_VIDEO_CAPTURE_MPLANE);
    c->multiplanar = c->capture && !(bits & V4L2_CAP_VIDEO_CAPTURE);
    c->metadata = bits & V4L2_CAP_META_CAPTURE;
    c->output = bits & (V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_VIDEO_OUTPUT_MPLANE);
}

omnid_status v4l2_list_node(v4l2_camera *out, const char *path, omnid_error *err)
{
    *out = (v4l2_camera){0};
    char end[PATH_MAX];
    if (!realpath(path, end))
        return v4l2_list_explain(path, out->failed_errno = errno, err);
    if (strlen(end) >= sizeof out->path)
        return omnid_fail(err, OMNID_ARGUMENT, "%.200s: a path of more than %zu letters", end, sizeof out->path - 1);
    memcpy(out->path, end, strlen(end) + 1);
    int fd = open_node(path);
    out->failed_errno = fd < 0 ? errno : 0;
    read_system(out);
    if (fd < 0)
        return v4l2_list_explain(path, out->failed_errno, err);
    struct v4l2_capability caps = {0};
    if (ask(fd, VIDIOC_QUERYCAP, &caps))
        out->failed_errno = errno;
    else
        read_capabilities(out, &caps);
    v4l2_close(fd);
    return out->failed_errno ? v4l2_list_explain(path, out->failed_errno, err) : OMNID_OK;
}

static int is_node(const struct dirent *e)
{
    return !strncmp(e->d_name, "video", 5) && e->d_name[5] && !e->d_name[5 + strspn(e->d_name + 5, "0123456789")];
}

omnid_status v4l2_list_nodes(v4l2_camera **out, int *n, omnid_error *err)
{
    struct dirent **entries = NULL;
    int n_entries = scandir("/dev", &entries, is_node, versionsort);
    *out = n_entries > 0 ? calloc((size_t)n_entries, sizeof **out) : NULL;
    *n = 0;
    for (int i = 0; i < n_entries; i++) {
        char path[sizeof(*out)->path];
        snprintf(path, sizeof path, "/dev/%.100s", entries[i]->d_name);
        if (*out && (v4l2_list_node(&(*out)[*n], path, NULL) == OMNID_OK || *(*out)[*n].path))
            ++*n;
        free(entries[i]);
    }
    free(entries);
    if (n_entries > 0 && !*out)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a list of %d cameras", n_entries);
    return OMNID_OK;
}

void v4l2_list_clear(v4l2_camera *c)
{
    free(c->modes);
    free(c->controls);
    c->modes = NULL;
    c->controls = NULL;
    c->n_modes = c->n_controls = 0;
}

void v4l2_list_free(v4l2_camera **cameras, int n)
{
    for (int i = 0; i < n; i++)
        v4l2_list_clear(&(*cameras)[i]);
    free(*cameras);
    *cameras = NULL;
}

/* ---- modes ---- */

/* rate of an interval of n / d seconds */
static v4l2_rate rate_of(struct v4l2_fract interval)
{
    return (v4l2_rate){interval.denominator, interval.numerator ? interval.numerator : 1};
}

static void ask_rates(int fd, v4l2_mode *m, int width, int height)
{
    struct v4l2_frmivalenum e = {.pixel_format = m->fourcc, .width = (uint32_t)width, .height = (uint32_t)height};
    for (; m->n_rates < V4L2_MAX_RATES && ask(fd, VIDIOC_ENUM_FRAMEINTERVALS, &e) == 0; e.index++) {
        if (e.type != V4L2_FRMIVAL_TYPE_DISCRETE) {
            m->rate_range = true;
            m->n_rates = 2;
            m->rates[0] = rate_of(e.stepwise.max);
            m->rates[1] = rate_of(e.stepwise.min);
            return;
        }
        if (e.discrete.denominator)
            m->rates[m->n_rates++] = rate_of(e.discrete);
    }
}

static int side(uint32_t x)
{
    return x > MAX_SIDE ? MAX_SIDE : (int)x;
}

static void set_size(v4l2_mode *m, const struct v4l2_frmsizeenum *e)
{
    if (e->type == V4L2_FRMSIZE_TYPE_DISCRETE) {
        m->width = m->max_width = side(e->discrete.width);
        m->height = m->max_height = side(e->discrete.height);
        return;
    }
    const struct v4l2_frmsize_stepwise *s = &e->stepwise;
    m->width = side(s->min_width);
    m->height = side(s->min_height);
    m->max_width = side(s->max_width);
    m->max_height = side(s->max_height);
    m->step_width = s->step_width ? side(s->step_width) : 1;
    m->step_height = s->step_height ? side(s->step_height) : 1;
}

static bool add_mode(v4l2_camera *c, const v4l2_mode *m)
{
    if (c->n_modes >= V4L2_MAX_MODES)
        return true;
    if (c->n_modes % 64 == 0) {
        v4l2_mode *more = realloc(c->modes, ((size_t)c->n_modes + 64) * sizeof *more);
        if (!more)
            return false;
        c->modes = more;
    }
    c->modes[c->n_modes++] = *m;
    return true;
}

/* A driver that lists no sizes works in the one that is set. */
static void ask_current_size(int fd, const v4l2_camera *c, v4l2_mode *m)
{
    struct v4l2_format f = {.type = c->multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE};
    if (ask(fd, VIDIOC_G_FMT, &f))
        return;
    m->width = m->max_width = side(c->multiplanar ? f.fmt.pix_mp.width : f.fmt.pix.width);
    m->height = m->max_height = side(c->multiplanar ? f.fmt.pix_mp.height : f.fmt.pix.height);
}

static bool ask_sizes(int fd, v4l2_camera *c, const v4l2_mode *format, int width, int height)
{
    struct v4l2_frmsizeenum e = {.pixel_format = format->fourcc};
    for (; e.index < V4L2_MAX_MODES && ask(fd, VIDIOC_ENUM_FRAMESIZES, &e) == 0; e.index++) {
        v4l2_mode m = *format;
        int w, h;
        set_size(&m, &e);
        v4l2_size_of(&m, width, height, &w, &h);
        ask_rates(fd, &m, w, h);
        if (!add_mode(c, &m))
            return false;
        if (m.step_width)
            return true;
    }
    v4l2_mode m = *format;
    if (e.index)
        return true;
    ask_current_size(fd, c, &m);
    return add_mode(c, &m);
}

static bool ask_formats(int fd, v4l2_camera *c, int width, int height)
{
    struct v4l2_fmtdesc e = {.type = c->multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE};
    for (; e.index < V4L2_MAX_MODES && ask(fd, VIDIOC_ENUM_FMT, &e) == 0; e.index++) {
        v4l2_mode format = {.fourcc = e.pixelformat, .emulated = e.flags & V4L2_FMT_FLAG_EMULATED};
        if (!ask_sizes(fd, c, &format, width, height))
            return false;
    }
    return true;
}

static bool ask_controls(int fd, v4l2_camera *c)
{
    struct v4l2_queryctrl q = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
    c->controls = calloc(V4L2_MAX_CONTROLS, sizeof *c->controls);
    if (!c->controls)
        return false;
    for (; c->n_controls < V4L2_MAX_CONTROLS && ask(fd, VIDIOC_QUERYCTRL, &q) == 0; q.id |= V4L2_CTRL_FLAG_NEXT_CTRL) {
        if (q.type == V4L2_CTRL_TYPE_CTRL_CLASS || q.flags & V4L2_CTRL_FLAG_DISABLED)
            continue;
        v4l2_control *k = &c->controls[c->n_controls++];
        struct v4l2_control value = {.id = q.id};
        snprintf(k->name, sizeof k->name, "%.31s", (const char *)q.name);
        k->low = q.minimum;
        k->high = q.maximum;
        k->step = q.step;
        k->preset = q.default_value;
        k->value = ask(fd, VIDIOC_G_CTRL, &value) ? q.default_value : value.value;
    }
    return true;
}

omnid_status v4l2_list_modes(v4l2_camera *c, int width, int height, omnid_error *err)
{
    v4l2_list_clear(c);
    int fd = open_node(c->path);
    if (fd < 0)
        return v4l2_list_explain(c->path, c->failed_errno = errno, err);
    bool ok = (!c->capture || ask_formats(fd, c, width, height)) && ask_controls(fd, c);
    v4l2_close(fd);
    if (ok)
        return OMNID_OK;
    v4l2_list_clear(c);
    return omnid_fail(err, OMNID_NOMEM, "%s: out of memory for its list of modes", c->path);
}
