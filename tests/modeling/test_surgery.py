"""Vocabulary surgery on every supported architecture: what is copied keeps its logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BloomConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    EsmConfig,
    LlamaConfig,
    MobileBertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from langadapt.contracts.component import Context
from langadapt.errors import ModelError
from langadapt.modeling.heads import mlm_logits, output_layer
from langadapt.modeling.loading import load_model, load_tokenizer, save_checkpoint
from langadapt.modeling.pooling import Mean
from langadapt.modeling.surgery import agree_on_inputs, apply_mixture, unigram_log_probabilities, vocab_of
from langadapt.training.adaptation import Freeze

TEXT = """एक माणूस गिटार वाजवत आहे आणि मुले मैदानात खेळत आहेत . ती बाजारात भाजी विकते , आज पुण्यात खूप पाऊस पडला .
शिक्षक वर्गात शिकवत आहेत . तो रोज सकाळी धावतो . कुत्रा झाडाखाली झोपला आहे . गव्हाची किंमत वाढली"""
WORDS = [*sorted(set(TEXT.split())), "##ात", "##ून"]
KEPT = WORDS[::2] + [w for w in ("आहे", "एक", "माणूस", ".", "##ात") if w not in WORDS[::2]]
ADDED = ["पुस्तक", "वाचते", "मुंबईत", "##ला", "संध्याकाळी"]
SHARED_TEXT = ["एक माणूस आहे .", "माणूस एक"]

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CONFIGS: dict[str, Any] = {
    "bert": lambda v, pad: BertConfig(**SMALL, vocab_size=v, pad_token_id=pad),
    "roberta": lambda v, pad: RobertaConfig(**SMALL, type_vocab_size=1, vocab_size=v, pad_token_id=pad, bos_token_id=2, eos_token_id=3),
    "xlm-roberta": lambda v, pad: XLMRobertaConfig(
        **SMALL, type_vocab_size=1, vocab_size=v, pad_token_id=pad, bos_token_id=2, eos_token_id=3
    ),
    "distilbert": lambda v, pad: DistilBertConfig(
        dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=40, dropout=0.0, vocab_size=v, pad_token_id=pad
    ),
    "electra": lambda v, pad: ElectraConfig(**SMALL, embedding_size=24, vocab_size=v, pad_token_id=pad),
    "albert": lambda v, pad: AlbertConfig(**SMALL, embedding_size=16, vocab_size=v, pad_token_id=pad),
    "deberta-v2": lambda v, pad: DebertaV2Config(
        **SMALL, vocab_size=v, pad_token_id=pad, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8, type_vocab_size=0
    ),
    "modernbert": lambda v, pad: ModernBertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
        vocab_size=v,
        pad_token_id=pad,
        cls_token_id=2,
        bos_token_id=2,
        sep_token_id=3,
        eos_token_id=3,
    ),
}


def wordpiece(tokens: list[str], pad: int) -> Any:
    """A WordPiece tokenizer whose padding token has the id `pad`."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *tokens]
    pieces.insert(pad, "[PAD]")
    vocab = {token: i for i, token in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pairs = [("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", pairs)
    tokenizer.add_special_tokens(["[PAD]", *special])
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", "pad_token": "[PAD]"}
    if pad:  # RoBERTa's names too
        names |= {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **names)


OLD = wordpiece(WORDS, 1)
SHUFFLED = [str(token) for token in np.random.default_rng(3).permutation([*KEPT, *ADDED])]
NEW = wordpiece(SHUFFLED, 0)
LATE_PAD = wordpiece(SHUFFLED, 4)


def make(name: str, tied: bool = True, spare_rows: int = 0) -> Any:
    """A small model of an architecture with random weights, biases too."""
    torch.manual_seed(1)
    config = CONFIGS[name](len(OLD) + spare_rows, OLD.pad_token_id)
    config.tie_word_embeddings = tied
    model = AutoModelForMaskedLM.from_config(config).eval()
    bias = output_layer(model)[1]
    assert bias is not None
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
        bias.copy_(torch.randn_like(bias))
    return model


@torch.no_grad()
def logits(model: Any, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    found: torch.Tensor = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits[
        encoded["attention_mask"].bool()
    ]
    return found


def output_rows(model: Any) -> torch.Tensor:
    decoder, _ = output_layer(model)
    assert decoder is not None
    weight: torch.Tensor = decoder.weight.detach().clone()
    return weight


def copied(new: Any) -> tuple[list[int], list[int]]:
    """(new ids, old ids) of shared tokens."""
    both = [token for token in new.get_vocab() if token in OLD.get_vocab()]
    return new.convert_tokens_to_ids(both), OLD.convert_tokens_to_ids(both)


def propose(registry: Any, how: str, model: Any, new: Any) -> Any:
    return registry.build("vocab-init", how).mixture(vocab_of(OLD, model), vocab_of(new), None, Context())


@pytest.mark.parametrize("spare_rows", [0, 3])
@pytest.mark.parametrize("new", [NEW, LATE_PAD], ids=["pad-first", "pad-later"])
@pytest.mark.parametrize("how", ["overlap", "mean-subword"])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_copied_tokens_keep_their_logits(registry: Any, tmp_path: Path, name: str, how: str, new: Any, spare_rows: int) -> None:
    model = make(name, spare_rows=spare_rows)
    before, rows, outputs = logits(model, OLD, SHARED_TEXT), model.get_input_embeddings().weight.detach().clone(), output_rows(model)
    bias = output_layer(model)[1].detach().clone()  # type: ignore[union-attr]
    apply_mixture(model, propose(registry, how, model, new), OLD, new)
    news, olds = copied(new)
    assert len(news) == len(KEPT) + 5
    assert torch.equal(model.get_input_embeddings().weight[news], rows[olds])
    assert torch.equal(output_rows(model)[news], outputs[olds])
    assert torch.equal(output_layer(model)[1][news], bias[olds])  # type: ignore[index]
    after = logits(model, new, SHARED_TEXT)
    assert after.shape == (len(before), len(new))
    assert torch.allclose(after[:, news], before[:, olds], atol=1e-5)
    # Saved and loaded, it is the same model.
    save_checkpoint(model, new, tmp_path)
    again, tokenizer = load_model(tmp_path).eval(), load_tokenizer(tmp_path)
    assert torch.allclose(logits(again, tokenizer, SHARED_TEXT), after, atol=1e-6)
    assert tokenizer.get_vocab() == new.get_vocab()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_tying_sizes_and_special_ids(registry: Any, tmp_path: Path, name: str, tied: bool) -> None:
    model = make(name, tied)
    assert (output_layer(model)[0].weight is model.get_input_embeddings().weight) is tied  # type: ignore[union-attr]
    outputs = output_rows(model)
    apply_mixture(model, propose(registry, "mean-subword", model, NEW), OLD, NEW)
    embeddings = model.get_input_embeddings()
    assert (output_layer(model)[0].weight is embeddings.weight) is tied  # type: ignore[union-attr]
    news, olds = copied(NEW)
    assert torch.equal(output_rows(model)[news], outputs[olds])
    assert model.config.vocab_size == embeddings.num_embeddings == len(embeddings.weight) == len(NEW)
    assert model.config.pad_token_id == NEW.pad_token_id
    for role in ("cls", "sep", "mask"):
        if getattr(model.config, f"{role}_token_id", None) is not None:
            assert getattr(model.config, f"{role}_token_id") == getattr(NEW, f"{role}_token_id")
    if embeddings.padding_idx is not None:
        assert embeddings.padding_idx == NEW.pad_token_id
    save_checkpoint(model, NEW, tmp_path)
    again = load_model(tmp_path).eval()
    assert torch.allclose(logits(again, NEW, SHARED_TEXT), logits(model, NEW, SHARED_TEXT), atol=1e-6)
    # A model that trains after surgery still changes input and output together, or apart.
    logits_now = model(input_ids=torch.tensor([NEW("एक माणूस")["input_ids"]])).logits
    logits_now.sum().backward()
    assert embeddings.weight.grad is not None


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "modernbert", "albert"])
def test_without_a_head(registry: Any, name: str) -> None:
    body = make(name).base_model
    encoded = OLD(SHARED_TEXT, padding=True, return_tensors="pt")
    with torch.no_grad():
        before = body(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state
        apply_mixture(body, propose(registry, "overlap", body, NEW), OLD, NEW)
        encoded = NEW(SHARED_TEXT, padding=True, return_tensors="pt")
        after = body(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state
    mask = encoded["attention_mask"].bool()
    assert torch.allclose(before[mask], after[mask], atol=1e-5)
    assert body.config.vocab_size == len(NEW)


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "albert", "distilbert", "modernbert", "deberta-v2"])
def test_new_tokens_get_their_log_unigram_as_bias(registry: Any, name: str) -> None:
    model = make(name)
    bias = output_layer(model)[1].detach().clone().numpy()  # type: ignore[union-attr]
    logs = unigram_log_probabilities(NEW, ["ती पुस्तक वाचते", "पुस्तक मुंबईत आहे"])
    apply_mixture(model, propose(registry, "overlap", model, NEW), OLD, NEW, logs)
    news, olds = copied(NEW)
    moved = output_layer(model)[1].detach().numpy()  # type: ignore[union-attr]
    assert (moved[news] == bias[olds]).all()
    shift = bias[olds].mean() - logs[news].mean()
    fresh = NEW.convert_tokens_to_ids(ADDED)
    assert moved[fresh] == pytest.approx(logs[fresh] + shift, abs=1e-5)
    often, never = NEW.convert_tokens_to_ids(["पुस्तक", "संध्याकाळी"])
    assert moved[often] - moved[never] == pytest.approx(np.log(3), abs=1e-5)  # seen twice and never, each plus one
    before_head = torch.randn(3, model.config.hidden_size)
    assert mlm_logits(model, before_head).shape == (3, len(NEW))


def test_log_unigram_by_hand() -> None:
    NEW(["पुस्तक", "एक माणूस आहे"], padding=True, truncation=True, max_length=3)  # leaves the tokenizer padding and truncating
    logs = unigram_log_probabilities(NEW, ["पुस्तक पुस्तक .", "माणूस"])
    total = len(NEW) + 4
    found = logs[NEW.convert_tokens_to_ids(["पुस्तक", ".", "माणूस", "मुंबईत"])]
    assert np.exp(found) == pytest.approx(np.array([3, 2, 2, 1]) / total, rel=1e-5)
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-5)


def test_a_mixture_of_another_size_or_with_holes_is_refused(registry: Any) -> None:
    from dataclasses import replace

    model = make("bert")
    mixture = propose(registry, "overlap", model, NEW)
    with pytest.raises(ModelError, match="weights for"):
        apply_mixture(model, mixture, OLD, OLD)
    with pytest.raises(ModelError, match="5 tokens without a row"):
        apply_mixture(model, replace(mixture, rows={}), OLD, NEW)
    assert model.config.vocab_size == len(OLD)


def test_real_encoder_shrunk_and_extended(registry: Any, tiny: Path, tmp_path: Path) -> None:
    model, old = load_model(tiny, mlm_head=True).eval(), load_tokenizer(tiny)
    _, bias = output_layer(model)
    torch.manual_seed(0)
    with torch.no_grad():
        bias.copy_(torch.randn_like(bias))  # type: ignore[union-attr, arg-type]
    texts = [line.replace(" .", ".") for line in TEXT.replace("\n", " ").split(" . ")]
    new = registry.build("tokenizer", {"use": "wordpiece", "vocab_size": 300}).train(texts * 3, None, Context())
    start, bias_before = vocab_of(old, model), bias.detach().numpy().copy()  # type: ignore[union-attr]
    rows = start.rows.copy()  # type: ignore[union-attr]
    mixture = registry.build("vocab-init", "mean-subword").mixture(start, vocab_of(new), None, Context())
    apply_mixture(model, mixture, old, new)
    news = [i for i, word in enumerate(mixture.provenance) if word == "copied"]
    plain = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
    spelt = [plain.get(t) or (t[2:] if t.startswith("##") else f"▁{t}") for t in new.convert_ids_to_tokens(news)]
    olds = old.convert_tokens_to_ids(spelt)
    assert 30 < len(news) < len(new) - 10
    assert (model.get_input_embeddings().weight.detach().numpy()[news] == rows[olds]).all()
    assert (output_layer(model)[1].detach().numpy()[news] == bias_before[olds]).all()  # type: ignore[union-attr]
    save_checkpoint(model, new, tmp_path)
    again = load_model(tmp_path).eval()
    assert torch.allclose(logits(again, load_tokenizer(tmp_path), texts), logits(model, new, texts), atol=1e-5)


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta", "modernbert"])
def test_a_role_that_the_new_tokenizer_lacks_is_its_twins(registry: Any, name: str) -> None:
    """A WordPiece tokenizer has [CLS] and no <s>: the config's bos is its [CLS], and never nothing."""
    model = make(name)
    apply_mixture(model, propose(registry, "overlap", model, NEW), OLD, NEW)
    assert (NEW.bos_token_id, NEW.eos_token_id) == (None, None)
    assert (model.config.bos_token_id, model.config.eos_token_id) == (NEW.cls_token_id, NEW.sep_token_id)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_tokenizer_makes_the_inputs_that_its_model_takes(name: str, registry: Any, tmp_path: Path) -> None:
    """Whatever plain transformers makes of two texts, saved and loaded, the model takes."""
    model = make(name)
    plain = PreTrainedTokenizerFast(tokenizer_object=NEW.backend_tokenizer, **NEW.special_tokens_map)
    plain.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]  # transformers 4 assumes these
    plain.backend_tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [(token, plain.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    )
    apply_mixture(model, propose(registry, "overlap", model, plain), OLD, plain)
    agree_on_inputs(plain, model)
    save_checkpoint(model, plain, tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    batch = again(["एक माणूस"], ["आहे"], return_tensors="pt")
    assert model(**batch).logits.shape[-1] == len(plain)
    assert ("token_type_ids" in batch) == (name in ("bert", "electra", "albert"))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", list(CONFIGS))
def test_training_embeddings_trains_output_rows_and_bias(name: str, tied: bool) -> None:
    model = make(name, tied)
    Freeze(train="embeddings").attach(model)
    decoder, bias = output_layer(model)
    assert decoder is not None
    assert bias is not None
    for parameter in (model.get_input_embeddings().weight, decoder.weight, bias):
        assert parameter.requires_grad
    trained = {id(parameter) for parameter in (model.get_input_embeddings().weight, decoder.weight, bias)}
    free = [name for name, parameter in model.named_parameters() if parameter.requires_grad and id(parameter) not in trained]
    assert [name for name in free if not name.endswith("bias")] == []


@pytest.mark.parametrize("name", list(CONFIGS))
def test_mlm_logits_at_positions_equal_the_dense_head(name: str) -> None:
    from langadapt.modeling.encoder import EncoderModule

    model = make(name)
    sequences = [OLD(text)["input_ids"] for text in TEXT.split("\n")] + [OLD("एक")["input_ids"]]
    positions = [[1, 4, 7], [2], [0, 1]]
    encoder = EncoderModule(model, Mean(), OLD.pad_token_id, budget=30)
    with torch.no_grad():
        states = encoder.masked_states(sequences, positions)
        found = mlm_logits(model, states)
        ids, mask = encoder.pad(sequences)
        dense = model(input_ids=ids, attention_mask=mask).logits
    expected = torch.stack([dense[row, place] for row, places in enumerate(positions) for place in places])
    assert torch.allclose(found, expected, atol=1e-5)


def test_an_unknown_head_is_named() -> None:
    with pytest.raises(ModelError, match="bert"):
        mlm_logits(make("bert").base_model, torch.zeros(1, 32))
    config = DebertaV2Config(**SMALL, vocab_size=30, legacy=False)
    model = AutoModelForMaskedLM.from_config(config)
    for use in (lambda: mlm_logits(model, torch.zeros(1, 32)), lambda: output_layer(model)):
        with pytest.raises(ModelError, match="deberta-v2"):
            use()


def test_a_head_with_more_than_output_rows_is_refused_and_stays_whole(registry: Any) -> None:
    config = MobileBertConfig(**SMALL, vocab_size=len(OLD), embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16)
    model = AutoModelForMaskedLM.from_config(config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ModelError, match=r"'mobilebert' keeps something for each of the \d+ tokens in 'cls.predictions.dense.weight'"):
        apply_mixture(model, propose(registry, "random", model, NEW), OLD, NEW)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_bias_beside_the_output_layer_moves_too(registry: Any) -> None:
    config = EsmConfig(**SMALL, vocab_size=len(OLD), pad_token_id=OLD.pad_token_id, mask_token_id=OLD.mask_token_id)
    model = AutoModelForMaskedLM.from_config(config).eval()
    torch.nn.init.normal_(model.lm_head.bias)
    before = logits(model, OLD, SHARED_TEXT)
    apply_mixture(model, propose(registry, "mean-subword", model, NEW), OLD, NEW)
    after = logits(model, NEW, SHARED_TEXT)
    shared = [token for token in NEW.get_vocab() if token in OLD.get_vocab()]
    ids = [[tokenizer.convert_tokens_to_ids(token) for token in shared] for tokenizer in (OLD, NEW)]
    assert torch.allclose(before[..., ids[0]], after[..., ids[1]], atol=1e-5)


# extension -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(CONFIGS))
def test_text_without_a_new_token_keeps_its_outputs(registry: Any, name: str) -> None:
    extended = registry.build("tokenizer", {"use": "extend", "budget": 5}).train(["एकात माणूसून कुत्राात"] * 10, OLD, Context())
    added = [token for token in extended.get_vocab() if token not in OLD.get_vocab()]
    assert sorted(added) == sorted(["एकात", "माणूसून", "कुत्राात"])
    for token in added:  # reachable, and back again
        ids = extended.encode(token, add_special_tokens=False)
        assert extended.convert_ids_to_tokens(ids) == [token]
        assert extended.decode(ids) == token
    model = make(name)
    before = logits(model, OLD, SHARED_TEXT)
    apply_mixture(model, propose(registry, "mean-subword", model, extended), OLD, extended)
    after = logits(model, extended, SHARED_TEXT)
    assert after.shape[1] == len(OLD) + len(added)
    assert torch.allclose(after[:, : len(OLD)], before, atol=1e-6)


# decoders -------------------------------------------------------------------------------------------------------------------

DECODERS: dict[str, Any] = {
    "bloom": lambda v: BloomConfig(vocab_size=v, hidden_size=32, n_layer=2, n_head=4, pad_token_id=OLD.pad_token_id),
    "llama": lambda v: LlamaConfig(
        vocab_size=v, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, pad_token_id=OLD.pad_token_id
    ),
}


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", list(DECODERS))
def test_a_decoders_copied_tokens_keep_their_logits(registry: Any, tmp_path: Path, name: str, tied: bool) -> None:
    torch.manual_seed(2)
    config = DECODERS[name](len(OLD))
    config.tie_word_embeddings = tied
    model = AutoModelForCausalLM.from_config(config).eval()
    before = logits(model, OLD, SHARED_TEXT)
    apply_mixture(model, propose(registry, "mean-subword", model, NEW), OLD, NEW)
    news, olds = copied(NEW)
    after = logits(model, NEW, SHARED_TEXT)
    assert torch.allclose(after[:, news], before[:, olds], atol=1e-5)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    assert (model.config.vocab_size, model.config.pad_token_id) == (len(NEW), NEW.pad_token_id)
    assert model.generation_config.pad_token_id == NEW.pad_token_id
    assert (model.generation_config.bos_token_id, model.generation_config.eos_token_id) == (NEW.cls_token_id, NEW.sep_token_id)
    save_checkpoint(model, NEW, tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.allclose(logits(again, NEW, SHARED_TEXT), after, atol=1e-6)
    body = load_model(tmp_path).eval()  # as an encoder: the body alone
    ids = NEW(SHARED_TEXT[0], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        assert torch.allclose(body(ids).last_hidden_state, again.base_model(ids).last_hidden_state, atol=1e-6)


@pytest.mark.parametrize("how", ["random", "overlap", "mean", "mean-subword"])
def test_untied_output_rows_keep_their_own_scale(registry: Any, how: str) -> None:
    """Rows set outright belong to the inputs: an output layer of another scale gets rows of its scale."""
    model = make("bert", tied=False)
    decoder: Any = output_layer(model)[0]
    with torch.no_grad():
        decoder.weight.copy_(3 + 0.4 * torch.randn_like(decoder.weight))
    apply_mixture(model, propose(registry, how, model, NEW), OLD, NEW)
    fresh = [i for i in range(len(NEW)) if i not in copied(NEW)[0]] or list(range(len(NEW)))
    rows = output_rows(model)[fresh]
    assert 2.8 < rows.mean() < 3.2
    assert rows.std() < 0.8
    bias = output_layer(model)[1]
    assert bias is not None
    assert (bias[fresh] != 0).all()


def test_a_row_that_is_no_number_is_refused(registry: Any) -> None:
    model = make("bert")
    mixture = propose(registry, "mean-subword", model, NEW)
    mixture.rows[7] = np.full(32, np.nan, dtype=np.float32)
    before = model.get_input_embeddings().weight.detach().clone()
    with pytest.raises(ModelError, match="1 tokens a row with a number that is not finite"):
        apply_mixture(model, mixture, OLD, NEW)
    assert torch.equal(model.get_input_embeddings().weight, before)


def test_an_output_row_stands_as_far_from_its_mean_as_the_input_row(registry: Any) -> None:
    """Rows set outright, by the formula, from copies taken before the call."""
    model = make("bert", tied=False)
    decoder: Any = output_layer(model)[0]
    with torch.no_grad():
        decoder.weight.copy_(3 + 0.4 * torch.randn_like(decoder.weight))
    size = len(OLD)
    inputs = model.get_input_embeddings().weight.detach().numpy()[:size].copy()
    outputs = decoder.weight.detach().numpy()[:size].copy()
    mixture = propose(registry, "random", model, NEW)
    outright = [i for i in mixture.rows if mixture.weights.indptr[i] == mixture.weights.indptr[i + 1]]
    assert len(outright) > 5
    apply_mixture(model, mixture, OLD, NEW)
    found = output_rows(model).detach().numpy()
    for i in outright:
        apart = (mixture.rows[i] - inputs.mean(0)) / inputs.std(0)
        assert np.allclose(found[i], outputs.mean(0) + apart * outputs.std(0), atol=1e-4)
    spread = found[outright].std(0).mean()
    assert 0.5 * outputs.std(0).mean() < spread < 2 * outputs.std(0).mean()
