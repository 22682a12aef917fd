"""Special tokens around a text, wherever a tokenizer puts them, and the room of position tables."""

from __future__ import annotations

from typing import Any

import pytest

from langadapt.modeling.framing import Frame
from langadapt.modeling.positions import counts_from_padding, room


def tokenizer(single: str, types: bool = False) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh"])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]")


TEMPLATES = {
    "BERT": ("[CLS] $A [SEP]", (2,), (3,)),
    "XLNet": ("$A [SEP] [CLS]:2", (), (3, 2)),
    "a decoder": ("$A [SEP]", (), (3,)),
    "two before": ("[CLS] [SEP] $A", (2, 3), ()),
    "nothing": ("$A", (), ()),
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_text_is_cut_inside_its_frame_as_the_library_cuts_it(name: str, side: str) -> None:
    template, opening, closing = TEMPLATES[name]
    words = tokenizer(template)
    frame = Frame.of(words)
    assert (frame.opening, frame.closing) == (opening, closing)
    words.truncation_side = side
    text = "a b c d e f g h"
    whole = words(text)["input_ids"]
    for length in range(3, 12):
        assert frame.cut(whole, length, side) == words(text, truncation=True, max_length=length)["input_ids"]


def test_types_are_the_tokenizers_own() -> None:
    words = tokenizer("$A [SEP] [CLS]:2")
    found = words("a b c", return_token_type_ids=True)
    assert Frame.of(words).types(5) == found["token_type_ids"] == [0, 0, 0, 0, 2]


def config(kind: str, **sizes: Any) -> Any:
    from transformers import CONFIG_MAPPING

    common = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    return CONFIG_MAPPING[kind](**{**common, **sizes})


@pytest.mark.parametrize(
    ("kind", "sizes", "expected", "padding"),
    [
        ("bert", {"max_position_embeddings": 40}, 40, False),
        ("roberta", {"max_position_embeddings": 40, "pad_token_id": 1}, 38, True),
        ("mpnet", {"max_position_embeddings": 40, "pad_token_id": 1}, 38, True),
        ("gpt2", {"n_positions": 40}, 40, False),
        ("opt", {"max_position_embeddings": 40, "ffn_dim": 8}, 40, False),
        ("modernbert", {"max_position_embeddings": 40, "pad_token_id": 0}, 40, False),
        ("xlnet", {"d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8}, None, False),
    ],
)
def test_room_is_what_positions_leave(kind: str, sizes: dict[str, Any], expected: int | None, padding: bool) -> None:
    from transformers import AutoModel

    model = AutoModel.from_config(config(kind, **sizes))
    assert room(model) == expected
    assert counts_from_padding(model) == padding
