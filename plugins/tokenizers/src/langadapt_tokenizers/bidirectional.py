"""bidirectional-wordpiece: words are cut from both ends, and the candidate with the more frequent pieces is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal

from langadapt.contracts import Context
from langadapt_tokenizers.subcharacter import Subcharacter
from langadapt_tokenizers.trained import WordPiece

if TYPE_CHECKING:
    from tokenizers import Tokenizer, decoders, normalizers
    from transformers import PreTrainedTokenizerFast

    from langadapt_tokenizers.tokenization_bidirectional import BothEnds


class BidirectionalWordPiece(WordPiece):
    """A WordPiece vocabulary, read from the front and from the back of each word (KR-BERT, Lee et al. 2020, arXiv:2008.03979).

    Agglutinative languages carry their endings at the back: matching from there keeps them whole.  The frequency of a piece is how
    often either reading of the corpus's words has it.  See :mod:`langadapt_tokenizers.tokenization_bidirectional` for the tokenizer,
    and for where it departs from the authors' code.  With `subcharacter` it is the paper's best setting.
    """

    name: ClassVar[str] = "bidirectional-wordpiece"
    version: ClassVar[str] = "5"

    choice: Literal["rank", "mean-log"] = "rank"
    """Which reading is kept: the one with the smaller list of ranks, the back's on a tie (the authors' rule), or with the higher mean log
    frequency, the front's on a tie."""
    subcharacter: bool = False
    """Take characters apart first, as the tokenizer ``subcharacter`` does."""
    form: Literal["NFD", "NFKD"] = "NFKD"
    """Of `subcharacter`."""

    @property
    def _parts(self) -> Subcharacter | None:
        shared = {name: getattr(self, name) for name in WordPiece.model_fields}
        return Subcharacter(**shared, form=self.form) if self.subcharacter else None

    def rules(self) -> normalizers.Normalizer:
        return self._parts.rules() if self._parts else super().rules()

    def spelt(self, text: str) -> str:
        return self._parts.spelt(text) if self._parts else super().spelt(text)

    def joined(self, characters: list[str]) -> decoders.Decoder:
        return self._parts.joined(characters) if self._parts else super().joined(characters)

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        plain = super().train(texts, base, ctx)
        counts = piece_counts(plain.backend_tokenizer, texts)
        roles = {f"{role}_token": getattr(plain, f"{role}_token") for role in ("pad", "unk", "cls", "sep", "mask")}
        backend = plain.backend_tokenizer
        from langadapt_tokenizers.tokenization_bidirectional import BidirectionalWordPieceTokenizerFast

        found = BidirectionalWordPieceTokenizerFast(
            tokenizer_object=backend, model_max_length=self.max_length, counts=counts, choice=self.choice, **roles
        )
        return found  # type: ignore[no-any-return]


def piece_counts(backend: Tokenizer, texts: Iterable[str], both: BothEnds | None = None) -> dict[str, int]:
    """How often each piece is in either reading of the words of the texts, cut by a plain WordPiece tokenizer's own rules.

    Args:
        both: what reads words, of a tokenizer that has words added whole; None reads with all entries.
    """
    normalize = backend.normalizer.normalize_str if backend.normalizer is not None else str
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normalize(text)))
    from langadapt_tokenizers.tokenization_bidirectional import BothEnds

    if both is None:
        both = BothEnds(backend.get_vocab(with_added_tokens=False), {}, prefix=backend.model.continuing_subword_prefix)
    counts: Counter[str] = Counter()
    for word, count in words.items():
        if word in both.words:
            counts[word] += count
        for pieces in (both.forward(word), both.backward(word)):
            for piece in pieces or []:
                counts[piece] += count
    return dict(counts)
