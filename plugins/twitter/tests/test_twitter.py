"""Posts on real Indonesian and English tweets: Python and the release's tokenizer spell them alike."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langadapt_twitter.indobertweet import IndoBertweet
from langadapt_twitter.normalizer import Twitter

from langadapt.errors import DataError

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


AS_THE_AUTHORS = [  # what preprocess_tweet of indolem/IndoBERTweet (371dde2) returned, with emoji 2.16
    ("RT @Siti_99: gue lagi di @kopi, cek https://t.co/aB1 ya!", "rt @USER gue lagi di @USER cek HTTPURL ya!"),
    ("Bagus😂😂 banget", "bagus:face_with_tears_of_joy::face_with_tears_of_joy: banget"),
    ("lihat bit.ly/x dan www.kompas.com/a. (http://x.id/y)", "lihat bit.ly/x dan HTTPURL HTTPURL"),
    ("USERNAME [USERNAME] [URL] httpurl a@b.c", "username @USER HTTPURL HTTPURL a@b.c"),
    ("Tom &amp; Jerry  #JakartaMacet", "tom &amp; jerry #jakartamacet"),
    ("www.!!! e.g. 3.14 dll.", "www.!!! e.g. 3.14 dll."),
]


@pytest.mark.parametrize(("text", "expected"), AS_THE_AUTHORS)
def test_indobertweet_is_the_authors(text: str, expected: str) -> None:
    assert IndoBertweet().normalize(text) == expected
    assert IndoBertweet().normalize(expected) == expected


def test_a_link_that_is_none_takes_no_time() -> None:
    """The authors' own expression doubles its time with each of these letters."""
    assert IndoBertweet().normalize("www." + "!" * 5000) == "www." + "!" * 5000


def test_indonesian_posts_are_read_as_indobertweet_reads_them(run: Run, tiny: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "posts.txt"
    corpus.write_text("RT @a: halo dunia\n", encoding="utf-8")
    arguments = [
        "plan",
        "--lang",
        "id",
        "--domain",
        "twitter",
        "--recipe",
        "domain-vocab-mlm",
        "--base",
        tiny,
        f"--resource=corpus={corpus}",
    ]
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert '"indobertweet"' in done.stdout
    chosen = run(*arguments, "--json", "--set", "domain.normalizer=twitter")
    assert chosen.returncode == 0, chosen.stderr
    assert '"indobertweet"' not in chosen.stdout


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
    assert '"indobertweet"' in done.stdout
    both = run(*arguments, "--lang", "mr", "--json")
    assert both.returncode == 0, both.stderr
    steps = json.loads(both.stdout)["stages"][1]["identity"]["slots"]["normalizer"]["steps"]
    assert [step["use"] for step in steps] == ["twitter", "indic"]
    alone = run(*arguments, "--lang", "mr", "--set", "lang.normalizer=indic", "--json")
    assert json.loads(alone.stdout)["stages"][1]["identity"]["slots"]["normalizer"]["use"] == "indic"


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({"users": "keep", "links": "keep"}, "RT @siti: halo @budi https://t.co/a", "halo @budi https://t.co/a"),
        ({"users": "drop", "links": "drop"}, "@siti halo https://t.co/a dunia", "halo dunia"),
        ({"emoji": "names"}, "bagus 😂", "bagus :face_with_tears_of_joy:"),
        ({"emoji": "names", "language": "es"}, "bien 😂", "bien :cara_llorando_de_risa:"),
        ({"emoji": "drop"}, "bagus 😂 sekali", "bagus sekali"),
        ({"hashtags": "split"}, "#JakartaMacet2024 #makan_siang #RIPNLPGroup #bola", "Jakarta Macet 2024 makan siang RIPNLP Group bola"),
        ({"hashtags": "bare"}, "#JakartaMacet # a#b", "JakartaMacet # a#b"),
        ({"repeats": 2}, "baguuuuus!!!! 1000000", "baguus!! 1000000"),
        ({"lowercase": True, "language": "tr"}, "İstanbul IŞIK", "istanbul ışık"),
        ({}, "kya baat hai yaar, bahut accha hua!", "kya baat hai yaar, bahut accha hua!"),
        ({}, "a\u0000b\u0007c\u0085 d\ufeff", "abc d"),
    ],
)
def test_options(options: dict[str, Any], text: str, expected: str) -> None:
    normalizer = Twitter(**options)
    assert normalizer.normalize(text) == expected
    assert normalizer.normalize(expected) == expected or options.get("hashtags") == "split"
    fast = normalizer.fast()
    assert fast is None or fast.normalize_str(text) == expected
    unwritable = options.get("hashtags") == "split" or "emoji" in options or options.get("language") == "tr"
    assert (fast is None) == unwritable


def documents(path: Path, registry: Any, ctx: Any, **options: Any) -> list[str]:
    from langadapt.manifests.resource import PathSource, Resource, Sources
    from langadapt.planning.pinning import pin_paths

    data = Resource(name="posts", format="text", sources=Sources(path=PathSource(paths=[str(path)])))
    data = data.model_copy(update={"pinned": pin_paths(data, (path,), "test")})
    return [document.text for document in registry.build("corpus", {"use": "posts", "data": data, **options}).documents(ctx)]


def test_export_formats(registry: Any, ctx: Any, tmp_path: Path) -> None:
    v1 = [
        {"id": 1, "text": "short…", "truncated": True, "extended_tweet": {"full_text": "the whole of it"}, "lang": "en"},
        {"id": 2, "full_text": "RT @a: said before", "retweeted_status": {"full_text": "said before"}, "lang": "en"},
        {"id": 3, "full_text": "halo", "lang": "in"},
    ]
    lines = tmp_path / "v1.jsonl"
    lines.write_text("".join(json.dumps(post) + "\n" for post in v1), encoding="utf-8")
    assert documents(lines, registry, ctx) == ["the whole of it", "halo"]
    assert documents(lines, registry, ctx, language="en") == ["the whole of it"]
    assert len(documents(lines, registry, ctx, reposts="keep")) == 3
    page = tmp_path / "v2.jsonl"
    post = {"id": "1", "text": "first", "note_tweet": {"text": "first and long"}, "referenced_tweets": [{"type": "quoted", "id": "9"}]}
    page.write_text(json.dumps({"data": [post, {"id": "2", "text": "RT @b: x", "referenced_tweets": [{"type": "retweeted", "id": "3"}]}]}))
    assert documents(page, registry, ctx) == ["first and long"]
    archive = tmp_path / "tweets.js"
    archive.write_text('window.YTD.tweets.part0 = [ {"tweet": {"full_text": "from the archive", "lang": "en"}} ]', encoding="utf-8")
    assert documents(archive, registry, ctx) == ["from the archive"]
    archive.write_text("window.YTD.tweets.part0 = [ {", encoding="utf-8")
    with pytest.raises(DataError, match="not an archive of posts"):
        documents(archive, registry, ctx)


def collected(run: Run, tiny: Path, tmp_path: Path, lines: list[str] | bytes) -> subprocess.CompletedProcess[str]:
    corpus = tmp_path / "posts.txt"
    corpus.write_bytes(lines if isinstance(lines, bytes) else "".join(f"{line}\n" for line in lines).encode())
    (tmp_path / "c.yaml").write_text(
        "recipe: c\nsummary: Read posts.\nstages:\n"
        "  corpus: {do: collect, corpus: {use: posts, data: $lang.corpus}, normalizer: $lang.normalizer, selectors: [near-duplicates]}\n",
        encoding="utf-8",
    )
    files = ["--base", tiny, f"--resource=corpus={corpus}", "--out=out"]
    return run("build", "--lang", "mr", "--domain", "twitter", "--recipe", "c.yaml", *files)


def test_repeats_and_monsters_are_told_not_silently_cut(run: Run, tiny: Path, tmp_path: Path) -> None:
    lines = (
        [f"पोस्ट क्रमांक {i} आज पाऊस पडला आणि रस्ते भिजले" for i in range(5)] + ["RT @a: एकच गोष्ट पुन्हा पुन्हा"] + ["तीच तीच गोष्ट पुन्हा सांगतो"] * 60
    )
    done = collected(run, tiny, tmp_path, [*lines, "x" * 100_000])
    assert done.returncode == 0, done.stderr
    assert "of the corpus repeated itself and was dropped" in done.stderr
    assert "1 texts are longer than 4,000 characters" in done.stderr
    mixed = collected(run, tiny, tmp_path, "एक\n".encode() + "caf\xe9\n".encode("latin-1"))
    assert mixed.returncode == 2
    assert "posts.txt:2" in mixed.stderr
    assert "byte 0xe9" in mixed.stderr


def test_a_domain_says_which_languages_it_has_data_for(run: Run) -> None:
    done = run("plan", "--lang", "id", "--domain", "twitter", "--recipe", "domain-vocab-mlm")
    assert done.returncode == 2
    assert "the domain 'twitter' (which has one for en) states no 'corpus' for 'id'" in done.stderr
    shown = run("show", "domain", "twitter")
    assert "IndoBERTweet" in shown.stdout


def test_emoji_are_named_as_the_library_names_whole_texts(data: Path) -> None:
    import emoji

    plain, named = Twitter(), Twitter(emoji="names")
    with gzip.open(data / "raw" / "en-tweets.txt.gz", "rt", encoding="utf-8") as handle:
        texts = [plain.normalize(line) for _, line in zip(range(3000), handle, strict=False)]
    texts.append("soal▪︎mini 1️⃣ 👩🏽‍🚀 ™ 東京 🏴󠁧󠁢󠁥󠁮󠁧󠁿")
    assert [named.normalize(text) for text in texts] == [plain.normalize(emoji.demojize(text)) for text in texts]


@pytest.mark.parametrize("lowercase", [False, True])
def test_tags_are_split_where_their_case_says(lowercase: bool) -> None:
    normalizer = Twitter(hashtags="split", lowercase=lowercase)
    text = "It&#39;s #JakartaMacet2024 &amp; #HariIni, see https://x.id/a#BagianDua ##tag"
    said = "It's Jakarta Macet 2024 & Hari Ini, see HTTPURL tag"
    assert normalizer.normalize(text) == (said.lower() if lowercase else said)


@pytest.mark.parametrize("pictures", ["keep", "names", "drop"])
@pytest.mark.parametrize("hashtags", ["keep", "split", "bare"])
@pytest.mark.parametrize(("lowercase", "repeats"), [(False, None), (True, 2)])
def test_twice_is_once(pictures: Any, hashtags: Any, lowercase: bool, repeats: int | None, data: Path) -> None:
    normalizer = Twitter(emoji=pictures, hashtags=hashtags, lowercase=lowercase, repeats=repeats)
    with gzip.open(data / "raw" / "en-tweets.txt.gz", "rt", encoding="utf-8") as handle:
        texts = [line.rstrip("\n") for _, line in zip(range(500), handle, strict=False)]
    dice = random.Random(0)
    texts += ["".join(dice.choices("aA@@## RT😂\ufe0f\u200d♀_1İIßMmm.!?&amp;http://x :", k=dice.randint(1, 30))) for _ in range(2000)]
    texts += ["😂 RT @bob: hi", "@😂user", "##tag", "Mmm...", "@İ", "Last night \ufe0f @ Omnia", "\ufe0f @ x"]
    once = [normalizer.normalize(text) for text in texts]
    assert [normalizer.normalize(text) for text in once] == once
    if rules := normalizer.fast():
        assert [rules.normalize_str(text) for text in texts] == once
