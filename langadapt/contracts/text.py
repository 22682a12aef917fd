"""What components take texts apart with: tokens, words, scripts, characters."""

from typing import TYPE_CHECKING

from langadapt.contracts import lazy

if TYPE_CHECKING:
    from langadapt.modeling.characters import ETHIOPIC, ORDER, decompose, recompose, take_apart
    from langadapt.modeling.scripts import script_class
    from langadapt.modeling.segmentation import (
        compare,
        icu_segments,
        spelling,
        split,
        splitter,
        tokens_of_words,
        unspaced_share,
        word_places,
    )
    from langadapt.modeling.token_ids import plain_backend, token_ids

__all__ = [
    "ETHIOPIC",
    "ORDER",
    "compare",
    "decompose",
    "icu_segments",
    "plain_backend",
    "recompose",
    "script_class",
    "spelling",
    "split",
    "splitter",
    "take_apart",
    "token_ids",
    "tokens_of_words",
    "unspaced_share",
    "word_places",
]

__getattr__ = lazy.homes(
    __name__,
    {
        "ETHIOPIC": "langadapt.modeling.characters",
        "ORDER": "langadapt.modeling.characters",
        "compare": "langadapt.modeling.segmentation",
        "decompose": "langadapt.modeling.characters",
        "icu_segments": "langadapt.modeling.segmentation",
        "plain_backend": "langadapt.modeling.token_ids",
        "recompose": "langadapt.modeling.characters",
        "script_class": "langadapt.modeling.scripts",
        "spelling": "langadapt.modeling.segmentation",
        "split": "langadapt.modeling.segmentation",
        "splitter": "langadapt.modeling.segmentation",
        "take_apart": "langadapt.modeling.characters",
        "token_ids": "langadapt.modeling.token_ids",
        "tokens_of_words": "langadapt.modeling.segmentation",
        "unspaced_share": "langadapt.modeling.segmentation",
        "word_places": "langadapt.modeling.segmentation",
    },
)
