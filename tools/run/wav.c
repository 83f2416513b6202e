/* wav.c: 16-bit mono 16 kHz sound out of a RIFF file. Chunks may stand in any order before the data; unknown ones are
 * passed over. */
#include "tools/run/run.h"

#include <stdlib.h>
#include <string.h>

enum { RATE = 16000, TAG_PCM = 1, TAG_EXTENSIBLE = 0xFFFE };

typedef struct {
    bool known;
    unsigned tag, channels, bits;
    uint32_t rate;
} format;

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static omnid_status read_format(format *f, const char *path, const uint8_t *p, size_t n, omnid_error *err)
{
    if (n < 16)
        return omnid_fail(err, OMNID_FORMAT, "%s: fmt chunk has %zu bytes, want 16 or more", path, n);
    f->known = true;
    f->tag = u16(p);
    f->channels = u16(p + 2);
    f->rate = u32(p + 4);
    f->bits = u16(p + 14);
    if (f->tag == TAG_EXTENSIBLE && n >= 26) /* the sub-format's first two bytes are the tag */
        f->tag = u16(p + 24);
    if (f->tag != TAG_PCM || f->channels != 1 || f->bits != 16 || f->rate != RATE)
        return omnid_fail(err, OMNID_UNSUPPORTED,
                          "%s: want 16-bit PCM, 1 channel, 16000 Hz, found format %u, %u-bit, %u channels, %u Hz", path,
                          f->tag, f->bits, f->channels, f->rate);
    return OMNID_OK;
}

static omnid_status read_data(wav_sound *out, const char *path, const uint8_t *p, size_t n, omnid_error *err)
{
    if (n % 2 != 0)
        return omnid_fail(err, OMNID_FORMAT, "%s: data chunk of %zu bytes is no whole number of 16-bit samples", path,
                          n);
    out->n = (int64_t)(n / 2);
    out->samples = malloc((n / 2 + 1) * sizeof *out->samples);
    if (!out->samples)
        return omnid_fail(err, OMNID_NOMEM, "%s: no memory for %zu samples", path, n / 2);
    for (int64_t i = 0; i < out->n; i++)
        out->samples[i] = (float)(int16_t)u16(p + 2 * i) / 32768.0f;
    return OMNID_OK;
}

static omnid_status parse(wav_sound *out, const char *path, const uint8_t *file, size_t n, omnid_error *err)
{
    format f = {0};
    if (n < 12 || memcmp(file, "RIFF", 4) != 0 || memcmp(file + 8, "WAVE", 4) != 0)
        return omnid_fail(err, OMNID_FORMAT, "%s: not a WAV file (no RIFF … WAVE at its start)", path);
    for (size_t at = 12; n - at >= 8;) {
        size_t size = u32(file + at + 4), left = n - at - 8;
        bool is_data = memcmp(file + at, "data", 4) == 0;
        if (is_data && size == 0xFFFFFFFF) /* a writer that could not seek back: the rest of the file */
            size = left;
        if (size > left)
            return omnid_fail(err, OMNID_FORMAT, "%s: torn: chunk '%.4s' of %zu bytes, %zu are there", path, file + at,
                              size, left);
        if (memcmp(file + at, "fmt ", 4) == 0)
            OMNID_TRY(read_format(&f, path, file + at + 8, size, err));
        if (is_data && !f.known)
            return omnid_fail(err, OMNID_FORMAT, "%s: data before the fmt chunk", path);
        if (is_data)
            return read_data(out, path, file + at + 8, size, err);
        at += 8 + size;
        at += size % 2 && at < n ? 1 : 0; /* chunks are padded to even sizes */
    }
    return omnid_fail(err, OMNID_FORMAT, "%s: has no data chunk", path);
}

omnid_status wav_read(wav_sound *out, const char *path, omnid_error *err)
{
    char *file;
    size_t n;
    memset(out, 0, sizeof *out);
    OMNID_TRY(file_read(path, &file, &n, err));
    omnid_status st = parse(out, path, (const uint8_t *)file, n, err);
    free(file);
    return st;
}

void wav_free(wav_sound *w)
{
    free(w->samples);
    memset(w, 0, sizeof *w);
}
