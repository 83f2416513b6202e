/* code_pages.c: finds what is writable and executable in this process's list of maps. */
#include "kernels/cpu/code_pages.h"

#ifdef __linux__
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

void cpu_code_pages_keep_small(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], rights[5];
    if (!maps)
        return;
    while (fgets(line, sizeof line, maps)) {
        uintmax_t from, to;
        if (sscanf(line, "%jx-%jx %4s", &from, &to, rights) == 3 && strcmp(rights, "rwxp") == 0)
            madvise((void *)(uintptr_t)from, (size_t)(to - from), MADV_NOHUGEPAGE);
    }
    fclose(maps);
}
#else
void cpu_code_pages_keep_small(void) {}
#endif
