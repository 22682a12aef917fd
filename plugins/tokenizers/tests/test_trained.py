"""Tokenizers trained from scratch on real Marathi."""

from __future__ import annotations

import gzip
import itertools
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from langadapt_tokenizers.trained import Bpe, Unigram, WordPiece

from langadapt.errors import DataError
from langadapt.registry.component import Context

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
        "import sys; from pathlib import Path; from langadapt.registry.component import Context\n"
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
