"""Tokenizers trained from scratch on a corpus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from langadapt.errors import DataError
from langadapt.registry.component import Component, Context

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VocabSize = Annotated[int, Field(ge=100, le=1_000_000)]


class WordPiece(Component):
    """WordPiece: merges pairs by likelihood gain, continues words with ``##`` (Schuster & Nakajima 2012; Devlin et al. 2019).

    Accents and vowel signs are never stripped and letters are lower-cased only on request: stripping marks destroys Indic
    scripts.
    """

    kind: ClassVar[str] = "tokenizer"
    name: ClassVar[str] = "wordpiece"

    vocab_size: VocabSize = 30_000
    min_frequency: Annotated[int, Field(ge=1)] = 2
    lowercase: bool = False
    max_length: int = 512

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=200))  # type: ignore[call-arg]
        steps = [normalizers.NFC(), *([normalizers.Lowercase()] if self.lowercase else [])]
        tokenizer.normalizer = normalizers.Sequence(steps)  # type: ignore[assignment]
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
        tokenizer.decoder = decoders.WordPiece()  # type: ignore[assignment]
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size, min_frequency=self.min_frequency, special_tokens=special, show_progress=False
        )
        _train(tokenizer, texts, trainer, ctx)
        cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
        tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)]
        )
        names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
        return _wrapped(tokenizer, names, self.max_length)


class Unigram(Component):
    """Unigram language model over pieces that carry their preceding space (Kudo 2018, arXiv:1804.10959)."""

    kind: ClassVar[str] = "tokenizer"
    name: ClassVar[str] = "unigram"

    vocab_size: VocabSize = 30_000
    lowercase: bool = False
    max_length: int = 512

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        tokenizer = Tokenizer(models.Unigram())
        steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if self.lowercase else [])]
        tokenizer.normalizer = normalizers.Sequence(steps)  # type: ignore[assignment]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
        tokenizer.decoder = decoders.Metaspace()  # type: ignore[assignment]
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trainer = trainers.UnigramTrainer(vocab_size=self.vocab_size, special_tokens=special, unk_token="<unk>", show_progress=False)
        _train(tokenizer, texts, trainer, ctx)
        start, end = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")
        tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", start), ("</s>", end)]
        )
        names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
        names |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
        return _wrapped(tokenizer, names, self.max_length)


def _train(tokenizer: Tokenizer, texts: Iterable[str], trainer: Any, ctx: Context) -> None:
    ctx.log.info(f"training {type(trainer).__name__.removesuffix('Trainer')}")
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() <= len(trainer.special_tokens):
        raise DataError("the corpus is too small to train a tokenizer on", hint="Give more text.")


def _wrapped(tokenizer: Tokenizer, names: dict[str, str], max_length: int) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **names)
