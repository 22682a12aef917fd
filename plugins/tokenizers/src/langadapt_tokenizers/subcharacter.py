"""subcharacter: syllables and composed letters are taken apart before WordPiece learns its pieces."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import ClassVar, Literal

import sentencepiece
from tokenizers import decoders, normalizers

from langadapt.contracts.text import ETHIOPIC, ORDER, decompose, recompose, take_apart
from langadapt_tokenizers.spelling import Form, rules, spelt
from langadapt_tokenizers.trained import WordPiece


class Subcharacter(WordPiece):
    """WordPiece over the parts of characters: jamo of Hangul syllables (KR-BERT, Lee et al. 2020, arXiv:2008.03979), consonant and vowel of
    Ethiopic syllables, and whatever else Unicode decomposes (kana with voicing marks, letters with accents, nukta letters).

    Pieces can then share a stem whose last syllable changes, and nothing that is made of known parts is unknown.  The rules are part
    of ``tokenizer.json``, and so are those that put Ethiopic syllables together in decoded text.  Hangul and accented letters come out
    taken apart, which Unicode holds to be the same text; :func:`langadapt.modeling.vocab.recompose` composes them.
    """

    name: ClassVar[str] = "subcharacter"
    version: ClassVar[str] = "4"

    form: Literal["NFD", "NFKD"] = "NFKD"
    """Unicode's canonical parts, or its compatible ones, which the authors take (snunlp/KR-BERT): a ㅋ that stands alone is then the one of
    syllables, and a full-width letter a letter."""

    def rules(self) -> normalizers.Normalizer:
        return normalizers.Sequence(
            [*rules(self._composed, self.lowercase, self.strip_accents), normalizers.NFD(), normalizers.Precompiled(_charsmap())]
        )

    def spelt(self, text: str) -> str:
        return decompose(spelt(text, self._composed, self.lowercase, self.strip_accents))

    @property
    def _composed(self) -> Form:
        return "NFKC" if self.form == "NFKD" else "NFC"

    def joined(self, characters: list[str]) -> decoders.Decoder:
        """WordPiece's, and a rule for every Ethiopic syllable that the corpus's letters can form."""
        rows = [c for c in characters if ord(c) in ETHIOPIC]
        vowels = [c for c in characters if 0 < ord(c) - ORDER < 8]
        syllables = [decoders.Replace(c + v, recompose(c + v)) for c in rows for v in vowels]
        return decoders.Sequence([decoders.WordPiece(), decoders.Fuse(), *syllables]) if syllables else decoders.WordPiece()


def _charsmap() -> bytes:
    """The Ethiopic rules as sentencepiece compiles them: one table, looked up in one pass over a text."""
    rules = [(chr(place), take_apart(chr(place))) for place in ETHIOPIC]
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
