#!/usr/bin/env python3
"""transformers_gpu.py: what transformers itself takes for the work that omnid-bench measures, on the same device in the same run.

    python3 bench/peers/transformers_gpu.py --shape 7b                      one JSON object on stdout
    python3 bench/peers/transformers_gpu.py --shape tests/golden/data/M1/model/config.json --device cpu --segments 2

PyTorch, bfloat16, SDPA attention (its flash kernel where the mask allows it), random weights in the dimensions of the shape; nothing
is downloaded. Measured, each the median of rounds after warming up, between synchronisations of the device:
  encode      both towers over one segment: 336x336 pixels, four frames (two grids), 2 s of sound (200 mel frames)
  prefill     the decoder over the whole timeline and a query of 30 tokens in one call, to the last row's logits: all tokens, and what
              section 4 of docs/semantics.md leaves of them (which rows leave does not change the time)
  question    the query alone over the cached timeline
  decode      one token after the other over the cached timeline, greedy
  copy, read, product     the device's ceilings, as PyTorch reaches them

Exit status: 0, 2 usage, 69 no PyTorch or transformers, 77 no GPU."""
import argparse
import json
import sys
import time

SHAPES = {"3b": dict(hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, num_attention_heads=16, num_key_value_heads=2, vocab_size=151936),
          "7b": dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, vocab_size=152064)}
QUERY, PREFIX, AUDIO, MEL = 30, 14, 50, 200
AUDIO_SHARE, VIDEO_SHARE = 0.3, 0.8  # of section 4: what leaves


def configs(shape, conf):
    """The three parts' configurations of a published shape, or of a config.json."""
    if shape in SHAPES:
        text = dict(SHAPES[shape], max_position_embeddings=32768, rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24]))
        width = text["hidden_size"]
        audio = dict(d_model=1280, encoder_layers=32, encoder_attention_heads=20, encoder_ffn_dim=5120, num_mel_bins=128, n_window=100, output_dim=width)
        vision = dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, window_size=112, out_hidden_size=width, fullatt_block_indexes=[7, 15, 23, 31])
    else:
        with open(shape, encoding="utf-8") as f:
            given = json.load(f)
        given = given.get("thinker_config", given)
        drop = ("architectures", "model_type", "torch_dtype", "dtype")
        text, audio, vision = ({k: v for k, v in given[part].items() if k not in drop} for part in ("text_config", "audio_config", "vision_config"))
    made = conf.Qwen2_5OmniTextConfig(**text), conf.Qwen2_5OmniAudioEncoderConfig(**audio), conf.Qwen2_5OmniVisionEncoderConfig(**vision)
    for part in made:
        part._attn_implementation = "sdpa"
    return made


class Peer:
    """The thinker's parts in random weights, and its work."""

    def __init__(self, shape, device, dtype, torch):
        from transformers.models.qwen2_5_omni import configuration_qwen2_5_omni as conf
        from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as qwen
        self.torch, self.device, self.dtype = torch, device, dtype
        text, audio, vision = configs(shape, conf)
        self.text_config = text
        torch.set_default_dtype(dtype)
        with torch.device(device):
            self.text = qwen.Qwen2_5OmniThinkerTextModel(text).to(dtype).eval()
            self.audio = qwen.Qwen2_5OmniAudioEncoder(audio).to(dtype).eval()
            self.vision = qwen.Qwen2_5OmniVisionEncoder(vision).to(dtype).eval()
            self.head = torch.nn.Linear(text.hidden_size, text.vocab_size, bias=False, dtype=dtype)
        torch.set_default_dtype(torch.float32)

    def encode(self, side):
        """One segment through both towers; returns a closure without arguments."""
        t, patches = self.torch, (side // 14) ** 2
        pixels = t.randn(2 * patches, 1176, device=self.device, dtype=self.dtype)
        grid = t.tensor([[1, side // 14, side // 14]] * 2, device=self.device)
        mel = t.randn(128, MEL, device=self.device, dtype=self.dtype)
        lens, after = t.tensor([MEL], device=self.device), t.tensor([(MEL - 1) // 2 + 1], device=self.device)

        def run():
            self.vision(pixels, grid_thw=grid)
            self.audio(mel, feature_lens=lens, aftercnn_lens=after)
        return run

    def rows(self, n):
        t = self.torch
        x = t.randn(1, n, self.text_config.hidden_size, device=self.device, dtype=self.dtype) * 0.02
        return x, t.arange(n, device=self.device).expand(3, 1, n)

    def prefill(self, n_rows):
        x, positions = self.rows(n_rows)

        def run():
            out = self.text(inputs_embeds=x, position_ids=positions, use_cache=True)
            return self.head(out.last_hidden_state[:, -1]).argmax(-1), out.past_key_values
        return run

    def question(self, cache, n_cached):
        """The query over a cached timeline, which is cut back after it."""
        x, _ = self.rows(QUERY)
        positions = (self.torch.arange(QUERY, device=self.device) + n_cached).expand(3, 1, QUERY)

        def run():
            out = self.text(inputs_embeds=x, position_ids=positions, past_key_values=cache, use_cache=True)
            self.head(out.last_hidden_state[:, -1]).argmax(-1)
            cache.crop(-QUERY)
        return run

    def decode(self, cache, n_cached, n):
        """n tokens, one after the other."""
        def run():
            ids = self.torch.zeros(1, 1, dtype=self.torch.long, device=self.device)
            for i in range(n):
                at = self.torch.full((3, 1, 1), n_cached + i, device=self.device)
                out = self.text(input_ids=ids, position_ids=at, past_key_values=cache, use_cache=True)
                ids = self.head(out.last_hidden_state[:, -1]).argmax(-1, keepdim=True)
            cache.crop(-n)
        return run


def median_ms(run, wait, rounds, warm=2):
    times = []
    for i in range(warm + rounds):
        wait()
        start = time.perf_counter()
        run()
        wait()
        if i >= warm:
            times.append(1e3 * (time.perf_counter() - start))
    times.sort()
    return times[len(times) // 2]


def tokens_of(side, n_segments):
    """Audio and video tokens of a timeline: all, and after section 4 (groups of four grids: the first stays whole)."""
    grid, grids = (side // 28) ** 2, 2 * n_segments
    kept_grid = grid - int(grid * VIDEO_SHARE)
    whole = (grids + 3) // 4
    kept = whole * grid + (grids - whole) * kept_grid + n_segments * (AUDIO - int(AUDIO * AUDIO_SHARE))
    return n_segments * AUDIO + grids * grid, kept


def ceilings(torch, device, wait, size, n):
    data = torch.randn(size // 2, device=device, dtype=torch.bfloat16)
    half = data.numel() // 2
    copy = median_ms(lambda: data[:half].copy_(data[half:2 * half]), wait, 15)
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = median_ms(lambda: torch.matmul(a, b), wait, 15)
    return dict(copy_gb_s=4e-6 * half / copy, product_tflops=2e-9 * n ** 3 / product, product_size=n)


def measure(o, torch):
    wait = torch.cuda.synchronize if o.device == "cuda" else (lambda: None)
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[o.precision]
    import transformers
    result = dict(peer="transformers", transformers=transformers.__version__, torch=torch.__version__, shape=o.shape, precision=o.precision, attention="sdpa",
                  device=torch.cuda.get_device_name() if o.device == "cuda" else "cpu", segments=o.segments, side=o.side)
    big = o.device == "cuda"
    result["ceilings"] = ceilings(torch, o.device, wait, (4 << 30) if big else (1 << 24), 8192 if big else 256)
    start = time.perf_counter()
    peer = Peer(o.shape, o.device, dtype, torch)
    wait()
    result["load_s"] = time.perf_counter() - start
    result["encode_ms"] = median_ms(peer.encode(o.side), wait, o.rounds)
    full, kept = tokens_of(o.side, o.segments)
    for name, n in ("full", full), ("section_4", kept):
        rows = n + PREFIX
        run = peer.prefill(rows + QUERY)
        part = dict(tokens=n, prefill_ms=median_ms(run, wait, o.rounds))
        cache = run()[1]
        cache.crop(-QUERY)  # a negative number: so many rows leave
        part["question_ms"] = median_ms(peer.question(cache, rows), wait, o.rounds)
        part["decode_ms_a_token"] = median_ms(peer.decode(cache, rows, o.tokens), wait, 3, 1) / o.tokens
        part["encode_and_prefill_ms"] = o.segments * result["encode_ms"] + part["prefill_ms"]
        result[name] = part
        del cache, run
    if big:
        result["peak_bytes"] = torch.cuda.max_memory_allocated()
    return result


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("--shape", default="7b", help="3b, 7b or the path of a config.json (7b)")
    p.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    p.add_argument("--precision", default="bf16", choices=("bf16", "f32"))
    p.add_argument("--segments", type=int, default=32, help="segments of 2 s on the timeline (32)")
    p.add_argument("--side", type=int, default=336, help="side of the frames in pixels, a multiple of 28 (336)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--tokens", type=int, default=32, help="tokens of a decode round (32)")
    p.add_argument("--json", help="write there instead of to stdout")
    o = p.parse_args()
    if o.side < 28 or o.side % 28 or o.segments < 1 or o.rounds < 1 or o.tokens < 1:
        p.error("want a side that is a multiple of 28, and at least one segment, round and token")
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as missing:
        print(f"transformers_gpu.py: {missing}", file=sys.stderr)
        return 69
    if o.device == "cuda" and not torch.cuda.is_available():
        print("transformers_gpu.py: no GPU", file=sys.stderr)
        return 77
    with torch.inference_mode():
        result = measure(o, torch)
    text = json.dumps(result, indent=1)
    if o.json:
        with open(o.json, "w", encoding="utf-8") as f:
            f.write(text + "\n")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
