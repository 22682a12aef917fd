"""``langadapt tokens`` on real text."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.modeling.segmentation import ENOUGH, Cut, recommend, spelling, split, splitter
from tests.test_vocabulary_recipes import head

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_indonesian_tweets(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    tweets = head(data / "raw" / "id-tweets.txt.gz", tmp_path / "tweets.txt", 1500)
    arguments = ["tokens", "--lang", "id", "--base", tiny, "--corpus", tweets, "--budget", 300, "--vocab-size", 2000]
    done = run(*arguments, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)
    cuts = advice["cuts"]
    base = AutoTokenizer.from_pretrained(tiny)
    assert cuts["keep"]["vocabulary"] == len(base)
    assert cuts["extend"]["vocabulary"] == len(base) + 300
    assert cuts["extend"]["tokens"] < cuts["keep"]["tokens"]
    assert cuts["extend"]["compute"] == pytest.approx(cuts["extend"]["tokens"] / cuts["keep"]["tokens"])
    by_hand(cuts["keep"], base, tweets, advice["texts"])
    assert (advice["choice"], len(advice["reasons"]) > 0) == ("extend", True)
    assert json.loads((tmp_path / "out" / "tokens.json").read_text()) == advice
    shown = run(*arguments, "--out", tmp_path / "out")
    assert f"Advice: {advice['choice']}" in shown.stdout
    picture = (tmp_path / "out" / "tokens.svg").read_text()
    assert all(name in picture for name in cuts)


def by_hand(keep: dict[str, Any], base: Any, tweets: Path, texts: int) -> None:
    """Fertility and unknown share of the base, counted word by word; near-duplicates may have gone, so only nearly equal."""
    held = tweets.read_text(encoding="utf-8").splitlines()[::10]
    words = [word for line in held for word in line.split()]
    pieces = [base.tokenize(word) for word in words]
    assert texts == pytest.approx(len(held), abs=5)
    assert keep["fertility"] == pytest.approx(sum(map(len, pieces)) / len(words), rel=0.05)
    assert keep["continued"] == pytest.approx(sum(len(p) > 1 for p in pieces) / len(words), abs=0.03)
    assert 0 < keep["used"] < 1


@pytest.mark.slow
def test_a_recipe_follows_the_advice(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    tweets = head(data / "raw" / "id-tweets.txt.gz", tmp_path / "tweets.txt", 800)
    done = run(
        *("build", "--lang", "id", "--recipe", "monolingual-from-multilingual", "--base", tiny, f"--resource=corpus={tweets}"),
        *("--set", "stages.tokenizer.tokenizer.budget=200", "--set", "stages.warmed.epochs=0.3", "--set", "stages.mlm.epochs=0.3"),
        *("--set", "stages.base.max_length=64", "--out", tmp_path / "run"),
    )
    assert done.returncode == 0, done.stderr
    assert "advice: extend" in done.stderr
    assert len(AutoTokenizer.from_pretrained(tmp_path / "run" / "release")) == len(AutoTokenizer.from_pretrained(tiny)) + 200


def test_too_little_text(run: Run, tiny: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("satu\ndua\ntiga\n", encoding="utf-8")
    done = run("tokens", "--lang", "id", "--base", tiny, "--corpus", few, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "3 texts are too few" in done.stderr
    assert not (tmp_path / "out" / "tokens.json").exists()


THAI = "ฉัน ชอบ กิน ข้าว กับ เพื่อน เขา ไป โรงเรียน ทุก วัน แมว นอน อยู่ บน เก้าอี้ ใน บ้าน แม่ ซื้อ ปลา ที่ ตลาด ครู สอน เด็ก อ่าน หนังสือ น้ำ เย็น"


@pytest.mark.slow
def test_thai_words_are_told_apart(run: Run, e5: Path, tmp_path: Path) -> None:
    corpus, draw = tmp_path / "th.txt", random.Random(4)
    lines = ["".join(draw.choices(THAI.split(), k=15)) for _ in range(200)]
    corpus.write_text("\n".join(lines), encoding="utf-8")
    done = run("tokens", "--lang", "mr", "--base", e5, "--corpus", corpus, "--vocab-size", 500, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    advice = json.loads(done.stdout, parse_constant=refuse)
    assert advice["words"] > 10 * advice["texts"]
    for cut in advice["cuts"].values():  # counted in the text: a word alone would have a mark of its beginning
        assert cut["fertility"] * advice["words"] == pytest.approx(cut["tokens"] * advice["texts"])
    assert json.loads((tmp_path / "out" / "tokens.json").read_text(), parse_constant=refuse) == advice


def test_words_without_icu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert splitter(["ein Satz mit Worten"]) is str.split
    assert splitter(["ฉันชอบกินข้าว"])("ฉันชอบกินข้าว") == ["ฉัน", "ชอบ", "กิน", "ข้าว"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="sets no white space"):
        splitter(["ฉันชอบกินข้าว"])


def test_a_text_where_no_word_repeats_has_no_fragment_score(run: Run, tiny: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "once.txt"
    letters = "abcdefghij"
    lines = ["".join(letters[int(d)] for d in str(1000 + 37 * i)) + " zq" * (i < 3) for i in range(90)]
    corpus.write_text("\n".join(lines), encoding="utf-8")
    done = run("tokens", "--lang", "id", "--base", tiny, "--corpus", corpus, "--vocab-size", 200, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert "NaN" not in done.stdout
    assert json.loads(done.stdout)["cuts"]["keep"]["fragments"] is None
    shown = run("tokens", "--lang", "id", "--base", tiny, "--corpus", corpus, "--vocab-size", 200, "--out", tmp_path / "out")
    assert "nan" not in shown.stdout.lower()


KEEP = Cut(100_000, 0.1, 1.6, 0.4, 0.001, 1.7, 1.0, 30, 60, 1.0, 150)


@pytest.mark.parametrize(
    ("cuts", "words", "choice"),
    [
        ({"replace": replace(KEEP, compute=0.97, vocabulary=16_000)}, ENOUGH, "keep"),
        ({"prune": replace(KEEP, vocabulary=10_000, embedding_mb=15)}, ENOUGH, "prune"),
        ({"prune": replace(KEEP, vocabulary=10_000, compute=1.06)}, ENOUGH, "keep"),
        ({"prune": replace(KEEP, vocabulary=10_000, unknown=0.05)}, ENOUGH, "keep"),
        ({"extend": replace(KEEP, compute=0.9), "prune": replace(KEEP, vocabulary=10_000)}, ENOUGH, "extend"),
        ({"replace": replace(KEEP, compute=0.6), "extend": replace(KEEP, compute=0.9)}, ENOUGH, "replace"),
        ({"replace": replace(KEEP, compute=0.6), "extend": replace(KEEP, compute=0.9)}, ENOUGH - 1, "extend"),
        ({"keep": replace(KEEP, unknown=0.2), "replace": replace(KEEP, unknown=0.001)}, 1000, "replace"),
    ],
)
def test_what_is_recommended(cuts: dict[str, Cut], words: int, choice: str) -> None:
    found, reasons = recommend({"keep": KEEP, **cuts}, words)
    assert found == choice
    assert ("a million" in " ".join(reasons)) == (words < ENOUGH)


def test_texts_that_repeat_are_not_held_out_of_themselves() -> None:
    texts = [f"premise {i // 4}" for i in range(400)]
    train, held = split(texts)
    assert (len(train), len(held)) == (90, 10)
    assert not set(train) & set(held)


def test_a_replacement_is_spelt_as_the_base(registry: Any, tiny: Path) -> None:
    texts = ["Árvíztűrő TÜKÖRFÚRÓGÉP the quick brown fox"] * 60
    for options in ({}, {"lowercase": True}, {"lowercase": True, "strip_accents": True}):
        base = registry.build("tokenizer", {"use": "wordpiece", "vocab_size": 200, **options}).train(texts, None, Context())
        assert spelling(base) == {"lowercase": False, "strip_accents": False} | options


def test_a_base_and_a_text_are_enough(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    tweets = head(data / "raw" / "id-tweets.txt.gz", tmp_path / "tweets.txt", 300)
    done = run("tokens", "--base", tiny, "--corpus", tweets, "--vocab-size", 500, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Advice: " in done.stdout
    refused = run("tokens", "--corpus", tweets, "--out", tmp_path / "none")
    assert (refused.returncode, "Name a language with --lang, or give --base PATH." in refused.stderr) == (2, True)
    refused = run("tokens", "--base", tiny, "--corpus", tweets, "--recipe", "sbert-nli-sts", "--out", tmp_path / "none")
    assert (refused.returncode, "takes no --recipe" in refused.stderr) == (2, True)
    assert not (tmp_path / "none").exists()
