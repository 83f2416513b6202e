/* v4l2_choose.c: candidates, their costs, their order, their reasons. */
#include "capture/v4l2_choose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char fourcc[5];
    v4l2_kind kind;
    bool grey;
    float bytes; /* a pixel on the bus; of what is compressed about as webcams do it */
    const char *caps;
} format;

/* What v4l2src knows and omnid can use; of equals the first is taken. */
static const format formats[] = {
    {"YUYV", V4L2_RAW, false, 2.0f, "video/x-raw,format=YUY2"},
    {"UYVY", V4L2_RAW, false, 2.0f, "video/x-raw,format=UYVY"},
    {"YVYU", V4L2_RAW, false, 2.0f, "video/x-raw,format=YVYU"},
    {"NV12", V4L2_RAW, false, 1.5f, "video/x-raw,format=NV12"},
    {"NM12", V4L2_RAW, false, 1.5f, "video/x-raw,format=NV12"},
    {"NV21", V4L2_RAW, false, 1.5f, "video/x-raw,format=NV21"},
    {"NM21", V4L2_RAW, false, 1.5f, "video/x-raw,format=NV21"},
    {"YU12", V4L2_RAW, false, 1.5f, "video/x-raw,format=I420"},
    {"YM12", V4L2_RAW, false, 1.5f, "video/x-raw,format=I420"},
    {"YV12", V4L2_RAW, false, 1.5f, "video/x-raw,format=YV12"},
    {"NV16", V4L2_RAW, false, 2.0f, "video/x-raw,format=NV16"},
    {"422P", V4L2_RAW, false, 2.0f, "video/x-raw,format=Y42B"},
    {"RGBP", V4L2_RAW, false, 2.0f, "video/x-raw,format=RGB16"},
    {"RGB3", V4L2_RAW, false, 3.0f, "video/x-raw,format=RGB"},
    {"BGR3", V4L2_RAW, false, 3.0f, "video/x-raw,format=BGR"},
    {"XR24", V4L2_RAW, false, 4.0f, "video/x-raw,format=BGRx"},
    {"BX24", V4L2_RAW, false, 4.0f, "video/x-raw,format=xRGB"},
    {"MJPG", V4L2_JPEG, false, 0.15f, "image/jpeg"},
    {"JPEG", V4L2_JPEG, false, 0.15f, "image/jpeg"},
    {"H264", V4L2_CODED, false, 0.02f, "video/x-h264"},
    {"HEVC", V4L2_CODED, false, 0.02f, "video/x-h265"},
    {"VP80", V4L2_CODED, false, 0.02f, "video/x-vp8"},
    {"GREY", V4L2_RAW, true, 1.0f, "video/x-raw,format=GRAY8"},
    {"Y16 ", V4L2_RAW, true, 2.0f, "video/x-raw,format=GRAY16_LE"},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

typedef struct {
    v4l2_choice c;
    const format *f;
    bool reaches, light, emits; /* emits: at least two frames a second */
    int tier;                   /* of the rate: 0 fresh, 1 from 5 on, 2 less */
    double fps;
} candidate;

static const format *find_format(uint32_t fourcc)
{
    char text[8];
    v4l2_fourcc_text(fourcc, text);
    for (int i = 0; i < N_FORMATS; i++)
        if (!strcmp(formats[i].fourcc, text))
            return &formats[i];
    return NULL;
}

const char *v4l2_fourcc_text(uint32_t fourcc, char out[8])
{
    for (int i = 0; i < 4; i++) {
        char letter = (char)(fourcc >> 8 * i & 0x7f);
        out[i] = letter >= ' ' && letter <= '~' ? letter : '.';
    }
    strcpy(out + 4, fourcc >> 31 ? "-BE" : "");
    return out;
}

/* ---- sizes ---- */

static int on_step(int x, int low, int high, int step)
{
    x = x < low ? low : x > high ? high : x;
    int up = low + (x - low + step - 1) / step * step;
    return up <= high ? up : up - step;
}

static bool in_range(const v4l2_mode *m, int w, int h)
{
    return on_step(w, m->width, m->max_width, m->step_width) == w &&
           on_step(h, m->height, m->max_height, m->step_height) == h;
}

static bool same_shape(int w, int h, int w2, int h2)
{
    return abs(w * h2 - w2 * h) * 50 < w * h2;
}

void v4l2_size_of(const v4l2_mode *m, int width, int height, int *out_width, int *out_height)
{
    static const int usual[][2] = {{640, 360}, {640, 480},  {720, 480},  {720, 576},
                                   {800, 600}, {1280, 720}, {1920, 1080}};
    *out_width = m->width;
    *out_height = m->height;
    if (!m->step_width || !m->step_height)
        return;
    int need_w = width ? width : V4L2_NEED, need_h = height ? height : V4L2_NEED;
    *out_width = on_step(need_w, m->width, m->max_width, m->step_width);
    *out_height = on_step(need_h, m->height, m->max_height, m->step_height);
    for (size_t i = 0; i < sizeof usual / sizeof *usual && !width; i++)
        if (usual[i][0] >= need_w && usual[i][1] >= need_h && in_range(m, usual[i][0], usual[i][1]) &&
            same_shape(usual[i][0], usual[i][1], m->max_width, m->max_height)) {
            *out_width = usual[i][0];
            *out_height = usual[i][1];
            return;
        }
}

/* ---- candidates ---- */

static double fps_of(v4l2_rate r)
{
    return r.n && r.d ? (double)r.n / r.d : 0.0;
}

/* The slowest rate from `from` on, or where there is none the fastest. 0 / 1: the driver tells none. */
static v4l2_rate slowest_from(const v4l2_mode *m, double from)
{
    v4l2_rate best = {0, 1};
    if (m->rate_range) {
        double low = fps_of(m->rates[0]), high = fps_of(m->rates[1]);
        double fps = from < low ? low : from > high ? high : from;
        return fps == low ? m->rates[0] : fps == high ? m->rates[1] : (v4l2_rate){(uint32_t)(fps * 1000.0 + 0.5), 1000};
    }
    for (int i = 0; i < m->n_rates; i++) {
        double now = fps_of(best), fps = fps_of(m->rates[i]);
        bool better = now >= from * 0.999 ? fps >= from * 0.999 && fps < now : fps > now;
        if (better) /* 9.99 counts as 10: intervals are rounded */
            best = m->rates[i];
    }
    return best;
}

/* The fastest rate below 10 of those from 2 on; n = 0: none. */
static v4l2_rate fastest_below_fresh(const v4l2_mode *m)
{
    v4l2_rate best = {0, 1};
    if (m->rate_range) {
        double low = fps_of(m->rates[0]), high = fps_of(m->rates[1]);
        return low <= 5.0 && high >= 5.0 ? (v4l2_rate){5, 1} : best;
    }
    for (int i = 0; i < m->n_rates; i++) {
        double fps = fps_of(m->rates[i]);
        if (fps < V4L2_FRESH_RATE * 0.999 && fps >= V4L2_LEAST_RATE * 0.999 && fps > fps_of(best))
            best = m->rates[i];
    }
    return best;
}

static void write_size(char *out, size_t n, const candidate *k, const v4l2_want *want)
{
    const char *of = k->reaches ? "reaches" : "is less than";
    if (want->width)
        snprintf(out, n, "%dx%d as asked", k->c.width, k->c.height);
    else
        snprintf(out, n, "%dx%d %s the %dx%d that the model sees", k->c.width, k->c.height, of, V4L2_NEED, V4L2_NEED);
}

static void write_kind(char *out, size_t n, const candidate *k)
{
    if (k->c.kind == V4L2_RAW)
        snprintf(out, n, "%s, %.1f MB/s of the bus%s", k->f->grey ? "grey" : "raw", k->c.bus_mb,
                 k->light ? "" : ", which is much");
    else if (k->c.kind == V4L2_JPEG)
        snprintf(out, n, "JPEG, about %.1f MB/s of the bus, decoded only where a frame is chosen", k->c.bus_mb);
    else
        snprintf(out, n, "every frame has to be decoded");
}

static void write_rate(char *out, size_t n, const candidate *k, const v4l2_want *want)
{
    if (!k->c.rate.n)
        snprintf(out, n, "the driver tells no rate");
    else if (want->fps > 0.0)
        snprintf(out, n, "%.3g/s for the %.3g/s asked", k->fps, want->fps);
    else if (k->tier == 0)
        snprintf(out, n, "%.3g/s is fresh", k->fps);
    else if (k->emits)
        snprintf(out, n, "%.3g/s suffices", k->fps);
    else
        snprintf(out, n, "at %.3g/s some instants have no picture", k->fps);
}

/* Fills the texts: what it is, why, and GStreamer's caps. */
static void describe(candidate *k, const v4l2_want *want)
{
    v4l2_choice *c = &k->c;
    char size[96], kind[112], rate[96], fourcc[8];
    write_size(size, sizeof size, k, want);
    write_kind(kind, sizeof kind, k);
    write_rate(rate, sizeof rate, k, want);
    snprintf(c->why, sizeof c->why, "%s; %s; %s.", size, kind, rate);
    int used = snprintf(c->caps, sizeof c->caps, "%s,width=%d,height=%d", k->f->caps, c->width, c->height);
    v4l2_fourcc_text(c->fourcc, fourcc);
    if (!c->rate.n) {
        snprintf(c->text, sizeof c->text, "%s %dx%d", fourcc, c->width, c->height);
        return;
    }
    snprintf(c->text, sizeof c->text, "%s %dx%d at %.3g/s", fourcc, c->width, c->height, k->fps);
    snprintf(c->caps + used, sizeof c->caps - (size_t)used, ",framerate=%u/%u", c->rate.n, c->rate.d);
}

static candidate make_candidate(const v4l2_mode *m, const format *f, v4l2_rate rate, const v4l2_want *want)
{
    candidate k = {.f = f, .fps = fps_of(rate)};
    k.c.fourcc = m->fourcc;
    k.c.kind = f->kind;
    k.c.rate = rate;
    v4l2_size_of(m, want->width, want->height, &k.c.width, &k.c.height);
    double fps = rate.n ? k.fps : 30.0;
    k.c.bus_mb = (double)k.c.width * k.c.height * (double)f->bytes * fps / 1e6;
    k.reaches = k.c.width >= V4L2_NEED && k.c.height >= V4L2_NEED;
    k.light = k.c.bus_mb <= V4L2_LIGHT_BUS_MB;
    k.emits = fps >= V4L2_LEAST_RATE * 0.999;
    k.tier = fps >= V4L2_FRESH_RATE * 0.999 ? 0 : fps >= 5.0 * 0.999 ? 1 : 2;
    describe(&k, want);
    return k;
}

static bool wanted_size(const v4l2_mode *m, const v4l2_want *want)
{
    if (!want->width)
        return true;
    if (m->step_width && m->step_height)
        return in_range(m, want->width, want->height);
    return m->width == want->width && m->height == want->height;
}

/* The candidates of one mode, at most two. Returns their number. */
static int candidates_of(candidate out[2], const v4l2_mode *m, const v4l2_want *want)
{
    const format *f = find_format(m->fourcc);
    bool sized = m->width > 0 && m->height > 0;
    if (!f || m->emulated || !sized || !wanted_size(m, want) || (want->fourcc && want->fourcc != m->fourcc))
        return 0;
    if (want->fps > 0.0) {
        out[0] = make_candidate(m, f, slowest_from(m, want->fps), want);
        return 1;
    }
    v4l2_rate fresh = slowest_from(m, V4L2_FRESH_RATE), slow = fastest_below_fresh(m);
    out[0] = make_candidate(m, f, fresh, want);
    if (!slow.n || (slow.n == fresh.n && slow.d == fresh.d))
        return 1;
    out[1] = make_candidate(m, f, slow, want);
    return 2;
}

/* ---- order ---- */

#define FIRST(condition_a, condition_b)                                                                                \
    if ((condition_a) != (condition_b))                                                                                \
        return (condition_a) ? -1 : 1;

/* Which comes first; each line is one step of the rule in docs/capture.md. */
static int compare(const void *pa, const void *pb)
{
    const candidate *a = pa, *b = pb;
    long area_a = (long)a->c.width * a->c.height, area_b = (long)b->c.width * b->c.height;
    FIRST(a->emits, b->emits)
    FIRST(!a->f->grey, !b->f->grey)
    FIRST(a->reaches, b->reaches)
    FIRST(a->light, b->light)
    FIRST(a->c.kind != V4L2_CODED, b->c.kind != V4L2_CODED)
    if (a->tier != b->tier)
        return a->tier - b->tier;
    if (area_a != area_b)
        return (area_a < area_b) == a->reaches ? -1 : 1;
    if (a->c.kind != b->c.kind)
        return (int)a->c.kind - (int)b->c.kind;
    if (a->fps != b->fps)
        return (a->fps < b->fps) == (a->tier == 0) ? -1 : 1;
    if (a->c.bus_mb != b->c.bus_mb)
        return a->c.bus_mb < b->c.bus_mb ? -1 : 1;
    return a->f < b->f ? -1 : a->f > b->f;
}

int v4l2_choose_next(const v4l2_choice *choices, int n, int i, int error)
{
    int next = i + 1;
    while (error == ENOSPC && next < n && choices[next].bus_mb >= choices[i].bus_mb * 0.9)
        next++;
    return next;
}

/* ---- refusals ---- */

static bool is_bayer(uint32_t fourcc)
{
    static const char *const names[] = {"BA81", "GBRG", "GRBG", "RGGB", "BYR2", "GB16", "GR16", "RG16",
                                        "BG10", "GB10", "BA10", "RG10", "BG12", "GB12", "BA12", "RG12",
                                        "pBAA", "pGAA", "pgAA", "pRAA", "pBCC", "pGCC", "pgCC", "pRCC"};
    char text[8];
    v4l2_fourcc_text(fourcc, text);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], text))
            return true;
    return false;
}

/* "A, B, C": each once, emulated ones left out. */
static void list_formats(char *out, size_t size, const v4l2_camera *c)
{
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < c->n_modes && used + 8 < size; i++) {
        char text[8];
        if (c->modes[i].emulated || strstr(out, v4l2_fourcc_text(c->modes[i].fourcc, text)))
            continue;
        used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", text);
    }
}

static void list_sizes(char *out, size_t size, const v4l2_camera *c, uint32_t fourcc)
{
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < c->n_modes && used + 40 < size; i++) {
        const v4l2_mode *m = &c->modes[i];
        char text[40];
        if (!find_format(m->fourcc) || m->emulated || (fourcc && m->fourcc != fourcc))
            continue;
        if (m->step_width)
            snprintf(text, sizeof text, "%dx%d to %dx%d", m->width, m->height, m->max_width, m->max_height);
        else
            snprintf(text, sizeof text, "%dx%d", m->width, m->height);
        if (!strstr(out, text))
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", text);
    }
}

static omnid_status refuse_node(const v4l2_camera *c, omnid_error *err)
{
    const char *why = c->metadata    ? "carries a camera's metadata, no pictures; take the camera's other node"
                      : c->converter ? "converts or codes pictures (memory to memory); it is no camera"
                      : c->output    ? "takes pictures instead of giving them; it is no camera"
                                     : "gives no pictures (no video capture)";
    return omnid_fail(err, OMNID_UNSUPPORTED, "%s (%s) %s", c->path, c->name, why);
}

static omnid_status refuse_formats(const v4l2_camera *c, omnid_error *err)
{
    char have[160];
    bool bayer = c->n_modes > 0;
    list_formats(have, sizeof have, c);
    for (int i = 0; i < c->n_modes; i++)
        bayer = bayer && (c->modes[i].emulated || is_bayer(c->modes[i].fourcc));
    if (!*have)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s (%s) offers no format; is something plugged into its input?",
                          c->path, c->name);
    if (bayer)
        return omnid_fail(
            err, OMNID_UNSUPPORTED,
            "%s (%s) gives only what its sensor sees (Bayer: %s), which an image processor has to develop; "
            "use libcamera: 'pipeline:libcamerasrc ! …'",
            c->path, c->name, have);
    return omnid_fail(err, OMNID_UNSUPPORTED, "%s (%s) gives only formats that omnid cannot use: %s", c->path, c->name,
                      have);
}

static omnid_status refuse_want(const v4l2_camera *c, const v4l2_want *want, omnid_error *err)
{
    char have[240], fourcc[8];
    bool known = false;
    for (int i = 0; i < c->n_modes; i++)
        known = known || (c->modes[i].fourcc == want->fourcc && !c->modes[i].emulated);
    if (want->fourcc && (!known || !find_format(want->fourcc))) {
        list_formats(have, sizeof have, c);
        return omnid_fail(err, OMNID_ARGUMENT, "%s (%s): %s format %s; it gives %s", c->path, c->name,
                          known ? "omnid cannot use" : "has no", v4l2_fourcc_text(want->fourcc, fourcc), have);
    }
    list_sizes(have, sizeof have, c, want->fourcc);
    return omnid_fail(err, OMNID_ARGUMENT, "%s (%s): has no size %dx%d; it has %s", c->path, c->name, want->width,
                      want->height, have);
}

/* ---- all of it ---- */

omnid_status v4l2_choose(v4l2_choice **out, int *n, const v4l2_camera *c, const v4l2_want *want, omnid_error *err)
{
    *out = NULL;
    *n = 0;
    if (!c->capture)
        return refuse_node(c, err);
    bool usable = false;
    for (int i = 0; i < c->n_modes; i++)
        usable = usable || (find_format(c->modes[i].fourcc) && !c->modes[i].emulated && c->modes[i].width > 0);
    if (!usable)
        return refuse_formats(c, err);
    candidate *all = malloc(2 * (size_t)c->n_modes * sizeof *all);
    *out = malloc(V4L2_MAX_CHOICES * sizeof **out);
    if (!all || !*out) {
        free(all);
        free(*out);
        *out = NULL;
        return omnid_fail(err, OMNID_NOMEM, "%s: out of memory for %d modes", c->path, c->n_modes);
    }
    int n_all = 0;
    for (int i = 0; i < c->n_modes; i++)
        n_all += candidates_of(all + n_all, &c->modes[i], want);
    qsort(all, (size_t)n_all, sizeof *all, compare);
    for (*n = 0; *n < n_all && *n < V4L2_MAX_CHOICES; ++*n)
        (*out)[*n] = all[*n].c;
    free(all);
    if (n_all)
        return OMNID_OK;
    free(*out);
    *out = NULL;
    return refuse_want(c, want, err);
}
