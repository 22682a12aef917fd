"""What the initialisations propose, against sums by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langadapt_vocab.shared import Surface, canonical_tokens, shared_ids
from langadapt_vocab.simple import Mean, Overlap, Random, moments
from langadapt_vocab.subword import MeanSubword, pieces
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from langadapt.contracts.component import Context
from langadapt.contracts.vocabulary import Vocab
from langadapt.modeling.loading import load_model, load_tokenizer
from langadapt.modeling.surgery import vocab_of

TEXTS = [
    "आज एक माणूस गिटार वाजवत आहे आणि मुले मैदानात खेळत आहेत.",
    "ती बाजारात भाजी विकते, आज पुण्यात खूप पाऊस पडला.",
    "शिक्षक वर्गात शिकवत आहेत. तो रोज सकाळी धावतो.",
    "The quick brown fox jumps over the lazy dog; the café is naïve.",
]

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}


def wordpiece(pieces: list[str], **names: str) -> Any:
    names = SPECIAL | names
    vocab = {token: i for i, token in enumerate([*dict.fromkeys(names.values()), *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def bytes_bpe(size: int = 700) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", pad_token="<pad>", sep_token="</s>", unk_token="<unk>", mask_token="<mask>"
    )


def with_rows(tokenizer: Any, width: int = 12) -> Vocab:
    found = vocab_of(tokenizer)
    rows = np.random.default_rng(5).standard_normal((len(found.tokens), width)).astype(np.float32)
    return Vocab(found.tokens, tokenizer, found.special, rows)


def rows_of(mixture: Any, old: Vocab) -> np.ndarray:
    """The rows that a mixture means."""
    made: np.ndarray = mixture.weights @ old.rows
    for index, row in mixture.rows.items():
        made[index] = row
    return made


@pytest.fixture(scope="module")
def real(tiny: Path) -> Vocab:
    """The real encoder's vocabulary, with its rows."""
    return vocab_of(load_tokenizer(tiny), load_model(tiny))


def test_mean_subword_of_a_real_encoder_by_hand(real: Vocab) -> None:
    assert real.rows is not None
    old = real.tokenizer
    new = wordpiece(["आहे", "पाऊस", "शिक्षकांनी", "##वर्गातील", "##ात", "漢字", "."])
    mixture = MeanSubword().mixture(real, vocab_of(new), None, Context())
    made = rows_of(mixture, real)
    ids = {token: new.convert_tokens_to_ids(token) for token in new.get_vocab()}

    for token in ("आहे", "पाऊस"):
        assert mixture.provenance[ids[token]] == "copied"
        assert (made[ids[token]] == real.rows[old.convert_tokens_to_ids("▁" + token)]).all()
    spelt = old("शिक्षकांनी", add_special_tokens=False)["input_ids"]
    assert len(spelt) > 1
    assert mixture.provenance[ids["शिक्षकांनी"]] == "mean of pieces"
    assert made[ids["शिक्षकांनी"]] == pytest.approx(real.rows[spelt].mean(0), abs=1e-5)
    # Inside a word the first piece has no mark of a word's beginning.
    inner = old.tokenize("वर्गातील")
    inner[0] = inner[0].removeprefix("▁")
    inner = [token for token in inner if token]
    assert old.unk_token_id not in old.convert_tokens_to_ids(inner)
    assert made[ids["##वर्गातील"]] == pytest.approx(real.rows[old.convert_tokens_to_ids(inner)].mean(0), abs=1e-5)
    # What the old tokenizer cannot spell starts near the mean of all.
    assert mixture.provenance[ids["漢字"]] == "mean of all"
    assert np.abs(made[ids["漢字"]] - real.rows.mean(0)).max() < 0.06 * real.rows.std(0).max()
    for role in ("pad", "unk", "cls", "sep", "mask"):
        new_id, old_id = getattr(new, f"{role}_token_id"), getattr(old, f"{role}_token_id")
        assert mixture.provenance[new_id] == "copied"
        assert (made[new_id] == real.rows[old_id]).all()


def test_overlap_copies_what_is_shared_and_nothing_else(real: Vocab) -> None:
    assert real.rows is not None
    new = wordpiece(["आहे", "##ात", "पाऊसपाणी", "xyzzy", "##्याकडेच"])
    mixture = Overlap().mixture(real, vocab_of(new), None, Context())
    words = dict(zip(new.convert_ids_to_tokens(range(len(new))), mixture.provenance, strict=True))
    assert words["आहे"] == words["##ात"] == words["[MASK]"] == "copied"
    assert words["पाऊसपाणी"] == words["xyzzy"] == words["##्याकडेच"] == "mean of all"
    fresh = [i for i, word in enumerate(mixture.provenance) if word != "copied"]
    assert sorted(mixture.rows) == fresh
    made = np.stack([mixture.rows[i] for i in fresh])
    assert np.abs(made - real.rows.mean(0)).max() < 0.06 * real.rows.std(0).max()
    assert len({row.tobytes() for row in made}) == len(fresh)


def test_a_real_vocabulary_with_pieces_like_hashes_is_no_wordpiece(real: Vocab) -> None:
    state = real.tokenizer.get_vocab()
    assert "▁आहे" in state
    hashes = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁आहे", -1.0), ("###", -2.0), ("Ġ", -3.0), ("ात", -2.0)], unk_id=0))
    hashes.pre_tokenizer = pre_tokenizers.Metaspace()
    new = vocab_of(PreTrainedTokenizerFast(tokenizer_object=hashes, unk_token="<unk>"))
    assert canonical_tokens(new) == ["\0unk", "▁आहे", "###", "Ġ", "ात"]
    places = {new.tokens[i]: real.tokens[j] for i, j in shared_ids(real, new).items()}
    assert places["▁आहे"] == "▁आहे"
    assert places["ात"] == "ात"


def test_random_follows_the_seed_and_the_old_statistics(real: Vocab) -> None:
    assert real.rows is not None
    new = vocab_of(wordpiece([f"tok{i}" for i in range(2000)]))
    draws = [Random().mixture(real, new, None, Context(seed=seed)) for seed in (1, 1, 2)]
    first, again, other = (np.stack([m.rows[i] for i in sorted(m.rows)]) for m in draws)
    assert (first == again).all()
    assert not (first == other).any()
    assert Counter(draws[0].provenance) == {"random": 2000, "copied": 5}
    assert first.mean(0) == pytest.approx(real.rows.mean(0), abs=0.15 * float(real.rows.std()))
    assert first.std(0) == pytest.approx(real.rows.std(0), rel=0.12)


def test_random_may_leave_shared_rows(real: Vocab) -> None:
    assert real.rows is not None
    new = wordpiece(["आहे", "xyzzyxyzzy"])
    mixture = Random(copy_shared=True).mixture(real, vocab_of(new), None, Context())
    words = dict(zip(new.convert_ids_to_tokens(range(len(new))), mixture.provenance, strict=True))
    assert (words["आहे"], words["xyzzyxyzzy"]) == ("copied", "random")


def test_byte_level_pieces_meet_others_as_text() -> None:
    old = with_rows(bytes_bpe())
    spelt = canonical_tokens(old)
    # Devanagari and accented letters come out as text, not as GPT-2's letters for bytes; a word begins with its mark.
    assert {"▁the", "▁एक", "▁café"} <= set(spelt)
    assert not any("Ġ" in piece for piece in spelt if not piece.startswith("\0"))
    new = vocab_of(wordpiece(["the", "एक", "café", "##ात"]))
    shared = {new.tokens[i]: spelt[j] for i, j in shared_ids(old, new).items()}
    assert {token: shared[token] for token in ("the", "एक", "café")} == {"the": "▁the", "एक": "▁एक", "café": "▁café"}
    # Between two byte-level vocabularies every piece of both is shared, also those that are no text by themselves.
    small = vocab_of(bytes_bpe(500))
    assert {i: old.tokens[j] for i, j in shared_ids(old, small).items()} == dict(enumerate(small.tokens))


def test_mean_subword_over_byte_level_pieces_by_hand() -> None:
    old = with_rows(bytes_bpe())
    assert old.rows is not None
    new = wordpiece(["thequick", "##fox", "मैदानाबाहेर"])
    mixture = MeanSubword().mixture(old, vocab_of(new), None, Context())
    made = rows_of(mixture, old)
    for token, text in (("thequick", " thequick"), ("##fox", "fox"), ("मैदानाबाहेर", " मैदानाबाहेर")):
        index = new.convert_tokens_to_ids(token)
        assert mixture.provenance[index] == "mean of pieces"
        ids = old.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert made[index] == pytest.approx(old.rows[ids].mean(0), abs=1e-5)


def test_a_special_token_of_a_new_role_is_no_word() -> None:
    old = with_rows(wordpiece(["b", "##o", "##s", "##u", "##r", "##l"]))
    new = wordpiece(["b"], bos_token="<bos>")
    mixture = MeanSubword().mixture(old, vocab_of(new), None, Context())
    assert mixture.provenance[new.bos_token_id] == "mean of all"


def test_padding_inside_the_old_tokenizer_does_not_count(real: Vocab) -> None:
    new = vocab_of(wordpiece(["शिक्षकांनी", "पावसाळ्यातील"]))
    expected = MeanSubword().mixture(real, new, None, Context()).weights.toarray()
    real.tokenizer.backend_tokenizer.enable_padding(length=12)
    real.tokenizer.backend_tokenizer.enable_truncation(2)
    assert (MeanSubword().mixture(real, new, None, Context()).weights.toarray() == expected).all()


def ends_bpe(texts: list[str], size: int = 300) -> Any:
    """A BPE that marks the ends of words, as HerBERT's and XLM's do."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", pad_token="<pad>", sep_token="</s>", unk_token="<unk>", mask_token="<mask>"
    )


POLISH = ["je to nie je wiek", "nie wie kto je", "to je wieka nieje", "wiek je nie to"]


def test_a_vocabulary_that_marks_the_ends_of_words() -> None:
    old = with_rows(ends_bpe(POLISH * 5))
    assert old.rows is not None
    spelt = canonical_tokens(old)
    assert spelt[old.tokens.index("je</w>")] == "je</w>"
    assert {i: spelt[j] for i, j in shared_ids(old, old).items()} == dict(enumerate(spelt)), "between two such vocabularies the marks agree"
    new = wordpiece(["je", "##je", "wi", "jeto", "##jew"])
    mixture = MeanSubword().mixture(old, vocab_of(new), None, Context())
    made = rows_of(mixture, old)
    origin = dict(zip(new.convert_ids_to_tokens(range(len(new))), mixture.provenance, strict=True))
    assert (origin["je"], origin["##je"], origin["jeto"]) == ("copied", "copied", "mean of pieces")
    word = old.rows[old.tokens.index("je</w>")]
    assert (made[new.convert_tokens_to_ids("je")] == word).all()
    assert (made[new.convert_tokens_to_ids("##je")] == word).all()
    ids = old.tokenizer("jeto", add_special_tokens=False)["input_ids"]
    assert made[new.convert_tokens_to_ids("jeto")] == pytest.approx(old.rows[ids].mean(0), abs=1e-5)


def test_a_new_vocabulary_that_marks_the_ends_of_words() -> None:
    old = with_rows(wordpiece(["je", "to", "nie", "wie", "##k", "##ka", "w", "##ie"]))
    assert old.rows is not None
    new = ends_bpe(POLISH * 5)
    mixture = MeanSubword().mixture(old, vocab_of(new), None, Context())
    made = rows_of(mixture, old)
    for token, taken in (("je</w>", "je"), ("to</w>", "to"), ("nie</w>", "nie"), ("wie</w>", "wie"), ("wie", "wie"), ("k</w>", "##k")):
        index = new.convert_tokens_to_ids(token)
        if token in new.get_vocab():
            assert mixture.provenance[index] == "copied", token
            assert (made[index] == old.rows[old.tokens.index(taken)]).all(), token


def test_a_piece_that_ends_no_word_takes_no_end() -> None:
    old = with_rows(ends_bpe(POLISH * 5))
    found = pieces(old, [Surface("wie", True, False), Surface("wie", True, True)])
    assert [old.tokens[i] for i in found[0]] == ["wie"]
    assert [old.tokens[i] for i in found[1]] == ["wie</w>"]


def test_moments_in_parts_are_those_of_the_whole(real: Vocab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert real.rows is not None
    monkeypatch.setattr("langadapt_vocab.simple.CHUNK", 1000)
    mean, covariance = moments(real.rows)
    assert mean == pytest.approx(real.rows.astype(np.float64).mean(0), abs=1e-9)
    assert covariance == pytest.approx(np.cov(real.rows, rowvar=False), abs=1e-8)
    assert moments(real.rows, diagonal=True)[1] == pytest.approx(real.rows.astype(np.float64).var(0), abs=1e-9)


def test_mean_has_the_old_rows_covariance(real: Vocab) -> None:
    assert real.rows is not None
    new = vocab_of(wordpiece([f"tok{i}" for i in range(20_000)]))
    mixture = Mean().mixture(real, new, None, Context())
    made = np.stack([mixture.rows[i] for i in sorted(mixture.rows)])
    wanted = np.cov(real.rows, rowvar=False)
    assert np.abs(np.cov(made, rowvar=False) - wanted).max() < 0.1 * np.diag(wanted).max()
