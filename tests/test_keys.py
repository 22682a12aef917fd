"""What a key depends on: the seed, versions, options, the bytes of files; and on nothing else."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from langadapt.contracts.plan import Request
from langadapt.planning.compile import compile_plan
from langadapt.planning.request import overrides, resource_paths
from langadapt.registry.catalog import Catalog
from langadapt.registry.registry import Registry
from langadapt.store import Store
from langadapt.verbs.train.options import Train

BASE = ("base", "nli", "sts", "vocabulary", "pruned", "sbert-nli", "sbert-sts", "scores", "release")


def keys(registry: Registry, catalog: Catalog, pairs: dict[str, Path], seed: int = 42, sets: tuple[str, ...] = ()) -> dict[str, str]:
    given = tuple(f"{name}={pairs[part]}" for name, part in (("nli", "nli"), ("sts", "sts"), ("sts-test", "sts")))
    plan = compile_plan(
        Request(recipes=("sbert-nli-sts",), lang="mr", resources=resource_paths(given), seed=seed, overrides=overrides(sets)),
        registry,
        catalog,
    )
    return {stage.name: stage.key for stage in plan.stages}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_another_seed_is_another_key_everywhere(registry: Registry, catalog: Catalog, pairs: dict[str, Path]) -> None:
    assert changed(keys(registry, catalog, pairs), keys(registry, catalog, pairs, 43)) == set(BASE)
    assert keys(registry, catalog, pairs) == keys(registry, catalog, pairs)


def test_versions_of_verbs_and_components_are_in_keys(
    registry: Registry, catalog: Catalog, pairs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(registry, catalog, pairs)
    monkeypatch.setattr(Train, "version", "another")
    assert changed(before, keys(registry, catalog, pairs)) == {"sbert-nli", "sbert-sts", "scores", "release"}
    monkeypatch.undo()
    monkeypatch.setattr(registry.get("objective", "cosine-sts"), "version", "another")
    assert changed(before, keys(registry, catalog, pairs)) == {"sbert-sts", "scores", "release"}


def test_options_reach_what_depends_on_them(registry: Registry, catalog: Catalog, pairs: dict[str, Path]) -> None:
    before = keys(registry, catalog, pairs)
    after = keys(registry, catalog, pairs, sets=("stages.sbert-sts.learning_rate=1e-5",))
    assert changed(before, after) == {"sbert-sts", "scores", "release"}


def test_files_are_keyed_by_their_bytes(registry: Registry, catalog: Catalog, pairs: dict[str, Path], tmp_path: Path) -> None:
    before = keys(registry, catalog, pairs)
    elsewhere = tmp_path / "far" / pairs["sts"].name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(pairs["sts"].read_bytes())
    moved = keys(registry, catalog, {**pairs, "sts": elsewhere})
    assert {name: moved[name] for name in BASE[:-1]} == {name: before[name] for name in BASE[:-1]}  # a card names the file
    text = elsewhere.read_bytes()
    opened = gzip.decompress(text) if elsewhere.suffix == ".gz" else text
    altered = opened.replace(b"\t", b"\t ", 1)
    elsewhere.write_bytes(gzip.compress(altered) if elsewhere.suffix == ".gz" else altered)
    assert "sts" in changed(before, keys(registry, catalog, {**pairs, "sts": elsewhere}))


def test_an_artifact_altered_at_the_same_size_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "a.txt").write_text("right")
    store.commit("k" * 40, staged, {"do": "load"})
    assert store.has("k" * 40)
    assert Store(tmp_path).damage("k" * 40) == []
    (store.path("k" * 40) / "a.txt").write_text("wrong")
    assert [(one.file, "sha256" in one.what or "altered" in one.what) for one in Store(tmp_path).damage("k" * 40)] == [("a.txt", True)]
    (store.path("k" * 40) / "artifact.json").unlink()
    assert not Store(tmp_path).has("k" * 40)
