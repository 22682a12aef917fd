"""What components read data with: resources as files, tables, pairs, labelled and tagged texts, retrieval sets."""

from typing import TYPE_CHECKING

from langadapt.contracts import lazy

if TYPE_CHECKING:
    from langadapt.artifacts import retrieval, tables
    from langadapt.artifacts.dataset import TEXTS, from_rows
    from langadapt.artifacts.fetch import Pinned, fetch
    from langadapt.artifacts.files import read_json, stable_hash
    from langadapt.artifacts.labelled import Labelled
    from langadapt.artifacts.labelled import read as read_labelled
    from langadapt.artifacts.pairs import NLI_COLUMNS, STS_COLUMNS, nli_rows, sts_rows
    from langadapt.artifacts.retrieval import held_out
    from langadapt.artifacts.tagged import Sentence
    from langadapt.artifacts.tagged import read as read_tagged

__all__ = [
    "NLI_COLUMNS",
    "STS_COLUMNS",
    "TEXTS",
    "Labelled",
    "Pinned",
    "Sentence",
    "fetch",
    "from_rows",
    "held_out",
    "nli_rows",
    "read_json",
    "read_labelled",
    "read_tagged",
    "retrieval",
    "stable_hash",
    "sts_rows",
    "tables",
]

__getattr__ = lazy.homes(
    __name__,
    {
        "Labelled": "langadapt.artifacts.labelled",
        "NLI_COLUMNS": "langadapt.artifacts.pairs",
        "Pinned": "langadapt.artifacts.fetch",
        "STS_COLUMNS": "langadapt.artifacts.pairs",
        "Sentence": "langadapt.artifacts.tagged",
        "TEXTS": "langadapt.artifacts.dataset",
        "fetch": "langadapt.artifacts.fetch",
        "from_rows": "langadapt.artifacts.dataset",
        "held_out": "langadapt.artifacts.retrieval",
        "nli_rows": "langadapt.artifacts.pairs",
        "read_json": "langadapt.artifacts.files",
        "read_labelled": "langadapt.artifacts.labelled:read",
        "read_tagged": "langadapt.artifacts.tagged:read",
        "retrieval": "langadapt.artifacts:retrieval",
        "stable_hash": "langadapt.artifacts.files",
        "sts_rows": "langadapt.artifacts.pairs",
        "tables": "langadapt.artifacts:tables",
    },
)
