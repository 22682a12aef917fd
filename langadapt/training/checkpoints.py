"""Training checkpoints: weights, optimiser moments and progress, as safetensors with their digests, renamed into place.

What is read is held against what was written: a damaged checkpoint is set aside and said, and the stage starts from its beginning,
which ends in the same weights.

A step's randomness derives from the seed and the step alone, so nothing else is needed to go on bit for bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from langadapt.errors import StageFailed, StoreError
from langadapt.files import file_digest, read_json, stable_hash, write_json

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
        for left in self.folder.glob(".writing-*"):  # of a process that was killed while it wrote
            shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(trainable(module), str(temporary / WEIGHTS))
        save_file(_moments(optimizer), str(temporary / MOMENTS))
        files = {name: file_digest(temporary / name) for name in (WEIGHTS, MOMENTS)}
        told = {"step": step, "files": files, **state}
        write_json(temporary / STATE, {**told, "digest": stable_hash(told)})
        target = self.folder / f"step-{step:09d}"
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        for path in self.folder.glob("step-*"):
            if path != target:
                shutil.rmtree(path)
        best = state.get("best", [None])[0]
        for left in self.folder.glob("best-*"):  # only now: the checkpoint before named an earlier one
            if best is None or not left.name.startswith(_best_name(best)):
                left.unlink()

    def problem(self, steps: int, best: bool) -> str:
        """What is wrong with the newest checkpoint of a training of `steps` steps (and with its best weights); empty if nothing is."""
        newest = self.newest()
        if newest is None:
            return ""
        try:
            state = _sound_state(newest, steps)
            if best and state["best"][0] is not None:
                self._check_best(int(state["best"][0]))
        except (_Damaged, StoreError, KeyError, TypeError, IndexError) as error:
            return str(error)
        return ""

    def load(self, path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Restore weights and moments of a checkpoint without a :meth:`problem`; returns the state that was saved with them.

        Raises:
            StageFailed: its files were altered since, or are of another training.
        """
        try:
            weights = load_file(str(path / WEIGHTS))
            _check_shapes(module, weights)
            restore(module, weights)
            _restore_moments(optimizer, load_file(str(path / MOMENTS)))
            state: dict[str, Any] = read_json(path / STATE)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise _altered(path, error) from error
        return state

    def save_best(self, module: torch.nn.Module, step: int) -> None:
        """Keep the present weights as the best so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary, name = self.folder / ".best", _best_name(step)
        save_file(trainable(module), str(temporary))
        write_json(self.folder / f"{name}.json", {"step": step, "sha256": file_digest(temporary)})
        temporary.rename(self.folder / f"{name}.safetensors")

    def restore_best(self, module: torch.nn.Module, step: int) -> None:
        """Put the best weights back.

        Raises:
            StageFailed: they are not those of that step, as they were written.
        """
        try:
            self._check_best(step)
            restore(module, load_file(str(self.folder / f"{_best_name(step)}.safetensors")))
        except (_Damaged, StoreError, SafetensorError, OSError, KeyError, TypeError) as error:
            raise _altered(self.folder / f"{_best_name(step)}.safetensors", error) from error

    def _check_best(self, step: int) -> None:
        name = _best_name(step)
        path = self.folder / f"{name}.safetensors"
        if not path.is_file() or read_json(self.folder / f"{name}.json")["sha256"] != file_digest(path):
            raise _Damaged(f"{path.name} was altered (its sha256 differs)")

    def set_aside(self) -> Path:
        """Move everything out of the way, to be looked at; returns where to."""
        number = sum(1 for _ in self.folder.parent.glob(f"{self.folder.name}.damaged-*"))
        target = self.folder.with_name(f"{self.folder.name}.damaged-{number}")
        self.folder.rename(target)
        return target


def _best_name(step: int) -> str:
    return f"best-{step:09d}"


class _Damaged(Exception):
    """A checkpoint is not what was written, and why."""


def _altered(path: Path, error: Exception) -> StageFailed:
    return StageFailed(
        f"the training's own files were altered while it ran: {error}",
        where=str(path),
        hint="Run the same command again: what is damaged is set aside, and the stage starts anew.",
    )


def _sound_state(path: Path, steps: int) -> dict[str, Any]:
    """A checkpoint's state, once its own digest and those of its files are right.

    Raises:
        _Damaged, StoreError: they are not, or its step is none of this training's.
    """
    state = read_json(path / STATE)
    if not isinstance(state, dict) or state.pop("digest", None) != stable_hash(state):
        raise _Damaged(f"{STATE} was altered (its digest differs)")
    for name, digest in state["files"].items():
        if not (path / name).is_file() or file_digest(path / name) != digest:
            raise _Damaged(f"{name} was altered (its sha256 differs)")
    if not 0 < state["step"] < steps or path.name != f"step-{state['step']:09d}":
        raise _Damaged(f"step {state['step']} is none of this training's {steps}")
    found: dict[str, Any] = state
    return found


def _check_shapes(module: torch.nn.Module, saved: dict[str, torch.Tensor]) -> None:
    for name, value in _kept(module):
        if saved[name].shape != value.shape:
            raise ValueError(f"'{name}' has the shape {tuple(saved[name].shape)}, {tuple(value.shape)} expected")


def trainable(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights that train, tied ones once, and what an objective's head remembers from step to step; by name, on the CPU."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in _kept(module)}


def _kept(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from ((name, value) for name, value in module.named_parameters() if value.requires_grad)
    buffers = dict(module.named_buffers(prefix="", remove_duplicate=True))
    kept = module.state_dict(keep_vars=True)  # without the buffers that say they need not be kept
    yield from ((name, value) for name, value in buffers.items() if name.startswith("head.") and name in kept)


def restore(module: torch.nn.Module, saved: dict[str, torch.Tensor]) -> None:
    """Copy saved weights over a module's; every one of :func:`trainable` must be among them."""
    with torch.no_grad():
        for name, value in _kept(module):
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
