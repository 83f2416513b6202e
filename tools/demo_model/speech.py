"""A pool of spoken words: espeak-ng and flite in many voices, 16 kHz mono float32.

    python3 speech.py --out DIR --per-word 220 --seed 1

writes DIR/speech.npz: `wave` (all samples in one array), `start`, `word` (index into world.WORDS), `voice`.
Every rendering draws its own voice, speed and pitch, so two seeds share no rendering.
"""
import argparse
import io
import os
import subprocess
import tempfile

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from world import RATE, WORDS

ESPEAK = [f"{accent}{variant}" for accent in ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp")
          for variant in ("", "+m1", "+m3", "+m4", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")]
FLITE = ["kal16", "awb", "rms", "slt"]


def to_rate(rate, x):
    """int16 samples at any rate -> float32 at 16 kHz without silent ends."""
    x = x.astype(np.float32) / 32768.0
    if rate != RATE:
        g = np.gcd(rate, RATE)
        x = resample_poly(x, RATE // g, rate // g).astype(np.float32)
    loud = np.flatnonzero(np.abs(x) > 0.02 * np.abs(x).max())
    return x[loud[0]:loud[-1] + 1]


def espeak(word, rng, tmp):
    voice = ESPEAK[rng.integers(len(ESPEAK))]
    cmd = ["espeak-ng", "-v", voice, "-s", str(rng.integers(120, 190)), "-p", str(rng.integers(25, 75)), "--stdout", word]
    out = subprocess.run(cmd, check=True, capture_output=True).stdout
    # espeak-ng cannot seek in a pipe, so its header holds no true length: read the samples by hand.
    rate = int.from_bytes(out[24:28], "little")
    return to_rate(rate, np.frombuffer(out[44:len(out) - len(out) % 2], np.int16)), "espeak-ng " + voice


def flite(word, rng, tmp):
    voice = FLITE[rng.integers(len(FLITE))]
    cmd = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.85, 1.3):.3f}", "-t", word, "-o", tmp]
    if voice in ("kal16", "slt", "rms"):
        mean = {"kal16": 105, "slt": 170, "rms": 100}[voice] * rng.uniform(0.85, 1.25)
        cmd[3:3] = ["--setf", f"int_f0_target_mean={mean:.1f}"]
    subprocess.run(cmd, check=True, capture_output=True)
    return to_rate(*wavfile.read(tmp)), "flite " + voice


def make_pool(out, per_word, seed):
    rng = np.random.default_rng(seed)
    waves, words, voices = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        tmp = os.path.join(folder, "w.wav")
        for i in range(per_word * len(WORDS)):
            w = i % len(WORDS)
            x, voice = (espeak if rng.random() < 0.6 else flite)(WORDS[w], rng, tmp)
            if 0.15 * RATE < len(x) < 1.5 * RATE:
                waves.append(x / np.abs(x).max())
                words.append(w)
                voices.append(voice)
    start = np.cumsum([0] + [len(x) for x in waves])
    os.makedirs(out, exist_ok=True)
    np.savez(os.path.join(out, "speech.npz"), wave=np.concatenate(waves).astype(np.float16), start=start,
             word=np.array(words), voice=np.array(voices))
    print(f"{len(waves)} renderings, {start[-1] / RATE:.0f} s of speech")


class Pool:
    """The renderings of one speech.npz, by word."""

    def __init__(self, folder):
        f = np.load(os.path.join(folder, "speech.npz"))
        self.wave, self.start, self.voice = f["wave"], f["start"], f["voice"]
        self.of_word = [np.flatnonzero(f["word"] == w) for w in range(len(WORDS))]

    def draw(self, word, rng):
        i = rng.choice(self.of_word[word])
        return self.wave[self.start[i]:self.start[i + 1]].astype(np.float32), str(self.voice[i])


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--per-word", type=int, default=220)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    make_pool(a.out, a.per_word, a.seed)
