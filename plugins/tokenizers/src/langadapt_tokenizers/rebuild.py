"""A tokenizer's JSON changed and put together again: what pruning and extending share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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


def like(base: PreTrainedTokenizerFast, backend: Any) -> PreTrainedTokenizerFast:
    """A tokenizer with the base's special-token roles around another backend."""
    from transformers import PreTrainedTokenizerFast

    roles = {f"{r}_token": getattr(base, f"{r}_token") for r in ("pad", "unk", "cls", "sep", "mask", "bos", "eos")}
    named = {role: token for role, token in roles.items() if token is not None}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=base.model_max_length,
        model_input_names=["input_ids", "attention_mask"],
        additional_special_tokens=[token for token in base.all_special_tokens if token not in roles.values()],
        **named,
    )
