/* jpeg.c: libjpeg-turbo's decoder, with its warnings sorted into those that harm the picture and those that do not. */
#include "capture/jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* jpeglib wants the headers above before it */
#include <jerror.h>
#include <jpeglib.h>

typedef struct {
    struct jpeg_error_mgr base; /* first: libjpeg knows only this part */
    jmp_buf failed;
    char text[JMSG_LENGTH_MAX]; /* of the error, or of the first warning that harms */
    bool harmed, cut;           /* cut: the end marker is missing */
} decoder_errors;

typedef struct {
    struct jpeg_decompress_struct jpeg;
    decoder_errors errors;
    jpeg_picture picture;
    bool no_memory;
} decoder;

static void on_error(j_common_ptr jpeg)
{
    decoder_errors *e = (decoder_errors *)jpeg->err;
    jpeg->err->format_message(jpeg, e->text);
    longjmp(e->failed, 1);
}

/* Warnings have level -1. A missing end harms nothing by itself: when picture data are missing, too, JWRN_HIT_MARKER follows. */
static void on_message(j_common_ptr jpeg, int level)
{
    decoder_errors *e = (decoder_errors *)jpeg->err;
    if (level >= 0)
        return;
    switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
        e->cut = true;
        break;
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
        break;
    default:
        if (!e->harmed)
            jpeg->err->format_message(jpeg, e->text);
        e->harmed = true;
    }
}

/* Reads the header and makes room. False: too large or no memory; the text, or no_memory, says so. */
static bool begin(decoder *d, const uint8_t *bytes, size_t n, bool *has_tables)
{
    jpeg_picture *p = &d->picture;
    jpeg_mem_src(&d->jpeg, bytes, (unsigned long)n);
    jpeg_read_header(&d->jpeg, TRUE);
    *has_tables = d->jpeg.dc_huff_tbl_ptrs[0] || d->jpeg.arith_code;
    uint64_t n_pixels = (uint64_t)d->jpeg.image_width * d->jpeg.image_height;
    if (d->jpeg.image_width > JPEG_MAX_SIDE || d->jpeg.image_height > JPEG_MAX_SIDE || n_pixels > JPEG_MAX_PIXELS) {
        snprintf(d->errors.text, sizeof d->errors.text, "%u x %u pixels; at most %d a side and %d million are read",
                 d->jpeg.image_width, d->jpeg.image_height, JPEG_MAX_SIDE, JPEG_MAX_PIXELS / 1000000);
        return false;
    }
    d->jpeg.out_color_space = JCS_RGB;
    jpeg_start_decompress(&d->jpeg);
    p->width = (int)d->jpeg.output_width;
    p->height = (int)d->jpeg.output_height;
    p->stride = (p->width * 3 + 3) & ~3; /* GStreamer's rows of RGB */
    p->rgb = malloc((size_t)p->stride * (size_t)p->height);
    d->no_memory = !p->rgb;
    return p->rgb;
}

/* False: not decoded; errors.text says why. In a function of its own, for longjmp. */
static bool decode(decoder *d, const uint8_t *bytes, size_t n)
{
    bool has_tables;
    if (setjmp(d->errors.failed))
        return false;
    jpeg_create_decompress(&d->jpeg);
    if (!begin(d, bytes, n, &has_tables))
        return false;
    while (d->jpeg.output_scanline < d->jpeg.output_height && !d->errors.harmed) {
        JSAMPROW row = d->picture.rgb + (size_t)d->jpeg.output_scanline * (size_t)d->picture.stride;
        jpeg_read_scanlines(&d->jpeg, &row, 1);
    }
    if (d->errors.harmed)
        return false;
    jpeg_finish_decompress(&d->jpeg);
    d->picture.n_whole = has_tables && !d->errors.cut ? n - d->jpeg.src->bytes_in_buffer : 0;
    return !d->errors.harmed;
}

omnid_status jpeg_decode(jpeg_picture *out, const uint8_t *bytes, size_t n, omnid_error *err)
{
    decoder *d = calloc(1, sizeof *d); /* not on the stack: longjmp leaves automatic variables undefined */
    if (!d)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a JPEG decoder");
    d->jpeg.err = jpeg_std_error(&d->errors.base);
    d->errors.base.error_exit = on_error;
    d->errors.base.emit_message = on_message;
    omnid_status status = OMNID_OK;
    if (!n || !decode(d, bytes, n))
        status = d->no_memory
                     ? omnid_fail(err, OMNID_NOMEM, "out of memory for a picture of %d x %d pixels", d->picture.width,
                                  d->picture.height)
                     : omnid_fail(err, OMNID_FORMAT, "JPEG picture of %zu bytes: %s", n, n ? d->errors.text : "empty");
    jpeg_destroy_decompress(&d->jpeg);
    if (status == OMNID_OK)
        *out = d->picture;
    else
        free(d->picture.rgb);
    free(d);
    return status;
}
