"""What is used is what was keyed: damaged artifacts are set aside and made again, changed sources stop a build, a kill costs nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_build import Small, flip  # type: ignore[import-not-found]

from langadapt.errors import DataError, LangadaptError, StoreError
from langadapt.running import build, publishing, runner
from langadapt.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A build that is done; tests work on copies of it."""
    small = Small.make(tmp_path_factory.mktemp("built"))
    small.build()
    return small


@pytest.fixture
def small(built: Small, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    """The finished build, to be harmed; every file is put back afterwards (paths are part of what a release states)."""
    kept = built.root.with_name(f"{built.root.name}-kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(built.root, kept)
    yield built
    shutil.rmtree(built.root)
    kept.rename(built.root)


def stage_folder(small: Small, name: str) -> Path:
    key = json.loads((small.run_folder / "lock.json").read_text(encoding="utf-8"))["stages"][name]["key"]
    return small.store / "objects" / str(key)


@pytest.mark.parametrize("name", ["base", "pairs", "tuned", "scores", "release"])
def test_a_flipped_bit_of_an_artifact_is_seen_by_what_reads_it(small: Small, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = small.release()
    folder = stage_folder(small, name)
    flip(max((path for path in folder.rglob("*") if path.is_file() and path.name != "artifact.json"), key=lambda path: path.stat().st_size))
    later = {"base": ["tuned", "scores", "release"], "pairs": ["tuned", "scores", "release"], "tuned": ["release"], "scores": ["release"]}
    for one in later.get(name, []):  # what reads it is to be made again
        shutil.rmtree(stage_folder(small, one))
    outcome = small.build()
    assert f"the stored '{name}' is damaged" in capsys.readouterr().err
    assert name in outcome.ran
    assert small.release() == expected
    store = Store(small.store)
    assert not [damage for key in store.keys() for damage in store.verify(key)]  # noqa: SIM118 - a store is no mapping
    assert list((small.store / "damaged").glob(f"{folder.name}.*"))


def test_what_was_made_of_a_damaged_artifact_goes_with_it(small: Small) -> None:
    shutil.rmtree(stage_folder(small, "release"))
    flip(stage_folder(small, "tuned") / "model.safetensors")
    outcome = small.build()
    assert outcome.ran == ["tuned", "scores", "release"]  # the scores were made of it, and may be of damaged weights


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"key": "other"}', b'{"files": {"../../x": {"bytes": 1, "sha256": "0"}}}', b"\xff\xfe"]
)
def test_a_malformed_record_is_damage_and_not_the_end(small: Small, content: bytes) -> None:
    (stage_folder(small, "release") / "artifact.json").write_bytes(content)
    store = Store(small.store)
    found = [damage for key in store.keys() for damage in store.verify(key)]  # noqa: SIM118
    assert [damage.file for damage in found] == ["artifact.json"]
    expected = small.release()
    assert "release" in small.build().ran
    assert small.release() == expected


def test_strangers_in_a_release_are_seen(small: Small) -> None:
    from langadapt.release.card import check_sums

    release = small.run_folder / "release"
    assert not list(check_sums(release))
    (release / "sub").mkdir()
    (release / "sub" / "SHA256SUMS").write_text("")
    os.mkfifo(release / "pipe")
    (release / "elsewhere").symlink_to(small.root / "base")
    assert {name for name, _ in check_sums(release)} == {"sub/SHA256SUMS", "pipe", "elsewhere"}


@pytest.mark.parametrize("name", ["sts.tsv", "test.tsv", "base/model.safetensors"])
def test_a_source_that_changes_after_the_plan_stops_the_build(small: Small, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(small.store)
    compiled = build.compile_plan

    def then_changed(*given: Any) -> Any:
        plan = compiled(*given)
        file = small.root / name
        file.write_bytes(file.read_bytes().replace(b"4.5", b"1.5") if name.endswith("tsv") else file.read_bytes()[:-1] + b"\x01")
        return plan

    monkeypatch.setattr(build, "compile_plan", then_changed)
    with pytest.raises(DataError, match="changed since the plan was made"):
        small.build()


def test_a_source_that_changes_while_it_is_read_stops_the_build(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    from langadapt.data import tables

    shutil.rmtree(small.store)
    rows = tables.rows

    def slowly(path: Path, numbered: bool = False) -> Iterator[Any]:
        for i, row in enumerate(rows(path, numbered)):
            if i == 3 and not (small.root / "changed").exists():
                (small.root / "changed").touch()
                path.write_bytes(path.read_bytes().replace(b"4.5", b"1.5"))
            yield row

    monkeypatch.setattr(runner, "check_data", lambda *_: [])
    monkeypatch.setattr(tables, "rows", slowly)
    with pytest.raises(DataError, match="changed since the plan was made"):
        small.build()
    store = Store(small.store)
    assert not [key for key in store.keys() if store.record(key)["do"] == "pair"]  # noqa: SIM118


def test_a_build_in_use_is_not_collected(small: Small) -> None:
    store = Store(small.store)
    with store.building(small.run_folder):
        shutil.rmtree(small.run_folder)
        assert store.collect(dry_run=False) == []
    assert len(store.collect(dry_run=False)) == 5


def test_a_read_only_store_will_do_where_it_has_everything(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Store) -> None:
        raise StoreError("the store cannot be written")

    monkeypatch.setattr(Store, "prepare", refuse)
    assert small.build().ran == []
    shutil.rmtree(stage_folder(small, "scores"))
    shutil.rmtree(stage_folder(small, "release"))
    with pytest.raises(StoreError, match="cannot be written"):
        small.build()


class Killed(BaseException):
    """As if the process had ended here: nothing of ours handles it."""


OPERATIONS: tuple[tuple[Any, str], ...] = ((Path, "rename"), (Path, "write_bytes"), (shutil, "copytree"), (Path, "mkdir"), (os, "fsync"))


def killed_at(number: int, patch: pytest.MonkeyPatch, after: bool) -> Callable[[], int]:
    """Let the n-th file operation of a build be its last; returns how many there were."""
    count = 0

    def wrap(original: Any) -> Any:
        def operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == number and not after:
                raise Killed
            found = original(*args, **kwargs)
            if count == number and after:
                raise Killed
            return found

        return operation

    for owner, name in OPERATIONS:
        patch.setattr(owner, name, wrap(getattr(owner, name)))
    return lambda: count


def operations(small: Small) -> int:
    """File operations of the export and of publishing."""
    shutil.rmtree(stage_folder(small, "release"))
    with pytest.MonkeyPatch.context() as patch:
        count = killed_at(0, patch, after=False)
        small.build()
        return count()


def kill_and_go_on(small: Small, number: int, after: bool) -> None:
    expected = small.release()
    shutil.rmtree(stage_folder(small, "release"), ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        # A killed process puts nothing away: neither 'finally' nor 'except' of ours runs.
        patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
        killed_at(number, patch, after)
        with pytest.raises((Killed, LangadaptError)):
            small.build()
    small.build()
    assert small.release() == expected
    left = [path.name for path in small.run_folder.iterdir() if path.name.startswith((".release-", ".old-"))]
    assert left in ([], [publishing.MARKER])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 4, 8, 11, 12, 13])
def test_a_kill_at_a_file_operation_costs_nothing(small: Small, number: int, after: bool) -> None:
    kill_and_go_on(small, number, after)


@pytest.mark.hostile
def test_a_kill_at_every_file_operation_costs_nothing(small: Small) -> None:
    total = operations(small)
    assert total > 10
    for number in range(1, total + 1):
        for after in (False, True):
            kill_and_go_on(small, number, after)
