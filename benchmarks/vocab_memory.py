"""Memory of moving a vocabulary: peak of each initialisation, 250,000 old tokens to 50,000 new ones at width 768.

    python benchmarks/vocab_memory.py
    python benchmarks/vocab_memory.py --base E5_FOLDER --texts mr.txt.gz      # also: seconds of pruning and replacing a whole vocabulary

Every method runs in a process of its own on random rows under two WordPiece vocabularies of made-up words; its peak is what the
process holds at most, less what it held before (the old rows and both tokenizers; for `distil`, which trains rows, a 12-layer BERT too,
and it takes five steps).  A Markdown table is printed.
"""

from __future__ import annotations

import argparse
import json
import resource as limits
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from langadapt.contracts.component import Context
from langadapt.contracts.vocabulary import Vocab
from langadapt.data.tables import lines
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.modeling.surgery import vocab_of
from langadapt.planning.pinning import pin_paths
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry

METHODS = ["random", "overlap", "mean", "mean-subword", "fasttext-projection", "focus", "matching", "alignment", "wechsel", "distil"]
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", type=int, default=250_000)
    parser.add_argument("--new", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--base", type=Path, help="a checkpoint whose vocabulary is pruned and replaced")
    parser.add_argument("--texts", type=Path, help="text for that")
    parser.add_argument("--measure", help="measure one method in this process and print JSON")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure, options)))
        return
    print("| method | peak beside the model, MB | seconds |\n| --- | --- | --- |")
    sizes = ["--old", str(options.old), "--new", str(options.new), "--width", str(options.width)]
    for method in options.methods:
        command = [sys.executable, __file__, *sizes, "--measure", method]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"| {method} | {found['megabytes']:,.0f} | {found['seconds']:.1f} |", flush=True)
    if options.base and options.texts:
        whole_base(options.base, options.texts)


def measured(method: str, options: Any) -> dict[str, float]:
    """Peak memory and seconds of one initialisation."""
    rng = np.random.default_rng(0)
    words = distinct_words(options.old + options.new // 2, rng)
    rows = rng.standard_normal((options.old, options.width), dtype=np.float32)
    old, new = vocabulary(words[: options.old]), vocab_of(tokenizer(words[-options.new :]))
    old = Vocab(old.tokens, old.tokenizer, old.special, rows, bert(rows) if method == "distil" else None)
    texts = [" ".join(words[i] for i in row) for row in rng.integers(len(words), size=(20_000, 12))]
    registry = Registry(load_plugins())
    with tempfile.TemporaryDirectory() as work:
        init: Any = registry.build("vocab-init", slot(method, words, texts, Path(work)))
        before = peak()
        start = time.perf_counter()
        init.mixture(old, new, texts, Context())
        return {"megabytes": peak() - before, "seconds": time.perf_counter() - start}


def distinct_words(count: int, rng: np.random.Generator) -> list[str]:
    """Words of two to five syllables."""
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
    found: dict[str, None] = {}
    while len(found) < count:
        for length, numbers in zip(rng.integers(2, 6, count), rng.integers(len(syllables), size=(count, 5)), strict=True):
            found["".join(syllables[i] for i in numbers[:length])] = None
    return list(found)[:count]


def tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """WordPiece with these words, letters inside words among them."""
    letters = [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"]
    entries = [*SPECIAL.values(), *letters, *words][: len(words)]
    backend = Tokenizer(models.WordPiece({word: i for i, word in enumerate(entries)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def vocabulary(words: list[str]) -> Vocab:
    return vocab_of(tokenizer(words))


def bert(rows: np.ndarray) -> Any:
    """An encoder of BERT's usual depth around the rows, which it shares."""
    import torch
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(vocab_size=1, hidden_size=rows.shape[1], num_attention_heads=rows.shape[1] // 64, pad_token_id=0))
    model.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(torch.from_numpy(rows), freeze=False)
    return model


def slot(method: str, words: list[str], texts: list[str], work: Path) -> dict[str, Any]:
    """A method with what it needs, as files."""
    if method == "alignment":
        path = work / "parallel.tsv"
        path.write_text("source\ttarget\n" + "".join(f"{text}\t{text}\n" for text in texts), encoding="utf-8")
        return {"use": method, "parallel": pinned(path, "parallel")}
    if method == "wechsel":
        rng = np.random.default_rng(1)
        dictionary, vectors = work / "dictionary.tsv", work / "vectors.vec"
        dictionary.write_text("source\ttarget\n" + "".join(f"{word}\t{word}\n" for word in words[-20_000:]), encoding="utf-8")
        with vectors.open("w", encoding="utf-8") as handle:
            for word in words:
                handle.write(f"{word} {' '.join(f'{v:.3f}' for v in rng.standard_normal(50))}\n")
        space = pinned(vectors, "vectors")
        return {"use": method, "dictionary": pinned(dictionary, "dictionary"), "old_vectors": space, "new_vectors": space}
    return {"use": method, "steps": 5} if method == "distil" else {"use": method}


def pinned(path: Path, form: Format) -> Resource:
    found = Resource(name=form, format=form, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "benchmark")})


def whole_base(folder: Path, source: Path) -> None:
    """Seconds of pruning a base's vocabulary to a text and of replacing it, rows and all."""
    from langadapt.artifacts import encoder as encoders
    from langadapt.modeling.surgery import apply_mixture, unigram_log_probabilities

    texts = [text for _, text in lines(source)]
    registry = Registry(load_plugins())
    print("\n| whole base | entries | tokenizer, s | rows, s | peak, MB |\n| --- | --- | --- | --- | --- |")
    for name, init in (({"use": "prune"}, "overlap"), ({"use": "unigram", "vocab_size": 16_000}, "mean-subword")):
        loaded = encoders.load(folder, mlm_head=True)
        before, start = peak(), time.perf_counter()
        trainer: Any = registry.build("tokenizer", name)
        made = trainer.train(texts, loaded.tokenizer, Context())
        middle = time.perf_counter()
        method: Any = registry.build("vocab-init", init)
        mixture = method.mixture(vocab_of(loaded.tokenizer, loaded.model), vocab_of(made), texts, Context())
        apply_mixture(loaded.model, mixture, loaded.tokenizer, made, unigram_log_probabilities(made, texts))
        end = time.perf_counter()
        entries = f"{len(loaded.tokenizer):,} → {len(made):,}"
        print(f"| {name['use']}, {init} | {entries} | {middle - start:.1f} | {end - middle:.1f} | {peak() - before:,.0f} |", flush=True)


def peak() -> float:
    """Most memory that this process has held, MB."""
    return limits.getrusage(limits.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
