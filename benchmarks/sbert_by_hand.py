"""The hand-made run that a build is compared with: sentence-transformers' own trainer on equal data and steps.

    python benchmarks/sbert_by_hand.py BASE --nli FILE… --sts FILE --test FILE… --out RESULT.json

BASE is a transformers folder (the build's pruned base, so both start from the same weights).  Multiple negatives for one
epoch, then cosine similarity, with sentence-transformers' losses, trainer and defaults otherwise: random batches, fp32.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    losses,
    models,
)

from langadapt.contracts.component import Context
from langadapt.inference.encoder import Encoder
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry


def resource(name: str, kind: str, files: list[str]) -> Resource:
    """A pinned local resource."""
    paths = tuple(Path(file).absolute() for file in files)
    found = Resource(name=name, format=kind, sources=Sources(path=PathSource(paths=files)))  # type: ignore[arg-type]
    return found.model_copy(update={"pinned": pin_paths(found, paths, "benchmark")})


def arguments(folder: str, epochs: float, batch: int, steps: int) -> SentenceTransformerTrainingArguments:
    """Trainer arguments that equal the recipe's; everything else stays at its default."""
    return SentenceTransformerTrainingArguments(
        output_dir=folder,
        num_train_epochs=epochs,
        max_steps=steps,
        per_device_train_batch_size=batch,
        learning_rate=2e-5,
        warmup_ratio=0.1,
        weight_decay=0.01,
        save_strategy="no",
        report_to="none",
        logging_steps=50,
        use_cpu=True,
        disable_tqdm=True,
        seed=42,
    )


def score(folder: Path, registry: Registry, tests: list[str]) -> dict[str, float]:
    """The same evaluator as the build's."""
    judge = registry.build("evaluator", {"use": "sts", "data": resource("sts-test", "sts", tests)})
    found = judge.evaluate(Encoder.load(folder, device="cpu"), Context())  # type: ignore[attr-defined]
    return {f"{s.task} {s.metric}": [s.value, s.low, s.high] for s in found}  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base")
    parser.add_argument("--nli", nargs="+", required=True)
    parser.add_argument("--sts", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--nli-steps", type=int, default=-1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    registry = Registry(load_plugins())
    word = models.Transformer(given.base, max_seq_length=128)
    model = SentenceTransformer(modules=[word, models.Pooling(word.get_word_embedding_dimension(), "mean")], device="cpu")
    work = given.out.with_suffix(".work")
    result: dict[str, object] = {"base": score(Path(given.base), registry, given.test)}

    pairs = registry.build("pairs", {"use": "nli", "data": resource("nli", "nli", given.nli)})
    objective = registry.build("objective", "multiple-negatives")
    rows = objective.prepare(Dataset.from_list(list(pairs.pairs(None, Context()))))  # type: ignore[attr-defined]
    columns = ["anchor", "positive"] + (["negative"] if all(rows["negative"]) else [])
    start = time.perf_counter()
    trainer = SentenceTransformerTrainer(
        model, arguments(str(work), 1, 64, given.nli_steps), rows.select_columns(columns), loss=losses.MultipleNegativesRankingLoss(model)
    )
    trainer.train()
    result["nli"] = {"rows": len(rows), "steps": trainer.state.global_step, "seconds": time.perf_counter() - start}
    model.save(str(work / "nli"))
    result["after nli"] = score(work / "nli", registry, given.test)

    pairs = registry.build("pairs", {"use": "sts", "data": resource("sts", "sts", given.sts)})
    rows = Dataset.from_list(list(pairs.pairs(None, Context())))  # type: ignore[attr-defined]
    start = time.perf_counter()
    trainer = SentenceTransformerTrainer(
        model, arguments(str(work), given.epochs, given.batch, -1), rows, loss=losses.CosineSimilarityLoss(model)
    )
    trainer.train()
    result["sts"] = {"rows": len(rows), "steps": trainer.state.global_step, "seconds": time.perf_counter() - start}
    model.save(str(work / "sts"))
    result["after sts"] = score(work / "sts", registry, given.test)
    given.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
