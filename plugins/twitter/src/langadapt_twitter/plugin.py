"""What this plugin brings: normalizers, a reader of posts, and a domain manifest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langadapt.contracts import ComponentRef, hookimpl


@hookimpl
def langadapt_components() -> Iterable[ComponentRef]:
    return [
        ComponentRef("normalizer", "twitter", "langadapt_twitter.normalizer:Twitter", "users, links, retweet marks, emoji, hashtags"),
        ComponentRef("normalizer", "indobertweet", "langadapt_twitter.indobertweet:IndoBertweet", "posts as IndoBERTweet reads them"),
        ComponentRef("corpus", "posts", "langadapt_twitter.corpus:Posts", "posts from the platform's export formats, or one a line"),
    ]


@hookimpl
def langadapt_data_dirs() -> Iterable[Path]:
    return [Path(__file__).resolve().parent]
