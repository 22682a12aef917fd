"""Vectors kept between runs: those that one call makes together, known by everything that their numbers follow from.

A text's vector depends in its last digits on the batch that it was padded in.  What is kept is therefore a whole call: the same
sequences in the same order, by the same weights, libraries and threads, get the very numbers that they would get again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from langadapt.files import stable_hash
from langadapt.modeling.encoder import EncoderModule
from langadapt.version import __version__

FOLDER = "vectors"
"""Below the cache of a store."""

LIMIT = 2 * 1024**3
"""Bytes that are kept; the calls read longest ago go first."""

_DIGEST = 32


@dataclass(frozen=True)
class KeptVectors:
    """Calls of one encoder in a folder.

    Args:
        folder: shared by all encoders; processes may use it at once.
        module: whose vectors they are.  Its weights must not change from the first call on.
        precision: ``fp32`` or ``bf16``.
    """

    folder: Path
    module: EncoderModule
    precision: str

    @cached_property
    def _identity(self) -> bytes:
        """Digest of weights, pooler and configuration as they are in memory, and of what computes with them."""
        from transformers import __version__ as theirs

        said = {
            "config": self.module.model.config.to_dict(),
            "pooler": [type(self.module.pooler).__qualname__, self.module.pooler.identity()],
            "versions": [__version__, torch.__version__, theirs],
            "runs": [self.precision, str(self.module.device), torch.get_num_threads()],
        }
        whole = hashlib.sha256(stable_hash({key: repr(value) for key, value in said.items()}).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            whole.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            whole.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return whole.digest()

    def path(self, ids: Sequence[Sequence[int]], batch_tokens: int) -> Path:
        """Where a call's vectors are, or would be."""
        call = hashlib.sha256(self._identity + f"{batch_tokens} {len(ids)}\n".encode())
        call.update(np.asarray([len(one) for one in ids], np.int64).tobytes())
        for one in ids:
            call.update(np.asarray(one, np.int32).tobytes())
        return self.folder / call.hexdigest()

    def read(self, path: Path, count: int) -> np.ndarray | None:
        """A call's vectors (count, d) float32; None where they are not kept, or not as they were written."""
        try:
            raw = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        if len(raw) != _DIGEST + count * self.module.width * 4 or hashlib.sha256(raw[_DIGEST:]).digest() != raw[:_DIGEST]:
            return None
        return np.frombuffer(raw, np.float32, offset=_DIGEST).reshape(count, self.module.width)

    def write(self, path: Path, vectors: np.ndarray) -> None:
        """Keep a call's vectors (n, d) float32, where there is room; a disk that takes none is not an error."""
        payload = np.ascontiguousarray(vectors, np.float32).tobytes()
        if len(payload) > LIMIT:
            return
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(payload))
            aside.write_bytes(hashlib.sha256(payload).digest() + payload)
            aside.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()

    def _make_room(self, size: int) -> None:
        """Remove the calls read longest ago until there is room; what killed processes left behind is among them."""
        found = []
        for entry in os.scandir(self.folder):
            try:
                found.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
            except FileNotFoundError:  # another process removed it
                continue
        held = sum(bytes_ for _, bytes_, _ in found)
        for _, bytes_, name in sorted(found):
            if held + size <= LIMIT:
                return
            Path(name).unlink(missing_ok=True)
            held -= bytes_
