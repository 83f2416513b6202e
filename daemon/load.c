/* load.c: the steps by which segments become cheaper, and when one is taken. */
#include "daemon/load.h"

static const struct {
    const char *name;
    omnid_segment_load load;
} steps[LOAD_STEPS] = {
    {"full", {0}},
    {"fewer tokens", {.rho_v = 0.9}},
    {"smaller frames", {.rho_v = 0.9, .pixel_share = 0.5}},
    {"one grid", {.rho_v = 0.9, .pixel_share = 0.5, .one_grid = true}},
};

omnid_segment_load load_of(int step)
{
    return steps[step].load;
}

const char *load_name(int step)
{
    return steps[step].name;
}

static void take_step(load_state *l, int by, int n_waiting)
{
    l->step += by;
    l->n_behind = l->n_calm = 0;
    l->n_not_judged = n_waiting + 1;
}

/* Behind: the step back that came just before was too early. */
static bool step_up(load_state *l, int n_waiting)
{
    if (l->n_since_back >= 0)
        l->patience = 2 * l->patience < LOAD_MAX_PATIENCE ? 2 * l->patience : LOAD_MAX_PATIENCE;
    l->n_since_back = -1;
    if (l->step == LOAD_STEPS - 1)
        return false;
    take_step(l, 1, n_waiting);
    return true;
}

static bool step_back(load_state *l)
{
    if (l->n_calm < l->patience || l->step == 0)
        return false;
    take_step(l, -1, 0);
    l->n_since_back = 0;
    return true;
}

bool load_judge(load_state *l, int n_waiting, int n_most)
{
    if (l->patience == 0)
        *l = (load_state){.patience = LOAD_PATIENCE, .n_since_back = -1};
    if (l->n_since_back >= 0 && ++l->n_since_back > LOAD_HELD) {
        l->n_since_back = -1;
        l->patience = LOAD_PATIENCE;
    }
    if (l->n_not_judged > 0) {
        l->n_not_judged--;
        l->base = n_waiting;
        return false;
    }
    if (n_waiting < l->base)
        l->base = n_waiting;
    l->n_behind = n_waiting > l->base ? l->n_behind + 1 : 0;
    l->n_calm = n_waiting > 0 ? 0 : l->n_calm + 1;
    return l->n_behind >= 2 || n_waiting >= n_most ? step_up(l, n_waiting) : step_back(l);
}
