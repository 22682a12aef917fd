"""Extension: new words inside the model, old text cut as before, for every tokenizer type."""

from __future__ import annotations

import copy
import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from langadapt_tokenizers.additions import merged, steps_to_one
from langadapt_tokenizers.extend import Extend
from langadapt_tokenizers.prune import Prune
from langadapt_tokenizers.trained import WordPiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from langadapt.contracts.component import Context
from langadapt.errors import DataError, ModelError
from langadapt.modeling.surgery import apply_mixture, size_of, vocab_of

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
    whole = {token for token in fresh if token.startswith(("▁", "Ġ")) or (kind == "wordpiece" and not token.startswith("##"))}
    assert len(whole) > 50
    reached = {token for text in tweets for token in extended.tokenize(text)}
    assert len(whole & reached) > (0.75 if "bpe" in kind else 0.99) * len(whole), "BPE's intermediate pieces may stand alone nowhere"
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


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_words_with_letters_that_the_base_does_not_know_are_added(kind: str, bases: dict[str, Any], data: Path) -> None:
    """English bases know no Devanagari letter; Marathi words become tokens, and no other text is cut otherwise."""
    base, marathi = bases[kind], lines(data / "raw" / "mr.txt.gz", 500)
    assert base.unk_token_id in base("आहे")["input_ids"]
    extended = Extend(budget=300).train(marathi, base, Context())
    assert extended.unk_token_id not in extended("आहे आणि")["input_ids"]
    before, after = (sum(ids.count(t.unk_token_id) for ids in t(marathi)["input_ids"]) for t in (base, extended))
    assert after < 0.9 * before
    assert [extended.tokenize(text) for text in OLD] == [base.tokenize(text) for text in OLD]


def test_bpe_leaves_out_words_with_letters_that_it_does_not_know(bases: dict[str, Any]) -> None:
    extended = Extend(budget=50, min_count=2).train(["आहे kuliah"] * 5, bases["bpe"], Context())
    assert extended.tokenize("kuliah") == ["▁kuliah"]
    assert not any("आ" in token for token in extended.get_vocab())


def test_a_words_own_merges_do_not_cut_it(data: Path, registry: Any) -> None:
    """IndonesiaIndicator: the merge that its first half needs acts on its second half too."""
    english, tweets = lines(data / "raw" / "en-tweets.txt.gz", 6000), lines(data / "raw" / "id-tweets.txt.gz", 30_000)
    base = registry.build("tokenizer", {"use": "bpe", "vocab_size": 2500}).train(english, None, Context())
    extended = Extend(budget=3000).train(tweets, base, Context())
    assert len(extended) == len(base) + 3000
    fresh = set(extended.get_vocab()) - set(base.get_vocab())
    model = extended.backend_tokenizer.model
    whole = [token for token in fresh if [piece.value for piece in model.tokenize(token)] == [token]]
    assert "IndonesiaIndicator" in extended.decode(extended.convert_tokens_to_ids(whole))
    assert extended.decode(extended.encode("IndonesiaIndicator", add_special_tokens=False)).strip() == "IndonesiaIndicator"


def test_repeated_parts_by_hand() -> None:
    model = {"continuing_subword_prefix": None}
    steps = steps_to_one(["a", "b", "a", "b", "c"], {}, model)
    assert steps == [("a", "b"), ("ab", "ab"), ("abab", "c")]
    assert merged(["a", "b", "a", "b", "c"], {}, {both: i for i, both in enumerate(steps)}, model) == ["ababc"]


def test_a_frequent_stem_and_suffix_do_not_hide_a_word() -> None:
    pieces = [("<unk>", 0.0), *((piece, -3.0) for piece in ("▁", "m", "a", "k", "n", "an")), ("▁ma", -3.0)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    base = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    texts = ["makan"] * 100_000 + ["an"] * 100_000 + ["makanan"] * 5
    extended = Extend(budget=10).train(texts, base, Context())
    assert [extended.tokenize(word) for word in ("makan", "an", "makanan")] == [["▁makan"], ["▁an"], ["▁makanan"]]


def test_a_bpe_that_marks_the_ends_of_words(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False)
    szl = lines(data / "raw" / "csb.txt.gz", 1500)
    tokenizer.train_from_iterator(szl[:300], trainer)
    base = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROLES)
    extended = Extend(budget=300).train(szl, base, Context())
    fresh = [token for token in set(extended.get_vocab()) - set(base.get_vocab()) if token.endswith("</w>")]
    assert len(fresh) > 150
    for token in fresh:
        assert extended.tokenize(token.removesuffix("</w>")) == [token]


def test_words_that_stay_out_of_reach_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """A WordPiece model gives up on words longer than its limit, whatever its entries."""
    vocab = {"[UNK]": 0, **{mark + letter: i for i, (mark, letter) in enumerate(((m, c) for m in ("", "##") for c in "abcd"), start=1)}}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=6))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    base = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    with caplog.at_level("WARNING"):
        extended = Extend(budget=5).train(["abcdabcd abcd"] * 9, base, Context(log=logging.getLogger("extend")))
    assert set(extended.get_vocab()) - set(base.get_vocab()) == {"abcd"}
    assert "1 words cannot be reached" in caplog.text
    assert "'abcdabcd'" in caplog.text
    with pytest.raises(DataError, match="none of 1 words"):
        Extend().train(["abcdabcd"] * 9, base, Context())


def test_holes_in_the_numbering_are_not_filled_twice(registry: Any) -> None:
    """Added tokens far behind the entries: the number of tokens is somebody's id."""
    vocab = {
        "[UNK]": 0,
        **{letter: i for i, letter in enumerate("abcdefghij", start=1)},
        **{f"##{c}": 30 + i for i, c in enumerate("abcdefghij")},
    }
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    base = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", additional_special_tokens=["<url>"])
    assert len(base) < max(base.get_vocab().values())
    extended = Extend(budget=2).train(["abc abd"] * 9, base, Context())
    ids = list(extended.get_vocab().values())
    assert len(ids) == len(set(ids))
    assert extended.convert_ids_to_tokens(extended("<url> abc", add_special_tokens=False)["input_ids"]) == ["<url>", "abc"]
    torch.manual_seed(0)
    config = BertConfig(vocab_size=size_of(base), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    model = BertForMaskedLM(config).eval()
    ids = torch.tensor([base("b <url> ac")["input_ids"]])
    with torch.no_grad():
        before = model(ids).logits
    mixture = registry.build("vocab-init", "mean-subword").mixture(vocab_of(base, model), vocab_of(extended), None, Context())
    apply_mixture(model, mixture, base, extended)
    with torch.no_grad():
        assert torch.equal(model(ids).logits[..., : before.shape[-1]], before)
    assert model.get_input_embeddings().weight.shape[0] == size_of(extended) == size_of(base) + 2


def uncased(letters: str) -> PreTrainedTokenizerFast:
    vocab = {"[UNK]": 0, **{mark + c: i for i, (mark, c) in enumerate(((m, c) for m in ("", "##") for c in letters), start=1)}}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


DESTROYED = {"mr": "उदाहरणार्थ", "bn": "উদ্যান", "ta": "தமிழ்", "th": "ที่นี่", "ml": "അമ്മ", "my": "မြန်မာ", "km": "ភាសាខ្មែរ"}
DESTROYED["ja"] = "かぎがき"


@pytest.mark.parametrize("language", list(DESTROYED))
def test_a_base_that_drops_vowel_signs_is_refused(language: str) -> None:
    word = DESTROYED[language]
    with pytest.raises(ModelError, match=f"drops vowel signs: '{word}' becomes"):
        Extend().train([f"{word} abc"] * 9, uncased("abc"), Context())


@pytest.mark.parametrize("word", ["čeština", "Ωμέγα", "йогурт", "العَرَبِيّة", "שָׁלוֹם", "한국어"])
def test_accents_of_other_scripts_may_go(word: str, caplog: pytest.LogCaptureFixture) -> None:
    base = uncased("abc")
    extended = Extend(letters_only=False).train([f"{word} abc"] * 9, base, Context())
    assert "vowel signs" not in caplog.text
    assert "abc" in extended.get_vocab()


def test_a_few_foreign_words_are_only_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        Extend().train(["abc"] * 99 + ["उदाहरणार्थ"], uncased("abc"), Context(log=logging.getLogger("extend")))
    assert caplog.text.count("drops vowel signs") == 1


@pytest.mark.parametrize("names", [["input_ids", "attention_mask"], ["input_ids", "token_type_ids", "attention_mask"]])
def test_the_inputs_of_the_bases_model_stay(names: list[str], bases: dict[str, Any], tweets: list[str]) -> None:
    base = PreTrainedTokenizerFast(tokenizer_object=bases["wordpiece"].backend_tokenizer, unk_token="[UNK]", model_input_names=names)
    assert sorted(Extend(budget=5).train(tweets[:500], base, Context())("satu")) == sorted(names)


def test_what_cannot_be_extended_is_refused(bases: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="needs a base"):
        Extend().train(["a"], None, Context())
    with pytest.raises(DataError, match="nothing to add"):
        Extend().train(["the the the"], bases["wordpiece"], Context())
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    with pytest.raises(ModelError, match="WordLevel"):
        Extend().train(["a"], PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"), Context())


@pytest.mark.parametrize("special", [True, False], ids=["special", "added"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bases_added_tokens_are_no_words(kind: str, special: bool, bases: dict[str, Any], tweets: list[str]) -> None:
    """A domain's mask such as HTTPURL never reaches the model: an entry for it would be dead."""
    base = copy.deepcopy(bases[kind])
    base.add_tokens(["HTTPURL", "gratis"], special_tokens=special)
    texts = [f"{text} HTTPURL dan gratis juga" for text in tweets[:1000]]
    extended = Extend(budget=60).train(texts, base, Context())
    fresh = set(extended.get_vocab()) - set(base.get_vocab())
    assert 0 < len(fresh) <= 60
    assert not {token for token in fresh if "HTTP" in token or token.strip("▁Ġ") == "gratis"}
    assert [token for token in extended.tokenize("kata HTTPURL gratis") if token.strip("▁Ġ") in ("HTTPURL", "gratis")] == [
        "HTTPURL",
        "gratis",
    ]


def test_pruning_such_a_base_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        Prune(min_saving=0).train(["उदाहरणार्थ abc"] * 9, uncased("abc"), Context(log=logging.getLogger("prune")))
    assert "drops vowel signs: 'उदाहरणार्थ' becomes" in caplog.text


def test_an_added_token_that_is_a_word_alone_stays_out_of_longer_words(tmp_path: Path) -> None:
    """An added token with ``single_word`` is no piece: "गुगलचा" is cut as before, "गुगल" is the token."""
    from tokenizers import AddedToken

    texts = ["गव्हाची किंमत वाढली", "बाजारात गहू महाग झाला", "चांगला दिवस"] * 10
    base = WordPiece(vocab_size=120).train(texts, None, Context())
    base.add_tokens([AddedToken("गुगल", single_word=True, normalized=False)])
    before = base.tokenize("गुगलचा")
    found = Extend(budget=5, min_count=2).train(["शेतकरी आंदोलन शेतकरी"] * 10, base, Context())
    found.save_pretrained(str(tmp_path))
    from transformers import AutoTokenizer

    for tokenizer in (found, AutoTokenizer.from_pretrained(str(tmp_path))):
        assert tokenizer.tokenize("शेतकरी") == ["शेतकरी"]
        assert tokenizer.tokenize("गुगलचा") == before
        assert tokenizer.tokenize("गुगल") == ["गुगल"]
        assert len(set(tokenizer.get_vocab().values())) == len(tokenizer.get_vocab())


@pytest.mark.parametrize("kind", ["byte-level bpe", "bpe"])
def test_old_merges_keep_their_turn(kind: str, bases: dict[str, Any], tweets: list[str]) -> None:
    """New merges stand behind all old ones, so text is cut as before up to where a new merge joins what stood side by side."""
    base = bases[kind]
    extended = Extend(budget=60, min_count=3).train(tweets, base, Context())
    before, after = (json.loads(one.backend_tokenizer.to_str())["model"]["merges"] for one in (base, extended))
    assert len(after) > len(before)
    assert after[: len(before)] == before
    fresh = set(extended.get_vocab()) - set(base.get_vocab())
    changed = 0
    for text in [*OLD, *tweets[:400]]:  # no text is passed over: a new token's pieces are put back, and the cut is the old one
        ours = [piece for token in extended.tokenize(text) for piece in (_parts(token, base) if token in fresh else [token])]
        theirs = base.tokenize(text)
        changed += ours != theirs
        assert "".join(ours) == "".join(theirs)
    assert changed < 40, "old merges no longer come first: words are cut in other places"


def _parts(token: str, base: Any) -> list[str]:
    """The pieces that the base cuts a token's letters into, put together by its own merges."""
    model = base.backend_tokenizer.model
    return [piece.value for piece in model.tokenize(token)]
