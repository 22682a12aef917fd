"""Posts on real Indonesian and English tweets: Python and the release's tokenizer spell them alike."""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from langadapt_twitter.normalizer import Twitter

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RT @siti_99: gue lagi di @kopi, cek https://t.co/aB1 ya!", "gue lagi di @USER, cek HTTPURL ya!"),
        ("RT @a RT @b halo", "halo"),
        ("Tom &amp; Jerry &lt;3 &amp;lt;", "Tom & Jerry <3 &amp;lt;"),
        ("  banyak\n\tspasi\u00a0sini ", "banyak spasi sini "),
        ("mail a@b.c www.kompas.com/x", "mail a@b.c HTTPURL"),
        ("#Jakarta 😂😂 bagusss bgt e\u0301", "#Jakarta 😂😂 bagusss bgt \u00e9"),
    ],
)
def test_rules(text: str, expected: str) -> None:
    assert Twitter().normalize(text) == expected
    assert Twitter().fast().normalize_str(text) == expected
    assert Twitter(lowercase=True).normalize(text) == expected.lower()


@pytest.mark.parametrize("name", ["id-tweets", "en-tweets"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_real_posts(name: str, lowercase: bool, data: Path) -> None:
    normalizer = Twitter(lowercase=lowercase)
    fast = normalizer.fast()
    with gzip.open(data / "raw" / f"{name}.txt.gz", "rt", encoding="utf-8") as handle:
        posts = [line.rstrip("\n") for line in itertools.islice(handle, 3000)]
    for post in posts:
        once = normalizer.normalize(post)
        assert normalizer.normalize(once) == once
        assert fast.normalize_str(post) == once


def test_the_domains_normalizer_serves_where_the_language_has_none(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "posts.txt"
    corpus.write_text("RT @a: halo dunia\n", encoding="utf-8")
    arguments = ["plan", "--domain", "twitter", "--recipe", "domain-vocab-mlm", "--base", tiny, f"--resource=corpus={corpus}"]
    done = run(*arguments, "--lang", "id", "--json")
    assert done.returncode == 0, done.stderr
    assert '"twitter"' in done.stdout
    both = run(*arguments, "--lang", "mr", "--json")
    assert both.returncode == 0, both.stderr
    steps = json.loads(both.stdout)["stages"][1]["identity"]["slots"]["normalizer"]["steps"]
    assert [step["use"] for step in steps] == ["twitter", "indic"]
    alone = run(*arguments, "--lang", "mr", "--set", "lang.normalizer=indic", "--json")
    assert json.loads(alone.stdout)["stages"][1]["identity"]["slots"]["normalizer"]["use"] == "indic"
