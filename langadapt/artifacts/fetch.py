"""Pinned sources and how their files are brought to this machine.

A plan pins every resource: a path by the digest of its bytes, a Hub repository by its commit, a package's
resource by the component that produces it.  Stages then fetch what was pinned and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.artifacts.files import stable_hash
from langadapt.errors import DataError
from langadapt.manifests.resource import Resource
from langadapt.registry.component import Component, Context

# Checkpoints: weights as safetensors, configuration and tokenizer files; never pickles or code.
CHECKPOINT_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "1_Pooling/*", "2_*/*"]


@dataclass(frozen=True)
class Pinned:
    """The one place a resource comes from in a plan, and the identity of its content."""

    place: str
    identity: dict[str, Any]
    label: str
    paths: tuple[Path, ...] = ()
    hub_id: str = ""
    revision: str = ""
    files: tuple[str, ...] = ()
    component: Component | None = None


def fetch(resource: Resource, ctx: Context) -> list[Path]:
    """The files of a pinned data resource, or the one folder of a checkpoint.

    Raises:
        DataError: the Hub cannot be reached or holds no such files.
    """
    pinned = resource.pinned
    assert isinstance(pinned, Pinned), f"resource '{resource.name}' is not pinned"
    if pinned.place == "path":
        return list(pinned.paths)
    if pinned.place == "hub":
        return _from_hub(resource, pinned)
    folder = ctx.workdir / f"source-{resource.name}-{stable_hash(pinned.identity)[:12]}"
    if not (folder / ".complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        assert pinned.component is not None
        pinned.component.fetch(folder)  # type: ignore[attr-defined]
        (folder / ".complete").touch()
    if resource.format == "encoder":
        return [folder]
    return sorted(path for path in folder.iterdir() if path.name != ".complete")


def _from_hub(resource: Resource, pinned: Pinned) -> list[Path]:
    from huggingface_hub import snapshot_download

    encoder = resource.format == "encoder"
    patterns = CHECKPOINT_FILES if encoder else list(pinned.files)
    try:
        folder = Path(
            snapshot_download(
                pinned.hub_id,
                repo_type="model" if encoder else "dataset",
                revision=pinned.revision,
                allow_patterns=patterns,
                ignore_patterns=["onnx/*", "openvino/*"],
            )
        )
    except Exception as error:  # the hub client raises a dozen kinds, of three libraries
        raise hub_error(resource.name, pinned.hub_id, error) from error
    if encoder:
        return [folder]
    found = sorted(path for pattern in patterns for path in folder.glob(pattern))
    if not found:
        raise DataError(f"resource '{resource.name}': {pinned.hub_id} holds no file matching {', '.join(patterns)}")
    return found


def resolve_revision(resource: Resource, hub_id: str, revision: str) -> str:
    """The commit a Hub revision points at now; a full commit hash is returned as it is, without a network."""
    if len(revision) == 40 and all(letter in "0123456789abcdef" for letter in revision):
        return revision
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        info = api.model_info if resource.format == "encoder" else api.dataset_info
        return str(info(hub_id, revision=revision, timeout=20).sha)
    except Exception as error:
        cached = _cached_commit(hub_id, revision, resource.format == "encoder")
        if cached:
            return cached
        raise hub_error(resource.name, hub_id, error) from error


def _cached_commit(hub_id: str, revision: str, encoder: bool) -> str | None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = f"{'models' if encoder else 'datasets'}--{hub_id.replace('/', '--')}"
    ref = Path(HF_HUB_CACHE) / folder / "refs" / revision
    return ref.read_text().strip() if ref.is_file() else None


def hub_error(name: str | None, hub_id: str, error: Exception) -> DataError:
    """One paragraph for whatever the Hub client raised; `name` is the resource's, None for an encoder loaded outright."""
    kind = type(error).__name__
    if name is None:
        what, local = "", "Check the spelling and the network, or give the path of a local folder."
    else:
        what, local = f"resource '{name}': ", f"Check the network, or give local files with --resource {name}=PATH"
        local += " (or --base PATH)." if name == "encoder" else "."
    if kind in ("RepositoryNotFoundError", "GatedRepoError", "HFValidationError", "RevisionNotFoundError"):
        return DataError(
            f"{what}the Hub has no repository '{hub_id}' that you may read ({kind})",
            hint="Check the spelling, or run 'hf auth login' if it is private or gated.",
        )
    return DataError(
        f"{what}cannot reach the Hub for '{hub_id}' ({kind})",
        hint=local,
    )
