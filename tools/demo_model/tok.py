"""The demo's tokenizer: Qwen2's pre-tokenizer, NFC and special tokens over a small byte-level BPE learnt from the questions.

Every byte is a token, so any text can be asked; words of the demo's questions and answers are single tokens.
"""
import json
import os

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import AddedToken

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|box_end|>",
           "<|quad_start|>", "<|quad_end|>", "<|vision_bos|>", "<|vision_eos|>", "<|vision_pad|>", "<|IMAGE|>", "<|VIDEO|>"]


def build(lines, vocab=1000):
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=vocab, min_frequency=1, show_progress=False,
                                                     initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    return t


def ids(t):
    return {s: t.token_to_id(s) for s in SPECIAL}


def load(folder):
    """The tokenizer of `folder`/tokenizer.json, built there first if it is missing."""
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.exists(path):
        from questions import corpus
        os.makedirs(folder, exist_ok=True)
        build(corpus()).save(path)
    return Tokenizer.from_file(path)


class Prompt:
    """Ids of the prompt's fixed parts (docs/semantics.md, section 3)."""

    def __init__(self, t, system="You are a helpful assistant."):
        s, enc = ids(t), lambda x: t.encode(x, add_special_tokens=False).ids
        self.t, self.end = t, s["<|im_end|>"]
        nl = enc("\n")
        self.prefix = [s["<|im_start|>"], *enc("system\n" + system), self.end, *nl, s["<|im_start|>"], *enc("user\n")]
        self.openers = [s["<|vision_bos|>"], s["<|audio_bos|>"]]
        self.closers = [s["<|audio_eos|>"], s["<|vision_eos|>"]]
        self.tail = [self.end, *nl, s["<|im_start|>"], *enc("assistant\n")]
        self.enc = enc

    def query(self, question):
        return self.closers + self.enc(question) + self.tail

    def answer(self, text):
        return self.enc(text) + [self.end]


if __name__ == "__main__":
    t = load("/tmp/demo-tok")
    print(json.dumps([t.get_vocab_size(), t.encode("What colour is the shape when tiger is said?").tokens,
                      t.encode("circle and tiger").tokens, t.encode("7 and 3").tokens, Prompt(t).prefix]))
