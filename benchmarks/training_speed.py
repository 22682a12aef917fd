"""Pairs per second of one STS training step, side by side: sentence-transformers' trainer, our loop in fp32, our loop in bf16.

    python benchmarks/training_speed.py BASE STS.tsv.gz [--steps 20] [--rounds 3] [--batch 32]

Same weights, same rows, same number of steps, same batch size, AdamW, dropout as in the checkpoint.  Rounds are interleaved because
machines are shared and noisy; ratios are medians over rounds.  Our time includes tokenising the rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    losses,
    models,
)

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.component import Context
from langadapt.data import tables
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry
from langadapt.training.loop import Settings, train
from langadapt.training.tokenized import TokenizedRows


def read(path: Path, count: int) -> Dataset:
    """A random sample of an STS file (it is sorted by source, and captions are short), scores in [0, 1]."""
    rows = [
        {"sentence1": row["sentence1"], "sentence2": row["sentence2"], "score": float(row["score"]) / 5} for _, row in tables.rows(path)
    ]
    return Dataset.from_list(rows).shuffle(seed=7).select(range(min(count, len(rows))))


def theirs(base: str, rows: Dataset, batch: int, steps: int) -> float:
    """Seconds that sentence-transformers' trainer takes."""
    word = models.Transformer(base, max_seq_length=128)
    width = int(word.auto_model.config.hidden_size)
    model = SentenceTransformer(modules=[word, models.Pooling(width, "mean")], device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=2e-5,
            weight_decay=0.01,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
        )
        trainer = SentenceTransformerTrainer(model, arguments, rows, loss=losses.CosineSimilarityLoss(model))
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start


def ours(base: str, rows: Dataset, batch: int, steps: int, precision: str, registry: Registry) -> float:
    """Seconds that our loop takes, tokenising included."""
    loaded = encoders.load(Path(base), mlm_head=False)
    objective: Any = registry.build("objective", "cosine-sts")
    settings = Settings(steps, batch, 2e-5, 0.01, 0, 1.0, precision, 4096, 10**9, "last")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        data = TokenizedRows.of(rows, loaded.tokenizer, 128, objective.roles())
        encoder = loaded.module(registry.build("pooler", "mean"))
        schedule: Any = registry.build("schedule", "linear")
        optimizer: Any = registry.build("optimizer", "adamw")
        train(encoder, None, objective, data, loaded.tokenizer, schedule, optimizer, settings, None, Context(workdir=Path(folder)))
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base")
    parser.add_argument("sts", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    registry = Registry(load_plugins())
    rows = read(given.sts, given.steps * given.batch)
    seconds: dict[str, list[float]] = {"sentence-transformers fp32": [], "langadapt fp32": [], "langadapt bf16": []}
    for _ in range(given.rounds):
        seconds["sentence-transformers fp32"].append(theirs(given.base, rows, given.batch, given.steps))
        seconds["langadapt fp32"].append(ours(given.base, rows, given.batch, given.steps, "fp32", registry))
        seconds["langadapt bf16"].append(ours(given.base, rows, given.batch, given.steps, "bf16", registry))
    baseline = seconds["sentence-transformers fp32"]
    result = {"threads": torch.get_num_threads(), "pairs": len(rows), "batch": given.batch, "rounds": given.rounds, "runs": {}}
    for name, found in seconds.items():
        ratios = [theirs_ / ours_ for theirs_, ours_ in zip(baseline, found, strict=True)]
        result["runs"][name] = {  # type: ignore[index]
            "pairs per second": [round(len(rows) / s, 1) for s in found],
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(r, 2) for r in ratios],
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
