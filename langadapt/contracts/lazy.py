"""Names that are imported from where they live on first use: a plan must not load libraries that only training needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def homes(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__``.

    Args:
        module: its own name.
        names: name → ``package.module`` that defines it, or ``package.module:NAME`` where it is called otherwise there.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        home, _, original = names[name].partition(":")
        found = importlib.import_module(home)
        if not hasattr(found, original or name):  # a module of its own, not imported yet
            return importlib.import_module(f"{home}.{original or name}")
        return getattr(found, original or name)

    return __getattr__
