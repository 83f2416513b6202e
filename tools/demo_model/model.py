"""A dense, batched Qwen2.5-Omni thinker: the same tensors and formulas as transformers, laid out for training on a CPU.

Parameter names are those of the published checkpoint without the `thinker.` prefix. check_export.py compares it with
transformers. Shapes are the demo model's: 112 x 112 frames, segments of 4 frames and 200 mel frames.
"""
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

TEXT = {"hidden": 192, "layers": 8, "heads": 4, "kv": 2, "hd": 48, "ffn": 512, "theta": 1e4, "sections": [12, 6, 6]}
AUDIO = {"d": 128, "layers": 3, "heads": 4, "ffn": 512}
VISION = {"d": 128, "layers": 4, "heads": 4, "ffn": 256, "full": (1, 3)}
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]) * 255
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]) * 255
GRID_TOKENS, AUDIO_TOKENS, PER_SEGMENT = 16, 50, 50            # tokens of a grid, of a segment's sound; positions a segment


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, 1e-6)


class GatedMLP(nn.Module):
    def __init__(self, d, ffn, bias):
        super().__init__()
        self.gate_proj = nn.Linear(d, ffn, bias=bias)
        self.up_proj = nn.Linear(d, ffn, bias=bias)
        self.down_proj = nn.Linear(ffn, d, bias=bias)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def heads_of(x, n):
    """[b, t, n hd] -> [b, n, t, hd]"""
    return x.view(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def merge(x):
    return x.transpose(1, 2).flatten(2)


def softmax_scores(q, k):
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)


# ---------------------------------------------------------------- sound
class AudioAttention(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.k_proj = nn.Linear(d, d, bias=False)
        self.v_proj = nn.Linear(d, d)
        self.q_proj = nn.Linear(d, d)
        self.out_proj = nn.Linear(d, d)

    def forward(self, x, n):
        p = softmax_scores(heads_of(self.q_proj(x), n), heads_of(self.k_proj(x), n))
        return self.out_proj(merge(p @ heads_of(self.v_proj(x), n))), p


class AudioLayer(nn.Module):
    def __init__(self, d, ffn):
        super().__init__()
        self.self_attn = AudioAttention(d)
        self.self_attn_layer_norm = nn.LayerNorm(d)
        self.fc1 = nn.Linear(d, ffn)
        self.fc2 = nn.Linear(ffn, d)
        self.final_layer_norm = nn.LayerNorm(d)

    def forward(self, x, n):
        y, p = self.self_attn(self.self_attn_layer_norm(x), n)
        x = x + y
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x)))), p


class AudioTower(nn.Module):
    def __init__(self, c=AUDIO, out=TEXT["hidden"]):
        super().__init__()
        d = c["d"]
        self.n_heads = c["heads"]
        self.conv1 = nn.Conv1d(128, d, 3, padding=1)
        self.conv2 = nn.Conv1d(d, d, 3, stride=2, padding=1)
        self.audio_bos_eos_token = nn.Embedding(2, out)
        self.layers = nn.ModuleList(AudioLayer(d, c["ffn"]) for _ in range(c["layers"]))
        self.ln_post = nn.LayerNorm(d)
        self.proj = nn.Linear(d, out)
        scale = np.exp(-np.log(10000) / (d // 2 - 1) * np.arange(d // 2))
        t = np.arange(100)[:, None] * scale[None]
        self.register_buffer("pos", torch.tensor(np.concatenate([np.sin(t), np.cos(t)], 1), dtype=torch.float32), persistent=False)

    def forward(self, mel):
        """mel [n, 128, 200] -> tokens [n, 50, out], saliency [n, 50] (mean attention received in the last layer)."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2) + self.pos
        for layer in self.layers:
            x, p = layer(x, self.n_heads)
        saliency = p.mean((1, 2)).view(-1, AUDIO_TOKENS, 2).mean(2)
        x = x.view(x.shape[0], AUDIO_TOKENS, 2, -1).mean(2)
        return self.proj(self.ln_post(x)), saliency


def mel_filters():
    from transformers.audio_utils import mel_filter_bank
    return torch.tensor(mel_filter_bank(num_frequency_bins=201, num_mel_filters=128, min_frequency=0.0, max_frequency=8000.0,
                                        sampling_rate=16000, norm="slaney", mel_scale="slaney"), dtype=torch.float32)


def log_mel(wave, filters):
    """wave [n, 200 + 32000 + 200] (200 samples of context on both sides) -> log10 mel [n, 128, 200] before floor and scale."""
    s = torch.stft(wave, 400, 160, window=torch.hann_window(400), center=False, return_complex=True)[..., :200]
    return torch.log10(torch.clamp((s.abs() ** 2).transpose(1, 2) @ filters, min=1e-10)).transpose(1, 2)


def finish_mel(x, reference):
    return (torch.maximum(x, reference - 8.0) + 4.0) / 4.0


# ---------------------------------------------------------------- picture
class VisionAttention(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.q = nn.Linear(d, d)
        self.k = nn.Linear(d, d)
        self.v = nn.Linear(d, d)
        self.proj = nn.Linear(d, d)

    def forward(self, x, n, cos, sin):
        q, k = rotate(heads_of(self.q(x), n), cos, sin), rotate(heads_of(self.k(x), n), cos, sin)
        return self.proj(merge(softmax_scores(q, k) @ heads_of(self.v(x), n)))


class VisionBlock(nn.Module):
    def __init__(self, d, ffn):
        super().__init__()
        self.norm1 = RMSNorm(d)
        self.norm2 = RMSNorm(d)
        self.attn = VisionAttention(d)
        self.mlp = GatedMLP(d, ffn, True)

    def forward(self, x, n, cos, sin):
        x = x + self.attn(self.norm1(x), n, cos, sin)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.proj = nn.Conv3d(3, d, (2, 14, 14), (2, 14, 14), bias=False)

    def forward(self, x):
        return x @ self.proj.weight.flatten(1).T


class Merger(nn.Module):
    def __init__(self, d, out):
        super().__init__()
        self.ln_q = RMSNorm(d)
        self.mlp = nn.Sequential(nn.Linear(4 * d, 4 * d), nn.GELU(), nn.Linear(4 * d, out))

    def forward(self, x):
        return self.mlp(self.ln_q(x).view(*x.shape[:-2], x.shape[-2] // 4, -1))


def window_order():
    """Merged tokens (4 x 4, raster) in the order of the four 56 px windows, and patch coordinates [64, 2] in that order."""
    order = [(2 * wr + r) * 4 + 2 * wc + c for wr in range(2) for wc in range(2) for r in range(2) for c in range(2)]
    coords = [(2 * (t // 4) + i, 2 * (t % 4) + j) for t in order for i in range(2) for j in range(2)]
    return torch.tensor(order), torch.tensor(coords)


COLUMN_MEAN, COLUMN_STD = (x[:, None].expand(3, 392).reshape(-1) for x in (MEAN, STD))       # of a patch, C slowest


def patches(frames):
    """uint8 [n, 2, 112, 112, 3] (a grid's two frames) -> f32 [n, 64, 1176], merged tokens in window order."""
    x = frames.reshape(-1, 2, 4, 2, 14, 4, 2, 14, 3).permute(0, 2, 5, 3, 6, 8, 1, 4, 7)      # n, th, tw, 2, 2, C, T, 14, 14
    x = x.reshape(-1, 16, 4, 1176)[:, window_order()[0]].reshape(-1, 64, 1176)
    return x.float().sub_(COLUMN_MEAN).div_(COLUMN_STD)


class VisionTower(nn.Module):
    def __init__(self, c=VISION, out=TEXT["hidden"]):
        super().__init__()
        d = c["d"]
        self.n_heads, self.full = c["heads"], c["full"]
        self.patch_embed = PatchEmbed(d)
        self.blocks = nn.ModuleList(VisionBlock(d, c["ffn"]) for _ in range(c["layers"]))
        self.merger = Merger(d, out)
        order, coords = window_order()
        half = d // c["heads"] // 2
        freq = coords.float()[:, :, None] / 10000.0 ** (torch.arange(0, half, 2).float() / half)
        angle = freq.flatten(1).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        self.register_buffer("raster", torch.argsort(order), persistent=False)

    def forward(self, x):
        """patches [n, 64, 1176] -> tokens [n, 16, out] in raster order"""
        x = self.patch_embed(x)
        n, _, d = x.shape
        cw, sw = self.cos.view(4, 16, -1).repeat(n, 1, 1)[:, None], self.sin.view(4, 16, -1).repeat(n, 1, 1)[:, None]
        for i, block in enumerate(self.blocks):
            if i in self.full:
                x = block(x, self.n_heads, self.cos, self.sin)
            else:
                x = block(x.view(n * 4, 16, d), self.n_heads, cw, sw).view(n, 64, d)
        return self.merger(x)[:, self.raster]


# ---------------------------------------------------------------- text
def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def angles(positions, c=TEXT):
    """positions [3, n] -> cos, sin [n, hd]: the half dimension is split into t, h, w parts."""
    inv = 1.0 / (c["theta"] ** (torch.arange(0, c["hd"], 2).float() / c["hd"]))
    f = torch.cat([p[:, None].float() * part for p, part in zip(positions, inv.split(c["sections"]))], 1).repeat(1, 2)
    return f.cos(), f.sin()


class TextAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["hidden"]
        self.q_proj = nn.Linear(d, c["heads"] * c["hd"])
        self.k_proj = nn.Linear(d, c["kv"] * c["hd"])
        self.v_proj = nn.Linear(d, c["kv"] * c["hd"])
        self.o_proj = nn.Linear(c["heads"] * c["hd"], d, bias=False)


class TextLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.self_attn = TextAttention(c)
        self.mlp = GatedMLP(c["hidden"], c["ffn"], False)
        self.input_layernorm = RMSNorm(c["hidden"])
        self.post_attention_layernorm = RMSNorm(c["hidden"])

    def qkv(self, x, rope):
        """[b, t, d] -> q [b, kv, g, t, hd] (g query heads to a key head), k and v [b, kv, t, hd], rotated"""
        a, c = self.self_attn, self.c
        x = self.input_layernorm(x)
        q, k, v = heads_of(a.q_proj(x), c["heads"]), heads_of(a.k_proj(x), c["kv"]), heads_of(a.v_proj(x), c["kv"])
        q, k = rotate(q, *rope), rotate(k, *rope)
        return q.view(q.shape[0], c["kv"], -1, *q.shape[2:]), k, v

    def finish(self, x, y):
        """y [b, kv, g, t, hd]: attention's output"""
        x = x + self.self_attn.o_proj(merge(y.flatten(1, 2)))
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Timelines and, behind each, several questions that do not see each other."""

    def __init__(self, vocab, c=TEXT):
        super().__init__()
        self.c = c
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocab, c["hidden"])
        self.model.layers = nn.ModuleList(TextLayer(c) for _ in range(c["layers"]))
        self.model.norm = RMSNorm(c["hidden"])
        self.lm_head = nn.Linear(c["hidden"], vocab, bias=False)
        nn.init.normal_(self.model.embed_tokens.weight, std=0.5)
        for n, p in self.named_parameters():
            if "layers" in n and p.ndim == 2:
                nn.init.normal_(p, std=p.shape[1] ** -0.5 * (0.3 if "o_proj" in n or "down_proj" in n else 1.0))
            elif n.endswith("bias"):
                nn.init.zeros_(p)
        nn.init.normal_(self.lm_head.weight, std=0.02)

    def forward(self, timeline, pos_t, asked, pos_q, schedule=None, query_rows=None, seg_of=None):
        """timeline [b, t, d] embeddings, pos_t [b, 3, t]; asked [b, k, q] ids, pos_q [3, q] -> final hidden [b, k, q, d].

        schedule: p_l of OmniDrop for l in [0, L-2] (eager mode): after layer l the floor(n p_l) audio and video tokens
        (seg_of [t] >= 0: their segments) of lowest S leave for the question; query_rows [b, k, q] marks the rows that S counts."""
        b, k, nq = asked.shape
        t, c = timeline.shape[1], self.c
        g = c["heads"] // c["kv"]
        x, y = timeline, self.model.embed_tokens(asked).view(b, k * nq, -1)
        rt = tuple(torch.stack(a)[:, None] for a in zip(*(angles(p) for p in pos_t)))
        rq = tuple(a.repeat(k, 1) for a in angles(pos_q))
        future_t = torch.ones(t, t, dtype=torch.bool).triu(1)
        future_q = torch.ones(nq, nq, dtype=torch.bool).triu(1)
        gone = None                                                     # [b, k, t]: tokens that a question no longer sees
        for i, layer in enumerate(self.model.layers):
            q, kk, v = layer.qkv(x, rt)
            if i + 1 < c["layers"]:                                     # nothing reads the timeline's rows after the last layer
                s = (q.flatten(2, 3) @ kk.transpose(-1, -2)).view(b, c["kv"], g, t, t) * c["hd"] ** -0.5
                p = torch.softmax(s.masked_fill(future_t, -1e30), -1).view(b, c["kv"], g * t, t)
                x = layer.finish(x, (p @ v).view(b, c["kv"], g, t, -1))
            q, kq, vq = layer.qkv(y, rq)
            st = (q.reshape(b, c["kv"], g * k * nq, -1) @ kk.transpose(-1, -2)).view(b, c["kv"], g, k, nq, t)
            own = lambda z: z.view(b, c["kv"], k, nq, -1)
            qo = q.view(b, c["kv"], g, k, nq, -1)
            so = qo @ own(kq)[:, :, None].transpose(-1, -2)
            if gone is not None:
                st = st.masked_fill(gone[:, None, None, :, None], -1e30)
            p = torch.softmax(torch.cat((st, so.masked_fill(future_q, -1e30)), -1) * c["hd"] ** -0.5, -1)
            pt, po = p.split((t, nq), -1)
            if schedule is not None and i + 1 < c["layers"]:
                gone = self.drop(pt.detach(), schedule[i], i >= c["layers"] // 2, query_rows, seg_of, gone)
            z = (pt.reshape(b, c["kv"], g * k * nq, t) @ v).view(b, c["kv"], g, k, nq, -1) + po @ own(vq)[:, :, None]
            y = layer.finish(y, z.view(b, c["kv"], g, k * nq, -1))
        return self.model.norm(y).view(b, k, nq, -1)

    @staticmethod
    def drop(p, share, tds, rows, seg_of, gone):
        """S = mean over heads and query rows; the floor(n share) lowest of the tokens still in are added to `gone`.
        tds: of twice as many, those of lowest S + 0.2 |c_max - c| / C leave (docs/semantics.md, section 5)."""
        s = (p.mean((1, 2)) * rows[..., None]).sum(2) / rows.sum(2, keepdim=True)          # [b, k, t]
        gone = torch.zeros_like(s, dtype=torch.bool) if gone is None else gone
        out = gone | (seg_of < 0)
        n = int((~out[0, 0]).sum())
        k = int(math.floor(n * share))
        if k == 0:
            return gone
        cand = s.masked_fill(out, math.inf).topk(min(2 * k if tds else k, n), largest=False).indices
        if tds and seg_of.max() > 0:
            best = seg_of[s.masked_fill(out, -1).argmax(2)][..., None]
            near = s.gather(2, cand) + 0.2 * (best - seg_of[cand]).abs() / seg_of.max()
            cand = cand.gather(2, near.topk(k, largest=False).indices)
        return gone.scatter(2, cand[..., :k], True)


# ---------------------------------------------------------------- layout (docs/semantics.md, sections 3 and 4)
def floor_share(n, rho):
    return int(math.floor(n * rho))


def merge_tokens(v, rho=0.8):
    """TTM. v [b, m, 2, 16, d] -> per grid: kept indices, list of 2m tensors [b, n]; groups of four grids from the start."""
    b, m = v.shape[:2]
    g = F.normalize(v.reshape(b, 2 * m, GRID_TOKENS, -1), dim=-1)
    kept, n_keep = [], GRID_TOKENS - floor_share(GRID_TOKENS, rho)
    for i in range(2 * m):
        j = i % 4
        if j == 0:
            kept.append(torch.arange(GRID_TOKENS).expand(b, -1))
        else:
            cos = (g[:, i] * g[:, i - (2 if j == 2 else 1)]).sum(-1)
            kept.append(cos.topk(n_keep, largest=False).indices.sort(1).values)
    return kept


def segment_layout(v, a, saliency, section4):
    """v [b, m, 2, 16, d], a [b, m, 50, d] -> tokens [b, n, d] in order V1 A1 V2 A2 ..., positions [b, 3, n] from st = 0, segments [n]."""
    b, m, d = v.shape[0], v.shape[1], v.shape[-1]
    every = torch.arange(GRID_TOKENS).expand(b, -1)
    kept = merge_tokens(v) if section4 else [every] * (2 * m)
    n_audio = AUDIO_TOKENS - (floor_share(AUDIO_TOKENS, 0.3) if section4 else 0)
    toks, pos, seg_of = [], [], []
    for s in range(m):
        for g in (2 * s, 2 * s + 1):
            i = kept[g]
            toks.append(v[:, s, g % 2].gather(1, i[..., None].expand(-1, -1, d)))
            pos.append(torch.stack((torch.full_like(i, 25 * g), i // 4, i % 4), 1))
        i = saliency[:, s].topk(n_audio).indices.sort(1).values
        toks.append(a[:, s].gather(1, i[..., None].expand(-1, -1, d)))
        pos.append((PER_SEGMENT * s + i)[:, None].expand(-1, 3, -1))
        seg_of += [s] * sum(t.shape[1] for t in toks[-3:])
    return torch.cat(toks, 1), torch.cat(pos, 2), torch.tensor(seg_of)
