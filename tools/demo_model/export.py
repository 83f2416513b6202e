"""Write a model folder in the published checkpoint's layout from the trained parts.

    python3 export.py --dir DIR --decoder DIR/dec.pt --out models/demo [--dtype bf16]
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import save_file

import model
import tok
from schedules import solve

CARD = {"name": "omnid demo 5M", "max_pixels": 112 * 112}


def config(ids, vocab, dtype):
    t, a, v = model.TEXT, model.AUDIO, model.VISION
    text = {"model_type": "qwen2_5_omni_text", "hidden_act": "silu", "hidden_size": t["hidden"], "intermediate_size": t["ffn"],
            "num_attention_heads": t["heads"], "num_key_value_heads": t["kv"], "head_dim": t["hd"], "num_hidden_layers": t["layers"],
            "max_position_embeddings": 32768, "max_window_layers": t["layers"], "rms_norm_eps": 1e-6, "rope_theta": t["theta"],
            "rope_scaling": {"mrope_section": t["sections"], "rope_type": "default", "type": "default"}, "sliding_window": 32768,
            "use_sliding_window": False, "use_cache": True, "vocab_size": vocab, "tie_word_embeddings": False, "torch_dtype": dtype}
    audio = {"model_type": "qwen2_5_omni_audio_encoder", "activation_function": "gelu", "activation_dropout": 0.0,
             "attention_dropout": 0.0, "dropout": 0.0, "d_model": a["d"], "encoder_attention_heads": a["heads"],
             "encoder_ffn_dim": a["ffn"], "encoder_layerdrop": 0.0, "encoder_layers": a["layers"], "num_hidden_layers": a["layers"],
             "max_source_positions": 1500, "n_window": 100, "num_mel_bins": 128, "output_dim": t["hidden"], "scale_embedding": False}
    vision = {"model_type": "qwen2_5_omni_vision_encoder", "depth": v["layers"], "embed_dim": v["d"], "hidden_size": v["d"],
              "fullatt_block_indexes": list(v["full"]), "hidden_act": "silu", "in_channels": 3, "in_chans": 3,
              "intermediate_size": v["ffn"], "num_heads": v["heads"], "out_hidden_size": t["hidden"], "patch_size": 14,
              "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2, "tokens_per_second": 25, "window_size": 56}
    thinker = {"architectures": ["Qwen2OmniNaViTThinkerForConditionalGeneration"], "model_type": "qwen2_5_omni_thinker",
               "audio_config": audio, "vision_config": vision, "text_config": text, "audio_token_index": ids["<|AUDIO|>"],
               "image_token_index": ids["<|IMAGE|>"], "video_token_index": ids["<|VIDEO|>"],
               "audio_start_token_id": ids["<|audio_bos|>"], "audio_end_token_id": ids["<|audio_eos|>"],
               "vision_start_token_id": ids["<|vision_bos|>"], "vision_end_token_id": ids["<|vision_eos|>"],
               "vision_token_id": ids["<|vision_pad|>"], "bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<|im_end|>"],
               "pad_token_id": ids["<|endoftext|>"], "ignore_index": -100, "initializer_range": 0.02, "position_id_per_seconds": 25,
               "seconds_per_chunk": 2, "tie_word_embeddings": False, "torch_dtype": dtype}
    return {"architectures": ["Qwen2_5OmniForConditionalGeneration"], "model_type": "qwen2_5_omni", "enable_audio_output": False,
            "enable_talker": False, "thinker_config": thinker, "torch_dtype": dtype}


def write(out, name, what):
    with open(os.path.join(out, name), "w") as f:
        json.dump(what, f, indent=2)
        f.write("\n")


def settings(out, ids, vocab, dtype):
    write(out, "config.json", config(ids, vocab, dtype))
    write(out, "generation_config.json", {"bos_token_id": ids["<|im_start|>"], "pad_token_id": ids["<|endoftext|>"],
                                          "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]]})
    write(out, "preprocessor_config.json",
          {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128, "sampling_rate": 16000, "hop_length": 160,
           "n_fft": 400, "chunk_length": 300, "n_samples": 4800000, "nb_max_frames": 30000, "dither": 0.0, "padding_side": "right",
           "padding_value": 0.0, "return_attention_mask": True, "image_processor_type": "Qwen2VLImageProcessor",
           "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
           "min_pixels": 3136, "max_pixels": 112 * 112, "merge_size": 2, "patch_size": 14, "temporal_patch_size": 2,
           "processor_class": "Qwen2_5OmniProcessor"})
    write(out, "tokenizer_config.json",
          {"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "add_prefix_space": False, "bos_token": None,
           "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None, "model_max_length": 32768,
           "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>", "audio_token": "<|AUDIO|>",
           "image_token": "<|IMAGE|>", "video_token": "<|VIDEO|>", "vision_bos_token": "<|vision_bos|>",
           "vision_eos_token": "<|vision_eos|>",
           "added_tokens_decoder": {str(i): {"content": s, "lstrip": False, "normalized": False, "rstrip": False,
                                             "single_word": False, "special": True} for s, i in ids.items()}})
    write(out, "omnid.json", dict(CARD, retention={r: solve(int(r) / 100, model.TEXT["layers"]) for r in ("30", "20")}))


def export(directory, decoder, out, dtype):
    f = torch.load(decoder)
    towers = (dict(zip(("visual", "audio_tower"), f["towers"])) if "towers" in f else
              torch.load(os.path.join(directory, "towers.pt")))
    tensors = {"thinker." + k: v for k, v in f["decoder"].items()}
    tensors |= {f"thinker.{t}.{k}": v for t, state in towers.items() for k, v in state.items()}
    kind = {"bf16": torch.bfloat16, "f32": torch.float32}[dtype]
    tensors = {k: v.to(kind).contiguous() for k, v in tensors.items()}
    os.makedirs(out, exist_ok=True)
    save_file(tensors, os.path.join(out, "model.safetensors"), {"format": "pt"})
    write(out, "model.safetensors.index.json",
          {"metadata": {"total_size": sum(v.numel() * v.element_size() for v in tensors.values())},
           "weight_map": {k: "model.safetensors" for k in sorted(tensors)}})
    tokenizer = tok.load(directory)
    shutil.copyfile(os.path.join(directory, "tokenizer.json"), os.path.join(out, "tokenizer.json"))
    settings(out, tok.ids(tokenizer), tensors["thinker.lm_head.weight"].shape[0],
             {"bf16": "bfloat16", "f32": "float32"}[dtype])
    print(f"{sum(v.numel() for v in tensors.values()) / 1e6:.2f} M parameters in {len(tensors)} tensors")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--dir", required=True)
    p.add_argument("--decoder", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    a = p.parse_args()
    export(a.dir, a.decoder, a.out, a.dtype)
