/* vm-jpeg FILE: decodes a JPEG file and writes "WIDTH HEIGHT RED GREEN BLUE", the means over all pixels, 0 to 255. */
#include <stdio.h>
#include <stdlib.h>
#include <turbojpeg.h>

enum { MAX_FILE = 16 << 20 };

static void print_means(const unsigned char *rgb, int width, int height)
{
    long long sum[3] = {0};
    long n = (long)width * height;
    for (long i = 0; i < n * 3; i++)
        sum[i % 3] += rgb[i];
    printf("%d %d %lld %lld %lld\n", width, height, sum[0] / n, sum[1] / n, sum[2] / n);
}

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!file) {
        fprintf(stderr, argc == 2 ? "vm-jpeg: cannot read %s\n" : "usage: vm-jpeg FILE\n", argv[1]);
        return 2;
    }
    unsigned char *bytes = malloc(MAX_FILE), *rgb = NULL;
    size_t n = bytes ? fread(bytes, 1, MAX_FILE, file) : 0;
    fclose(file);
    tjhandle decoder = tjInitDecompress();
    int width = 0, height = 0, subsampling = 0, colours = 0;
    int status = tjDecompressHeader3(decoder, bytes, n, &width, &height, &subsampling, &colours);
    if (status == 0)
        rgb = malloc((size_t)width * (size_t)height * 3);
    if (!rgb || tjDecompress2(decoder, bytes, n, rgb, width, 0, height, TJPF_RGB, 0) != 0) {
        fprintf(stderr, "vm-jpeg: %s: %s\n", argv[1], tjGetErrorStr2(decoder));
        status = 1;
    } else {
        print_means(rgb, width, height);
    }
    tjDestroy(decoder);
    free(rgb);
    free(bytes);
    return status ? 1 : 0;
}
