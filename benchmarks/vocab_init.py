"""What an initialisation of a new vocabulary buys: held-out MLM loss over steps, equal tokens a step, several seeds.

    python benchmarks/vocab_init.py E5 --general indonli.txt --target id-tweets.txt --change extend --out id
    python benchmarks/vocab_init.py E5 --general hi.txt --target mr.txt --change unigram --parallel hi-mr.tsv --out mr

The base is made once: some layers of a multilingual encoder, its vocabulary pruned to both texts, and MLM on the *general* text, so
that its head and body know the task.  Then the vocabulary changes to one made for the *target* text, by each method, and MLM goes on there.
Beside them: keeping the vocabulary, pruning it to the target, and freezing the new rows.  OUT.json, OUT.svg and OUT.md are written;
with --tables the latter two are written again from OUT.json, for other --losses say.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from langadapt.artifacts import encoder as encoders
from langadapt.contracts import Models, Role
from langadapt.contracts.component import Context
from langadapt.data.tables import lines
from langadapt.manifests.resource import Format, PathSource, Resource, Sources
from langadapt.modeling.layers import keep_layers
from langadapt.modeling.loading import load_tokenizer, save_tokenizer
from langadapt.modeling.surgery import apply_mixture, unigram_log_probabilities, vocab_of
from langadapt.modeling.token_ids import token_ids
from langadapt.planning.pinning import pin_paths
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry
from langadapt.reports.picture import loss_curves
from langadapt.training.loop import Settings, Validation, train
from langadapt.training.tokenized import TokenizedRows

METHODS = ["random", "random-new", "overlap", "mean", "mean-subword", "fasttext-projection", "focus", "matching", "distil"]
METHODS += ["alignment", "wechsel", "wechsel-words", "focus-authors", "focus-narrow", "focus-frequent", "matching-dictionary"]
BASELINES = ["keep", "prune", "frozen"]


@dataclass(frozen=True)
class Texts:
    """Texts to train on and texts held out."""

    train: list[str]
    held: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--general", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--change", choices=["extend", "unigram", "wordpiece"], required=True)
    parser.add_argument("--size", type=int, help="entries added (extend, 2000) or of the new vocabulary (8000)")
    parser.add_argument(
        "--parallel", type=Path, help="sentences of the general and of the target language: alignment and wechsel need them"
    )
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--warm", type=int, default=300, help="MLM steps on the general text")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=1024, help="tokens a step")
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="*", default=[*METHODS, *BASELINES])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--losses", type=float, nargs="*", help="losses to reach (the ends of random, random-new and mean-subword)")
    parser.add_argument("--tables", action="store_true", help="only write tables and picture of an OUT.json again")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.tables:
        write(json.loads(options.out.with_suffix(".json").read_text(encoding="utf-8")), options)
        return
    torch.set_num_threads(options.threads)
    registry = Registry(load_plugins())
    general, target = read(options.general), read(options.target)
    with tempfile.TemporaryDirectory() as work:
        base = make_base(options, registry, general, target, Path(work) / "base")
        new = Path(work) / "tokenizer"
        new.mkdir()
        slot = {
            "use": options.change,
            "budget" if options.change == "extend" else "vocab_size": options.size or (2000 if options.change == "extend" else 8000),
        }
        tokenizer: Any = registry.build("tokenizer", slot)
        save_tokenizer(tokenizer.train(target.train, load_tokenizer(base), Context()), new)
        slots = init_slots(options, general, Path(work))
        runs: dict[str, list[dict[str, Any]]] = {}
        for method in options.methods:
            if method not in slots:
                print(f"{method}: needs --parallel, left out", flush=True)
                continue
            runs[method] = [one(method, slots[method], seed, base, new, registry, target, options) for seed in range(options.seeds)]
            print(method, [round(run["losses"][-1][1], 3) for run in runs[method]], f"{runs[method][0]['seconds']:.0f} s", flush=True)
            options.out.with_suffix(".json").write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    write(runs, options)


def read(path: Path) -> Texts:
    """Every fortieth text is held out, at most 300."""
    texts = [text for _, text in lines(path) if text.strip()]
    held = texts[::40][:300]
    return Texts([text for i, text in enumerate(texts) if i % 40 or i // 40 >= 300], held)


def make_base(options: Any, registry: Registry, general: Texts, target: Texts, folder: Path) -> Path:
    """The common start: fewer layers, pruned, MLM on the general text."""
    torch.manual_seed(0)
    loaded = encoders.load(options.base, mlm_head=True)
    keep_layers(loaded.model, options.layers)
    prune: Any = registry.build("tokenizer", {"use": "prune"})
    swap(
        loaded,
        prune.train(general.train + target.train, loaded.tokenizer, Context()),
        {"use": "overlap"},
        general.train,
        registry,
        Context(),
    )
    history, _ = fit(loaded, general, "full", options.warm, 0, registry, options)
    print(
        f"base: {len(loaded.tokenizer):,} tokens, held-out loss on the general text {history[0][1]:.3f} → {history[-1][1]:.3f}", flush=True
    )
    folder.mkdir()
    encoders.save(loaded, folder)
    return folder


def swap(loaded: Any, tokenizer: Any, slot: dict[str, Any], texts: list[str], registry: Registry, ctx: Context) -> None:
    """Move an encoder onto a tokenizer in place."""
    method: Any = registry.build("vocab-init", slot)
    mixture = method.mixture(vocab_of(loaded.tokenizer, loaded.model), vocab_of(tokenizer), texts, ctx)
    apply_mixture(loaded.model, mixture, loaded.tokenizer, tokenizer, unigram_log_probabilities(tokenizer, texts))
    loaded.tokenizer = tokenizer


def init_slots(options: Any, general: Texts, work: Path) -> dict[str, dict[str, Any]]:
    """The vocab-init of every method and baseline that can run."""
    plain = ["random", "overlap", "mean", "mean-subword", "fasttext-projection", "focus", "matching"]
    found: dict[str, dict[str, Any]] = {name: {"use": name} for name in plain}
    found["random-new"] = {"use": "random", "copy_shared": True}
    cbow = {"use": "focus", "skip_gram": False, "negative": 10}
    found["focus-authors"] = {**cbow, "min_count": 10, "spread": 1.0}
    found["focus-narrow"] = {**cbow, "min_count": 10}
    found["focus-frequent"] = {**cbow, "min_count": 5}
    found["distil"] = {"use": "distil", "steps": 60, "batch_size": 16}
    found |= {"keep": {}, "prune": {"use": "overlap"}, "frozen": {"use": "mean-subword"}}
    if options.parallel is not None:
        found["alignment"] = {"use": "alignment", "parallel": resource(options.parallel, "parallel"), "max_sentences": 20_000}
        induced = work / "dictionary.tsv"
        induce(options.parallel, induced)
        vectors = word_vectors(general.train, work / "vectors.bin")
        spaces = {"dictionary": resource(induced, "dictionary"), "old_vectors": resource(vectors, "vectors")}
        found["wechsel"] = {"use": "wechsel", **spaces}
        found["wechsel-words"] = {"use": "wechsel", "tokens": "words", **spaces}
        found["matching-dictionary"] = {"use": "matching", "dictionary": spaces["dictionary"]}
    return found


def resource(path: Path, form: Format) -> Resource:
    found = Resource(name=form, format=form, sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "benchmark")})


def word_vectors(texts: list[str], target: Path) -> Path:
    """fastText vectors of the general text, as WECHSEL's authors train theirs, in a file of fastText's format."""
    from gensim.models import FastText
    from gensim.models.fasttext import save_facebook_model
    from langadapt_vocab.static import Sentences

    how = {"vector_size": 100, "negative": 10, "min_n": 5, "max_n": 5, "alpha": 0.05, "sample": 1e-4, "ns_exponent": 0.5}
    model = FastText(Sentences(texts), min_count=5, epochs=20, bucket=100_000, workers=1, seed=1, **how)
    save_facebook_model(model, str(target))
    return target


def induce(parallel: Path, target: Path) -> None:
    """A dictionary of the words that parallel sentences align: one was not to be had for this pair."""
    from langadapt_vocab.alignment import align

    with parallel.open(encoding="utf-8") as handle:
        rows = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))[1:20_001]
    words: list[dict[str, int]] = [{}, {}]
    sides = [[[words[k].setdefault(w, len(words[k])) for w in row[k].lower().split()] for row in rows] for k in (0, 1)]
    fits = [i for i in range(len(rows)) if 0 < len(sides[0][i]) <= 40 and 0 < len(sides[1][i]) <= 40]
    counts = align([sides[0][i] for i in fits], [sides[1][i] for i in fits], (len(words[0]), len(words[1])), 5)
    names = [list(one) for one in words]
    with target.open("w", encoding="utf-8") as handle:
        handle.write("source\ttarget\n")
        for i in range(counts.shape[0]):
            low, high = counts.indptr[i], counts.indptr[i + 1]
            values = counts.data[low:high]
            if len(values) and values.max() >= 3 and values.max() > 0.5 * values.sum():
                handle.write(f"{names[0][counts.indices[low + int(values.argmax())]]}\t{names[1][i]}\n")


def one(
    method: str, slot: dict[str, Any], seed: int, base: Path, new: Path, registry: Registry, target: Texts, options: Any
) -> dict[str, Any]:
    """Change the vocabulary by one method and train on the target text."""
    began = time.perf_counter()
    loaded = encoders.load(base, mlm_head=True)
    ctx = Context(seed=seed)
    if method == "prune":
        pruner: Any = registry.build("tokenizer", {"use": "prune", "min_saving": 0.0})
        swap(loaded, pruner.train(target.train, loaded.tokenizer, ctx), slot, target.train, registry, ctx)
    elif method != "keep":
        swap(loaded, load_tokenizer(new), slot, target.train, registry, ctx)
    adaptation = {"use": "freeze", "train": "body"} if method == "frozen" else "full"
    losses, seen = fit(loaded, target, adaptation, options.steps, seed, registry, options)
    characters = sum(map(len, target.held))
    tokens = sum(map(len, token_ids(loaded.tokenizer, target.held, special_tokens=False)))
    return {
        "losses": losses,
        "tokens seen": seen,
        "tokens a character": tokens / characters,
        "vocabulary": len(loaded.tokenizer),
        "seconds": time.perf_counter() - began,
    }


def fit(
    loaded: Any, texts: Texts, adaptation: Any, steps: int, seed: int, registry: Registry, options: Any
) -> tuple[list[tuple[int, float]], int]:
    """MLM for some steps; (step, held-out loss), step 0 first, and about how many tokens it has seen."""
    objective: Any = registry.build("objective", "mlm")
    rows, held = (
        TokenizedRows.of(Dataset.from_dict({"text": part}), loaded.tokenizer, 64, {"text": Role.TEXT}, "split")
        for part in (texts.train, texts.held)
    )
    held = held.take(range(0, len(held), max(1, len(held) // 128)))
    length = float(rows.lengths().mean())
    batch = max(1, round(options.tokens / length))
    registry.build("adaptation", adaptation).attach(loaded.model)  # type: ignore[attr-defined]
    encoder = loaded.module(registry.build("pooler", "mean")).to(options.device)
    losses: list[tuple[int, float]] = []

    def validate(module: Any) -> Validation:
        losses.append((len(losses) * options.every, held_out_loss(module, objective, held, loaded.tokenizer)))
        return Validation("held-out loss", losses[-1][1], False)

    validate(encoder)
    precision = "bf16" if torch.backends.cpu.get_cpu_capability() == "AVX512" or options.device != "cpu" else "fp32"
    settings = Settings(steps, batch, options.rate, 0.01, max(1, steps // 10), 1.0, precision, options.tokens, options.every, "last")
    work = Path(tempfile.mkdtemp())
    schedule, optimizer = registry.build("schedule", "linear"), registry.build("optimizer", "adamw")
    ctx = Context(seed=seed, workdir=work, device=options.device)
    train(encoder, None, objective, rows, loaded.tokenizer, schedule, optimizer, settings, validate, ctx)
    shutil.rmtree(work)
    loaded.model.to("cpu")
    return losses, round(steps * batch * length)


@torch.no_grad()
def held_out_loss(encoder: Any, objective: Any, held: list[dict[str, Any]], tokenizer: Any) -> float:
    """Mean loss of a masked token; the same tokens are masked every time."""
    training = encoder.training
    encoder.eval()
    rng = np.random.default_rng(7)
    total = count = 0.0
    for start in range(0, len(held), 64):
        batch = objective.collate(held[start : start + 64], tokenizer, rng)
        total += float(objective.loss(Models(encoder), batch, 0).total)
        count += batch.count
    encoder.train(training)
    return total / count


def steps_to(curve: list[tuple[int, float]], loss: float) -> float | None:
    """Steps at which a curve first reaches a loss, interpolated; None if it does not."""
    for (a, high), (b, low) in itertools.pairwise(curve):
        if high <= loss:
            return float(a)
        if low <= loss:
            return a + (b - a) * (high - loss) / (high - low)
    return None


def mean_curve(runs: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(points[0][0], statistics.fmean(point[1] for point in points)) for points in zip(*(run["losses"] for run in runs), strict=True)]


def interval(values: list[float], digits: int = 3) -> str:
    """Mean and 95 % t interval over seeds."""
    from scipy.stats import t

    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.{digits}f} [{mean - half:.{digits}f}, {mean + half:.{digits}f}]"


def steps_interval(runs: list[dict[str, Any]], loss: float) -> str:
    """Mean steps of the seeds' own curves to a loss, with a 95 % t interval; how many get there, where not all do."""
    each = [steps_to([(a, b) for a, b in run["losses"]], loss) for run in runs]
    known = [value for value in each if value is not None]
    if len(known) < len(each):
        return f"{len(known)} of {len(each)} seeds" if known else "–"
    return interval(known, digits=0)


def main_table(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A line for each method: what it begins and ends with."""
    rows = [
        "| method | vocabulary | tokens seen | loss at the start | loss at the end | nats a character |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in runs.items():
        ends = [run["losses"][-1][1] for run in found]
        starts = [run["losses"][0][1] for run in found]
        characters = interval([end * run["tokens a character"] for end, run in zip(ends, found, strict=True)])
        sizes = f"{found[0]['vocabulary']:,} | {statistics.fmean(run['tokens seen'] for run in found):,.0f}"
        rows.append(f"| {name} | {sizes} | {interval(starts)} | {interval(ends)} | {characters} |")
    return rows


def losses_table(runs: dict[str, list[dict[str, Any]]], losses: dict[str, float]) -> list[str]:
    """Steps of the methods with the new vocabulary to some losses, and thousands of tokens (those of all steps, in proportion)."""
    rows = ["| method | " + " | ".join(losses) + " |", "| --- |" + " --- |" * len(losses)]
    for name, found in runs.items():
        if name in ("keep", "prune"):
            continue  # a loss a token of theirs is over other tokens
        a_step = statistics.fmean(run["tokens seen"] / run["losses"][-1][0] for run in found) / 1000
        curve = mean_curve(found)
        cells = []
        for loss in losses.values():
            reached = steps_to(curve, loss)
            cells.append(f"{steps_interval(found, loss)}" + ("" if reached is None else f"; {reached * a_step:,.0f} k"))
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


def ratios(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Steps of `random` and of `random-new` to their own ends, over those of `mean-subword` to the same loss."""
    found = []
    for name in ("random", "random-new"):
        if name in runs and "mean-subword" in runs:
            steps, loss = mean_curve(runs[name])[-1]
            reached = steps_to(mean_curve(runs["mean-subword"]), loss)
            shown = "not reached by mean-subword" if reached is None else f"{steps / reached:.2f}" if reached else "at once"
            found.append(f"steps({name}) / steps(mean-subword) to loss {loss:.3f}: {shown}")
    return found


def write(runs: dict[str, list[dict[str, Any]]], options: Any) -> None:
    """The tables and the picture."""
    curves = {name: mean_curve(found) for name, found in runs.items()}
    goals = {f"{loss:g}": loss for loss in options.losses or []} or {
        f"{curves[name][-1][1]:.3f} ({name}'s end)": curves[name][-1][1]
        for name in ("random", "random-new", "mean-subword")
        if name in curves
    }
    text = [*main_table(runs), "", *losses_table(runs, goals), "", *ratios(runs)]
    options.out.with_suffix(".md").write_text("\n".join(text) + "\n", encoding="utf-8")
    shown = {name: [(x, y * runs[name][0]["tokens a character"]) for x, y in curve] for name, curve in curves.items()}
    options.out.with_suffix(".svg").write_text(loss_curves(shown, "step", "nats a character"), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
