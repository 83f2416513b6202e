"""Stage 1: each tower learns to tell, by itself, what a segment shows or sounds like.

    python3 train_towers.py vision --data DIR/train --test DIR/test --out DIR/vision.pt --steps 1600
    python3 train_towers.py audio  --data DIR/train --test DIR/test --out DIR/audio.pt  --steps 1600

A head is a learned query that pools the tower's tokens by attention, and one linear layer; the heads are thrown away.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import model
import world
from optim import Mixed

VISION_HEADS = {"shape": world.SHAPES, "colour": list(world.COLOURS), "text": world.DIGITS + world.WORDS,
                "move": world.MOVES, "back": list(world.BACKS)}
AUDIO_HEADS = {"event": ["none", "word", "beeps", "tone"], "word": world.WORDS, "beeps": [1, 2, 3, 4], "tone": ["high", "low"]}
WEIGHT = {"shape": 2.0, "text": 1.5, "colour": 0.7, "back": 0.5, "word": 2.0}


class Heads(nn.Module):
    def __init__(self, sizes, d=model.TEXT["hidden"]):
        super().__init__()
        self.sizes = sizes
        self.norm = model.RMSNorm(d)
        self.query = nn.Parameter(torch.randn(len(sizes), d) * 0.05)
        self.out = nn.ModuleDict({k: nn.Linear(d, len(v)) for k, v in sizes.items()})

    def forward(self, x, hide=0.0):
        """x [n, t, d] -> {attribute: logits [n, classes]}; hide: share of tokens that the pooling does not see"""
        x = self.norm(x)
        s = self.query @ x.transpose(1, 2)
        if hide:
            s = s.masked_fill(torch.rand(s.shape[0], 1, s.shape[2]) < hide, -1e9)
        y = torch.softmax(s, -1) @ x
        return {k: self.out[k](y[:, i]) for i, k in enumerate(self.sizes)}


def vision_labels(folder):
    """int64 [n_segments, attributes] of a bank"""
    rows = []
    for sc in json.load(open(os.path.join(folder, "scenes.json"))):
        for s in range(sc["n_seg"]):
            v = {k: x[1 if s >= sc["at"] else 0] for k, x in sc["state"].items()}
            v.update(text=v[sc["text"]], move=sc["move"], back=sc["back"])
            rows.append([VISION_HEADS[k].index(v[k]) for k in VISION_HEADS])
    return torch.tensor(rows)


def audio_labels(folder):
    """-100 where an attribute does not apply"""
    rows = []
    for kind, value in json.load(open(os.path.join(folder, "events.json"))):
        row = {"event": kind, kind: world.WORDS[value] if kind == "word" else value}
        rows.append([AUDIO_HEADS[k].index(row[k]) if k in row else -100 for k in AUDIO_HEADS])
    return torch.tensor(rows)


def batch_of(what, data, idx):
    if what == "audio":
        return torch.tensor(np.asarray(data[idx], dtype=np.float32))
    return model.patches(torch.tensor(data[idx]).view(-1, 2, 112, 112, 3))


def evaluate(what, tower, heads, data, labels):
    tower.eval()
    right, n, rms = 0, 0, []
    with torch.no_grad():
        for i in range(0, len(data), 50):
            y = labels[i:i + 50]
            x = tower(batch_of(what, data, np.arange(i, i + len(y))))
            x = x[0] if what == "audio" else x
            y = y if what == "audio" else y.repeat_interleave(2, 0)
            rms.append(x.pow(2).mean().sqrt().item())
            good = torch.stack([o.argmax(1) for o in heads(x).values()], 1) == y
            right, n = right + (good & (y >= 0)).sum(0), n + (y >= 0).sum(0)
    tower.train()
    return {k: round(v, 3) for k, v in zip(heads.sizes, (right / n).tolist())}, sum(rms) / len(rms)


def train(a):
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    name, labels_of, sizes = (("mel.npy", audio_labels, AUDIO_HEADS) if a.what == "audio" else
                              ("frames.npy", vision_labels, VISION_HEADS))
    data, test = (np.load(os.path.join(d, name), mmap_mode="r") for d in (a.data, a.test))
    labels, test_labels = labels_of(a.data), labels_of(a.test)
    tower = model.AudioTower() if a.what == "audio" else model.VisionTower()
    heads = Heads(sizes)
    named = list(tower.named_parameters()) + [("heads." + n, p) for n, p in heads.named_parameters()]
    opt = Mixed([(n, p) for n, p in named if "bos_eos" not in n], lambda n, p: p.ndim == 2 and "heads" not in n and a.muon > 0,
                a.muon, a.lr)
    order, t0, seen = np.zeros(0, int), time.time(), 0.0
    for step in range(a.steps):
        if len(order) < a.batch:
            order = rng.permutation(len(data))
        idx, order = np.sort(order[:a.batch]), order[a.batch:]
        y = labels[idx]
        x = tower(batch_of(a.what, data, idx))
        x = x[0] if a.what == "audio" else x
        y = y if a.what == "audio" else y.repeat_interleave(2, 0)
        parts = [WEIGHT.get(k, 1.0) * F.cross_entropy(o, y[:, i], ignore_index=-100, label_smoothing=0.02)
                 for i, (k, o) in enumerate(heads(x, hide=0.3 * rng.random()).items()) if (y[:, i] >= 0).any()]
        loss = sum(parts)
        loss.backward()
        warm = min(1.0, (step + 1) / 60)
        opt.step(warm * (1.0 if step < 0.4 * a.steps else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step / a.steps - 0.4) / 0.6))))
        seen += loss.item()
        if step % 50 == 49:
            print(f"{step + 1} {time.time() - t0:.0f}s loss {seen / 50:.3f}", flush=True)
            seen = 0.0
        if step % 200 == 199 or step == a.steps - 1:
            acc, rms = evaluate(a.what, tower, heads, test, test_labels)
            print(step + 1, acc, f"rms {rms:.3f}", flush=True)
            torch.save({"tower": tower.state_dict(), "heads": heads.state_dict(), "rms": rms, "acc": acc}, a.out)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["audio", "vision"])
    p.add_argument("--data", required=True)
    p.add_argument("--test", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=1600)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--muon", type=float, default=0.01)
    p.add_argument("--seed", type=int, default=5)
    train(p.parse_args())
