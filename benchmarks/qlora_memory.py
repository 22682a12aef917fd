"""Memory of siamese training steps on a large base: full, LoRA, 8 bit and 4 bit, each in a process of its own.

    python benchmarks/qlora_memory.py --shape bert-large --out qlora-memory.json                 # CPU: peak resident memory
    python benchmarks/qlora_memory.py --shape bloom-7b1 --ways 8bit 4bit --device cuda           # one GPU: peak allocated memory

The shapes are real configurations, the weights random: memory and time do not depend on their values.  They are written as a half-precision
checkpoint first, and loaded and adapted as a build does it (what is not quantised is float32).  LACoS-BLOOM (Hua et al. 2023,
arXiv:2305.06404) reports Bloom-7B1 in 8 bit with LoRA, batch 64, on one 32 GB card; 64 is the default there.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"model_type": "bloom", "hidden_size": 64, "n_layer": 2, "n_head": 4, "vocab_size": 500},
    "bert-large": {
        "model_type": "bert",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "vocab_size": 30522,
    },
    "bloom-560m": {"model_type": "bloom", "hidden_size": 1024, "n_layer": 24, "n_head": 16, "vocab_size": 250880},
    "bloom-7b1": {"model_type": "bloom", "hidden_size": 4096, "n_layer": 30, "n_head": 32, "vocab_size": 250880},
}
WAYS: dict[str, tuple[str, str]] = {
    # way: adaptation, optimizer
    "full": ("full", "adamw"),
    "lora": ("lora", "adamw"),
    "8bit": ("qlora-8bit", "adamw-8bit"),
    "4bit": ("qlora-4bit", "adamw-8bit"),
}
SHARD = 2**30
"""Weights in one file of the checkpoint."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="bert-large")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="pairs a step  [default: 64 on a card, 16 on the CPU]")
    parser.add_argument("--length", type=int, default=32, help="tokens a text")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--default-allocator", action="store_true", help="leave glibc's malloc as it is")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.batch = options.batch or (64 if options.device.startswith("cuda") else 16)
    if options.child:
        print(json.dumps(train(options.child, options)))
        return
    with tempfile.TemporaryDirectory() as work:
        # In a process of its own: what this one held at its largest would count into the peaks of those it starts.
        writer = multiprocessing.get_context("spawn").Process(target=write_checkpoint, args=(SHAPES[options.shape], Path(work)))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise SystemExit("the checkpoint cannot be written")
        measure(options, work)


def measure(options: argparse.Namespace, checkpoint: str) -> None:
    """Each way in a process of its own."""
    found: dict[str, Any] = {"shape": options.shape, "batch": options.batch, "length": options.length, "device": options.device}
    # glibc raises the size from which it maps blocks on their own to 32 MB, and then keeps the holes between tensors: peaks double.
    environment = os.environ if options.default_allocator else {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    found["allocator"] = "glibc" if options.default_allocator else "glibc, blocks from 1 MB mapped on their own"
    for way in options.ways:
        done = subprocess.run(
            [sys.executable, *sys.argv, "--child", way, "--checkpoint", checkpoint], capture_output=True, text=True, env=environment
        )
        found[way] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr.splitlines()[-1:]}
        print(json.dumps({way: found[way]}), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def train(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """A few siamese multiple-negatives steps; peak memory and seconds a step."""
    from langadapt.contracts.training import Batch, Models
    from langadapt.modeling.encoder import EncoderModule
    from langadapt.modeling.loading import load_model
    from langadapt.registry.plugins import load_plugins
    from langadapt.registry.registry import Registry

    registry = Registry(load_plugins())
    slot, optimizer_slot = WAYS[way]
    adaptation: Any = registry.build("adaptation", {"use": slot} if way == "full" else {"use": slot, "r": 8, "targets": "all"})
    start = memory(options.device)
    torch.manual_seed(0)
    model = load_model(options.checkpoint, False, {} if way == "full" else adaptation.load_options(options.device))
    parameters = sum(weights(module) for module in model.modules())
    adaptation.attach(model)
    if options.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    pooler = registry.build("pooler", "weighted-mean")
    encoder = EncoderModule(model, pooler, 0, budget=options.batch * options.length * 4).train()
    if way in ("full", "lora"):  # quantised weights stand there already
        encoder.to(options.device)
    objective: Any = registry.build("objective", "multiple-negatives")
    trained = [value for value in encoder.parameters() if value.requires_grad]
    optimizer: Any = registry.build("optimizer", optimizer_slot).build([{"params": trained, "weight_decay": 0.01}], 1e-4)  # type: ignore[attr-defined]
    vocabulary = model.config.vocab_size
    losses, seconds = [], []
    for step in range(options.steps):
        began = time.perf_counter()
        ids = torch.randint(5, vocabulary, (2 * options.batch, options.length)).tolist()
        half_precision = options.device != "cpu"
        with torch.autocast(torch.device(options.device).type, torch.bfloat16, enabled=half_precision):
            total = objective.loss(Models(encoder), Batch(ids, options.batch, {"pairs": options.batch}), step).total
        (total / options.batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(round(float(total.detach()) / options.batch, 4))
        seconds.append(time.perf_counter() - began)
    return {
        "M weights": round(parameters / 1e6, 1),
        "M trained": round(sum(value.numel() for value in trained) / 1e6, 2),
        "peak MB": round(memory(options.device)),
        "MB before the model": round(start),
        "seconds a step": round(min(seconds), 2),
        "losses": losses,
    }


def write_checkpoint(shape: dict[str, Any], folder: Path) -> None:
    """A checkpoint of this shape with random weights in half precision, a file at a time."""
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModel

    shape = dict(shape)
    config = AutoConfig.for_model(shape.pop("model_type"), **shape)
    config.save_pretrained(folder)
    with torch.device("meta"):
        names = {name: tuple(value.shape) for name, value in AutoModel.from_config(config).named_parameters()}
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, dimensions in names.items():
        if shards[-1] and size + math.prod(dimensions) > SHARD:
            shards, size = [*shards, {}], 0
        shards[-1][name] = dimensions
        size += math.prod(dimensions)
    places = {}
    for number, shard in enumerate(shards):
        file = f"model-{number:05}.safetensors"
        save_file({name: made(name, one) for name, one in shard.items()}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def made(name: str, dimensions: tuple[int, ...]) -> torch.Tensor:
    """Norms start at one, the rest small and random."""
    values = torch.empty(dimensions, dtype=torch.float16)
    return values.fill_(1.0) if len(dimensions) == 1 and name.endswith("weight") else values.normal_(std=0.02)


def weights(module: nn.Module) -> int:
    """Weights of a module itself, counted as what a quantised one stands for."""
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return int(module.in_features * module.out_features) + (module.out_features if getattr(module, "bias", None) is not None else 0)  # type: ignore
    return sum(value.numel() for value in module.parameters(recurse=False))


def memory(device: str) -> float:
    """Peak MB so far: allocated on the card, or resident in the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
