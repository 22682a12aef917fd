"""The manifests that the data folders hold, found by name or given as a path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from langadapt.errors import ManifestError, did_you_mean
from langadapt.manifests import yaml

SORTS = ("language", "domain", "recipe")


@dataclass
class Catalog:
    """YAML files by sort and name (the file's stem); later folders may not shadow earlier ones."""

    files: dict[str, dict[str, Path]] = field(default_factory=lambda: {sort: {} for sort in SORTS})

    @classmethod
    def of(cls, folders: Iterable[Path]) -> Catalog:
        """Index every ``languages/``, ``domains/`` and ``recipes/`` below the folders, reading none.

        Raises:
            ManifestError: two folders hold a manifest of one name.
        """
        catalog = cls()
        for folder in folders:
            for sort in SORTS:
                for file in sorted((folder / f"{sort}s").glob("*.yaml")):
                    catalog._add(sort, file)
        return catalog

    def _add(self, sort: str, file: Path) -> None:
        earlier = self.files[sort].setdefault(file.stem, file)
        if earlier != file:
            raise ManifestError(
                f"two manifests for the {sort} '{file.stem}': {earlier} and {file}",
                hint="Rename one of them, or pass the one you mean as a path.",
            )

    def load(self, sort: str, name: str) -> yaml.Document:
        """Read a manifest by name, or from a path ending in .yaml.

        Raises:
            ManifestError: no such manifest (with a suggestion), or it cannot be parsed.
        """
        if name.endswith((".yaml", ".yml")):
            return yaml.load(Path(name))
        if name not in self.files[sort]:
            known = self.files[sort]
            close = next((other for other in known if other.casefold() == name.casefold()), None)
            hint = f"Did you mean '{close}'?" if close else did_you_mean(name, known)
            own = " (ten lines: README, 'Bring your own language')" if sort == "language" else ""
            raise ManifestError(f"there is no {sort} '{name}'", hint=f"{hint} A {sort} file of your own, ending in .yaml, works too{own}.")
        return yaml.load(self.files[sort][name])

    def summary(self, sort: str, name: str) -> str:
        """A manifest in one line: what a recipe states, or a language's or domain's name and what it has; its problem if it has one."""
        try:
            data = self.load(sort, name).data
        except ManifestError as error:
            return f"cannot be read: {error.what}"
        if sort == "recipe":
            return str(data.get("summary", ""))
        resources = data.get("resources")
        has = ", ".join(resources) if isinstance(resources, dict) else ""
        return f"{data.get('name', '')}{f' (has {has})' if has else ''}"
