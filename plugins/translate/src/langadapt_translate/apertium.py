"""Apertium: a rule-based engine from Debian's packages, thousands of lines a process."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

import langcodes
from pydantic import Field

from langadapt.contracts import Context, Offer, Translation, Translator, Unkeyed
from langadapt.errors import DataError
from langadapt_translate.languages import same

PACKAGES = (
    "af-nl", "afr-nld", "arg-cat", "bel-rus", "br-fr", "ca-it", "cat-ita", "cat-srd", "dan-nor", "en-ca", "en-es", "en-gl", "eng-cat",
    "eng-spa", "eo-ca", "eo-en", "eo-es", "eo-fr", "es-ast", "es-ca", "es-gl", "es-it", "es-pt", "es-ro", "eu-en", "eu-es", "fr-es",
    "fra-cat", "fra-frp", "hbs-eng", "hbs-mkd", "hbs-slv", "id-ms", "ind-zlm", "is-sv", "isl-eng", "isl-swe", "mk-bg", "mk-en",
    "mkd-bul", "mkd-eng", "nno-nob", "oc-ca", "oc-es", "oci-fra", "pol-szl", "por-cat", "pt-ca", "pt-gl", "rus-ukr", "spa-arg",
    "spa-ast", "spa-cat", "spa-ita", "srd-ita", "swe-dan", "swe-nor", "urd-hin",
)  # fmt: skip
"""Language pairs that Debian 12 packages as ``apertium-PAIR``; some translate one way only."""

STAR = "\uff0a"
"""Stands for a text's own asterisk while Apertium marks unknown words with one."""
UNKNOWN = re.compile(r"\*(?=\w)")
MARKS = {"#": re.compile(r"# ?"), "@": re.compile("@")}
"""What Apertium writes before a lemma that it cannot inflect (#) or finds in no bilingual dictionary (@)."""
EITHER = re.compile(r"(?<!\S)([^\W\d_]+)/[^\W\d_]+(?!\S)")
"""Two forms between which it does not decide: moeu/móeu."""


class Apertium(Translator):
    """Rule-based translation with Apertium (Forcada et al. 2011), from the packages of the system.

    Sentences are sent a block at a time, each a paragraph of its own.  The tagger still carries a little from one to the next: of two
    ways to read a word it may choose by the sentence before, so that another `block` can change a few words in a hundred sentences.
    Words that Apertium does not know, or knows and cannot inflect, are passed through and counted; of two forms that it offers the
    first is taken.  A text's own ``*``, ``#``, ``@`` and ``/`` stay.  `via` names languages between source and target
    (``via: [es]`` for en → es → gl).

    Its dictionaries are GPL; that covers the program and its data, not the text it translates.
    """

    name: ClassVar[str] = "apertium"
    version: ClassVar[str] = "2"

    via: list[str] = []
    """Languages between source and target, in order."""
    block: Annotated[int, Field(ge=1, le=20_000), Unkeyed] = 1000
    """Sentences for one process."""
    workers: Annotated[int, Field(ge=1), Unkeyed] = os.cpu_count() or 1
    """Processes at a time."""
    patience: Annotated[float, Field(gt=0), Unkeyed] = 120.0
    """Seconds that a block may take before the process counts as hung."""

    def beside(self) -> int | None:
        """Its tagger carries what it has read from one sentence to the next."""
        return self.block

    def offer(self, source: str, target: str) -> Offer:
        if shutil.which("apertium") is None:
            package = _package(source, target)
            wanted = f"apertium apertium-{package}" if package else "apertium"
            return Offer("apertium", False, f"apt-get install {wanted}")
        modes = [mode_of(a, b) for a, b in self._hops(source, target)]
        if None in modes:
            return Offer("apertium", False, self._lacks(source, target))
        names = [mode for mode in modes if mode]
        digest = hashlib.sha256("\0".join(_mode_digest(mode) for mode in names).encode()).hexdigest()
        return Offer(f"apertium {', '.join(names)}", True, "", "GPL (engine and dictionaries)", False, digest)

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        offer = self.offer(source, target)
        if not offer.ready:
            raise DataError(f"apertium cannot translate {source} → {target} here", hint=offer.needs)
        modes = [mode for a, b in self._hops(source, target) if (mode := mode_of(a, b))]
        blocks = [list(range(start, min(start + self.block, len(texts)))) for start in range(0, len(texts), self.block)]
        with ThreadPoolExecutor(self.workers) as pool:
            jobs = {pool.submit(self._chain, [texts[i] for i in block], modes): block for block in blocks}
            try:
                for job in as_completed(jobs):
                    yield from zip(jobs.pop(job), job.result(), strict=True)
            finally:
                for job in jobs:
                    job.cancel()

    def _lacks(self, source: str, target: str) -> str:
        """What would serve a pair that no installed mode does: a package, a pivot, or nothing."""
        for a, b in self._hops(source, target):
            if mode_of(a, b) is None:
                package = _package(a, b)
                if package:
                    return f"apt-get install apertium-{package}"
                between = pivots(a, b)
                if between:
                    return f"no mode {a} → {b}; go through another language: {{use: apertium, via: [{between[0]}]}}"
                return f"no mode {a} → {b}; 'apertium -l' lists what is installed, 'apt-cache search apertium-' what there is"
        return ""

    def _hops(self, source: str, target: str) -> list[tuple[str, str]]:
        stops = [source, *self.via, target]
        return list(itertools.pairwise(stops))

    def _chain(self, texts: list[str], modes: list[str]) -> list[Translation]:
        """Through every mode in turn; an unknown word of any hop counts once."""
        found = [Translation(text, None, 0) for text in texts]
        for mode in modes:
            said = self._block([one.text for one in found], mode)
            found = [
                Translation(after.text, None, (before.unknown or 0) + (after.unknown or 0))
                for before, after in zip(found, said, strict=True)
            ]
        return found

    def _block(self, texts: list[str], mode: str) -> list[Translation]:
        """One process's sentences.

        Raises:
            DataError: it left more than a stray sentence without an answer.
        """
        lines = [" ".join(text.split()).replace("*", STAR) for text in texts]
        said = self._answers([line for line in lines if line], mode)
        silent = [line for line, answer in said.items() if not answer]
        if len(silent) > max(1, len(said) // 100):
            raise DataError(
                f"apertium {mode} gave no answer for {len(silent):,} of {len(said):,} sentences",
                where=repr(silent[0][:80]),
                hint=f"Try it by hand: echo TEXT | apertium {mode}. Reinstall the language pair if it says nothing.",
            )
        found = []
        for line in lines:
            text, unknown = _unmarked(line, said.get(line, ""))
            found.append(Translation(text.replace(STAR, "*"), None, unknown))
        return found

    def _answers(self, lines: list[str], mode: str) -> dict[str, str]:
        """Line → answer.  An empty line goes between them, which Apertium keeps and does not read across.

        Where the counts differ one line upset them: the block is halved until it stands alone, and has no answer.
        """
        if not lines:
            return {}
        answers = [line.strip() for line in _run(["apertium", "-f", "txt", mode], "\n\n".join(lines), self.patience, mode).split("\n")]
        answers = [line for line in answers if line]
        if len(answers) == len(lines):
            return dict(zip(lines, answers, strict=True))
        if len(lines) == 1:
            return {lines[0]: ""}
        middle = len(lines) // 2
        return {**self._answers(lines[:middle], mode), **self._answers(lines[middle:], mode)}


def _unmarked(source: str, text: str) -> tuple[str, int]:
    """A translation without Apertium's marks, and how many words they stood at."""
    text, unknown = UNKNOWN.subn("", text)
    for mark, pattern in MARKS.items():
        if mark not in source:
            text, count = pattern.subn("", text)
            unknown += count
    return text if "/" in source else EITHER.sub(r"\1", text), unknown


def _run(command: list[str], text: str, patience: float, mode: str) -> str:
    """Standard output of one process group that gets `text` and `patience` seconds.

    Raises:
        DataError: it cannot start, hangs, fails, or answers with bytes that are no text.
    """
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        raise DataError(f"apertium cannot be started: {error.strerror}", hint="apt-get install apertium") from error
    try:
        out, errors = process.communicate((text + "\n").encode(), timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # a pipeline of half a dozen programs: all of them
        process.communicate()
        raise DataError(
            f"apertium {mode} gave no answer within {patience:g} s and was stopped",
            hint="Run the build again: finished sentences are kept. A slower machine needs a larger 'patience'.",
        ) from None
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip()[-300:]
        raise DataError(
            f"apertium {mode} ended with code {process.returncode}: {said or 'it said nothing'}", hint="Reinstall the language pair."
        )
    try:
        return out.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"apertium {mode} answered with bytes that are no UTF-8", hint="Reinstall the language pair.") from error


@lru_cache(maxsize=1)
def modes() -> dict[str, tuple[str, str]]:
    """Installed directions: mode name → (source, target) as the mode spells them; variants (``cat_valencia``) are left out."""
    done = subprocess.run(["apertium", "-l"], capture_output=True, text=True, check=False)
    found = {}
    for name in done.stdout.split():
        source, dash, target = name.partition("-")
        if dash and source.isalpha() and target.isalpha():
            found[name] = (source, target)
    return found


def mode_of(source: str, target: str) -> str | None:
    """The installed mode of a direction."""
    return next((name for name, (a, b) in modes().items() if same(a, source) and same(b, target)), None)


@lru_cache(maxsize=64)
def _mode_digest(mode: str) -> str:
    """sha256 of a mode's pipeline and of every compiled file that it names."""
    total = hashlib.sha256()
    for folder in ("/usr/share/apertium/modes", "/usr/local/share/apertium/modes"):
        file = Path(folder) / f"{mode}.mode"
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            total.update(text.encode())
            for name in sorted(set(re.findall(r"/[^\s'|]+\.(?:bin|t[1-4n]x|prob|rlx|wx|lrx|autoseq)\b", text))):
                if Path(name).is_file():
                    total.update(hashlib.sha256(Path(name).read_bytes()).digest())
    return total.hexdigest()


def _package(source: str, target: str) -> str | None:
    """The Debian package that might hold a pair, by its name alone; newer ones use three letters."""
    matches = [pair for pair in PACKAGES if _pair_is(pair, source, target) or _pair_is(pair, target, source)]
    return max(matches, key=len) if matches else None


def _pair_is(pair: str, source: str, target: str) -> bool:
    a, _, b = pair.partition("-")
    return same(a, source) and same(b, target)


def pivots(source: str, target: str) -> list[str]:
    """Languages X for which source → X and X → target are both installed."""
    there = {b for a, b in modes().values() if same(a, source)}
    return sorted({langcodes.standardize_tag(x) for x in there for a, b in modes().values() if same(a, x) and same(b, target)})
