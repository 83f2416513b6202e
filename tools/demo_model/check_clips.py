"""Ask omnid-run every question of the shipped clips, through the video codec, and count the right answers by kind.

    python3 check_clips.py --omnid-run BUILD/omnid-run --model models/demo [--retention 30] [--weights int8]
"""
import argparse
import glob
import json
import subprocess
import tempfile
from collections import defaultdict

from questions import normalise


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--omnid-run", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--retention", default="30")
    p.add_argument("--weights", default="auto")
    a = p.parse_args()
    hits, clips_right = defaultdict(list), 0
    for path in sorted(glob.glob(a.model + "/clips/*.json")):
        asked = json.load(open(path))["questions"]
        with tempfile.NamedTemporaryFile("w") as f:
            f.writelines(q["question"] + "\n" for q in asked)
            f.flush()
            out = subprocess.run([a.omnid_run, "--model", a.model, "--video", path.replace(".json", ".mkv"), "--retention", a.retention,
                                  "--weights", a.weights, "--threads", "1", "--max-tokens", "12", "--mel-reference", "running", "--questions", f.name],
                                 check=True, capture_output=True, text=True).stdout
        texts = [json.loads(line)["text"] for line in out.splitlines() if line.startswith("{")]
        right = [normalise(t) == normalise(q["answer"]) for t, q in zip(texts, asked, strict=True)]
        clips_right += sum(right[:3]) >= 2
        for q, t, r in zip(asked, texts, right):
            hits[q["kind"]].append(r)
            if not r:
                print(f"{path[-7:-5]} {q['kind']}: {q['question']} -> {t} (truth: {q['answer']})")
    every = [h for v in hits.values() for h in v]
    print({k: f"{sum(v)}/{len(v)}" for k, v in sorted(hits.items())}, f"{sum(every)}/{len(every)};",
          f"clips with two of the first three right: {clips_right}")


if __name__ == "__main__":
    main()
