/* rotary.c: cos and sin of rows' positions for each class of key. */
#include "engine/rotary.h"

#include <math.h>

static void rotary_row(float *c, float *s, const omnid_model *m, position p)
{
    const int *section = m->config.text.mrope_section;
    int half = m->config.text.head_dim / 2;
    for (int j = 0; j < half; j++) {
        int64_t at = j < section[0] ? p.t : j < section[0] + section[1] ? p.h : p.w;
        double angle = (double)at * m->decoder.inv_freq[j];
        c[j] = (float)cos(angle);
        s[j] = (float)sin(angle);
    }
}

void rotary_tables(float *c, float *s, const omnid_model *m, const position *at, int n, int64_t delta)
{
    int half = m->config.text.head_dim / 2;
    for (int table = 0; table < rotary_n_tables(delta); table++)
        for (int i = 0; i < n; i++) {
            position p = at[i];
            if (table != KERNELS_CLASS_TEXT) {
                p.h -= delta;
                p.w -= delta;
            }
            if (table == KERNELS_CLASS_PREFIX)
                p.t -= delta;
            int64_t row = ((int64_t)table * n + i) * half;
            rotary_row(c + row, s + row, m, p);
        }
}
