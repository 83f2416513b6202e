"""Solve OmniDrop's schedules for the demo's layer count (docs/semantics.md, section 5).

The target is the mean retained ratio over the layers, at a full window of 32 segments of 112 x 112, counted against the
tokens before any pruning. p_init = 0; t_mid is given for each target, p_final found by bisection.
"""
import math

import model

T_MID = {0.30: 0.2, 0.20: 0.05}


def shares(p_init, p_final, t_mid, layers):
    """p_l for l in [0, layers - 2]"""
    return [p_init + (p_final - p_init) / (1 + math.exp(-20.0 * (l / (layers - 2) - t_mid))) for l in range(layers - 1)]


def retained(p, n_seg=32):
    grids = 2 * n_seg
    video = sum(16 if g % 4 == 0 else 16 - model.floor_share(16, 0.8) for g in range(grids))
    n, total = video + n_seg * (50 - model.floor_share(50, 0.3)), 0
    for share in p + [0.0]:
        total += n
        n -= model.floor_share(n, share)
    return total / (len(p) + 1) / (n_seg * 82)


def solve(target, layers):
    """[p_init, p_final, t_mid, tds_start]"""
    lo, hi = 0.0, 1.0
    for _ in range(60):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if retained(shares(0.0, mid, T_MID[target], layers)) > target else (lo, mid)
    return [0.0, round(hi, 4), T_MID[target], layers // 2]


if __name__ == "__main__":
    for r in T_MID:
        s = solve(r, model.TEXT["layers"])
        print(r, s, round(retained(shares(*s[:3], model.TEXT["layers"])), 4))
