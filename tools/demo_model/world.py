"""The demo's little world: one scene with at most one change, and at most one sound of each kind.

A clip of m segments (2 s each: 4 frames at 2 fps, 32 000 samples at 16 kHz) shows one large shape in one colour that stands
still or moves, under or over a digit or a written word. In about half of the clips one of shape, colour and text changes
once, between two segments. A word may be spoken, 1..4 beeps and a tone may sound, each once, each inside one segment.
Everything is drawn from a numpy Generator: equal seeds give equal clips, on any machine with the same fonts.
"""
import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

RATE, SEG_SAMPLES, SEG_FRAMES, SIDE = 16000, 32000, 4, 112
SHAPES = ["circle", "square", "triangle", "star", "cross", "ring"]
COLOURS = {"red": (215, 30, 35), "green": (25, 160, 50), "blue": (30, 60, 215), "yellow": (240, 220, 30),
           "orange": (245, 130, 15), "purple": (140, 40, 170)}
BACKS = {"black": (18, 18, 20), "white": (236, 236, 234), "grey": (125, 125, 127)}
DIGITS = [str(d) for d in range(10)]
WORDS = ["apple", "tiger", "robot", "zebra", "music", "lemon", "ocean", "piano", "queen", "house", "garden", "banana",
         "coffee", "doctor", "monkey", "window"]
MOVES = ["left", "right", "up", "down", "still"]
STILL = "it stands still"
FONTS = ["DejaVuSans-Bold", "DejaVuSansCondensed-Bold", "DejaVuSerif-Bold", "DejaVuSansMono-Bold"]
FONT_DIR = "/usr/share/fonts/truetype/dejavu/"
BAND = 0.34          # share of the frame's height that the text has to itself
_fonts = {}


# ---------------------------------------------------------------- scene
def draw_scene(rng, n_seg, change=None):
    """A scene of n_seg segments. `state` holds (first, last) of what may change; change = None: by chance."""
    text = "digit" if rng.random() < 0.5 else "word"
    pick = {"shape": SHAPES, "colour": list(COLOURS), text: DIGITS if text == "digit" else WORDS}
    state = {k: [v[i] for i in rng.choice(len(v), 2, replace=False)] for k, v in pick.items()}
    changes = (rng.random() < 0.5) if change is None else change
    what = str(rng.choice(list(state))) if changes and n_seg > 1 else None
    for k in state:
        if k != what:
            state[k][1] = state[k][0]
    move = MOVES[rng.integers(5)] if rng.random() < 0.75 else "still"
    vertical = move in ("up", "down")
    return {"state": state, "text": text, "what": what, "at": int(rng.integers(1, n_seg)) if what else n_seg, "move": move,
            "back": str(rng.choice(list(BACKS))), "top": bool(rng.random() < 0.5), "n_seg": n_seg,
            "r": float(rng.uniform(0.17, 0.22) if vertical else rng.uniform(0.21, 0.29)),
            "speed": float(rng.uniform(0.06, 0.11) if vertical else rng.uniform(0.08, 0.19)),
            "xy": [float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.45, 0.55))], "turn": float(rng.uniform(-0.15, 0.15)),
            "font": int(rng.integers(len(FONTS))), "text_x": float(rng.uniform(-0.04, 0.04)),
            "text_scale": float(rng.uniform(0.85, 1.0)), "tint": rng.uniform(-14, 14, 6).tolist(),
            "slope": rng.uniform(-18, 18, 2).tolist(), "noise": float(rng.uniform(0.5, 5)),
            "blur": float(max(0.0, rng.uniform(-0.8, 1.0))), "gain": float(rng.uniform(0.88, 1.1)),
            "jpeg": int(rng.integers(30, 90)) if rng.random() < 0.35 else 0}


def polygon(shape, cx, cy, r, turn):
    def ring(n, radii, phase):
        return [(cx + radii[i % len(radii)] * math.sin(2 * math.pi * i / n + phase),
                 cy - radii[i % len(radii)] * math.cos(2 * math.pi * i / n + phase)) for i in range(n)]
    if shape == "square":
        return ring(4, [r * 1.18], math.pi / 4 + turn)
    if shape == "triangle":
        return ring(3, [r * 1.15], turn)
    if shape == "star":
        return ring(10, [r * 1.15, r * 0.46], turn)
    a, b, c, s = 0.34 * r, 1.05 * r, math.cos(turn), math.sin(turn)          # cross
    pts = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
    return [(cx + x * c - y * s, cy + x * s + y * c) for x, y in pts]


def draw_shape(d, shape, cx, cy, r, turn, fill, back):
    if shape in ("circle", "ring"):
        d.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)
        if shape == "ring":
            d.ellipse((cx - 0.55 * r, cy - 0.55 * r, cx + 0.55 * r, cy + 0.55 * r), fill=back)
    else:
        d.polygon(polygon(shape, cx, cy, r, turn), fill=fill)


def fit_font(name, text, size, width):
    key = (name, text, int(size), int(width))
    if key not in _fonts:
        f = ImageFont.truetype(FONT_DIR + name + ".ttf", int(size))
        w = f.getlength(text)
        _fonts[key] = f if w <= width else ImageFont.truetype(FONT_DIR + name + ".ttf", int(size * width / w))
    return _fonts[key]


def paint(scene, t_s, side):
    """The clean picture at t_s seconds, PIL RGB, side x side pixels."""
    late = t_s >= 2 * scene["at"]
    value = {k: v[1 if late else 0] for k, v in scene["state"].items()}
    tint, half = scene["tint"], t_s * 2                                       # speeds are per half second
    back = tuple(int(np.clip(c + x, 0, 255)) for c, x in zip(BACKS[scene["back"]], tint[:3]))
    fill = tuple(int(np.clip(c + x, 0, 255)) for c, x in zip(COLOURS[value["colour"]], tint[3:]))
    field = 1.0 - BAND
    x, y = scene["xy"][0], scene["xy"][1] * field
    step = scene["speed"] * half
    dx, dy = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}[scene["move"]]
    x, y = (x + dx * step) % 1.0, (y + dy * step) % field
    area = Image.new("RGB", (side, int(side * field)), back)
    d = ImageDraw.Draw(area)
    r = scene["r"] * side
    for ox in (-1, 0, 1) if dx else (0,):                                     # what leaves on one side comes in at the other
        for oy in (-1, 0, 1) if dy else (0,):
            draw_shape(d, value["shape"], (x + ox) * side, (y + oy * field) * side, r, scene["turn"], fill, back)
    img = Image.new("RGB", (side, side), back)
    img.paste(area, (0, side - area.height if scene["top"] else 0))
    text = value[scene["text"]].upper()
    ink = {"black": (240, 240, 240), "white": (15, 15, 15), "grey": (250, 250, 250)}[scene["back"]]
    size = side * (0.36 if scene["text"] == "digit" else 0.30) * scene["text_scale"]
    f = fit_font(FONTS[scene["font"]], text, size, side * 0.94 * scene["text_scale"])
    ImageDraw.Draw(img).text((side * (0.5 + scene["text_x"] * (3 if len(text) == 1 else 0.6)),
                              side * (BAND / 2 if scene["top"] else 1 - BAND / 2)), text, fill=ink, font=f, anchor="mm")
    return img


def camera(img, scene, rng, noise_pool):
    """What a camera makes of a picture: light, a slope of brightness, noise. PIL RGB to PIL RGB."""
    ramp = np.linspace(-1, 1, img.width, dtype=np.float32)
    o = rng.integers(0, noise_pool.size - 3 * img.width * img.height)
    x = np.asarray(img, np.float32) * np.float32(scene["gain"])
    x += (scene["slope"][0] * ramp[None, :, None] + scene["slope"][1] * ramp[:, None, None]).astype(np.float32) + np.float32(0.5)
    x += np.float32(scene["noise"]) * noise_pool[o:o + x.size].reshape(x.shape)
    return Image.fromarray(np.clip(x, 0, 255, out=x).astype(np.uint8))


def lossy(img, quality):
    buf = io.BytesIO()
    img.save(buf, "JPEG", quality=quality)
    return Image.open(buf).convert("RGB")


def make_noise_pool(rng):
    return rng.standard_normal(1 << 20, dtype=np.float32)


def blurred(img, scene):
    return img.filter(ImageFilter.GaussianBlur(scene["blur"] * img.width / 224)) if scene["blur"] > 0.3 else img


def render(scene, rng, noise_pool, seg0=0, n_seg=None, side=224):
    """uint8 [4 n_seg, 112, 112, 3]: the frames the engine would see. A scene with a codec goes through camera and codec at
    `side` pixels and is resized then; another is resized first, which costs less."""
    out, last = [], None
    for i in range(4 * (n_seg or scene["n_seg"])):
        t = 2 * seg0 + i / 2
        key = (t >= 2 * scene["at"])
        if scene["move"] != "still" or last is None or last[0] != key:
            img = blurred(paint(scene, t, side), scene)
            last = (key, img if scene["jpeg"] else img.resize((SIDE, SIDE), Image.BICUBIC))
        img = camera(last[1], scene, rng, noise_pool)
        if scene["jpeg"]:
            img = lossy(img, scene["jpeg"]).resize((SIDE, SIDE), Image.BICUBIC)
        out.append(np.asarray(img))
    return np.stack(out)


# ---------------------------------------------------------------- sound
def draw_event(rng, kind):
    """(kind, value): what sounds in one segment."""
    if kind == "word":
        return kind, int(rng.integers(len(WORDS)))
    if kind == "beeps":
        return kind, int(rng.integers(1, 5))
    if kind == "tone":
        return kind, ("high", "low")[rng.integers(2)]
    return "none", 0


def pulse(rng, f, seconds):
    t = np.arange(int(seconds * RATE)) / RATE
    x = np.sin(2 * np.pi * f * t + rng.uniform(0, 6.28)) + rng.uniform(0, 0.3) * np.sin(4 * np.pi * f * t)
    edge = int(0.01 * RATE)
    x[:edge] *= np.linspace(0, 1, edge)
    x[-edge:] *= np.linspace(1, 0, edge)
    return x.astype(np.float32)


def sound(event, rng, pool):
    """float32 wave of one event, at most 1.7 s, peak 1."""
    kind, value = event
    if kind == "word":
        x = pool.draw(value, rng)[0]
    elif kind == "beeps":
        f, on, off = rng.uniform(600, 1100), rng.uniform(0.09, 0.16), rng.uniform(0.14, 0.24)
        gap = np.zeros(int(off * RATE), np.float32)
        x = np.concatenate([p for _ in range(value) for p in (pulse(rng, f, on), gap)])[:-len(gap)]
    else:
        x = pulse(rng, rng.uniform(1500, 2600) if value == "high" else rng.uniform(180, 380), rng.uniform(0.7, 1.3))
    if rng.random() < 0.3:                                                    # a little room
        d, echo = int(rng.uniform(0.01, 0.05) * RATE), np.zeros_like(x)
        echo[d:] = x[:-d]
        x = x + rng.uniform(0.1, 0.35) * echo
    return x / np.abs(x).max()


def sound_floor(rng, n):
    """Background noise of n samples: white to brownish, -66 to -36 dB."""
    x = rng.standard_normal(n, dtype=np.float32)
    mix = rng.random()
    if mix > 0.3:
        soft = np.convolve(x, np.ones(16, np.float32) / 4, "same")
        x = (1 - mix) * x + mix * soft
    return x * np.float32(10 ** (rng.uniform(-66, -36) / 20))


def segment_wave(event, rng, pool, floor):
    """One segment [floor.size] with its event well inside; floor is added to."""
    x = floor.copy()
    if event[0] != "none":
        s = sound(event, rng, pool)[:int(1.8 * RATE)]
        o = int(rng.integers(int(0.06 * RATE), x.size - s.size - int(0.06 * RATE)))
        x[o:o + s.size] += s * np.float32(10 ** (rng.uniform(-14, -1.5) / 20))
    return np.clip(x, -1, 1)


# ---------------------------------------------------------------- clip
def draw_events(rng, n_seg):
    """{kind: (segment, value)}: each kind at most once, no two in one segment."""
    kinds = [k for k in ("word", "beeps", "tone") if rng.random() < 0.8]
    rng.shuffle(kinds)
    segs = rng.permutation(n_seg)
    return {k: (int(segs[i]), draw_event(rng, k)[1]) for i, k in enumerate(kinds[:n_seg])}


def make_clip(seed, n_seg, pool, noise_pool=None):
    """(truth, frames, wave) of one whole clip, contiguous in picture and sound."""
    rng = np.random.default_rng([77, seed])
    scene, events = draw_scene(rng, n_seg), draw_events(rng, n_seg)
    noise_pool = make_noise_pool(rng) if noise_pool is None else noise_pool
    return truth_of(scene, 0, n_seg, events), render(scene, rng, noise_pool), clip_wave(events, n_seg, rng, pool)


def clip_wave(events, n_seg, rng, pool):
    floor = sound_floor(rng, n_seg * SEG_SAMPLES)
    at = {s: (k, v) for k, (s, v) in events.items()}
    return np.concatenate([segment_wave(at.get(s, ("none", 0)), rng, pool, floor[s * SEG_SAMPLES:(s + 1) * SEG_SAMPLES])
                           for s in range(n_seg)])


def truth_of(scene, seg0, n_seg, events):
    """What is true of segments seg0 .. seg0+n_seg-1 of a scene with these events (numbered from seg0)."""
    at = scene["at"] - seg0
    first, last = (0 if at > 0 else 1), (1 if at < n_seg else 0)
    state = {k: [v[first], v[last]] for k, v in scene["state"].items()}
    return {"n_seg": n_seg, "state": state, "text": scene["text"], "what": scene["what"] if first != last else None,
            "at": min(max(at, 0), n_seg), "move": scene["move"], "back": scene["back"], "events": events}
