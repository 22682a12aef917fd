"""New adaptations out of trained bottlenecks: one on top of others, attention over them, their average.

A stack or a fusion is saved in the library's form for compositions, which `load_adapter_setup(folder, use_safetensors=True)` reads::

    adapter_setup.json       which adapters, in which order
    member0/ member1/ …      the trained adapters it stands on, as they were
    adapter/                 a stack: the adapter trained on top
    member0,member1/         a fusion: adapter_fusion_config.json, model_adapter_fusion.safetensors

An average is one plain adapter.  All three hold on BERT, XLM-R, ModernBERT, Llama and Bloom.

Parallel bottlenecks (``par_bn``) can be averaged, not stacked or fused: in the library the upper of two takes the block's input, so
that the lower loses all effect, and a fusion of them adds that input once too often.  Both are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from langadapt.contracts import LightAdaptation
from langadapt.errors import ModelError
from langadapt_adapters.bottleneck import BottleneckOptions
from langadapt_adapters.folders import (
    BOTTLENECK,
    FUSION_CONFIG,
    FUSION_WEIGHTS,
    SETUP,
    check_adapter,
    check_digest,
    check_weights,
    content,
    member_folder,
    read_json,
)
from langadapt_adapters.library import NAME, load_plain, place, prepare, save_fusion, save_plain, train_only

if TYPE_CHECKING:
    import torch
    from adapters import composition
    from transformers import PretrainedConfig, PreTrainedModel


class _OverMembers(LightAdaptation):
    """What is built on trained adapters."""

    over: list[str]

    def check_base(self, digest: str) -> None:
        """Refuse members that were trained on another base than the one with this digest.

        Raises:
            ModelError: naming the first of them.
        """
        for path in self.over:
            check_digest(member_folder(path), digest)

    def identity(self) -> dict[str, Any]:
        """Adapters stand in it by content: another folder with the same weights is the same choice."""
        return {**super().identity(), "over": [content(path) for path in self.over]}


class Stack(_OverMembers, BottleneckOptions):
    """Train a new bottleneck on top of trained ones, which stay frozen: a task on top of a domain on top of a language.

    In every layer the state goes through `over` in order and then through the new one (Pfeiffer et al. 2020, arXiv:2005.00052).
    A layer's place where a member has no bottleneck is passed by.

    Relations: `bottleneck` trains one alone; `fuse` lets members compete instead of following each other.
    """

    name: ClassVar[str] = "stack"

    over: Annotated[list[str], Field(min_length=1)]
    """Folders of trained bottlenecks, lowest first; each may be the adapter's own folder or one with a subfolder ``adapter``."""
    form: Literal["seq_bn", "double_seq_bn"] = "seq_bn"
    """Form of the new bottleneck."""

    def attach(self, model: PreTrainedModel) -> None:
        settings = self.settings(self.form)
        folders = _members(self.over, model.config)
        prepare(model, BOTTLENECK)
        names = _load_members(model, folders)
        model.add_adapter(NAME, config=settings)
        place(model)
        _train_stack(model, names)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        _save_setup(model, folder)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        children = _read_setup(folder, "Stack")
        _refuse_parallel(check_adapter(folder / child, model.config, BOTTLENECK) for child in children)
        prepare(model, BOTTLENECK)
        names = _load_members(model, [folder / child for child in children[:-1]])
        load_plain(model, folder / children[-1], BOTTLENECK)
        _train_stack(model, names)


class Fuse(_OverMembers):
    """Train attention over the outputs of trained bottlenecks, which stay frozen (AdapterFusion: Pfeiffer et al. 2021, arXiv:2005.00247).

    In every layer the state asks (query, d × d) and each member's output answers (key, value, d × d each): 3 d² new weights a
    place, many more than a bottleneck has.  The value matrices start as the identity; the paper's small penalty that holds them
    near it belongs to the loss and is not applied here.

    Relations: `average` needs no training and costs no time; `stack` lets adapters follow each other.
    """

    name: ClassVar[str] = "fuse"
    mergeable: ClassVar[bool] = False
    library: ClassVar[str] = "adapters"

    over: Annotated[list[str], Field(min_length=2)]
    """Folders of trained bottlenecks, with bottlenecks in the same places."""

    def attach(self, model: PreTrainedModel) -> None:
        folders = _members(self.over, model.config)
        _same(folders, model.config, PLACES, "cannot be fused")
        prepare(model, BOTTLENECK)
        names = _load_members(model, folders)
        _train_fusion(model, names)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        _save_setup(model, folder)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        children = _read_setup(folder, "Fuse")
        inner = folder / ",".join(children)
        settings = read_json(inner, FUSION_CONFIG).get("config")
        if not isinstance(settings, dict):
            raise ModelError("does not describe a fusion: 'config' is missing", where=str(inner / FUSION_CONFIG))
        check_weights(inner, FUSION_WEIGHTS, re.compile(r"adapter_fusion_layer\."))
        members = [folder / child for child in children]
        _refuse_parallel(check_adapter(member, model.config, BOTTLENECK) for member in members)
        prepare(model, BOTTLENECK)
        names = _load_members(model, members)
        _train_fusion(model, names, settings)
        _load_fusion(model, inner)


class Average(_OverMembers):
    """Average the weights of trained bottlenecks into one and train on from there.

    AdapterSoup: Chronopoulou et al. 2023 (arXiv:2302.07027).  With no training step the average itself is the result.  Members must
    have the same form and sizes, and only bottlenecks trained from the same start can be expected to average well.

    Relations: costs at inference what one adapter costs; `fuse` keeps all members and learns whom to trust.
    """

    name: ClassVar[str] = "average"
    mergeable: ClassVar[bool] = False
    library: ClassVar[str] = "adapters"

    over: Annotated[list[str], Field(min_length=2)]
    """Folders of trained bottlenecks."""
    weights: list[float] | None = None
    """One per member, scaled to a sum of 1; None: all the same."""

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weights is not None:
            if len(self.weights) != len(self.over):
                raise ValueError(f"{len(self.weights)} weights for {len(self.over)} adapters")
            if not abs(sum(self.weights)) > 1e-6:
                raise ValueError("the weights sum to 0 and cannot be scaled to a sum of 1")
        return self

    def attach(self, model: PreTrainedModel) -> None:
        folders = _members(self.over, model.config, parallel=True)
        _same(folders, model.config, None, "cannot be averaged")
        prepare(model, BOTTLENECK)
        names = _load_members(model, folders)
        model.average_adapter(NAME, names, weights=self.weights)
        for name in names:
            model.delete_adapter(name)
        place(model)
        train_only(model, NAME)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        save_plain(model, folder)

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        prepare(model, BOTTLENECK)
        load_plain(model, folder, BOTTLENECK)
        train_only(model, NAME)


# Members ---------------------------------------------------------------------------------------------------------------

PLACES = ("mh_adapter", "output_adapter")
"""Settings that say where an adapter has bottlenecks: after attention, after the feed-forward block."""

FREE = ("dropout", "init_weights")
"""Settings that may differ between averaged adapters: they say nothing about the weights' meaning."""


def _members(over: list[str], base: PretrainedConfig, parallel: bool = False) -> list[Path]:
    """Folders of the members, each checked against the base."""
    folders = [member_folder(path) for path in over]
    found = [check_adapter(folder, base, BOTTLENECK) for folder in folders]
    if not parallel:
        _refuse_parallel(found)
    return folders


def _refuse_parallel(settings: Iterable[dict[str, Any]]) -> None:
    for number, one in enumerate(settings):
        if one.get("is_parallel"):
            raise ModelError(
                f"member {number} is a parallel bottleneck (par_bn), which the library can neither stack nor fuse",
                hint="Use members of form seq_bn or double_seq_bn; par_bn can be averaged.",
            )


def _same(folders: list[Path], base: PretrainedConfig, keys: tuple[str, ...] | None, refusal: str) -> None:
    """Members agree in the settings `keys` (None: in all but :data:`FREE`)."""
    first, *others = [check_adapter(folder, base, BOTTLENECK) for folder in folders]
    for folder, other in zip(folders[1:], others, strict=True):
        for key in keys or sorted((first.keys() | other.keys()) - set(FREE)):
            if first.get(key) != other.get(key):
                raise ModelError(
                    f"'{folders[0]}' and '{folder}' {refusal}: their {key} is {first.get(key)} and {other.get(key)}",
                    hint="Train the members with the same options.",
                )


def _load_members(model: PreTrainedModel, folders: list[Path]) -> list[str]:
    names = [f"member{number}" for number in range(len(folders))]
    for name, folder in zip(names, folders, strict=True):
        load_plain(model, folder, BOTTLENECK, name)
    return names


# Stacks and fusions ----------------------------------------------------------------------------------------------------


def _train_stack(model: PreTrainedModel, members: list[str]) -> None:
    from adapters import composition

    train_only(model, composition.Stack(*members, NAME))


def _train_fusion(model: PreTrainedModel, members: list[str], settings: dict[str, Any] | None = None) -> None:
    """Add a fusion of `members` (`settings`: the library's, None its default with values) and train it alone."""
    from adapters import composition

    # Without a name of its own: the library forgets such names when it saves a composition.
    setup = composition.Fuse(*members)
    model.add_adapter_fusion(setup, config=settings)
    model.adapter_fusion_to(setup.name, device=model.device, dtype=model.dtype)
    train_only(model, setup, fusion=True)


def _save_setup(model: PreTrainedModel, folder: Path) -> None:
    """Write the active composition in the library's form (see the module's docstring)."""
    folder.mkdir(parents=True, exist_ok=True)
    setup: composition.AdapterCompositionBlock = model.active_adapters
    for name in setup.children:
        save_plain(model, folder / name, name)
    if type(setup).__name__ == "Fuse":
        save_fusion(model, folder / setup.name, setup.name)
    # Last, so that a folder with this file is whole.
    text = json.dumps({"adapter_setup": setup.to_dict(), "head_setup": None, "version": _version()}, indent=2)
    (folder / SETUP).write_text(text + "\n", encoding="utf-8")


def _version() -> str:
    from adapters import __version__

    return f"adapters.{__version__}"


def _read_setup(folder: Path, kind: str) -> list[str]:
    """Names of the adapters of a saved composition, in order.

    Raises:
        ModelError: no composition, another kind, a nested one, or names that lead out of the folder.
    """
    setup = read_json(folder, SETUP).get("adapter_setup")
    where = str(folder / SETUP)
    if not isinstance(setup, dict) or setup.get("type") != kind:
        raise ModelError(f"is no {kind.lower()} of adapters", where=where, hint="Name the adaptation that made it.")
    names = []
    for child in setup.get("children") or []:
        if not isinstance(child, dict) or child.get("type") != "single" or not child.get("children"):
            raise ModelError("nests compositions, which is not supported", where=where)
        names.append(str(child["children"][0]))
    if len(names) < 2:
        raise ModelError("names fewer than two adapters", where=where)
    if bad := [name for name in names if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name)]:
        raise ModelError(f"names an adapter '{bad[0]}', which is no plain folder name", where=where)
    return names


def _load_fusion(model: PreTrainedModel, folder: Path) -> None:
    """Fill the model's fusion with saved weights.

    The library's own loader looks for the weights at the body's names only where the model is the body, and leaves them random
    in silence otherwise.

    Raises:
        ModelError: the weights are not those of this model's fusion.
    """
    from safetensors.torch import load_file

    saved: dict[str, torch.Tensor] = {_place(key): tensor for key, tensor in load_file(str(folder / FUSION_WEIGHTS)).items()}
    mine = {_place(key): weight for key, weight in model.base_model.named_parameters() if ".adapter_fusion_layer." in key}
    wrong = sorted(saved.keys() ^ mine.keys()) or sorted(key for key in saved if saved[key].shape != mine[key].shape)
    if wrong:
        raise ModelError(
            f"the fusion does not fit this encoder: it differs at {wrong[0]}",
            where=str(folder),
            hint="Load it on the encoder it was trained on.",
        )
    for key, weight in mine.items():
        weight.data.copy_(saved[key])


def _place(key: str) -> str:
    """A fusion weight's name without the body's prefix and the members' names: ``3.output`` + ``query.weight``."""
    found = re.search(r"(?:^|\.)(\d+)\.([\w.]+?)\.adapter_fusion_layer\.[^.]+\.(.+)$", key)
    return ".".join(found.groups()) if found else key
