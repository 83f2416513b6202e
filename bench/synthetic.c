/* synthetic.c: cheap to make, never the same twice, and with something in it that stays and something that moves. */
#include "bench/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_FRAMES = 4, MAX_SAMPLES = 32040, RATE = 16000 };

struct synthetic {
    int width, height;
    uint8_t *rgb;   /* [4][height][width][3] */
    float *samples; /* [32040] */
    uint32_t noise;
};

omnid_status synthetic_create(synthetic **out, int width, int height, omnid_error *err)
{
    synthetic *s = calloc(1, sizeof *s);
    if (s) {
        *s = (synthetic){.width = width, .height = height, .noise = 1};
        s->rgb = malloc((size_t)N_FRAMES * (size_t)width * (size_t)height * 3);
        s->samples = malloc(MAX_SAMPLES * sizeof *s->samples);
    }
    if (!s || !s->rgb || !s->samples) {
        synthetic_destroy(&s);
        return omnid_fail(err, OMNID_NOMEM, "no memory for frames of %dx%d", width, height);
    }
    *out = s;
    return OMNID_OK;
}

void synthetic_destroy(synthetic **s)
{
    if (*s) {
        free((*s)->rgb);
        free((*s)->samples);
    }
    free(*s);
    *s = NULL;
}

static uint32_t draw(synthetic *s)
{
    s->noise = s->noise * 1664525u + 1013904223u;
    return s->noise >> 16;
}

/* Gradient background, a square that moves with the frame's number, a little noise. */
static void paint(synthetic *s, uint8_t *rgb, int64_t number)
{
    int side = s->height / 4 + 1, left = (int)(number * 7 % s->width), top = (int)(number * 3 % s->height);
    for (int y = 0; y < s->height; y++) {
        for (int x = 0; x < s->width; x++, rgb += 3) {
            bool inside = x >= left && x < left + side && y >= top && y < top + side;
            uint8_t noise = (uint8_t)(draw(s) & 15);
            rgb[0] = (uint8_t)((inside ? 220 : 80 * x / s->width) + noise);
            rgb[1] = (uint8_t)((inside ? 40 : 80 * y / s->height) + noise);
            rgb[2] = (uint8_t)((inside ? 60 : 120) + noise);
        }
    }
}

static void sound(synthetic *s, int64_t index, int n)
{
    double step = 2 * 3.14159265358979 * (double)(200 + index * 37 % 1800) / RATE;
    for (int i = 0; i < n; i++)
        s->samples[i] = (float)(0.2 * sin(step * i) + 0.02 * ((double)draw(s) / 65536 - 0.5));
}

void synthetic_segment(synthetic *s, omnid_segment_params *p, int64_t index, int n_frames, int n_samples)
{
    size_t size = (size_t)s->width * (size_t)s->height * 3;
    *p = (omnid_segment_params){
        .index = index, .wall_us = omnid_wall_us(), .n_frames = n_frames, .n_samples = n_samples};
    for (int i = 0; i < n_frames; i++) {
        paint(s, s->rgb + (size_t)i * size, index * N_FRAMES + i);
        p->frames[i] = (omnid_frame){
            .rgb = s->rgb + (size_t)i * size, .width = s->width, .height = s->height, .stride = 3 * s->width};
    }
    sound(s, index, n_samples);
    p->samples = n_samples ? s->samples : NULL;
}

omnid_status synthetic_submit(synthetic *s, omnid_timeline *tl, int64_t index, int n_frames, int n_samples,
                              omnid_error *err)
{
    omnid_segment_params p;
    omnid_segment *seg = NULL;
    synthetic_segment(s, &p, index, n_frames, n_samples);
    OMNID_TRY(omnid_segment_create(&seg, tl, &p, err));
    omnid_status st = omnid_timeline_submit(tl, &seg, err);
    omnid_segment_destroy(&seg);
    return st;
}

uint64_t process_memory(const char *field)
{
    char line[256];
    unsigned long long kib = 0;
    size_t n = strlen(field);
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, n) == 0 && line[n] == ':')
            sscanf(line + n + 1, "%llu", &kib);
    if (f)
        fclose(f);
    return kib * 1024;
}
