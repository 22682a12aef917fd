"""One light adaptation trained on top of another of the other library: prefixes after LoRA, or LoRA after prefixes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from langadapt.contracts import LightAdaptation, Use
from langadapt.contracts.checkpoints import adapters
from langadapt.errors import ModelError
from langadapt_adapters.folders import check_digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FIRST, THEN = "first", "then"
"""Subfolders of a saved hybrid: each part as its own adaptation saves it."""


class SemiSiameseHybrid(LightAdaptation):
    """Train `then` on top of the trained `first`, which stays frozen: a sequential hybrid of two light adaptations.

    Jung, Choi & Rhee 2022 (arXiv:2110.14943; xlpczv/Semi_Siamese, commit 3b63f94, ``run_hybrid_LP.sh`` and ``run_hybrid_PL.sh``) train
    semi-siamese LoRA and then one prefix for both readers, or the prefix and then LoRA::

        LP: {first: semi-siamese, then: {use: semi-siamese-prefix, shared: all}}
        PL: {first: {use: semi-siamese-prefix, shared: all}, then: semi-siamese}

    Either part may have roles or act for both readers; one part is peft's and one the library `adapters`', and a release's card shows how
    the two libraries load it together.  The authors' scores (MS MARCO, Robust04) are not repeated.
    """

    name: ClassVar[str] = "semi-siamese-hybrid"
    mergeable: ClassVar[bool] = False
    library: ClassVar[str] = "adapters"
    roles: ClassVar[tuple[str, ...]] = ("query", "document")

    first: Annotated[Any, Use("adaptation")]
    """The adaptation that `over` was trained with."""
    over: str
    """Folder of the trained adapter."""
    then: Annotated[Any, Use("adaptation")] = "semi-siamese"
    """The adaptation to train on top of it."""

    def check_base(self, digest: str) -> None:
        """Refuse a first part that was trained on another base than the one with this digest.

        Raises:
            ModelError: it was.
        """
        check_digest(Path(self.over).expanduser(), digest)

    def identity(self) -> dict[str, Any]:
        """The first part stands in it by content: another folder with the same weights is the same choice."""
        return {**super().identity(), "over": _content(Path(self.over).expanduser())}

    def attach(self, model: PreTrainedModel) -> None:
        folder = Path(self.over).expanduser()
        if not adapters.is_adapter(folder):
            raise ModelError("holds no trained adapter of ours", where=str(folder), hint="Give the folder of an adapter that was built.")
        made = adapters.load(folder).adaptation
        if made != self.first.slot():
            raise ModelError(
                f"was trained with {made}, and `first` says {self.first.slot()}", where=str(folder), hint="Write `first` as it was trained."
            )
        self._both(model, lambda: self.first.load(model, folder), lambda: self.then.attach(model))

    def load(self, model: PreTrainedModel, folder: Path) -> None:
        self._both(model, lambda: self.first.load(model, folder / FIRST), lambda: self.then.load(model, folder / THEN))

    def _both(self, model: PreTrainedModel, first: Callable[[], None], then: Callable[[], None]) -> None:
        """Put both parts in, the library `adapters`' before peft's, which wraps what it finds; the second part alone trains.

        Raises:
            ModelError: both are of one library.
        """
        if {self.first.library, self.then.library} != {"peft", "adapters"}:
            raise ModelError(
                f"'{self.first.name}' and '{self.then.name}' are both {self.first.library}'s, and a hybrid has a part of either library",
                hint="Bottlenecks are put on one another by 'stack'.",
            )
        trains: set[int] = set()
        for put in sorted((first, then), key=lambda put: (self.first if put is first else self.then).library):
            before = {id(weight) for weight in model.parameters()}
            put()
            if put is then:
                new = (weight for weight in model.parameters() if weight.requires_grad and id(weight) not in before)
                trains = {id(weight) for weight in new}
        for weight in model.parameters():
            weight.requires_grad_(id(weight) in trains)
        self.activate(model, self.roles[0])

    def activate(self, model: PreTrainedModel, role: str) -> None:
        trains = [(weight, weight.requires_grad) for weight in model.parameters()]
        for part in (self.first, self.then):
            if part.roles:
                part.activate(model, role)
        for weight, yes in trains:  # peft lets train what it lets act
            weight.requires_grad_(yes)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        self.first.save(model, folder / FIRST)
        self.then.save(model, folder / THEN)


def _content(folder: Path) -> str:
    """A hash of an adapter's files, or the path while there are none."""
    files = [path for path in sorted(folder.rglob("adapter*")) if path.is_file() and path.name != "adapter.json"]
    if not files:
        return str(folder)
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return "sha256:" + whole.hexdigest()
