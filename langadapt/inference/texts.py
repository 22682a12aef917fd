"""What users pass to an encoder, checked and turned into token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from langadapt.artifacts.encoder import pad_id
from langadapt.errors import DataError
from langadapt.inference.reading import Reading
from langadapt.training.tokenized import tokenize_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what is no list of texts.

    Raises:
        DataError: a single string, something without an order, a value that is no string or no Unicode text.
    """
    if isinstance(texts, str):
        raise DataError("encode() takes a list of texts, not one string", hint="Write encode([text]).")
    if not (hasattr(texts, "__len__") and hasattr(texts, "__getitem__")) or isinstance(texts, dict | bytes):
        raise DataError(
            f"encode() takes a list of texts, not {type(texts).__name__}",
            hint="Write encode(list(texts)): vectors come in the order of the texts.",
        )
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {i} is {type(text).__name__}, not a string")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"text {i} has half of a surrogate pair at character {error.start + 1}, which is no Unicode text") from error


def names_of(adapter: str | Sequence[str | None] | None, default: str | None, count: int) -> list[str | None]:
    """One adapter name, or None, for each text.

    Raises:
        DataError: names that are none, or not one a text.
    """
    if adapter is None or isinstance(adapter, str):
        names: list[str | None] = [adapter or default] * count
    elif isinstance(adapter, Iterable):
        names = list(adapter)
    else:
        raise DataError(f"adapter is {type(adapter).__name__}, not a name or a list of names", hint="Give one name, or one for each text.")
    for i, name in enumerate(names):
        if name is not None and not isinstance(name, str):
            raise DataError(f"adapter {i} is {type(name).__name__}, not a name", hint="Give a name, or None for the base alone.")
    if len(names) != count:
        raise DataError(f"{len(names)} adapters are named for {count} texts", hint="Give one name, or one for each text.")
    return [name or None for name in names]


def token_ids_of(
    texts: Sequence[str], readings: Sequence[Reading | None], own: Reading, tokenizer: PreTrainedTokenizerFast
) -> tuple[list[list[int]], dict[int, int]]:
    """Token ids of texts as their adapters read them, and how many texts were cut at which length."""
    ids: list[list[int]] = [[] for _ in texts]
    places: dict[int, list[int]] = {}
    for i, reading in enumerate(readings):
        places.setdefault((reading or own).max_length, []).append(i)
    cut: dict[int, int] = {}
    for limit, rows in places.items():
        found, truncated = tokenize_texts(tokenizer, [(readings[i] or own).prepare(texts[i]) for i in rows], limit)
        if truncated:
            cut[limit] = truncated
        for i, one in zip(rows, found, strict=True):
            # A tokenizer without special tokens gives an empty text no token at all: one padding token stands in.
            ids[i] = one or [pad_id(tokenizer)]
    return ids, cut
