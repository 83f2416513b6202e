/* v4l2_print.c: a camera's list as text, one thing a line; the tests read this form back. */
#include "capture/v4l2_list.h"

#include <string.h>

static void print_rate(FILE *to, v4l2_rate r)
{
    if (r.d == 1)
        fprintf(to, "%u", r.n);
    else
        fprintf(to, "%u/%u", r.n, r.d);
}

static void print_mode(FILE *to, const v4l2_mode *m)
{
    fprintf(to, "size %dx%d", m->width, m->height);
    if (m->step_width)
        fprintf(to, "..%dx%d/%dx%d", m->max_width, m->max_height, m->step_width, m->step_height);
    for (int i = 0; i < m->n_rates; i++) {
        fputs(m->rate_range && i ? " .. " : " ", to);
        print_rate(to, m->rates[i]);
    }
    fputc('\n', to);
}

static void print_text(FILE *to, const char *key, const char *text)
{
    if (*text)
        fprintf(to, "%s %s\n", key, text);
}

void v4l2_list_print(FILE *to, const v4l2_camera *c)
{
    char fourcc[8];
    print_text(to, "path", c->path);
    print_text(to, "name", c->name);
    print_text(to, "driver", c->driver);
    print_text(to, "bus", c->bus);
    print_text(to, "serial", c->serial);
    fprintf(to, "can%s%s%s%s%s\n", c->capture ? " capture" : "", c->multiplanar ? " multiplanar" : "",
            c->metadata ? " metadata" : "", c->converter ? " converter" : "", c->output ? " output" : "");
    for (int i = 0; i < c->n_modes; i++) {
        const v4l2_mode *m = &c->modes[i];
        if (!i || m->fourcc != m[-1].fourcc)
            fprintf(to, "format %s%s\n", v4l2_fourcc_text(m->fourcc, fourcc), m->emulated ? " emulated" : "");
        print_mode(to, m);
    }
    for (int i = 0; i < c->n_controls; i++) {
        const v4l2_control *k = &c->controls[i];
        fprintf(to, "control %lld..%lld/%lld preset %lld now %lld %s\n", (long long)k->low, (long long)k->high,
                (long long)k->step, (long long)k->preset, (long long)k->value, k->name);
    }
}
