/* policies.c: the table of policies, and the policy that does nothing. */
#include "engine/prune/prune.h"

#include <stdio.h>
#include <string.h>

const prune_policy prune_none = {.name = "none", .description = "no token leaves inside the decoder"};

static const prune_policy *const policies[] = {&prune_omnidrop, &prune_random, &prune_none};

omnid_status prune_find(const prune_policy **out, const char *name, omnid_error *err)
{
    char names[128] = "";
    *out = policies[0];
    if (!name || !*name)
        return OMNID_OK;
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        *out = policies[i];
        if (strcmp(name, policies[i]->name) == 0)
            return OMNID_OK;
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", policies[i]->name);
    }
    return omnid_fail(err, OMNID_ARGUMENT, "policy '%s' is not one of %s", name, names);
}
