"""Accuracy of a model folder on held-out clips, measured by omnid itself; writes the card's table and a JSON beside it.

    python3 evaluate.py --omnid-run BUILD/omnid-run --model models/demo --speech DIR/test

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

SEED0 = 981000
ROWS = [("all tokens", ["--retention", "none"]), ("30 %", ["--retention", "30"]), ("20 %", ["--retention", "20"]),
        ("random 30 %", ["--retention", "30", "--policy", "random"]),
        ("random 20 %", ["--retention", "20", "--policy", "random"]), ("blind (all tokens)", ["--retention", "none"])]


def write_clip(folder, i, seed, n_seg, pool, kinds, n_questions):
    """[(kind, question, answer, whether x_at asks for what changes)] of clip i; its files go to folder"""
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
    what = truth["what"] and truth["state"][truth["what"]]
    return [(kind, q, answer, bool(what) and kind == "x_at" and answer in what) for kind, q, answer in got]


def run(a, folder, shown, asked, options):
    """[(text, retained ratio)]: the answers to clip `asked`'s questions about clip `shown`"""
    cmd = [a.omnid_run, "--model", a.model, "--frames", f"{folder}/{shown}.npy", "--audio", f"{folder}/{shown}.wav", "--mode", "eager",
           "--mel-reference", "running", "--threads", "1", "--max-tokens", "12", "--questions", f"{folder}/{asked}.txt", *options]
    out = subprocess.run(cmd, check=True, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="1")).stdout
    answers = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return [(x["text"], x["retained"]) for x in answers]


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
            for (kind, _, truth, changes), (text, _) in zip(qs, got):
                good = questions.normalise(text) == questions.normalise(truth)
                hits[kind].append(good)
                by_m[n_seg].append(good)
                if changes:
                    hits["changing"].append(good)
        every = [h for k in kinds for h in hits[k]]
        share = lambda k: [float(np.mean(hits[k])), len(hits[k])]
        rows[name] = {"overall": float(np.mean(every)), "n": len(every), "retained": float(np.mean([r for got in texts for _, r in got])),
                      "kinds": {k: share(k) for k in kinds},
                      "x_at_of_what_changes": share("changing"), "segments": {m: float(np.mean(h)) for m, h in sorted(by_m.items())}}
        print(f"{name:20s} {rows[name]['overall']:.3f}", {k: round(v[0], 2) for k, v in rows[name]["kinds"].items()}, flush=True)
    return rows


def table(rows, kinds):
    n = rows["all tokens"]["kinds"]
    lines = ["| tokens | kept | overall | " + " | ".join(kinds) + " |", "| --- " * (len(kinds) + 3) + "|",
             f"| questions | | {rows['all tokens']['n']} | " + " | ".join(str(n[k][1]) for k in kinds) + " |"]
    lines += [f"| {name} | {100 * r['retained']:.0f} % | **{100 * r['overall']:.1f}** | " + " | ".join(f"{100 * r['kinds'][k][0]:.0f}" for k in kinds) + " |"
              for name, r in rows.items()]
    ms, hard = rows["all tokens"]["segments"], rows["all tokens"]["x_at_of_what_changes"]
    right = ", ".join(f"{100 * r['x_at_of_what_changes'][0]:.0f} % ({name})" for name, r in list(rows.items())[:3])
    lines += ["", f"Of the {n['x_at'][1]} questions x_at, {hard[1]} ask for what changes in the clip, so that the moment decides.",
              f"Of these are right: {right}."]
    lines += ["", "| segments in the clip | " + " | ".join(map(str, ms)) + " |", "| --- " * (len(ms) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{100 * r['segments'][m]:.0f}" for m in ms) + " |" for name, r in rows.items()]
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--omnid-run", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--speech", required=True)
    p.add_argument("--clips", type=int, default=160)
    p.add_argument("--lengths", default="1,2,3,4,5,6,7,8", help="of the clips in segments, in turn")
    p.add_argument("--questions", type=int, default=10)
    p.add_argument("--without", default=",".join(questions.NOT_LEARNT))
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--out", default="", help="the card; default MODEL/README.md")
    a = p.parse_args()
    kinds = [k for k in questions.KINDS if k not in a.without.split(",")]
    lengths = [int(n) for n in a.lengths.split(",")]
    if a.clips < 2 * len(lengths):
        p.error("--clips: at least two of each length, so that every clip has another to be blind with")
    pool = speech.Pool(a.speech)
    with tempfile.TemporaryDirectory() as folder:
        clips = [(n, write_clip(folder, i, SEED0 + i, n, pool, kinds, a.questions))
                 for i, n in ((i, lengths[i % len(lengths)]) for i in range(a.clips))]
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
