"""Pinned sources and how their files are brought to this machine.

A plan pins every resource: a path by the digest of its bytes, a Hub repository by its commit, a package's
resource by the component that produces it.  Stages then fetch what was pinned and nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langadapt.contracts.component import Component, Context
from langadapt.errors import DataError, SourceError, StoreError
from langadapt.files import damage, digests, file_digest, path_identity, read_json, stable_hash, stamps, write_json
from langadapt.manifests.resource import Resource
from langadapt.settings_files import regular

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
    stamps: tuple[Any, ...] = ()
    """Of each path's files when they were hashed: equal ones mean the very bytes that the identity states."""


def pin_files(paths: tuple[Path, ...]) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """(identity, stamps) of local files and folders, hashed from bytes that did not change meanwhile.

    Raises:
        DataError: a file changes while it is read, cannot be read, or is a pipe or a device.
    """
    found, marks = [], []
    for path in paths:
        if not path.is_dir():
            regular(path, DataError)
        try:
            before = stamps(path)
            found.append(path_identity(path))
            after = stamps(path)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror or error}", where=str(error.filename or path)) from error
        if before != after:
            raise DataError("changes while it is read", where=str(path), hint="Wait until it is written, then run the same command again.")
        marks.append(after)
    return {"sha256": found}, tuple(marks)


def check_unchanged(resource: Resource) -> None:
    """Hold a local resource against the bytes that its plan was made of.

    Raises:
        SourceError: a file was replaced or changed since.
    """
    pinned: Pinned = resource.pinned
    if pinned.place != "path":
        return
    try:
        if tuple(stamps(path) for path in pinned.paths) == pinned.stamps:
            return
        if pin_files(pinned.paths)[0] == pinned.identity:  # touched, or copied over by itself
            return
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=str(error.filename)) from error
    raise SourceError(
        f"resource '{resource.name}' changed since the plan was made",
        where=", ".join(str(path) for path in pinned.paths),
        hint="Run the same command again: it makes a new plan of the new files; nothing was kept of the mixture.",
    )


def fetch(resource: Resource, ctx: Context) -> list[Path]:
    """The files of a pinned data resource, or the one folder of a checkpoint.

    Raises:
        SourceError: the Hub cannot be reached or holds no such files.
    """
    pinned = resource.pinned
    assert isinstance(pinned, Pinned), f"resource '{resource.name}' is not pinned"
    if pinned.place == "path":
        check_unchanged(resource)
        return list(pinned.paths)
    if pinned.place == "hub":
        return _from_hub(resource, pinned)
    folder = ctx.workdir / f"source-{stable_hash(pinned.identity)[:24]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as handle:  # several processes of a run share the folder
        fcntl.flock(handle, fcntl.LOCK_EX)
        record = folder.with_suffix(".json")  # written last: what was made, and its digests
        if not _is_made(folder, record):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            assert pinned.component is not None
            pinned.component.fetch(folder)  # type: ignore[attr-defined]
            write_json(record, digests(folder))
    if resource.format == "encoder":
        return [folder]
    return sorted(folder.iterdir())


def _is_made(folder: Path, record: Path) -> bool:
    """Whether a package's resource stands in a folder as it was made."""
    try:
        stated = read_json(record)
    except StoreError:
        return False
    return isinstance(stated, dict) and not list(damage(folder, stated))


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
    _check_blobs(folder)
    if encoder:
        return [folder]
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if not found:
        raise SourceError(f"resource '{resource.name}': {pinned.hub_id} holds no file matching {', '.join(patterns)}")
    return found


def _check_blobs(folder: Path) -> None:
    """Hold the Hub's files on this machine against their names: its cache calls a file by sha256, or by git's digest.

    Raises:
        SourceError: a file is not what the Hub sent.
    """
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        if not path.is_symlink() or not blob.is_file() or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
            continue
        if (file_digest(blob) if len(blob.name) == 64 else _git_digest(blob)) != blob.name:
            raise SourceError(
                "is not what the Hub sent: its digest differs",
                where=str(path),
                hint=f"Delete {blob} and run the same command again; it is fetched anew.",
            )


def _git_digest(path: Path) -> str:
    """What git calls a file by: sha1 of its length and bytes."""
    content = path.read_bytes()  # only small files are kept under this name
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


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


def hub_error(name: str | None, hub_id: str, error: Exception) -> SourceError:
    """One paragraph for whatever the Hub client raised; `name` is the resource's, None for an encoder loaded outright."""
    kind = type(error).__name__
    if name is None:
        what, local = "", "Check the spelling and the network, or give the path of a local folder."
    else:
        what, local = f"resource '{name}': ", f"Check the network, or give local files with --resource {name}=PATH"
        local += " (or --base PATH)." if name == "encoder" else "."
    if kind in ("RepositoryNotFoundError", "GatedRepoError", "HFValidationError", "RevisionNotFoundError"):
        return SourceError(
            f"{what}the Hub has no repository '{hub_id}' that you may read ({kind})",
            hint="Check the spelling, or run 'hf auth login' if it is private or gated.",
        )
    return SourceError(
        f"{what}cannot reach the Hub for '{hub_id}' ({kind})",
        hint=local,
    )
