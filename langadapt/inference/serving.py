"""The adapters of one encoder: read from folders, held against the base, kept in a bank."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from langadapt.artifacts import adapter as light
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts.data import Normalizer
from langadapt.contracts.encoder import EncoderSettings
from langadapt.contracts.vectors import Pooler
from langadapt.errors import ModelError
from langadapt.inference.adapter_files import parts_of, steady_reader
from langadapt.inference.bank import AdapterBank
from langadapt.inference.opening import component, local_folder
from langadapt.inference.reading import Reading, adapter_settings
from langadapt.modeling.digest import weights_digest
from langadapt.modeling.encoder import EncoderModule
from langadapt.modeling.loading import own

if TYPE_CHECKING:
    from langadapt.registry.registry import Registry

logger = logging.getLogger("langadapt")


class Adapters:
    """What an encoder knows of its adapters.  Threads may share one.

    Args:
        loaded: the base.
        module: the base as it runs.
        normalizer: the base's own.
        registry: where poolers and normalizers of adapters are looked up; None uses the installed plugins.
        most: adapters kept in memory.
        folder: where the base was loaded from; None for one made in memory, which holds no adapter against a digest.
    """

    def __init__(
        self,
        loaded: LoadedEncoder,
        module: EncoderModule,
        normalizer: Normalizer | None,
        registry: Registry | None = None,
        most: int = 256,
        folder: Path | None = None,
    ) -> None:
        self._loaded, self.module, self._normalizer, self._registry = loaded, module, normalizer, registry
        self._most = most
        self._lock = threading.Lock()
        self._digest: str | None = None
        self._bank: AdapterBank | None = None
        self.folder = folder

    def bank(self) -> AdapterBank:
        """The bank, made when it is first asked for."""
        with self._lock:
            if self._bank is None:
                self._bank = AdapterBank(self.module.body, self._most)
            return self._bank

    def names(self) -> list[str]:
        """Of the adapters and stacks that are ready."""
        return self._bank.names() if self._bank is not None else []

    def own_reading(self) -> Reading:
        """How the base reads a text."""
        settings = self._loaded.settings
        return Reading(settings.prompt, self._normalizer, settings.max_length)

    def add(self, name: str, path: str | Path, replace: bool) -> None:
        """See :meth:`WithAdapters.add_adapter`."""
        if not isinstance(name, str) or not name:
            raise ModelError(f"an adapter is called by a text, not by {name!r}"[:200], hint="Write add_adapter('NAME', PATH).")
        folder = local_folder(path)
        record = light.record_of(folder)
        reading = self.own_reading()
        if record is not None:
            settings = adapter_settings(folder if light.is_adapter(folder) else folder.parent)
            self._check_record(record, settings, folder)
            slot = settings.normalizer if not settings.normalizer_in_tokenizer else None
            normalizer = component(self._registry, Normalizer, slot) if slot else self._normalizer
            longest = encoders.longest_text(settings.max_length, self._loaded.tokenizer, self.module.model)
            reading = Reading(settings.prompt, normalizer, longest)
        else:
            logger.warning("the adapter %s states no base digest: only its shapes are checked against this base", folder)
        reads = [steady_reader(part) for part in parts_of(folder)]
        centroid = light.load_centroid(folder, self.module.width)
        self.bank().add(name, *reads, reading=reading, centroid=centroid, replace=replace)

    def digest(self) -> str:
        """Of the base's weights as its folder has them; taken once, empty for one made in memory."""
        if self.folder is None:
            return ""
        with self._lock:
            self._digest = self._digest or weights_digest(self._loaded.checkpoint or self.folder)
            return self._digest

    def _check_record(self, record: light.AdapterRecord, settings: EncoderSettings, folder: Path) -> None:
        own = self._loaded.settings
        if record.roles and light.is_adapter(folder):
            raise ModelError(
                f"holds a module for each of {', '.join(record.roles)}", where=str(folder), hint=f"Name one: {folder / record.roles[0]}"
            )
        if component(self._registry, Pooler, settings.pooler).slot() != component(self._registry, Pooler, own.pooler).slot():
            raise ModelError(
                f"the adapter was trained with the pooler {settings.pooler['use']}, the encoder has {own.pooler['use']}",
                where=str(folder),
                hint=f"Load the base with pooler={_shown(settings.pooler)!r}.",
            )
        if self.folder is None:
            return
        digest = self.digest()
        if record.base.digest != digest:
            known = record.base.origin or record.base.model_type
            raise ModelError(
                f"the adapter is for another base ({known}, digest {record.base.digest[:12]}…); this one has {digest[:12]}…",
                where=str(folder),
                hint="Load the base it was trained on.",
            )


def _shown(slot: dict[str, Any]) -> Any:
    """A pooler as it is written: its name, with options as a slot."""
    return slot["use"] if len(slot) == 1 else slot


class WithAdapters:
    """What an encoder offers its users of adapters: names that :meth:`encode <langadapt.inference.encoder.Encoder.encode>` knows."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters
        self.default_adapter: str | None = None
        """What :meth:`encode` uses when no adapter is named; None is the base alone."""
        self.roles: tuple[str, ...] = ()
        """``query`` and ``document`` where each has an adapter of its own."""

    def add_adapter(self, name: str, path: str | Path, *, replace: bool = False) -> None:
        """Make a trained adapter ready under a name: one of ours, or a folder that peft or adapters saved.

        Args:
            name: what :meth:`encode` will call it.
            path: its folder, or a Hub id.
            replace: take the place of an adapter of that name in one step; calls that use it just now end on the old one.

        Raises:
            ModelError: the name is no text, or taken; the adapter is missing, truncated, for another base or pooler, or of a kind that
                cannot be served exactly.
        """
        self._adapters.add(name, path, replace)

    def remove_adapter(self, name: str) -> None:
        """Forget an adapter; calls that use it just now end undisturbed.

        Raises:
            ModelError: there is none of that name, or a stack names it.
        """
        self._adapters.bank().remove(name)

    def stack_adapters(self, name: str, members: Sequence[str]) -> None:
        """Name a sequence of adapters that are applied one after another in every module.

        Raises:
            ModelError: the name is taken, a member is unknown, or the members read texts differently (prompt, normalizer, length).
        """
        self._adapters.bank().stack(name, members)

    @property
    def adapters(self) -> list[str]:
        """Names that :meth:`encode` knows."""
        return self._adapters.names()

    def own_weights(self) -> None:
        """Hold the base apart from its folder, which may then change under a process that runs for weeks: weights and their digest."""
        self._adapters.digest()
        own(self._adapters.module)

    @property
    def centroids(self) -> dict[str, np.ndarray]:
        """What each adapter that has one is routed by: the mean unit vector (d,) of its training texts under the base."""
        return self._adapters.bank().centroids()

    def role(self, name: str) -> str | None:
        """The adapter of a role (``query``, ``document``), or the default where roles share one."""
        return name if name in self.roles else self.default_adapter
