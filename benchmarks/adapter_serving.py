"""Serving many adapters on one base: the bank against peft, adapters, sub-batches and the plain base, side by side.

    python benchmarks/adapter_serving.py MINILM --texts short.txt long.txt --out adapter-serving.json

Adapters get random weights: time does not depend on them, and exactness is checked on them.  Every ratio is a median over
interleaved rounds, so that a busy machine slows both sides.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langadapt.artifacts import encoder as encoders
from langadapt.contracts import States
from langadapt.data.tables import lines
from langadapt.inference.encoder import Encoder
from langadapt.modeling.batching import group_by_length
from langadapt.modeling.pooling import Mean
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry
from langadapt.training.tokenized import tokenize_texts

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"use": "lora", "r": 8, "targets": "all"},
    "bottleneck": {"use": "bottleneck", "form": "seq_bn", "reduction_factor": 16},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--texts", type=Path, nargs="+", required=True, help="files with a sentence a line; each is measured apart")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--adapters", type=int, default=8, help="different adapters in a mixed batch")
    parser.add_argument("--resident", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("langadapt").setLevel(logging.ERROR)  # these adapters state no base
    registry = Registry(load_plugins())
    found: dict[str, Any] = {"batch": options.batch, "threads": options.threads, "device": options.device, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as work:
        for name, slot in KINDS.items():
            folders = make_adapters(options.base, registry, slot, max(options.resident, options.adapters), Path(work) / name)
            for file in options.texts:
                texts = [text for _, text in lines(file)][: options.batch]
                label = f"{name}, {file.stem}"
                found[label] = measure(name, options, texts, folders)
                print(json.dumps({label: found[label]}, indent=1), flush=True)
        for file in options.texts:
            texts = [text for _, text in lines(file)][: options.batch]
            found[f"together, {file.stem}"] = together(options, registry, texts, Path(work))
            print(json.dumps({f"together, {file.stem}": found[f"together, {file.stem}"]}, indent=1), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def make_adapters(base: Path, registry: Registry, slot: dict[str, Any], count: int, folder: Path) -> list[Path]:
    """Saved adapters with random weights, as their own library writes them."""
    model = encoders.load(base, mlm_head=False).model
    adaptation: Any = registry.build("adaptation", slot)
    torch.manual_seed(0)
    adaptation.attach(model)
    folders = []
    for i in range(count):
        for value in model.parameters():
            if value.requires_grad:
                torch.nn.init.normal_(value.data, std=0.05)
        folders.append(folder / str(i))
        folders[-1].mkdir(parents=True)
        adaptation.save(model, folders[-1])
    return folders


def measure(kind: str, options: argparse.Namespace, texts: list[str], folders: list[Path]) -> dict[str, Any]:
    """Times and ratios of one kind of adapter, for whole calls: tokenising, grouping by length, encoding."""
    encoder = Encoder.load(options.base, device=options.device)
    for i, folder in enumerate(folders[: options.adapters]):
        encoder.add_adapter(str(i), folder)
    names: list[str | None] = [str(i % options.adapters) for i in range(len(texts))]
    parts = [[text for text, name in zip(texts, names, strict=True) if name == str(i)] for i in range(options.adapters)]
    library = Library(kind, options, folders)

    def sub_batches() -> None:
        for i, part in enumerate(parts):
            encoder.encode(part, adapter=str(i))

    runs: dict[str, Callable[[], Any]] = {
        "base": lambda: encoder.encode(texts),
        "one": lambda: encoder.encode(texts, adapter="0"),
        "mixed": lambda: encoder.encode(texts, adapter=names),
        "sub-batches": sub_batches,
        library.name: lambda: library.encode(encoder, texts, names),
    }
    mixed = encoder.encode(texts, adapter=names)
    alone = [np.abs(mixed[i] - encoder.encode([texts[i]], adapter=names[i])[0]).max() for i in range(0, len(texts), 5)]
    against = float(np.abs(mixed - library.encode(encoder, texts, names)).max())
    times = interleaved(runs, options.rounds, options.device)
    before = resident_mb()
    for i, folder in enumerate(folders[options.adapters : options.resident], options.adapters):
        encoder.add_adapter(str(i), folder)
    many = interleaved({"mixed": runs["mixed"], "base": runs["base"]}, options.rounds, options.device)
    size = sum(f.stat().st_size for f in folders[0].iterdir())
    return {
        "tokens a text": round(encoder.stats.tokens / len(texts), 1),
        "seconds": {name: round(statistics.median(values), 4) for name, values in times.items()},
        "mixed over one": ratio(times["mixed"], times["one"]),
        "one over base": ratio(times["one"], times["base"]),
        "sub-batches over mixed": ratio(times["sub-batches"], times["mixed"]),
        f"{library.name} over mixed": ratio(times[library.name], times["mixed"]),
        f"mixed over base, {options.adapters} resident": ratio(times["mixed"], times["base"]),
        f"mixed over base, {options.resident} resident": ratio(many["mixed"], many["base"]),
        f"MB for {options.resident - options.adapters} more": round(resident_mb() - before, 1),
        "swap, ms": round(swap(encoder, options.adapters), 4),
        "largest difference, mixed against alone": float(max(alone)),
        "largest difference, bank against library": against,
        "bytes of an adapter": size,
        "share of the base": round(size / (options.base / "model.safetensors").stat().st_size, 5),
    }


WIDE: dict[str, dict[str, Any]] = {
    "r64": {"use": "lora", "r": 64, "targets": "all"},
    "par_bn": {"use": "bottleneck", "form": "par_bn", "reduction_factor": 2},
}


def together(options: argparse.Namespace, registry: Registry, texts: list[str], work: Path) -> dict[str, Any]:
    """What adapters of other ranks and kinds cost a batch of r = 8 LoRA: in memory alone, and in the batch."""
    folders = {
        name: make_adapters(options.base, registry, slot, 4, work / name) for name, slot in WIDE.items() if not (work / name).exists()
    }
    folders |= {name: sorted((work / name).iterdir())[:4] for name in [*WIDE, *KINDS]}
    encoder = Encoder.load(options.base, device=options.device)
    small = Encoder.load(options.base, device=options.device)
    for one in (encoder, small):
        for i, folder in enumerate(folders["lora"]):
            one.add_adapter(f"lora{i}", folder)
    before = held_mb(encoder)
    for name in ("bottleneck", *WIDE):
        for i, folder in enumerate(folders[name]):
            encoder.add_adapter(f"{name}{i}", folder)

    def names(*kinds: str) -> list[str | None]:
        return [f"{kinds[i % len(kinds)]}{i // len(kinds) % 4}" for i in range(len(texts))]

    mixes = {
        "r 8, r 64 idle": names("lora"),
        "r 8 and r 64": names("lora", "r64"),
        "one r 64 among r 8": [*names("lora")[1:], "r640"],
        "LoRA and bottleneck": names("lora", "bottleneck"),
        "par_bn, r 192": names("par_bn"),
    }
    runs: dict[str, Callable[[], Any]] = {"r 8 alone": lambda: small.encode(texts, adapter=names("lora"))}
    runs |= {label: (lambda chosen=chosen: encoder.encode(texts, adapter=chosen)) for label, chosen in mixes.items()}  # type: ignore[misc]
    times = interleaved(runs, options.rounds, options.device)
    worst = 0.0
    for chosen in mixes.values():
        mixed = encoder.encode(texts, adapter=chosen)
        alone = [np.abs(mixed[i] - encoder.encode([texts[i]], adapter=chosen[i])[0]).max() for i in range(0, len(texts), 9)]
        worst = max(worst, float(max(alone)))
    full = held_mb(encoder)
    for name in ("bottleneck", *WIDE):
        for i in range(4):
            encoder.remove_adapter(f"{name}{i}")
    return {
        "seconds": {label: round(statistics.median(values), 4) for label, values in times.items()},
        **{f"{label}, over r 8 alone": ratio(times[label], times["r 8 alone"]) for label in mixes},
        "largest difference, mixed against alone": worst,
        "MB of tensors: r 8 alone, all, all others removed": [round(before, 2), round(full, 2), round(held_mb(encoder), 2)],
    }


def held_mb(encoder: Encoder) -> float:
    """MB in the bank's tensors."""
    stacks = encoder._adapters.bank().slots.stacks.values()
    return sum(tensor.numel() * tensor.element_size() for stack in stacks for tensor in stack.tensors.values()) / 2**20


class Library:
    """The same adapters in the library that trained them, given our length groups: its strongest form."""

    def __init__(self, kind: str, options: argparse.Namespace, folders: list[Path]) -> None:
        self.kind, self.count = kind, options.adapters
        model = encoders.load(options.base, mlm_head=False).model
        if kind == "lora":
            from peft import PeftModel

            self.model: Any = PeftModel.from_pretrained(model, folders[0], adapter_name="0")
            for i in range(1, self.count):
                self.model.load_adapter(folders[i], adapter_name=str(i))
        else:
            import adapters

            adapters.init(model)
            for i in range(self.count):
                model.load_adapter(str(folders[i]), load_as=str(i), use_safetensors=True)
            self.model = model
        self.name = "peft adapter_names" if kind == "lora" else "adapters BatchSplit"
        self.model.to(options.device).eval()

    def encode(self, encoder: Encoder, texts: list[str], names: list[str | None]) -> np.ndarray:
        """Vectors (n, d) as the encoder makes them, normalised if it normalises."""
        ids, _ = tokenize_texts(encoder.tokenizer, texts, encoder.settings.max_length)
        found = np.empty((len(texts), encoder.width), dtype=np.float32)
        for group in group_by_length([len(one) for one in ids], 4096):
            # BatchSplit takes rows in the order of its adapters.
            group = sorted(group, key=lambda i: int(names[i] or 0))
            found[group] = self._forward(encoder, [ids[i] for i in group], [names[i] or "" for i in group])
        if encoder.settings.normalize:
            found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found

    @torch.inference_mode()
    def _forward(self, encoder: Encoder, ids: list[list[int]], names: list[str]) -> np.ndarray:
        padded, mask = encoder._module.pad(ids)
        inputs = {"input_ids": padded, "attention_mask": None if bool(mask.all()) else mask}
        if self.kind == "lora":
            hidden = self.model(**inputs, adapter_names=names).last_hidden_state
        else:
            from adapters.composition import BatchSplit

            used = sorted(set(names), key=int)
            if len(used) == 1:
                self.model.set_active_adapters(used[0])
            else:
                self.model.set_active_adapters(BatchSplit(*used, batch_sizes=[names.count(name) for name in used]))
            hidden = self.model(**inputs).last_hidden_state
        return Mean().pool(States(hidden, mask, mask)).cpu().numpy()


def interleaved(runs: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each run, one after another in every round."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            times[name].append(time.perf_counter() - start)
    return times


def ratio(a: list[float], b: list[float]) -> dict[str, float]:
    """Median and quartiles of the per-round ratio."""
    low, middle, high = statistics.quantiles([x / y for x, y in zip(a, b, strict=True)], n=4)
    return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}  # type: ignore[dict-item]


def swap(encoder: Encoder, count: int, times: int = 2000) -> float:
    """Milliseconds to choose another resident adapter for a sentence: pin, route, unpin."""
    bank = encoder._adapters.bank()
    start = time.perf_counter()
    for i in range(times):
        with bank.lease([str(i % count)]) as lease, lease.rows([0]):
            pass
    return 1000 * (time.perf_counter() - start) / times


def resident_mb() -> float:
    """Peak resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
