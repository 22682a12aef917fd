"""A tokenizer's JSON changed and put together again: what pruning and extending share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langadapt.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast


def state_of(base: PreTrainedTokenizerFast) -> dict[str, Any]:
    """A tokenizer's JSON, without limits of length.

    Raises:
        ModelError: a part of it is Python code that no JSON can hold.
    """
    try:
        found: dict[str, Any] = json.loads(plain(base).to_str())
    except Exception as error:  # tokenizers raises no narrower class
        raise ModelError(
            f"the base's tokenizer cannot be taken apart: {error}",
            hint="Train a vocabulary of its own: wordpiece, bpe or unigram.",
        ) from error
    return found | {"truncation": None, "padding": None}


def plain(base: PreTrainedTokenizerFast) -> Tokenizer:
    """The Rust tokenizer, without the second reading of a bidirectional one: its pre-tokenizer hands out whole words."""
    if reads_both_ends(base):
        return base.plain_backend()
    return base.backend_tokenizer


def pair(merge: str | list[str]) -> tuple[str, str]:
    """The two parts of a BPE merge, in either of the forms that ``tokenizer.json`` has."""
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def product(model: dict[str, Any], left: str, right: str) -> str:
    """The piece that a merge makes."""
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


def renumber(processor: dict[str, Any] | None, order: dict[int, int]) -> None:
    """Special-token ids inside a post-processor, old id → new id."""
    if processor is None:
        return
    if processor["type"] == "TemplateProcessing":
        for special in processor["special_tokens"].values():
            special["ids"] = [order[i] for i in special["ids"]]
    elif processor["type"] in ("BertProcessing", "RobertaProcessing"):
        for role in ("sep", "cls"):
            processor[role][1] = order[processor[role][1]]
    for part in processor.get("processors", []):
        renumber(part, order)


def reads_both_ends(base: Any) -> bool:
    """Whether a tokenizer is a bidirectional WordPiece; asked without importing its class, which brings transformers."""
    return hasattr(base, "both_ends")


def like(base: PreTrainedTokenizerFast, state: dict[str, Any]) -> PreTrainedTokenizerFast:
    """A tokenizer of the changed JSON with the base's roles of special tokens, its limits and the inputs that its model takes."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    _pin_added(state)
    roles = {f"{r}_token": getattr(base, f"{r}_token") for r in ("pad", "unk", "cls", "sep", "mask", "bos", "eos")}
    named: dict[str, Any] = {role: token for role, token in roles.items() if token is not None}
    family: Any = PreTrainedTokenizerFast
    if reads_both_ends(base):
        vocab, before = state["model"]["vocab"], base.get_vocab()
        counts = {piece: count for piece, count in base.piece_counts.items() if piece in vocab}
        family, named["counts"] = type(base), counts | {piece: 0 for piece in vocab if piece not in before}
        named["choice"] = base.choice
    found: PreTrainedTokenizerFast = family(
        tokenizer_object=Tokenizer.from_str(json.dumps(state, ensure_ascii=False)),
        model_max_length=base.model_max_length,
        model_input_names=list(base.model_input_names),
        padding_side=base.padding_side,
        truncation_side=base.truncation_side,
        additional_special_tokens=[token for token in base.all_special_tokens if token not in roles.values()],
        **named,
    )
    return found


def _pin_added(state: dict[str, Any]) -> None:
    """Where ids have holes, name added tokens in the model too: read again, they would be numbered by how many entries there are.

    One that stands for a whole word alone (``single_word``) must not be named there, or the model would find it inside longer words:
    the holes are closed then, and added tokens stand behind the model's own.
    """
    vocab = state["model"]["vocab"]
    if not isinstance(vocab, dict) or not vocab or max(vocab.values()) < len(vocab):
        return
    outside = [item for item in state["added_tokens"] if item["content"] not in vocab]
    if not any(item["single_word"] for item in outside):
        for item in outside:
            vocab[item["content"]] = item["id"]
        return
    own = sorted(vocab.values())
    order = {old: new for new, old in enumerate([*own, *sorted(item["id"] for item in outside)])}
    for token, old in list(vocab.items()):
        vocab[token] = order[old]
    for item in state["added_tokens"]:
        item["id"] = order[item["id"]]
    state["added_tokens"].sort(key=lambda item: item["id"])
    renumber(state.get("post_processor"), order)
