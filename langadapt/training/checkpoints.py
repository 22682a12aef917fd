"""Training checkpoints: weights, optimiser moments and progress, as safetensors, renamed into place.

A step's randomness derives from the seed and the step alone, so nothing else is needed to go on bit for bit.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from langadapt.artifacts.files import read_json, write_json
from langadapt.errors import StoreError

WEIGHTS, MOMENTS, STATE = "weights.safetensors", "moments.safetensors", "state.json"


class Checkpoints:
    """The newest checkpoint of a run, and the best one, below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def newest(self) -> Path | None:
        """The newest complete checkpoint, if there is one."""
        found = sorted(path for path in self.folder.glob("step-*") if (path / STATE).is_file())
        return found[-1] if found else None

    def save(self, step: int, module: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Write a checkpoint aside, rename it, drop the one before."""
        temporary = self.folder / f".writing-{step}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(trainable(module), str(temporary / WEIGHTS))
        save_file(_moments(optimizer), str(temporary / MOMENTS))
        write_json(temporary / STATE, {"step": step, **state})
        target = self.folder / f"step-{step:09d}"
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        for path in self.folder.glob("step-*"):
            if path != target:
                shutil.rmtree(path)

    def load(self, path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Restore weights and moments; returns the state that was saved with them.

        Raises:
            StoreError: a file of the checkpoint is truncated.
        """
        try:
            restore(module, load_file(str(path / WEIGHTS)))
            _restore_moments(optimizer, load_file(str(path / MOMENTS)))
        except (SafetensorError, OSError, KeyError) as error:
            raise StoreError(
                f"the training checkpoint is truncated or altered: {error}",
                where=str(path),
                hint="Delete this folder; the stage then starts again from its beginning.",
            ) from error
        state: dict[str, Any] = read_json(path / STATE)
        return state

    def save_best(self, module: torch.nn.Module) -> None:
        """Keep the present weights as the best so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file(trainable(module), str(self.folder / ".best"))
        (self.folder / ".best").rename(self.folder / "best.safetensors")

    def restore_best(self, module: torch.nn.Module) -> None:
        """Put the best weights back."""
        restore(module, load_file(str(self.folder / "best.safetensors")))


def trainable(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights that train, by name, tied ones once, on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in module.named_parameters() if value.requires_grad}


def restore(module: torch.nn.Module, saved: dict[str, torch.Tensor]) -> None:
    """Copy saved weights over a module's; every trainable weight must be among them."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.requires_grad:
                value.copy_(saved[name])


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state under ``index.name``, index being the parameter's place in the groups.

    Counters end in ``:int``; what an optimiser keeps in a dictionary of its own (bitsandbytes does) is ``index.outer/name``.
    """
    found: dict[str, torch.Tensor] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in _flat(entries).items():
            key = f"{index}.{name}:int" if isinstance(value, int) else f"{index}.{name}"
            found[key] = torch.as_tensor(value).detach().cpu().contiguous().clone()
    return found or {"empty": torch.zeros(1)}


def _flat(entries: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in entries.items() if not isinstance(value, dict)}
    for outer, inner in entries.items():
        if isinstance(inner, dict):
            flat |= {f"{outer}/{name}": value for name, value in inner.items()}
    return flat


def _restore_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        if not name:
            continue
        plain = name.removesuffix(":int")
        value = tensor if plain == name else int(tensor)
        outer, _, inner = plain.rpartition("/")
        entries = state.setdefault(int(index), {})
        (entries.setdefault(outer, {}) if outer else entries)[inner] = value
    whole["state"] = state
    optimizer.load_state_dict(whole)
