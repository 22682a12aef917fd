"""Memory of siamese training steps on a large base: full, LoRA, 8 bit and 4 bit, each in a process of its own.

    python benchmarks/qlora_memory.py --shape bert-large --out qlora-memory.json                 # CPU: peak resident memory
    python benchmarks/qlora_memory.py --shape bloom-7b1 --ways 8bit 4bit --device cuda           # one GPU: peak allocated memory

The shapes are real configurations, the weights random: memory and time do not depend on their values.  LACoS-BLOOM (Hua et al. 2023,
arXiv:2305.06404) reports Bloom-7B1 in 8 bit with LoRA, batch 64, on one 32 GB card.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
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
WAYS = ("full", "lora", "8bit", "4bit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="bert-large")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16, help="pairs a step")
    parser.add_argument("--length", type=int, default=32, help="tokens a text")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--default-allocator", action="store_true", help="leave glibc's malloc as it is")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(train(options.child, options)))
        return
    found: dict[str, Any] = {"shape": options.shape, "batch": options.batch, "length": options.length, "device": options.device}
    # glibc raises the size from which it maps blocks on their own to 32 MB, and then keeps the holes between tensors: peaks double.
    environment = os.environ if options.default_allocator else {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    found["allocator"] = "glibc" if options.default_allocator else "glibc, blocks from 1 MB mapped on their own"
    for way in options.ways:
        done = subprocess.run([sys.executable, *sys.argv, "--child", way], capture_output=True, text=True, env=environment)
        found[way] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr.splitlines()[-1:]}
        print(json.dumps({way: found[way]}), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def train(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """A few siamese multiple-negatives steps; peak memory and seconds a step."""
    from langadapt.modeling.encoder import EncoderModule
    from langadapt.registry.kinds import Batch
    from langadapt.registry.plugins import load_plugins
    from langadapt.registry.registry import Registry

    registry = Registry(load_plugins())
    start = memory(options.device)
    torch.manual_seed(0)
    model = make_model(SHAPES[options.shape], way, torch.device(options.device))
    parameters = sum(weights(module) for module in model.modules())
    if way == "full":
        model.requires_grad_(True)
    else:
        registry.build("adaptation", {"use": "lora", "r": 8, "targets": "all"}).attach(model)  # type: ignore[attr-defined]
    if options.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    pooler = registry.build("pooler", "weighted-mean")
    encoder = EncoderModule(model, pooler, 0, budget=options.batch * options.length * 4).train()
    encoder.to(options.device)
    objective: Any = registry.build("objective", "multiple-negatives")
    trained = [value for value in encoder.parameters() if value.requires_grad]
    slot = "adamw" if way in ("full", "lora") else "adamw-8bit"
    optimizer: Any = registry.build("optimizer", slot).build([{"params": trained, "weight_decay": 0.01}], 1e-4)  # type: ignore[attr-defined]
    vocabulary = model.config.vocab_size
    losses, seconds = [], []
    for step in range(options.steps):
        began = time.perf_counter()
        ids = torch.randint(5, vocabulary, (2 * options.batch, options.length)).tolist()
        half_precision = options.device != "cpu"
        with torch.autocast(torch.device(options.device).type, torch.bfloat16, enabled=half_precision):
            total = objective.loss(encoder, None, Batch(ids, options.batch, {"pairs": options.batch}), step).total
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


def make_model(shape: dict[str, Any], way: str, device: torch.device) -> Any:
    """A model of this shape with random weights, quantised layer by layer so that the float weights are never all there."""
    from transformers import AutoConfig, AutoModel

    shape = dict(shape)
    config = AutoConfig.for_model(shape.pop("model_type"), **shape)
    config.use_cache = False
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.float32)
    body_dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if way in ("8bit", "4bit"):
        for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]:
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], quantized(layer, way, device))
    for module in model.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            if value.is_meta:
                # Norms start at one, the rest small and random; only float weights are left here.
                made = torch.empty(value.shape, device=device, dtype=body_dtype if value.ndim > 1 else torch.float32)
                made = made.fill_(1.0) if value.ndim == 1 and name == "weight" else made.normal_(std=0.02)
                setattr(module, name, nn.Parameter(made, requires_grad=False))
        for name, value in list(module.named_buffers(recurse=False)):
            if value is not None and value.is_meta:
                rows = torch.arange(value.numel(), device=device).reshape(value.shape) if "position" in name else torch.zeros(value.shape)
                module.register_buffer(name, rows.to(device=device, dtype=value.dtype), persistent=False)
    return model


def quantized(layer: nn.Linear, way: str, device: torch.device) -> nn.Module:
    """A quantised layer of the same shape with random weights."""
    import bitsandbytes as bnb

    weight = torch.empty(layer.out_features, layer.in_features, dtype=torch.float16).normal_(std=0.02)
    bias = layer.bias is not None
    if way == "8bit":
        new: Any = bnb.nn.Linear8bitLt(layer.in_features, layer.out_features, bias=bias, has_fp16_weights=False)
        new.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    else:
        compute = torch.bfloat16 if device.type == "cuda" else torch.float32
        new = bnb.nn.Linear4bit(
            layer.in_features, layer.out_features, bias=bias, compute_dtype=compute, quant_type="nf4", compress_statistics=True
        )
        new.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True)
    return new.to(device).requires_grad_(False)  # type: ignore[no-any-return]


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
