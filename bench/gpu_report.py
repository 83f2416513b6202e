#!/usr/bin/env python3
"""gpu_report.py: the figures of a run of tools/gpu-check.sh as DEVICE.csv (one figure a row), DEVICE.md (goals, ratios, where each
mode wins) and DEVICE.json (everything as measured). It computes ratios and nothing else: no figure comes from elsewhere.

    python3 bench/gpu_report.py --logs build-gpu/logs --out bench/results [--manifest build-gpu/manifest]

Reads what is there of ceiling.json, bench-SHAPE.json, peer-SHAPE.json, steps.tsv and golden-*.log; what is missing is called
"not measured"."""
import argparse
import csv
import glob
import json
import os
import re
import sys

SHAPES = ("7b", "3b")
MISSING = "not measured"
# Goals by device: (H100, H200). None: no goal for this device, the figure is shown alone.
TTFT = {"7b": (8, 6.5), "3b": (4.5, 3.5)}
TTFT_READS = {"7b": (1.8, 1.8), "3b": (2.2, 2.2)}
INGEST = (10, 9)


def load(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (OSError, ValueError):
        return None


class Run:
    """What a run of gpu-check.sh left in its folder of logs."""

    def __init__(self, logs, manifest=None):
        self.logs = logs
        self.ceiling = load(os.path.join(logs, "ceiling.json")) or {}
        self.bench = {s: load(os.path.join(logs, f"bench-{s}.json")) or {} for s in SHAPES}
        self.peer = {s: load(os.path.join(logs, f"peer-{s}.json")) or {} for s in SHAPES}
        self.steps, self.manifest = [], {}
        for path, into in ((os.path.join(logs, "steps.tsv"), self.steps.append), (manifest, lambda pair: self.manifest.update([pair]))):
            if path and os.path.exists(path):
                with open(path, encoding="utf-8") as f:
                    for line in f:
                        into(tuple(line.rstrip("\n").split("\t")) if path.endswith(".tsv") else tuple(line.rstrip("\n").split("=", 1)))

    def device(self):
        names = [self.ceiling.get("device")] + [p.get("device") for p in self.peer.values()]
        return next((n for n in names if n), "unknown device")

    def copy_gb_s(self):
        """The highest copy bandwidth of this run."""
        found = [self.ceiling.get("copy_gb_s")] + [p.get("ceilings", {}).get("copy_gb_s") for p in self.peer.values()]
        return max((f for f in found if f), default=None)

    def product_tflops(self):
        found = [p.get("tflops") for p in self.ceiling.get("products", [])] + [p.get("ceilings", {}).get("product_tflops") for p in self.peer.values()]
        return max((f for f in found if f), default=None)

    def figure(self, shape, part, name, mode="eager", retention="30", n_segments=None, n_at_once=1, at="p50"):
        for f in self.bench[shape].get("live", []):
            if (f["part"], f["figure"], f["mode"], f["retention"], f["n_at_once"]) == (part, name, mode, retention, n_at_once):
                if n_segments in (None, f["n_segments"]):
                    return f[at]
        return None

    def lengths(self, shape, name, retention="30"):
        """{segments: figure} of the long timelines."""
        return {f["n_segments"]: f["p50"] for f in self.bench[shape].get("live", [])
                if (f["part"], f["figure"], f["retention"]) == ("length", name, retention)}

    def weights_read_ms(self, shape):
        """One read of the decoder's weights at the copy bandwidth."""
        weights, copy = self.bench[shape].get("decode_weight_bytes"), self.copy_gb_s()
        return weights / copy / 1e6 if weights and copy else None

    def ops(self):
        """The table of omnid-kernel-bench, as it printed it."""
        path = os.path.join(self.logs, "kernels.log")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8", errors="replace") as f:
            return [line.rstrip() for line in f if line.startswith("|")]

    def tiny_cosine(self):
        """The lowest cosine that golden_bf16 told, or None."""
        path = os.path.join(self.logs, "golden-bf16.log")
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8", errors="replace") as f:
            return min((float(v) for v in re.findall(r"cosine (-?[0-9.]+)", f.read())), default=None)


def ratio(a, b):
    return a / b if a is not None and b else None


def full_at(points, n):
    """Value at n segments of {segments: value}; a straight line through the last two points where n was not reached, and then True."""
    if n in points:
        return points[n], False
    known = sorted(points)
    if len(known) < 2:
        return None, False
    a, b = known[-2:]
    return points[b] + (points[b] - points[a]) / (b - a) * (n - b), True


def saved(less, more):
    r = ratio(less, more)
    return None if r is None else 1 - r


def goals(run, which):
    """Rows (figure, goal, measured, unit, met) for the device: which is 0 for H100, 1 for H200, None for any other."""
    rows = []

    def row(what, goal, value, unit, at_most=True, remark=""):
        limit = goal[which] if isinstance(goal, tuple) and which is not None else None if isinstance(goal, tuple) else goal
        met = None if value is None or limit is None else (value <= limit if at_most else value >= limit)
        rows.append((what, limit, value, unit, at_most, met, remark))

    for shape in SHAPES:
        for name, at in (("ttft idle", "p50"), ("ttft idle", "p95"), ("ttft during ingest", "p50"), ("ttft during ingest", "p95")):
            where = "idle" if name.endswith("idle") else "during ingest"
            row(f"time to first token, {shape}, {where}, {at}", TTFT[shape], run.figure(shape, "answer", name, at=at), "ms")
        row(f"the same (idle, p50) to one read of the weights at the copy bandwidth, {shape}", TTFT_READS[shape],
            ratio(run.figure(shape, "answer", "ttft idle"), run.weights_read_ms(shape)), "x")
    row("ingest of a segment, 7b, throughput", INGEST, run.figure("7b", "ingest", "segment, throughput"), "ms")
    row("ingest of a segment, 7b, latency p50", (None, None), run.figure("7b", "ingest", "segment, latency"), "ms")
    row("ingest of a segment, 7b, latency p95", (None, None), run.figure("7b", "ingest", "segment, latency", at="p95"), "ms")
    row("decode, 7b, one answer, share of the copy bandwidth", (0.8, 0.8), ratio(run.weights_read_ms("7b"), run.figure("7b", "answer", "decode a token")), "", False)
    row("prefill time saved by OmniDrop 30 %, offline, 7b", (0.65, 0.65),
        saved(run.figure("7b", "answer", "ttft idle", "offline"), run.figure("7b", "answer", "ttft idle", "offline", "none")), "", False)
    row("bf16: lowest logit cosine with transformers, tiny models, nothing pruned", (0.9995, 0.9995), run.tiny_cosine(), "", False)
    for shape in SHAPES:
        row(f"bf16: logit cosine with f32, {shape}, nothing pruned", (0.9995, 0.9995), run.figure(shape, "f32", "logit cosine", retention="none"), "", False)
        row(f"bf16: logit cosine with f32, {shape}, survivors forced to be the same (30 %)", (0.9995, 0.9995), run.figure(shape, "f32", "logit cosine, forced"), "", False)
        row(f"bf16: survivors that are the same there, {shape}, least of all layers", (1, 1), run.figure(shape, "f32", "overlap, forced"), "", False)
        row(f"bf16: logit cosine with f32, {shape}, each with its own survivors", (None, None), run.figure(shape, "f32", "logit cosine"), "", False)
        row(f"bf16: overlap of the survivors with f32's, {shape}, least of all layers", (0.97, 0.97), run.figure(shape, "f32", "overlap, least layer"), "", False)
    kept, full = run.lengths("7b", "timeline"), run.lengths("7b", "timeline", "none")
    for n in sorted(set(kept) & set(full)):
        row(f"KV bytes saved against full tokens, 7b, {n / 30:g} minutes", (0.55, 0.55), saved(kept[n], full[n]), "", False)
    long = max(kept, default=None)
    if long:
        memory, guessed = full_at(run.lengths("7b", "memory", "none"), long)
        row(f"peak memory saved, 7b, {long / 30:g} minutes", (0.2, 0.2), saved(run.lengths("7b", "memory")[long], memory), "", False,
            "full tokens: a straight line on from the longest measured" if guessed else "")
    ttft = run.lengths("7b", "ttft idle")
    for minutes, limit in ((5, (1.15, 1.15)), (30, (2, 2))):
        row(f"time to first token, 7b, {minutes} minutes to 1", limit, ratio(ttft.get(30 * minutes), ttft.get(30)), "x")
    return rows


def number(value, unit=""):
    if value is None:
        return MISSING
    text = f"{value:.6f}" if 0.99 < value < 1 else f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return f"{text} {unit}".strip()


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)] + ["| " + " | ".join(str(c).replace("|", "/") for c in r) + " |" for r in rows]


def goal_lines(run, which):
    out = []
    for what, limit, value, unit, at_most, met, remark in goals(run, which):
        goal = "-" if limit is None else f"{'≤' if at_most else '≥'} {number(limit, unit)}"
        out.append((what, goal, number(value, unit), {None: "-", True: "yes", False: "**no**"}[met], remark))
    return table(("figure", "goal", "measured", "met", ""), out)


def peer_lines(run):
    rows = []
    for shape in SHAPES:
        peer, full, cut = run.peer[shape], run.peer[shape].get("full", {}), run.peer[shape].get("section_4", {})
        ttft = run.figure(shape, "answer", "ttft idle")
        for what, ours, theirs in (
                ("first token: omnid eager / encode and prefill 64 s in one shot", ttft, full.get("encode_and_prefill_ms")),
                ("first token: omnid eager / prefill of all tokens, encoded before", ttft, full.get("prefill_ms")),
                ("first token: omnid eager / prefill of what section 4 leaves", ttft, cut.get("prefill_ms")),
                ("first token: omnid eager / the query over a cached timeline of all tokens", ttft, full.get("question_ms")),
                ("first token: omnid offline 30 / prefill of all tokens", run.figure(shape, "answer", "ttft idle", "offline"), full.get("prefill_ms")),
                ("first token: omnid offline none / prefill of all tokens", run.figure(shape, "answer", "ttft idle", "offline", "none"), full.get("prefill_ms")),
                ("a segment: omnid offline (encoders and section 4) / both encoders", run.figure(shape, "ingest", "segment, throughput", "offline"), peer.get("encode_ms")),
                ("a token: omnid eager 30 / decode over all tokens", run.figure(shape, "answer", "decode a token"), full.get("decode_ms_a_token"))):
            rows.append((shape, what, number(ours, "ms"), number(theirs, "ms"), number(ratio(theirs, ours), "x")))
    return table(("shape", "what", "omnid", "transformers", "omnid is faster by"), rows)


def mode_lines(run, shape):
    """Where each mode wins: what is paid for a segment, and waited for an answer."""
    rows = []
    for mode in ("eager", "deferred", "offline"):
        for retention in ("none", "45", "30", "20"):
            get = lambda part, name, at="p50", m=mode, r=retention: run.figure(shape, part, name, m, r, at=at)
            if get("answer", "ttft idle") is None:
                continue
            rows.append((mode, retention, number(get("answer", "retained")), number(get("ingest", "segment, throughput")), number(get("answer", "ttft idle")),
                         number(get("answer", "ttft idle", "p95")), number(get("answer", "ttft during ingest")), number(get("answer", "ttft during ingest", "p95")),
                         number(get("answer", "decode a token")), number(ratio(get("answer", "timeline"), 1 << 20)), number(ratio(get("answer", "memory"), 1 << 30))))
    return table(("mode", "retention", "retained", "segment ms", "ttft p50", "p95", "in ingest p50", "p95", "token ms", "timeline MiB", "in all GiB"), rows)


def part_lines(run, shape, part, names):
    """Figures of a part: a row for each length or number at once."""
    live = [f for f in run.bench[shape].get("live", []) if f["part"] == part]
    keys = sorted({(f["mode"], f["retention"], f["n_segments"], f["n_at_once"]) for f in live})
    rows = []
    for key in keys:
        of = {f["figure"]: f for f in live if (f["mode"], f["retention"], f["n_segments"], f["n_at_once"]) == key}
        rows.append(key + tuple(number(of[n]["p50"]) + (f" ({number(of[n]['p95'])})" if n.startswith("ttft") else "") if n in of else "-" for n in names))
    return table(("mode", "retention", "segments", "at once") + tuple(names), rows)


def markdown(run, which):
    m = run.manifest
    bench = next((b for b in run.bench.values() if b), {})
    lines = [f"# {run.device()}", "",
             f"`tools/gpu-check.sh`, {bench.get('date', m.get('date', 'date unknown'))}, commit {m.get('commit', bench.get('commit', 'unknown'))}. Random weights, bf16, frames "
             f"{bench.get('frame_side', '?')}x{bench.get('frame_side', '?')}, a query of 30 tokens. Times in ms, p95 in brackets. Written by bench/gpu_report.py from the figures in the .json beside it.", "",
             f"Copy {number(run.copy_gb_s(), 'GB/s')} (bytes read and written), read {number(run.ceiling.get('read_gb_s'), 'GB/s')}, products {number(run.product_tflops(), 'TFLOP/s')}; "
             + ", ".join(f"{s}: one read of the decoder's weights {number(run.weights_read_ms(s), 'ms')}" for s in SHAPES) + ".", "",
             "## Goals", ""] + goal_lines(run, which) + ["", "## Checks", ""]
    lines += table(("step", "outcome", "s", ""), run.steps) + ["", "## Beside transformers, in the same run", ""] + peer_lines(run)
    products = [(f"{p['m']} x {p['n']} x {p['k']}", number(p["tflops"])) for p in run.ceiling.get("products", [])]
    lines += ["", "## Products alone", "", "bf16 with float32 sums, cuBLASLt's first choice, weights in turn.", ""] + table(("m x n x k", "TFLOP/s"), products)
    if run.ops():
        lines += ["", "## Ops, 7b", "", "Ceiling: the product of 338 rows (gate or up alone) in the same run; GB/s: of weights, KV or logits read, to be compared with the copy above.", ""] + run.ops()
    for shape in SHAPES:
        if not run.bench[shape]:
            continue
        lines += ["", f"## {shape}: where each mode wins", "", "A timeline of 64 s; a segment is paid for always, an answer only when asked.", ""] + mode_lines(run, shape)
        lines += ["", f"### {shape}: long timelines", ""] + part_lines(run, shape, "length", ("ttft idle", "tokens", "timeline", "memory"))
        lines += ["", f"### {shape}: several questions at once", ""] + part_lines(run, shape, "at once", ("ttft idle", "decode a token", "ids a second"))
        lines += ["", f"### {shape}: several cameras at once", ""] + part_lines(run, shape, "cameras", ("segment, throughput", "x real", "ttft during ingest", "memory"))
        if run.bench[shape].get("cut"):
            lines += ["", f"Left out: {run.bench[shape]['cut']}."]
    return "\n".join(lines) + "\n"


def flat(value, name=""):
    """Numbers of nested objects as (dotted name, number)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value


def write_csv(run, path):
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(("device", "source", "shape", "part", "mode", "retention", "n_segments", "n_at_once", "figure", "unit", "p50", "p95", "n"))
        device = run.device()
        for name, value in flat({k: v for k, v in run.ceiling.items() if k != "products"}):
            out.writerow((device, "ceiling", "", "", "", "", "", "", name, "", value, "", ""))
        for p in run.ceiling.get("products", []):
            out.writerow((device, "ceiling", f"{p['m']}x{p['n']}x{p['k']}", "", "", "", "", "", "product", "TFLOP/s", p["tflops"], "", ""))
        for shape in SHAPES:
            for r in run.bench[shape].get("live", []):
                out.writerow((device, "omnid", shape) + tuple(r[k] for k in ("part", "mode", "retention", "n_segments", "n_at_once", "figure", "unit", "p50", "p95", "n")))
            for name, value in flat(run.peer[shape]):
                out.writerow((device, "transformers", shape, "", "", "", run.peer[shape].get("segments", ""), "", name, "", value, "", ""))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("--logs", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--manifest")
    o = p.parse_args()
    run = Run(o.logs, o.manifest)
    if not (run.ceiling or run.steps or any(run.bench.values()) or any(run.peer.values())):
        print(f"gpu_report.py: {o.logs} holds no figures of tools/gpu-check.sh", file=sys.stderr)
        return 1
    device = run.device()
    which = 0 if "H100" in device else 1 if "H200" in device else None
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    os.makedirs(o.out, exist_ok=True)
    base = os.path.join(o.out, name)
    text = markdown(run, which)
    with open(base + ".md", "w", encoding="utf-8") as f:
        f.write(text)
    write_csv(run, base + ".csv")
    with open(base + ".json", "w", encoding="utf-8") as f:
        json.dump(dict(device=device, manifest=run.manifest, steps=run.steps, ceiling=run.ceiling, omnid=run.bench, transformers=run.peer), f, indent=1)
        f.write("\n")
    print(text[text.index("## Goals"):text.index("## 7b") if "## 7b" in text else len(text)])
    print(f"{base}.md, .csv, .json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
