"""advised: the base's vocabulary kept, pruned, extended or replaced, whichever the text speaks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from langadapt.contracts import Context, TokenizerTrainer
from langadapt.contracts.text import compare, spelling, split
from langadapt.errors import DataError, ModelError
from langadapt_tokenizers.bidirectional import BidirectionalWordPiece
from langadapt_tokenizers.extend import Extend
from langadapt_tokenizers.prune import Prune
from langadapt_tokenizers.rebuild import reads_both_ends
from langadapt_tokenizers.trained import Bpe, Unigram, VocabSize, WordPiece

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Advised(TokenizerTrainer):
    """Train each alternative on nine tenths of the text, measure it on the rest, and follow the advice of ``langadapt tokens``.

    A vocabulary that replaces the base's is of the same type as the base's, and lower-cases and drops accents as it does.
    """

    name: ClassVar[str] = "advised"
    version: ClassVar[str] = "2"

    scripts: list[str] = []
    """ISO 15924 codes whose pieces pruning keeps."""
    vocab_size: VocabSize = 16_000
    """Entries of a vocabulary that replaces the base's."""
    budget: Annotated[int, Field(ge=1)] = 2000
    """Tokens that an extension may add."""

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """The chosen tokenizer, trained on the whole text.

        Raises:
            ModelError: no base was given.
            DataError: fewer than 50 texts.
        """
        if base is None:
            raise ModelError("advised needs a base: name the stage's 'encoder'")
        whole = list(texts)
        train, held = split(whole)
        trainers = self.alternatives(base, self.scripts, self.budget, self.vocab_size)
        made, failed = {"keep": base}, {}
        for name, trainer in trainers.items():
            try:
                made[name] = trainer.train(train, base, ctx)
            except (DataError, ModelError) as error:
                failed[name] = error.what
        if len(made.get("prune", base)) == len(base):
            made.pop("prune", None)
        advice = compare(made, failed, train, held, width=0)
        ctx.log.info(f"advice: {advice.choice}. {' '.join(advice.reasons)}")
        return base if advice.choice == "keep" else trainers[advice.choice].train(whole, base, ctx)

    def alternatives(self, base: PreTrainedTokenizerFast, scripts: list[str], budget: int, vocab_size: int) -> dict[str, TokenizerTrainer]:
        kinds = {"WordPiece": WordPiece, "BPE": Bpe, "Unigram": Unigram}
        own: type[WordPiece | Unigram | Bpe] = kinds.get(type(base.backend_tokenizer.model).__name__, Unigram)  # type: ignore[assignment]
        if reads_both_ends(base):
            own = BidirectionalWordPiece
        replacement = own(vocab_size=vocab_size, **spelling(base))
        return {"prune": Prune(scripts=scripts), "extend": Extend(budget=budget), "replace": replacement}
