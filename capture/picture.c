/* picture.c: counted pictures whose pixels are made late. */
#include "capture/picture.h"

#include <stdlib.h>

omnid_status picture_create(picture **out, int64_t t_us, int width, int height, const picture_ops *ops, void *native,
                            omnid_error *err)
{
    picture *p = calloc(1, sizeof *p);
    *out = p;
    if (!p)
        return omnid_fail(err, OMNID_NOMEM, "out of memory for a picture's description");
    atomic_init(&p->n_refs, 1);
    p->t_us = t_us;
    p->width = width;
    p->height = height;
    p->ops = ops;
    p->native = native;
    return OMNID_OK;
}

picture *picture_ref(picture *p)
{
    atomic_fetch_add(&p->n_refs, 1);
    return p;
}

static void release_native(picture *p)
{
    if (p->native)
        p->ops->release(p);
    p->native = NULL;
}

void picture_unref(picture **p)
{
    picture *gone = *p;
    *p = NULL;
    if (!gone || atomic_fetch_sub(&gone->n_refs, 1) != 1)
        return;
    release_native(gone);
    free(gone->rgb);
    free(gone->jpeg);
    free(gone);
}

omnid_status picture_convert(picture *p, omnid_error *err)
{
    if (p->rgb)
        return OMNID_OK;
    if (p->failed)
        return omnid_fail(err, OMNID_FORMAT, "picture at %.3f s: could not be converted to RGB", (double)p->t_us / 1e6);
    omnid_status status = p->ops->convert(p, err);
    p->failed = status != OMNID_OK;
    release_native(p); /* gives a camera its buffer back at once */
    return status;
}
