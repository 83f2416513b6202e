"""Write the shipped clips: held-out scenes as VP8 + Opus in Matroska, each with its questions and true answers.

    python3 make_clips.py --speech DIR/test --out models/demo/clips --n 16

Needs gst-launch-1.0 with the base, good and bad plugins. Seeds start at 990000; training and evaluation use none of them.
"""
import argparse
import json
import os
import subprocess
import tempfile

import numpy as np
from scipy.io import wavfile

import questions
import speech
import world

FPS, SIDE, SEED0 = 12, 336, 990000


def film(scene, n_seg, rng, noise):
    """uint8 [n, SIDE, SIDE, 3] at FPS; light and noise as in training, the codec is the real one"""
    scene = dict(scene, noise=min(scene["noise"], 2.0))
    out = []
    for i in range(n_seg * 2 * FPS):
        # A real camera moves the shape between two frames of 2 fps as well; the change falls on a segment's first frame.
        img = world.blurred(world.paint(scene, i / FPS, SIDE), scene)
        out.append(np.asarray(world.camera(img, scene, rng, noise)))
    return np.stack(out)


def encode(frames, wave, path, budget):
    """budget: bytes of the whole file, about"""
    seconds = len(frames) / FPS
    video_bps = int(max(24000, (budget * 8 / seconds - 26000) * 0.9))
    with tempfile.TemporaryDirectory() as d:
        frames.tofile(d + "/v.rgb")
        wavfile.write(d + "/a.wav", world.RATE, np.int16(wave * 32767))
        cmd = (f"gst-launch-1.0 -q filesrc location={d}/v.rgb blocksize={SIDE * SIDE * 3} ! rawvideoparse format=rgb width={SIDE} "
               f"height={SIDE} framerate={FPS}/1 ! videoconvert ! video/x-raw,format=I420 ! vp8enc deadline=200000 end-usage=vbr "
               f"target-bitrate={video_bps} keyframe-max-dist=48 threads=1 ! queue ! matroskamux name=m ! filesink location={path} "
               f"filesrc location={d}/a.wav ! wavparse ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=1 ! "
               f"opusenc bitrate=24000 audio-type=generic ! queue ! m.")
        subprocess.run(cmd.split(), check=True)


def draw_questions(truth, rng, kinds, n):
    """n questions of different kinds, the first three visual, audible and cross-modal; None when the clip lacks one"""
    out = []
    for modality in ("visual", "audible", "cross", *[None] * (n - 3)):
        fit = [k for k in kinds if modality in (None, questions.MODALITY[k]) and k not in [q["kind"] for q in out]]
        rng.shuffle(fit)
        for k in fit:
            made = questions.ask(truth, rng, [k], plain_case=1.0)
            if made:
                out.append({"kind": k, "modality": questions.MODALITY[k], "question": made[1], "answer": made[2]})
                break
        else:
            if modality:
                return None
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--speech", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--n", type=int, default=16)
    p.add_argument("--questions", type=int, default=6)
    p.add_argument("--without", default=",".join(questions.NOT_SHIPPED))
    a = p.parse_args()
    kinds = [k for k in questions.KINDS if k not in a.without.split(",")]
    pool, made, seed = speech.Pool(a.speech), 0, SEED0
    os.makedirs(a.out, exist_ok=True)
    while made < a.n:
        seed += 1
        rng = np.random.default_rng([78, seed])
        n_seg = 3 + made % 6
        scene, events = world.draw_scene(rng, n_seg), world.draw_events(rng, n_seg)
        if len(events) < 2:
            continue
        qs = draw_questions(world.truth_of(scene, 0, n_seg, events), rng, kinds, a.questions)
        if qs is None:
            continue
        path = os.path.join(a.out, f"{made + 1:02d}")
        encode(film(scene, n_seg, rng, world.make_noise_pool(rng)), world.clip_wave(events, n_seg, rng, pool), path + ".mkv", 110000)
        with open(path + ".json", "w") as f:
            json.dump({"seed": seed, "seconds": 2 * n_seg, "questions": qs}, f, indent=1)
            f.write("\n")
        made += 1
        print(path, os.path.getsize(path + ".mkv"), "bytes", n_seg, "segments", flush=True)


if __name__ == "__main__":
    main()
