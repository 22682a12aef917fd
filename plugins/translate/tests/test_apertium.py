"""Apertium as the system has it, and stand-ins on the path that fail the way engines fail."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from langadapt_translate import apertium as module
from langadapt_translate.apertium import Apertium, _unmarked, mode_of, pivots

from langadapt.contracts.component import Context
from langadapt.errors import DataError


def said(engine: Apertium, texts: list[str], ctx: Context, source: str = "en", target: str = "gl") -> list[Any]:
    found = dict(engine.translate(texts, source, target, ctx))
    assert sorted(found) == list(range(len(texts)))
    return [found[i] for i in range(len(texts))]


def test_real_sentences(apertium: None, here: Context) -> None:
    texts = ["A man is playing a guitar.", "", "The dog sleeps.", "Zxqwv is here."]
    found = said(Apertium(), texts, here)
    assert found[1].text == ""
    assert "home" in found[0].text
    assert [one.unknown for one in found] == [0, 0, 0, 1]
    assert found[3].text.startswith("Zxqwv")


@pytest.mark.slow
def test_a_sentence_is_translated_alike_whatever_stands_beside_it(apertium: None, here: Context, data: Path) -> None:
    with gzip.open(data / "stsb" / "en" / "dev.tsv.gz", "rt", encoding="utf-8") as handle:
        next(handle)
        texts = list(dict.fromkeys(line.split("\t")[0] for line in handle))[:120]
    together = said(Apertium(block=120), texts, here)
    assert said(Apertium(block=7, workers=2), texts, here) == together
    assert [said(Apertium(), [text], here)[0] for text in texts[:3]] == together[:3]


def test_marks_of_its_own_stay(apertium: None, here: Context) -> None:
    (found,) = said(Apertium(), ["Rated 5* and *great* by @ana #cats [x] {y} <z> a/b\\c ^d$"], here)
    for mark in ("5*", "@", "#", "[", "{", "<", "/", "\\", "^"):
        assert mark in found.text, found.text


def test_through_another_language(apertium: None, here: Context) -> None:
    direct, pivot = Apertium(), Apertium(via=["es"])
    assert pivot.offer("en", "gl").name == "apertium eng-spa, es-gl"
    assert direct.offer("en", "gl").fingerprint != pivot.offer("en", "gl").fingerprint
    (found,) = said(pivot, ["The dog sleeps under the tree."], here)
    assert "árbore" in found.text
    assert "es" in pivots("en", "gl")


def test_codes_of_two_and_three_letters(apertium: None) -> None:
    assert mode_of("en", "es") == "eng-spa" == mode_of("eng", "spa")
    assert mode_of("en", "gl") == "en-gl"
    assert mode_of("en", "mr") is None


def test_what_a_missing_pair_needs(apertium: None) -> None:
    assert "apt-get install apertium-eu-en" in Apertium().offer("en", "eu").needs or mode_of("en", "eu")
    assert "no mode en → mr" in Apertium().offer("en", "mr").needs


def test_absent(monkeypatch: pytest.MonkeyPatch, here: Context) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    offer = Apertium().offer("en", "gl")
    assert not offer.ready
    assert offer.needs == "apt-get install apertium apertium-en-gl"
    with pytest.raises(DataError, match="cannot translate en → gl here"):
        list(Apertium().translate(["a"], "en", "gl", here))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a program called apertium in front of the path."""

    def put(script: str) -> None:
        program = tmp_path / "bin" / "apertium"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nif [ "$1" = "-l" ]; then echo en-gl; exit 0; fi\n{script}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        module.modes.cache_clear()

    yield put
    module.modes.cache_clear()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("cat > /dev/null; echo broken >&2; exit 3", "ended with code 3: broken"),
        ("kill -9 $$", "ended with code -9"),
        ("sleep 30", "gave no answer within 1 s"),
        ("cat > /dev/null", "gave no answer for 40 of 40 sentences"),
        ("sed -n '/9/p'", "gave no answer for"),
        ("cat > /dev/null; printf '\\377\\376\\n'", "no UTF-8"),
    ],
)
def test_failing_engines(script: str, told: str, stand_in: Any, here: Context) -> None:
    stand_in(script)
    with pytest.raises(DataError, match=told):
        list(Apertium(patience=1, block=100).translate([f"sentence {i}" for i in range(40)], "en", "gl", here))


def test_an_engine_that_stops_early_is_asked_again(stand_in: Any, here: Context) -> None:
    stand_in("head -n 3")
    texts = [f"sentence {i}" for i in range(20)]
    assert [one.text for one in said(Apertium(), texts, here)] == texts


def test_one_sentence_that_upsets_the_count_is_left_empty(stand_in: Any, here: Context) -> None:
    stand_in("sed '/poison/d'")
    texts = [f"sentence {i}" for i in range(20)]
    texts[7] = "poison"
    found = said(Apertium(), texts, here)
    assert [one.text for one in found] == [text if text != "poison" else "" for text in texts]


@pytest.mark.parametrize(
    ("source", "said", "text", "unknown"),
    [
        ("She punches through the wall", "Pega a través do #muro", "Pega a través do muro", 1),
        ("like that", "gustarlles # aquilo e *xyz", "gustarlles aquilo e xyz", 2),
        ("a star", "unha @star", "unha star", 1),
        ("Room #5, mail me@x.org", "Cuarto #5, correo me@x.org", "Cuarto #5, correo me@x.org", 0),
        ("It sits on the ground.", "Sentando no moeu/móeu , si", "Sentando no moeu , si", 0),
        ("A and/or B at 5/6", "Un e/ou B en 5/6", "Un e/ou B en 5/6", 0),
    ],
)
def test_marks_are_counted_and_go(source: str, said: str, text: str, unknown: int) -> None:
    assert _unmarked(source, said) == (text, unknown)


def test_no_mark_is_left_in_real_sentences(apertium: None, here: Context, data: Path) -> None:
    with gzip.open(data / "nli-en" / "dev.tsv.gz", "rt", encoding="utf-8") as handle:
        rows = [line.split("\t")[0] for _, line in zip(range(400), handle, strict=False)]
    plain = [text for text in dict.fromkeys(rows[1:]) if not set("#@*/") & set(text)]
    found = said(Apertium(via=["es"]), plain, here)
    assert not [one.text for one in found if set("#@*") & set(one.text)]
    assert sum((one.unknown or 0) > 0 for one in found) > 5
