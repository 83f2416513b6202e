"""Stage 2: the decoder learns to answer, on the towers' tokens (frozen); with --e2e stage 3, through the towers.

    python3 train_decoder.py --dir DIR --out DIR/dec.pt --seconds 3600 [--resume DIR/dec.pt] [--e2e --towers DIR/towers.pt]

Clips grow from 1 to 8 segments as soon as the shorter ones are answered. About half of the batches see the tokens that are
left after docs/semantics.md, section 4, and --prune of them section 5's schedule in `eager` mode.
"""
import argparse
import json
import math
import os
import time
from collections import defaultdict

import numpy as np
import torch
import torch.nn.functional as F

import clips
import model
import questions
import schedules
import tok
from features import load_towers
from optim import Mixed

STAGES = [(1, 0.85), (2, 0.8), (3, 0.8), (4, 0.8), (6, 0.8), (8, 2.0)]      # longest clip, accuracy that ends the stage


def schedule(name, layers=model.TEXT["layers"]):
    return name and schedules.shares(*schedules.solve(int(name) / 100, layers)[:3], layers)


def answer(decoder, prompt, batch, bank, section4, sched=None, towers=None):
    """loss and, per question, whether every token of its answer is the most likely one"""
    v, a, s = batch.tokens(bank, towers)
    x, pos, seg_of, e = clips.timeline(decoder, prompt, v, a, s, section4)
    h = decoder(x, pos, batch.asked, batch.pos_q + e, sched, batch.query_rows, seg_of)
    use = batch.label >= 0
    logits = decoder.lm_head(h[use])
    y = batch.label[use]
    loss = F.cross_entropy(logits, y, reduction="none")
    wrong = torch.zeros(use.shape, dtype=torch.bool)
    wrong[use] = logits.argmax(1) != y
    return loss, ~wrong.any(-1)


@torch.no_grad()
def evaluate(decoder, prompt, bank, n_questions, kinds, ms=(1, 2, 4, 8), section4=True, sched=None, towers=None, seed=3):
    """({kind: accuracy}, {m: accuracy}, overall) on fixed held-out clips"""
    hits, by_m = defaultdict(list), {}
    for m in ms:
        rng, got = np.random.default_rng([seed, m]), []
        while len(got) < n_questions // len(ms):
            batch = clips.Batch(bank, rng, prompt, m, 16, 6, kinds)
            good = answer(decoder, prompt, batch, bank, section4, sched, towers)[1]
            for row, ok in zip(batch.kind, good.tolist()):
                for k, o in zip(row, ok):
                    hits[k].append(o)
                    got.append(o)
        by_m[m] = round(float(np.mean(got)), 3)
    acc = {k: round(float(np.mean(hits[k])), 3) for k in questions.KINDS if k in hits}
    return acc, by_m, round(float(np.mean([o for h in hits.values() for o in h])), 3)


def train(a):
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    tokenizer = tok.load(a.dir)
    prompt = tok.Prompt(tokenizer)
    decoder = model.Decoder((tokenizer.get_vocab_size() + 31) // 32 * 32)
    bank, test = clips.Bank(os.path.join(a.dir, a.bank), a.e2e), clips.Bank(os.path.join(a.dir, "test"), a.e2e)
    towers = load_towers(a.towers) if a.e2e else None
    stage, step0 = a.stage, 0
    if a.resume:
        f = torch.load(a.resume)
        decoder.load_state_dict(f["decoder"])
        stage, step0 = (f["stage"] if a.stage < 0 else a.stage), f["step"]
        if a.e2e and "towers" in f:
            for t, s in zip(towers, f["towers"]):
                t.load_state_dict(s)
    stage = max(stage, 0)
    named = list(decoder.named_parameters())
    is_matrix = lambda n, p: p.ndim == 2 and "layers" in n and a.muon > 0
    opts = [Mixed(named, is_matrix, a.muon, a.lr)]
    if a.e2e:
        of_towers = [(n, p) for t in towers for n, p in t.named_parameters() if "bos_eos" not in n]
        opts.append(Mixed(of_towers, lambda n, p: False, 0, a.lr_towers))
    kinds = [k for k in questions.KINDS for _ in range(a.weights.get(k, 1))]
    t0, step, ema, since, next_eval = time.time(), step0, 0.0, 0, a.eval_every
    recent = defaultdict(lambda: [0.0, 0])
    log = open(a.out + ".log", "a")

    def say(*x):
        print(*x, flush=True)
        print(*x, file=log, flush=True)

    while (spent := time.time() - t0) < a.seconds:
        mmax, gate = STAGES[stage]
        m = int(rng.integers(1, mmax + 1))
        b = max(3, min(16, round(a.load / (m + 1))))
        batch = clips.Batch(bank, rng, prompt, m, b, a.k + m // 2, kinds)
        u = rng.random()
        sched = schedule(("30", "20")[rng.integers(2)]) if u < a.prune else None
        section4 = sched is not None or rng.random() < 0.6
        for t in towers or ():
            t.train()
        loss, good = answer(decoder, prompt, batch, bank, section4, sched, towers)
        loss.mean().backward()
        left = 1 - spent / a.seconds
        factor = min(1.0, (step - step0 + 1) / 50) * min(1.0, 0.02 + left / a.decay)
        for o in opts:
            o.step(factor)
        step, since = step + 1, since + 1
        if m == mmax:
            ema += (good.float().mean().item() - ema) * 0.04
        for row, ok in zip(batch.kind, good.tolist()):
            for k, o in zip(row, ok):
                recent[k][0] += o
                recent[k][1] += 1
        if step % 25 == 0:
            say(f"{step} {spent:.0f}s mmax {mmax} loss {loss.mean().item():.3f} ema {ema:.3f} " +
                " ".join(f"{k}={recent[k][0] / recent[k][1]:.2f}" for k in questions.KINDS if k in recent and recent[k][1]))
            recent.clear()
        if ema > gate and since > 60 or since > a.patience and stage + 1 < len(STAGES):
            stage, since, ema = stage + 1, 0, 0.0
        if spent > next_eval:
            next_eval += a.eval_every
            save(a, decoder, towers, stage, step)
            for t in towers or ():
                t.eval()
            say("EVAL", *evaluate(decoder, prompt, test, a.n_eval, questions.KINDS, towers=towers))
    save(a, decoder, towers, stage, step)
    for name in (None, "30", "20"):
        say("FINAL", name, *evaluate(decoder, prompt, test, 2 * a.n_eval, questions.KINDS, sched=schedule(name), towers=towers))


def save(a, decoder, towers, stage, step):
    f = {"decoder": decoder.state_dict(), "stage": stage, "step": step}
    if towers:
        f["towers"] = [t.state_dict() for t in towers]
    torch.save(f, a.out + ".part")
    os.replace(a.out + ".part", a.out)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--dir", required=True)
    p.add_argument("--bank", default="train")
    p.add_argument("--out", required=True)
    p.add_argument("--resume")
    p.add_argument("--towers")
    p.add_argument("--e2e", action="store_true")
    p.add_argument("--seconds", type=float, default=3600)
    p.add_argument("--lr", type=float, default=1.5e-3, help="AdamW: embeddings, head, norms, biases")
    p.add_argument("--lr-towers", type=float, default=2e-4)
    p.add_argument("--muon", type=float, default=0.02, help="Muon: matrices of the layers; 0 leaves all to AdamW")
    p.add_argument("--decay", type=float, default=0.5, help="share of the time, at the end, in which the rates fall to zero")
    p.add_argument("--load", type=float, default=32, help="clips x (segments + 1) a batch")
    p.add_argument("--k", type=int, default=6)
    p.add_argument("--prune", type=float, default=0.0)
    p.add_argument("--patience", type=int, default=500)
    p.add_argument("--stage", type=int, default=-1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--eval-every", type=float, default=240)
    p.add_argument("--n-eval", type=int, default=1152)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--weights", type=json.loads, default={}, help='{"kind": times}: 0 leaves a kind out')
    train(p.parse_args())
