"""Data looked at before anything trains: the local files of a plan, read by the readers that its stages will use.

A malformed test file is found now and not after the night; rows of a test that also stand in training data, scores of another range,
texts in another script are said while it is cheap to mend them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import regex

from langadapt.contracts.component import Context, SilentLog
from langadapt.contracts.plan import Plan, PlannedStage
from langadapt.data import labelled, pairs, retrieval, tables, tagged
from langadapt.data.fetch import fetch
from langadapt.data.seen import Row, row_key
from langadapt.errors import LangadaptError, raise_all
from langadapt.manifests.resource import Resource
from langadapt.modeling.scripts import share_in_scripts

SAMPLE = 500
"""Rows by whose letters a file's script is judged."""
HEAD = 10_000
"""Lines of running text that are looked at; the stage that reads them all comes first anyway."""
LEAK = 0.5
"""Share of a test's rows in the training data from which its scores would measure memory."""
OWN_SCRIPT = 0.5
"""Share of letters in the language's scripts below which a file is likely of another language."""


@dataclass
class Notes(SilentLog):
    """Collects what readers warn of."""

    warnings: list[str] = field(default_factory=list)

    def warning(self, message: str) -> None:
        self.warnings.append(message)


@dataclass(frozen=True)
class Read:
    """One resource as it was read; of its rows, what the checks need is kept and no more."""

    resource: Resource
    trains: bool
    sample: list[Row]
    keys: list[int]
    """A number for each row, the same for the same texts in any order; none of single training texts."""

    @classmethod
    def of(cls, resource: Resource, trains: bool, rows: Iterator[Row]) -> Read:
        found = cls(resource, trains, [], [])
        for row in rows:
            if len(found.sample) < SAMPLE:
                found.sample.append(row)
            if len(row) > 1 or not trains:
                found.keys.append(row_key(row))
        return found


def check_data(plan: Plan, wanted: set[str] | None = None) -> list[str]:
    """Read the local files of a plan's stages; returns warnings.

    Args:
        plan: compiled, its resources pinned.
        wanted: stages to look at; None for all.

    Raises:
        LangadaptError: everything that a stage would refuse, reported together.
    """
    notes, errors, found = Notes(), [], []
    for stage in plan.stages:
        if wanted is not None and stage.name not in wanted:
            continue
        for resource in _local(stage):
            try:
                rows = READERS[resource.format](resource, Context(log=notes))
                found.append(Read.of(resource, bool(stage.columns), rows))
            except LangadaptError as error:
                error.what = f"resource '{resource.name}' of stage '{stage.name}': {error.what}"
                errors.append(error)
    raise_all(_once(errors))
    scripts = [one for read in found if (one := _script_warning(read, plan.scripts))]
    return list(dict.fromkeys([*notes.warnings, *scripts, *_leaks(found, plan)]))


def _once(errors: Iterable[LangadaptError]) -> list[LangadaptError]:
    return list({(error.where, error.hint): error for error in errors}.values())


def _local(stage: PlannedStage) -> Iterator[Resource]:
    for resource in stage.resources():
        if resource.pinned.place == "path" and resource.format in READERS:
            yield resource


def _nli(data: Resource, ctx: Context) -> Iterator[Row]:
    return ((row["premise"], row["hypothesis"]) for row in pairs.nli_rows(data, ctx))


def _sts(data: Resource, ctx: Context) -> Iterator[Row]:
    return ((row["sentence1"], row["sentence2"]) for row in pairs.sts_rows(data, ctx))


def _labelled(data: Resource, ctx: Context) -> Iterator[Row]:
    return iter(labelled.read(data, ctx).texts)


def _tagged(data: Resource, ctx: Context) -> Iterator[Row]:
    return ((" ".join(word for word, _ in sentence),) for path in fetch(data, ctx) for sentence in tagged.read(path, data))


def _retrieval(data: Resource, ctx: Context) -> Iterator[Row]:
    found = retrieval.load(data, fetch(data, ctx), ctx.log)
    return ((found.queries[query], found.passages[passage]) for query, good in found.relevant.items() for passage in good)


def _text(data: Resource, ctx: Context) -> Iterator[Row]:
    for path in fetch(data, ctx):
        if path.is_dir() or tables.suffix(path) not in (".txt", ""):
            continue  # tables of posts and notes have readers of their own
        yield from ((text,) for _, text in islice(tables.lines(path), HEAD))


READERS: Mapping[str, Callable[[Resource, Context], Iterator[Row]]] = {
    "nli": _nli,
    "paraphrase": _nli,
    "sts": _sts,
    "classification": _labelled,
    "tags": _tagged,
    "retrieval": _retrieval,
    "text": _text,
}


def _script_warning(read: Read, scripts: tuple[str, ...]) -> str:
    """A sentence where most letters of a file are of another script than its language's."""
    if not scripts or regex.search(r"-[a-z]{2,3}$", read.resource.name):  # nli-en is meant to be English
        return ""
    sample = " ".join(text for row in read.sample for text in row)
    share = share_in_scripts(sample, scripts)
    if share is None or share >= OWN_SCRIPT:
        return ""
    return (
        f"{read.resource.name}: {share:.0%} of the letters are in the language's script ({', '.join(scripts)}): is this a file of "
        f"another language? ({_places(read.resource)})"
    )


def _places(resource: Resource) -> str:
    return ", ".join(str(path) for path in resource.pinned.paths)


def _leaks(found: list[Read], plan: Plan) -> list[str]:
    """A sentence for each test of which rows stand in the training data."""
    known: dict[int, str] = {}
    for read in found:
        if read.trains:
            known.update(dict.fromkeys(read.keys, read.resource.name))
    held = {resource.name for stage in plan.stages for resource in _held_out(stage)}
    warnings = []
    for read in found:
        if read.trains or read.resource.name in held:
            continue
        hits = [known[key] for key in read.keys if key in known]
        if hits:
            names = ", ".join(f"'{name}'" for name in dict.fromkeys(hits))
            many = "; its scores measure memory" if len(hits) >= LEAK * len(read.keys) else ""
            told = f"{len(hits):,} of {len(read.keys):,} rows of the test '{read.resource.name}' also stand in the training data {names}"
            warnings.append(f"{told}{many}: {_places(read.resource)}")
    return warnings


def _held_out(stage: PlannedStage) -> Iterator[Resource]:
    """Resources of which training leaves a share to the test."""
    for value in stage.slots.values():
        for item in value if isinstance(value, list) else [value]:
            if item is not None and (data := item.shared_resource()) is not None:
                yield data
