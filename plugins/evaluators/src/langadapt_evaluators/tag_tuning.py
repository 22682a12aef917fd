"""A tagger that is the encoder with a linear layer, or a field over one, every weight trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from langadapt.contracts import Batch, Columns, Context, Loss, Models, Objective, Role, Row
from langadapt.contracts.loop import TokenizedRows, steps_per_epoch
from langadapt.contracts.reading import Sentence, from_rows
from langadapt_evaluators.fine_tuning import DROPOUT, Run, linear_layer, trained
from langadapt_evaluators.tag_heads import decoded, everything, field

if TYPE_CHECKING:
    from langadapt.contracts import Embeds


@dataclass(frozen=True)
class Rules:
    """What of an evaluator's options decides a run."""

    epochs: float
    batch_size: int
    learning_rate: float
    crf: bool
    lexicon: Mapping[str, str]
    """Word → type: such words are read between markers of their type (Lex-BERT)."""


def fine_tuned(
    encoder: Embeds, sentences: list[Sentence], tags: Sequence[str], unseen: list[Sentence], rules: Rules, seed: int, ctx: Context
) -> list[list[int]]:
    """Tags of the unseen sentences' words, up to the first that is cut off, by a copy of the encoder trained with one seed."""
    number = {tag: i for i, tag in enumerate(tags)}
    rows, places = _tokenized(encoder, sentences, rules.lexicon, number)
    steps = max(1, round(rules.epochs * steps_per_epoch(len(rows), rules.batch_size)))
    run = Run(steps, rules.batch_size, rules.learning_rate)
    module, head = trained(encoder, partial(Head, tags=len(tags), crf=rules.crf), _Tag(), rows, run, f"fine-tune tags {seed}", ctx)
    chain: Any = head.chain.cpu() if head.chain is not None else None
    rows, places = _tokenized(encoder, unseen, rules.lexicon, None)
    found: list[list[int]] = []
    with torch.inference_mode():
        for start in range(0, len(rows), rules.batch_size):
            some = range(start, min(start + rules.batch_size, len(rows)))
            states = module.masked_states([rows[i]["text"] for i in some], [places[i] for i in some])
            for scores in head(states).float().cpu().split([len(places[i]) for i in some]):
                found.append(decoded(chain, scores) if chain is not None else scores.argmax(-1).tolist())
    return found


class Head(nn.Module):
    """Scores (m, tags) of states (m, d), and the field over them where there is one."""

    def __init__(self, width: int, tags: int, crf: bool) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(DROPOUT), linear_layer(width, tags)
        self.chain = field(tags) if crf else None

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.linear(self.dropout(states))  # type: ignore[no-any-return]


class _Tag(Objective):
    """Cross-entropy of each word's first piece, or the likelihood of a sentence's tags; the terms are words."""

    name: ClassVar[str] = "tag"
    columns: ClassVar[tuple[Columns, ...]] = ()

    def collate(self, rows: list[Row], tokenizer: Any, rng: np.random.Generator, head: Any = None) -> Batch:
        count = sum(len(row["places"]) for row in rows)
        return Batch([row["text"] for row in rows], count, {name: [row[name] for row in rows] for name in ("places", "goal")})

    def loss(self, models: Models, batch: Batch, step: int) -> Loss:
        places, goal = batch.extra["places"], batch.extra["goal"]
        scores = models.head(models.encoder.masked_states(batch.sequences, places)).float()
        wanted = torch.tensor([tag for one in goal for tag in one], device=scores.device)
        if models.head.chain is None:
            return Loss(cross_entropy(scores, wanted, reduction="sum"))
        sizes = [len(one) for one in places]
        parts = zip(torch.split(scores, sizes), torch.split(wanted, sizes), strict=True)
        terms = [-models.head.chain(one[None], tags[None], mask=everything(one), reduction="sum") for one, tags in parts if len(one)]
        return Loss(torch.stack(terms).sum())


def _tokenized(
    encoder: Embeds, sentences: list[Sentence], lexicon: Mapping[str, str], number: Mapping[str, int] | None
) -> tuple[TokenizedRows, list[list[int]]]:
    """Sentences as token ids with the places of their words' first pieces, and their tags where they are to be learnt."""
    texts, spans = zip(*(_written([word for word, _ in sentence], lexicon) for sentence in sentences), strict=True)
    length = encoder.settings.max_length
    offsets = encoder.tokenizer(list(texts), truncation=True, max_length=length, return_offsets_mapping=True)["offset_mapping"]
    rows, places = [], []
    for sentence, text, starts, found in zip(sentences, texts, spans, offsets, strict=True):
        first = [next((i for i, (a, b) in enumerate(found) if a < b and b > start and a < end), None) for start, end in starts]
        kept = [place for place in first[: first.index(None) if None in first else len(first)] if place is not None]
        row = {"text": text, "places": kept}
        if number is not None:
            row["goal"] = [number[tag] for _, tag in sentence[: len(kept)]]
        if kept or number is None:
            rows.append(row)
            places.append(kept)
    return TokenizedRows.of(from_rows(rows), encoder.tokenizer, length, {"text": Role.TEXT}), places


def _written(words: Sequence[str], lexicon: Mapping[str, str]) -> tuple[str, list[tuple[int, int]]]:
    """A sentence as it is read, and where its words stand in it; a word of the lexicon stands between ``[type]`` and ``[/type]``."""
    text, spans = "", []
    for word in words:
        kind = lexicon.get(word)
        text += f"[{kind}] " if kind else ""
        spans.append((len(text), len(text) + len(word)))
        text += f"{word} [/{kind}] " if kind else f"{word} "
    return text.rstrip(), spans
