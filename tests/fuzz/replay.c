/* replay.c: a main for fuzz targets where there is no libFuzzer: every file of the corpus folder, then mutations of it
 * (bytes changed, cut out, doubled, files cut short), drawn from a fixed seed. */
#include "engine/random.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MUTATIONS = 5000, INPUT_BYTES = 1 << 20 };

/* An exact copy in a block of its own, so that a sanitizer sees the first byte read past the end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        exit(99);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static uint32_t below(random_pcg32 *r, size_t n)
{
    return n ? random_pcg32_next(r) % (uint32_t)n : 0;
}

/* One to four changes; returns the new size. buffer has room for twice INPUT_BYTES. */
static size_t mutate(uint8_t *buffer, size_t size, random_pcg32 *r)
{
    static const char interesting[] = "\0\xFF\x80\x7F{}[]\":,-019eE\\u ";
    for (uint32_t n = 1 + below(r, 4); n > 0; n--) {
        size_t at = below(r, size), length = 1 + below(r, 16);
        length = length > size - at ? size - at : length;
        switch (below(r, 6)) {
        case 0:
            if (size)
                buffer[at] = (uint8_t)random_pcg32_next(r);
            break;
        case 1:
            if (size)
                buffer[at] ^= (uint8_t)(1u << below(r, 8));
            break;
        case 2:
            if (size)
                buffer[at] = (uint8_t)interesting[below(r, sizeof interesting - 1)];
            break;
        case 3: /* cut out */
            memmove(buffer + at, buffer + at + length, size - at - length);
            size -= length;
            break;
        case 4: /* twice */
            if (size + length <= INPUT_BYTES) {
                memmove(buffer + at + length, buffer + at, size - at);
                size += length;
            }
            break;
        default: /* torn */
            if (below(r, 4) == 0)
                size = at;
        }
    }
    return size;
}

static int run_file(const char *path)
{
    static uint8_t original[INPUT_BYTES], buffer[2 * INPUT_BYTES];
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    size_t size = fread(original, 1, sizeof original, f);
    fclose(f);
    run(original, size);
    random_pcg32 r = random_pcg32_seed(size, 0);
    for (int i = 0; i < MUTATIONS; i++) {
        memcpy(buffer, original, size);
        run(buffer, mutate(buffer, size, &r));
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    DIR *d = opendir(argv[1]);
    if (!d) {
        perror(argv[1]);
        return 1;
    }
    int n_files = 0, failed = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        if (e->d_name[0] == '.')
            continue;
        failed |= run_file(path);
        n_files++;
    }
    closedir(d);
    printf("%d inputs, %d mutations each\n", n_files, MUTATIONS);
    return failed || n_files == 0; /* an empty corpus tests nothing */
}
