"""subcharacter: syllables and composed letters are taken apart before WordPiece learns its pieces."""

from __future__ import annotations

import io
import tempfile
import unicodedata
from pathlib import Path
from typing import ClassVar

import sentencepiece
from tokenizers import normalizers

from langadapt_tokenizers.trained import WordPiece

ETHIOPIC = range(0x1200, 0x1358)
"""Syllables in rows of eight: one consonant in its orders (vowels)."""

ORDER = 0xE000
"""The vowel of an Ethiopic syllable is written with the private character 0xE000 + its order: Unicode has no letter for it."""


class Subcharacter(WordPiece):
    """WordPiece over the parts of characters: jamo of Hangul syllables (KR-BERT, Lee et al. 2020, arXiv:2008.03979), consonant and vowel of
    Ethiopic syllables, and whatever else Unicode decomposes (kana with voicing marks, letters with accents, nukta letters).

    Pieces can then share a stem whose last syllable changes, and nothing that is made of known parts is unknown.  The rules are part
    of ``tokenizer.json``.  Decoding gives parts; :func:`recompose` puts them together.
    """

    name: ClassVar[str] = "subcharacter"

    def rules(self) -> normalizers.Normalizer:
        steps = [normalizers.Lowercase()] if self.lowercase else []
        return normalizers.Sequence([*steps, normalizers.NFD(), normalizers.Precompiled(_charsmap())])

    def spelt(self, text: str) -> str:
        return decompose(text.lower() if self.lowercase else text)


def decompose(text: str) -> str:
    """Every character in its parts."""
    return "".join(_syllable(letter) for letter in unicodedata.normalize("NFD", text))


def recompose(text: str) -> str:
    """The text of parts: the inverse of :func:`decompose`, up to NFC."""
    found: list[str] = []
    for letter in text:
        order = ord(letter) - ORDER
        if found and 0 < order < 8 and ord(found[-1]) in ETHIOPIC:
            found[-1] = chr(ord(found[-1]) + order)
        else:
            found.append(letter)
    return unicodedata.normalize("NFC", "".join(found))


def _syllable(letter: str) -> str:
    place = ord(letter)
    if place not in ETHIOPIC or place % 8 == 0 or unicodedata.category(letter) != "Lo":
        return letter
    return chr(place - place % 8) + chr(ORDER + place % 8)


def _charsmap() -> bytes:
    """The Ethiopic rules as sentencepiece compiles them: one table, looked up in one pass over a text."""
    rules = [(chr(place), _syllable(chr(place))) for place in ETHIOPIC]
    lines = [f"{ord(a):X}\t{' '.join(f'{ord(c):X}' for c in b)}" for a, b in rules if a != b]
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rules.tsv"
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b"]), model_writer=model, model_type="char", vocab_size=5, normalization_rule_tsv=str(table),
            hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
    return _field(model.getvalue())


def _field(model: bytes) -> bytes:
    """The compiled table inside a sentencepiece model (protocol buffers: NormalizerSpec is field 3, its charsmap field 2)."""
    from sentencepiece import sentencepiece_model_pb2 as proto

    found = proto.ModelProto()
    found.ParseFromString(model)
    table: bytes = found.normalizer_spec.precompiled_charsmap
    return table
