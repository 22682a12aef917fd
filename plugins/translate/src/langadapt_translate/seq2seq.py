"""Neural translation through transformers: OPUS-MT, NLLB, M2M100, mBART-50, MADLAD-400."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from langadapt.contracts import Context, Offer, Translation, Translator, Unkeyed
from langadapt.contracts.loop import group_by_length, resolve_precision
from langadapt.errors import DataError
from langadapt_translate import checkpoint
from langadapt_translate.checkpoint import Checkpoint

GROUP = 2000
"""Sentences whose token ids are held at a time; the longest go first, so that a batch that is too large fails at once."""


class Seq2Seq(Translator):
    """An encoder-decoder checkpoint of the Hub or a folder, batched by tokens, greedy or beam search.

    Tiedemann & Thottingal 2020 (OPUS-MT), NLLB Team 2022 (arXiv:2207.04672), Fan et al. 2020 (M2M-100, arXiv:2010.11125), Kudugunta
    et al. 2023 (MADLAD-400, arXiv:2309.04662).  The score is the mean log-probability of a translation's tokens.  No code of a
    repository is run: IndicTrans2's own classes are not loaded; use it through ``ctranslate2``.
    """

    name: ClassVar[str] = "transformers-seq2seq"
    version: ClassVar[str] = "1"

    model: Checkpoint
    licence: str = ""
    """Of the weights, as published; empty takes what is known of the Hub id."""
    beams: Annotated[int, Field(ge=1, le=16)] = 1
    max_length: Annotated[int, Field(ge=8, le=1024)] = 256
    """Tokens of a sentence and of its translation; longer ones are cut."""
    batch_tokens: Annotated[int, Field(ge=64), Unkeyed] = 4096
    """Padded source tokens in one batch, over the number of beams."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    quantization: Literal["8bit"] | None = None
    """Linear layers in 8 bit (needs bitsandbytes)."""

    def offer(self, source: str, target: str) -> Offer:
        licence = self.licence or self.model.licence
        return Offer(self.model.origin or self.model.name, True, "", licence, True, checkpoint.fingerprint(self.model))

    def translate(self, texts: list[str], source: str, target: str, ctx: Context) -> Iterator[tuple[int, Translation]]:
        folder = checkpoint.folder_of(self.model, ctx)
        model, tokenizer, prefix, forced = self._load(folder, source, target, ctx.device)
        for start in range(0, len(texts), GROUP):
            ids = [self._ids(tokenizer, prefix + text) for text in texts[start : start + GROUP]]
            groups = group_by_length([len(one) for one in ids], max(self.batch_tokens // self.beams, self.max_length))
            for group in sorted(groups, key=lambda group: -max(len(ids[i]) for i in group)):
                said = self._generate(model, tokenizer, [ids[i] for i in group], forced)
                yield from zip((start + i for i in group), said, strict=True)

    def _ids(self, tokenizer: Any, text: str) -> list[int]:
        ids: list[int] = tokenizer(text, truncation=True, max_length=self.max_length)["input_ids"]
        return ids

    def _load(self, folder: Path, source: str, target: str, device: str) -> tuple[Any, Any, str, int | None]:
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        kind = checkpoint.family(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        vocabulary = checkpoint.vocabulary_of(tokenizer)
        code = checkpoint.code_in(vocabulary, target, kind, folder)
        options: dict[str, Any] = {"dtype": torch.bfloat16 if resolve_precision(self.precision) == "bf16" else torch.float32}
        if self.quantization:
            from langadapt.contracts.checkpoints import quantization_options

            options |= quantization_options(self.quantization, device, outliers=6.0)  # batches pad: the usual LLM.int8
        try:
            model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, **options).eval()
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(f"the checkpoint cannot be loaded: {error}", where=str(folder)) from error
        model = model if self.quantization else model.to(device)
        prefix = f"{code} " if kind in ("marian", "madlad") and code else ""
        forced = None
        if kind in ("nllb", "m2m", "mbart"):
            tokenizer.src_lang = (
                checkpoint.code_in(vocabulary, source, kind, folder).strip("_")
                if kind == "m2m"
                else checkpoint.code_in(vocabulary, source, kind, folder)
            )
            forced = int(tokenizer.convert_tokens_to_ids(code))
        return model, tokenizer, prefix, forced

    def _generate(self, model: Any, tokenizer: Any, ids: list[list[int]], forced: int | None) -> list[Translation]:
        import torch

        width = max(len(one) for one in ids)
        pad = tokenizer.pad_token_id
        tokens = torch.tensor([one + [pad] * (width - len(one)) for one in ids], device=model.device)
        mask = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in ids], device=model.device)
        options: dict[str, Any] = {} if forced is None else {"forced_bos_token_id": forced}
        with torch.inference_mode():
            out = model.generate(
                input_ids=tokens,
                attention_mask=mask,
                num_beams=self.beams,
                do_sample=False,
                max_new_tokens=self.max_length,
                max_length=None,
                return_dict_in_generate=True,
                output_scores=True,
                **options,
            )
            beams = out.beam_indices if self.beams > 1 else None
            steps = model.compute_transition_scores(out.sequences, out.scores, beams, normalize_logits=True).float().cpu()
        steps = steps.masked_fill(~torch.isfinite(steps), 0.0)
        texts = tokenizer.batch_decode(out.sequences, skip_special_tokens=True)
        lengths = (out.sequences[:, -steps.shape[1] :].cpu() != pad).sum(1).clamp(min=1)
        means = (steps * (out.sequences[:, -steps.shape[1] :].cpu() != pad)).sum(1) / lengths
        return [Translation(text.strip(), round(float(mean), 4)) for text, mean in zip(texts, means, strict=True)]
