/* model_random.c: a model of random weights in the dimensions of a config.json, for measurements. The values are written
 * into one staging buffer, matrix by matrix, and packed from there: no file, no second copy of the model. */
#include "engine/model_load.h"
#include "engine/random.h"
#include "kernels/number.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CONFIG = 4 << 20, MAX_GIVEN = 8, MAX_FILLERS = 16, FILL_PIECE = 1 << 20 /* values worth a thread */ };

typedef struct {
    weight_source base;
    uint64_t seed, n_tensors;
    bool tied;
    uint16_t *given[MAX_GIVEN]; /* since the last release */
    int n_given;
} random_source;

/* A hash of 32 bits to 32 bits (Mueller's constants as improved by Wellons, "lowbias32"). */
static inline uint32_t mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* Values first .. last - 1 of a tensor. */
typedef struct {
    uint16_t *out;
    uint64_t first, last, seed;
    float mean;
} filling;

/* bf16 values, mean `mean`, standard deviation 0.02: the sum of four bytes is near enough to a normal distribution for
 * measurements (its mean is 510, its variance 4 * (256² - 1) / 12). The loop has no state, so it vectorises. */
static void *fill_piece(void *user)
{
    const filling *f = user;
    const float scale = 0.02f / 147.8f, mean = f->mean;
    uint32_t low = (uint32_t)f->seed, high = (uint32_t)(f->seed >> 32);
    uint16_t *out = f->out;
    for (uint64_t i = f->first; i < f->last; i++) {
        uint32_t h = mix((uint32_t)i * 2654435769u + low) ^ mix((uint32_t)(i >> 32) + high);
        int sum = (int)((h & 255) + (h >> 8 & 255) + (h >> 16 & 255) + (h >> 24));
        out[i] = bf16_from_f32((float)(sum - 510) * scale + mean);
    }
    return NULL;
}

/* n values: on several threads where there are many, the same values on any number of them. A thread that cannot be had is
 * done without. */
static void fill(uint16_t *out, uint64_t n, uint64_t seed, float mean)
{
    filling pieces[MAX_FILLERS];
    pthread_t threads[MAX_FILLERS];
    bool started[MAX_FILLERS] = {false};
    long n_cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t most = n / FILL_PIECE + 1, n_pieces = n_cores < 1             ? 1
                                                   : n_cores > MAX_FILLERS ? MAX_FILLERS
                                                                           : (uint64_t)n_cores;
    n_pieces = n_pieces < most ? n_pieces : most;
    for (uint64_t i = 0; i < n_pieces; i++) {
        pieces[i] = (filling){out, n / n_pieces * i, i + 1 == n_pieces ? n : n / n_pieces * (i + 1), seed, mean};
        started[i] = i + 1 < n_pieces && pthread_create(&threads[i], NULL, fill_piece, &pieces[i]) == 0;
        if (!started[i])
            fill_piece(&pieces[i]);
    }
    for (uint64_t i = 0; i < n_pieces; i++)
        if (started[i])
            pthread_join(threads[i], NULL);
}

static bool random_has(weight_source *s, const char *name)
{
    return strcmp(name, "lm_head.weight") != 0 || !((random_source *)s)->tied;
}

static omnid_status random_get(weight_source *s, weight_data *out, const char *name, int n_dims, const int64_t *dim,
                               bool with_data, omnid_error *err)
{
    random_source *r = (random_source *)s;
    *out = (weight_data){.dtype = KERNELS_BF16};
    if (!with_data)
        return OMNID_OK;
    uint64_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= (uint64_t)dim[i];
    uint16_t *values = r->n_given < MAX_GIVEN ? malloc(n * sizeof *values) : NULL;
    if (!values)
        return omnid_fail(err, OMNID_NOMEM, "%s: no memory for %llu values", name, (unsigned long long)n);
    bool norm = strstr(name, "norm") != NULL || strstr(name, "ln_") != NULL;
    bool scale = norm && strstr(name, ".weight") != NULL;
    fill(values, n, random_splitmix64(r->seed ^ random_splitmix64(r->n_tensors++)), scale ? 1.0f : 0.0f);
    r->given[r->n_given++] = values;
    out->data = values;
    return OMNID_OK;
}

static void random_release(weight_source *s)
{
    random_source *r = (random_source *)s;
    for (int i = 0; i < r->n_given; i++)
        free(r->given[i]);
    r->n_given = 0;
}

/* The first token with this id; -1 = none. */
static int id_owner(const tokenizer_added *added, int n, int32_t id)
{
    for (int i = 0; i < n; i++)
        if (added[i].id == id)
            return i;
    return -1;
}

/* Special tokens at the ids that config.json names, the others after them: 256 bytes and these must fit the vocabulary. */
static omnid_status make_tokenizer(omnid_model *m, omnid_error *err)
{
    const model_config *c = &m->config;
    tokenizer_added added[] = {{c->pad, "<|endoftext|>", true},
                               {c->bos, "<|im_start|>", true},
                               {c->eos, "<|im_end|>", true},
                               {c->audio_token, "<|AUDIO|>", true},
                               {c->audio_start, "<|audio_bos|>", true},
                               {c->audio_end, "<|audio_eos|>", true},
                               {c->vision_start, "<|vision_bos|>", true},
                               {c->vision_end, "<|vision_eos|>", true},
                               {c->image_token, "<|IMAGE|>", true},
                               {c->video_token, "<|VIDEO|>", true}};
    const int n = sizeof added / sizeof *added;
    for (int i = 0; i < n; i++)
        if (added[i].id >= 0 && id_owner(added, n, added[i].id) != i)
            return omnid_fail(err, OMNID_FORMAT, "config.json gives id %d to two tokens, one of them %s", added[i].id,
                              added[i].text);
    int32_t next = 256;
    for (int i = 0; i < n; i++)
        if (added[i].id < 0) {
            while (id_owner(added, n, next) >= 0)
                next++;
            added[i].id = next;
        }
    return tokenizer_create_bytes(&m->tokenizer, added, n, err);
}

static omnid_status read_shape(omnid_model *m, const char *shape, omnid_error *err)
{
    const char *builtin = config_builtin(shape);
    if (builtin)
        return config_parse(&m->config, builtin, strlen(builtin), err);
    char *text;
    size_t n;
    omnid_status status = config_read_file(&text, &n, shape, MAX_CONFIG, err);
    if (status != OMNID_OK)
        return omnid_fail_in(err, "a shape is \"3b\", \"7b\" or the path of a config.json");
    status = config_parse(&m->config, text, n, err);
    free(text);
    return status;
}

omnid_status omnid_model_create_random(omnid_model **out, const char *shape, uint64_t seed, const omnid_model_params *p,
                                       omnid_error *err)
{
    *out = NULL;
    if (!shape || !*shape)
        return omnid_fail(err, OMNID_ARGUMENT, "want a shape: \"3b\", \"7b\" or the path of a config.json");
    char name[64];
    const char *slash = strrchr(shape, '/');
    snprintf(name, sizeof name, "random %.48s", slash ? slash + 1 : shape);
    omnid_model *m;
    OMNID_TRY(model_create(&m, p, name, err));
    omnid_status status = read_shape(m, shape, err);
    if (status == OMNID_OK)
        status = make_tokenizer(m, err);
    if (status == OMNID_OK)
        status = model_find_ids(m, NULL, 0, err);
    if (status == OMNID_OK) {
        random_source r = {.base = {random_has, random_get, random_release}, .seed = seed, .tied = m->config.text.tied};
        status = model_fill(m, &r.base, p, err);
        random_release(&r.base);
    }
    if (status != OMNID_OK)
        omnid_model_destroy(&m);
    *out = m;
    return status;
}
