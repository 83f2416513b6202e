/* source_csi.c: "csi:N", the camera on a Jetson's CSI port N: NVIDIA's own source, its pictures fetched from the GPU. */
#include "capture/source_csi.h"

#include "capture/source_pipeline.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SENSOR = 15, MAX_SIDE = 8192, MAX_FPS = 120 };

static omnid_status refuse(const char *uri, omnid_error *err)
{
    return omnid_fail(err, OMNID_ARGUMENT,
                      "%.150s: want csi:N[,size=WIDTHxHEIGHT][,fps=N] with the sensor's number 0..%d, e.g. csi:0 or "
                      "csi:1,size=1920x1080",
                      uri, MAX_SENSOR);
}

omnid_status csi_describe(char *launch, size_t size, const char *uri, omnid_error *err)
{
    int sensor = -1, width = 1280, height = 720, fps = 30, n = 0;
    const char *at = source_rest(uri);
    if (sscanf(at, "%2d%n", &sensor, &n) != 1)
        return refuse(uri, err);
    for (at += n; *at == ','; at += n) {
        n = 0;
        if (sscanf(at, ",size=%5dx%5d%n", &width, &height, &n) != 2 || !n)
            if (sscanf(at, ",fps=%4d%n", &fps, &n) != 1 || !n)
                return refuse(uri, err);
    }
    if (*at || sensor < 0 || sensor > MAX_SENSOR || width < 16 || width > MAX_SIDE || height < 16 ||
        height > MAX_SIDE || fps < 1 || fps > MAX_FPS)
        return refuse(uri, err);
    snprintf(launch, size,
             "nvarguscamerasrc sensor-id=%d ! video/x-raw(memory:NVMM),width=%d,height=%d,framerate=%d/1 ! nvvidconv ! "
             "video/x-raw,format=I420 ! queue name=video max-size-buffers=2 leaky=downstream",
             sensor, width, height, fps);
    return OMNID_OK;
}

static omnid_status csi_check(const char *uri, omnid_error *err)
{
    char launch[320];
    return csi_describe(launch, sizeof launch, uri, err);
}

static omnid_status csi_open(void **self, const source_params *p, source_info *info, omnid_error *err)
{
    char launch[320];
    *self = NULL;
    OMNID_TRY(csi_describe(launch, sizeof launch, p->uri, err));
    OMNID_TRY(source_gst_init(err));
    GstElementFactory *argus = gst_element_factory_find("nvarguscamerasrc");
    if (!argus)
        return omnid_fail(
            err, OMNID_UNSUPPORTED,
            "%s: GStreamer's element 'nvarguscamerasrc' is not installed: this is no Jetson, or JetPack's "
            "package nvidia-l4t-gstreamer is missing; on other boards write pipeline:libcamerasrc ! … ! "
            "queue name=video",
            p->shown);
    gst_object_unref(argus);
    return pipeline_open(self, p, launch, info, err);
}

const source_ops source_csi = {
    .scheme = "csi",
    .description = "csi:N[,size=WxH][,fps=N]  the camera on a Jetson's CSI port N",
    .check = csi_check,
    .open = csi_open,
    .read = source_gst_read,
    .close = source_gst_close,
};
