"""Tokenizers that read texts with Python of their own beside ``tokenizer.json``: classes that installed packages bring.

A package states each as an entry point of the group ``langadapt.tokenizer_classes``: the file that such a tokenizer leaves in a folder, and
its class, a ``PreTrainedTokenizerFast``.  A folder never chooses code: it is read with a class that is installed here, or with none.  They
are found whatever ``LANGADAPT_PLUGINS`` says: a tokenizer without its class would cut other words than the encoder was trained on.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import logging
from functools import cache
from pathlib import Path
from typing import Any

from langadapt.errors import ModelError
from langadapt.modeling.checkpoint_folder import CONFIG, TOKENIZER_FILES
from langadapt.settings_files import read_settings_file

GROUP = "langadapt.tokenizer_classes"

logger = logging.getLogger("langadapt")


@cache
def stated() -> dict[str, importlib.metadata.EntryPoint]:
    """File name → the class that reads it, not imported yet.

    Raises:
        ModelError: a name that is no file's of its own, or that two packages claim.
    """
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        taken = entry.name in (*TOKENIZER_FILES, CONFIG) or entry.name != Path(entry.name).name
        if taken or found.setdefault(entry.name, entry).value != entry.value:
            raise ModelError(
                f"the package '{entry.dist.name if entry.dist else entry.value}' claims tokenizers by the file '{entry.name}', "
                "which is not its own",
                hint="Uninstall it, or report it to its author.",
            )
    return found


def class_for(folder: Path) -> Any | None:
    """The class that reads a folder's tokenizer; None for one that ``tokenizer.json`` says all of.

    Raises:
        ModelError: the package that brings it cannot be imported.
    """
    entry = next((entry for name, entry in stated().items() if (folder / name).is_file()), None)
    if entry is None:
        return None
    try:
        return entry.load()
    except Exception as error:
        raise ModelError(
            f"its tokenizer is a {entry.value}, which cannot be imported: {type(error).__name__}: {error}",
            where=str(folder),
            hint="Install the package anew, or report it to its author.",
        ) from error


def say_code_is_left_out(folder: Path, ours: bool) -> None:
    """A tokenizer that names code for fast tokenizers, where no package brings it, is read by ``tokenizer.json`` alone: say so.

    Raises:
        ModelError: langadapt wrote the folder, so that its encoder was trained on the words that the code cuts.
    """
    settings = folder / "tokenizer_config.json"
    named = read_settings_file(settings, finite=False).get("auto_map") if settings.is_file() else None
    named = named.get("AutoTokenizer") if isinstance(named, dict) else None
    fast = named[1] if isinstance(named, list) and len(named) > 1 else None
    if not isinstance(fast, str):
        return
    what = f"its tokenizer names code ({fast[:100]}) that no installed package brings"
    if ours:
        raise ModelError(what, where=str(folder), hint="Install the plugin that brings it: without it, words would be cut otherwise.")
    logger.warning("%s: %s: words are cut by tokenizer.json alone", folder, what)


def carry_code(tokenizer: Any, folder: Path, config: dict[str, Any]) -> None:
    """Put the code of such a tokenizer beside its files, and its name into its configuration, for loaders that may run it."""
    kind = type(tokenizer)
    if f"{kind.__module__}:{kind.__qualname__}" not in {entry.value for entry in stated().values()}:
        return
    source = Path(inspect.getfile(kind))
    (folder / source.name).write_bytes(source.read_bytes())
    config["auto_map"] = {"AutoTokenizer": [None, f"{source.stem}.{kind.__name__}"]}
