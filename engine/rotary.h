/* rotary.h: cos and sin of rows' positions for each class of key (docs/semantics.md, section 7). */
#ifndef ENGINE_ROTARY_H
#define ENGINE_ROTARY_H

#include "engine/layout.h"

/* One query table while nothing has left the window, else one a class of key. */
static inline int rotary_n_tables(int64_t delta)
{
    return delta == 0 ? 1 : KERNELS_N_CLASSES;
}

/* cos, sin: host [n_tables][n][head_dim / 2], table t of row i at (t * n + i). at[i] = the row's place P, moved by delta:
 * table TEXT has P, table VIDEO (P_t, P_h - delta, P_w - delta), table PREFIX P - delta on all axes.
 * Angles are position x inv_freq in double, dimension j of the t, h or w section as mrope_section cuts them. */
void rotary_tables(float *cos, float *sin, const omnid_model *m, const position *at, int n, int64_t delta);

#endif
