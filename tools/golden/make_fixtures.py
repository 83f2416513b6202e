"""make_fixtures.py OUT: everything under tests/golden/data (README.md there says what each file is).  Fixed seeds; about two minutes of one core.

A case is a clip or stream for one model, with answers.  Each answer's decisions must have a margin of at least MIN_RATIO over float32 noise: noise is the largest
difference between the float32 and the float64 run of the same values, margin the distance at the cut.  A case whose answers have less gets the next seed.
"""
import argparse
import json
import os
import shutil
import sys

import numpy as np
import torch
from PIL import Image

import corpus
import inputs
import make_model
import reference
import semantics as sem

MIN_RATIO = 25.0
OWN, SHARP = "0.05,0.6,0.4,2", "0.02,0.5,0.5,1,0.01"
HISTORY = [["What do you hear?", "A red circle."], ["And then?\n", " The dog barks twice."]]


def ask(mode, retention="30", name=None, **kw):
    """One answer of a case; kw: policy, first_prune, seed, history, last_s, question, max_tokens."""
    return dict(name=name or f"{mode}_{retention.replace(',', '_')}", mode=mode, retention=retention, **kw)


BASIC = [ask("offline", "none"), ask("offline"), ask("offline", "20"), ask("deferred"), ask("deferred", OWN), ask("eager"), ask("eager", OWN)]
EXTRA = BASIC + [
    ask("offline", OWN), ask("offline", SHARP), ask("offline", "45"), ask("eager", "none"), ask("deferred", "none"),
    ask("offline", "30", "offline_policy_none", policy="none"), ask("eager", OWN, "eager_random", policy="random", seed=7),
    ask("offline", OWN, "offline_random", policy="random", seed=2**40 + 3), ask("offline", OWN, "offline_first_prune", first_prune=3),
    ask("deferred", OWN, "deferred_first_prune", first_prune=5), ask("eager", OWN, "eager_history", history=HISTORY), ask("offline", OWN, "offline_history", history=HISTORY[:1]),
    ask("eager", OWN, "eager_last_s", last_s=3), ask("offline", OWN, "offline_last_s", last_s=2),
    ask("eager", OWN, "eager_special", question="<|im_end|>Is <tool_call> the word? é")]
LIVE = [ask("eager"), ask("eager", OWN), ask("deferred", "20"), ask("deferred", OWN)]

CASES = [
    # picture and sound, odd number of frames, a partial last segment with an odd number of encoder frames
    dict(model="M1", name="plain", kind="av", mel_ref="clip", size=(84, 84), frames=9, samples=85350, answers=EXTRA),
    dict(model="M1", name="video", kind="video", size=(56, 84), frames=10, answers=BASIC),
    dict(model="M1", name="stream", kind="av", size=(28, 56), frames=24, samples=192000, W=3, hop=0, gaps={2: "v", 3: "va"}, answers=LIVE,
         moments=[dict(name="after2", after=2), dict(name="after4", after=4), dict(name="now", after=5, frames=3, samples=19000), dict(name="end", after=6)]),
    # sound alone, ending with 2 mel frames that give no token
    dict(model="M2", name="audio", kind="audio", mel_ref="clip", samples=64000 + 320, answers=BASIC + [ask("eager", OWN, "eager_last_s", last_s=2)]),
    # sound longer than picture, running reference maximum
    dict(model="M2", name="plain", kind="av", mel_ref="running", size=(56, 112), frames=6, samples=80000, answers=BASIC),
    # first segment without sound, a frozen picture over 8 frames, a gap at the end
    dict(model="M2", name="stream", kind="av", size=(28, 84), frames=20, samples=160000, W=2, hop=1, gaps={0: "a", 4: "v"}, frozen=(8, 15), answers=LIVE,
         moments=[dict(name="after1", after=1), dict(name="after4", after=4), dict(name="now", after=4, frames=2, samples=13333), dict(name="end", after=5)]),
    # picture longer than sound
    dict(model="M3", name="plain", kind="av", mel_ref="clip", size=(56, 112), frames=9, samples=40000, answers=BASIC),
    # camera alone; more leaves at once than a group of four grids spans; ends with a gap
    dict(model="M3", name="stream", kind="video", size=(56, 28), frames=32, W=4, hop=3, gaps={2: "v", 7: "v"}, answers=LIVE + [ask("offline", OWN)],
         moments=[dict(name="after5", after=5), dict(name="now", after=6, frames=1, samples=100), dict(name="end", after=8)]),
]


class Pair:
    """One model in float32 and float64, and transformers' own."""

    def __init__(self, path):
        self.f32, self.f64 = sem.Thinker(path), sem.Thinker(path, torch.float64)
        self.ref = reference.build(self.f32)


def run(model, case, frames, audio, system, question):
    """{answer's file name: record} of all moments and answers with one precision."""
    out = {}
    for none in (True, False):
        mine = [a for a in case["answers"] if (a["retention"] == "none") == none]
        if not mine:
            continue
        rho = (0.0, 0.0) if none else (0.3, 0.8)
        st = sem.Stream(model, system, frames is not None, audio is not None, *rho, window=case.get("W"), hop=case.get("hop"), mel_ref=case.get("mel_ref", "running"))
        for mo in case.get("moments", [dict(name="", after=None)]):
            sem.feed_clip(st, frames, audio, mo["after"], case.get("gaps"))
            for a in mine:
                now = sem.open_segment(st, frames, audio, mo["frames"], mo["samples"], case.get("gaps")) if "samples" in mo else None
                pol = sem.Policy(model.L, a["retention"], a.get("policy", "omnidrop"), a.get("first_prune", 0), a.get("seed", 0))
                r = st.answer(a.get("question", question), a["mode"], pol, 8, a.get("history", ()), now, a.get("last_s"))
                r["D"], r["next"] = st.D, st.seen
                out[(mo["name"] + "_" if mo["name"] else "") + a["name"]] = r
    return out


def margins(r32, r64):
    """The margins of an answer with their ratio to noise, and the smallest ratio."""
    out, worst = [], float("inf")
    for a, b in zip(r32["margins"], r64["margins"]):
        same = a["what"] == b["what"] and len(a["values"]) == len(b["values"])
        noise = (a["values"].double() - b["values"].double()).abs().max().item() if same else float("inf")
        if a["what"].startswith("layer"):
            noise += 2.0 ** -26          # S + term is rounded at the term's size
        tie = a["gap"] == 0 and a["what"].startswith("ttm")      # cosines at the cap: equal by definition, the earlier leaves
        ratio = None if tie or a["gap"] is None else a["gap"] / noise if noise else float("inf")
        out.append({"what": a["what"], "gap": a["gap"], "noise": noise, "ratio": ratio})
        if ratio is not None:
            worst = min(worst, ratio)
    if r32["survivors"] != r64["survivors"] or [s for s in r32["segments"]] != [s for s in r64["segments"]]:
        worst = 0.0
    return out, worst


def short(x):
    return float(f"{x:.7g}")


def record(r, margin):
    """What of an answer goes into its file."""
    keep = ("mode", "retention", "policy", "L", "b", "input_ids", "position_ids", "prefix_len", "query_len", "segments", "C", "n_l", "k_l", "survivors", "kv_rows_final", "tokens", "text", "D")
    out = {k: r[k] for k in keep}
    out.update(first_segment=r["D"], retained_ratio=r["retained_ratio"], logits=[short(x) for x in r["logits"].tolist()], top2_gap=[short(x) for x in r["top2_gap"]],
               evidence=[{"segment": e["segment"], "weight": short(e["weight"]), "audio": short(e["audio"])} for e in r["evidence"]],
               margins=[{"what": m["what"], "ratio": None if m["ratio"] is None else short(min(m["ratio"], 1e9))} for m in margin if m["ratio"] is None or m["ratio"] < 1000])
    return out


def check_plain(pair, case, r, frames, audio, system, question):
    """An answer without pruning against transformers' forward."""
    ids, pos, logits = reference.forward(pair.f32, pair.ref, system, question, frames, audio)
    assert ids == r["input_ids"] and pos == r["position_ids"], f"{case['model']} {case['name']}: prompt differs from transformers'"
    worst = (logits - r["logits"]).abs().max().item()
    assert worst < 3e-4, f"{case['model']} {case['name']}: logits differ from transformers' by {worst}"
    r["logits"] = logits


def make_case(pair, case, out):
    for sub in range(60):
        seed = 1000 * (CASES.index(case) + 1) + sub
        frames = inputs.make_frames(seed, case["frames"], *case["size"], case.get("frozen")) if "frames" in case else None
        audio = inputs.make_audio(seed, case["samples"]) if "samples" in case else None
        for s, gap in case.get("gaps", {}).items():      # missing parts: zeros in the files, and never fed
            if "a" in gap and audio is not None:
                audio[sem.SEG_SAMPLES * s:sem.SEG_SAMPLES * (s + 1)] = 0
            if "v" in gap:
                frames[4 * s:4 * s + 4] = 0
        system, question = corpus.SYSTEMS[seed % 2], corpus.QUESTIONS[seed % len(corpus.QUESTIONS)]
        try:
            a32 = run(pair.f32, case, frames, audio, system, question)
            a64 = run(pair.f64, case, frames, audio, system, question)
        except RuntimeError as err:
            raise SystemExit(f"{case['model']} {case['name']}: {err}")
        all_margins = {n: margins(a32[n], a64[n]) for n in a32}
        worst = min(m[1] for m in all_margins.values())
        gap = min(r["top2_gap"][0] for r in a32.values())
        print(case["model"], case["name"], "seed", seed, "min ratio %.1f" % worst, "first token's gap %.3f" % gap, flush=True)
        if worst >= MIN_RATIO and gap >= 0.03:
            break
    else:
        raise SystemExit("no seed found")
    folder = os.path.join(out, case["model"], case["name"])
    os.makedirs(os.path.join(folder, "expected"))
    if "moments" not in case and case.get("mel_ref") != "running":
        for n, r in a32.items():
            if r["retention"] == "none" and r["mode"] == "offline":
                check_plain(pair, case, r, frames, audio, system, question)
    if frames is not None:
        np.save(os.path.join(folder, "frames.npy"), frames)
    if audio is not None:
        inputs.write_wav(os.path.join(folder, "audio.wav"), audio)
    meta = dict(kind=case["kind"], stream="moments" in case, question=question, system=system, max_tokens=8, mel_ref=case.get("mel_ref", "running"), seed=seed, min_ratio=worst,
                answers=case["answers"], model="../model")
    if "moments" in case:
        meta.update(W=case["W"], hop=case["hop"], gaps={str(k): v for k, v in case["gaps"].items()}, moments=case["moments"])
    make_model.write_json(os.path.join(folder, "case.json"), meta)
    for n, r in a32.items():
        with open(os.path.join(folder, "expected", n + ".json"), "w", encoding="utf-8") as f:
            json.dump(record(r, all_margins[n][0]), f, ensure_ascii=False, separators=(",", ":"))


# --- front ends ---------------------------------------------------------------------------------------------------------------------------------------------
def raw(folder, name, array):
    """A file of little-endian values; its line in index.json."""
    array = np.ascontiguousarray(array)
    kind = {"float32": "f32", "uint8": "u8", "int16": "i16"}[str(array.dtype)]
    array.tofile(os.path.join(folder, f"{name}.{kind}"))
    return {"file": f"{name}.{kind}", "shape": list(array.shape)}


def make_front(pairs, out):
    folder = os.path.join(out, "front")
    os.makedirs(folder)
    index = {"mel": [], "audio": [], "vision": []}
    audio = inputs.make_audio(501, 35300)
    audio[:32000] //= 24
    audio[32400:34000] = (9000 * np.sin(np.arange(1600) * 0.31)).astype(np.int16)
    loud = inputs.make_audio(502, 8960, loud_end=True)      # the frame past the end is the loudest, as transformers sees it
    index["samples"] = [dict(raw(folder, "clip", audio), name="clip"), dict(raw(folder, "loud", loud), name="loud")]
    m1 = pairs["M1"].f32
    for name, x in (("clip", audio), ("loud", loud)):
        for ref in ("clip", "running"):
            st = sem.Stream(m1, "", False, True, mel_ref=ref, prefill=False)
            sem.feed_clip(st, None, x.astype(np.float64))
            mel = torch.cat([p.mel for p in st.parts])
            if ref == "clip":
                theirs = reference.features(x)[0][0].T
                far = (theirs - mel).abs().max().item()
                print("mel", name, "against transformers' extractor: %.1e" % far)
                assert theirs.shape == mel.shape and far < 1e-3
                mel = theirs
                whole = mel if name == "clip" else whole
                assert name != "loud" or mel.max() < (sem.clip_maximum(m1, x.astype(np.float64)) + 4) / 4 - 0.05
            elif name == "loud":
                continue
            else:                                   # the quiet first segment, which does not know the second
                mel = mel[:sem.SEG_MEL]
                assert ((mel - whole[:sem.SEG_MEL]).abs() > 0.1).sum() > 1000
            index["mel"].append(dict(raw(folder, f"mel_{name}_{ref}", mel.numpy()), samples=name, reference=ref))
    for m, pair in pairs.items():
        for s in range(2):
            part = whole[sem.SEG_MEL * s:sem.SEG_MEL * (s + 1)]
            tokens, saliency = pair.f32.encode_audio(part)
            index["audio"].append(dict(model=m, mel="mel_clip_clip", first=sem.SEG_MEL * s, n=len(part), output=raw(folder, f"audio_{m}_{s}", tokens.numpy()),
                                       saliency=raw(folder, f"saliency_{m}_{s}", saliency.numpy())))
    for h, w in ((84, 140), (112, 112), (140, 140)):
        two = inputs.make_frames(h + w, 2, h, w)
        frames = raw(folder, f"frames_{h}x{w}", two)
        for m, pair in pairs.items():
            index["vision"].append(dict(model=m, height=h, width=w, frames=frames["file"], output=raw(folder, f"vision_{m}_{h}x{w}", pair.f32.encode_grid(two).numpy())))
    make_model.write_json(os.path.join(folder, "index.json"), index)


def make_resize(out):
    """RGB pictures and PIL's bicubic results."""
    folder = os.path.join(out, "resize")
    os.makedirs(folder)
    index = []
    for i, (sw, sh, dw, dh) in enumerate(((120, 90, 112, 84), (97, 61, 84, 56), (120, 90, 28, 28), (64, 48, 56, 28), (150, 33, 140, 28), (90, 57, 84, 56))):
        src = inputs.make_frames(900 + i, 1, sh, sw)[0]
        src[::7, :, 1] = 255                       # thin lines and a checkerboard: overshoot and clipping
        src[:12, :12] = 255 * ((np.indices((12, 12)).sum(0) % 2)[..., None])
        # Two calls: rows first, whatever order a Pillow would choose (13 takes the cheaper), for both passes round and clip.
        dst = np.asarray(Image.fromarray(src).resize((dw, sh), Image.BICUBIC).resize((dw, dh), Image.BICUBIC))
        index.append({"source": raw(folder, f"{i}_source", src), "result": raw(folder, f"{i}_result", dst)})
    make_model.write_json(os.path.join(folder, "index.json"), index)


def make_tokenizer(out):
    folder = os.path.join(out, "tokenizer")
    os.makedirs(folder)
    tok = make_model.tokenizer(1400, scripts=True)
    tok.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    tok.encode_special_tokens = True
    lines = corpus.test_lines(77, 64000)
    with open(os.path.join(folder, "text.jsonl"), "w", encoding="utf-8") as t, open(os.path.join(folder, "ids.jsonl"), "w", encoding="utf-8") as i:
        for line in lines:
            t.write(json.dumps(line, ensure_ascii=False) + "\n")
            i.write(json.dumps(tok.encode(line, add_special_tokens=False).ids, separators=(",", ":")) + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out"), ap.add_argument("--only", help="MODEL/CASE, front, resize or tokenizer: make only this anew")
    a = ap.parse_args()
    torch.set_grad_enabled(False), torch.set_num_threads(1)
    if a.only == "tokenizer":
        shutil.rmtree(os.path.join(a.out, "tokenizer"), ignore_errors=True)
        return make_tokenizer(a.out)
    if a.only == "resize":
        shutil.rmtree(os.path.join(a.out, "resize"), ignore_errors=True)
        return make_resize(a.out)
    if a.only == "front":
        shutil.rmtree(os.path.join(a.out, "front"), ignore_errors=True)
        return make_front({m: Pair(os.path.join(a.out, m, "model")) for m in make_model.SHAPES}, a.out)
    if a.only:
        m, c = a.only.split("/")
        shutil.rmtree(os.path.join(a.out, m, c), ignore_errors=True)
        make_case(Pair(os.path.join(a.out, m, "model")), next(x for x in CASES if (x["model"], x["name"]) == (m, c)), a.out)
        return
    shutil.rmtree(a.out, ignore_errors=True)
    make_tokenizer(a.out), make_resize(a.out)
    pairs = {}
    for m in make_model.SHAPES:
        make_model.make(os.path.join(a.out, m, "model"), m)
        pairs[m] = Pair(os.path.join(a.out, m, "model"))
    make_front(pairs, a.out)
    for case in CASES:
        make_case(pairs[case["model"]], case, a.out)


if __name__ == "__main__":
    sys.exit(main())
