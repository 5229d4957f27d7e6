"""Times the encoding of ../shared/data/text/tinyshakespeare.txt with GPT-2's files by
Hugging Face's tokenizers and by tiktoken, on one thread; beside it stands

    go test -run '^$' -bench GPT2 -cpu 1 ./data/tokenizer
"""
import json
import os
import pathlib
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tiktoken
from tokenizers import Tokenizer, models, pre_tokenizers

data = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "data"
vocab = json.load(open(data / "tokenizer" / "gpt2-encoder.json"))
merges = [tuple(l.split(" ")) for l in open(data / "tokenizer" / "gpt2-vocab.bpe", encoding="utf-8").read().split("\n")[1:] if l]
text = open(data / "text" / "tinyshakespeare.txt").read()
hf = Tokenizer(models.BPE(vocab=vocab, merges=merges))
hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bs = [*range(33, 127), *range(161, 173), *range(174, 256)]
level = {chr(b): b for b in bs} | {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in bs)}
tt = tiktoken.Encoding("gpt2", pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
                       mergeable_ranks={bytes(level[c] for c in t): i for t, i in vocab.items() if t != "<|endoftext|>"}, special_tokens={})
for name, encode in (("tokenizers", lambda: hf.encode(text).ids), ("tiktoken", lambda: tt.encode_ordinary(text))):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        encode()
        times.append(time.perf_counter() - start)
    print(f"{name}: {min(times) * 1e3:.0f} ms, {len(encode())} tokens")
