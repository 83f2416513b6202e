/* safetensors.c: maps the files of a checkpoint and finds tensors in them. A header is believed only after every one of its
 * numbers has been compared with the file: 8 bytes little-endian length, that many bytes of JSON, then the data. */
#include "engine/safetensors.h"
#include "engine/config.h"
#include "engine/json_field.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HEADER = 100 << 20, MAX_INDEX = 100 << 20, MAX_DIMS = 8 };
static const char prefix[] = "thinker.";

typedef struct {
    char *name;
    void *map;
    size_t size;
} shard;

typedef struct {
    safetensors_tensor t;
    const char *key; /* the name without "thinker." */
    size_t begin;    /* in the data part, for the check of overlaps */
    int shard;
} entry;

struct safetensors {
    shard *shards;
    int n_shards;
    entry *entries; /* sorted by key once open */
    size_t n_entries, capacity;
};

static bool of_thinker(const char *name)
{
    return strncmp(name, "talker.", 7) != 0 && strncmp(name, "token2wav.", 10) != 0;
}

/* ------------------------------------------------------------------ one header */

/* Bytes of a dtype of the format; 0 = unknown. Only three of them can be used. */
static size_t dtype_bytes(const char *name, kernels_dtype *dtype, bool *usable)
{
    static const struct {
        const char *name;
        size_t bytes;
    } others[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I16", 2},
                  {"U16", 2},  {"I32", 4}, {"U32", 4}, {"F64", 8},     {"I64", 8},     {"U64", 8}};
    *usable = true;
    *dtype = KERNELS_F32;
    if (strcmp(name, "F32") == 0)
        return 4;
    *dtype = strcmp(name, "BF16") == 0 ? KERNELS_BF16 : KERNELS_F16;
    if (strcmp(name, "BF16") == 0 || strcmp(name, "F16") == 0)
        return 2;
    *usable = false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i].name) == 0)
            return others[i].bytes;
    return 0;
}

static omnid_status read_shape(safetensors_tensor *t, const json_t *list, size_t item, uint64_t *bytes,
                               omnid_error *err)
{
    if (!json_is_array(list) || json_array_size(list) > MAX_DIMS)
        return omnid_fail(err, OMNID_FORMAT, "%.128s: want a shape of at most %d dimensions", t->name, MAX_DIMS);
    t->n_dims = (int)json_array_size(list);
    *bytes = item;
    for (int i = 0; i < t->n_dims; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        int64_t dim = json_is_integer(x) ? json_integer_value(x) : -1;
        if (dim < 0)
            return omnid_fail(err, OMNID_FORMAT, "%.128s: dimension %d is not a size", t->name, i);
        t->dim[i] = dim;
        if (__builtin_mul_overflow(*bytes, (uint64_t)dim, bytes))
            return omnid_fail(err, OMNID_FORMAT, "%.128s: its shape has more elements than any file", t->name);
    }
    return OMNID_OK;
}

/* One name of the header: dtype, shape and offsets must agree with each other and with the data part of n_data bytes. */
static omnid_status read_entry(entry *e, const char *name, const json_t *o, uint64_t n_data, omnid_error *err)
{
    *e = (entry){.t.name = name};
    const char *dtype = json_string_value(json_object_get(o, "dtype"));
    const json_t *offsets = json_object_get(o, "data_offsets");
    if (!dtype || json_array_size(offsets) != 2)
        return omnid_fail(err, OMNID_FORMAT, "%.128s: want dtype, shape and two data_offsets", name);
    size_t item = dtype_bytes(dtype, &e->t.dtype, &e->t.usable);
    if (!item)
        return omnid_fail(err, OMNID_FORMAT, "%.128s: unknown dtype \"%.32s\"", name, dtype);
    uint64_t bytes = 0;
    OMNID_TRY(read_shape(&e->t, json_object_get(o, "shape"), item, &bytes, err));
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    int64_t begin = json_is_integer(first) ? json_integer_value(first) : -1;
    int64_t end = json_is_integer(last) ? json_integer_value(last) : -1;
    if (begin < 0 || end < begin || (uint64_t)end > n_data)
        return omnid_fail(err, OMNID_FORMAT,
                          "%.128s: data_offsets [%" PRId64 ", %" PRId64 "] lie outside the file's %" PRIu64
                          " bytes of data",
                          name, begin, end, n_data);
    if ((uint64_t)(end - begin) != bytes)
        return omnid_fail(err, OMNID_FORMAT,
                          "%.128s: its shape takes %" PRIu64 " bytes, its data_offsets span %" PRId64, name, bytes,
                          end - begin);
    e->t.size = (size_t)bytes;
    e->begin = (size_t)begin;
    return OMNID_OK;
}

static int by_begin(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->t.size < y->t.size ? -1 : x->t.size > y->t.size;
}

/* The format leaves no gaps: tensors cover the data part exactly, so a torn file or overlapping tensors show here. */
static omnid_status check_cover(entry *entries, size_t n, uint64_t n_data, omnid_error *err)
{
    qsort(entries, n, sizeof *entries, by_begin);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (entries[i].begin != at)
            return omnid_fail(err, OMNID_FORMAT, "%.128s: starts at byte %zu of the data, want %" PRIu64 " (%s)",
                              entries[i].t.name, entries[i].begin, at,
                              entries[i].begin < at ? "tensors overlap" : "bytes of no tensor");
        at += entries[i].t.size;
    }
    if (at != n_data)
        return omnid_fail(err, OMNID_FORMAT,
                          "the tensors take %" PRIu64 " bytes, the file has %" PRIu64 " bytes of data", at, n_data);
    return OMNID_OK;
}

/* Parses the header of a mapped file. *out: malloc'ed entries whose names are borrowed from *root (both the caller's). */
static omnid_status read_header(json_t **root, entry **out, size_t *n_out, const uint8_t *file, size_t size,
                                omnid_error *err)
{
    *root = NULL;
    *out = NULL;
    *n_out = 0;
    uint64_t n_header = 0;
    if (size < 8)
        return omnid_fail(err, OMNID_FORMAT, "want at least 8 bytes, found %zu", size);
    for (int i = 0; i < 8; i++)
        n_header |= (uint64_t)file[i] << (8 * i);
    if (n_header > MAX_HEADER || n_header > size - 8)
        return omnid_fail(err, OMNID_FORMAT, "its header says %" PRIu64 " bytes, the file has %zu (at most %d)",
                          n_header, size - 8, MAX_HEADER);
    OMNID_TRY(json_field_parse(root, (const char *)file + 8, (size_t)n_header, "header", err));
    if (!json_is_object(*root))
        return omnid_fail(err, OMNID_FORMAT, "its header is not a JSON object");
    entry *entries = malloc((json_object_size(*root) + 1) * sizeof *entries);
    if (!entries)
        return omnid_fail(err, OMNID_NOMEM, "no memory for the names of %zu tensors", json_object_size(*root));
    *out = entries;
    const char *name;
    json_t *o;
    uint64_t n_data = size - 8 - n_header;
    json_object_foreach(*root, name, o)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        entry *e = &entries[*n_out];
        OMNID_TRY(read_entry(e, name, o, n_data, err));
        e->t.data = file + 8 + n_header + e->begin;
        ++*n_out;
    }
    return check_cover(entries, *n_out, n_data, err);
}

omnid_status safetensors_check(const void *file, size_t size, size_t *n_tensors, omnid_error *err)
{
    json_t *root;
    entry *entries;
    size_t n;
    omnid_status status = read_header(&root, &entries, &n, file, size, err);
    if (status == OMNID_OK && n_tensors)
        *n_tensors = n;
    free(entries);
    json_decref(root);
    return status;
}

/* ------------------------------------------------------------------ files */

static omnid_status map_file(shard *out, const char *path, omnid_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return omnid_fail(err, errno == ENOENT ? OMNID_NOT_FOUND : OMNID_IO, "%s: %s", path, strerror(errno));
    struct stat st;
    omnid_status status = OMNID_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        status = omnid_fail(err, OMNID_IO, "%s: not a regular file", path);
    else if (st.st_size < 8)
        status = omnid_fail(err, OMNID_FORMAT, "%s: want at least 8 bytes, found %lld", path, (long long)st.st_size);
    else {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            status = omnid_fail(err, OMNID_IO, "%s: cannot be mapped: %s", path, strerror(errno));
        else
            *out = (shard){.map = map, .size = (size_t)st.st_size};
    }
    close(fd);
    return status;
}

/* Names outlive the JSON they came from. */
static omnid_status keep_entries(safetensors *s, const entry *entries, size_t n, int shard_index, omnid_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!of_thinker(entries[i].t.name))
            continue;
        if (s->n_entries == s->capacity) {
            size_t capacity = s->capacity ? 2 * s->capacity : 1024;
            entry *grown = realloc(s->entries, capacity * sizeof *grown);
            if (!grown)
                return omnid_fail(err, OMNID_NOMEM, "no memory for the names of %zu tensors", capacity);
            s->entries = grown;
            s->capacity = capacity;
        }
        char *name = strdup(entries[i].t.name);
        if (!name)
            return omnid_fail(err, OMNID_NOMEM, "no memory for a tensor's name");
        entry *e = &s->entries[s->n_entries++];
        *e = entries[i];
        e->t.name = name;
        e->key = strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : name;
        e->shard = shard_index;
    }
    return OMNID_OK;
}

static omnid_status open_shard(safetensors *s, const char *folder, const char *name, omnid_error *err)
{
    shard *grown = realloc(s->shards, ((size_t)s->n_shards + 1) * sizeof *grown);
    if (!grown)
        return omnid_fail(err, OMNID_NOMEM, "no memory for shard %d", s->n_shards);
    s->shards = grown;
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return omnid_fail(err, OMNID_ARGUMENT, "%.64s…: path too long", folder);
    shard sh = {0};
    OMNID_TRY(map_file(&sh, path, err));
    sh.name = strdup(name);
    s->shards[s->n_shards++] = sh;
    if (!sh.name)
        return omnid_fail(err, OMNID_NOMEM, "no memory for a file's name");
    json_t *root;
    entry *entries;
    size_t n;
    omnid_status status = read_header(&root, &entries, &n, sh.map, sh.size, err);
    if (status == OMNID_OK)
        status = keep_entries(s, entries, n, s->n_shards - 1, err);
    else
        omnid_fail_in(err, "%s", path);
    free(entries);
    json_decref(root);
    return status;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->key, ((const entry *)b)->key);
}

static omnid_status sort_entries(safetensors *s, omnid_error *err)
{
    if (s->n_entries)
        qsort(s->entries, s->n_entries, sizeof *s->entries, by_key);
    for (size_t i = 1; i < s->n_entries; i++)
        if (strcmp(s->entries[i - 1].key, s->entries[i].key) == 0)
            return omnid_fail(err, OMNID_FORMAT, "%.128s: in the checkpoint twice (%s, %s)", s->entries[i].key,
                              s->shards[s->entries[i - 1].shard].name, s->shards[s->entries[i].shard].name);
    return OMNID_OK;
}

/* ------------------------------------------------------------------ the index */

static int find_shard(const safetensors *s, const char *name)
{
    for (int i = 0; i < s->n_shards; i++)
        if (strcmp(s->shards[i].name, name) == 0)
            return i;
    return -1;
}

/* Every tensor of the thinker must be in the file the index names for it. */
static omnid_status check_index(const safetensors *s, const json_t *map, const char *path, omnid_error *err)
{
    const char *name;
    json_t *file;
    json_object_foreach((json_t *)map, name, file)
    {
        if (!of_thinker(name))
            continue;
        entry wanted = {.key = strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : name};
        const entry *e = s->n_entries ? bsearch(&wanted, s->entries, s->n_entries, sizeof *s->entries, by_key) : NULL;
        if (!e || strcmp(e->t.name, name) != 0 || strcmp(s->shards[e->shard].name, json_string_value(file)) != 0)
            return omnid_fail(err, OMNID_FORMAT, "%s: %.128s is not in %.64s", path, name, json_string_value(file));
    }
    return OMNID_OK;
}

static omnid_status open_indexed(safetensors *s, const char *folder, const json_t *root, const char *path,
                                 omnid_error *err)
{
    const json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map))
        return omnid_fail(err, OMNID_FORMAT, "%s: want an object weight_map", path);
    const char *name;
    json_t *file;
    json_object_foreach((json_t *)map, name, file)
    {
        const char *shard_name = json_string_value(file);
        if (!shard_name || !*shard_name || strchr(shard_name, '/') || *shard_name == '.')
            return omnid_fail(err, OMNID_FORMAT, "%s: %.128s: want the name of a file in the same folder", path, name);
        if (!of_thinker(name) || find_shard(s, shard_name) >= 0)
            continue;
        omnid_status status = open_shard(s, folder, shard_name, err);
        if (status == OMNID_NOT_FOUND)
            return omnid_fail(err, status,
                              "shard %.128s is missing (%.128s is in it): copy it there, or fetch the model again with "
                              "omnid-model",
                              shard_name, name);
        OMNID_TRY(status);
    }
    OMNID_TRY(sort_entries(s, err));
    return check_index(s, map, path, err);
}

static omnid_status open_folder(safetensors *s, const char *folder, omnid_error *err)
{
    char path[4096], *text;
    size_t n;
    if (snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder) >= (int)sizeof path)
        return omnid_fail(err, OMNID_ARGUMENT, "%.64s…: path too long", folder);
    omnid_status status = config_read_file(&text, &n, path, MAX_INDEX, err);
    if (status == OMNID_NOT_FOUND) {
        status = open_shard(s, folder, "model.safetensors", err);
        if (status == OMNID_NOT_FOUND)
            return omnid_fail(err, status,
                              "%.400s: neither model.safetensors nor model.safetensors.index.json is there", folder);
        OMNID_TRY(status);
        return sort_entries(s, err);
    }
    OMNID_TRY(status);
    json_t *root;
    status = json_field_parse(&root, text, n, path, err);
    free(text);
    OMNID_TRY(status);
    status = open_indexed(s, folder, root, path, err);
    json_decref(root);
    return status;
}

omnid_status safetensors_open(safetensors **out, const char *folder, omnid_error *err)
{
    *out = NULL;
    safetensors *s = calloc(1, sizeof *s);
    if (!s)
        return omnid_fail(err, OMNID_NOMEM, "no memory to open a checkpoint");
    omnid_status status = open_folder(s, folder, err);
    if (status != OMNID_OK)
        safetensors_close(&s);
    *out = s;
    return status;
}

void safetensors_close(safetensors **s)
{
    if (!*s)
        return;
    for (size_t i = 0; i < (*s)->n_entries; i++)
        free((char *)(*s)->entries[i].t.name);
    for (int i = 0; i < (*s)->n_shards; i++) {
        munmap((*s)->shards[i].map, (*s)->shards[i].size);
        free((*s)->shards[i].name);
    }
    free((*s)->entries);
    free((*s)->shards);
    free(*s);
    *s = NULL;
}

/* ------------------------------------------------------------------ lookup */

const safetensors_tensor *safetensors_find(const safetensors *s, const char *name)
{
    entry wanted = {.key = name};
    const entry *e = s->n_entries ? bsearch(&wanted, s->entries, s->n_entries, sizeof *s->entries, by_key) : NULL;
    return e ? &e->t : NULL;
}

static void print_shape(char *out, size_t size, int n_dims, const int64_t *dim)
{
    size_t at = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < n_dims && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%" PRId64, i ? ", " : "", dim[i]);
    if (at < size)
        snprintf(out + at, size - at, "]");
}

omnid_status safetensors_get(const safetensors *s, const safetensors_tensor **out, const char *name, int n_dims,
                             const int64_t *dim, omnid_error *err)
{
    const safetensors_tensor *t = safetensors_find(s, name);
    *out = t;
    if (!t)
        return omnid_fail(err, OMNID_NOT_FOUND, "%s is not in the checkpoint", name);
    bool same = t->n_dims == n_dims;
    for (int i = 0; i < n_dims && same; i++)
        same = t->dim[i] == dim[i];
    if (!same) {
        char want[128], found[192];
        print_shape(want, sizeof want, n_dims, dim);
        print_shape(found, sizeof found, t->n_dims, t->dim);
        return omnid_fail(err, OMNID_SHAPE, "%s: want %s, file has %s", name, want, found);
    }
    if (!t->usable)
        return omnid_fail(err, OMNID_UNSUPPORTED, "%s: want F32, BF16 or F16, the file has another dtype", name);
    return OMNID_OK;
}

void safetensors_release(const safetensors_tensor *t)
{
    long page = sysconf(_SC_PAGESIZE);
    if (page <= 0 || t->size == 0)
        return;
    uintptr_t begin = (uintptr_t)t->data / (uintptr_t)page * (uintptr_t)page;
    madvise((void *)begin, (uintptr_t)t->data + t->size - begin, MADV_DONTNEED);
}

size_t safetensors_count(const safetensors *s)
{
    return s->n_entries;
}

const safetensors_tensor *safetensors_at(const safetensors *s, size_t i)
{
    return &s->entries[i].t;
}

size_t safetensors_place(const safetensors *s, const safetensors_tensor *t)
{
    return (size_t)((const entry *)t - s->entries); /* t is an entry's first member */
}

uint64_t safetensors_n_elements(const safetensors *s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s->n_entries; i++) {
        uint64_t elements = 1;
        for (int d = 0; d < s->entries[i].t.n_dims; d++)
            elements *= (uint64_t)s->entries[i].t.dim[d];
        n += elements;
    }
    return n;
}
