"""Vectors of a teacher, computed once."""

from __future__ import annotations

from typing import Any, ClassVar

from datasets import Dataset

from langadapt.contracts import Annotator, Columns, Context, Embeds, Role, Scores
from langadapt.errors import ModelError


class Vectors(Annotator):
    """The teacher's vector of each row's text, as a column of floats: what ``mse-distil`` learns from.

    A text that occurs often is encoded once.  Reimers & Gurevych 2020 (arXiv:2004.09813) compute the vectors of a teacher so before a
    student of another language learns them.
    """

    name: ClassVar[str] = "vectors"

    of: str = "text"
    """The column that is encoded."""
    into: str = "vector"
    normalize: bool = False
    """Scale the vectors to length one first."""

    def reads(self) -> Columns:
        return {self.of: Role.TEXT}

    def adds(self) -> Columns:
        return {self.into: Role.NUMBERS}

    def annotate(self, rows: Dataset, teacher: Embeds | Scores, ctx: Context) -> dict[str, list[Any]]:
        encoder = encoder_of(teacher, self.name)
        if encoder.settings.output is not None and not self.normalize:
            raise ModelError(
                f"the teacher stores its vectors as '{encoder.settings.output['use']}', which is nothing to learn",
                hint="Take the encoder before that transform, or set normalize: true.",
            )
        texts = list(dict.fromkeys(rows[self.of]))
        place = {text: i for i, text in enumerate(texts)}
        vectors = encoder.encode(texts, normalize=self.normalize or None, progress=ctx.log).astype("float32")
        return {self.into: [vectors[place[text]] for text in rows[self.of]]}


def encoder_of(teacher: Embeds | Scores, name: str) -> Embeds:
    """The teacher, where it makes vectors.

    Raises:
        ModelError: it scores pairs instead.
    """
    if not isinstance(teacher, Embeds):
        raise ModelError(f"'{name}' needs an encoder as its teacher, and a scorer makes no vectors")
    return teacher
