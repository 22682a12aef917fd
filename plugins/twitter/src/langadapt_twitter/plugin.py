"""What this plugin brings: a normalizer and a domain manifest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langadapt import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [ComponentRef("normalizer", "twitter", "langadapt_twitter.normalizer:Twitter", "users, links and retweet marks of posts")]


@hookimpl
def langadapt_data_dirs() -> Iterable[Path]:
    return [Path(__file__).resolve().parent]
