"""Resources of a manifest as tasks of MTEB's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask, AbsTaskBitextMining, AbsTaskClassification, AbsTaskPairClassification, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata

from langadapt.contracts import Context, Resource
from langadapt.contracts.reading import fetch, nli_rows, read_labelled, read_parallel, retrieval, sts_rows
from langadapt.errors import DataError

KINDS: dict[str, tuple[type[AbsTask], str, str]] = {
    "sts": (AbsTaskSTS, "STS", "cosine_spearman"),
    "paraphrase": (AbsTaskPairClassification, "PairClassification", "max_ap"),
    "parallel": (AbsTaskBitextMining, "BitextMining", "f1"),
    "classification": (AbsTaskClassification, "Classification", "accuracy"),
    "retrieval": (AbsTaskRetrieval, "Retrieval", "ndcg_at_10"),
}
"""Format → the class of its task, MTEB's name of its type and its main score."""


def local_task(data: Resource, ctx: Context, test: Resource | None = None, language: str = "und-Zyyy") -> AbsTask:
    """A task of MTEB's on local data, loaded.

    Args:
        data: pinned; of format ``sts``, ``paraphrase``, ``parallel``, ``retrieval``, or ``classification`` (the rows learnt from).
        test: the rows that a classification is scored on.
        language: as MTEB writes it, ISO 639-3 and script (``mar-Deva``).

    Raises:
        DataError: another format, a classification without a test, or what is wrong with the data.
    """
    if data.format not in KINDS:
        raise DataError(f"MTEB has no task for the format '{data.format}'", where=data.name, hint=f"It has for {', '.join(KINDS)}.")
    if data.format == "classification" and test is None:
        raise DataError("a classification of MTEB's needs a test of its own", where=data.name, hint="Give it as `test`.")
    base, kind, main = KINDS[data.format]
    name = "Local" + "".join(part.title() for part in re.findall(r"\w+", data.name))
    facts: dict[str, Any] = {"name": name, "description": data.origin or data.name, "dataset": {"path": "local", "revision": "local"}}
    facts |= {"type": kind, "category": "t2c" if kind == "Classification" else "t2t", "modalities": ["text"], "eval_splits": ["test"]}
    metadata = TaskMetadata(**facts, eval_langs=[language], main_score=main)
    sort: Any = type(name, (base,), {"metadata": metadata, **OPTIONS.get(data.format, {})})
    task = sort()
    task.dataset = READERS[data.format](data, test, ctx)
    task.data_loaded = True
    return task  # type: ignore[no-any-return]


OPTIONS: dict[str, dict[str, Any]] = {"sts": {"min_score": 0, "max_score": 1}}


def _sts(data: Resource, test: Resource | None, ctx: Context) -> DatasetDict:
    return _split(list(sts_rows(data, ctx)))


def _paraphrase(data: Resource, test: Resource | None, ctx: Context) -> DatasetDict:
    rows = nli_rows(data, ctx)
    return _split(
        [{"sentence1": row["premise"], "sentence2": row["hypothesis"], "labels": int(row["label"] == "entailment")} for row in rows]
    )


def _parallel(data: Resource, test: Resource | None, ctx: Context) -> DatasetDict:
    return _split([{"sentence1": one, "sentence2": other} for one, other in dict.fromkeys(read_parallel(data, ctx))])


def _classification(data: Resource, test: Resource | None, ctx: Context) -> DatasetDict:
    assert test is not None
    parts = {"train": read_labelled(data, ctx), "test": read_labelled(test, ctx)}
    if any(len(texts) != 1 for rows in parts.values() for texts in rows.texts):
        raise DataError("classifies pairs of texts, and MTEB single ones", where=data.name)
    number = {label: i for i, label in enumerate(sorted(set(parts["train"].labels)))}
    if unknown := sorted(set(parts["test"].labels) - set(number)):
        raise DataError(f"the test has labels that training never sees: {', '.join(unknown)}", where=test.name)
    tables = {
        name: [{"text": text, "label": number[label]} for (text,), label in zip(rows.texts, rows.labels, strict=True)]
        for name, rows in parts.items()
    }
    return DatasetDict({name: Dataset.from_list(table) for name, table in tables.items()})


def _retrieval(data: Resource, test: Resource | None, ctx: Context) -> dict[str, Any]:
    found = retrieval.load(data, fetch(data, ctx), ctx.log)
    queries, corpus = (
        Dataset.from_list([{"id": key, "text": text} for key, text in texts.items()]) for texts in (found.queries, found.passages)
    )
    judged = {query: {passage: int(grade) for passage, grade in good.items()} for query, good in found.relevant.items()}
    queries = queries.filter(lambda row: row["id"] in judged)
    return {"default": {"test": {"queries": queries, "corpus": corpus, "relevant_docs": judged, "top_ranked": None}}}


def _split(rows: list[dict[str, Any]]) -> DatasetDict:
    return DatasetDict({"test": Dataset.from_list(rows)})


READERS: dict[str, Callable[[Resource, Resource | None, Context], Any]] = {
    "sts": _sts,
    "paraphrase": _paraphrase,
    "parallel": _parallel,
    "classification": _classification,
    "retrieval": _retrieval,
}
