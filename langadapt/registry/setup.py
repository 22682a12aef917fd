"""The plugins that are installed, their components and manifests, found once a command."""

from __future__ import annotations

from collections.abc import Sequence

from langadapt.registry.catalog import Catalog
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry


def setup(plugins: Sequence[str] = ()) -> tuple[Registry, Catalog]:
    """Load plugins once, with the modules named, and index their components and manifests.

    Raises:
        LangadaptError: two plugins claim one name, or a module that is named cannot be imported.
    """
    loaded = load_plugins(plugins)
    return Registry(loaded), Catalog.of(loaded.data_dirs)
