"""Exports load elsewhere with the same vectors: with a transform, a prompt and unit length too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from langadapt import Encoder
from langadapt.artifacts import encoder as encoders
from langadapt.registry.registry import Registry

TEXTS = ["गव्हाची किंमत वाढली.", "OK", "मुले मैदानात खेळत आहेत."]


def test_sentence_transformers_with_everything(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    loaded.settings = loaded.settings.with_(prompt="query: ", normalize=True)
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((8, 384)).astype(np.float32), rng.standard_normal(8).astype(np.float32)
    loaded.transforms = [(torch.from_numpy(weight), torch.from_numpy(bias))]
    exporter: Any = registry.build("exporter", "sentence-transformers")
    exporter.export(loaded.module(registry.build("pooler", "mean")), loaded.tokenizer, loaded.settings, tmp_path)
    encoders.save_settings(loaded, tmp_path)
    theirs = SentenceTransformer(str(tmp_path), device="cpu").encode(TEXTS)
    ours = Encoder.load(tmp_path, device="cpu").encode(TEXTS)
    assert ours.shape == (3, 8)
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() < 1e-5
    assert np.abs(ours - theirs).max() < 1e-5


def test_transformers_loads_the_same_states(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    exporter: Any = registry.build("exporter", "transformers")
    exporter.export(loaded.module(registry.build("pooler", "mean")), loaded.tokenizer, loaded.settings, tmp_path)
    batch = AutoTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        found = AutoModel.from_pretrained(tmp_path)(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        ours = loaded.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    assert torch.equal(found, ours)
