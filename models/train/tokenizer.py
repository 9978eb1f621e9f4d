"""A tokenizer in CLIP's file format, trained on the captions."""
import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from drawings import Drawings

START, END = "<|startoftext|>", "<|endoftext|>"
# CLIP's own pattern: contractions, words, single digits, runs of other signs.
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_characters() -> list[str]:
    """The 256 printable characters that stand for bytes, in the order of CLIP's vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(others))]


def train_tokenizer(folder: Path, drawings: Drawings, window: int, size: int = 2048) -> CLIPTokenizer:
    """The tokenizer in `folder`, trained and written there first if it is not there yet.

    Args:
        folder: where vocab.json and merges.txt go.
        drawings: what captions and words are learned from.
        window: longest text in tokens.
        size: byte-pair vocabulary to train for; CLIP's word-end characters and the two marks come on top.
    """
    if not (folder / "vocab.json").exists():
        rng = random.Random(0)
        corpus = [record.caption for record in drawings.records] + [record.random_caption(rng) for record in drawings.records for _ in range(3)]
        corpus += [" ".join(words) for words in drawings.words.values()]
        pairs = Tokenizer(models.BPE(unk_token=None, end_of_word_suffix="</w>", continuing_subword_prefix=""))
        pairs.normalizer = normalizers.Lowercase()
        pairs.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(PATTERN), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        # The trainer numbers characters at words' ends as it meets them, in random order, and numbers decide between pairs that are equally
        # frequent. Named beforehand they have fixed numbers, so that the same captions give the same tokenizer.
        pieces = (piece for text in corpus for piece, _ in pairs.pre_tokenizer.pre_tokenize_str(pairs.normalizer.normalize_str(text)))
        ends = sorted({piece[-1] + "</w>" for piece in pieces})
        pairs.train_from_iterator(corpus, trainers.BpeTrainer(
            vocab_size=size, end_of_word_suffix="</w>", initial_alphabet=alphabet, special_tokens=ends, show_progress=False,
        ))
        merges = [tuple(merge) for merge in json.loads(pairs.to_str())["model"]["merges"]]
        characters = byte_characters()
        vocabulary = dict.fromkeys([*characters, *(character + "</w>" for character in characters), *("".join(merge) for merge in merges), START, END])
        write_tokenizer(folder, list(vocabulary), merges, window)
    return CLIPTokenizer.from_pretrained(folder)


def write_tokenizer(folder: Path, vocabulary: list[str], merges: list[tuple[str, ...]], window: int) -> None:
    """Writes CLIP's four tokenizer files; vocab.json comes last, since its presence says that all are there."""
    folder.mkdir(parents=True, exist_ok=True)
    marks = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": window, "do_lower_case": True, "add_prefix_space": False, **marks}
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in merges), encoding="utf8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), encoding="utf8")
    (folder / "special_tokens_map.json").write_text(json.dumps(marks, indent=1), encoding="utf8")
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(vocabulary)}, ensure_ascii=False), encoding="utf8")


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]):
    """Captions as ids [N, window], padded and cut to the window."""
    return tokenizer(captions, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt").input_ids
