"""An exported encoder cuts, pools and transforms elsewhere as it does here."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from langadapt import Encoder, LangadaptError
from langadapt.artifacts import encoder as encoders
from langadapt.artifacts.encoder import LoadedEncoder
from langadapt.contracts import Pooler, States, Transform
from langadapt.contracts.component import Context
from langadapt.modeling.surgery import agree_on_inputs, apply_mixture, vocab_of
from langadapt.registry.registry import Registry

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["गव्हाची किंमत वाढली.", "", "मुले मैदानात खेळत आहेत. " * 30, "OK 😀", "शिक्षक वर्गात शिकवत आहेत आणि मुले ऐकत आहेत."]


def export(loaded: LoadedEncoder, registry: Registry, name: str, folder: Path) -> None:
    exporter: Any = registry.build("exporter", name)
    exporter.export(loaded.module(registry.build("pooler", loaded.settings.pooler)), loaded.tokenizer, loaded.settings, folder)
    encoders.save_settings(loaded, folder)


@pytest.mark.parametrize("pooler", ["mean", "cls"])
@pytest.mark.parametrize("prompt", ["", "query: "])
@pytest.mark.parametrize("whiten", [False, True])
def test_sentence_transformers(tiny: Path, registry: Registry, tmp_path: Path, pooler: str, prompt: str, whiten: bool) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    loaded.settings = loaded.settings.with_(pooler={"use": pooler}, prompt=prompt, normalize=not whiten, max_length=48)
    if whiten:
        vectors = Encoder(loaded, loaded.module(registry.build("pooler", pooler)).eval()).encode(TEXTS)
        weight, bias = registry.make(Transform, {"use": "whitening", "dimensions": 3}).fit(vectors).linear() or ((), ())
        loaded.transforms = [(torch.from_numpy(weight), torch.from_numpy(bias))]
    export(loaded, registry, "sentence-transformers", tmp_path)
    peer = SentenceTransformer(str(tmp_path), device="cpu")
    encoder = Encoder.load(tmp_path, device="cpu")
    ours = encoder.encode(TEXTS)
    assert encoder.stats.truncated == 1
    assert peer.encode(TEXTS) == pytest.approx(ours, abs=1e-5 * (10 if whiten else 1))
    assert ours.shape[1] == (3 if whiten else 384)
    if whiten:
        assert np.cov(ours, rowvar=False) == pytest.approx(np.eye(3), abs=1e-3)
        dense = [module for module in peer if type(module).__name__ == "Dense"]
        assert torch.equal(dense[0].linear.weight.detach(), loaded.transforms[0][0])  # type: ignore[union-attr]
    else:
        assert np.linalg.norm(ours, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)
    assert peer.prompts.get(peer.default_prompt_name or "", "") == prompt


def test_words_read_from_both_ends_elsewhere(tiny: Path, registry: Registry, tmp_path: Path, data: Path) -> None:
    """Loaders that may run the release's own tokenizer code cut as the encoder here does; others read from the front."""
    with gzip.open(data / "raw" / "ko.txt.gz", "rt", encoding="utf-8") as handle:
        korean = [line.strip() for line in itertools.islice(handle, 2000)]
    loaded = encoders.load(tiny, mlm_head=False)
    trainer: Any = registry.build("tokenizer", {"use": "bidirectional-wordpiece", "vocab_size": 3500})
    both_ends = trainer.train(korean, None, Context())
    init: Any = registry.build("vocab-init", "mean-subword")
    mixture = init.mixture(vocab_of(loaded.tokenizer, loaded.model), vocab_of(both_ends), None, Context())
    apply_mixture(loaded.model, mixture, loaded.tokenizer, both_ends)
    agree_on_inputs(both_ends, loaded.model, loaded.tokenizer.model_input_names)
    loaded.tokenizer = both_ends
    export(loaded, registry, "sentence-transformers", tmp_path)
    ours = Encoder.load(tmp_path, device="cpu").encode(korean[:100])
    peer = SentenceTransformer(str(tmp_path), device="cpu", trust_remote_code=True)
    assert peer.encode(korean[:100]) == pytest.approx(ours, abs=1e-5)
    plain = SentenceTransformer(str(tmp_path), device="cpu")
    assert np.abs(plain.encode(korean[:100]) - ours).max() > 1e-3


def test_transformers_pooled_by_hand(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=True)
    export(loaded, registry, "transformers", tmp_path)
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path).eval()
    assert tokenizer.model_max_length == loaded.settings.max_length
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
    mask = batch.attention_mask[..., None]
    pooled = (states * mask).sum(1) / mask.sum(1)
    assert pooled.numpy() == pytest.approx(Encoder.load(tiny, device="cpu").encode(TEXTS), abs=1e-5)


def test_a_folder_names_nothing_of_this_machine(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    export(encoders.load(tiny, mlm_head=False), registry, "sentence-transformers", tmp_path)
    for path in tmp_path.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        json.loads(text)
        assert str(tiny.parent) not in text, path.name
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".py")]


def test_a_pooler_without_a_counterpart_is_refused(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)

    class Odd(Pooler):
        name: ClassVar[str] = "odd"

        def pool(self, states: States, weights: Any = None) -> Any:
            return states.last[:, -1]

    exporter: Any = registry.build("exporter", "sentence-transformers")
    with pytest.raises(LangadaptError, match="odd"):
        exporter.export(loaded.module(Odd()), loaded.tokenizer, loaded.settings, tmp_path)
