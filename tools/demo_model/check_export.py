"""Compare the dense trainer's formulas with transformers on an exported model: logits of the prompt's last row.

    python3 check_export.py models/demo --segments 1,3

Random pictures and sounds; the dense model runs from the same exported weights. Exits 1 when an argmax differs or the
largest difference of a logit is above 1e-3.
"""
import argparse
import os
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import clips
import model
import tok

torch.set_num_threads(1)


def dense(folder):
    t = {k.removeprefix("thinker."): v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}
    part = lambda p: {k.removeprefix(p): v for k, v in t.items() if k.startswith(p)}
    v, a, d = model.VisionTower(), model.AudioTower(), model.Decoder(t["lm_head.weight"].shape[0])
    v.load_state_dict(part("visual."))
    a.load_state_dict(part("audio_tower."))
    d.load_state_dict({k: x for k, x in t.items() if k.startswith(("model.", "lm_head."))})
    return v.eval(), a.eval(), d.eval()


@torch.no_grad()
def dense_logits(parts, prompt, frames, mel, question):
    v, a, d = parts
    m = len(mel)
    vt = v(model.patches(frames.view(-1, 2, 112, 112, 3))).view(1, m, 2, 16, -1)
    at, sal = a(mel)
    x, pos, _, e = clips.timeline(d, prompt, vt, at[None], sal[None], False)
    ids = prompt.query(question)
    q = torch.tensor([0, 0] + list(range(1, len(ids) - 1))).expand(3, -1) + e
    return d.lm_head(d(x, pos, torch.tensor([[ids]]), q)[0, 0, -1])


@torch.no_grad()
def reference_logits(hf, prompt, s, frames, mel, question):
    m = len(mel)
    body = []
    for _ in range(m):
        body += [s["<|VIDEO|>"]] * 32 + [s["<|AUDIO|>"]] * 50
    ids = torch.tensor([prompt.prefix + prompt.openers + body + prompt.query(question)])
    raster = model.window_order()[0].argsort()
    px = model.patches(frames.view(-1, 2, 112, 112, 3)).view(-1, 16, 4, 1176)[:, raster].reshape(-1, 1176)
    out = hf(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values_videos=px,
             video_grid_thw=torch.tensor([[2 * m, 8, 8]]), video_second_per_grid=torch.tensor([1.0]),
             input_features=torch.cat(list(mel), 1)[None], feature_attention_mask=torch.ones(1, 200 * m, dtype=torch.long),
             use_audio_in_video=True)
    return out.logits[0, -1]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--segments", default="1,2,3")
    a = p.parse_args()
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniThinkerForConditionalGeneration as Thinker
    config = Qwen2_5OmniConfig.from_pretrained(a.model).thinker_config
    hf, info = Thinker.from_pretrained(a.model, config=config, dtype=torch.float32, attn_implementation="eager",
                                       output_loading_info=True)
    print({k: v for k, v in info.items() if v})
    t = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    prompt, parts, ids = tok.Prompt(t), dense(a.model), tok.ids(t)
    bad = False
    for m in map(int, a.segments.split(",")):
        gen = torch.Generator().manual_seed(m)
        frames = torch.randint(0, 256, (4 * m, 112, 112, 3), generator=gen, dtype=torch.uint8)
        mel = torch.rand(m, 128, 200, generator=gen) * 2 - 1
        x = dense_logits(parts, prompt, frames, mel, "What shape is shown and what word is spoken?")
        y = reference_logits(hf.eval(), prompt, ids, frames, mel, "What shape is shown and what word is spoken?")
        diff = (x - y).abs().max().item()
        bad = bad or diff > 1e-3 or bool(x.argmax() != y.argmax())
        print(f"{m} segments: largest difference {diff:.2e} (logits up to {y.abs().max():.1f}), argmax {x.argmax()} {y.argmax()}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
