"""Tokenizers trained from scratch on real Marathi."""

from __future__ import annotations

import gzip
import itertools
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from langadapt_tokenizers.subcharacter import Subcharacter
from langadapt_tokenizers.trained import Bpe, Unigram, WordPiece

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.modeling.characters import recompose

TRAINERS = {
    "wordpiece": WordPiece(vocab_size=3000),
    "unigram": Unigram(vocab_size=3000, coverage=1.0),
    "bpe": Bpe(vocab_size=3000, byte_level=False),
    "byte-level bpe": Bpe(vocab_size=3000),
}


def marathi(data: Path, count: int, start: int = 0) -> list[str]:
    with gzip.open(data / "raw" / "mr.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.rstrip("\n") for line in itertools.islice(handle, start, start + count)]


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    return marathi(data, 700, 500)


@pytest.fixture(scope="module", params=list(TRAINERS))
def trained(request: pytest.FixtureRequest, texts: list[str]) -> tuple[str, Any]:
    return request.param, TRAINERS[request.param].train(texts, None, Context())


def bare(text: str, form: str = "NFC") -> str:
    return "".join(unicodedata.normalize(form, text).split())


def test_special_tokens(trained: tuple[str, Any]) -> None:
    name, tokenizer = trained
    first, last, mask = ("[CLS]", "[SEP]", "[MASK]") if name == "wordpiece" else ("<s>", "</s>", "<mask>")
    ids = tokenizer("घर मोठे आहे")["input_ids"]
    assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == [first, last]
    assert [ids[0], ids[-1]] == [tokenizer.cls_token_id, tokenizer.sep_token_id]
    roles = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id]
    assert len(set(roles)) == 5
    assert tokenizer.pad_token_id in (0, 1)
    masked = tokenizer(f"घर {mask} आहे")["input_ids"]
    assert masked.count(tokenizer.mask_token_id) == 1
    assert tokenizer.num_special_tokens_to_add() == 2
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    assert len(tokenizer) <= 3000


def test_training_text_comes_back_without_unknowns(trained: tuple[str, Any], texts: list[str]) -> None:
    name, tokenizer = trained
    form = "NFKC" if name == "unigram" else "NFC"
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids, text
        assert bare(tokenizer.decode(ids, skip_special_tokens=True)) == bare(text, form)


def test_unseen_words_keep_vowel_signs(trained: tuple[str, Any], data: Path) -> None:
    name, tokenizer = trained
    words = [word for line in marathi(data, 60, 4000) for word in line.split() if word.isalpha() or "\u094d" in word]
    signs = [c for word in words for c in word if unicodedata.category(c) in ("Mn", "Mc")]
    cut = [piece for word in words for piece in tokenizer.tokenize(word)]
    if name == "byte-level bpe":  # a piece may end inside a letter's bytes
        cut = [tokenizer.decode(tokenizer.encode(word, add_special_tokens=False)) for word in words]
    assert len(words) > 100
    assert [c for piece in cut for c in piece if unicodedata.category(c) in ("Mn", "Mc")] == signs


def test_frequent_words_are_one_piece(trained: tuple[str, Any]) -> None:
    _, tokenizer = trained
    assert [len(tokenizer.tokenize(word)) for word in ("आहे", "आणि")] == [1, 1]


def test_same_text_same_bytes_in_another_process(texts: list[str], tmp_path: Path) -> None:
    few = texts[:150]
    (tmp_path / "texts").write_text("\n".join(few), encoding="utf-8")
    script = (
        "import sys; from pathlib import Path; from langadapt.contracts.component import Context\n"
        "from langadapt_tokenizers.trained import Bpe, Unigram, WordPiece\n"
        "texts = Path('texts').read_text(encoding='utf-8').split('\\n')\n"
        "for kind in (WordPiece, Unigram, Bpe):\n"
        "    made = kind(vocab_size=1200).train(texts, None, Context())\n"
        "    Path(kind.name).write_text(made.backend_tokenizer.to_str(), encoding='utf-8')\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True, timeout=120)
    for kind in (WordPiece, Unigram, Bpe):
        made = kind(vocab_size=1200).train(few, None, Context())
        assert made.backend_tokenizer.to_str() == (tmp_path / kind.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("family", [WordPiece, Unigram, Bpe])
def test_lower_case_of_letters_without_case_is_said(family: Any, caplog: pytest.LogCaptureFixture) -> None:
    corpus = ["मुले मैदानात खेळत आहेत 12", "ती बाजारात भाजी विकते", "आज पुण्यात खूप पाऊस पडला"] * 20
    with caplog.at_level(logging.WARNING):
        family(lowercase=True, vocab_size=100 if family is Unigram else 400).train(corpus, None, Context(log=logging.getLogger("case")))
        assert [record.message for record in caplog.records if "have no case" in record.message]
        caplog.clear()
        some = [*corpus, "pune is a city"] * 2
        family(lowercase=True, vocab_size=100 if family is Unigram else 400).train(some, None, Context(log=logging.getLogger("case")))
        assert not [record.message for record in caplog.records if "have no case" in record.message]


@pytest.mark.parametrize("trainer", [WordPiece(lowercase=True, vocab_size=300), Unigram(lowercase=True, vocab_size=300)])
def test_lowercase_on_request(trainer: Any) -> None:
    texts = ["The Quick Brown Fox jumps over the lazy dog", "ABCDEFGHIJKLM nopqrstuvwxyz É"] * 4
    tokenizer = trainer.train(texts, None, Context())
    assert tokenizer("QUICK fox É")["input_ids"] == tokenizer("quick FOX é")["input_ids"]
    assert tokenizer.unk_token_id not in tokenizer("QUICK fox É")["input_ids"]


@pytest.mark.parametrize("trainer", list(TRAINERS.values()), ids=list(TRAINERS))
def test_empty_corpus_is_refused(trainer: Any) -> None:
    with pytest.raises(DataError):
        trainer.train(["", "  "], None, Context())


SCRIPTS = ["Čeština café Ğ", "Ωμέγα Άλφα", "Йогурт ёж", "उदाहरणार्थ कि", "தமிழ் கி", "ที่นี่", "한국어", "がぎ", "العَرَبِيّة", "שָׁלוֹם", "ሰማይ"]
SCRIPTS += ["မြန်မာ", "ភាសាខ្មែរ"]


@pytest.mark.parametrize("text", SCRIPTS)
@pytest.mark.parametrize("family", [WordPiece, Unigram, Bpe, Subcharacter])
def test_accents_go_only_where_they_are_accents(family: Any, text: str) -> None:
    corpus = [text] * 20 + ["the quick brown fox jumps over the lazy dog"] * 20
    options = {"coverage": 1.0, "vocab_size": 100} if family is Unigram else {"vocab_size": 400}
    tokenizer = family(strip_accents=True, **options).train(corpus, None, Context())
    normal = recompose(tokenizer.backend_tokenizer.normalizer.normalize_str(text)).strip()
    expected = {"Čeština café Ğ": "Cestina cafe G", "Ωμέγα Άλφα": "Ωμεγα Αλφα", "Йогурт ёж": "Иогурт еж"}
    assert normal == expected.get(text, unicodedata.normalize("NFC", text))
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


@pytest.mark.parametrize("family", [WordPiece, Unigram, Bpe, Subcharacter])
def test_lower_case_puts_no_dot_over_an_i(family: Any) -> None:
    corpus = ["İstanbul İzmir ΟΔΟΣ Straße ÉCOLE"] * 20 + ["the quick brown fox jumps over the lazy dog"] * 20
    tokenizer = family(lowercase=True, vocab_size=100 if family is Unigram else 400).train(corpus, None, Context())
    normal = recompose(tokenizer.backend_tokenizer.normalizer.normalize_str("İstanbul I\u0307zmir ΟΔΟΣ ÉCOLE")).strip()
    assert normal == "istanbul izmir οδοσ école"
    assert tokenizer.unk_token_id not in tokenizer("İstanbul ΟΔΟΣ")["input_ids"]


@pytest.mark.parametrize("family", [WordPiece, Bpe])
def test_a_vocabulary_that_the_alphabet_fills_is_refused(family: Any, data: Path) -> None:
    with gzip.open(data / "raw" / "ko.txt.gz", "rt", encoding="utf-8") as handle:
        korean = [line.strip() for line in itertools.islice(handle, 500)]
    slots = {"byte_level": False} if family is Bpe else {}
    with pytest.raises(DataError, match=r"a vocabulary of 100 cannot hold the corpus's [\d,]+ characters: these alone take"):
        family(vocab_size=100, **slots).train(korean, None, Context())


@pytest.mark.parametrize("family", [WordPiece, Unigram, Bpe])
def test_a_corpus_too_small_for_its_vocabulary_is_said(family: Any, caplog: pytest.LogCaptureFixture) -> None:
    texts = ["the quick brown fox jumps over the lazy dog"] * 9
    with pytest.raises(DataError, match=r"(\d+) entries came out where 5,000 were asked for") as refused:
        family(vocab_size=5000).train(texts, None, Context())
    size = int(refused.value.what.split()[0])
    assert f"Lower vocab_size to {size} or less" in (refused.value.hint or "")
    with caplog.at_level("WARNING"):
        tokenizer = family(vocab_size=max(size + 20, 100)).train(texts, None, Context(log=logging.getLogger("trained")))
    if len(tokenizer) < max(size + 20, 100):
        assert f"{len(tokenizer):,} entries came out where {max(size + 20, 100):,} were asked for" in caplog.text


def test_words_that_white_space_does_not_set_apart_are_refused() -> None:
    thai = ["ภาษาไทยเป็นภาษาที่มีการใช้งานในประเทศไทยและตลาดในกรุงเทพมหานคร"] * 30
    for family in (WordPiece, Subcharacter):
        with pytest.raises(DataError, match="100% of the letters are of a script that sets none"):
            family(vocab_size=500).train(thai, None, Context())
    assert Unigram(vocab_size=200).train(thai, None, Context()).unk_token_id is not None


def test_no_punctuation_inside_words(data: Path) -> None:
    with gzip.open(data / "raw" / "am.txt.gz", "rt", encoding="utf-8") as handle:
        amharic = [line.strip() for line in itertools.islice(handle, 500)]
    vocab = WordPiece(vocab_size=2000).train(amharic, None, Context()).get_vocab()
    assert "።" in vocab
    assert not [token for token in vocab if token.startswith("##") and unicodedata.category(token[2]).startswith("P")]
