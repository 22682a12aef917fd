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
            raise ManifestError(
                f"there is no {sort} '{name}'",
                hint=did_you_mean(name, self.files[sort]) + f" A path to a {sort} file ending in .yaml works too.",
            )
        return yaml.load(self.files[sort][name])
