"""langadapt: language-adaptation recipes for text encoders.

Public names are imported on first use, so that ``import langadapt`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from langadapt.version import __version__

_PUBLIC = {
    "build": "langadapt.running.build",
    "plan": "langadapt.running.build",
    "Encoder": "langadapt.inference.encoder",
    "Scorer": "langadapt.inference.scorer",
    "Component": "langadapt.contracts.component",
    "Context": "langadapt.contracts.component",
    "Unkeyed": "langadapt.contracts.component",
    "ComponentRef": "langadapt.contracts.hooks",
    "hookimpl": "langadapt.contracts.hooks",
    "LangadaptError": "langadapt.errors",
    "Request": "langadapt.contracts.plan",
}

__all__ = [
    "Component",
    "ComponentRef",
    "Context",
    "Encoder",
    "LangadaptError",
    "Request",
    "Scorer",
    "Unkeyed",
    "__version__",
    "build",
    "hookimpl",
    "plan",
]

if TYPE_CHECKING:
    from langadapt.contracts.component import Component, Context, Unkeyed
    from langadapt.contracts.hooks import ComponentRef, hookimpl
    from langadapt.contracts.plan import Request
    from langadapt.errors import LangadaptError
    from langadapt.inference.encoder import Encoder
    from langadapt.inference.scorer import Scorer
    from langadapt.running.build import build, plan


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'langadapt' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
