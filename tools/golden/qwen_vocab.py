"""qwen_vocab.py OUT [--tiktoken FILE]: writes OUT/tokenizer.json, the real Qwen2 vocabulary, with text and ids to test a tokenizer on.

PyPI's dashscope wheel carries qwen.tiktoken: 151643 lines of base64 bytes and rank.  Ranks are the order in which byte-level BPE made the tokens, so the merge that
made a token is found by encoding its bytes with the tokens of lower rank: two pieces are left.  A token where more are left has no merge (it can never come out).
Without --tiktoken the wheel is fetched with pip.  The text lines are tests/golden's; ids come from the `tokenizers` library.  The vocabulary has its own licence and is
not committed.
"""
import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import zipfile

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, Regex

import corpus
from make_model import PATTERN

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_bos|>", "<|vision_eos|>",
           "<|vision_pad|>", "<|IMAGE|>", "<|VIDEO|>"]
PLAIN = ["<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]


def byte_letters():
    """GPT-2's map of bytes to printable letters."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, n = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in table:
            table[b], n = chr(256 + n), n + 1
    return table


def fetch():
    """Bytes of qwen.tiktoken out of the wheel."""
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "-q", "-d", d, "dashscope"], check=True)
        wheel = os.path.join(d, next(f for f in os.listdir(d) if f.endswith(".whl")))
        with zipfile.ZipFile(wheel) as z:
            return z.read(next(n for n in z.namelist() if n.endswith("qwen.tiktoken")))


def pieces(token, ranks):
    """What is left of a token's bytes when only tokens of lower rank are merged, lowest rank first."""
    parts, top = [token[i:i + 1] for i in range(len(token))], ranks[token]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], top))
        if ranks.get(parts[best] + parts[best + 1], top) >= top:
            break
        parts[best:best + 2] = [parts[best] + parts[best + 1]]
    return parts


def build(text):
    """(tokenizers.Tokenizer, number of merges)."""
    ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in text.decode().splitlines() if line)}
    letters = byte_letters()
    spell = lambda token: "".join(letters[b] for b in token)
    merges = []
    for token in sorted(ranks, key=ranks.get):
        if len(token) > 1:
            left = pieces(token, ranks)
            if len(left) == 2:
                merges.append((spell(left[0]), spell(left[1])))
    tok = Tokenizer(models.BPE(vocab={spell(t): r for t, r in ranks.items()}, merges=merges))
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    tok.add_tokens([AddedToken(t, normalized=False, special=False) for t in PLAIN])
    return tok, len(merges), ranks


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out"), ap.add_argument("--tiktoken", help="qwen.tiktoken, when it is there already")
    a = ap.parse_args()
    tok, n, ranks = build(open(a.tiktoken, "rb").read() if a.tiktoken else fetch())
    os.makedirs(a.out, exist_ok=True)
    tok.save(os.path.join(a.out, "tokenizer.json"), pretty=False)
    tok.encode_special_tokens = True
    with open(os.path.join(a.out, "text.jsonl"), "w", encoding="utf-8") as t, open(os.path.join(a.out, "ids.jsonl"), "w", encoding="utf-8") as i:
        for line in corpus.test_lines(77, 64000):
            t.write(json.dumps(line, ensure_ascii=False) + "\n")
            i.write(json.dumps(tok.encode(line, add_special_tokens=False).ids, separators=(",", ":")) + "\n")
    print(f"{len(ranks)} tokens, {n} merges, {tok.get_vocab_size()} with added tokens; im_end is {tok.token_to_id('<|im_end|>')}")


if __name__ == "__main__":
    main()
