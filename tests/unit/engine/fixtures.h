/* fixtures.h: files that tests of the loader need, made in a folder of their own. */
#ifndef TESTS_ENGINE_FIXTURES_H
#define TESTS_ENGINE_FIXTURES_H

#include "engine/omnid.h"
#include "engine/safetensors.h"

/* A new empty folder; malloc'ed path. fixture_remove deletes it with its files and frees the path. */
char *fixture_folder(void);
void fixture_remove(char **folder);

void fixture_write(const char *folder, const char *name, const void *data, size_t n);
void fixture_text(const char *folder, const char *name, const char *text);
char *fixture_read(const char *folder, const char *name, size_t *n); /* malloc'ed, terminated */

/* text with the first `from` replaced by `to`; malloc'ed. NULL when `from` is not in it. */
char *fixture_replace(const char *text, const char *from, const char *to);

/* A thinker of 4 layers, hidden 24, in the published nested form. */
extern const char fixture_config[];
/* tokenizer.json: 256 bytes, a few merges, the special tokens from 290 on and <tool_call> 301. malloc'ed. */
char *fixture_tokenizer(void);

/* One tensor to write. */
typedef struct {
    const char *name;
    const char *dtype; /* "F32", "BF16", … */
    int n_dims;
    int64_t dim[8];
    const void *data;
    size_t size;
} fixture_tensor;

/* A safetensors file of n tensors; `pad` spaces are added to the header (to move the data off its alignment). */
void fixture_safetensors(const char *folder, const char *name, const fixture_tensor *tensors, int n, int pad);

/* A whole model folder of fixture_config with values that depend on name and place; names with `prefix` ("thinker." or "").
 * dtype "F32" or "BF16". leave_out: a tensor that is not written (NULL = none); reshape: one that gets a row more. */
typedef struct {
    const char *config, *prefix, *dtype, *leave_out, *reshape;
    int pad;
    bool sharded; /* two shards with an index that also names a talker's shard which is not there */
} fixture_model_options;
void fixture_model(const char *folder, const fixture_model_options *o);
/* The value fixture_model gives element i of a tensor (its name without prefix). */
float fixture_value(const char *name, int64_t i);

#endif
