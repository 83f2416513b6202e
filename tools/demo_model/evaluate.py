"""Accuracy of a model folder on held-out clips, measured by omnid itself; writes the card's table and a JSON beside it.

    python3 evaluate.py --omnid-run BUILD/omnid-run --model models/demo --speech DIR/test --clips 104

Each clip is given as frames at 2 fps and a WAV; omnid-run answers the clip's questions in `eager` mode, with the mel
reference `running`. The row "blind" asks the same questions about another clip of the same length.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.io import wavfile

import questions
import speech
import world

SEED0 = 980000
ROWS = [("all tokens", ["--retention", "none"]), ("30 %", ["--retention", "30"]), ("20 %", ["--retention", "20"]),
        ("random 30 %", ["--retention", "30", "--policy", "random"]),
        ("random 20 %", ["--retention", "20", "--policy", "random"]), ("blind (all tokens)", ["--retention", "none"])]


def write_clip(folder, i, seed, n_seg, pool, kinds, n_questions):
    """[(kind, question, answer)] of clip i; its files go to folder"""
    rng = np.random.default_rng([79, seed])
    while True:
        truth, frames, wave = world.make_clip(int(rng.integers(1 << 40)), n_seg, pool)
        drawn = {q[1]: q for q in (questions.ask(truth, rng, kinds) for _ in range(8 * n_questions)) if q}
        got = list(drawn.values())[:n_questions]
        if len(got) == n_questions:
            break
    np.save(f"{folder}/{i}.npy", frames)
    wavfile.write(f"{folder}/{i}.wav", world.RATE, np.int16(np.clip(wave, -1, 1) * 32767))
    with open(f"{folder}/{i}.txt", "w") as f:
        f.writelines(q + "\n" for _, q, _ in got)
    return got


def run(a, folder, shown, asked, options):
    """the answers' texts: clip `asked`'s questions about clip `shown`"""
    cmd = [a.omnid_run, "--model", a.model, "--frames", f"{folder}/{shown}.npy", "--audio", f"{folder}/{shown}.wav", "--mode", "eager",
           "--mel-reference", "running", "--threads", "1", "--max-tokens", "12", "--questions", f"{folder}/{asked}.txt", *options]
    out = subprocess.run(cmd, check=True, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="1")).stdout
    return [json.loads(line)["text"] for line in out.splitlines() if line.startswith("{")]


def measure(a, folder, clips, kinds):
    rows = {}
    for name, options in ROWS:
        shown = lambda i: i if not name.startswith("blind") else next(
            j % len(clips) for j in range(i + 1, i + 1 + len(clips)) if clips[j % len(clips)][0] == clips[i][0])
        with ThreadPoolExecutor(a.jobs) as pool:
            texts = list(pool.map(lambda i: run(a, folder, shown(i), i, options), range(len(clips))))
        hits, by_m = defaultdict(list), defaultdict(list)
        for (n_seg, qs), got in zip(clips, texts):
            assert len(got) == len(qs), f"{len(got)} answers to {len(qs)} questions"
            for (kind, _, truth), text in zip(qs, got):
                good = questions.normalise(text) == questions.normalise(truth)
                hits[kind].append(good)
                by_m[n_seg].append(good)
        every = [h for k in kinds for h in hits[k]]
        rows[name] = {"overall": float(np.mean(every)), "n": len(every), "kinds": {k: [float(np.mean(hits[k])), len(hits[k])] for k in kinds},
                      "segments": {m: float(np.mean(h)) for m, h in sorted(by_m.items())}}
        print(f"{name:20s} {rows[name]['overall']:.3f}", {k: round(v[0], 2) for k, v in rows[name]["kinds"].items()}, flush=True)
    return rows


def table(rows, kinds):
    n = rows["all tokens"]["kinds"]
    lines = ["| tokens kept | overall | " + " | ".join(kinds) + " |", "| --- " * (len(kinds) + 2) + "|",
             f"| questions | {rows['all tokens']['n']} | " + " | ".join(str(n[k][1]) for k in kinds) + " |"]
    lines += [f"| {name} | **{100 * r['overall']:.1f}** | " + " | ".join(f"{100 * r['kinds'][k][0]:.0f}" for k in kinds) + " |"
              for name, r in rows.items()]
    ms = rows["all tokens"]["segments"]
    lines += ["", "| segments in the clip | " + " | ".join(map(str, ms)) + " |", "| --- " * (len(ms) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{100 * r['segments'][m]:.0f}" for m in ms) + " |" for name, r in rows.items()]
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--omnid-run", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--speech", required=True)
    p.add_argument("--clips", type=int, default=104)
    p.add_argument("--questions", type=int, default=10)
    p.add_argument("--without", default="")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--out", default="", help="the card; default MODEL/README.md")
    a = p.parse_args()
    kinds = [k for k in questions.KINDS if k not in a.without.split(",")]
    pool = speech.Pool(a.speech)
    with tempfile.TemporaryDirectory() as folder:
        clips = [(1 + i % 8, write_clip(folder, i, SEED0 + i, 1 + i % 8, pool, kinds, a.questions)) for i in range(a.clips)]
        rows = measure(a, folder, clips, kinds)
    card = a.out or os.path.join(a.model, "README.md")
    with open(os.path.join(os.path.dirname(card), "accuracy.json"), "w") as f:
        json.dump({"mode": "eager", "mel_reference": "running", "clips": a.clips, "seed0": SEED0, "rows": rows}, f, indent=1)
        f.write("\n")
    text = open(card).read()
    text = re.sub(r"(<!-- table -->\n).*(<!-- end -->)", lambda x: x[1] + table(rows, kinds) + "\n" + x[2], text, flags=re.S)
    with open(card, "w") as f:
        f.write(text)
    print(table(rows, kinds))


if __name__ == "__main__":
    main()
