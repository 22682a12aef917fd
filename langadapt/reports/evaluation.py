"""The page of encoders scored side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langadapt.reports.report import closer_looks, examples, score_tables
from langadapt.reports.shell import listed, page


def evaluation_page(found: Mapping[str, Any]) -> str:
    """The page as HTML, complete in one file.

    Args:
        found: ``scores``, ``grids``, ``drawings`` and ``examples`` as a report has them, ``title``, and ``problems``, sentences.
    """
    sections = [
        ("Scores", score_tables(found)),
        ("Without a score", listed(found["problems"])),
        ("Closer looks", closer_looks(found)),
        ("Texts as the encoders place them", examples(found)),
    ]
    return page(found["title"], sections, {key: found[key] for key in ("scores", "drawings", "examples")})
