"""An encoder without its network: a table of token vectors, hundreds of times as fast."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from langadapt.contracts import EncoderSettings, Exporter, Written
from langadapt.contracts.checkpoints import StaticConfig, StaticModel, plain_tokenizer, save_checkpoint
from langadapt.contracts.text import token_ids
from langadapt.errors import DataError
from langadapt_exporters.checkpoint import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.contracts.checkpoints import EncoderModule


class Static(Exporter):
    """Each token's row is the mean of its states over the texts of the stage's `data`; a text's vector is the mean of its tokens' rows.

    Pooling contextual states into static vectors: Bommasani et al. 2020 (ACL, 2020.acl-main.431), who take the mean over the contexts of
    a word as here.  A token that no text has gets its state where it stands alone.  Then, where asked for: the first `dimensions`
    principal components, and smooth inverse frequency weights a / (a + p) (Arora et al. 2017), which Model2Vec's tables have too.

    What the encoder pools by, its fitted transforms and its prompt are left behind.  The folder is loaded by langadapt (scored, trained
    and released as any encoder) and by sentence-transformers (StaticEmbedding).
    """

    name: ClassVar[str] = "static"
    needs_texts: ClassVar[bool] = True
    makes_another: ClassVar[bool] = True

    dimensions: Annotated[int, Field(ge=2)] | None = None
    """None keeps the encoder's width."""
    weighting: Annotated[float, Field(gt=0)] | None = 1e-3
    """a of the frequency weights; None weighs all tokens alike."""
    texts: Annotated[int, Field(ge=1)] = 20_000
    """Texts that are read, at most, from the start."""

    def export(
        self,
        encoder: EncoderModule,
        tokenizer: PreTrainedTokenizerFast,
        settings: EncoderSettings,
        folder: Path,
        texts: Iterable[str] | None = None,
    ) -> Written:
        chosen = [text for _, text in zip(range(self.texts), texts or (), strict=False)]
        if len(chosen) < 2:
            raise DataError(f"{len(chosen)} texts are too few to average states over", hint="Give the export stage a larger 'data'.")
        rows, counts = self._means(encoder, tokenizer, chosen, settings)
        rows = self._reduced(rows, [i for i in range(len(tokenizer)) if i not in set(tokenizer.all_special_ids)])
        if self.weighting is not None:
            share = counts / counts.sum()
            rows *= (self.weighting / (self.weighting + share))[:, None]
        own = plain_tokenizer(tokenizer)
        rows[own.all_special_ids] = 0
        self._write(rows.astype(np.float32), own, folder, settings.max_length, settings.normalize)
        plain = EncoderSettings(
            max_length=settings.max_length,
            normalizer=settings.normalizer,
            normalizer_in_tokenizer=settings.normalizer_in_tokenizer,
            normalize=settings.normalize,
        )
        return Written(plain, int(rows.size), int(rows.shape[1]))

    def _means(
        self, encoder: EncoderModule, tokenizer: PreTrainedTokenizerFast, texts: list[str], settings: EncoderSettings
    ) -> tuple[np.ndarray, np.ndarray]:
        """(V, d) mean state of each token, (V,) how often it was seen."""
        import torch

        size = encoder.spec.vocabulary
        sums, counts = np.zeros((size, encoder.spec.width), dtype=np.float32), np.zeros(size)
        frame = token_ids(tokenizer, [""])[0]
        with torch.inference_mode():
            for start in range(0, len(texts), BLOCK):
                ids = [one[: settings.max_length] for one in token_ids(tokenizer, texts[start : start + BLOCK])]
                self._add(encoder, ids, sums, counts)
            special = set(tokenizer.all_special_ids)
            unseen = [i for i in range(len(tokenizer)) if counts[i] == 0 and i not in special]
            for start in range(0, len(unseen), BLOCK):
                half = len(frame) // 2
                alone = [[*frame[:half], token, *frame[half:]] for token in unseen[start : start + BLOCK]]
                states = encoder.states(alone).last[:, half].float().cpu().numpy()
                sums[unseen[start : start + BLOCK]] = states
        return sums / np.maximum(counts, 1)[:, None], np.maximum(counts, 1)

    @staticmethod
    def _add(encoder: EncoderModule, ids: list[list[int]], sums: np.ndarray, counts: np.ndarray) -> None:
        ids = sorted(ids, key=len)
        for start in range(0, len(ids), 32):
            found = encoder.states(ids[start : start + 32])
            real = found.mask.bool()
            flat = found.ids[real].cpu().numpy()
            np.add.at(sums, flat, found.last[real].float().cpu().numpy())
            np.add.at(counts, flat, 1)

    def _reduced(self, rows: np.ndarray, ordinary: list[int]) -> np.ndarray:
        """The strongest components of the rows of ordinary tokens."""
        if self.dimensions is None or self.dimensions >= rows.shape[1]:
            return rows
        from sklearn.decomposition import PCA

        found: np.ndarray = PCA(self.dimensions, svd_solver="covariance_eigh").fit(rows[ordinary]).transform(rows)
        return found

    @staticmethod
    def _write(rows: np.ndarray, tokenizer: PreTrainedTokenizerFast, folder: Path, length: int, normalize: bool) -> None:
        import torch
        from safetensors.torch import save_file

        model = StaticModel(StaticConfig(vocab_size=rows.shape[0], hidden_size=rows.shape[1], pad_token_id=tokenizer.pad_token_id or 0))
        with torch.no_grad():
            model.embedding.weight.copy_(torch.from_numpy(rows))
        save_checkpoint(model, tokenizer, folder)
        inner = folder / "0_StaticEmbedding"
        inner.mkdir(exist_ok=True)
        backend = tokenizer.backend_tokenizer
        backend.enable_truncation(length)  # the peer cuts no text by itself
        backend.save(str(inner / "tokenizer.json"))
        save_file({"embedding.weight": torch.from_numpy(rows)}, str(inner / "model.safetensors"))
        modules = [{"idx": 0, "name": "0", "path": inner.name, "type": "sentence_transformers.models.StaticEmbedding"}]
        if normalize:
            (folder / "1_Normalize").mkdir(exist_ok=True)
            modules.append({"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"})
        write_json(folder / "modules.json", modules)


BLOCK = 1024
"""Texts or tokens read at once."""
