"""Which of two groups a masked language model expects in sentences that name a trait, beside what it expects of any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from langadapt.contracts import Context, Resource
from langadapt.errors import DataError
from langadapt_evaluators.columns import read_columns

if TYPE_CHECKING:
    from langadapt.contracts import Embeds

TARGET, TRAIT = "{target}", "{attribute}"


def associations(encoder: Embeds, data: Resource, ctx: Context) -> tuple[np.ndarray, list[str]]:
    """(n,) of each row log p(first | trait) / p(first) less the same of the second target, and its kind.

    Kurita et al. 2019 (arXiv:1906.07337): p(target) is read with the trait's words hidden too.  A target of several pieces has all of
    them hidden, and their log-probabilities summed.

    Raises:
        DataError: a template without its two places, or a target that the tokenizer joins to its neighbours.
    """
    columns = ("template", "target1", "target2", "attribute")
    found, kinds = [], []
    rows = list(read_columns(data, ctx, columns, ("label",)))
    for where, row in ctx.log.track(rows, "templates", len(rows)):
        if row["template"].count(TARGET) != 1 or row["template"].count(TRAIT) != 1:
            raise DataError(f"the template needs one {TARGET} and one {TRAIT}", where=where)
        one, other = (_association(encoder, row["template"], row[target], row["attribute"], where) for target in ("target1", "target2"))
        found.append(one - other)
        kinds.append(row["label"])
    if len(found) < 2:
        raise DataError(f"{len(found)} rows are too few", where=data.name)
    return np.array(found), kinds


def _association(encoder: Embeds, template: str, target: str, attribute: str, where: str) -> float:
    mask = encoder.tokenizer.mask_token_id
    if mask is None:
        raise DataError("the tokenizer has no mask token", hint="This is a measure of masked language models.")
    text = template.replace(TRAIT, attribute)
    start, trait = (_span(template, part, attribute, target) for part in (TARGET, TRAIT))
    encoded = encoder.tokenizer(text.replace(TARGET, target), return_offsets_mapping=True)
    ids, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
    own, hidden = (_pieces(offsets, span) for span in (start, trait))
    if not own or not hidden or set(own) & set(hidden):
        raise DataError(f"'{target}' and '{attribute}' have no pieces of their own in '{text}'", where=where)
    goal = [ids[i] for i in own]
    given = [mask if i in own else token for i, token in enumerate(ids)]
    prior = [mask if i in own or i in hidden else token for i, token in enumerate(ids)]
    said = encoder.masked_log_probabilities([given, prior], [own, own], [*goal, *goal])
    return float(said[: len(own)].sum() - said[len(own) :].sum())


def _span(template: str, part: str, attribute: str, target: str) -> tuple[int, int]:
    """Where a part of a template stands once it is filled in."""
    start = template.index(part)
    other, text = (TRAIT, attribute) if part == TARGET else (TARGET, target)
    if template.index(other) < start:
        start += len(text) - len(other)
    return start, start + len(target if part == TARGET else attribute)


def _pieces(offsets: Sequence[tuple[int, int]], span: tuple[int, int]) -> list[int]:
    """Tokens with a character inside a span."""
    return [i for i, (start, end) in enumerate(offsets) if start < end and start < span[1] and end > span[0]]
