"""check_cases.py CASES_DIR: runs answered cases (a folder in the form of its README: models, clips, expected answers) through semantics.py and compares with
the folder's own compare.py.  Exit 0 when all agree."""
import importlib.util
import json
import os
import sys
import wave

import numpy as np
import torch

import semantics as sem


def load_audio(path):
    with wave.open(path) as w:
        return np.frombuffer(w.readframes(w.getnframes()), dtype="<i2").astype(np.float64)


def check_case(model, case, compare, verbose):
    meta = json.load(open(os.path.join(case, "case.json"), encoding="utf-8"))
    frames = np.load(os.path.join(case, "frames.npy")) if meta["kind"] != "audio" else None
    audio = load_audio(os.path.join(case, "audio.wav")) if meta["kind"] != "video" else None
    names = sorted(f[:-5] for f in os.listdir(os.path.join(case, "expected")))
    good = 0
    moments = meta.get("moments") or [{"name": "", "after": None}]
    gaps = {int(k): v for k, v in meta.get("gaps", {}).items()}
    for rho in ((0.3, 0.8), (0.0, 0.0)):
        mine = [n for n in names if ("none" in n) == (rho == (0.0, 0.0))]
        if not mine:
            continue
        st = sem.Stream(model, meta["system"], frames is not None, audio is not None, *rho, window=meta.get("W"), hop=meta.get("hop"), mel_ref=meta["mel_ref"])
        for mo in moments:
            sem.feed_clip(st, frames, audio, mo["after"], gaps)
            now = sem.open_segment(st, frames, audio, mo["frames"], mo["samples"], gaps) if "samples" in mo else None
            for name in mine:
                if mo["name"] and not name.startswith(mo["name"] + "_"):
                    continue
                mode = next(x for x in ("offline", "deferred", "eager") if x in name.split("_"))
                pol = sem.Policy(model.L, name.split(mode + "_")[1].replace("_", ","))
                if now is not None:
                    now.h, now.k, now.v = [], [], []
                out = st.answer(meta["question"], mode, pol, meta["max_tokens"], now=now)
                e = json.load(open(os.path.join(case, "expected", name + ".json"), encoding="utf-8"))
                try:
                    worst, skipped = compare.compare(e, sem.trace(out), 1e-3, 10, 1e-2)
                    text = "" if out["text"] == e["text"] and out["tokens"] == e["tokens"] else f" TEXT {out['text']!r} {e['text']!r}"
                    good += 1
                    if verbose or skipped or text:
                        print(case, name, "ok", worst, skipped, text)
                except compare.Differs as err:
                    print(case, name, "DIFFERS", str(err)[:300])
    return good, len(names)


def main():
    root = sys.argv[1]
    spec = importlib.util.spec_from_file_location("compare", os.path.join(root, "compare.py"))
    compare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compare)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    good = total = 0
    man = json.load(open(os.path.join(root, "manifest.json"), encoding="utf-8"))
    for name in sorted(man["models"]):
        model = sem.Thinker(os.path.join(root, name, "model"))
        for case in sorted(man["models"][name]["cases"]):
            g, t = check_case(model, os.path.join(root, name, case), compare, "-v" in sys.argv)
            good, total = good + g, total + t
    print(f"{good} of {total} agree")
    return good != total


if __name__ == "__main__":
    sys.exit(main())
