/* safetensors.h: tensors of a model folder, mapped, never copied: `model.safetensors`, or the shards that
 * `model.safetensors.index.json` names. Everything a header says is checked against its file before it is believed. */
#ifndef ENGINE_SAFETENSORS_H
#define ENGINE_SAFETENSORS_H

#include "kernels/kernels.h"

typedef struct safetensors safetensors;

/* One tensor as the file has it. data lies in a read-only mapping and has no alignment of its own. */
typedef struct {
    const char *name; /* as in the file; borrowed */
    const void *data;
    size_t size;         /* bytes */
    kernels_dtype dtype; /* valid where usable */
    bool usable;         /* F32, BF16 or F16 */
    int n_dims;
    int64_t dim[8];
} safetensors_tensor;

/* Opens the shards of a folder that hold a tensor of the thinker. NOT_FOUND, IO, FORMAT or NOMEM. */
omnid_status safetensors_open(safetensors **out, const char *folder, omnid_error *err);
void safetensors_close(safetensors **s); /* *s may be NULL */

/* By published name without "thinker.": "model.norm.weight"; found with and without the prefix. NULL = not there. */
const safetensors_tensor *safetensors_find(const safetensors *s, const char *name);

/* As safetensors_find, and the shape must be dim[0 .. n_dims-1]: NOT_FOUND or SHAPE ("NAME: want [a, b], file has
 * [c, d]"), UNSUPPORTED for a dtype that is not F32, BF16 or F16. */
omnid_status safetensors_get(const safetensors *s, const safetensors_tensor **out, const char *name, int n_dims,
                             const int64_t *dim, omnid_error *err);

/* Lets go of the pages of a tensor that has been packed (they come back from the file if read again). */
void safetensors_release(const safetensors_tensor *t);

/* Number of tensors of the thinker, and element counts summed. */
size_t safetensors_count(const safetensors *s);
/* The i-th of them by name, i below safetensors_count; and the place of one that safetensors_find gave. */
const safetensors_tensor *safetensors_at(const safetensors *s, size_t i);
size_t safetensors_place(const safetensors *s, const safetensors_tensor *t);
uint64_t safetensors_n_elements(const safetensors *s);

/* Checks one file's header (8 bytes length, JSON) against its size; what safetensors_open runs on every shard.
 * *n_tensors (may be NULL) = entries. For tests and fuzzing. */
omnid_status safetensors_check(const void *file, size_t size, size_t *n_tensors, omnid_error *err);

#endif
