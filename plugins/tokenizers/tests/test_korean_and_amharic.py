"""Words read from both ends, and characters taken apart, on real Korean and Amharic text."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import os
import pickle
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langadapt_tokenizers import tokenization_bidirectional
from langadapt_tokenizers.advised import Advised
from langadapt_tokenizers.extend import Extend
from langadapt_tokenizers.prune import Prune
from langadapt_tokenizers.tokenization_bidirectional import FEW, BidirectionalWordPieceTokenizerFast, BothEnds
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.component import Context
from langadapt.contracts.vocabulary import Vocab
from langadapt.modeling.characters import ETHIOPIC, decompose, recompose
from langadapt.modeling.loading import load_tokenizer, save_tokenizer
from langadapt.modeling.surgery import apply_mixture, vocab_of
from langadapt.modeling.token_ids import token_ids


def texts(data: Path, language: str, start: int, count: int) -> list[str]:
    with gzip.open(data / "raw" / f"{language}.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.strip() for line in itertools.islice(handle, start, start + count)]


@pytest.fixture(scope="module")
def korean(data: Path) -> tuple[list[str], list[str]]:
    return texts(data, "ko", 0, 4000), texts(data, "ko", 4000, 400)


@pytest.fixture(scope="module")
def both(registry: Any, korean: tuple[list[str], list[str]]) -> Any:
    return registry.build("tokenizer", {"use": "bidirectional-wordpiece", "vocab_size": 4000}).train(korean[0], None, Context())


@pytest.fixture(scope="module")
def plain(registry: Any, korean: tuple[list[str], list[str]]) -> Any:
    return registry.build("tokenizer", {"use": "wordpiece", "vocab_size": 4000}).train(korean[0], None, Context())


@pytest.fixture(scope="module")
def both_by_mean(registry: Any, korean: tuple[list[str], list[str]]) -> Any:
    slot = {"use": "bidirectional-wordpiece", "vocab_size": 4000, "choice": "mean-log"}
    return registry.build("tokenizer", slot).train(korean[0], None, Context())


def mean(reader: BothEnds, pieces: list[str]) -> Fraction:
    """Mean log frequency, exact."""
    return Fraction(sum(reader.weights[reader.vocab[piece]] for piece in pieces), len(pieces))


# from both ends -----------------------------------------------------------------------------------------------------------


def better(reader: BothEnds, front: list[str], back: list[str], choice: str) -> list[str]:
    """The rules in plain words: that of KR-BERT's tokenization_ranked.py, whose vocabulary's line numbers are ranks, and by means."""
    if choice == "rank":
        first, second = ([reader.ranks[reader.vocab[piece]] for piece in pieces] for pieces in (front, back))
        return front if sorted(first) < sorted(second) else back
    return back if mean(reader, back) > mean(reader, front) else front


@pytest.mark.parametrize("choice", ["rank", "mean-log"])
def test_each_word_is_the_better_of_its_two_readings(
    choice: str, both: Any, both_by_mean: Any, plain: Any, korean: tuple[list[str], list[str]]
) -> None:
    tokenizer = both if choice == "rank" else both_by_mean
    assert tokenizer.get_vocab() == plain.get_vocab()
    counts = tokenizer.piece_counts
    reader = BothEnds(plain.get_vocab(), counts, choice=choice)
    changed = words = 0
    for text in korean[1]:
        expected = []
        for word, _ in plain.backend_tokenizer.pre_tokenizer.pre_tokenize_str(unicodedata.normalize("NFC", text)):
            front, back = reader.forward(word), reader.backward(word)
            best = better(reader, front, back, choice) if front and back else front or back
            expected += best or ["[UNK]"]
            changed += best != front
            words += 1
        assert tokenizer.tokenize(text) == expected
    assert 0.005 < changed / words < 0.5
    assert plain.tokenize(korean[1][0]) == [
        p for w, _ in plain.backend_tokenizer.pre_tokenizer.pre_tokenize_str(korean[1][0]) for p in (reader.forward(w) or ["[UNK]"])
    ]
    often = sorted(counts, key=lambda piece: -counts[piece])[:50]
    assert {reader.ranks[reader.vocab[piece]] for piece in often} == set(range(1, 51)), "1 is the most frequent piece's rank"


def test_the_two_rules_cut_words_otherwise(both: Any, both_by_mean: Any, korean: tuple[list[str], list[str]]) -> None:
    texts = [text for text in korean[1] if both.tokenize(text) != both_by_mean.tokenize(text)]
    assert len(texts) > 20
    for special in (True, False):
        assert token_ids(both_by_mean, korean[1], special) == [both_by_mean.encode(text, add_special_tokens=special) for text in korean[1]]


def test_both_ends_over_the_parts_of_characters(registry: Any, korean: tuple[list[str], list[str]], tmp_path: Path) -> None:
    """KR-BERT's best setting: characters taken apart by NFKD first, as its code does, then both readings."""
    slot = {"use": "bidirectional-wordpiece", "vocab_size": 3000, "subcharacter": True}
    tokenizer = registry.build("tokenizer", slot).train(korean[0], None, Context())
    reader = tokenizer.both_ends
    changed = 0
    for text in korean[1]:
        expected = []
        for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(unicodedata.normalize("NFKD", text)):
            front, back = reader.forward(word), reader.backward(word)
            best = better(reader, front, back, "rank") if front and back else front or back
            expected += best or ["[UNK]"]
            changed += best != front
        assert tokenizer.tokenize(text) == expected
    assert changed > 50
    assert tokenizer.tokenize("ㅋㅋ") == tokenizer.tokenize("\u110f\u110f"), "a letter that stands alone is the one of syllables"
    assert token_ids(tokenizer, korean[1]) == [tokenizer.encode(text) for text in korean[1]]
    save_tokenizer(tokenizer, tmp_path)
    assert load_tokenizer(tmp_path).encode(korean[1][0]) == tokenizer.encode(korean[1][0])


def test_offsets_are_those_of_the_text(both: Any, korean: tuple[list[str], list[str]]) -> None:
    for text in korean[1][:100]:
        found = both(text, return_offsets_mapping=True, add_special_tokens=False)
        for token, (start, end) in zip(both.convert_ids_to_tokens(found["input_ids"]), found["offset_mapping"], strict=True):
            if token != "[UNK]":
                assert unicodedata.normalize("NFC", text[start:end]) == token.removeprefix("##")


def test_it_survives_saving(both: Any, korean: tuple[list[str], list[str]], tmp_path: Path) -> None:
    save_tokenizer(both, tmp_path)
    ours = load_tokenizer(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)
    assert theirs.choice == ours.choice == "rank"
    front = AutoTokenizer.from_pretrained(tmp_path)
    expected = [both.encode(text) for text in korean[1]]
    assert [ours.encode(text) for text in korean[1]] == expected
    assert [theirs.encode(text) for text in korean[1]] == expected
    assert type(theirs).__name__ == "BidirectionalWordPieceTokenizerFast"
    assert [front.encode(text) for text in korean[1]] != expected
    assert both.encode(korean[1][0]) == expected[0], "saving changed the tokenizer itself"
    assert ours.decode(expected[0], skip_special_tokens=True).replace(" ", "") == korean[1][0].replace(" ", "")


@pytest.mark.slow
def test_threads_of_rust_read_the_same_and_let_the_program_end(both: Any, korean: tuple[list[str], list[str]], tmp_path: Path) -> None:
    """Its threads keep a state of Python: a batch gives what single texts give, and the program ends as ever."""
    save_tokenizer(both, tmp_path / "tokenizer")
    (tmp_path / "texts.json").write_text(json.dumps(korean[1]), encoding="utf-8")
    program = """
import json, sys, threading
from langadapt.modeling.loading import load_tokenizer
from pathlib import Path
backend = load_tokenizer(Path("tokenizer")).backend_tokenizer
texts = json.loads(Path("texts.json").read_text(encoding="utf-8"))
callers = [threading.Thread(target=backend.encode_batch_fast, args=(texts,)) for _ in range(4)]
[caller.start() for caller in callers], [caller.join() for caller in callers]
print(json.dumps([found.ids for found in backend.encode_batch_fast(texts)]))
"""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "4"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "Fatal" in done.stderr, "Traceback" in done.stderr) == (0, False, False), done.stderr
    assert json.loads(done.stdout) == [both.encode(text) for text in korean[1]]


ODD = ["", " ", "[MASK] 영화[SEP]영화", "가##나 ###다", "한" * 300, "영화\0 \1는", "🙂재미있어요🙂", "Ελλάδα 영화"]
ODD += ["\u200d \u3000", "ㅋ" * 90]


@pytest.mark.parametrize("special", [True, False])
def test_ids_of_a_batch_are_those_of_single_texts(special: bool, both: Any, korean: tuple[list[str], list[str]]) -> None:
    """Also when words come again, and in words that the front, or neither reading, can spell."""
    assert len(ODD) + 3 < FEW < 100
    expected = [both.encode(text, add_special_tokens=special) for text in (*ODD, *korean[1])]
    tokenizer = copy.deepcopy(both)
    for _ in range(2):
        assert token_ids(tokenizer, [*ODD, *korean[1]], special) == expected
    assert len(tokenizer._reader[1].decided.keys) > 1000
    found = itertools.chain.from_iterable(token_ids(tokenizer, korean[1][start : start + 50], special) for start in range(0, 400, 50))
    assert list(found) == expected[len(ODD) :]
    assert token_ids(tokenizer, [""] * 50, special) == [expected[0]] * 50
    assert token_ids(tokenizer, ODD[:3], special) == expected[:3]


@pytest.mark.parametrize("choice", ["rank", "mean-log"])
def test_ids_of_a_batch_where_the_front_alone_is_stuck(choice: str) -> None:
    """Of words that only one reading can spell, of equal readings, and of the same pieces in another order."""
    pieces = ["[UNK]", "a", "ab", "##c", "##bc", "##d", "x", "##yx", "##y", "##z", "xy", "##yz", "##ab", "##a"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts = {"ab": 5, "##c": 5, "a": 9, "##bc": 9, "xy": 4, "##z": 6, "x": 6, "##yz": 4, "##a": 9}
    tokenizer = BidirectionalWordPieceTokenizerFast(tokenizer_object=backend, counts=counts, unk_token="[UNK]", choice=choice)
    batch = ["abc", "abcd", "xyz", "xyx", "abb", "ab c", "abc abc, xyz", "xcab", "xabc", "xcab"] * 10
    # Ranks: a 1, ##bc 2, ##a 3, x 4, ##z 5, ab 6, ##c 7, xy 8, ##yz 9.  xyz: [x, ##yz] is [4, 9] and before [5, 8]; the means are equal.
    xyz = ["x", "##yz"] if choice == "rank" else ["xy", "##z"]
    assert tokenizer.tokenize("abc xyz xyx xabc") == ["a", "##bc", *xyz, "x", "##yx", "x", "##a", "##bc"]
    assert token_ids(tokenizer, batch, False) == [tokenizer.encode(text) for text in batch]


def test_ids_of_a_batch_after_a_change(both: Any, korean: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A token added later, a normalizer set later, words added whole, and more words than are remembered."""
    tokenizer = copy.deepcopy(both)
    token_ids(tokenizer, korean[1], False)
    word = korean[1][0].split()[0]
    tokenizer.add_tokens([word])
    assert token_ids(tokenizer, korean[1], False) == [tokenizer.encode(text, add_special_tokens=False) for text in korean[1]]
    assert token_ids(tokenizer, korean[1], False)[0][0] == tokenizer.convert_tokens_to_ids(word)
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("영화", "음악"), normalizers.NFC()])
    assert token_ids(tokenizer, ["영화"] * 50, False) == [both.encode("음악", add_special_tokens=False)] * 50
    extended = Extend(budget=50).train(korean[0], both, Context())
    assert token_ids(extended, korean[1]) == [extended.encode(text) for text in korean[1]]
    monkeypatch.setattr(tokenization_bidirectional, "CHOICES", 300)
    small = copy.deepcopy(both)
    for start in range(0, 400, 40):
        part = korean[1][start : start + 40]
        assert token_ids(small, part) == [both.encode(text) for text in part]
    assert 0 < len(small._reader[1].decided.keys) < 1000


def test_ids_of_batches_from_several_threads(both: Any, korean: tuple[list[str], list[str]]) -> None:
    tokenizer, expected = copy.deepcopy(both), [both.encode(text) for text in korean[1]]
    parts = [range(start, start + 80) for start in range(0, 400, 40) if start + 80 <= 400] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: token_ids(tokenizer, [korean[1][i] for i in part]), parts))
    assert found == [[expected[i] for i in part] for part in parts]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["deepcopy", "pickle"])  # noqa: S301
def test_it_can_be_copied(copied: Any, both: Any, korean: tuple[list[str], list[str]]) -> None:
    expected = [both.encode(text) for text in korean[1]]
    other = copied(both)
    assert [other.encode(text) for text in korean[1]] == expected
    assert [both.encode(text) for text in korean[1]] == expected


def test_reading_from_the_back_is_the_same_in_rust(both: Any, korean: tuple[list[str], list[str]]) -> None:
    reader = both.both_ends
    words = {word for text in korean[1] for word in text.split()} | {"", "a##b", "###", "한" * 300}
    for word in words - {""}:
        assert reader.backward(word) == reader._backward(word)


def test_it_can_be_extended_and_pruned(both: Any, korean: tuple[list[str], list[str]]) -> None:
    """New words are one token, other words are read from both ends as before; so are the words of a pruned one's corpus."""
    extended = Extend(budget=200).train(korean[0], both, Context())
    assert type(extended) is type(both)
    fresh = set(extended.get_vocab()) - set(both.get_vocab())
    assert len(fresh) == 200
    assert all(extended.tokenize(word) == [word] for word in fresh)
    same = [text for text in korean[1] if not fresh & set(extended.tokenize(text))]
    assert all(extended.tokenize(text) == both.tokenize(text) for text in same)
    pruned = Prune(min_saving=0).train(korean[1][:100], both, Context())
    assert (type(pruned), len(pruned) < len(both)) == (type(both), True)
    assert [pruned.tokenize(text) for text in korean[1][:100]] == [both.tokenize(text) for text in korean[1][:100]]
    slim = Prune(min_saving=0).train(korean[0][:1000], extended, Context())
    assert [slim.tokenize(text) for text in korean[0][:1000]] == [extended.tokenize(text) for text in korean[0][:1000]]
    advised = Advised(vocab_size=4000, budget=100).train(korean[1], both, Context())
    assert type(advised) is type(both)


def test_an_encoder_keeps_it(both: Any, tiny: Path, registry: Any, korean: tuple[list[str], list[str]], tmp_path: Path) -> None:
    loaded = encoders.load(tiny, mlm_head=False)
    mixture = registry.build("vocab-init", "mean-subword").mixture(
        vocab_of(loaded.tokenizer, loaded.model), vocab_of(both), None, Context()
    )
    apply_mixture(loaded.model, mixture, loaded.tokenizer, both)
    loaded.tokenizer = both
    encoders.save(loaded, tmp_path)
    again = encoders.load(tmp_path)
    assert again.tokenizer(korean[1])["input_ids"] == both(korean[1])["input_ids"]


def test_the_same_counts_for_the_same_text(both: Any, registry: Any, korean: tuple[list[str], list[str]]) -> None:
    again = registry.build("tokenizer", {"use": "bidirectional-wordpiece", "vocab_size": 4000}).train(korean[0], None, Context())
    assert again.piece_counts == both.piece_counts
    assert json.dumps(again.get_vocab(), sort_keys=True) == json.dumps(both.get_vocab(), sort_keys=True)


# parts of characters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["ko", "am"])
def test_parts_come_back_together(language: str, registry: Any, data: Path, tmp_path: Path) -> None:
    train, held = texts(data, language, 0, 3000), texts(data, language, 3000, 300)
    slot = {"vocab_size": 4000}
    parts = registry.build("tokenizer", {"use": "subcharacter", **slot}).train(train, None, Context())
    whole = registry.build("tokenizer", {"use": "wordpiece", **slot}).train(train, None, Context())
    parts.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    unknown = {name: sum(t.encode(text).count(t.unk_token_id) for text in held) for name, t in (("parts", parts), ("whole", whole))}
    assert unknown["parts"] < unknown["whole"] or unknown == {"parts": 0, "whole": 0}
    for text in held:
        ids = parts.encode(text, add_special_tokens=False)
        assert again.encode(text, add_special_tokens=False) == ids
        if parts.unk_token_id not in ids:
            plain = unicodedata.normalize("NFKC", text)
            assert recompose(parts.decode(ids)).replace(" ", "") == "".join(plain.split())


def test_decoded_amharic_has_no_private_letters(registry: Any, data: Path, tmp_path: Path) -> None:
    train, held = texts(data, "am", 0, 1500), texts(data, "am", 3000, 100)
    parts = registry.build("tokenizer", {"use": "subcharacter", "vocab_size": 3000}).train(train, None, Context())
    save_tokenizer(parts, tmp_path)
    for tokenizer in (parts, load_tokenizer(tmp_path)):
        for text in held:
            decoded = tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True)
            assert not any(0xE000 < ord(letter) < 0xE008 for letter in decoded)
            assert decoded.replace(" ", "") == "".join(text.split()) or "[UNK]" in tokenizer.tokenize(text)


@pytest.mark.parametrize(("language", "least"), [("ko", 0.7), ("am", 0.7)])
def test_parts_start_from_what_the_base_knows_of_whole_characters(language: str, least: float, e5: Path, registry: Any, data: Path) -> None:
    old = vocab_of(load_tokenizer(e5))
    old = Vocab(old.tokens, old.tokenizer, old.special, np.zeros((len(old.tokens), 2), dtype=np.float32))
    counts = {}
    for name in ("subcharacter", "wordpiece"):
        new = registry.build("tokenizer", {"use": name, "vocab_size": 4000}).train(texts(data, language, 0, 1500), None, Context())
        found = registry.build("vocab-init", "mean-subword").mixture(old, vocab_of(new), None, Context()).provenance
        counts[name] = {origin: found.count(origin) for origin in ("copied", "mean of pieces", "mean of all")}
    assert counts["subcharacter"]["mean of all"] < (1 - least) * 4000, counts
    assert counts["subcharacter"]["copied"] > 700, counts


def test_every_decomposable_character() -> None:
    letters = [chr(c) for c in (*range(0xAC00, 0xD7A4, 7), *ETHIOPIC, *range(0x3041, 0x30FF), *range(0x900, 0x980), *range(0xC0, 0x180))]
    for letter in letters:
        if unicodedata.category(letter) != "Cn":
            assert recompose(decompose(letter)) == unicodedata.normalize("NFC", letter)
            assert recompose(decompose(letter * 2)) == unicodedata.normalize("NFC", letter * 2)
    assert decompose("ሰማ") == "ሰመ\ue003"
    assert len(decompose("한")) == 3


def test_marks_of_the_reader_in_a_text(both: Any) -> None:
    """Control characters that it uses itself are letters like others: unknown."""
    reader = both.both_ends
    for word in ("영화\0", "영화\1", "\0", "영\0화"):
        assert reader.backward(word) == reader._backward(word)
