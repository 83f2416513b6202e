"""Between the stages: run the trained towers over the banks once, and keep their tokens.

    python3 features.py --vision DIR/vision.pt --audio DIR/audio.pt --out DIR/towers.pt DIR/train DIR/test

Each tower's last linear layer is scaled so that its tokens have the root mean square RMS; towers.pt holds both.
"""
import argparse
import os
import time

import numpy as np
import torch

import model
from train_towers import batch_of

RMS = 0.6


def scaled(tower, last, rms):
    with torch.no_grad():
        last.weight.mul_(RMS / rms)
        last.bias.mul_(RMS / rms)
    return tower.eval()


def load_towers(path):
    f = torch.load(path)
    v, a = model.VisionTower(), model.AudioTower()
    v.load_state_dict(f["visual"])
    a.load_state_dict(f["audio_tower"])
    return v.eval(), a.eval()


@torch.no_grad()
def see(folder, v, part):
    """part (i, n): the i-th of n parts of the bank; several processes may write one file"""
    frames, path = np.load(os.path.join(folder, "frames.npy"), mmap_mode="r"), os.path.join(folder, "V.npy")
    if part[0] == 0 or part[1] == 1:
        out = np.lib.format.open_memmap(path, "w+", np.float16, (len(frames), 2, 16, model.TEXT["hidden"]))
    else:
        while not os.path.exists(path):
            time.sleep(0.2)
        time.sleep(1)
        out = np.load(path, mmap_mode="r+")
    lo, hi = (len(frames) * (part[0] + j) // part[1] for j in (0, 1))
    for i in range(lo, hi, 64):
        idx = np.arange(i, min(i + 64, hi))
        out[idx] = v(batch_of("vision", frames, idx)).view(len(idx), 2, 16, -1).numpy()


@torch.no_grad()
def hear(folder, a):
    mel = np.load(os.path.join(folder, "mel.npy"), mmap_mode="r")
    toks = np.lib.format.open_memmap(os.path.join(folder, "A.npy"), "w+", np.float16, (len(mel), 50, model.TEXT["hidden"]))
    sal = np.zeros((len(mel), 50), np.float32)
    for i in range(0, len(mel), 64):
        idx = np.arange(i, min(i + 64, len(mel)))
        t, s = a(batch_of("audio", mel, idx))
        toks[idx], sal[idx] = t.numpy(), s.numpy()
    np.save(os.path.join(folder, "S.npy"), sal)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--vision")
    p.add_argument("--audio")
    p.add_argument("--part", default="0/1", help="of the pictures")
    p.add_argument("--out")
    p.add_argument("folders", nargs="*")
    args = p.parse_args()
    torch.set_num_threads(1)
    both = {}
    if args.vision:
        f, v = torch.load(args.vision), model.VisionTower()
        v.load_state_dict(f["tower"])
        both["visual"] = scaled(v, v.merger.mlp[2], f["rms"]).state_dict()
    if args.audio:
        f, a = torch.load(args.audio), model.AudioTower()
        a.load_state_dict(f["tower"])
        both["audio_tower"] = scaled(a, a.proj, f["rms"]).state_dict()
    if args.out:
        torch.save(both, args.out)
    for folder in args.folders:
        if args.vision:
            see(folder, v, tuple(map(int, args.part.split("/"))))
        if args.audio:
            hear(folder, a)
