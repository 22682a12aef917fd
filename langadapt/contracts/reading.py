"""What components read data with: resources as files, tables, pairs, labelled and tagged texts, retrieval sets."""

from typing import TYPE_CHECKING

from langadapt.contracts import lazy

if TYPE_CHECKING:
    from langadapt.artifacts.dataset import TEXTS, from_rows
    from langadapt.data import retrieval, tables
    from langadapt.data.fetch import Pinned, fetch
    from langadapt.data.labelled import Labelled
    from langadapt.data.labelled import read as read_labelled
    from langadapt.data.pairs import NLI_COLUMNS, STS_COLUMNS, nli_rows, sts_rows
    from langadapt.data.parallel import read_pairs, read_parallel
    from langadapt.data.retrieval import held_out
    from langadapt.data.tagged import Sentence
    from langadapt.data.tagged import read as read_tagged
    from langadapt.files import read_json, stable_hash

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
    "read_pairs",
    "read_parallel",
    "read_tagged",
    "retrieval",
    "stable_hash",
    "sts_rows",
    "tables",
]

__getattr__ = lazy.homes(
    __name__,
    {
        "Labelled": "langadapt.data.labelled",
        "NLI_COLUMNS": "langadapt.data.pairs",
        "Pinned": "langadapt.data.fetch",
        "STS_COLUMNS": "langadapt.data.pairs",
        "Sentence": "langadapt.data.tagged",
        "TEXTS": "langadapt.artifacts.dataset",
        "fetch": "langadapt.data.fetch",
        "from_rows": "langadapt.artifacts.dataset",
        "held_out": "langadapt.data.retrieval",
        "nli_rows": "langadapt.data.pairs",
        "read_json": "langadapt.files",
        "read_labelled": "langadapt.data.labelled:read",
        "read_pairs": "langadapt.data.parallel",
        "read_parallel": "langadapt.data.parallel",
        "read_tagged": "langadapt.data.tagged:read",
        "retrieval": "langadapt.data:retrieval",
        "stable_hash": "langadapt.files",
        "sts_rows": "langadapt.data.pairs",
        "tables": "langadapt.data:tables",
    },
)
