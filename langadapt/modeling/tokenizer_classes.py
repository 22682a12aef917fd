"""Tokenizers that read texts with Python of their own beside ``tokenizer.json``: classes that installed packages bring.

A package states each as an entry point of the group ``langadapt.tokenizer_classes``: the file that such a tokenizer leaves in a folder, and
its class, a ``PreTrainedTokenizerFast``.  A folder never chooses code: it is read with a class that is installed here, or with none.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
from functools import cache
from pathlib import Path
from typing import Any

from langadapt.settings_files import read_settings_file

GROUP = "langadapt.tokenizer_classes"

logger = logging.getLogger("langadapt")


@cache
def stated() -> dict[str, importlib.metadata.EntryPoint]:
    """File name → the class that reads it, not imported yet."""
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


def class_for(folder: Path) -> Any | None:
    """The class that reads a folder's tokenizer; None for one that ``tokenizer.json`` says all of."""
    entry = next((entry for name, entry in stated().items() if (folder / name).is_file()), None)
    return entry.load() if entry is not None else None


def say_code_is_left_out(folder: Path) -> None:
    """A tokenizer that names code for fast tokenizers, where no package brings it, is read by ``tokenizer.json`` alone: warn of it."""
    settings = folder / "tokenizer_config.json"
    named = read_settings_file(settings, finite=False).get("auto_map") if settings.is_file() else None
    named = named.get("AutoTokenizer") if isinstance(named, dict) else None
    fast = named[1] if isinstance(named, list) and len(named) > 1 else None
    if isinstance(fast, str):
        logger.warning(
            "%s: its tokenizer names code (%s) that no installed package brings: words are cut by tokenizer.json alone", folder, fast
        )


def carry_code(tokenizer: Any, folder: Path, config: dict[str, Any]) -> None:
    """Put the code of such a tokenizer beside its files, and its name into its configuration, for loaders that may run it."""
    kind = type(tokenizer)
    if f"{kind.__module__}:{kind.__qualname__}" not in {entry.value for entry in stated().values()}:
        return
    source = Path(inspect.getfile(kind))
    (folder / source.name).write_bytes(source.read_bytes())
    config["auto_map"] = {"AutoTokenizer": [None, f"{source.stem}.{kind.__name__}"]}
