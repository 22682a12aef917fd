"""A scorer on disk: a sequence classifier of one output, its tokenizer, and ``scorer.json`` with how long a pair may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from langadapt.artifacts.encoder import SCORER, longest_text, pad_id
from langadapt.errors import ModelError
from langadapt.files import write_json
from langadapt.modeling.framing import PairFrame, type_frame
from langadapt.modeling.loading import load_model, load_tokenizer, save_checkpoint
from langadapt.modeling.scorer import ScorerModule
from langadapt.settings_files import read_settings_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class ScorerSettings(BaseModel):
    """How pairs are read; the schema of ``scorer.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_length: int = Field(ge=4, le=10_000_000)
    """Tokens a pair, special ones included."""


SETTINGS = SCORER


@dataclass
class LoadedScorer:
    """A scorer in memory."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    settings: ScorerSettings

    def module(self, budget: int = 4096) -> ScorerModule:
        """The scorer as one module.

        Raises:
            ModelError: its tokenizer puts nothing between two texts.
        """
        frame = PairFrame.of(self.tokenizer)
        typed = type_frame(self.tokenizer, self.model) is not None
        return ScorerModule(self.model, frame, pad_id(self.tokenizer), self.settings.max_length, budget, typed)


def is_scorer(folder: Path) -> bool:
    """Whether a folder is a scorer of ours."""
    return (folder / SETTINGS).is_file()


def load(folder: Path, max_length: int | None = None) -> LoadedScorer:
    """A scorer, or an encoder's checkpoint with a new head.

    Args:
        max_length: tokens a pair, where the folder states none; None takes what its positions have room for, 512 at most.

    Raises:
        ModelError: what :func:`langadapt.modeling.loading.load_model` refuses, or a malformed scorer.json.
    """
    model, tokenizer = load_model(folder, options={}, scorer=True), load_tokenizer(folder)
    if is_scorer(folder):
        try:
            settings = ScorerSettings.model_validate(read_settings_file(folder / SETTINGS))
        except ValidationError as error:
            problem = error.errors()[0]
            where = str(folder / SETTINGS)
            raise ModelError(f"'{problem['loc'][0]}': {problem['msg'].lower()}", where=where, hint="Copy the folder again.") from error
        return LoadedScorer(model, tokenizer, settings)
    _wake_pooler(model)
    longest = longest_text(max_length or USUAL_LENGTH, tokenizer, model)
    return LoadedScorer(model, tokenizer, ScorerSettings(max_length=longest))


def _wake_pooler(model: PreTrainedModel) -> None:
    """Draw the pooling layer anew where it is all zeros, as releases of sentence encoders write the one they do not use."""
    for name, weight in model.named_parameters():
        if name.endswith("pooler.dense.weight") and not bool(weight.any()):
            torch.nn.init.normal_(weight, std=float(getattr(model.config, "initializer_range", 0.02)))


USUAL_LENGTH = 512
"""Tokens a pair is cut at while nobody states another length."""


def save(scorer: LoadedScorer, folder: Path) -> None:
    """Write checkpoint, tokenizer and settings."""
    save_checkpoint(scorer.model, scorer.tokenizer, folder)
    write_json(folder / SETTINGS, scorer.settings.model_dump())
