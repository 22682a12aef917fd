"""Sentences a second of the translators, each beside its engine's own batch rate; what the translation memory saves.

    python benchmarks/translation_speed.py TEXTS [--count 6000] [--rounds 3] [--checkpoint MARIAN_OR_NLLB]

TEXTS has one English sentence a line.  Apertium en → gl is run by hand in one call on all lines, and through langadapt into an empty
memory, then again from the full one.  Without --checkpoint a Marian model of OPUS-MT's shape with random weights (and a
SentencePiece model trained on the texts) is timed through transformers and through CTranslate2: equal work, no meaning.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from langadapt.contracts.component import Context
from langadapt.manifests import yaml
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import Pinner
from langadapt.planning.raw import RawStage
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry

STAGE = RawStage("benchmark", {}, yaml.parse("recipe: benchmark", "benchmark"), (), "benchmark")


def by_hand(texts: list[str]) -> float:
    """Seconds of one apertium process over all lines."""
    start = time.perf_counter()
    subprocess.run(["apertium", "-u", "-f", "txt", "en-gl"], input="\n".join(texts), capture_output=True, text=True, check=True)
    return time.perf_counter() - start


def through(reader: Any, translator: Any, cache: Path) -> float:
    """Seconds of reading, translating and storing all pairs."""
    start = time.perf_counter()
    for _ in reader.pairs(translator, Context(cache=cache)):
        pass
    return time.perf_counter() - start


def reader_of(texts: list[str], folder: Path, registry: Registry) -> Any:
    """The texts as NLI pairs, each text once."""
    path = folder / "nli.tsv"
    lines = [f"{a}\t{b}\tneutral" for a, b in zip(texts[::2], texts[1::2], strict=True)]
    path.write_text("\n".join(["premise\thypothesis\tlabel", *lines]) + "\n", encoding="utf-8")
    data = Resource(name="nli-en", format="nli", sources=Sources(path=PathSource(paths=[str(path)])))
    built: Any = registry.build("pairs", {"use": "translated-nli", "data": data, "target_language": "gl"})
    return built.model_copy(update={"data": Pinner(None, registry).pin(data, STAGE)})


def random_marian(texts: list[str], folder: Path) -> Path:
    """OPUS-MT's shape: 6 + 6 layers, width 512; the vocabulary is the texts' own."""
    import sentencepiece
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    with (folder / "source.spm").open("wb") as handle:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=handle, vocab_size=8000, hard_vocab_limit=False, minloglevel=2
        )
    shutil.copy(folder / "source.spm", folder / "target.spm")
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    vocabulary = ["</s>", "<unk>", *(piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>")), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    files = {"vocab": str(folder / "vocab.json"), "source_spm": str(folder / "source.spm"), "target_spm": str(folder / "target.spm")}
    pad = len(vocabulary) - 1
    torch.manual_seed(0)
    config = MarianConfig(
        vocab_size=len(vocabulary), d_model=512, encoder_layers=6, decoder_layers=6, encoder_ffn_dim=2048, decoder_ffn_dim=2048,
        encoder_attention_heads=8, decoder_attention_heads=8, pad_token_id=pad, decoder_start_token_id=pad, eos_token_id=0,
    )  # fmt: skip
    MarianMTModel(config).save_pretrained(folder)
    MarianTokenizer(**files).save_pretrained(folder)
    return folder


def neural(name: str, folder: Path, texts: list[str], cache: Path, registry: Registry) -> float:
    """Seconds of one engine; 24 tokens are decoded for every sentence, whatever it says."""
    built: Any = registry.build("translator", {"use": name, "model": str(folder), "max_length": 24})
    engine = built.model_copy(update={"model": Pinner(None, registry).pin(built.model, STAGE)})
    list(engine.translate(texts[:8], "en", "gl", Context(cache=cache)))  # conversion and loading once
    start = time.perf_counter()
    list(engine.translate(texts, "en", "gl", Context(cache=cache)))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--neural-count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkpoint", type=Path)
    given = parser.parse_args()
    registry = Registry(load_plugins())
    lines = (" ".join(line.split()) for line in given.texts.read_text(encoding="utf-8").splitlines())
    texts = list(dict.fromkeys(line for line in lines if line))[: given.count // 2 * 2]
    apertium = registry.build("translator", "apertium")
    rates: dict[str, list[float]] = {}
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            reader = reader_of(texts, folder, registry)
            rates.setdefault("apertium, one call by hand", []).append(len(texts) / by_hand(texts))
            rates.setdefault("apertium through langadapt", []).append(len(texts) / through(reader, apertium, folder))
            rates.setdefault("from the translation memory", []).append(len(texts) / through(reader, apertium, folder))
    with tempfile.TemporaryDirectory() as name:
        folder = given.checkpoint or random_marian(texts, Path(name))
        some = texts[: given.neural_count]
        for _ in range(given.rounds):
            for engine in ("transformers-seq2seq", "ctranslate2"):
                rates.setdefault(engine, []).append(len(some) / neural(engine, folder, some, Path(name) / "cache", registry))
    hand = rates["apertium, one call by hand"]
    print(f"{len(texts):,} sentences, {given.rounds} interleaved rounds; neural engines {given.neural_count} sentences")
    for name, found in rates.items():
        base = rates["transformers-seq2seq"] if name in ("transformers-seq2seq", "ctranslate2") else hand
        ratio = statistics.median(one / other for one, other in zip(found, base, strict=True))
        print(f"| {name} | {', '.join(f'{one:,.0f}' for one in found)} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
