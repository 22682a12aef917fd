"""langadapt: language-adaptation recipes for text encoders.

Public names are imported on first use, so that ``import langadapt`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "build": "langadapt.runner",
    "plan": "langadapt.runner",
    "Encoder": "langadapt.inference.encoder",
    "Component": "langadapt.registry.component",
    "Context": "langadapt.registry.component",
    "Unkeyed": "langadapt.registry.component",
    "ComponentRef": "langadapt.registry.hookspecs",
    "hookimpl": "langadapt.registry.hookspecs",
    "LangadaptError": "langadapt.errors",
}

__all__ = [
    "Component",
    "ComponentRef",
    "Context",
    "Encoder",
    "LangadaptError",
    "Unkeyed",
    "__version__",
    "build",
    "hookimpl",
    "plan",
]

if TYPE_CHECKING:
    from langadapt.errors import LangadaptError
    from langadapt.inference.encoder import Encoder
    from langadapt.registry.component import Component, Context, Unkeyed
    from langadapt.registry.hookspecs import ComponentRef, hookimpl
    from langadapt.runner import build, plan


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'langadapt' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
