/* model_plan.c: would the model fit? Asked before anything large is allocated. */
#include "engine/model_load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const uint64_t WORK_SPACE = (uint64_t)1 << 30; /* activations, tokenizer, a short timeline */

/* A number in a file of one line; UINT64_MAX for "max", no file, or nonsense. */
static uint64_t read_number(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return UINT64_MAX;
    uint64_t value;
    if (fscanf(f, "%" SCNu64, &value) != 1)
        value = UINT64_MAX;
    fclose(f);
    return value;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The strictest memory.max from this process's group up to the root (control groups 2). */
static uint64_t group_limit(void)
{
    char line[2048], path[2304];
    uint64_t limit = lesser(read_number("/sys/fs/cgroup/memory.max"),
                            read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes")); /* control groups 1 */
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f)
        return limit;
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::", 3) != 0)
            continue;
        char *group = line + 3;
        group[strcspn(group, "\n")] = '\0';
        while (*group) {
            snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
            limit = lesser(limit, read_number(path));
            char *slash = strrchr(group, '/');
            if (!slash)
                break;
            *slash = '\0';
        }
    }
    fclose(f);
    return limit;
}

uint64_t model_machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
    return lesser(machine, group_limit());
}

uint64_t model_plan_bytes(const model_plan *plan)
{
    return plan->packed + plan->embedding + plan->staging + WORK_SPACE;
}

omnid_status model_check_memory(const model_plan *plan, uint64_t limit, omnid_error *err)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    const char *whose = limit ? "the limit is" : "this machine has";
    if (!limit)
        limit = model_machine_memory();
    uint64_t need = model_plan_bytes(plan);
    if (need <= limit)
        return OMNID_OK;
    return omnid_fail(
        err, OMNID_LIMIT,
        "the model needs %.2f GiB (packed weights %.2f, embedding %.2f, the largest matrix while it is packed %.2f, "
        "work space %.2f), %s %.2f GiB",
        (double)need / gib, (double)plan->packed / gib, (double)plan->embedding / gib, (double)plan->staging / gib,
        (double)WORK_SPACE / gib, whose, (double)limit / gib);
}
