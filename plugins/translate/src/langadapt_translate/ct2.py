"""Neural translation through CTranslate2: int8 on processors and GPUs, several times faster than the original checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import Context, Offer, Translation, Translator, Unkeyed
from langadapt.contracts.reading import fetch, stable_hash
from langadapt.errors import DataError
from langadapt_translate import checkpoint
from langadapt_translate.checkpoint import Checkpoint
from langadapt_translate.languages import flores

GROUP = 2000
"""Sentences handed over at a time; CTranslate2 sorts and batches them itself."""


class CTranslate2(Translator):
    """A checkpoint converted on demand and run by CTranslate2 (Klein et al. 2020).

    `model` is a transformers checkpoint (Marian, NLLB, M2M100, mBART-50, T5: converted once into the cache) or a folder that
    CTranslate2 wrote already (``model.bin`` beside the original's tokenizer files), which is how IndicTrans2 is published.
    """

    name: ClassVar[str] = "ctranslate2"
    version: ClassVar[str] = "1"

    model: Checkpoint
    licence: str = ""
    """Of the weights, as published; empty takes what is known of the Hub id."""
    quantization: Literal["int8", "int8_float32", "bfloat16", "float32"] = "int8"
    beams: Annotated[int, Field(ge=1, le=16)] = 1
    max_length: Annotated[int, Field(ge=8, le=1024)] = 256
    """Tokens of a sentence and of its translation; longer ones are cut."""
    batch_tokens: Annotated[int, Field(ge=64), Unkeyed] = 4096
    """Source tokens in one batch."""
    threads: Annotated[int, Field(ge=1), Unkeyed] = os.cpu_count() or 1

    def offer(self, source: str, target: str) -> Offer:
        licence = self.licence or self.model.licence
        return Offer(self.model.origin or self.model.name, True, "", licence, True, checkpoint.fingerprint(self.model))

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        import ctranslate2

        original = fetch(self.model, ctx)[0]
        folder = original if (original / "model.bin").is_file() else self._converted(checkpoint.folder_of(self.model, ctx), ctx)
        device = "cuda" if ctx.device.startswith("cuda") else "cpu"
        engine = ctranslate2.Translator(str(folder), device=device, inter_threads=1, intra_threads=self.threads)
        encode, decode, prefix = _codec(original, source, target)
        for start in range(0, len(texts), GROUP):
            pieces = [encode(text)[: self.max_length] for text in texts[start : start + GROUP]]
            said = engine.translate_batch(
                pieces,
                target_prefix=[prefix] * len(pieces) if prefix else None,
                beam_size=self.beams,
                max_batch_size=self.batch_tokens,
                batch_type="tokens",
                max_decoding_length=self.max_length,
                return_scores=True,
            )
            for i, one in enumerate(said):
                tokens = one.hypotheses[0][len(prefix) :]
                # CTranslate2's score is a mean over tokens already (length penalty 1).
                yield start + i, Translation(decode(tokens).strip(), round(float(one.scores[0]), 4))

    def _converted(self, folder: Path, ctx: Context) -> Path:
        """The checkpoint in CTranslate2's form, from the cache or made now: written aside and renamed."""
        from ctranslate2.converters import TransformersConverter

        name = stable_hash([checkpoint.fingerprint(self.model), self.quantization])[:24]
        done = ctx.cache / "ctranslate2" / name
        if not (done / "model.bin").is_file():
            ctx.log.info(f"converting {self.model.origin or folder.name} to {self.quantization}")
            aside = done.with_name(f".{name}-{os.getpid()}")
            try:
                TransformersConverter(str(folder)).convert(str(aside), quantization=self.quantization, force=True)
                aside.rename(done)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                if not (done / "model.bin").is_file():  # another process may have been first
                    raise DataError(f"CTranslate2 cannot convert the checkpoint: {error}", where=str(folder)) from error
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return done


def _codec(folder: Path, source: str, target: str) -> tuple[Any, Any, list[str]]:
    """(text → source pieces, target pieces → text, first target pieces)."""
    if not (folder / "config.json").is_file() or not (folder / "tokenizer_config.json").is_file():
        return _sentencepiece(folder, source, target)
    from transformers import AutoTokenizer

    kind = checkpoint.family(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vocabulary = checkpoint.vocabulary_of(tokenizer)
    code = checkpoint.code_in(vocabulary, target, kind, folder)
    lead = f"{code} " if kind in ("marian", "madlad") and code else ""
    if kind in ("nllb", "m2m", "mbart"):
        mine = checkpoint.code_in(vocabulary, source, kind, folder)
        tokenizer.src_lang = mine.strip("_") if kind == "m2m" else mine

    def encode(text: str) -> list[str]:
        pieces: list[str] = tokenizer.convert_ids_to_tokens(tokenizer(lead + text)["input_ids"])
        return pieces

    def decode(pieces: list[str]) -> str:
        return str(tokenizer.decode(tokenizer.convert_tokens_to_ids(pieces), skip_special_tokens=True))

    return encode, decode, [code] if kind in ("nllb", "m2m", "mbart") else []


def _sentencepiece(folder: Path, source: str, target: str) -> tuple[Any, Any, list[str]]:
    """IndicTrans2's published layout: ``vocab/model.SRC`` and ``vocab/model.TGT``, both languages named in front of the text."""
    places = [[folder / f"vocab/model.{side}", folder / f"model.{side}"] for side in ("SRC", "TGT")]
    models = [next((file for file in files if file.is_file()), None) for files in places]
    if None in models:
        raise DataError(
            "there is neither a transformers tokenizer nor model.SRC and model.TGT",
            where=str(folder),
            hint="Keep the original's tokenizer files beside model.bin.",
        )
    import sentencepiece

    left, right = (sentencepiece.SentencePieceProcessor(model_file=str(file)) for file in models)
    return (lambda text: [flores(source), flores(target), *left.encode(text, out_type=str)]), (lambda pieces: str(right.decode(pieces))), []
