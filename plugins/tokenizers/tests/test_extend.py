"""Extension: new words inside the model, old text cut as before, for every tokenizer type."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import torch
from langadapt_tokenizers.extend import Extend
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from langadapt.errors import DataError, ModelError
from langadapt.modeling.surgery import apply_mixture, vocab_of
from langadapt.registry.component import Context

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ROLES = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
OLD = ["people are talking about the weather again", "good morning everyone !", "i love this song so much 123"]


def lines(path: Path, count: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        return [line.rstrip("\n") for _, line in zip(range(count), handle, strict=False)]


def bpe(texts: list[str], byte_level: bool) -> PreTrainedTokenizerFast:
    """A BPE tokenizer of English tweets, over bytes or over characters with a mark for the beginning of a word."""
    tokenizer = Tokenizer(models.BPE(unk_token=None if byte_level else "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True) if byte_level else pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.ByteLevel() if byte_level else decoders.Metaspace()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROLES)


@pytest.fixture(scope="module")
def bases(data: Path, registry: Any) -> dict[str, PreTrainedTokenizerFast]:
    """English tokenizers of every type, trained on real tweets."""
    english = lines(data / "raw" / "en-tweets.txt.gz", 3000)
    slots = {kind: {"use": kind, "vocab_size": 1500} for kind in ("wordpiece", "unigram")}
    trained = {kind: registry.build("tokenizer", slot).train(english, None, Context()) for kind, slot in slots.items()}
    return {**trained, "byte-level bpe": bpe(english, True), "bpe": bpe(english, False)}


@pytest.fixture(scope="module")
def tweets(data: Path) -> list[str]:
    return lines(data / "raw" / "id-tweets.txt.gz", 3000)


KINDS = ["wordpiece", "unigram", "byte-level bpe", "bpe"]


@pytest.mark.parametrize("kind", KINDS)
def test_new_words_are_one_token_and_old_text_is_cut_as_before(kind: str, bases: dict[str, Any], tweets: list[str]) -> None:
    base = bases[kind]
    extended = Extend(budget=400).train(tweets, base, Context())
    assert len(base) < len(extended) <= len(base) + 400
    old, new = base.get_vocab(), extended.get_vocab()
    assert all(new[token] == index for token, index in old.items() if index < len(base) - len(base.get_added_vocab()))
    fresh = set(new) - set(old)
    for text in OLD:
        now = extended.tokenize(text)
        if not fresh & set(now):
            assert now == base.tokenize(text)
    before = sum(map(len, base(tweets)["input_ids"]))
    after = sum(map(len, extended(tweets)["input_ids"]))
    assert after < 0.85 * before
    for text in tweets[:50]:
        assert extended.decode(extended(text)["input_ids"]) == base.decode(base(text)["input_ids"])
    for role in ("pad", "unk", "mask"):
        assert getattr(extended, f"{role}_token") == getattr(base, f"{role}_token")
        assert extended.convert_tokens_to_ids(getattr(base, f"{role}_token")) == getattr(extended, f"{role}_token_id")


@pytest.mark.parametrize("kind", KINDS)
def test_text_without_new_tokens_keeps_its_outputs(kind: str, bases: dict[str, Any], tweets: list[str], registry: Any) -> None:
    base = bases[kind]
    extended = Extend(budget=200).train(tweets, base, Context())
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(base), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    model = BertForMaskedLM(config).eval()
    text = next(one for one in OLD if base.tokenize(one) == extended.tokenize(one))
    with torch.no_grad():
        before = model(torch.tensor([base(text)["input_ids"]])).logits
    mixture = registry.build("vocab-init", "mean-subword").mixture(vocab_of(base, model), vocab_of(extended), tweets, Context())
    apply_mixture(model, mixture, base, extended)
    with torch.no_grad():
        after = model(torch.tensor([extended(text)["input_ids"]])).logits
    places = extended.convert_tokens_to_ids(base.convert_ids_to_tokens(list(range(len(base)))))
    assert torch.equal(after[..., places], before)


def test_a_word_is_taken_by_what_it_saves(bases: dict[str, Any]) -> None:
    texts = ["zxqvwkj " * 3, "kuliah " * 30, "zxqv " * 6]
    base = bases["wordpiece"]
    gain = {w: texts[i].count(w) * (len(base.tokenize(w)) - 1) for i, w in enumerate(("zxqvwkj", "kuliah", "zxqv"))}
    best = max(("kuliah", "zxqv"), key=lambda w: gain[w])
    extended = Extend(budget=1, min_count=5).train(texts, base, Context())
    assert set(extended.get_vocab()) - set(base.get_vocab()) == {best}
    by_fragments = Extend(budget=1, min_count=2, by="fragments").train(texts, base, Context())
    assert set(by_fragments.get_vocab()) - set(base.get_vocab()) != {"kuliah"}
    with pytest.raises(DataError, match="nothing to add"):
        Extend(min_gain=0.99).train(texts, base, Context())


def test_words_of_scripts_with_signs_stay_whole(bases: dict[str, Any], data: Path, tiny: Path) -> None:
    """Vowel signs and viramas are parts of Devanagari words, and survive."""
    from langadapt.modeling.loading import load_tokenizer

    base = load_tokenizer(tiny)
    extended = Extend(budget=300).train(lines(data / "raw" / "mr.txt.gz", 1500), base, Context())
    fresh = [token.removeprefix("▁") for token in set(extended.get_vocab()) - set(base.get_vocab())]
    assert len(fresh) == 300
    assert any("\u093f" in token for token in fresh)
    assert any("\u094d" in token for token in fresh)
    for word in fresh[:50]:
        assert extended.tokenize(word) == ["▁" + word]


def test_what_cannot_be_extended_is_refused(bases: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="needs a base"):
        Extend().train(["a"], None, Context())
    with pytest.raises(DataError, match="nothing to add"):
        Extend().train(["the the the"], bases["wordpiece"], Context())
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    with pytest.raises(ModelError, match="WordLevel"):
        Extend().train(["a"], PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"), Context())
