/* backends.h: the tables that are linked in; kernels_find() chooses among them. */
#ifndef OMNID_KERNELS_BACKENDS_H
#define OMNID_KERNELS_BACKENDS_H

#include "kernels/kernels.h"

extern const kernels_ops reference_ops;
extern const kernels_ops cpu_ops; /* only with OMNID_CPU */

#endif
