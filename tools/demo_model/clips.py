"""Clips put together from a bank: a window of one scene, and sound segments, with questions; batched for the decoder."""
import json
import os

import numpy as np
import torch

import model
import questions
import world


class Bank:
    """raw=True: frames and mel, for training through the towers; else their tokens from features.py."""

    def __init__(self, folder, raw=False):
        load = lambda n: np.load(os.path.join(folder, n), mmap_mode="r")
        self.raw = raw
        self.scenes = json.load(open(os.path.join(folder, "scenes.json")))
        events = json.load(open(os.path.join(folder, "events.json")))
        self.video = load("frames.npy" if raw else "V.npy")
        self.audio = load("mel.npy" if raw else "A.npy")
        self.saliency = None if raw else load("S.npy")
        self.by_kind, self.n_audio = {}, len(events)
        for i, (k, v) in enumerate(events):
            self.by_kind.setdefault((k, v), []).append(i)
        self.at_least = {m: [s for s in self.scenes if s["n_seg"] >= m] for m in range(1, 9)}

    def draw(self, rng, m):
        """(truth, video rows, audio rows) of one clip of m segments"""
        scenes = self.at_least[m]
        sc = scenes[rng.integers(len(scenes))]
        lo, hi = 0, sc["n_seg"] - m
        if sc["what"] and m > 1 and rng.random() < 0.85:                       # keep the change inside the window
            lo, hi = max(lo, sc["at"] - m + 1), min(hi, sc["at"] - 1)
        s0 = int(rng.integers(lo, hi + 1))
        events = world.draw_events(rng, m)
        at = {s: (k, v) for k, (s, v) in events.items()}
        rows = [self.by_kind[at.get(s, ("none", 0))] for s in range(m)]
        return world.truth_of(sc, s0, m, events), np.arange(sc["start"] + s0, sc["start"] + s0 + m), \
            np.array([r[rng.integers(len(r))] for r in rows])


class Batch:
    """b clips of m segments with k questions each.

    asked [b, k, q] ids (query, answer; padded), label [b, k, q]: the id that follows, -100 outside answers;
    query_rows [b, k, q]: the rows that S counts; kind [b][k]; pos_q [3, q] from e = 0."""

    def __init__(self, bank, rng, prompt, m, b, k, kinds):
        self.m, drawn, self.kind = m, [], []
        asked, n_query = [], []
        while len(drawn) < b:
            truth, v, a = bank.draw(rng, m)
            qs = [q for q in (questions.ask(truth, rng, kinds) for _ in range(4 * k)) if q][:k]
            if len(qs) < k:
                continue
            drawn.append((v, a))
            self.kind.append([q[0] for q in qs])
            for _, q, ans in qs:
                ids = prompt.query(q)
                n_query.append(len(ids))
                asked.append(ids + prompt.answer(ans))
        n = max(map(len, asked))
        self.asked = torch.zeros(b * k, n, dtype=torch.long)
        self.label = torch.full((b * k, n), -100)
        self.query_rows = torch.zeros(b * k, n)
        for i, (ids, nq) in enumerate(zip(asked, n_query)):
            self.asked[i, :len(ids)] = torch.tensor(ids)
            self.label[i, nq - 1:len(ids) - 1] = torch.tensor(ids[nq:])
            self.query_rows[i, :nq] = 1
        self.asked, self.label, self.query_rows = (x.view(b, k, n) for x in (self.asked, self.label, self.query_rows))
        vi, ai = (np.stack(x) for x in zip(*drawn))
        self.vi, self.ai = vi, ai
        p = torch.tensor([0, 0] + list(range(1, n - 1)))
        self.pos_q = p.expand(3, -1)

    def tokens(self, bank, towers=None):
        """v [b, m, 2, 16, d], a [b, m, 50, d], saliency [b, m, 50]"""
        b, m = self.vi.shape
        if not bank.raw:
            load = lambda x, i: torch.tensor(np.asarray(x[i], np.float32))
            return load(bank.video, self.vi), load(bank.audio, self.ai), load(bank.saliency, self.ai)
        v = towers[0](model.patches(torch.tensor(bank.video[self.vi.ravel()]).view(-1, 2, 112, 112, 3)))
        a, s = towers[1](torch.tensor(np.asarray(bank.audio[self.ai.ravel()], np.float32)))
        return v.view(b, m, 2, 16, -1), a.view(b, m, 50, -1), s.view(b, m, 50)


def timeline(decoder, prompt, v, a, saliency, section4):
    """embeddings [b, t, d], positions [b, 3, t], segments [t] (-1: text), e (the closers' position)"""
    toks, pos, seg_of = model.segment_layout(v, a, saliency, section4)
    head = torch.tensor(prompt.prefix + prompt.openers)
    n, b = len(prompt.prefix), v.shape[0]
    st = n + 1
    head_pos = torch.tensor(list(range(n)) + [n, n]).expand(b, 3, -1)
    x = torch.cat((decoder.model.embed_tokens(head).expand(b, -1, -1), toks), 1)
    seg_of = torch.cat((torch.full((n + 2,), -1), seg_of))
    return x, torch.cat((head_pos, pos + st), 2), seg_of, st + 50 * v.shape[1]
