"""Bottlenecks through the adapter bank: what the library computes, with other methods in the same batch, stacked, quantised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as T
from torch import Tensor

from langadapt.errors import ModelError
from langadapt.inference.adapter_files import AdapterWeights, LowRank, Scale, read_adapter
from langadapt.inference.bank import AdapterBank
from langadapt.modeling.loading import load_model, quantization_options
from langadapt.release.merging import merge

adapters = pytest.importorskip("adapters")

from adapters.composition import Stack  # noqa: E402
from langadapt_adapters.bottleneck import Bottleneck  # noqa: E402
from langadapt_adapters.library import prepare  # noqa: E402

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "pad_token_id": 0}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
DISTIL = {"vocab_size": 99, "dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128}
BLOOM = {"vocab_size": 99, "hidden_size": 64, "n_layer": 2, "n_head": 2}
RELATIVE = {"pos_att_type": ["c2p", "p2c"], "relative_attention": True}
BODIES: dict[str, Callable[[], Any]] = {
    "bert": lambda: T.BertModel(T.BertConfig(**SIZES)),
    "xlmr": lambda: T.XLMRobertaModel(T.XLMRobertaConfig(**SIZES)),
    "electra": lambda: T.ElectraModel(T.ElectraConfig(**SIZES, embedding_size=32)),
    "deberta": lambda: T.DebertaModel(T.DebertaConfig(**SIZES | RELATIVE)),
    "deberta-v2": lambda: T.DebertaV2Model(T.DebertaV2Config(**SIZES | RELATIVE)),
    "modernbert": lambda: T.ModernBertModel(T.ModernBertConfig(**SIZES | SPECIAL)),
    "llama": lambda: T.LlamaModel(T.LlamaConfig(**SIZES)),
    "mistral": lambda: T.MistralModel(T.MistralConfig(**SIZES, num_key_value_heads=1)),
    "qwen2": lambda: T.Qwen2Model(T.Qwen2Config(**SIZES, num_key_value_heads=1)),
    "qwen3": lambda: T.Qwen3Model(T.Qwen3Config(**SIZES, num_key_value_heads=1, head_dim=32)),
    "gemma2": lambda: T.Gemma2Model(T.Gemma2Config(**SIZES, num_key_value_heads=1, head_dim=32)),
    "gpt2": lambda: T.GPT2Model(T.GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=2)),
    "distilbert": lambda: T.DistilBertModel(T.DistilBertConfig(**DISTIL)),
    "bloom": lambda: T.BloomModel(T.BloomConfig(**BLOOM)),
    "bloom-post": lambda: T.BloomModel(T.BloomConfig(**BLOOM, apply_residual_connection_post_layernorm=True)),
}
FORMS: list[Any] = ["seq_bn", "double_seq_bn", "par_bn"]
NEAR = 1e-5


def fresh(family: str) -> Any:
    """A body whose weights depend on the family alone."""
    torch.manual_seed(3)
    model = BODIES[family]()
    generator = torch.Generator().manual_seed(7)
    for _, weight in sorted(model.named_parameters()):
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator)
    return model.eval()


def trained(family: str, form: Any, folder: Path, lab: Lab, **options: Any) -> Any:
    """A model that carries a bottleneck after three steps, which is saved in `folder`."""
    model = fresh(family)
    torch.manual_seed(len(form))
    adaptation = Bottleneck(**{"form": form, "reduction_factor": 4, **options})
    adaptation.attach(model)
    lab.train(model, 3)
    adaptation.save(model, folder)
    return model


def served(bank: AdapterBank, names: Sequence[str | None], lab: Lab, rows: slice = slice(None)) -> Tensor:
    with bank.lease(names) as lease, lease.rows(range(len(names))), torch.no_grad():
        found: Tensor = bank.body(input_ids=lab.ids[rows], attention_mask=lab.mask[rows]).last_hidden_state
    return found


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", sorted(BODIES))
def test_as_in_the_library(family: str, form: Any, lab: Lab, tmp_path: Path) -> None:
    theirs = lab.outputs(trained(family, form, tmp_path, lab))
    bank = AdapterBank(fresh(family))
    plain = lab.outputs(bank.body)
    assert distance(theirs, plain) > 1e-2
    bank.add("x", partial(read_adapter, tmp_path))
    assert torch.equal(lab.outputs(bank.body), plain), "a bank that listens changes nothing"
    assert distance(served(bank, ["x", "x", "x"], lab), theirs) <= NEAR
    mixed = served(bank, ["x", "x", None], lab)  # row 1 has padding
    assert distance(mixed[:2], theirs[:2]) <= NEAR
    assert torch.equal(mixed[2], plain[2])
    assert torch.equal(lab.outputs(bank.body), plain)


@pytest.mark.parametrize("non_linearity", ["gelu", "leakyrelu", "tanh", "swish", "gelu_new"])
def test_every_activation(non_linearity: str, lab: Lab, tmp_path: Path) -> None:
    theirs = lab.outputs(trained("bert", "double_seq_bn", tmp_path, lab, non_linearity=non_linearity))
    bank = AdapterBank(fresh("bert"))
    bank.add("x", partial(read_adapter, tmp_path))
    assert distance(served(bank, ["x", "x", "x"], lab), theirs) <= NEAR


@pytest.mark.parametrize("family", ["bert", "modernbert", "llama", "bloom"])
def test_every_form_and_other_methods_in_one_batch(family: str, lab: Lab, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    bank = AdapterBank(fresh(family))
    plain = lab.outputs(bank.body)
    theirs = {"none": plain}
    for form, factor in zip(FORMS, (4, 16, 2), strict=True):
        theirs[form] = lab.outputs(trained(family, form, tmp_path / form, lab, reduction_factor=factor))
    last = {"bert": "dense", "modernbert": "Wo", "llama": "down_proj", "bloom": "dense_4h_to_h"}[family]
    for name, options in (("lora", {}), ("dora", {"use_dora": True})):
        model = peft.get_peft_model(
            fresh(family), peft.LoraConfig(r=3, target_modules=[last], exclude_modules="pooler.dense", init_lora_weights=False, **options)
        )
        model.eval().save_pretrained(tmp_path / name)
        theirs[name] = lab.outputs(model.base_model.model)
    for name in theirs:
        if name != "none":
            bank.add(name, partial(read_adapter, tmp_path / name))
    orders = [["seq_bn", "par_bn", None], [None, "double_seq_bn", "seq_bn"], ["par_bn", None, "double_seq_bn"]]
    orders += [["lora", "seq_bn", "par_bn"], ["double_seq_bn", "dora", None], [None, None, "seq_bn"]]
    for order in orders:
        mixed = served(bank, order, lab)
        for row, name in enumerate(order):
            assert distance(mixed[row], theirs[name or "none"][row]) <= NEAR, (order, row)
            assert distance(mixed[row], served(bank, [name], lab, slice(row, row + 1))[0]) <= NEAR, (order, row)
            assert name is not None or torch.equal(mixed[row], plain[row]), (order, row)


@pytest.mark.parametrize("family", ["bert", "xlmr", "modernbert", "llama", "bloom", "distilbert", "gpt2"])
def test_a_stack_as_in_the_library(family: str, lab: Lab, tmp_path: Path) -> None:
    trained(family, "seq_bn", tmp_path / "a", lab, reduction_factor=8)
    trained(family, "seq_bn", tmp_path / "b", lab, reduction_factor=2, non_linearity="gelu")
    model = fresh(family)
    prepare(model, "bottleneck")
    for name in "ab":
        model.load_adapter(str(tmp_path / name), load_as=name, use_safetensors=True)
    model.eval()
    bank = AdapterBank(fresh(family))
    for name in "ab":
        bank.add(name, partial(read_adapter, tmp_path / name))
    found = {}
    for members in ("ab", "ba"):
        model.active_adapters = Stack(*members)
        bank.stack(members, list(members))
        found[members] = served(bank, [members] * 3, lab)
        assert distance(found[members], lab.outputs(model)) <= NEAR, members
        assert distance(served(bank, [members, "a", members], lab)[[0, 2]], found[members][[0, 2]]) <= NEAR
    assert distance(found["ab"], found["ba"]) > 1e-3, "the order matters"


LAST = {
    **dict.fromkeys(("bert", "xlmr"), "encoder.layer.0.output.dense"),
    "modernbert": "layers.0.mlp.Wo",
    "llama": "layers.0.mlp.down_proj",
    "bloom": "h.0.mlp.dense_4h_to_h",
}


@pytest.mark.parametrize("bottleneck_first", [False, True])
@pytest.mark.parametrize("family", sorted(LAST))
def test_a_bottleneck_reads_what_others_changed(family: str, bottleneck_first: bool, lab: Lab, tmp_path: Path) -> None:
    """In a stack with LoRA and IA3 on the very layer it stands on, whichever was added first."""
    trained(family, "seq_bn", tmp_path, lab)
    bank = AdapterBank(fresh(family))
    module: Any = bank.body.get_submodule(LAST[family])
    low = LowRank(0.3 * torch.randn(3, module.in_features), 0.3 * torch.randn(module.out_features, 3))
    scale = Scale(torch.linspace(0.5, 1.5, module.out_features), on_input=False)
    others = {"low": AdapterWeights(low_rank={LAST[family]: low}), "scale": AdapterWeights(scales={LAST[family]: scale})}
    others["bn"] = read_adapter(tmp_path)
    for name in ("bn", "scale", "low") if bottleneck_first else ("low", "scale", "bn"):
        bank.add(name, partial(others.__getitem__, name))
    for order in (("low", "scale"), ("scale", "low")):
        bank.stack("+".join(order), [*order, "bn"])
        whole = AdapterBank(fresh(family))
        for name in order:
            merge(whole.body, others[name])
        whole.add("bn", partial(read_adapter, tmp_path))
        expected = served(whole, ["bn"] * 3, lab)
        assert distance(served(bank, ["+".join(order)] * 3, lab), expected) <= NEAR, order
        mixed = served(bank, [None, "+".join(order), "bn"], lab)
        assert distance(mixed[1], expected[1]) <= NEAR, order
        assert torch.equal(mixed[0], served(bank, [None] * 3, lab)[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_on_a_quantised_base(bits: str, form: Any, lab: Lab, tmp_path: Path) -> None:
    model = fresh("bert")
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    model.save_pretrained(tmp_path / "base")
    trained("bert", form, tmp_path / "x", lab)
    # In training mode, here without dropout, no processor repacks 4-bit weights.
    theirs, mine = (load_model(tmp_path / "base", False, quantization_options(bits, "cpu")).train() for _ in range(2))
    bank = AdapterBank(mine)
    bank.add("x", partial(read_adapter, tmp_path / "x"))
    with torch.no_grad():
        plain = lab.states(theirs)
        Bottleneck(form=form).load(theirs, tmp_path / "x")
        expected = lab.states(theirs.train())
    assert torch.equal(served(bank, [None] * 3, lab), plain)
    assert distance(expected, plain) > 1e-2
    # int8 rounds inputs: where a sum differs in its last digit, one step of that rounding may show.
    assert distance(served(bank, ["x"] * 3, lab), expected) <= (NEAR if bits == "4bit" else 2e-2)
    mixed = served(bank, ["x", None, "x"], lab)
    assert distance(mixed[[0, 2]], expected[[0, 2]]) <= (NEAR if bits == "4bit" else 2e-2)
    assert torch.equal(mixed[1], plain[1])


def test_what_the_bank_cannot_do_is_refused(lab: Lab, tmp_path: Path) -> None:
    trained("bert", "seq_bn", tmp_path / "bert", lab)
    with pytest.raises(ModelError, match="bottleneck adapters cannot be merged"):
        merge(fresh("bert"), read_adapter(tmp_path / "bert"))
    shallow = fresh("bert")
    shallow.encoder.layer = shallow.encoder.layer[:1]
    with pytest.raises(ModelError, match="a base with more layers: this one has no output block 1"):
        AdapterBank(shallow).add("x", partial(read_adapter, tmp_path / "bert"))
    torch.manual_seed(0)
    wide = T.BertModel(T.BertConfig(**SIZES | {"hidden_size": 96}))
    with pytest.raises(ModelError, match=r"at the output block 0 it has the shape \(16, 64\), the base asks for \(16, 96\)"):
        AdapterBank(wide).add("x", partial(read_adapter, tmp_path / "bert"))
