"""Pruning keeps the segmentation of what stays."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import pytest
from langadapt_tokenizers.prune import Prune
from langadapt_tokenizers.trained import Bpe, WordPiece
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from langadapt.contracts.component import Context
from langadapt.errors import ModelError, RegistryError
from langadapt.modeling.loading import load_tokenizer, save_tokenizer


def real(data: Path, name: str, count: int, start: int = 0) -> list[str]:
    with gzip.open(data / "raw" / f"{name}.txt.gz", "rt", encoding="utf-8") as handle:
        return [line.rstrip("\n") for line in itertools.islice(handle, start, start + count)]


def tokens(tokenizer: Any, text: str) -> list[str]:
    found: list[str] = tokenizer.backend_tokenizer.encode(text).tokens
    return found


def dense(tokenizer: Any) -> bool:
    return sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


@pytest.fixture(scope="module")
def base(e5: Path) -> Any:
    return load_tokenizer(e5)


@pytest.fixture(scope="module")
def texts(data: Path) -> list[str]:
    return real(data, "mr", 400, 500)


@pytest.fixture(scope="module")
def pruned(base: Any, texts: list[str]) -> Any:
    return Prune(scripts=["Deva"]).train(texts, base, Context())


def test_unigram_segments_its_corpus_as_before(base: Any, pruned: Any, texts: list[str]) -> None:
    assert len(pruned) < len(base) / 5
    for text in texts:
        assert tokens(pruned, text) == tokens(base, text)


def test_unigram_segments_unseen_text_as_before_where_its_pieces_stayed(base: Any, pruned: Any, data: Path) -> None:
    kept, compared = set(pruned.get_vocab()), 0
    for text in real(data, "hi", 300) + real(data, "mr", 300, 4000):
        before = tokens(base, text)
        if kept.issuperset(before):
            compared += 1
            assert tokens(pruned, text) == before
    assert compared > 200


def test_ids_are_dense_and_keep_their_order(base: Any, pruned: Any) -> None:
    assert dense(pruned)
    vocabulary = pruned.get_vocab()
    old = [base.convert_tokens_to_ids(token) for token in sorted(vocabulary, key=vocabulary.__getitem__)]
    assert old == sorted(old)


def test_special_tokens_are_renumbered(base: Any, pruned: Any) -> None:
    for role in ("pad", "unk", "cls", "sep", "mask", "bos", "eos"):
        token = getattr(pruned, f"{role}_token")
        assert token == getattr(base, f"{role}_token")
        assert getattr(pruned, f"{role}_token_id") == pruned.get_vocab()[token]
    ids = pruned("घर", "दार")["input_ids"]
    assert pruned.convert_ids_to_tokens(ids) == base.convert_ids_to_tokens(base("घर", "दार")["input_ids"])
    assert ids[0] == pruned.cls_token_id
    assert ids[-1] == pruned.sep_token_id
    assert pruned("घर <mask>")["input_ids"].count(pruned.mask_token_id) == 1
    assert pruned.unk_token_id in pruned("漢字")["input_ids"]
    assert max(pruned("घर <mask> 漢字 abc")["input_ids"]) < len(pruned)


def test_saved_and_loaded_it_is_the_same(pruned: Any, texts: list[str], tmp_path: Path) -> None:
    save_tokenizer(pruned, tmp_path)
    again = load_tokenizer(tmp_path)
    assert [again(text)["input_ids"] for text in texts[:50]] == [pruned(text)["input_ids"] for text in texts[:50]]
    assert again.all_special_tokens == pruned.all_special_tokens


def test_a_monolingual_tokenizer_is_left_alone(texts: list[str]) -> None:
    made = WordPiece(vocab_size=1500).train(texts, None, Context())
    assert Prune(scripts=["Deva"]).train(texts, made, Context()) is made
    assert Prune(min_saving=0.99).train(texts[:2], made, Context()) is made


def test_no_base_is_refused() -> None:
    with pytest.raises(ModelError, match="encoder"):
        Prune().train([], None, Context())


def test_wordpiece(texts: list[str]) -> None:
    made = WordPiece(vocab_size=2500).train(texts, None, Context())
    smaller = Prune(min_saving=0).train(texts[:60], made, Context())
    assert len(smaller) < 0.8 * len(made)
    assert dense(smaller)
    for text in texts[:60]:
        assert tokens(smaller, text) == tokens(made, text)
    ids = smaller(texts[0])["input_ids"]
    assert [ids[0], ids[-1]] == [smaller.cls_token_id, smaller.sep_token_id]


def byte_level(texts: list[str], post: Any) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = post(tokenizer)
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", **names)


def roberta(tokenizer: Tokenizer) -> Any:
    return processors.RobertaProcessing(("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")))


def templates(tokenizer: Tokenizer) -> Any:
    pairs = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    return processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", pairs)]
    )


@pytest.mark.parametrize("post", [roberta, templates], ids=["roberta", "sequence"])
def test_byte_level_bpe_has_no_unreachable_token(texts: list[str], data: Path, post: Any) -> None:
    base = byte_level(texts[:200] + real(data, "en-tweets", 1500), post)
    smaller = Prune(min_saving=0).train(texts[:40], base, Context())
    assert len(smaller) < 0.8 * len(base)
    assert dense(smaller)
    before, after = base.backend_tokenizer.model, smaller.backend_tokenizer.model
    special = set(smaller.all_special_tokens)
    reachable = [token for token in smaller.get_vocab() if token not in special and len(before.tokenize(token)) == 1]
    assert len(reachable) > 600
    assert [token for token in reachable if [piece.value for piece in after.tokenize(token)] != [token]] == []
    for text in texts[:40]:
        assert tokens(smaller, text) == tokens(base, text)
    ids = smaller(texts[0])["input_ids"]
    assert [ids[0], ids[-1]] == [smaller.cls_token_id, smaller.sep_token_id]
    assert smaller.unk_token_id not in smaller("漢字 😀")["input_ids"]


@pytest.mark.parametrize("marks", [{"end_of_word_suffix": "</w>"}, {"continuing_subword_prefix": "##"}], ids=["suffix", "prefix"])
def test_bpe_with_marked_pieces(texts: list[str], marks: dict[str, str]) -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", **marks))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        texts[:200], trainers.BpeTrainer(vocab_size=1500, special_tokens=["<unk>", "<pad>"], show_progress=False, **marks)
    )
    base = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")
    smaller = Prune(min_saving=0).train(texts[:20], base, Context())
    assert len(smaller) < len(base)
    for text in texts[:20]:
        assert tokens(smaller, text) == tokens(base, text)


def test_byte_fallback_stays() -> None:
    letters = ["a", "b", "▁", "▁a", "▁ab", "ab", "ba"]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = [("<unk>", 0.0), *((piece, -2.0) for piece in letters), *((piece, -9.0) for piece in fallback)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    base = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    smaller = Prune(min_saving=0).train(["ab"], base, Context())
    assert tokens(smaller, "ab 漢") == tokens(base, "ab 漢")


def test_extra_special_tokens_stay_special(pruned: Any, texts: list[str]) -> None:
    backend = Tokenizer.from_str(pruned.backend_tokenizer.to_str())
    extended = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", mask_token="<mask>")
    extended.add_special_tokens({"additional_special_tokens": ["<url>"]})
    smaller = Prune(min_saving=0).train(texts[:20], extended, Context())
    assert len(smaller) < len(extended)
    assert smaller.convert_tokens_to_ids("<url>") in smaller.all_special_ids
    assert "<url>" in tokens(smaller, "पाहा <url> येथे")


def test_limits_inside_the_base_do_not_hide_text(texts: list[str]) -> None:
    made = WordPiece(vocab_size=2500).train(texts, None, Context())
    made.backend_tokenizer.enable_truncation(4)
    made.backend_tokenizer.enable_padding(length=8)
    smaller = Prune(min_saving=0).train(texts[:60], made, Context())
    made.backend_tokenizer.no_truncation()
    made.backend_tokenizer.no_padding()
    assert [tokens(smaller, text) for text in texts[:60]] == [tokens(made, text) for text in texts[:60]]


def test_a_script_is_known_behind_its_bytes(texts: list[str], data: Path) -> None:
    """Byte-level pieces of Marathi stay for 'Deva', though the corpus is English."""
    with gzip.open(data / "raw" / "en-tweets.txt.gz", "rt", encoding="utf-8") as handle:
        english = [line.rstrip("\n") for line in itertools.islice(handle, 1000)]
    base = Bpe(vocab_size=3000).train(texts[:500] + english, None, Context())
    without, with_script = (Prune(scripts=scripts, min_saving=0.0).train(english, base, Context()) for scripts in ([], ["Deva"]))
    sample = texts[:50]
    lengths = [sum(len(tokenizer.tokenize(text)) for text in sample) for tokenizer in (base, with_script, without)]
    assert lengths[0] <= lengths[1] < 1.3 * lengths[0] < 0.7 * lengths[2]


def test_scripts_by_their_parts(texts: list[str], data: Path) -> None:
    with gzip.open(data / "raw" / "ko.txt.gz", "rt", encoding="utf-8") as handle:
        korean = [line.rstrip("\n") for line in itertools.islice(handle, 1000)]
    base = WordPiece(vocab_size=3000).train(korean, None, Context())
    found = Prune(scripts=["Kore"], min_saving=0.0).train(texts[:20], base, Context())
    assert len(found) > 0.8 * len(base)
    with pytest.raises(RegistryError, match="unknown script 'Qaaq'"):
        Prune(scripts=["Qaaq"]).train(texts[:20], base, Context())
