/* rotary.c: cos and sin of rows' positions for each class of key. */
#include "engine/rotary.h"

#include <math.h>
#include <string.h>

/* What a row of one table is made of: its position on the axes, and where each axis' columns end. */
typedef struct {
    int64_t at[3];
    int end[3];
} rotary_place;

/* The columns of a row. Those of an axis on which it stands where the row before does (`before`; NULL: there is none) are
 * copied from that: a grid's tokens share t, a line's h. */
static void rotary_row(float *c, float *s, const double *inv_freq, const rotary_place *p, const rotary_place *before,
                       int half)
{
    for (int axis = 0, j = 0; axis < 3; axis++) {
        size_t size = (size_t)(p->end[axis] - j) * sizeof *c;
        if (before && before->at[axis] == p->at[axis]) {
            memcpy(c + j, c + j - half, size);
            memcpy(s + j, s + j - half, size);
            j = p->end[axis];
            continue;
        }
        for (; j < p->end[axis]; j++) {
            double angle = (double)p->at[axis] * inv_freq[j];
            c[j] = (float)cos(angle);
            s[j] = (float)sin(angle);
        }
    }
}

/* One table: positions less delta_t on the t axis, less delta on the others. */
static void rotary_table(float *c, float *s, const omnid_model *m, const position *at, int n, int64_t delta_t,
                         int64_t delta)
{
    const int *section = m->config.text.mrope_section, half = m->config.text.head_dim / 2;
    rotary_place before = {{0}, {0}};
    for (int i = 0; i < n; i++) {
        rotary_place p = {{at[i].t - delta_t, at[i].h - delta, at[i].w - delta},
                          {section[0], section[0] + section[1], half}};
        rotary_row(c + (int64_t)i * half, s + (int64_t)i * half, m->decoder.inv_freq, &p, i ? &before : NULL, half);
        before = p;
    }
}

void rotary_tables(float *c, float *s, const omnid_model *m, const position *at, int n, int64_t delta)
{
    int half = m->config.text.head_dim / 2, t_end = m->config.text.mrope_section[0];
    int64_t table = (int64_t)n * half, video = KERNELS_CLASS_VIDEO * table, prefix = KERNELS_CLASS_PREFIX * table;
    rotary_table(c, s, m, at, n, 0, 0);
    if (rotary_n_tables(delta) == 1)
        return;
    rotary_table(c + prefix, s + prefix, m, at, n, delta, delta);
    for (int64_t row = 0; row < table; row += half) { /* TEXT's t, PREFIX's h and w */
        memcpy(c + video + row, c + row, (size_t)t_end * sizeof *c);
        memcpy(s + video + row, s + row, (size_t)t_end * sizeof *s);
        memcpy(c + video + row + t_end, c + prefix + row + t_end, (size_t)(half - t_end) * sizeof *c);
        memcpy(s + video + row + t_end, s + prefix + row + t_end, (size_t)(half - t_end) * sizeof *s);
    }
}
