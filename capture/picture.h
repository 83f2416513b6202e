/* picture.h: one picture on its way from a source to a segment.
 *
 * A source makes a picture of whatever it has (a decoder's buffer, a camera's buffer) without touching the pixels; the
 * segmenter asks for RGB only of those that it chooses. Counted references; a picture may outlive its source. */
#ifndef OMNID_CAPTURE_PICTURE_H
#define OMNID_CAPTURE_PICTURE_H

#include "base/base.h"

#include <stdatomic.h>

typedef struct picture picture;

typedef struct {
    /* Makes p->rgb with malloc (height rows of stride bytes, 3 bytes a pixel) out of p->native and may correct width and
     * height; may set p->jpeg (malloc). Called at most once, never for two pictures of a camera at a time. */
    omnid_status (*convert)(picture *p, omnid_error *err);
    void (*release)(picture *p); /* lets go of p->native; called once, right after convert or when the picture goes */
} picture_ops;

struct picture {
    atomic_int n_refs;
    int64_t t_us;              /* of the moment it shows, on the camera's clock */
    int width, height, stride; /* pixels, pixels, bytes; before convert: what is expected, and 0 */
    uint8_t *rgb;              /* NULL before convert */
    bool failed;               /* convert was tried and failed */
    uint8_t *jpeg;             /* the picture as a JPEG file of n_jpeg bytes, if it came as one; NULL before convert */
    size_t n_jpeg;
    const picture_ops *ops;
    void *native;
};

/* A picture of one reference. Takes native on OK only. ops must live as long as the program. NOMEM. */
omnid_status picture_create(picture **out, int64_t t_us, int width, int height, const picture_ops *ops, void *native,
                            omnid_error *err);
picture *picture_ref(picture *p);
/* Gives one reference back; *p may be NULL, is NULL afterwards. Any thread. */
void picture_unref(picture **p);
/* Has the pixels made unless they are there. A picture that failed once fails again, without another try. */
omnid_status picture_convert(picture *p, omnid_error *err);

#endif
