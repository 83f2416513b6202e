"""Random clips: pictures with moving rectangles on a gradient, sounds with tones and bursts.  The same seed gives the same bytes."""
import wave

import numpy as np


def make_frames(seed, n, h, w, frozen=None):
    """uint8 [n, h, w, 3]; frozen (first, last): these frames all show the first of them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w]
    corner = rng.uniform(20, 235, (4, 3))
    u, v = (x / max(w - 1, 1))[..., None], (y / max(h - 1, 1))[..., None]
    back = (corner[0] * (1 - u) + corner[1] * u) * (1 - v) + (corner[2] * (1 - u) + corner[3] * u) * v
    boxes = [dict(p=rng.uniform(0, 1, 2) * (h, w), v=rng.uniform(-0.09, 0.09, 2) * (h, w), s=rng.uniform(0.15, 0.5, 2) * (h, w), c=rng.uniform(0, 255, 3)) for _ in range(4)]
    out = np.empty((n, h, w, 3), np.uint8)
    for i in range(n):
        f = back.copy()
        for b in boxes:
            cy, cx = (b["p"] + i * b["v"]) % (h, w)
            f[(abs(y - cy) < b["s"][0] / 2) & (abs(x - cx) < b["s"][1] / 2)] = b["c"]
        out[i] = np.clip(f + rng.normal(0, 6, (h, w, 1)) + rng.normal(0, 3, (h, w, 3)), 0, 255).round()
    if frozen:
        out[frozen[0]:frozen[1] + 1] = out[frozen[0]]
    return out


def make_audio(seed, n, loud_end=False):
    """int16 [n] at 16 kHz: a tone and a burst every half second or so, loudness changing from segment to segment."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16000
    out = rng.normal(0, 1.5, n)
    at = 0
    while at < n:
        k = int(rng.integers(4000, 14000))
        m = min(k, n - at)
        env = np.exp(-np.arange(m) / rng.uniform(1500, 9000)) * 10 ** rng.uniform(1.5, 4.2)
        f = rng.uniform(120, 5000)
        if rng.random() < 0.15:
            out[at:at + m] = env = 0 * env             # digital silence: the floor at 1e-10, or at the reference maximum - 8
        out[at:at + m] += env * (np.sin(2 * np.pi * f * t[:m] + rng.uniform(0, 6)) + 0.4 * np.sin(2 * np.pi * 2.7 * f * t[:m]) + 0.3 * rng.normal(0, 1, m))
        at += k
    if loud_end:
        out[-60:] += 22000 * np.sin(2 * np.pi * 3100 * t[:60])
    return np.clip(out, -32767, 32767).round().astype("<i2")


def write_wav(path, samples):
    with wave.open(path, "wb") as w:
        w.setnchannels(1), w.setsampwidth(2), w.setframerate(16000)
        w.writeframes(samples.astype("<i2").tobytes())
