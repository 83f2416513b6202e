/* v4l2_fixture.c: see v4l2_fixture.h. */
#include "v4l2_fixture.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the headers above before it */
#include <cmocka.h>

static void copy(char *to, size_t size, const char *text)
{
    assert_true(strlen(text) < size);
    memcpy(to, text, strlen(text) + 1);
}

static void read_can(v4l2_camera *c, const char *text)
{
    c->capture = strstr(text, "capture");
    c->multiplanar = strstr(text, "multiplanar");
    c->metadata = strstr(text, "metadata");
    c->converter = strstr(text, "converter");
    c->output = strstr(text, "output");
}

static void read_rates(v4l2_mode *m, const char *text)
{
    v4l2_rate r;
    int n = 0;
    for (; sscanf(text, " %u%n", &r.n, &n) == 1 || sscanf(text, " .. %u%n", &r.n, &n) == 1; text += n) {
        assert_true(m->n_rates < V4L2_MAX_RATES);
        m->rate_range = m->rate_range || strstr(text, "..");
        r.d = 1;
        text += n;
        n = 0;
        (void)sscanf(text, "/%u%n", &r.d, &n);
        m->rates[m->n_rates++] = r;
    }
    assert_true(!text[strspn(text, " \n")]);
}

static void read_size(v4l2_camera *c, const v4l2_mode *format, const char *text)
{
    v4l2_mode m = *format;
    int n = 0;
    assert_int_equal(sscanf(text, "%dx%d%n", &m.width, &m.height, &n), 2);
    text += n;
    m.max_width = m.width;
    m.max_height = m.height;
    if (sscanf(text, "..%dx%d/%dx%d%n", &m.max_width, &m.max_height, &m.step_width, &m.step_height, &n) == 4)
        text += n;
    read_rates(&m, text);
    c->modes = realloc(c->modes, ((size_t)c->n_modes + 1) * sizeof *c->modes);
    c->modes[c->n_modes++] = m;
}

static void read_format(v4l2_mode *format, const char *text)
{
    *format = (v4l2_mode){.emulated = strstr(text, " emulated")};
    assert_true(strlen(text) >= 4);
    for (int i = 0; i < 4; i++)
        format->fourcc |= (uint32_t)(unsigned char)text[i] << 8 * i;
    format->fourcc |= strncmp(text + 4, "-BE", 3) ? 0 : 1u << 31;
}

static void read_control(v4l2_camera *c, const char *text)
{
    long long x[5];
    int n = 0;
    assert_int_equal(sscanf(text, "%lld..%lld/%lld preset %lld now %lld %n", &x[0], &x[1], &x[2], &x[3], &x[4], &n), 5);
    c->controls = realloc(c->controls, ((size_t)c->n_controls + 1) * sizeof *c->controls);
    v4l2_control *k = &c->controls[c->n_controls++];
    *k = (v4l2_control){.low = x[0], .high = x[1], .step = x[2], .preset = x[3], .value = x[4]};
    copy(k->name, sizeof k->name, text + n);
}

v4l2_camera fixture_read(const char *name)
{
    char path[512], line[512];
    snprintf(path, sizeof path, "%s/tests/unit/capture/cameras/%s.txt", OMNID_SOURCE_DIR, name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s: cannot be read", path);
    v4l2_camera c = {0};
    v4l2_mode format = {0};
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *space = strchr(line, ' ');
        const char *rest = space ? space + 1 : "";
        if (space)
            *space = '\0';
        if (!strcmp(line, "path"))
            copy(c.path, sizeof c.path, rest);
        else if (!strcmp(line, "name"))
            copy(c.name, sizeof c.name, rest);
        else if (!strcmp(line, "driver"))
            copy(c.driver, sizeof c.driver, rest);
        else if (!strcmp(line, "bus"))
            copy(c.bus, sizeof c.bus, rest);
        else if (!strcmp(line, "serial"))
            copy(c.serial, sizeof c.serial, rest);
        else if (!strcmp(line, "can"))
            read_can(&c, rest);
        else if (!strcmp(line, "format"))
            read_format(&format, rest);
        else if (!strcmp(line, "size"))
            read_size(&c, &format, rest);
        else if (!strcmp(line, "control"))
            read_control(&c, rest);
        else if (*line != '#')
            fail_msg("%s: '%s %s' is not understood", path, line, rest);
    }
    fclose(f);
    return c;
}
