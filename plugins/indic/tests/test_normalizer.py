"""The Indic normalizer: one spelling, nothing lost, the same in Python and in a release's tokenizer."""

from __future__ import annotations

import gzip
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langadapt_indic.normalizer import Indic

ZWNJ, ZWJ, ZWSP = "\u200c", "\u200d", "\u200b"
VIRAMA, NUKTA = "\u094d", "\u093c"

SIGNS = "\u0900-\u0903\u093a\u093b\u093e-\u094d\u094e\u094f\u0955-\u0957\u0962\u0963"
"""Devanagari's vowel signs, candrabindu, anusvara, visarga and virama."""

KINDS = [Indic(), Indic(digits="ascii"), Indic(digits="native")]
DEVANAGARI = st.text(
    st.one_of(st.sampled_from(f"रनळयहकि{VIRAMA}{NUKTA}{ZWJ}{ZWNJ}{ZWSP}|।1१ \n"), st.characters(min_codepoint=0x900, max_codepoint=0x97F)),
    max_size=24,
)


def lines(data: Path, name: str, count: int) -> list[str]:
    with gzip.open(data / "raw" / f"{name}.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.rstrip("\n") for line in itertools.islice(handle, count)]


def kind(options: Any) -> str:
    return str(options.digits)


@pytest.mark.parametrize("normalizer", KINDS, ids=kind)
@pytest.mark.parametrize("language", ["mr", "hi"])
def test_real_text_python_equals_tokenizers_and_twice_equals_once(data: Path, normalizer: Indic, language: str) -> None:
    fast = normalizer.fast()
    for line in lines(data, language, 3000):
        once = normalizer.normalize(line)
        assert fast.normalize_str(line) == once
        assert normalizer.normalize(once) == once


@pytest.mark.parametrize("language", ["mr", "hi"])
def test_real_text_keeps_every_vowel_sign(data: Path, language: str) -> None:
    seen = 0
    for line in lines(data, language, 3000):
        signs = re.findall(f"[{SIGNS}]", line)
        seen += len(signs)
        assert re.findall(f"[{SIGNS}]", Indic().normalize(line)) == signs
    assert seen > 100_000


@given(DEVANAGARI)
@settings(max_examples=400, deadline=None)
def test_any_devanagari(text: str) -> None:
    for normalizer in KINDS:
        once = normalizer.normalize(text)
        assert normalizer.normalize(once) == once
        assert normalizer.fast().normalize_str(text) == once
        assert sorted(re.findall(f"[{SIGNS}]", once)) == sorted(re.findall(f"[{SIGNS}]", text))


@pytest.mark.parametrize(("composed", "letter"), [("\u0929", "न"), ("\u0931", "र"), ("\u0934", "ळ"), ("\u0958", "क"), ("\u095c", "ड")])
def test_nukta_letters_have_one_form(composed: str, letter: str) -> None:
    assert Indic().normalize(f"{composed}ा") == Indic().normalize(f"{letter}{NUKTA}ा") == f"{letter}{NUKTA}ा"


def test_eyelash_ra_has_one_encoding() -> None:
    # दऱ्या (valleys) and तऱ्हा (manner), as both keyboards write them, also with the rra taken apart
    for word in ("द{}या", "त{}हा"):
        forms = {word.format(ra) for ra in (f"\u0931{VIRAMA}", f"र{VIRAMA}{ZWJ}", f"र{NUKTA}{VIRAMA}", f"र{ZWSP}{NUKTA}{VIRAMA}")}
        assert len(forms) == 4
        assert {Indic().normalize(form) for form in forms} == {word.format(f"\u0931{VIRAMA}")}
    # An ordinary ra + virama is a reph, another letter form, and stays.
    assert Indic().normalize("दर्या") == "दर्या"


def test_joiners_stay_only_behind_a_virama() -> None:
    normalize = Indic().normalize
    assert normalize(f"क{VIRAMA}{ZWJ}ष") == f"क{VIRAMA}{ZWJ}ष"
    assert normalize(f"क{VIRAMA}{ZWNJ}ष") == f"क{VIRAMA}{ZWNJ}ष"
    assert normalize(f"ड{NUKTA}{VIRAMA}{ZWJ}य") == f"ड{NUKTA}{VIRAMA}{ZWJ}य"
    assert normalize(f"ක\u0dca{ZWJ}ර") == f"ක\u0dca{ZWJ}ර"
    assert normalize(f"क{VIRAMA}{ZWJ}{ZWJ}{ZWNJ}ष") == f"क{VIRAMA}{ZWJ}ष"
    assert normalize(f"{ZWNJ}का{ZWJ}म{ZWNJ} {ZWJ}") == "काम "
    assert normalize(f"\ufeffका{ZWSP}म\u00ad\u2060") == "काम"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("तो गेला|", "तो गेला।"),
        ("तो गेला |", "तो गेला ।"),
        ("तो गेला | ती आली", "तो गेला । ती आली"),
        ("तो गेला |\nती आली", "तो गेला ।\nती आली"),
        ("गेला|आली", "गेला।आली"),
        ("श्लोक ।।", "श्लोक ॥"),
        ("a | b", "a | b"),
        ("क || ख", "क || ख"),
        ("क |ख", "क |ख"),
    ],
)
def test_danda(text: str, expected: str) -> None:
    assert Indic().normalize(text) == expected
    assert Indic().fast().normalize_str(text) == expected


def test_digits() -> None:
    text = "२०१९ साली 45 जण, ৩ ௧"
    assert Indic().normalize(text) == text
    assert Indic(digits="ascii").normalize(text) == "2019 साली 45 जण, 3 1"
    assert Indic(digits="native").normalize(text) == "२०१९ साली ४५ जण, ३ १"
    assert Indic(digits="native", script="Beng").normalize("4२") == "৪২"
    # A digit that becomes Indic is one before the danda rule looks at it.
    assert Indic(digits="native").normalize("वर्ष 1|") == "वर्ष १।"


def test_other_scripts_pass_unchanged() -> None:
    text = "naïve café — “x|y” | Ω 東京 😀"
    assert Indic().normalize(text) == text
