"""The plain model: transformers' own forward over a whole clip, nothing pruned.  What semantics.py must equal with retention `none`."""
import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import Qwen2_5OmniThinkerForConditionalGeneration, WhisperFeatureExtractor


def build(model):
    """transformers' thinker with the weights of a semantics.Thinker."""
    cfg = model.cfg
    cfg._attn_implementation = "eager"
    ref = Qwen2_5OmniThinkerForConditionalGeneration(cfg).to(model.dtype).eval()
    part = lambda name: {k[len(name):]: v for k, v in model.state.items() if k.startswith(name)}
    ref.model.audio_tower.load_state_dict(part("audio_tower."))
    ref.model.visual.load_state_dict(part("visual."))
    ref.model.language_model.load_state_dict(part("model."))
    with torch.no_grad():
        ref.lm_head.weight.copy_(model.head)
    return ref


def features(audio):
    """Mel [1, 128, n] and mask of int16 samples, by transformers' extractor as the processor calls it."""
    ext = WhisperFeatureExtractor(feature_size=128, sampling_rate=16000, hop_length=160, chunk_length=300, n_fft=400)
    f = ext((audio / 32768).astype(np.float32), sampling_rate=16000, padding="max_length", return_attention_mask=True, return_tensors="pt")
    n = int(f["attention_mask"].sum())
    return f["input_features"][:, :, :n], torch.ones(1, n, dtype=torch.long)


def forward(model, ref, system, question, frames, audio):
    """(ids, positions [3, n], logits of the last row) of a clip."""
    kw, video, sound, n_video = {}, "", "", 0
    if frames is not None:
        if len(frames) % 2:
            frames = np.concatenate([frames, frames[-1:]])
        g, h, w = len(frames) // 2, frames.shape[1], frames.shape[2]
        mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]) * 255, torch.tensor([0.26862954, 0.26130258, 0.27577711]) * 255
        x = ((torch.from_numpy(frames).float() - mean) / std).permute(0, 3, 1, 2).reshape(g, 2, 3, h // 28, 2, 14, w // 28, 2, 14)
        x = x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 1176).to(model.dtype)
        kw.update(pixel_values_videos=x, video_grid_thw=torch.tensor([[g, h // 14, w // 14]]), video_second_per_grid=torch.tensor([1.0]))
        n_video = h // 28 * (w // 28)
    n_audio, n_grids = 0, len(frames) // 2 if frames is not None else 0
    if audio is not None:
        mel, mask = features(audio)
        kw.update(input_features=mel.to(model.dtype), feature_attention_mask=mask)
        n_audio = ((mel.shape[2] - 1) // 2 + 1 - 2) // 2 + 1
    body = ""
    for s in range(max(-(-n_grids // 2), -(-n_audio // 50))):
        body += "<|VIDEO|>" * (n_video * max(0, min(2, n_grids - 2 * s))) + "<|AUDIO|>" * max(0, min(50, n_audio - 50 * s))
    opening = "<|vision_bos|>" * (frames is not None) + "<|audio_bos|>" * (audio is not None)
    closing = "<|audio_eos|>" * (audio is not None) + "<|vision_eos|>" * (frames is not None)
    text = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{opening}{body}{closing}{question}<|im_end|>\n<|im_start|>assistant\n"
    tok = Tokenizer.from_file(model.path + "/tokenizer.json")
    ids = torch.tensor([tok.encode(text, add_special_tokens=False).ids])
    mask = torch.ones_like(ids)
    both = frames is not None and audio is not None
    out = ref(input_ids=ids, attention_mask=mask, use_audio_in_video=both, **kw)
    lens = kw["feature_attention_mask"].sum(1) if audio is not None else None
    pos, _ = ref.model.get_rope_index(ids, None, kw.get("video_grid_thw"), mask, both, lens, kw.get("video_second_per_grid"))
    return ids[0].tolist(), pos[:, 0].tolist(), out.logits[0, -1]
