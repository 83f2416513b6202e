"""Banks of rendered segments, so that training need not wait for the renderer.

    python3 bank.py video --out DIR --seed 10 --items 2x5500,4x1500,8x1200      # DIR/frames.npy, scenes.json
    python3 bank.py audio --out DIR --seed 10 --segments 24000                   # DIR/mel.npy, events.json (needs DIR/speech.npz)

A video item is a scene of 2, 4 or 8 segments in one piece; an audio segment stands alone. Training joins them at will.
"""
import argparse
import json
import os

import numpy as np
import torch

import model
import speech
import world


def video(out, seed, items):
    rng = np.random.default_rng([1, seed])
    lengths = [int(n) for part in items.split(",") for n in [part.split("x")[0]] * int(part.split("x")[1])]
    rng.shuffle(lengths)
    frames = np.lib.format.open_memmap(os.path.join(out, "frames.npy"), "w+", np.uint8, (sum(lengths), 4, 112, 112, 3))
    noise, scenes, at = world.make_noise_pool(rng), [], 0
    for i, n in enumerate(lengths):
        scene = world.draw_scene(rng, n)
        frames[at:at + n] = world.render(scene, rng, noise).reshape(n, 4, 112, 112, 3)
        scenes.append(dict(scene, start=at))
        at += n
        if i % 500 == 0:
            print(i, len(lengths), flush=True)
    frames.flush()
    json.dump(scenes, open(os.path.join(out, "scenes.json"), "w"))


def audio(out, seed, n):
    torch.set_num_threads(1)
    rng = np.random.default_rng([2, seed])
    pool, filters = speech.Pool(out), model.mel_filters()
    mels = np.lib.format.open_memmap(os.path.join(out, "mel.npy"), "w+", np.float16, (n, 128, 200))
    kinds = rng.choice(["none", "word", "beeps", "tone"], n, p=[0.2, 0.44, 0.2, 0.16])
    events, batch = [], []
    for i in range(n):
        events.append(world.draw_event(rng, kinds[i]))
        floor = world.sound_floor(rng, world.SEG_SAMPLES + 400)
        x = floor.copy()
        x[200:-200] = world.segment_wave(events[-1], rng, pool, floor[200:-200])
        if rng.random() < 0.1:
            x[:200] = x[400:200:-1]                                  # the reflection at the start of a stream
        batch.append(x)
        if len(batch) == 100 or i == n - 1:
            m = model.log_mel(torch.tensor(np.stack(batch)), filters)
            # Other segments of the clip or the window may be louder: the reference is at least the segment's own maximum.
            own = m.amax((1, 2), keepdim=True)
            louder = torch.tensor(rng.uniform(-1.0, 2.4, (len(batch), 1, 1)), dtype=torch.float32)
            ref = torch.where(torch.tensor(rng.random((len(batch), 1, 1)) < 0.45), own, torch.maximum(own, louder))
            mels[i + 1 - len(batch):i + 1] = model.finish_mel(m, ref).numpy()
            batch = []
    mels.flush()
    json.dump(events, open(os.path.join(out, "events.json"), "w"))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["video", "audio"])
    p.add_argument("--out", required=True)
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--items", default="2x5500,4x1500,8x1200")
    p.add_argument("--segments", type=int, default=24000)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    video(a.out, a.seed, a.items) if a.what == "video" else audio(a.out, a.seed, a.segments)
