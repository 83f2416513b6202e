/* gst_picture.c: one GstVideoConverter run, or one JPEG decoded, a chosen picture; the others cost a reference. */
#include "capture/gst_picture.h"

#include "capture/jpeg.h"

#include <stdlib.h>
#include <string.h>

struct gst_picture_maker {
    atomic_int n_refs;
    GstCaps *caps; /* what the converter was made for */
    GstVideoInfo in, out;
    GstVideoConverter *converter;
};

typedef struct {
    gst_picture_maker *maker;
    GstBuffer *buffer;
    GstCaps *caps;
    GstVideoOrientationMethod method;
} native_picture;

gst_picture_maker *gst_picture_maker_create(void)
{
    gst_picture_maker *m = calloc(1, sizeof *m);
    if (m)
        atomic_init(&m->n_refs, 1);
    return m;
}

void gst_picture_maker_unref(gst_picture_maker **m)
{
    gst_picture_maker *gone = *m;
    *m = NULL;
    if (!gone || atomic_fetch_sub(&gone->n_refs, 1) != 1)
        return;
    if (gone->converter)
        gst_video_converter_free(gone->converter);
    gst_caps_replace(&gone->caps, NULL);
    free(gone);
}

/* Size with square pixels: the longer side of a pixel is stretched, nothing is lost. */
static void square_size(const GstVideoInfo *in, int *width, int *height)
{
    guint n = GST_VIDEO_INFO_PAR_N(in), d = GST_VIDEO_INFO_PAR_D(in);
    *width = GST_VIDEO_INFO_WIDTH(in);
    *height = GST_VIDEO_INFO_HEIGHT(in);
    if (n > d && d > 0)
        *width = (int)gst_util_uint64_scale_int_round((guint64)*width, (gint)n, (gint)d);
    else if (d > n && n > 0)
        *height = (int)gst_util_uint64_scale_int_round((guint64)*height, (gint)d, (gint)n);
}

static bool turns_sideways(GstVideoOrientationMethod m)
{
    return m == GST_VIDEO_ORIENTATION_90R || m == GST_VIDEO_ORIENTATION_90L || m == GST_VIDEO_ORIENTATION_UL_LR ||
           m == GST_VIDEO_ORIENTATION_UR_LL;
}

/* Copies in (w × h, 3 bytes a pixel) to out so that it stands upright. out is h × w where the method turns sideways. */
static void turn(uint8_t *out, int out_stride, const uint8_t *in, int in_stride, int w, int h,
                 GstVideoOrientationMethod method)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int ox = x, oy = y;
            switch (method) {
            case GST_VIDEO_ORIENTATION_90R:
                ox = h - 1 - y, oy = x;
                break;
            case GST_VIDEO_ORIENTATION_180:
                ox = w - 1 - x, oy = h - 1 - y;
                break;
            case GST_VIDEO_ORIENTATION_90L:
                ox = y, oy = w - 1 - x;
                break;
            case GST_VIDEO_ORIENTATION_HORIZ:
                ox = w - 1 - x;
                break;
            case GST_VIDEO_ORIENTATION_VERT:
                oy = h - 1 - y;
                break;
            case GST_VIDEO_ORIENTATION_UL_LR:
                ox = y, oy = x;
                break;
            case GST_VIDEO_ORIENTATION_UR_LL:
                ox = h - 1 - y, oy = w - 1 - x;
                break;
            default:
                break;
            }
            memcpy(out + (size_t)oy * (size_t)out_stride + (size_t)ox * 3,
                   in + (size_t)y * (size_t)in_stride + (size_t)x * 3, 3);
        }
}

static omnid_status turn_upright(picture *p, GstVideoOrientationMethod method, omnid_error *err)
{
    if (method == GST_VIDEO_ORIENTATION_IDENTITY || method == GST_VIDEO_ORIENTATION_AUTO)
        return OMNID_OK;
    bool sideways = turns_sideways(method);
    int w = sideways ? p->height : p->width, h = sideways ? p->width : p->height;
    uint8_t *rgb = malloc((size_t)w * 3 * (size_t)h);
    if (!rgb)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a picture of %d x %d pixels", w, h);
    turn(rgb, w * 3, p->rgb, p->stride, p->width, p->height, method);
    free(p->rgb);
    p->rgb = rgb;
    p->width = w;
    p->height = h;
    p->stride = w * 3;
    return OMNID_OK;
}

/* Makes the converter for these caps unless it is there. */
static omnid_status prepare(gst_picture_maker *m, GstCaps *caps, omnid_error *err)
{
    if (m->converter && (m->caps == caps || gst_caps_is_equal(m->caps, caps)))
        return OMNID_OK;
    if (m->converter)
        gst_video_converter_free(m->converter);
    m->converter = NULL;
    gst_caps_replace(&m->caps, caps);
    if (!gst_video_info_from_caps(&m->in, caps))
        return omnid_fail(err, OMNID_FORMAT, "picture: want raw video, found caps that are not");
    int width, height;
    square_size(&m->in, &width, &height);
    gst_video_info_set_format(&m->out, GST_VIDEO_FORMAT_RGB, (guint)width, (guint)height);
    GST_VIDEO_INFO_FPS_N(&m->out) = GST_VIDEO_INFO_FPS_N(&m->in); /* the converter wants one rate and one interlacing */
    GST_VIDEO_INFO_FPS_D(&m->out) = GST_VIDEO_INFO_FPS_D(&m->in);
    GST_VIDEO_INFO_INTERLACE_MODE(&m->out) = GST_VIDEO_INFO_INTERLACE_MODE(&m->in);
    m->converter = gst_video_converter_new(&m->in, &m->out, NULL);
    if (!m->converter)
        return omnid_fail(err, OMNID_UNSUPPORTED, "picture: GStreamer cannot convert %s to RGB",
                          gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(&m->in)));
    return OMNID_OK;
}

/* Runs the converter from the sample's buffer into p->rgb, which is as large as m->out says. */
static bool run_converter(picture *p, gst_picture_maker *m, GstBuffer *buffer)
{
    GstVideoFrame in, out;
    if (!gst_video_frame_map(&in, &m->in, buffer, GST_MAP_READ))
        return false;
    gsize size = GST_VIDEO_INFO_SIZE(&m->out);
    GstBuffer *target = gst_buffer_new_wrapped_full(0, p->rgb, size, 0, size, NULL, NULL);
    bool ok = gst_video_frame_map(&out, &m->out, target, GST_MAP_WRITE);
    if (ok) {
        gst_video_converter_frame(m->converter, &in, &out);
        gst_video_frame_unmap(&out);
    }
    gst_buffer_unref(target);
    gst_video_frame_unmap(&in);
    return ok;
}

static bool is_jpeg(const GstCaps *caps)
{
    return gst_structure_has_name(gst_caps_get_structure(caps, 0), "image/jpeg");
}

/* What GStreamer knows of raw video; of a JPEG picture (size, shape of its pixels), as if it were decoded. */
static bool read_caps(GstVideoInfo *info, const GstCaps *caps)
{
    if (!is_jpeg(caps))
        return gst_video_info_from_caps(info, caps);
    const GstStructure *s = gst_caps_get_structure(caps, 0);
    int width = 1, height = 1, n = 1, d = 1; /* the picture itself will tell */
    gst_structure_get(s, "width", G_TYPE_INT, &width, "height", G_TYPE_INT, &height, NULL);
    if (!gst_video_info_set_format(info, GST_VIDEO_FORMAT_RGB, (guint)width, (guint)height))
        return false;
    if (gst_structure_get_fraction(s, "pixel-aspect-ratio", &n, &d) && n > 0 && d > 0) {
        GST_VIDEO_INFO_PAR_N(info) = n;
        GST_VIDEO_INFO_PAR_D(info) = d;
    }
    return true;
}

/* Converts n's buffer of raw video. */
static omnid_status convert_raw(picture *p, native_picture *n, omnid_error *err)
{
    OMNID_TRY(prepare(n->maker, n->caps, err));
    const GstVideoInfo *out = &n->maker->out;
    p->rgb = malloc(GST_VIDEO_INFO_SIZE(out));
    if (!p->rgb)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a picture of %d x %d pixels", GST_VIDEO_INFO_WIDTH(out),
                          GST_VIDEO_INFO_HEIGHT(out));
    p->width = GST_VIDEO_INFO_WIDTH(out);
    p->height = GST_VIDEO_INFO_HEIGHT(out);
    p->stride = GST_VIDEO_INFO_PLANE_STRIDE(out, 0);
    return run_converter(p, n->maker, n->buffer)
               ? OMNID_OK
               : omnid_fail(err, OMNID_FORMAT, "picture: a buffer of another size than its caps say");
}

/* A decoded JPEG picture whose pixels are not square, made so. Takes decoded->rgb. */
static omnid_status make_square(picture *p, native_picture *n, GstVideoInfo *info, jpeg_picture *decoded,
                                omnid_error *err)
{
    gsize size = (gsize)decoded->stride * (gsize)decoded->height;
    GstCaps *caps = gst_video_info_to_caps(info);
    native_picture raw = *n;
    raw.buffer = gst_buffer_new_wrapped_full(0, decoded->rgb, size, 0, size, decoded->rgb, free);
    raw.caps = caps;
    omnid_status status = convert_raw(p, &raw, err);
    gst_buffer_unref(raw.buffer);
    gst_caps_unref(caps);
    return status;
}

static omnid_status keep_jpeg(picture *p, const uint8_t *bytes, size_t n_bytes, omnid_error *err)
{
    p->jpeg = n_bytes ? malloc(n_bytes) : NULL;
    if (!p->jpeg)
        return n_bytes ? omnid_fail(err, OMNID_NOMEM, "out of memory for a JPEG picture of %zu bytes", n_bytes)
                       : OMNID_OK;
    memcpy(p->jpeg, bytes, n_bytes);
    p->n_jpeg = n_bytes;
    return OMNID_OK;
}

static omnid_status convert_jpeg_bytes(picture *p, native_picture *n, const uint8_t *bytes, size_t n_bytes,
                                       omnid_error *err)
{
    jpeg_picture decoded;
    GstVideoInfo info;
    OMNID_TRY(jpeg_decode(&decoded, bytes, n_bytes, err));
    if (!read_caps(&info, n->caps)) {
        free(decoded.rgb);
        return omnid_fail(err, OMNID_FORMAT, "picture: JPEG caps of a size that cannot be");
    }
    guint par_n = (guint)GST_VIDEO_INFO_PAR_N(&info), par_d = (guint)GST_VIDEO_INFO_PAR_D(&info);
    if (par_n != par_d) {
        gst_video_info_set_format(&info, GST_VIDEO_FORMAT_RGB, (guint)decoded.width, (guint)decoded.height);
        GST_VIDEO_INFO_PAR_N(&info) = (gint)par_n;
        GST_VIDEO_INFO_PAR_D(&info) = (gint)par_d;
        return make_square(p, n, &info, &decoded, err);
    }
    p->rgb = decoded.rgb;
    p->width = decoded.width;
    p->height = decoded.height;
    p->stride = decoded.stride;
    bool as_it_came = n->method == GST_VIDEO_ORIENTATION_IDENTITY || n->method == GST_VIDEO_ORIENTATION_AUTO;
    return keep_jpeg(p, bytes, as_it_came ? decoded.n_whole : 0, err);
}

static omnid_status convert_jpeg(picture *p, native_picture *n, omnid_error *err)
{
    GstMapInfo map;
    if (!gst_buffer_map(n->buffer, &map, GST_MAP_READ))
        return omnid_fail(err, OMNID_NOMEM, "picture: a buffer of JPEG cannot be mapped");
    omnid_status status = convert_jpeg_bytes(p, n, map.data, map.size, err);
    gst_buffer_unmap(n->buffer, &map);
    return status;
}

static omnid_status gst_picture_convert(picture *p, omnid_error *err)
{
    native_picture *n = p->native;
    omnid_status status = is_jpeg(n->caps) ? convert_jpeg(p, n, err) : convert_raw(p, n, err);
    if (status == OMNID_OK)
        status = turn_upright(p, n->method, err);
    if (status != OMNID_OK) {
        free(p->rgb);
        p->rgb = NULL;
    }
    return status;
}

static void gst_picture_release(picture *p)
{
    native_picture *n = p->native;
    gst_buffer_unref(n->buffer);
    gst_caps_unref(n->caps);
    gst_picture_maker_unref(&n->maker);
    free(n);
}

omnid_status gst_picture_create(picture **out, gst_picture_maker *m, GstBuffer *buffer, GstCaps *caps,
                                GstVideoOrientationMethod method, int64_t t_us, omnid_error *err)
{
    static const picture_ops ops = {gst_picture_convert, gst_picture_release};
    *out = NULL;
    GstVideoInfo info;

    if (!caps || !read_caps(&info, caps))
        return omnid_fail(err, OMNID_FORMAT, "picture: want raw video or JPEG, found caps that are neither");
    int width, height;
    square_size(&info, &width, &height);
    native_picture *n = malloc(sizeof *n);
    if (!n)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a picture's description");
    *n = (native_picture){m, buffer, caps, method};
    bool sideways = turns_sideways(method);
    omnid_status status = picture_create(out, t_us, sideways ? height : width, sideways ? width : height, &ops, n, err);
    if (status != OMNID_OK) {
        free(n);
        return status;
    }
    gst_buffer_ref(buffer);
    gst_caps_ref(caps);
    atomic_fetch_add(&m->n_refs, 1);
    return OMNID_OK;
}
