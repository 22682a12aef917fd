"""Laws of what makes vectors: poolers, transforms, evaluators, annotators, selectors, exporters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from langadapt.contracts.data import Role, Translator
from langadapt.errors import ModelError
from langadapt.inference.scorer import Scorer
from langadapt.testing.laws import Case, NotTried, law
from langadapt.testing.toys import SENTENCES, rows_of


def _ids(case: Case, texts: tuple[str, ...] = SENTENCES) -> list[list[int]]:
    found: list[list[int]] = case.toy.tokenizer()(list(texts))["input_ids"]
    return found


@law("pooler")
def padding_changes_nothing(case: Case) -> None:
    """A text's vectors are the same alone and padded beside longer ones."""
    module, ids = case.toy.module(case.component), _ids(case)
    together = module.embed(ids, budget=100_000).detach()
    for row, sequence in enumerate(ids):
        alone = module.embed([sequence]).detach()[0]
        ours = together[row][: len(alone)] if case.component.gives == "multi" else together[row]
        if case.component.gives == "multi":
            assert not together[row][len(alone) :].any(), f"text {row} has vectors where its padding stands"
        assert np.abs(ours.numpy() - alone.numpy()).max() < 1e-5, f"text {row} depends on what it is padded with"


@law("pooler")
def its_width_is_what_it_says(case: Case) -> None:
    """`width` is the last dimension of what `pool` gives."""
    module = case.toy.module(case.component)
    assert module.embed(_ids(case)).shape[-1] == case.component.width(module.spec)


@law("pooler")
def its_weights_train_and_last(case: Case) -> None:
    """Gradients reach the body and every weight of the pooler's own; saved and loaded again it gives the same vectors."""
    import torch

    from langadapt.artifacts import encoder as encoders
    from langadapt.inference.encoder import Encoder

    loaded = case.toy.loaded(mlm_head=False)
    loaded.choose_pooler(case.component.slot())
    module = loaded.module(case.component).eval()
    torch.manual_seed(5)
    found = module.embed(_ids(case))
    (found * torch.randn_like(found)).sum().backward()  # type: ignore[no-untyped-call]
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in module.body.parameters()), "no gradient reaches the body"
    for name, weight in module.pooling.named_parameters() if module.pooling is not None else ():
        assert not weight.requires_grad or weight.grad is not None, f"no gradient reaches its weight '{name}'"
        with torch.no_grad():
            weight.add_(0.1 * torch.randn_like(weight))
    encoders.save(loaded, case.folder)
    again = Encoder.load(case.folder, device="cpu", registry=case.toy.registry)
    ours = Encoder(loaded, module)
    if case.component.gives == "multi":
        assert np.abs(again.encode_multi(SENTENCES).values - ours.encode_multi(SENTENCES).values).max() < 1e-5
    else:
        assert np.abs(again.encode(SENTENCES) - ours.encode(SENTENCES)).max() < 1e-5


def _vectors(n: int = 300, width: int = 32) -> np.ndarray:
    rng = np.random.default_rng(3)
    found: np.ndarray = (rng.standard_normal((n, width)) @ rng.standard_normal((width, width)) + 2).astype(np.float32)
    return found


@law("transform")
def it_maps_row_by_row(case: Case) -> None:
    """A vector's image is its own, of the stated width, whatever else is mapped with it."""
    vectors = _vectors()
    fitted = case.component.fit(vectors)
    mapped = fitted.apply(vectors[:50])
    assert mapped.shape == (50, fitted.width)
    assert np.allclose(fitted.floats(fitted.apply(vectors[:1])), fitted.floats(mapped)[:1], atol=1e-4)
    assert np.isfinite(fitted.floats(mapped)).all()


@law("transform")
def it_is_restored_from_its_arrays(case: Case) -> None:
    """`restore(arrays())` maps as what was fitted; a linear map is what `linear` says."""
    vectors = _vectors()
    fitted = case.component.fit(vectors)
    again = case.component.restore(fitted.arrays())
    assert np.array_equal(again.apply(vectors), fitted.apply(vectors))
    if (linear := fitted.linear()) is not None:
        weight, bias = linear
        assert np.allclose(vectors @ weight.T + bias, fitted.apply(vectors), atol=1e-4)


@law("evaluator")
def its_scores_are_whole(case: Case) -> None:
    """Every score is a number with items behind it, inside its interval; one seed gives the same ones again."""
    subject: Any = case.toy.encoder(case.component.needs_mlm_head)
    if "Encoder" not in case.component.subjects:
        subject = Scorer(case.toy.loaded_scorer())
    scores = case.component.evaluate(subject, case.toy.context(case.folder))
    assert scores, "it gave no score"
    for score in scores:
        assert math.isfinite(score.value), f"{score.task} {score.metric} is {score.value}"
        assert score.n > 0
        assert score.low is None or score.high is None or score.low - 1e-9 <= score.value <= score.high + 1e-9, (
            "the value lies outside its interval"
        )
    again = case.component.evaluate(subject, case.toy.context(case.folder))
    assert [(s.task, s.metric, s.value, s.low, s.high, s.n) for s in again] == [
        (s.task, s.metric, s.value, s.low, s.high, s.n) for s in scores
    ], "two runs with one seed differ"


@law("annotator")
def it_adds_what_it_says(case: Case) -> None:
    """It gives each column it declares, a value a row."""
    from datasets import Dataset

    rows = Dataset.from_list(case.rows or rows_of(case.component.reads(), 20))
    try:
        added = case.component.annotate(rows, case.toy.encoder(), case.toy.context(case.folder))
    except ModelError:  # it asks a scorer
        added = case.component.annotate(rows, Scorer(case.toy.loaded_scorer()), case.toy.context(case.folder))
    assert set(added) == set(case.component.adds())
    assert all(len(values) == len(rows) for values in added.values())


@law("selector")
def it_keeps_some_of_the_rows(case: Case) -> None:
    """What it keeps are rows that it was given, unchanged, and the same ones again."""
    from datasets import Dataset

    given = case.rows or [{"text": text} for text in (*SENTENCES, *SENTENCES[:3])]
    rows = Dataset.from_list(given)
    encoder = case.toy.encoder()
    kept = case.component.select(rows, encoder, case.toy.context(case.folder))
    assert len(kept), "it drops every row of an ordinary sample"
    assert all(row in given for row in kept.to_list())
    assert case.component.select(rows, encoder, case.toy.context(case.folder)).to_list() == kept.to_list()


@law("exporter")
def its_release_is_the_encoder(case: Case) -> None:
    """What it writes is read again and gives the same vectors, unless it says that it makes another; it writes none of the core's files."""
    from langadapt.artifacts import encoder as encoders
    from langadapt.inference.encoder import Encoder

    exporter = case.component
    if exporter.adapter_only or exporter.subject != "Encoder":
        raise NotTried(f"it writes {'adapters alone' if exporter.adapter_only else exporter.subject + 's'}")
    loaded = case.toy.loaded(mlm_head=False)
    module = case.toy.module()
    texts = list(SENTENCES) if exporter.needs_texts else None
    written = exporter.export(module, loaded.tokenizer, loaded.settings, case.folder, texts)
    assert exporter.makes_another == (written is not None)
    for name in ("README.md", "scores.json", "provenance.json"):
        assert not (case.folder / name).exists(), f"{name} is the core's to write"
    if written is None:
        encoders.save_settings(loaded, case.folder)
        again = Encoder.load(case.folder, device="cpu", registry=case.toy.registry)
        assert np.abs(again.encode(SENTENCES) - case.toy.encoder().encode(SENTENCES)).max() < 1e-5


@law("pairs")
def its_rows_have_its_columns(case: Case) -> None:
    """Rows come in a fixed order and hold what the declared columns say."""
    kinds: dict[Role, tuple[type, ...]] = {
        Role.TEXT: (str, type(None)),
        Role.TEXTS: (list,),
        Role.NUMBER: (int, float),
        Role.NUMBERS: (list,),
        Role.LABEL: (str, int),
    }
    translator = case.toy.registry.make(Translator, case.translator) if case.translator else None
    rows = list(case.component.pairs(translator, case.toy.context(case.folder)))
    assert rows
    for row in rows:
        for name, role in case.component.columns.items():
            assert isinstance(row[name], kinds[role]), f"'{name}' is {type(row[name]).__name__}, and a {role.value} is meant"
    assert list(case.component.pairs(translator, case.toy.context(case.folder))) == rows


@law("corpus")
def its_documents_come_in_order(case: Case) -> None:
    """Documents are texts that say where they stand, the same ones again."""
    found = list(case.component.documents(case.toy.context(case.folder)))
    assert found
    assert all(isinstance(document.text, str) and document.origin for document in found), "a document does not say where it stands"
    assert list(case.component.documents(case.toy.context(case.folder))) == found
