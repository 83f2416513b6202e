"""What docs/semantics.md says, once more, in Python on top of transformers' own modules: the second implementation that the golden fixtures come from.

The encoders' layers, norms, linear maps and the embedding are transformers'; the segment walk, the pruning, the window and the decoder's attention are written
here.  One pass over a clip or stream (`Stream`) serves every mode: for each segment and layer it keeps the hidden state that enters the layer, the keys before
rotation and the values, and `answer` reads from them what the mode allows it to.  Keys are kept unrotated and turned to the present layout at each use, which is
the definition; the engine turns the query instead.  Nothing here is fast.
"""
import json
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers.audio_utils import mel_filter_bank
from transformers.models.qwen2_5_omni import configuration_qwen2_5_omni as conf
from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as qwen

SEG_SAMPLES, HOP, N_FFT, SEG_MEL, SEG_POS, GRID_POS = 32000, 160, 400, 200, 50, 25
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])
COS_CAP = 1 - 1e-6
MASK64 = (1 << 64) - 1


def splitmix64(x):
    """One output of splitmix64 started at x (Steele, Lea, Flood 2014)."""
    z = (x + 0x9E3779B97F4A7C15) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


class Thinker:
    """The model of a folder in the published layout, nested or flat configuration, with or without the `thinker.` prefix."""

    def __init__(self, path, dtype=torch.float32):
        self.path, self.dtype = path, dtype
        with open(os.path.join(path, "config.json"), encoding="utf-8") as f:
            cfg = json.load(f)
        cfg = cfg.get("thinker_config", cfg)
        self.cfg = conf.Qwen2_5OmniThinkerConfig(**{k: v for k, v in cfg.items() if k not in ("architectures", "model_type", "torch_dtype", "dtype")})
        self.cfg._attn_implementation = "eager"
        for part in (self.cfg.audio_config, self.cfg.vision_config, self.cfg.text_config):
            part._attn_implementation = "eager"
        shards, index = ["model.safetensors"], os.path.join(path, "model.safetensors.index.json")
        if os.path.exists(index):
            with open(index, encoding="utf-8") as f:
                shards = sorted(set(json.load(f)["weight_map"].values()))
        state = {}
        for shard in shards:
            state.update(load_file(os.path.join(path, shard)))
        state = {k.removeprefix("thinker."): v.to(dtype) for k, v in state.items() if not k.startswith(("talker.", "token2wav."))}
        part = lambda name: {k[len(name):]: v for k, v in state.items() if k.startswith(name)}
        with torch.no_grad():
            self.audio = qwen.Qwen2_5OmniAudioEncoder(self.cfg.audio_config).to(dtype).eval()
            self.visual = qwen.Qwen2_5OmniVisionEncoder(self.cfg.vision_config).to(dtype).eval()
            self.text = qwen.Qwen2_5OmniThinkerTextModel(self.cfg.text_config).to(dtype).eval()
            self.audio.load_state_dict(part("audio_tower."))
            self.visual.load_state_dict(part("visual."))
            self.text.load_state_dict(part("model."))
        self.head = state.get("lm_head.weight", state["model.embed_tokens.weight"])
        self.state = state
        t = self.cfg.text_config
        self.L, self.heads, self.kv_heads = t.num_hidden_layers, t.num_attention_heads, t.num_key_value_heads
        self.head_dim = getattr(t, "head_dim", None) or t.hidden_size // t.num_attention_heads
        self.inv_freq = self.text.rotary_emb.inv_freq.float()
        self.sections = list(self.text.rotary_emb.mrope_section)
        self.tokenizer = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
        self.tokenizer.encode_special_tokens = True
        with open(os.path.join(path, "tokenizer.json"), encoding="utf-8") as f:
            self.special = {a["content"]: a["id"] for a in json.load(f)["added_tokens"] if a["special"]}
        self.eos = {self.special["<|im_end|>"], self.special["<|endoftext|>"]}
        window, norm = torch.hann_window(N_FFT, dtype=torch.float64), None
        self.window = window.to(dtype)
        self.filters = torch.from_numpy(mel_filter_bank(1 + N_FFT // 2, 128, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")).to(dtype)

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    # --- decoder pieces -------------------------------------------------------------------------------------------------------------------------------
    def angles(self, pos):
        """cos, sin [n, head_dim] of positions [3, n]: the products in float64, so that positions may be large."""
        freq = pos.double()[:, :, None] * self.inv_freq.double()
        freq = torch.cat([m[i % 3] for i, m in enumerate(freq.split(self.sections, dim=-1))], dim=-1)
        freq = torch.cat((freq, freq), dim=-1)
        return freq.cos().to(self.dtype), freq.sin().to(self.dtype)

    def rotate(self, x, pos):
        cos, sin = self.angles(pos)
        return x * cos + qwen.rotate_half(x) * sin

    def qkv(self, l, h):
        """q [heads, n, d], k and v [kv_heads, n, d], none of them rotated."""
        layer = self.text.layers[l]
        x, a = layer.input_layernorm(h), layer.self_attn
        split = lambda y: y.view(len(h), -1, self.head_dim).transpose(0, 1)
        return split(a.q_proj(x)), split(a.k_proj(x)), split(a.v_proj(x))

    def attend(self, q, qpos, k, kpos, v, n_past):
        """Output [n, heads*d] and probabilities [heads, n, n_keys]; row i sees the first n_past + i + 1 keys."""
        group = self.heads // self.kv_heads
        q, k = self.rotate(q, qpos), self.rotate(k, kpos).repeat_interleave(group, 0)
        w = q @ k.transpose(1, 2) * self.head_dim ** -0.5
        n = q.shape[1]
        hide = torch.arange(k.shape[1])[None, :] > n_past + torch.arange(n)[:, None]
        p = torch.softmax(w.masked_fill(hide, float("-inf")), dim=-1)
        return (p @ v.repeat_interleave(group, 0)).transpose(0, 1).reshape(n, -1), p

    def finish(self, l, h, out):
        """Second half of a layer: o projection, residual, MLP, residual."""
        layer = self.text.layers[l]
        h = h + layer.self_attn.o_proj(out)
        return h + layer.mlp(layer.post_attention_layernorm(h))

    def logits(self, h):
        return F.linear(self.text.norm(h), self.head)

    # --- front ends -----------------------------------------------------------------------------------------------------------------------------------
    def log_mel(self, samples):
        """log10 mel [n, 128] of samples that already hold 200 of context before the first frame; no floor yet."""
        spec = torch.stft(samples, N_FFT, HOP, window=self.window, center=False, return_complex=True).abs() ** 2
        return torch.clamp(self.filters.T @ spec, min=1e-10).log10().T

    def encode_audio(self, mel):
        """Embeddings [tokens, hidden] and saliency [tokens] of one segment's mel [n, 128] (floored and scaled)."""
        n = len(mel)
        frames = (n - 1) // 2 + 1
        tokens = (frames - 2) // 2 + 1
        seen = {}
        hook = self.audio.layers[-1].self_attn.register_forward_pre_hook(lambda m, a, kw: seen.update(x=kw["hidden_states"]), with_kwargs=True)
        emb = None
        if tokens > 0:
            emb = self.audio(mel.T.to(self.dtype), feature_lens=torch.tensor([n]), aftercnn_lens=torch.tensor([frames])).last_hidden_state
        hook.remove()
        if tokens <= 0:
            return torch.zeros(0, self.cfg.text_config.hidden_size, dtype=self.dtype), torch.zeros(0, dtype=self.dtype)
        a, x = self.audio.layers[-1].self_attn, seen["x"]
        split = lambda y: y.view(frames, a.num_heads, -1).transpose(0, 1)
        p = torch.softmax(split(a.q_proj(x)) @ split(a.k_proj(x)).transpose(1, 2) * a.scaling, dim=-1)
        per_frame = p.mean(dim=(0, 1))
        return emb, (per_frame[0:2 * tokens:2] + per_frame[1:2 * tokens:2]) / 2

    def encode_grid(self, two):
        """Embeddings [H/28 * W/28, hidden] of one grid: two frames uint8 [2, H, W, 3]."""
        _, h, w, _ = two.shape
        mean, std = torch.tensor(255 * MEAN), torch.tensor(255 * STD)
        x = ((torch.from_numpy(two).to(self.dtype) - mean.to(self.dtype)) / std.to(self.dtype)).permute(0, 3, 1, 2)
        x = x.reshape(2, 3, h // 28, 2, 14, w // 28, 2, 14).permute(2, 5, 3, 6, 1, 0, 4, 7).reshape(h // 14 * (w // 14), -1)
        return self.visual(x, grid_thw=torch.tensor([[1, h // 14, w // 14]])).pooler_output


# --- schedules (section 5) ------------------------------------------------------------------------------------------------------------------------------
DEFAULTS = {(28, "30"): (0, 0.2, 0.5, 14), (28, "20"): (0.02, 0.5, 0.5, 14), (36, "30"): (0, 0.15, 0.5, 19), (36, "20"): (0.02, 0.5, 0.55, 19)}


class Policy:
    """What a retention's name, an explicit schedule and the policy's name come to."""

    def __init__(self, L, retention="30", name="omnidrop", first_prune=0, seed=0, schedule="sigmoid"):
        self.L, self.retention, self.name, self.first_prune, self.seed, self.schedule = L, retention, name, first_prune, seed, schedule
        self.beta, self.lam, self.rho_a, self.rho_v, self.drops = 20.0, 0.2, 0.3, 0.8, name != "none"
        self.p_init, self.p_final, self.t_mid, self.tds_start = 0.0, 0.0, 0.5, L // 2
        if retention == "none":
            self.rho_a = self.rho_v = 0.0
            self.drops = False
        elif retention == "45":
            self.drops = False
        elif retention in ("30", "20"):
            own = DEFAULTS.get((L, retention))
            self.p_init, self.p_final, self.t_mid, self.tds_start = own or DEFAULTS[(28, retention)][:3] + (L // 2,)
        else:
            part = retention.split(",")
            self.p_init, self.p_final, self.t_mid, self.tds_start = float(part[0]), float(part[1]), float(part[2]), int(part[3])
            self.lam = float(part[4]) if len(part) > 4 else self.lam

    def p(self, l):
        x = l / (self.L - 2)
        if self.schedule == "exp":
            return self.p_init * (self.p_final / self.p_init) ** x
        return self.p_init + (self.p_final - self.p_init) / (1 + math.exp(-self.beta * (x - self.t_mid)))

    def k(self, l, n, first_prune):
        return math.floor(n * self.p(l)) if self.drops and first_prune <= l <= self.L - 2 else 0

    def as_json(self):
        keys = ("p_init", "p_final", "t_mid", "tds_start", "beta", "lam", "rho_a", "rho_v", "schedule")
        return {k: getattr(self, k) for k in keys} | {"first_prune": self.first_prune, "name": self.name, "seed": self.seed}


def lowest(values, k):
    """Indices of the k lowest, ties to the earlier, in rising order of index; and the gap to the next value."""
    order = torch.argsort(values, stable=True)
    gap = (values[order[k]] - values[order[k - 1]]).item() if 0 < k < len(values) else None
    return sorted(order[:k].tolist()), gap


class Part:
    """One segment: embeddings and kept indices of its two parts, and the rows in the decoder."""

    def __init__(self, s):
        self.s, self.size, self.n_grids = s, None, 0
        self.video = self.audio = None          # [n, hidden] before pruning
        self.video_kept, self.audio_kept = [], []
        self.saliency = None
        self.end_s = 2.0 * (s + 1)              # stream time at which its data ends; a gap takes its whole time
        self.h, self.k, self.v = [], [], []      # per layer, rows of the survivors of section 4

    def n(self, part):
        e = getattr(self, part)
        return 0 if e is None else len(e)

    def rows(self):
        """Embeddings of the kept rows, video first."""
        parts = [getattr(self, p)[getattr(self, p + "_kept")] for p in ("video", "audio") if self.n(p)]
        return torch.cat(parts) if parts else None

    def kinds(self):
        return ["v"] * len(self.video_kept) + ["a"] * len(self.audio_kept)


class Stream:
    """A timeline.  A plain clip is a stream whose window never overflows and whose last segment may be partial."""

    def __init__(self, model, system, has_video, has_audio, rho_a=0.3, rho_v=0.8, window=None, hop=None, mel_ref="running", prefill=True):
        self.m, self.has_video, self.has_audio, self.rho_a, self.rho_v = model, has_video, has_audio, rho_a, rho_v
        self.window = window
        self.hop = hop if hop or window is None else max(2, 2 * (window // 8))
        self.mel_ref, self.prefill = mel_ref, prefill
        self.parts, self.D, self.seen, self.maxima, self.margins = [], 0, 0, {}, []
        self.group = None                        # (place in the group of four, g0, g2, size)
        self.clip_max = None
        S = model.special
        self.prefix = [S["<|im_start|>"], *model.encode("system\n" + system), S["<|im_end|>"], *model.encode("\n"), S["<|im_start|>"], *model.encode("user\n")]
        self.n_open = has_video + has_audio
        self.prefix += [S["<|vision_bos|>"]] * has_video + [S["<|audio_bos|>"]] * has_audio
        n = len(self.prefix)
        self.prefix_pos = torch.tensor([min(i, n - self.n_open) for i in range(n)])
        self.st = n - self.n_open + 1
        self.prefix_h, self.prefix_k, self.prefix_v = [], [], []
        h, pos = model.text.embed_tokens(torch.tensor(self.prefix)), self.prefix_pos.expand(3, -1)
        for l in range(model.L):
            q, k, v = model.qkv(l, h)
            self.prefix_h.append(h), self.prefix_k.append(k), self.prefix_v.append(v)
            h = model.finish(l, h, model.attend(q, pos, k, pos, v, 0)[0])

    # --- positions (sections 3 and 7) -----------------------------------------------------------------------------------------------------------------
    def part_positions(self, part, D):
        """[3, n] of all tokens of a segment, video first, before pruning, in the layout of a fresh clip at D, moved by 50 D."""
        d, out = SEG_POS * D, []
        if part.n("video"):
            rows, cols = part.size[0] // 28, part.size[1] // 28
            for g in range(part.n_grids):
                r, c = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
                t = torch.full((rows * cols,), self.st + GRID_POS * (2 * part.s + g))
                out.append(torch.stack([t, self.st + d + r.flatten(), self.st + d + c.flatten()]))
        if part.n("audio"):
            out.append((self.st + SEG_POS * part.s + torch.arange(part.n("audio"))).expand(3, -1))
        return torch.cat(out, 1) if out else torch.zeros(3, 0, dtype=torch.long)

    def kept_positions(self, part, D):
        nv = part.n("video")
        return self.part_positions(part, D)[:, part.video_kept + [nv + i for i in part.audio_kept]]

    def end(self, parts, D):
        """Position of the closing pair."""
        for part in reversed(parts):
            p = self.part_positions(part, D)
            if part.n("audio"):
                return int(p[:, -1].max()) + 1
            if part.n("video"):
                return int(p.max()) + 1
        return self.st + SEG_POS * D

    # --- ingest ---------------------------------------------------------------------------------------------------------------------------------------
    def mel(self, s, audio, n_samples, end):
        """Floored mel of segment s: `audio` the stream's samples (zeros where missing), `end` the sample from which on nothing is known."""
        n = -(-n_samples // HOP)
        x = np.zeros(200 + max(n, 1) * HOP + 240, dtype=np.float64)
        lo = SEG_SAMPLES * s - 200
        hi = min(end, lo + len(x))
        if lo < 0:
            x[200:200 + hi] = audio[:hi]
            head = audio[1:201]
            x[200 - len(head):200] = head[::-1]      # reflection without the edge sample, at the start of the stream only
        else:
            x[:hi - lo] = audio[lo:hi]
        raw = self.m.log_mel(torch.from_numpy(x / 32768).to(self.m.dtype))[:n]
        self.maxima[s] = raw.max().item()
        top = self.clip_max if self.mel_ref == "clip" else max(v for t, v in self.maxima.items() if s - 15 < t <= s)
        return (torch.clamp(raw, min=top - 8) + 4) / 4

    def encode(self, s, frames, audio, n_samples, end, commit=True):
        """Segment s through encoders and section 4.  frames uint8 [n, H, W, 3] or None; n_samples 0: no sound."""
        part, saved = Part(s), (self.group, dict(self.maxima))
        if (frames is not None and len(frames)) or n_samples:
            part.end_s = 2.0 * s + min(2.0, max(0.5 * len(frames) if frames is not None else 0, n_samples / 16000))
        if frames is not None and len(frames):
            if len(frames) % 2:
                frames = np.concatenate([frames, frames[-1:]])
            part.size, part.n_grids = frames.shape[1:3], len(frames) // 2
            grids = [self.m.encode_grid(frames[2 * g:2 * g + 2]) for g in range(part.n_grids)]
            part.video = torch.cat(grids)
            for g, e in enumerate(grids):
                part.video_kept += [i + g * len(e) for i in self.merge(2 * s + g, e, part.size)]
        elif self.has_video:
            self.group = None
        if n_samples:
            part.mel = self.mel(s, audio, n_samples, end)
            part.audio, part.saliency = self.m.encode_audio(part.mel)
            n = len(part.audio)
            k = math.floor(n * self.rho_a)
            gone, gap = lowest(part.saliency, k)
            if gap is not None:
                self.margins.append({"what": f"audio seg {s}", "gap": gap, "values": part.saliency})
            part.audio_kept = [i for i in range(n) if i not in set(gone)]
        if not commit:
            self.group, self.maxima = saved
        return part

    def merge(self, g, e, size):
        """Kept indices of a grid (TTM), and the state of its group."""
        if self.group is None or self.group[0] == 4 or self.group[3] != size:
            self.group = (1, e, None, size)
            return list(range(len(e)))
        place, g0, g2, _ = self.group
        ref = g2 if place == 3 else g0
        cos = torch.clamp(F.cosine_similarity(e.double(), ref.double(), dim=1, eps=0), max=COS_CAP)
        k = math.floor(len(e) * self.rho_v)
        gone, gap = lowest(-cos, k)
        if gap is not None:
            self.margins.append({"what": f"ttm grid {g} vs {g - 1 if place == 3 else g - place}", "gap": gap, "values": cos})
        self.group = (place + 1, g0, e if place == 2 else g2, size)
        return [i for i in range(len(e)) if i not in set(gone)]

    def decode_rows(self, part, parts):
        """Prefill of one segment through all layers, behind `parts`, in the present layout."""
        h = part.rows()
        if h is None:
            return
        qpos = self.kept_positions(part, self.D)
        past = [p for p in parts if p.h]
        kpos = torch.cat([self.prefix_pos.expand(3, -1) + SEG_POS * self.D] + [self.kept_positions(p, self.D) for p in past] + [qpos], 1)
        for l in range(self.m.L):
            q, k, v = self.m.qkv(l, h)
            part.h.append(h), part.k.append(k), part.v.append(v)
            keys = torch.cat([self.prefix_k[l]] + [p.k[l] for p in past] + [k], 1)
            vals = torch.cat([self.prefix_v[l]] + [p.v[l] for p in past] + [v], 1)
            h = self.m.finish(l, h, self.m.attend(q, qpos, keys, kpos, vals, keys.shape[1] - len(h))[0])

    def feed(self, s, frames, audio, n_samples, end):
        """A closed segment: the window makes room first, then the segment is encoded and prefilled."""
        part = self.encode(s, frames, audio, n_samples, end)
        if self.window is not None and len(self.parts) + 1 > self.window:
            self.parts, self.D = self.parts[self.hop:], self.D + self.hop
        if self.prefill:
            self.decode_rows(part, self.parts)
        self.parts.append(part)

    # --- a question -----------------------------------------------------------------------------------------------------------------------------------
    def query_ids(self, question, history):
        """Ids after the timeline, and how many of the last of them S counts."""
        m, S = self.m, self.m.special
        ids = [S["<|audio_eos|>"]] * self.has_audio + [S["<|vision_eos|>"]] * self.has_video
        turn = [S["<|im_end|>"], *m.encode("\n"), S["<|im_start|>"]]
        start = 0
        for i, (q, a) in enumerate(history):
            ids += m.encode(("user\n" if i else "") + q) + turn + m.encode("assistant\n" + a) + turn[:-1]
            start = len(ids)
            ids += [S["<|im_start|>"]]
        ids += m.encode(("user\n" if history else "") + question) + turn + m.encode("assistant\n")
        return ids, start

    def answer(self, question, mode, policy, max_tokens=8, history=(), now=None, last_s=None):
        """The answer's record: ids, positions, survivors, S, logits, tokens.  now: a Part of the open segment, encoded with commit=False."""
        m, L, D = self.m, self.m.L, self.D
        b = L // 2 if mode == "deferred" else None
        first_prune = max(policy.first_prune, b - 1) if b else policy.first_prune
        parts = list(self.parts)
        if now is not None:
            if self.prefill:
                self.decode_rows(now, parts)
            parts.append(now)
        ids_q, counted = self.query_ids(question, history)
        e = self.end(parts, D)
        n_close = self.n_open
        pos_q = torch.tensor([e] * n_close + [e + 1 + i for i in range(len(ids_q) - n_close)]).expand(3, -1)
        S = m.special
        ids, pos = list(self.prefix), [self.prefix_pos.expand(3, -1) + SEG_POS * D]
        for p in parts:
            ids += [S["<|VIDEO|>"]] * p.n("video") + [S["<|AUDIO|>"]] * p.n("audio")
            pos.append(self.part_positions(p, D))
        all_pos = torch.cat(pos + [pos_q], 1)
        kept_pos = [self.kept_positions(p, D) for p in parts]
        kind = [k for p in parts for k in p.kinds()]
        seg = [p.s - D for p in parts for _ in p.kinds()]
        tl_pos = torch.cat(kept_pos, 1) if parts else torch.zeros(3, 0, dtype=torch.long)
        alive = list(range(len(seg)))
        if last_s is not None:
            ends = {p.s - D: p.end_s for p in parts}
            alive = [i for i in alive if ends[seg[i]] > parts[-1].end_s - last_s]
        entered, n_before = list(alive), sum(p.n("video") + p.n("audio") for p in parts)
        C = max((seg[i] for i in alive), default=0)
        cache = lambda what, l: torch.cat([getattr(p, what)[l] for p in parts if p.h] or [getattr(self, "prefix_" + what)[l][..., :0, :]], -2)
        pre_pos, npre = self.prefix_pos.expand(3, -1) + SEG_POS * D, len(self.prefix)
        hq = m.text.embed_tokens(torch.tensor(ids_q))
        h = None
        if mode == "offline":
            rows = [r for r in (p.rows() for p in parts) if r is not None]
            h = torch.cat([self.prefix_h[0]] + ([torch.cat(rows)[alive]] if rows else []) + [hq])
        out = {"mode": mode, "retention": policy.retention, "policy": policy.as_json(), "L": L, "b": b, "input_ids": ids + ids_q,
               "position_ids": all_pos.tolist(), "prefix_len": npre, "query_len": len(ids_q), "n_l": [], "k_l": [], "survivors": []}
        scores, kv, margins = [], [], list(self.margins)
        for l in range(L):
            if b == l:
                h = torch.cat([self.prefix_h[l], cache("h", l)[alive], hq])
            full = h is not None
            keypos = torch.cat([pre_pos, tl_pos[:, alive], pos_q], 1)
            if full:
                q, k, v = m.qkv(l, h)
                o, p = m.attend(q, keypos, k, keypos, v, 0)
                p = p[:, -len(ids_q):]
                h = m.finish(l, h, o)
            else:
                q, k, v = m.qkv(l, hq)
                k = torch.cat([self.prefix_k[l], cache("k", l)[:, alive], k], 1)
                v = torch.cat([self.prefix_v[l], cache("v", l)[:, alive], v], 1)
                o, p = m.attend(q, pos_q, k, keypos, v, k.shape[1] - len(ids_q))
                hq = m.finish(l, hq, o)
            n = len(alive)
            Sj = p[:, counted:, npre:npre + n].mean(dim=(0, 1))
            scores.append((list(alive), Sj))
            kv.append([k, v, keypos])
            kl = policy.k(l, n, first_prune)
            out["n_l"].append(n), out["k_l"].append(kl), out["survivors"].append([entered.index(i) for i in alive])
            if kl:
                gone = self.choose(policy, l, kl, Sj, alive, entered, seg, C, margins)
                alive = [a for i, a in enumerate(alive) if i not in gone]
                if full:
                    drop = {npre + i for i in gone}
                    h = h[[i for i in range(len(h)) if i not in drop]]
        last = (h if h is not None else hq)[-1:]
        out["segments"] = [{"video": p.n("video"), "video_kept": p.video_kept, "audio": p.n("audio"), "audio_kept": p.audio_kept} for p in parts]
        out.update(n_audio_before=sum(p.n("audio") for p in parts), n_video_before=sum(p.n("video") for p in parts), n_audio=kind.count("a"), n_video=kind.count("v"))
        starts, at = [], npre
        for p in parts:
            starts += [at + i for i in p.video_kept] + [at + p.n("video") + i for i in p.audio_kept]
            at += p.n("video") + p.n("audio")
        out["entered"] = [starts[i] for i in entered]
        out.update(C=C, retained_ratio=sum(out["n_l"]) / (L * n_before) if n_before else 0.0, kv_rows_final=[x[0].shape[1] for x in kv])
        out["S"] = scores
        self.generate(out, last, kv, int(all_pos.max()) + 1, max_tokens)
        out["evidence"] = self.evidence(scores, policy, seg, kind, parts)
        out["margins"] = margins
        return out

    def choose(self, policy, l, kl, Sj, alive, entered, seg, C, margins):
        """Places within `alive` that leave after layer l."""
        if policy.name == "random":
            draw = [splitmix64(policy.seed ^ (l << 32) ^ entered.index(i)) for i in alive]
            return set(sorted(range(len(alive)), key=lambda i: (draw[i], i))[:kl])
        if l < policy.tds_start or C == 0:
            gone, gap = lowest(Sj, kl)
            margins.append({"what": f"layer {l}", "gap": gap, "values": Sj})
            return set(gone)
        top = torch.argmax(Sj).item()           # the first of the highest
        c_max = seg[alive[top]]
        cand, gap1 = lowest(Sj, min(2 * kl, len(alive)))
        term = torch.tensor([policy.lam * abs(c_max - seg[alive[i]]) / C for i in cand], dtype=torch.float64).to(Sj.dtype)
        gone, gap2 = lowest(Sj[cand] + term, kl)
        others = [Sj[i] for i in range(len(alive)) if seg[alive[i]] != c_max]
        gap3 = (Sj[top] - max(others)).item() if others else None
        gaps = [g for g in (gap1, gap2, gap3) if g is not None]
        margins.append({"what": f"layer {l}", "gap": min(gaps) if gaps else None, "values": Sj})
        return {cand[i] for i in gone}

    def generate(self, out, h, kv, position, max_tokens):
        """Greedy tokens, each against its layer's own pruned KV."""
        m = self.m
        out["tokens"], out["top2_gap"] = [], []
        for step in range(max_tokens):
            logits = m.logits(h)[0]
            if step == 0:
                out["logits"] = logits
            top = torch.topk(logits, 2)
            out["tokens"].append(int(top.indices[0])), out["top2_gap"].append((top.values[0] - top.values[1]).item())
            if out["tokens"][-1] in m.eos or step + 1 == max_tokens:
                break
            h, pos = m.text.embed_tokens(top.indices[:1]), torch.full((3, 1), position + step)
            for l in range(m.L):
                q, k, v = m.qkv(l, h)
                kv[l] = [torch.cat([kv[l][0], k], 1), torch.cat([kv[l][1], v], 1), torch.cat([kv[l][2], pos], 1)]
                h = m.finish(l, h, m.attend(q, pos, kv[l][0], kv[l][2], kv[l][1], kv[l][0].shape[1] - 1)[0])
        out["text"] = m.tokenizer.decode(out["tokens"], skip_special_tokens=True)

    def evidence(self, scores, policy, seg, kind, parts):
        """Section 8: weight and audio share of every segment of the window, unfiltered, in order."""
        total, audio = {}, {}
        layers = range(policy.tds_start, self.m.L)
        for l in layers:
            alive, Sj = scores[l]
            whole = Sj.double().sum().item()
            for i, x in zip(alive, Sj.double().tolist()):
                total[seg[i]] = total.get(seg[i], 0.0) + x / whole / len(layers)
                if kind[i] == "a":
                    audio[seg[i]] = audio.get(seg[i], 0.0) + x / whole / len(layers)
        return [{"segment": c + self.D, "weight": w, "audio": audio.get(c, 0.0) / w if w else 0.0} for c, w in sorted(total.items())]


# --- clips ------------------------------------------------------------------------------------------------------------------------------------------------
def clip_maximum(model, audio):
    """log10 mel maximum over the clip as transformers takes it: with the frames after its end that still see its last samples."""
    x = np.concatenate([audio[1:201][::-1], audio, np.zeros(2 * N_FFT)]) if len(audio) > 200 else None
    if x is None:
        pad = np.zeros(201)
        pad[:len(audio)] = audio
        x = np.concatenate([pad[1:201][::-1], pad, np.zeros(2 * N_FFT)])
    return model.log_mel(torch.from_numpy(x.astype(np.float64) / 32768).to(model.dtype)).max().item()


def feed_clip(stream, frames, audio, n_segments=None, gaps=None):
    """Feeds whole and partial segments of a clip; gaps {segment: "v", "a" or "va"}; n_segments: stop after so many."""
    gaps = gaps or {}
    n = max(-(-len(frames) // 4) if frames is not None else 0, -(-len(audio) // SEG_SAMPLES) if audio is not None else 0)
    if stream.mel_ref == "clip" and audio is not None and len(audio):
        stream.clip_max = clip_maximum(stream.m, audio)
    for s in range(stream.seen, n if n_segments is None else n_segments):
        f = frames[4 * s:4 * s + 4] if frames is not None and "v" not in gaps.get(s, "") else None
        k = max(0, min(SEG_SAMPLES, len(audio) - SEG_SAMPLES * s)) if audio is not None and "a" not in gaps.get(s, "") else 0
        stream.feed(s, f, audio, k, len(audio) if audio is not None else 0)
        stream.seen = s + 1


def open_segment(stream, frames, audio, n_frames, n_samples, gaps=None):
    """The open segment as the clip's partial last one: a Part for `answer(now=)`; the stream itself does not change."""
    s = stream.seen
    gap = (gaps or {}).get(s, "")
    f = frames[4 * s:4 * s + n_frames] if frames is not None and "v" not in gap else None
    n = n_samples if audio is not None and "a" not in gap else 0
    return stream.encode(s, f, audio, n, SEG_SAMPLES * s + n_samples, commit=False)


def trace(out):
    """The record in the form of omnid-run's --trace."""
    seg = [{"video_tokens": s["video"], "audio_tokens": s["audio"], "video_kept": s["video_kept"], "audio_kept": s["audio_kept"]} for s in out["segments"]]
    layers = [{"n": n, "k": k, "survivors": s} for n, k, s in zip(out["n_l"], out["k_l"], out["survivors"])]
    return {"mode": out["mode"], "input_ids": out["input_ids"], "position_ids": out["position_ids"], "segments": seg, "layers": layers,
            "retained": out["retained_ratio"], "logits": out["logits"].tolist(), "tokens": out["tokens"], "text": out["text"], "timings": {}}
