/* machine.c: how much memory this process may use. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernels/kernels.h"

/* A number in a file of one line; `otherwise` for "max", no file, or nonsense. */
static uint64_t read_number(const char *path, uint64_t otherwise)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return otherwise;
    uint64_t value;
    if (fscanf(f, "%" SCNu64, &value) != 1)
        value = otherwise;
    fclose(f);
    return value;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* A limit of a control group and what is left below it. */
static void apply_limit(kernels_memory *out, const char *limit_path, const char *used_path)
{
    uint64_t limit = read_number(limit_path, UINT64_MAX), used = read_number(used_path, 0);
    out->total = lesser(out->total, limit);
    out->free = lesser(out->free, limit > used ? limit - used : 0);
}

/* The strictest memory.max from this process's group up to the root (control groups 2). */
static void apply_groups(kernels_memory *out)
{
    char line[2048], limit[2304], used[2304];
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::", 3) != 0)
            continue;
        char *group = line + 3;
        group[strcspn(group, "\n")] = '\0';
        while (*group) {
            snprintf(limit, sizeof limit, "/sys/fs/cgroup%s/memory.max", group);
            snprintf(used, sizeof used, "/sys/fs/cgroup%s/memory.current", group);
            apply_limit(out, limit, used);
            char *slash = strrchr(group, '/');
            if (!slash)
                break;
            *slash = '\0';
        }
    }
    fclose(f);
}

/* Bytes that /proc/meminfo calls available: free, or of files that may go. */
static uint64_t available(uint64_t otherwise)
{
    char line[256];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return otherwise;
    while (!kib && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) != 1)
            kib = 0;
    fclose(f);
    return kib ? kib << 10 : otherwise;
}

void kernels_machine_memory(kernels_memory *out)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
    *out = (kernels_memory){.device = "this machine", .total = machine, .free = available(machine)};
    apply_limit(out, "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
    apply_limit(out, "/sys/fs/cgroup/memory/memory.limit_in_bytes", /* control groups 1 */
                "/sys/fs/cgroup/memory/memory.usage_in_bytes");
    apply_groups(out);
}
