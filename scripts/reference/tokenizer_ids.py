"""Reference ids of tokenizers, computed by Hugging Face's tokenizers and by tiktoken.

    pip install tokenizers tiktoken && python scripts/reference/tokenizer_ids.py

writes data/tokenizer/testdata: gpt2.json, the ids of hard texts with GPT-2's files
(which lie in ../shared/data/tokenizer and are not copied), and pipelines.json, small
tokenizers of each kind with the ids and the decoded text of the same texts. The small
ones are trained here on a text of this file.
"""
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
import tokenizers
import tiktoken

root = pathlib.Path(__file__).resolve().parents[2]
out = root / "data" / "tokenizer" / "testdata"
shared = root.parent / "shared" / "data" / "tokenizer"

HARD = [
    "", " ", "  ", "\n", "\n\n", " \n", "\n ", "a", " a", "a ", "  a", "a  ", "a\n\nb", "a \n b", "\t\ta", "a\t\tb", "a\u00a0b", "\u00a0 a", "\u3000\u3000x", " \u2003 y",
    "Hello, world!", "Hello world, it's me. They're; we've; I'll; you'd; I'm; don't", "IT'S THEY'RE I'LL'VE 'S 's''s", "'", "''", "'x", " 'tis", "it\u2019s", "o'clock 'll'llama 'v 'r're", "'\u017f ain'\u017f",
    "1", "12", "123", "1234", "12345678 9,876.54e-3", "x1y22z333", " 7 77  777", "\u0663\u0664\u0665 \u00bd \u2167 x\u00b2", "3rd v2.0",
    "!!!", " !!!", "a!!!b", "...\n\n...", "foo(bar[0]) != {x: 'y'};\r\n\treturn -1;\r\n", "http://example.com/?q=a%20b&c=d#e", "\\n \\t \\", "---\n***\n", "a_b __c__",
    "    indented\n        more\n\tand tab   \n   \n", "trailing   ", "trailing\n   ", "x   y    z", " \t \n \r\n ", "\r\r\n\n\r",
    "caf\u00e9 na\u00efve Stra\u00dfe \u00c5ngstr\u00f6m", "cafe\u0301 n\u0303 a\u0300\u0316\u0317b", "\u0130stanbul I\u0307 \u0131 \u03a3\u03a3 \u01c5", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\ud55c\uad6d\uc5b4 \ubb38\uc7a5", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627", "a\u4e2db\u6587c",
    "\U0001f600", "\U0001f600\U0001f601 \U0001f602", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\U0001f44d\U0001f3fd ok", "\u2764\ufe0f", "x\U00010348y", "\U0001d54f\U0001d7d9",
    "\x00", "a\x00b", "\x01\x02\x1f\x7f", "a\x1cb\x1dc", "\x85\x0b\x0c", "\u200b\u200e\ufeffx", "\ufffd\ufffe", "\u2028\u2029", "zero\u200cwidth\u200djoiner",
    "\ufb01ne \u2460 \uff21\uff22\uff23 \u212b \u00bc", "a" * 70, "ab" * 60, "aaaaaaaa bbbbbbbb", " " * 50 + "x", "\n" * 20, "The quick brown fox jumps over the lazy dog. " * 2,
    "<|endoftext|>", "a<|endoftext|>b", "<|endoftext", " <|endoftext|> <|endoftext|>", "[CLS] a [SEP] [MASK]x", "<s>a</s> <unk> <tok> sub<tok>word", "\u2581a \u2581 b",
]

TEXT = (
    "The quick brown fox jumps over the lazy dog. It's a dog's life, isn't it? They're here; we've seen 1234 of them in 2024.\n"
    "Hello world! Hello again, world. Caf\u00e9 na\u00efve \u4f60\u597d \u4e16\u754c \u041f\u0440\u0438\u0432\u0435\u0442 \U0001f600\n\n"
    "def f(x):\n    return x + 1\n\nThe lazy dogs are jumping; the foxes jumped over them. Quickly, quickly! the then there their\n"
    "return returning returned returns hello helloing lower lowest newest widest indented more trailing and tab\n"
) * 3


def cases(t, texts=HARD):
    rows = []
    for s in texts:
        ids = t.encode(s, add_special_tokens=False).ids
        rows.append({"text": s, "ids": ids, "decoded": t.decode(ids, skip_special_tokens=False)})
    return rows


def ascii_json(v):
    return json.dumps(v, ensure_ascii=True, separators=(",", ":"))


def write(name, head, rows):
    with open(out / name, "w") as f:
        f.write("{" + head + '"cases": [\n')
        f.write(",\n".join(ascii_json(r) for r in rows))
        f.write("\n]}\n")


def gpt2():
    vocab = json.load(open(shared / "gpt2-encoder.json"))
    merges = [tuple(l.split(" ")) for l in open(shared / "gpt2-vocab.bpe", encoding="utf-8").read().split("\n")[1:] if l]
    hf = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    hf.decoder = decoders.ByteLevel()
    hf.add_special_tokens(["<|endoftext|>"])
    # tiktoken from the same files: its ranks are the order of the merges, bytes first.
    level = {c: b for b, c in pre_bytes().items()}
    ranks = {}
    for token, i in vocab.items():
        if token != "<|endoftext|>":
            ranks[bytes(level[c] for c in token)] = i
    tt = tiktoken.Encoding("gpt2", pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
                           mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256})
    rows = cases(hf)
    for r in rows:
        other = tt.encode(r["text"], allowed_special="all")
        assert other == r["ids"], (r["text"], other, r["ids"])
    write("gpt2.json", f'"about": "tokenizers {tokenizers.__version__}, tiktoken {tiktoken.__version__}, which agree", ', rows)


def pre_bytes():
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + n)
            n += 1
    return {b: chr(c) for b, c in zip(bs, cs)}


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")


def pipelines():
    rows = []

    def add(name, t, special=False):
        row = {"name": name, "json": json.loads(t.to_str()), "cases": cases(t)}
        if special:
            row["special"] = t.encode("Hello world").ids
        rows.append(row)

    def byte_bpe(size=420, **model):
        t = Tokenizer(models.BPE(**model))
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.decoder = decoders.ByteLevel()
        t.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"], show_progress=False))
        return t

    t = byte_bpe()
    add("byte-level BPE, trained", t)

    t = byte_bpe()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.post_processor = processors.RobertaProcessing(("</s>", 5), ("<s>", 6))
    add("roberta", t, True)

    for name, pattern in (("llama 3", LLAMA3), ("qwen 2", QWEN2)):
        t = byte_bpe(ignore_merges=True) if name == "llama 3" else byte_bpe()
        t.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        if name == "qwen 2":
            t.normalizer = normalizers.NFC()
        else:
            t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])])
        add(name, t, name == "llama 3")

    # Llama 2: spaces are characters, unknown characters are bytes, one piece for all.
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    words = TEXT.replace("\n", " ")
    keep = "".join(c for c in words if c.isascii() or c == "\u00e9")
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator([keep], trainers.BpeTrainer(vocab_size=440, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], show_progress=False))
    j = json.loads(t.to_str())
    j["pre_tokenizer"] = None
    j["added_tokens"] = j["added_tokens"][:3]
    j["decoder"] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    j["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    t = Tokenizer.from_str(json.dumps(j))
    add("llama 2", t, True)

    # BERT, uncased and cased.
    for name, lower in (("bert uncased", True), ("bert cased", False)):
        t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        t.normalizer = normalizers.BertNormalizer(lowercase=lower)
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.decoder = decoders.WordPiece()
        t.train_from_iterator([TEXT], trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
        t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        add(name, t, True)

    # Characters that are in no token, each by itself and as one.
    for fuse in (False, True):
        t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse))
        t.pre_tokenizer = pre_tokenizers.Whitespace()
        t.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=150, special_tokens=["<unk>"], show_progress=False))
        t.add_tokens([tokenizers.AddedToken("<tok>", lstrip=True, rstrip=True)])
        add(f"BPE of characters, fuse_unk {fuse}", t)

    # The end of words marked, as in CLIP.
    t = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)])
    t.decoder = decoders.BPEDecoder()
    t.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False))
    t.add_tokens([tokenizers.AddedToken("tok", single_word=True), tokenizers.AddedToken("hello", normalized=True)])
    add("BPE with ends of words", t)

    for scheme in ("always", "first", "never"):
        t = Tokenizer(models.Unigram())
        t.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Replace(Regex(" {2,}"), " ")])
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        t.decoder = decoders.Metaspace(prepend_scheme=scheme)
        t.train_from_iterator([TEXT], trainers.UnigramTrainer(vocab_size=160, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False))
        add(f"unigram, {scheme}", t)

    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous", "isolated"):
        t = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "The": 2, "a": 3, "dog": 4, " ": 5, "a\n": 6, "\n": 7, "\n\n": 8, "\nb": 9, "\n\nb": 10, "b": 11, "a ": 12, " b": 13, "Hello": 14, "!!!": 15}, unk_token="<unk>"))
        t.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s|!"), behavior=behavior, invert=False)
        add(f"words, {behavior}", t)
    t.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+"), behavior="removed", invert=True)
    add("words, inverted", t)
    write("pipelines.json", f'"about": "tokenizers {tokenizers.__version__}", "text": {ascii_json(TEXT)}, ', rows)


out.mkdir(parents=True, exist_ok=True)
gpt2()
pipelines()
