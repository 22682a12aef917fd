"""Tokenizers trained from scratch on a corpus, the same bytes for the same text."""

from __future__ import annotations

import io
import itertools
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

import sentencepiece
from pydantic import Field
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from langadapt.contracts import Context, TokenizerTrainer
from langadapt.contracts.text import unspaced_share
from langadapt.errors import DataError
from langadapt_tokenizers.spelling import rules, spelt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VocabSize = Annotated[int, Field(ge=100, le=1_000_000)]


class WordPiece(TokenizerTrainer):
    """WordPiece: merges the most frequent pairs, continues words with ``##`` (Schuster & Nakajima 2012; Devlin et al. 2019).

    Letters are lower-cased and accents dropped only on request, and accents only of Latin, Greek and Cyrillic letters: dropping
    marks destroys the words of Indic and other scripts, whose vowels they are.
    """

    name: ClassVar[str] = "wordpiece"
    version: ClassVar[str] = "3"

    vocab_size: VocabSize = 30_000
    min_frequency: Annotated[int, Field(ge=1)] = 2
    lowercase: bool = False
    strip_accents: bool = False
    """Drop the accents of Latin, Greek and Cyrillic letters (é → e, й → и), and no mark of any other script."""
    max_length: int = 512

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """The trained tokenizer.

        Raises:
            DataError: the corpus is empty, its characters alone need more entries than asked for, or it has less than half of them.
        """
        _check_white_space(texts)
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        characters = _characters(self.spelt(text) for text in texts)
        _check_case(self.lowercase, characters, ctx)
        # A mark of punctuation is a word of its own: no word has one inside.
        inside = [f"##{c}" for c in characters if c not in string.punctuation and not unicodedata.category(c).startswith("P")]
        _check_size(self.vocab_size, len(special) + len(characters) + len(inside), len(characters))
        ctx.log.info(f"training WordPiece ({len(characters)} characters)")
        # The trainer numbers ##-pieces in the order of a randomly seeded hash map, and ties between merges go by number: two runs
        # would differ.  Given up front in a fixed order, as special tokens of a throwaway tokenizer, they do not.
        draft = self._empty(models.WordPiece(unk_token="[UNK]"))
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=[*special, *inside],
            initial_alphabet=characters,
            limit_alphabet=len(characters),
            show_progress=False,
        )
        draft.train_from_iterator(texts, trainer)
        vocab = draft.get_vocab(with_added_tokens=False) | {token: draft.token_to_id(token) for token in trainer_tokens(draft)}
        tokenizer = self._empty(models.WordPiece(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=200))
        tokenizer.add_special_tokens(special)
        tokenizer.decoder = self.joined(characters)
        cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", cls), ("[SEP]", sep)]
        )
        names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
        _check_found(tokenizer, self.vocab_size, ctx)
        return _wrapped(tokenizer, names, self.max_length)

    def _empty(self, model: models.WordPiece) -> Tokenizer:
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = self.rules()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        return tokenizer

    def rules(self) -> normalizers.Normalizer:
        """How text is spelt before it is cut."""
        return normalizers.Sequence(rules("NFC", self.lowercase, self.strip_accents))

    def spelt(self, text: str) -> str:
        """The same rules in Python, to collect the alphabet."""
        return spelt(text, "NFC", self.lowercase, self.strip_accents)

    def joined(self, characters: list[str]) -> decoders.Decoder:
        """How tokens become text again."""
        return decoders.WordPiece()


def _check_size(wanted: int, least: int, characters: int) -> None:
    if wanted < least:
        raise DataError(
            f"a vocabulary of {wanted:,} cannot hold the corpus's {characters:,} characters: these alone take {least:,} entries",
            hint="Raise vocab_size, or remove text of other scripts from the corpus.",
        )


def _check_case(lowercase: bool, pieces: Iterable[str], ctx: Context) -> None:
    """Say where lower case was asked for, and no letter of the corpus has another."""
    if lowercase and all(piece.upper() == piece for piece in pieces):
        ctx.log.warning("lowercase changes nothing here: the letters of this corpus have no case")


def _check_white_space(texts: Iterable[str]) -> None:
    """Refuse text whose lines would be one word each, too long for any entry."""
    share = unspaced_share(itertools.islice(texts, 1000))
    if share > 0.5:
        raise DataError(
            f"WordPiece cuts words that white space sets apart, but {share:.0%} of the letters are of a script that sets none",
            hint="Use the tokenizer 'unigram'.",
        )


def _check_found(tokenizer: Tokenizer, wanted: int, ctx: Context) -> None:
    """Refuse a vocabulary for which the corpus has less than half the pieces, and say it loudly of a smaller gap."""
    size = tokenizer.get_vocab_size()
    told = f"{size:,} entries came out where {wanted:,} were asked for: the corpus has no more pieces that repeat"
    if wanted > 1000 and size < wanted / 2:  # who asks for a few hundred is trying things out
        raise DataError(told, hint=f"Lower vocab_size to {size:,} or less, or give more text.")
    if size < wanted:
        ctx.log.warning(told)


def trainer_tokens(tokenizer: Tokenizer) -> list[str]:
    """Tokens that a trainer was given as special, in order of their ids."""
    added = tokenizer.get_added_tokens_decoder()
    return [added[i].content for i in sorted(added)]


def _characters(texts: Iterable[str]) -> list[str]:
    """Every character of the texts that can be part of a token, sorted."""
    found: set[str] = set()
    for text in texts:
        found.update(text)
    kept = sorted(c for c in found if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cs", "Cn"))
    if not kept:
        raise DataError("the corpus is empty: there is nothing to train a tokenizer on")
    return kept


BYTE_WORDS = r" ?[\p{L}\p{M}\x{200c}\x{200d}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}\x{200c}\x{200d}]+|\s+(?!\S)|\s+"
"""What byte-level merges may join.  GPT-2's pattern ends a word at every mark, and so cuts Indic words at each vowel sign; here marks and
joiners are parts of words."""


class Bpe(TokenizerTrainer):
    """Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909), over bytes as in GPT-2 and RoBERTa, or over characters.

    Bytes spell any text, so nothing is unknown, but a letter outside ASCII costs two to four of them until merges join it: take
    characters for a small vocabulary of such a script.  A word carries the space before it, at the beginning of a text too.
    """

    name: ClassVar[str] = "bpe"
    version: ClassVar[str] = "2"

    vocab_size: VocabSize = 30_000
    min_frequency: Annotated[int, Field(ge=1)] = 2
    byte_level: bool = True
    lowercase: bool = False
    strip_accents: bool = False
    """Drop the accents of Latin, Greek and Cyrillic letters, and no mark of any other script."""
    max_length: int = 512

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """The trained tokenizer.

        Raises:
            DataError: the corpus is empty, its characters alone need more entries than asked for, or it has less than half of them.
        """
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        characters = _characters(spelt(text, "NFC", self.lowercase, self.strip_accents) for text in texts)
        _check_case(self.lowercase, characters, ctx)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet()) if self.byte_level else ["▁", *characters]
        ctx.log.info(f"training BPE over {'bytes' if self.byte_level else f'{len(alphabet) - 1} characters'}")
        _check_size(self.vocab_size, len(alphabet) + len(special), len(alphabet))
        tokenizer = Tokenizer(models.BPE(unk_token=None if self.byte_level else "<unk>", fuse_unk=True))
        steps = rules("NFC", self.lowercase, self.strip_accents)
        if self.byte_level:
            steps += [normalizers.Strip(left=True, right=False), normalizers.Prepend(" ")]
            words = pre_tokenizers.Split(Regex(BYTE_WORDS), "isolated")
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
            tokenizer.decoder = decoders.ByteLevel()
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
            tokenizer.decoder = decoders.Metaspace()
        tokenizer.normalizer = normalizers.Sequence(steps)
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=self.min_frequency,
            special_tokens=special,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        _check_found(tokenizer, self.vocab_size, ctx)
        start, end = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", start), ("</s>", end)]
        )
        names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
        names |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
        return _wrapped(tokenizer, names, self.max_length)


class Unigram(TokenizerTrainer):
    """Unigram language model over pieces that carry their preceding space (Kudo 2018, arXiv:1804.10959).

    Trained by sentencepiece in one thread, whose result does not depend on the machine's hash seeds.
    """

    name: ClassVar[str] = "unigram"
    version: ClassVar[str] = "3"

    vocab_size: VocabSize = 30_000
    lowercase: bool = False
    strip_accents: bool = False
    """Drop the accents of Latin, Greek and Cyrillic letters, and no mark of any other script."""
    coverage: Annotated[float, Field(gt=0.9, le=1)] = 0.9999
    """Share of the corpus's characters that pieces must cover; the rarest become unknown."""
    max_length: int = 512

    def train(self, texts: Iterable[str], base: PreTrainedTokenizerFast | None, ctx: Context) -> PreTrainedTokenizerFast:
        """The trained tokenizer.

        Raises:
            DataError: the corpus is empty, or too small for the entries asked for.
        """
        ctx.log.info("training Unigram")
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        pieces = self._pieces(texts, len(special) + 1)
        _check_case(self.lowercase, [piece for piece, _ in pieces], ctx)
        vocab = [(token, 0.0) for token in special] + pieces + [("<mask>", 0.0)]
        tokenizer = Tokenizer(models.Unigram(vocab, unk_id=special.index("<unk>"), byte_fallback=False))
        tokenizer.normalizer = normalizers.Sequence(rules("NFKC", self.lowercase, self.strip_accents))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
        tokenizer.decoder = decoders.Metaspace()
        tokenizer.add_special_tokens([*special, "<mask>"])
        _check_found(tokenizer, self.vocab_size, ctx)
        start, end = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", start), ("</s>", end)]
        )
        names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
        names |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
        return _wrapped(tokenizer, names, self.max_length)

    def _pieces(self, texts: Iterable[str], reserved: int) -> list[tuple[str, float]]:
        """(piece, log probability), most probable first."""
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=self._sentences(texts),
                model_writer=model,
                model_type="unigram",
                vocab_size=self.vocab_size - reserved + 1,
                hard_vocab_limit=False,
                character_coverage=self.coverage,
                normalization_rule_name="identity",
                max_sentence_length=1_000_000,
                num_threads=1,
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise DataError(f"no tokenizer can be trained on this corpus: {error}", hint="Give more text, or lower vocab_size.") from error
        trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        return [(trained.id_to_piece(i), trained.get_score(i)) for i in range(1, trained.get_piece_size())]

    def _sentences(self, texts: Iterable[str]) -> Iterator[str]:
        """Every text, then every word seen at least five times, once.

        Sentencepiece considers only pieces that have two different successors in the text, and a word that a space always follows has
        one: in a small corpus it would cut its most frequent words.  Standing alone, a word has another successor, the end.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            words = spelt(text, "NFKC", self.lowercase, self.strip_accents).split()
            if words:
                counts.update(words)
                yield " ".join(words)
        yield from (word for word, count in counts.items() if count >= 5)


def _wrapped(tokenizer: Tokenizer, names: dict[str, str], max_length: int) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **names)
