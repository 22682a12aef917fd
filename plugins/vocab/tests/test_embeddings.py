"""Input rows computed from spellings: against their formula by hand, through training, a new vocabulary and a release."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from langadapt.artifacts import encoder as encoders
from langadapt.contracts import Embedding
from langadapt.errors import ModelError
from langadapt.modeling.computed_rows import ComputedRows
from langadapt.modeling.heads import output_layer
from langadapt.planning.request import resource_paths
from langadapt.registry.registry import Registry
from langadapt.running.build import build

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """
recipe: spelt
summary: A masked-LM training of an encoder whose input rows follow from spellings.
stages:
  base:    {do: load, source: $lang.encoder, pooler: mean, max_length: 32, embedding: SLOT}
  corpus:  {do: collect, corpus: {use: resource, data: $lang.corpus}}
  mlm:     {do: train, encoder: base, data: corpus, objective: mlm, steps: 4, batch_size: 8, learning_rate: 1e-3, precision: fp32}
  pieces:  {do: train-tokenizer, encoder: mlm, corpus: corpus, tokenizer: {use: extend, budget: 20, min_count: 2}}
  moved:   {do: init-vocab, encoder: mlm, tokenizer: pieces, vocab-init: mean-subword}
  release: {do: export, encoder: moved, exporters: transformers}
"""


def row_by_hand(token: str, width: int, longest: int, buckets: int, seeds: list[int]) -> list[float]:
    """The formula of the class's docstring, a number at a time."""
    shares = longest * (longest + 1) // 2
    found: list[float] = []
    for size in range(1, longest + 1):
        numbers = width // shares * size if size < longest else width - len(found)
        grams = [token[i : i + size] for i in range(len(token) - size + 1)]
        hashes = []
        for gram in grams:
            value = 0
            for letter in gram:
                value = (value * 31 + ord(letter)) % 1_000_000_007
            hashes.append(value)
        for seed in seeds[len(found) : len(found) + numbers]:
            places = [value * seed % buckets for value in hashes]
            values = [(place - buckets if place > buckets / 2 else place) / (buckets / 2) for place in places]
            found.append(sum(values) / len(values) if values else 0.0)
    return found


@pytest.mark.parametrize("options", [{}, {"longest": 2, "buckets": 101, "seed": 7}])
def test_rows_are_those_of_the_formula(tiny: Path, registry: Registry, options: dict[str, Any]) -> None:
    tokenizer = encoders.load(tiny).tokenizer
    component: Any = registry.make(Embedding, {"use": "hashed-ngram", **options})
    module = component.build(tokenizer, 50)
    assert not list(module.parameters())
    seeds = np.random.default_rng(component.seed).integers(1, 2**31, 50, dtype=np.int64).tolist()
    for index in (0, 5, 700, len(tokenizer) - 1):
        token = tokenizer.convert_ids_to_tokens(index)
        wanted = row_by_hand(token, 50, component.longest, component.buckets, seeds)
        assert np.allclose(module(torch.tensor([index]))[0].numpy(), wanted, atol=1e-6)
    # Words that share spelling are nearer than words that share none.
    one, near, far = torch.from_numpy(component.rows(["running", "runnings", "хлеба"], 384))
    assert torch.cosine_similarity(one, near, dim=0) > 0.6 > 0.3 > torch.cosine_similarity(one, far, dim=0).abs()


def test_a_row_too_narrow_is_refused(tiny: Path, registry: Registry) -> None:
    with pytest.raises(ModelError, match="parts a row among 36 shares"):
        registry.make(Embedding, {"use": "hashed-ngram", "longest": 8}).build(encoders.load(tiny).tokenizer, 20)


def built(folder: Path, tiny: Path, slot: str, plugins: tuple[str, ...] = ()) -> dict[str, Path]:
    """Stage → artifact of a build of :data:`RECIPE`."""
    from langadapt.contracts import Request
    from langadapt.store import Store

    (folder / "r.yaml").write_text(RECIPE.replace("SLOT", slot), encoding="utf-8")
    (folder / "corpus.txt").write_text("\n".join(f"माझ्या गावात {i} जुने विहीर आहे आणि पाणी थंड" for i in range(40)), encoding="utf-8")
    asked = Request((str(folder / "r.yaml"),), "mr", base=str(tiny), resources=resource_paths([f"corpus={folder / 'corpus.txt'}"]))
    outcome = build(asked, plugins=plugins, store=folder / "store", out=folder / "run", quiet=True, device="cpu")
    return {stage.name: Store(folder / "store").path(stage.key) for stage in outcome.plan.stages}


def rows_of(folder: Path) -> torch.Tensor:
    found: torch.Tensor = encoders.load(folder).model.get_input_embeddings().weight.detach()  # type: ignore[union-attr,assignment]
    return found


@pytest.mark.slow
def test_a_build_keeps_computed_rows_and_releases_a_plain_checkpoint(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    stages = built(tmp_path, tiny, "hashed-ngram")
    component: Any = registry.make(Embedding, "hashed-ngram")
    for name in ("base", "mlm", "moved"):  # trained for four steps, and moved onto more tokens: still what the formula says
        tokenizer = encoders.load(stages[name]).tokenizer
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        assert torch.equal(rows_of(stages[name])[: len(tokens)], torch.from_numpy(component.rows(tokens, 384))), name
    assert len(rows_of(stages["moved"])) > len(rows_of(stages["mlm"]))
    before, after = (encoders.load(stages[name], mlm_head=True).model for name in ("base", "mlm"))
    assert not torch.equal(before.get_output_embeddings().weight, after.get_output_embeddings().weight)  # type: ignore[union-attr]
    release = tmp_path / "run" / "release"
    plain, ours = AutoModel.from_pretrained(str(release)).eval(), encoders.load(stages["moved"]).model.eval()
    read = AutoTokenizer.from_pretrained(str(release))("माझ्या गावात पाणी थंड", return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(plain(**read).last_hidden_state, ours.base_model(**read).last_hidden_state, atol=1e-5)
    assert not (stages["mlm"] / encoders.EMBEDDING).exists()


LEARNING = '''
"""An embedding with weights of its own: a sum over the letters of a token."""
from typing import ClassVar

import torch
from torch import nn

from langadapt.contracts import ComponentRef, Embedding, hookimpl


class Letters(Embedding):
    """Sum of the rows of a token's letters."""

    name: ClassVar[str] = "letters"

    def build(self, tokenizer, width):
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        table = torch.zeros(len(tokens), 20, dtype=torch.int64)
        for row, token in enumerate(tokens):
            codes = [ord(letter) % 250 + 1 for letter in token[:20]]
            table[row, : len(codes)] = torch.tensor(codes)
        return Sum(table, width)


class Sum(nn.Module):
    def __init__(self, table, width):
        super().__init__()
        self.register_buffer("table", table, persistent=False)
        self.letters = nn.Embedding(251, width, padding_idx=0)

    def forward(self, ids):
        return self.letters(self.table[ids]).sum(-2) / 20


@hookimpl
def langadapt_components():
    return [ComponentRef("embedding", "letters", f"{__name__}:Letters")]
'''


def test_one_that_learns_trains_and_lasts(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    (tmp_path / "letters_plugin.py").write_text(LEARNING, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    stages = built(tmp_path, tiny, "letters", ("letters_plugin",))
    before, after = (load_file(str(stages[name] / encoders.EMBEDDING))["letters.weight"] for name in ("base", "mlm"))
    assert not torch.equal(before, after)
    from letters_plugin import Letters  # type: ignore[import-not-found]

    for name, weights in (("base", before), ("mlm", after), ("moved", after)):
        tokenizer = encoders.load(stages[name]).tokenizer
        module = Letters().build(tokenizer, 384)
        module.load_state_dict({"letters.weight": weights})
        with torch.no_grad():
            wanted = module(torch.arange(len(tokenizer)))
        assert torch.allclose(rows_of(stages[name])[: len(wanted)], wanted, atol=1e-6), name
    without = tmp_path / "without"
    shutil.copytree(stages["mlm"], without)
    (without / encoders.EMBEDDING).unlink()
    with pytest.raises(ModelError, match="there are no weights of its embedding 'letters'"):
        encoders.load(without).compute_rows(Letters())
    again = encoders.load(stages["mlm"])
    again.choose_embedding(Letters().slot())  # the same one keeps what it has learnt
    again.compute_rows(Letters())
    assert torch.equal(again.embedding.letters.weight, after)
    again = encoders.load(stages["mlm"])
    again.choose_embedding({"use": "hashed-ngram"})
    assert again.embedding is None
    damaged = tmp_path / "damaged"
    shutil.copytree(stages["mlm"], damaged)
    settings = json.loads((damaged / encoders.SETTINGS).read_text())
    (damaged / encoders.SETTINGS).write_text(json.dumps({**settings, "embedding": {"use": 3}}))
    with pytest.raises(ModelError, match="'embedding' names no component"):
        encoders.load(damaged)


def test_rows_stand_in_only_while_training(tiny: Path, registry: Registry, tmp_path: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=True)
    tied = loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight  # type: ignore[union-attr]
    assert tied
    old = loaded.model.get_output_embeddings().weight.detach().clone()  # type: ignore[union-attr,operator]
    loaded.compute_rows(registry.make(Embedding, "hashed-ngram"))
    assert isinstance(loaded.model.get_input_embeddings(), ComputedRows)
    assert torch.equal(loaded.model.get_output_embeddings().weight, old)  # type: ignore[union-attr]
    bias = output_layer(loaded.model)[1]
    assert bias is not None
    with torch.no_grad():
        bias.normal_()
    ids = torch.arange(5, 25)[None]
    before = loaded.model.eval()(input_ids=ids).logits
    encoders.save(loaded, tmp_path / "saved")
    assert type(loaded.model.get_input_embeddings()) is torch.nn.Embedding
    again = encoders.load(tmp_path / "saved", mlm_head=True)
    assert torch.equal(again.model.get_output_embeddings().weight, old)  # type: ignore[union-attr]
    assert torch.allclose(again.model.eval()(input_ids=ids).logits, before, atol=1e-5), "the bias, too, is read again"
