"""Muon for the matrices inside the layers (momentum, then Newton-Schulz towards an orthogonal step), AdamW for the rest."""
import torch


def newton_schulz(g, steps=5):
    """[n, r, c] -> each matrix's nearest semi-orthogonal one, roughly; coefficients as published with Muon."""
    x = g / (g.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    flip = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if flip else x
    for _ in range(steps):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.transpose(1, 2) if flip else x


class Mixed:
    """named: [(name, parameter)]; is_matrix(name, p) says which go to Muon. Matrices of one shape take their step together."""

    def __init__(self, named, is_matrix, lr_muon=0.02, lr_adam=1e-3, wd=0.02, momentum=0.95):
        named = list(named)
        self.groups = {}
        for n, p in named:
            if is_matrix(n, p):
                self.groups.setdefault(tuple(p.shape), []).append(p)
        rest = [p for n, p in named if not is_matrix(n, p)]
        self.adam = torch.optim.AdamW([{"params": [p for p in rest if p.ndim > 1], "weight_decay": wd},
                                       {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0}],
                                      lr=lr_adam, betas=(0.9, 0.98))
        self.buf = {s: torch.zeros(len(ps), *s) for s, ps in self.groups.items()}
        self.lr_muon, self.lr_adam, self.wd, self.momentum = lr_muon, lr_adam, wd, momentum
        self.params = [p for _, p in named]

    @torch.no_grad()
    def step(self, factor):
        """One step at `factor` times the two learning rates; gradients are cleared."""
        torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.lr_adam * factor
        self.adam.step()
        for s, ps in self.groups.items():
            g = torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in ps])
            b = self.buf[s].mul_(self.momentum).add_(g)
            u = newton_schulz(g + self.momentum * b) * max(1.0, s[0] / s[1]) ** 0.5
            lr = self.lr_muon * factor
            for p, d in zip(ps, u):
                p.mul_(1 - lr * self.wd).sub_(d, alpha=lr)
        for p in self.params:
            p.grad = None
