"""What the demo model says to cards (cards.py) that are held up to a camera: simulated photographs, answered by omnid-run.

    python3 check_cards.py --omnid-run BUILD/omnid-run --model models/demo [--cards 60]

A photograph is 640x480: a card of the world, tilted by up to 18 degrees, turned by up to 8, off the middle, in a trembling hand
before a room; light, white balance, blur, noise and JPEG as webcams have them. Four seconds of it, with a quiet noise as sound.
Prints the share of right answers by how much of the picture's height the card fills, for the whole picture and for the square
in its middle, which is what `tools/demo.sh --camera` gives the demo model.
"""
import argparse
import json
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.io import wavfile

import world
from questions import normalise

SEED0, WIDTH, HEIGHT, N_FRAMES, CARD = 995000, 640, 480, 8, 600
ASKED = {"shape": "What shape is shown?", "colour": "What colour is the shape?", "back": "What colour is the background?",
         "digit": "Which digit is on the screen?", "word": "What word is written on the screen?"}


def draw_card(rng):
    """(truth, picture): a scene as cards.py draws them, upright and clean"""
    s = world.draw_scene(rng, 1, change=False)
    s.update(move="still", xy=[0.5, 0.5], turn=0.0, text_x=0.0, text_scale=0.95, tint=[0] * 6, r=0.26)
    return dict({k: v[0] for k, v in s["state"].items()}, back=s["back"]), world.paint(s, 0, CARD)


def draw_room(rng):
    x = rng.uniform(60, 190, 3) + np.linspace(-30, 30, WIDTH)[None, :, None] + np.zeros((HEIGHT, WIDTH, 3))
    img = Image.fromarray(np.uint8(np.clip(x, 0, 255)))
    for _ in range(12):
        x, y, (w, h) = rng.integers(WIDTH), rng.integers(HEIGHT), rng.integers(20, 220, 2)
        grey = rng.uniform(20, 220)
        ImageDraw.Draw(img).rectangle((x, y, x + w, y + h), fill=tuple(int(grey + d) for d in rng.uniform(-20, 20, 3)))
    return img.filter(ImageFilter.GaussianBlur(4))


def perspective(corners):
    """PIL's eight coefficients that bring the card's corners to these places"""
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, [(0, 0), (CARD, 0), (CARD, CARD), (0, CARD)]):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows, float), np.array(values, float))


def corners_at(cx, cy, side, turn, tilt):
    out = []
    for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
        near = 3.5 / (3.5 + x * np.sin(tilt[0]) + y * np.sin(tilt[1]))
        out.append((cx + x * np.cos(tilt[0]) * near * side / 2, cy + y * np.cos(tilt[1]) * near * side / 2))
    return out


def photograph(card, fills, rng):
    """N_FRAMES pictures of WIDTH x HEIGHT"""
    room, side = draw_room(rng), fills * HEIGHT
    turn, tilt = np.radians(rng.uniform(-8, 8)), np.radians(rng.uniform(-18, 18, 2))
    cx = WIDTH / 2 + rng.uniform(-0.15, 0.15) * max(0, WIDTH - side)
    cy = HEIGHT / 2 + rng.uniform(-0.25, 0.25) * max(0, HEIGHT - side)
    light = rng.uniform(0.9, 1.1, 3) * rng.uniform(0.65, 1.05)
    hand = tuple(int(v) for v in rng.uniform((150, 110, 80), (225, 160, 130)))
    out = []
    for _ in range(N_FRAMES):
        at = corners_at(cx + rng.normal(0, 2), cy + rng.normal(0, 2), side, turn, tilt)
        place = lambda img, how: img.transform((WIDTH, HEIGHT), Image.PERSPECTIVE, perspective(at), how)
        img = Image.composite(place(card, Image.BICUBIC), room, place(Image.new("L", card.size, 255), Image.BILINEAR))
        x, y = at[3]
        ImageDraw.Draw(img).ellipse((x - 0.06 * side, y - 0.12 * side, x + 0.1 * side, y + 0.3 * side), fill=hand)
        img = img.filter(ImageFilter.GaussianBlur(rng.uniform(0.6, 1.4)))
        x = np.asarray(img, np.float32) * light + rng.normal(0, 5, (HEIGHT, WIDTH, 3))
        out.append(world.lossy(Image.fromarray(np.uint8(np.clip(x, 0, 255))), 80))
    return out


def ask(a, frames, square, questions):
    if square:
        left = (WIDTH - HEIGHT) // 2
        frames = [f.crop((left, 0, left + HEIGHT, HEIGHT)) for f in frames]
    size = (112, 112) if square else (112, 84)                                  # what omnid makes of these
    with tempfile.TemporaryDirectory() as d:
        np.save(d + "/f.npy", np.stack([np.asarray(f.resize(size, Image.BICUBIC)) for f in frames]))
        wavfile.write(d + "/a.wav", world.RATE, np.int16(np.random.default_rng(7).standard_normal(N_FRAMES * 8000) * 40))
        with open(d + "/q.txt", "w") as f:
            f.writelines(q + "\n" for q in questions)
        out = subprocess.run([a.omnid_run, "--model", a.model, "--frames", d + "/f.npy", "--audio", d + "/a.wav", "--threads", "1",
                              "--max-tokens", "12", "--mel-reference", "running", "--questions", d + "/q.txt"],
                             check=True, capture_output=True, text=True).stdout
    return [json.loads(line)["text"] for line in out.splitlines() if line.startswith("{")]


def check(a, i, fills, square):
    rng = np.random.default_rng([SEED0, i])
    truth, card = draw_card(rng)
    kinds = [k for k in ASKED if k in truth]
    answers = ask(a, photograph(card, fills, rng), square, [ASKED[k] for k in kinds])
    return {k: normalise(x) == normalise(truth[k]) for k, x in zip(kinds, answers, strict=True)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--omnid-run", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--cards", type=int, default=60)
    p.add_argument("--jobs", type=int, default=2)
    a = p.parse_args()
    print("| picture | card fills | " + " | ".join(ASKED) + " |\n" + "| --- " * (len(ASKED) + 2) + "|", flush=True)
    for square in (True, False):
        for fills in (1.0, 0.9, 0.75, 0.5):
            with ThreadPoolExecutor(a.jobs) as pool:
                hits = list(pool.map(lambda i: check(a, i, fills, square), range(a.cards)))
            shares = [f"{100 * np.mean([h[k] for h in hits if k in h]):.0f}" for k in ASKED]
            print(f"| {'middle square' if square else 'whole, 4:3'} | {100 * fills:.0f} % | " + " | ".join(shares) + " |", flush=True)


if __name__ == "__main__":
    main()
