/* fuzz_camera.c: what comes from a camera and from who configures it: JPEG frames, and URIs that begin with "v4l2:". */
#include "capture/jpeg.h"
#include "capture/v4l2_match.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    omnid_error err;
    if (size >= 5 && !memcmp(data, "v4l2:", 5)) {
        v4l2_uri u;
        char *uri = calloc(1, size + 1);
        memcpy(uri, data, size);
        if (v4l2_uri_read(&u, uri, &err) == OMNID_OK && !*u.device)
            abort();
        free(uri);
        return 0;
    }
    jpeg_picture p;
    if (jpeg_decode(&p, data, size, &err) != OMNID_OK)
        return 0;
    if (p.n_whole > size || p.stride < 3 * p.width || p.height < 1)
        abort();
    free(p.rgb);
    return 0;
}
