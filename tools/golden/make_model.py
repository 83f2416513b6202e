"""make_model.py OUT NAME: a tiny random Qwen2.5-Omni model in the published checkpoint's layout (M1, M2 or M3 below, fixed seeds).

M1  8 layers, bfloat16, own head, two shards; talker and token2wav tensors beside the thinker's; nested configuration with rope_theta and rope_scaling
M2  6 layers, float32, tied head (no lm_head in the index), explicit head_dim that is not hidden / heads, one shard; text_config says untied, which does not count
M3  5 layers, bfloat16, own head, flat thinker configuration with rope_parameters, names without `thinker.`, one file and no index

Weights are normal with standard deviation gain / sqrt(fan in), scaled at the end so that embeddings have a standard deviation near 1 and logits near 2: decisions then
have margins far above rounding.  Rows of the vocabulary that no token uses are zero.
"""
import json
import os
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers, Regex

import corpus

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_bos|>",
           "<|vision_eos|>", "<|vision_pad|>", "<|IMAGE|>", "<|VIDEO|>"]
PLAIN = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

SHAPES = {
    "M1": dict(seed=11, layers=8, hidden=64, heads=4, kv=2, head_dim=16, ffn=48, sections=[2, 3, 3], words=340, dtype=torch.bfloat16, tie=False, shards=2, nested=True, vis=16, vis_ffn=28, aud=24, aud_ffn=40),
    "M2": dict(seed=22, layers=6, hidden=32, heads=4, kv=1, head_dim=16, ffn=48, sections=[2, 3, 3], words=330, dtype=torch.float32, tie=True, shards=1, nested=True, vis=16, vis_ffn=28, aud=24, aud_ffn=40),
    "M3": dict(seed=33, layers=5, hidden=64, heads=2, kv=2, head_dim=32, ffn=64, sections=[4, 6, 6], words=330, dtype=torch.bfloat16, tie=False, shards=0, nested=False, vis=16, vis_ffn=28, aud=16, aud_ffn=32),
}


def tokenizer(words, scripts):
    """A byte-level BPE tokenizer as Qwen2's, with `words` entries besides the added tokens."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=words, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tok.train_from_iterator(corpus.training_text(scripts), trainer)
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tok.add_tokens([AddedToken(t, normalized=False, special=False) for t in PLAIN])
    return tok


def config(o, ids, rows):
    """(the file's whole content, the thinker's part): the keys of the published file."""
    half = dict(model_type="qwen2_5_omni_text", hidden_act="silu", hidden_size=o["hidden"], init_std=0.02, initializer_range=0.02, intermediate_size=o["ffn"], max_position_embeddings=32768,
                max_window_layers=o["layers"], num_attention_heads=o["heads"], num_hidden_layers=o["layers"], num_key_value_heads=o["kv"], rms_norm_eps=1e-6, sliding_window=32768, use_cache=True,
                use_sliding_window=False, vocab_size=rows, tie_word_embeddings=not o["tie"])
    if o["head_dim"] * o["heads"] != o["hidden"]:
        half["head_dim"] = o["head_dim"]
    if o["nested"]:
        half.update(rope_theta=1000000.0, rope_scaling=dict(mrope_section=o["sections"], rope_type="default", type="default"))
    else:
        half.update(rope_parameters=dict(rope_theta=1000000.0, rope_type="default", mrope_section=o["sections"]))
    audio = dict(model_type="qwen2_5_omni_audio_encoder", activation_function="gelu", d_model=o["aud"], encoder_attention_heads=2, encoder_ffn_dim=o["aud_ffn"], encoder_layers=3, num_hidden_layers=3,
                 max_source_positions=1500, n_window=100, num_mel_bins=128, output_dim=o["hidden"], scale_embedding=False, dropout=0.0)
    vision = dict(model_type="qwen2_5_omni_vision_encoder", depth=4, embed_dim=o["vis"], hidden_size=o["vis"], fullatt_block_indexes=[1, 3], hidden_act="silu", in_channels=3, in_chans=3,
                  intermediate_size=o["vis_ffn"], num_heads=2, out_hidden_size=o["hidden"], patch_size=14, spatial_merge_size=2, spatial_patch_size=14, temporal_patch_size=2, tokens_per_second=25,
                  window_size=112)
    thinker = dict(architectures=["Qwen2OmniNaViTThinkerForConditionalGeneration"], model_type="qwen2_5_omni_thinker", audio_config=audio, vision_config=vision, text_config=half,
                   audio_token_index=ids["<|AUDIO|>"], image_token_index=ids["<|IMAGE|>"], video_token_index=ids["<|VIDEO|>"], audio_start_token_id=ids["<|audio_bos|>"],
                   audio_end_token_id=ids["<|audio_eos|>"], vision_start_token_id=ids["<|vision_bos|>"], vision_end_token_id=ids["<|vision_eos|>"], vision_token_id=ids["<|vision_pad|>"],
                   bos_token_id=ids["<|im_start|>"], eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"], ignore_index=-100, position_id_per_seconds=25, seconds_per_chunk=2,
                   user_token_id=872, tie_word_embeddings=o["tie"])
    if not o["nested"]:
        return thinker | {"architectures": ["Qwen2_5OmniThinkerForConditionalGeneration"]}, thinker
    return dict(architectures=["Qwen2_5OmniForConditionalGeneration"], model_type="qwen2_5_omni", enable_audio_output=True, enable_talker=True, thinker_config=thinker,
                talker_config=dict(model_type="qwen2_5_omni_talker"), token2wav_config=dict(model_type="qwen2_5_omni_token2wav")), thinker


def weights(o, rows, used):
    """The thinker's tensors under their names without prefix, float32."""
    rng = np.random.default_rng(o["seed"])
    out = {}

    def put(name, *shape, gain=1.0, bias=None):
        fan = int(np.prod(shape[1:]))
        out[name + ".weight"] = torch.from_numpy(rng.standard_normal(shape) * gain / fan ** 0.5).float()
        if bias is not None:
            out[name + ".bias"] = torch.from_numpy(rng.standard_normal(shape[0]) * bias).float()

    def norm(name, n, bias=False):
        out[name + ".weight"] = torch.from_numpy(1 + 0.15 * rng.standard_normal(n)).float()
        if bias:
            out[name + ".bias"] = torch.from_numpy(0.05 * rng.standard_normal(n)).float()

    a, f, h = o["aud"], o["aud_ffn"], o["hidden"]
    put("audio_tower.audio_bos_eos_token", 2, h)
    put("audio_tower.conv1", a, 128, 3, gain=3, bias=0.1), put("audio_tower.conv2", a, a, 3, gain=2, bias=0.1)
    for i in range(3):
        p = f"audio_tower.layers.{i}."
        put(p + "self_attn.q_proj", a, a, gain=1.6, bias=0.1), put(p + "self_attn.k_proj", a, a, gain=1.6)
        put(p + "self_attn.v_proj", a, a, bias=0.1), put(p + "self_attn.out_proj", a, a, bias=0.1)
        put(p + "fc1", f, a, bias=0.1), put(p + "fc2", a, f, bias=0.1)
        norm(p + "self_attn_layer_norm", a, True), norm(p + "final_layer_norm", a, True)
    norm("audio_tower.ln_post", a, True), put("audio_tower.proj", h, a, bias=0.1)
    v, f = o["vis"], o["vis_ffn"]
    put("visual.patch_embed.proj", v, 3, 2, 14, 14, gain=1.5)
    for i in range(4):
        p = f"visual.blocks.{i}."
        put(p + "attn.q", v, v, gain=1.6, bias=0.1), put(p + "attn.k", v, v, gain=1.6, bias=0.1), put(p + "attn.v", v, v, bias=0.1), put(p + "attn.proj", v, v, bias=0.1)
        put(p + "mlp.gate_proj", f, v, bias=0.1), put(p + "mlp.up_proj", f, v, bias=0.1), put(p + "mlp.down_proj", v, f, bias=0.1)
        norm(p + "norm1", v), norm(p + "norm2", v)
    norm("visual.merger.ln_q", v), put("visual.merger.mlp.0", 4 * v, 4 * v, bias=0.1), put("visual.merger.mlp.2", h, 4 * v, gain=1.5, bias=0.1)
    d, n, k, f = o["head_dim"], o["heads"], o["kv"], o["ffn"]
    for i in range(o["layers"]):
        p = f"model.layers.{i}."
        put(p + "self_attn.q_proj", n * d, h, gain=1.7, bias=0.4), put(p + "self_attn.k_proj", k * d, h, gain=1.7, bias=0.4), put(p + "self_attn.v_proj", k * d, h, gain=1.2, bias=0.1)
        put(p + "self_attn.o_proj", h, n * d), put(p + "mlp.gate_proj", f, h), put(p + "mlp.up_proj", f, h), put(p + "mlp.down_proj", h, f)
        norm(p + "input_layernorm", h), norm(p + "post_attention_layernorm", h)
    norm("model.norm", h)
    put("model.embed_tokens", rows, h, gain=1.9 if o["tie"] else h ** 0.5)
    out["model.embed_tokens.weight"][used:] = 0
    if not o["tie"]:
        put("lm_head", rows, h, gain=1.9)
        out["lm_head.weight"][used:] = 0
    return out


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1, ensure_ascii=False)
        f.write("\n")


def make(out, name):
    """Writes the folder `out`."""
    o = SHAPES[name]
    os.makedirs(out, exist_ok=True)
    tok = tokenizer(o["words"], scripts=False)
    tok.save(os.path.join(out, "tokenizer.json"), pretty=False)
    ids = {t: tok.token_to_id(t) for t in SPECIAL + PLAIN}
    used = tok.get_vocab_size()
    rows = (used + 31) // 32 * 32
    whole, _ = config(o, ids, rows)
    write_json(os.path.join(out, "config.json"), whole)
    write_json(os.path.join(out, "generation_config.json"), {"bos_token_id": ids["<|im_start|>"], "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]], "pad_token_id": ids["<|endoftext|>"]})
    state = {k: v.to(o["dtype"]).contiguous() for k, v in weights(o, rows, used).items()}
    if not o["nested"]:
        save_file(state, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
        return
    state = {"thinker." + k: v for k, v in state.items()}
    rng = np.random.default_rng(o["seed"] + 1)
    for extra, shape in (("talker.codec_head.weight", (4, 8)), ("talker.model.embed_tokens.weight", (4, 8)), ("token2wav.code2wav_bigvgan_model.conv_pre.weight", (4, 2, 3))):
        state[extra] = torch.from_numpy(rng.standard_normal(shape)).to(o["dtype"])
    names, index = sorted(state), {}
    n = o["shards"]
    for i in range(n):
        part = names[i * len(names) // n:(i + 1) * len(names) // n]
        shard = f"model-{i + 1:05d}-of-{n:05d}.safetensors"
        save_file({k: state[k] for k in part}, os.path.join(out, shard), metadata={"format": "pt"})
        index.update({k: shard for k in part})
    write_json(os.path.join(out, "model.safetensors.index.json"), {"metadata": {"total_size": sum(v.numel() * v.element_size() for v in state.values())}, "weight_map": index})


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2])
