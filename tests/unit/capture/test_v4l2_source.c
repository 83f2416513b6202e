/* The source v4l2: from its URI to segments, with cameras that are made up: what V4L2 says comes out of recorded lists, and a
 * bin of this program takes v4l2src's name. Refused modes, busy cameras, JPEG that stays JPEG, replugging. */
#include "capture/source.h"
#include "capture/v4l2_choose.h"
#include "v4l2_fixture.h"

#include <errno.h>
#include <gst/gst.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

/* ---- what is plugged in ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards everything in world */
static struct {
    const char *fixture;
    char path[64];   /* "" = unplugged */
    int n_refused;   /* starts of v4l2src still to be refused */
    int try_errno;   /* what a start by hand gives */
    int n_starts;    /* of v4l2src */
    char device[64]; /* v4l2src's, of the last one */
    GstElement *running;
} world;

static void plug(const char *fixture, const char *path)
{
    pthread_mutex_lock(&lock);
    world.fixture = fixture;
    snprintf(world.path, sizeof world.path, "%s", path);
    pthread_mutex_unlock(&lock);
}

static v4l2_camera camera_now(bool modes)
{
    v4l2_camera c = fixture_read(world.fixture);
    if (!modes)
        v4l2_list_clear(&c);
    strcpy(c.path, world.path);
    return c;
}

omnid_status __wrap_v4l2_list_node(v4l2_camera *out, const char *path, omnid_error *err);
omnid_status __wrap_v4l2_list_nodes(v4l2_camera **out, int *n, omnid_error *err);
omnid_status __wrap_v4l2_list_modes(v4l2_camera *c, int width, int height, omnid_error *err);
int __wrap_v4l2_list_try(const v4l2_camera *c, uint32_t fourcc, int width, int height, v4l2_rate rate);

omnid_status __wrap_v4l2_list_node(v4l2_camera *out, const char *path, omnid_error *err)
{
    pthread_mutex_lock(&lock);
    bool there = !strcmp(path, world.path);
    *out = there ? camera_now(false) : (v4l2_camera){.failed_errno = ENOENT};
    pthread_mutex_unlock(&lock);
    return there ? OMNID_OK : v4l2_list_explain(path, ENOENT, err);
}

omnid_status __wrap_v4l2_list_nodes(v4l2_camera **out, int *n, omnid_error *err)
{
    (void)err;
    pthread_mutex_lock(&lock);
    *n = *world.path != '\0';
    *out = *n ? malloc(sizeof **out) : NULL;
    if (*n)
        **out = camera_now(false);
    pthread_mutex_unlock(&lock);
    return OMNID_OK;
}

omnid_status __wrap_v4l2_list_modes(v4l2_camera *c, int width, int height, omnid_error *err)
{
    (void)width, (void)height, (void)err;
    pthread_mutex_lock(&lock);
    *c = camera_now(true);
    pthread_mutex_unlock(&lock);
    return OMNID_OK;
}

int __wrap_v4l2_list_try(const v4l2_camera *c, uint32_t fourcc, int width, int height, v4l2_rate rate)
{
    (void)c, (void)fourcc, (void)width, (void)height, (void)rate;
    return world.try_errno;
}

/* ---- v4l2src: a live test picture as JPEG ---- */

typedef struct {
    GstBin bin;
    char *device;
} FakeSource;
typedef struct {
    GstBinClass bin_class;
} FakeSourceClass;
GType fake_source_get_type(void);
G_DEFINE_TYPE(FakeSource, fake_source, GST_TYPE_BIN)

static void fake_set(GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
    (void)id, (void)spec;
    g_free(((FakeSource *)object)->device);
    ((FakeSource *)object)->device = g_value_dup_string(value);
}

static void fake_finalize(GObject *object)
{
    g_free(((FakeSource *)object)->device);
    G_OBJECT_CLASS(fake_source_parent_class)->finalize(object);
}

static GstStateChangeReturn fake_change(GstElement *element, GstStateChange change)
{
    if (change == GST_STATE_CHANGE_READY_TO_PAUSED) {
        pthread_mutex_lock(&lock);
        world.n_starts++;
        snprintf(world.device, sizeof world.device, "%s", ((FakeSource *)element)->device);
        bool refused = world.n_refused > 0;
        world.n_refused -= refused;
        world.running = refused ? NULL : element;
        pthread_mutex_unlock(&lock);
        if (refused) {
            GST_ELEMENT_ERROR(element, RESOURCE, FAILED, ("Failed to allocate required memory."), ("made up"));
            return GST_STATE_CHANGE_FAILURE;
        }
    }
    if (change == GST_STATE_CHANGE_PAUSED_TO_READY) {
        pthread_mutex_lock(&lock);
        world.running = NULL;
        pthread_mutex_unlock(&lock);
    }
    return GST_ELEMENT_CLASS(fake_source_parent_class)->change_state(element, change);
}

static void fake_source_class_init(FakeSourceClass *klass)
{
    G_OBJECT_CLASS(klass)->set_property = fake_set;
    G_OBJECT_CLASS(klass)->finalize = fake_finalize;
    GST_ELEMENT_CLASS(klass)->change_state = fake_change;
    g_object_class_install_property(G_OBJECT_CLASS(klass), 1,
                                    g_param_spec_string("device", "device", "device", NULL, G_PARAM_WRITABLE));
    gst_element_class_set_static_metadata(GST_ELEMENT_CLASS(klass), "fake", "Source", "fake", "test");
}

static void fake_source_init(FakeSource *self)
{
    GstElement *source = gst_element_factory_make("videotestsrc", NULL);
    GstElement *jpeg = gst_element_factory_make("jpegenc", NULL);
    g_object_set(source, "is-live", TRUE, NULL);
    gst_bin_add_many(&self->bin, source, jpeg, NULL);
    gst_element_link(source, jpeg);
    GstPad *pad = gst_element_get_static_pad(jpeg, "src");
    gst_element_add_pad(GST_ELEMENT(self), gst_ghost_pad_new("src", pad));
    gst_object_unref(pad);
}

/* ---- a camera and what comes of it ---- */

typedef struct {
    pthread_mutex_t lock;
    int n_segments, n_jpeg, width, height;
    int n_running, n_lost;
    char message[256];
} seen;

static void on_segment(void *user, const capture_segment *seg)
{
    seen *s = user;
    pthread_mutex_lock(&s->lock);
    s->n_segments++;
    for (int i = 0; i < seg->n_frames; i++) {
        s->n_jpeg += seg->frames[i].jpeg != NULL;
        s->width = seg->frames[i].width;
        s->height = seg->frames[i].height;
    }
    pthread_mutex_unlock(&s->lock);
}

static void on_source(void *user, bool video, capture_state state, const char *message)
{
    seen *s = user;
    pthread_mutex_lock(&s->lock);
    s->n_running += video && state == CAPTURE_RUNNING;
    s->n_lost += video && state == CAPTURE_LOST;
    if (state == CAPTURE_LOST)
        snprintf(s->message, sizeof s->message, "%s", message);
    pthread_mutex_unlock(&s->lock);
}

static omnid_capture *start(seen *s, const char *uri)
{
    *s = (seen){.lock = PTHREAD_MUTEX_INITIALIZER};
    capture_params p = capture_params_default();
    p.video = uri;
    p.user = s;
    p.on_segment = on_segment;
    p.on_source = on_source;
    omnid_capture *c;
    omnid_error err;
    if (omnid_capture_start(&c, &p, &err) != OMNID_OK)
        fail_msg("%s", err.text);
    return c;
}

/* Waits until a counter of s has reached n, a minute at most. */
static void await(seen *s, const int *counter, int n, const char *what)
{
    int64_t until_us = omnid_clock_us() + 60000000;
    for (bool reached = false; !reached;) {
        pthread_mutex_lock(&s->lock);
        reached = *counter >= n;
        pthread_mutex_unlock(&s->lock);
        if (!reached && omnid_clock_us() > until_us)
            fail_msg("%d times %s within a minute, want %d", *counter, what, n);
        usleep(20000);
    }
}

/* Waits until the picture's message says it, a minute at most. */
static void await_message(omnid_capture *c, const char *part)
{
    capture_status status = {0};
    for (int64_t until_us = omnid_clock_us() + 60000000; !strstr(status.video.message, part); usleep(20000)) {
        if (omnid_clock_us() > until_us)
            fail_msg("'%s' does not say '%s'", status.video.message, part);
        status = omnid_capture_get_status(c);
    }
}

static void reset(const char *fixture, const char *path, int n_refused, int try_errno)
{
    memset(&world, 0, sizeof world);
    world.n_refused = n_refused;
    world.try_errno = try_errno;
    plug(fixture, path);
}

/* Runs until the first segment with pictures: their size. */
static void check_runs(const char *uri, int width, int height, int n_starts)
{
    seen s;
    omnid_capture *c = start(&s, uri);
    await(&s, &s.n_jpeg, 1, "JPEG");
    omnid_capture_stop(&c);
    assert_int_equal(s.width, width);
    assert_int_equal(s.height, height);
    assert_int_equal(world.n_starts, n_starts);
    assert_string_equal(world.device, "/dev/video2");
}

static void test_first_choice(void **state)
{
    (void)state;
    reset("mjpeg-only", "/dev/video2", 0, 0);
    check_runs("v4l2:/dev/video2", 640, 480, 1);
    reset("mjpeg-only", "/dev/video2", 0, 0);
    check_runs("v4l2:usb camera,size=320x240", 320, 240, 1);
}

/* A mode that is refused: the next; where the bus is full: a lighter one. */
static void test_refused_modes(void **state)
{
    (void)state;
    reset("mjpeg-only", "/dev/video2", 1, EINVAL);
    check_runs("v4l2:/dev/video2", 1280, 720, 2);
    reset("mjpeg-only", "/dev/video2", 1, ENOSPC);
    check_runs("v4l2:/dev/video2", 320, 240, 2);
    reset("mjpeg-only", "/dev/video2", 1, 0); /* for a reason that nobody knows */
    check_runs("v4l2:/dev/video2", 1280, 720, 2);
}

/* Busy: said at once, no other mode is tried; taken when it is free. */
static void test_busy(void **state)
{
    (void)state;
    reset("mjpeg-only", "/dev/video2", 2, EBUSY);
    seen s;
    omnid_capture *c = start(&s, "v4l2:/dev/video2");
    await(&s, &s.n_lost, 1, "lost");
    assert_non_null(strstr(s.message, "/dev/video2 is in use by another program"));
    await(&s, &s.n_jpeg, 1, "JPEG");
    omnid_capture_stop(&c);
    assert_int_equal(s.width, 640);
    assert_int_equal(world.n_starts, 3);
}

/* Unplugged, and back as another node: followed. Meanwhile another camera takes its old node: left alone. */
static void test_replugged(void **state)
{
    (void)state;
    reset("mjpeg-only", "/dev/video2", 0, 0);
    seen s;
    omnid_capture *c = start(&s, "v4l2:/dev/video2");
    await(&s, &s.n_jpeg, 1, "JPEG");
    plug("laptop", "/dev/video2");
    pthread_mutex_lock(&lock);
    GstElement *running = world.running ? gst_object_ref(world.running) : NULL;
    pthread_mutex_unlock(&lock);
    assert_non_null(running);
    GST_ELEMENT_ERROR(running, RESOURCE, READ, ("Could not read from resource."), ("made up"));
    gst_object_unref(running);
    await_message(c, "the camera USB 2.0 Camera: USB Camera, serial number SN0001 is not plugged in");
    assert_int_equal(world.n_starts, 1);
    plug("mjpeg-only", "/dev/video7");
    await(&s, &s.n_running, 2, "running");
    omnid_capture_stop(&c);
    assert_string_equal(world.device, "/dev/video7");
    assert_int_equal(world.n_starts, 2);
}

static void test_camera_that_cannot_be_used(void **state)
{
    (void)state;
    reset("bayer-only", "/dev/video2", 0, 0);
    seen s;
    omnid_capture *c = start(&s, "v4l2:/dev/video2");
    await(&s, &s.n_lost, 1, "lost");
    omnid_capture_stop(&c);
    assert_non_null(strstr(s.message, "only what its sensor sees (Bayer"));
    assert_int_equal(world.n_starts, 0);
}

int main(int argc, char **argv)
{
    gst_init(&argc, &argv);
    gst_element_register(NULL, "v4l2src", GST_RANK_NONE, fake_source_get_type());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_choice),
        cmocka_unit_test(test_refused_modes),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_replugged),
        cmocka_unit_test(test_camera_that_cannot_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
