"""The adapter bank: every row as its own library computes it, whatever shares the batch, the memory or the slot."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers as T
from langadapt_lora.targets import find_targets
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from langadapt.errors import ModelError
from langadapt.inference.adapter_files import AdapterWeights, Bottleneck, LowRank, Scale, read_adapter
from langadapt.inference.bank import AdapterBank
from langadapt.inference.reading import Reading
from langadapt.inference.slots import Slots
from langadapt.inference.stacks import WIDE
from langadapt.modeling.loading import load_model, quantization_options
from langadapt.release.merging import merge

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

SIZES = {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "pad_token_id": 0}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
BLOOM = {"vocab_size": 99, "hidden_size": 64, "n_layer": 2, "n_head": 2}
BODIES: dict[str, Callable[[], Any]] = {
    "bert": lambda: T.BertModel(T.BertConfig(**SIZES), add_pooling_layer=False),
    "xlmr": lambda: T.XLMRobertaModel(T.XLMRobertaConfig(**SIZES), add_pooling_layer=False),
    "electra": lambda: T.ElectraModel(T.ElectraConfig(**SIZES, embedding_size=32)),
    "modernbert": lambda: T.ModernBertModel(T.ModernBertConfig(**SIZES | SPECIAL)),
    "llama": lambda: T.LlamaModel(T.LlamaConfig(**SIZES)),
    "bloom": lambda: T.BloomModel(T.BloomConfig(**BLOOM)),
    "bloom-post": lambda: T.BloomModel(T.BloomConfig(**BLOOM, apply_residual_connection_post_layernorm=True)),
    "gpt2": lambda: T.GPT2Model(T.GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=2)),
}
FAMILIES = sorted(BODIES)

IDS = torch.randint(5, 90, (6, 9), generator=torch.Generator().manual_seed(5))
MASK = torch.ones_like(IDS)
MASK[1, 6:] = MASK[4, 3:] = 0


def fresh(family: str) -> Any:
    """A body whose weights depend on the family alone."""
    torch.manual_seed(3)
    model = BODIES[family]()
    generator = torch.Generator().manual_seed(7)
    for _, weight in sorted(model.named_parameters()):
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator)
    return model.eval()


def outputs(model: Any, rows: slice = slice(None)) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=IDS[rows], attention_mask=MASK[rows]).last_hidden_state
    return found


def served(bank: AdapterBank, names: Sequence[str | None], rows: slice = slice(None)) -> Tensor:
    with bank.lease(names) as lease, lease.rows(range(len(names))):
        return outputs(bank.body, rows)


def alone(bank: AdapterBank, name: str | None, row: int) -> Tensor:
    return served(bank, [name], slice(row, row + 1))[0]


def near(one: Tensor, other: Tensor, limit: float = 1e-5) -> bool:
    return bool((one - other).abs().max() <= limit)


def settings(model: Any, kind: str, **more: Any) -> Any:
    targets = find_targets(model)
    if kind == "ia3":
        forward = list(targets.forward_out)
        return peft.IA3Config(target_modules=[*(targets.keys_values or targets.queries), *forward], feedforward_modules=forward)
    options: dict[str, Any] = {"lora": {"r": 3}, "rslora": {"r": 8, "use_rslora": True}, "dora": {"r": 5, "use_dora": True}}[kind]
    return peft.LoraConfig(**{"target_modules": targets.named("all"), "lora_alpha": 7, **options, **more})


def trained(family: str, folder: Path, kind: str, **more: Any) -> Tensor:
    """Train an adapter in peft for three steps and save it there; its outputs."""
    torch.manual_seed(len(str(more)) + ["lora", "rslora", "dora", "ia3"].index(kind))
    body = fresh(family)
    model = peft.get_peft_model(body, settings(body, kind, **more))
    optimiser = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=3e-2)
    target = torch.randn(64)
    for _ in range(3):
        optimiser.zero_grad()
        states = model(input_ids=IDS, attention_mask=MASK).last_hidden_state
        (states * target).sum(-1).sub(1).pow(2).mean().backward()
        optimiser.step()
    model.eval()
    model.save_pretrained(folder)
    return outputs(model)


def low_rank(seed: int, rank: int, modules: Sequence[str], dora: bool = False) -> AdapterWeights:
    """A LoRA of the BERT body made of noise."""
    generator = torch.Generator().manual_seed(seed)
    noise = partial(torch.randn, generator=generator)
    found = {}
    for name in modules:
        magnitude = noise(64).abs() + 0.5 if dora else None
        found[f"encoder.layer.{name}"] = LowRank(noise(rank, 64) * 0.3, noise(64, rank) * 0.3, magnitude)
    return AdapterWeights(low_rank=found)


PLACES = [f"{i}.attention.{name}" for i in (0, 1) for name in ("self.query", "self.key", "self.value", "output.dense")]


def lone(weights: AdapterWeights) -> Tensor:
    """What an adapter gives in a bank of its own."""
    bank = AdapterBank(fresh("bert"))
    bank.add("x", lambda: weights)
    return served(bank, ["x"] * len(IDS))


# exactness -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "ia3"])
@pytest.mark.parametrize("family", FAMILIES)
def test_as_in_peft(family: str, kind: str, tmp_path: Path) -> None:
    theirs = trained(family, tmp_path, kind)
    bank = AdapterBank(fresh(family))
    plain = outputs(bank.body)
    assert (theirs - plain).abs().max() > 1e-2
    bank.add("x", partial(read_adapter, tmp_path))
    assert near(served(bank, ["x"] * 6), theirs)
    mixed = served(bank, ["x", None, "x", None, "x", "x"])  # each row with its own weights, not one product for all
    assert near(mixed[[0, 2, 4, 5]], theirs[[0, 2, 4, 5]])
    assert torch.equal(mixed[[1, 3]], plain[[1, 3]])


@pytest.mark.parametrize("family", FAMILIES)
def test_all_kinds_in_one_batch(family: str, tmp_path: Path) -> None:
    bank = AdapterBank(fresh(family))
    names: list[str | None] = ["lora", "rslora", "dora", "ia3", "wide"]
    theirs = {None: outputs(bank.body)}
    for kind in ("lora", "rslora", "dora", "ia3"):
        theirs[kind] = trained(family, tmp_path / kind, kind)
    theirs["wide"] = trained(family, tmp_path / "wide", "lora", r=17, target_modules=list(find_targets(bank.body).queries))
    for name in names:
        bank.add(str(name), partial(read_adapter, tmp_path / str(name)))
    for order in ([*names, None], [None, *reversed(names)]):
        together = served(bank, order)
        for row, name in enumerate(order):
            assert near(together[row], alone(bank, name, row)), (name, row)
            assert near(together[row], theirs[name][row]), (name, row)
        empty = order.index(None)
        assert torch.equal(together[empty], theirs[None][empty])


def test_the_base_is_never_changed(tmp_path: Path) -> None:
    trained("bert", tmp_path / "dora", "dora")
    trained("bert", tmp_path / "ia3", "ia3")
    bank = AdapterBank(fresh("bert"))
    before = {name: value.clone() for name, value in bank.body.state_dict().items()}
    plain = outputs(bank.body)
    bank.add("dora", partial(read_adapter, tmp_path / "dora"))
    bank.add("ia3", partial(read_adapter, tmp_path / "ia3"))
    served(bank, ["dora", "ia3", None] * 2)
    assert torch.equal(outputs(bank.body), plain)
    with pytest.raises(RuntimeError, match="stop"), bank.lease(["dora"] * 6) as lease, lease.rows(range(6)):
        raise RuntimeError("stop")
    assert torch.equal(outputs(bank.body), plain)
    bank.remove("dora")
    bank.remove("ia3")
    assert torch.equal(outputs(bank.body), plain)
    after = bank.body.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_stack_of_lora_is_the_sum_of_updates(tmp_path: Path) -> None:
    trained("bert", tmp_path / "a", "lora")
    trained("bert", tmp_path / "b", "rslora", target_modules=["query", "value"])
    bank = AdapterBank(fresh("bert"))
    for name in ("a", "b"):
        bank.add(name, partial(read_adapter, tmp_path / name))
    bank.stack("ab", ["a", "b"])
    bank.stack("aba", ["ab", "a"])
    assert bank.names() == ["a", "b", "ab", "aba"]
    wholes = {}
    for name in ("a", "b", "ab", "aba"):
        wholes[name] = fresh("bert")
        for part in name:
            merge(wholes[name], read_adapter(tmp_path / part))
    for name, whole in wholes.items():
        assert near(served(bank, [name] * 6), outputs(whole)), name
    order = ["aba", "a", None, "ab", "b", "aba"]
    mixed = served(bank, order)
    for row, name in enumerate(order):
        assert near(mixed[row], outputs(wholes[name] if name else fresh("bert"))[row]), name
    with pytest.raises(ModelError, match="'a' is part of the stack 'ab' Remove the stack first"):
        bank.remove("a")
    bank.remove("ab")
    bank.remove("aba")
    bank.remove("a")
    assert bank.names() == ["b"]
    with pytest.raises(ModelError, match="no adapter is called 'a', 'c'"):
        bank.stack("ac", ["a", "c", "b"])
    with pytest.raises(ModelError, match="'none' has no members"):
        bank.stack("none", [])
    with pytest.raises(ModelError, match="there is an adapter 'b' already"):
        bank.stack("b", ["b"])


@pytest.mark.parametrize(("bits", "kind"), [("8bit", "lora"), ("8bit", "ia3"), ("4bit", "lora"), ("4bit", "ia3"), ("4bit", "dora")])
def test_on_a_quantised_base(bits: str, kind: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    model = fresh("bert")
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    model.save_pretrained(base)
    # A scaling of two is exact in floating point: int8 rounding would make steps of the last digit's differences.
    trained("bert", tmp_path / "x", kind, **{"r": 4, "lora_alpha": 8} if kind != "ia3" else {})
    # In training mode, here without dropout, no processor repacks 4-bit weights.
    theirs, mine = (load_model(base, False, quantization_options(bits, "cpu")).train() for _ in range(2))
    plain = outputs(theirs)
    assert torch.equal(outputs(mine), plain)
    bank = AdapterBank(mine)
    bank.add("x", partial(read_adapter, tmp_path / "x"))
    expected = outputs(peft.PeftModel.from_pretrained(theirs, tmp_path / "x").train())
    assert (expected - plain).abs().max() > 0.1
    assert near(served(bank, ["x"] * 6), expected)
    mixed = served(bank, ["x", None] * 3)
    assert near(mixed[::2], expected[::2])
    assert torch.equal(mixed[1::2], plain[1::2])


def test_an_eight_bit_base_is_exact_in_any_grouping(tmp_path: Path) -> None:
    """Outliers in one text leave the others' vectors alone."""
    model = fresh("bert")
    for layer in model.encoder.layer:
        layer.attention.output.LayerNorm.weight.data[5] = 40.0  # columns over 6, which LLM.int8 would look for batch by batch
    model.save_pretrained(tmp_path)
    bank = AdapterBank(load_model(tmp_path, False, quantization_options("8bit", "cpu")).eval())
    bank.add("x", lambda: low_rank(1, 4, PLACES))
    bank.add("y", lambda: low_rank(2, 4, PLACES))
    together = served(bank, ["x", "y", None, "x", None, "y"])
    for row, name in enumerate(("x", "y", None, "x", None, "y")):
        assert near(alone(bank, name, row), together[row]), (row, name)


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_quantised_base_in_use(bits: str, kind: str, tmp_path: Path) -> None:
    """As served, repacked where the processor does that: close to the adapter in the float base, and None rows exact."""
    fresh("bert").save_pretrained(tmp_path / "base")
    trained("bert", tmp_path / "x", kind)
    whole = fresh("bert")
    float_base = outputs(whole)
    merge(whole, read_adapter(tmp_path / "x"))
    bank = AdapterBank(load_model(tmp_path / "base", False, quantization_options(bits, "cpu")).eval())
    bank.add("x", partial(read_adapter, tmp_path / "x"))
    plain = outputs(bank.body)
    mixed = served(bank, ["x", None] * 3)
    assert torch.equal(mixed[1::2], plain[1::2])
    lost = torch.linalg.norm(float_base - plain)
    effect = torch.linalg.norm(outputs(whole) - float_base)
    assert torch.linalg.norm(served(bank, ["x"] * 6) - outputs(whole)) < 1.5 * lost < effect
    assert bank.body.encoder.layer[0].attention.self.query.weight.dtype in (torch.int8, torch.uint8)


# residency -------------------------------------------------------------------------------------------------------------


def test_growth_past_every_size() -> None:
    bank = AdapterBank(fresh("bert"))
    made = {f"a{i}": low_rank(i, 1 + (i * 5) % 11, PLACES[i % 4 :: 2], dora=i % 3 == 2) for i in range(19)}
    expected = {name: lone(weights) for name, weights in made.items()}
    for count, (name, weights) in enumerate(made.items(), 1):
        bank.add(name, lambda weights=weights: weights)  # type: ignore[misc]
        if count in (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 19):
            for early in list(made)[:count]:
                assert near(served(bank, [early] * 6), expected[early]), (count, early)
    names = [f"a{i}" for i in (18, 0, 7, 3, 15, 16)]
    together = served(bank, names)
    for row, name in enumerate(names):
        assert near(together[row], expected[name][row]), name
    assert bank.resident() == list(made)


def test_a_stack_grows_while_it_is_in_use() -> None:
    first, later = low_rank(1, 2, PLACES), [low_rank(10 + i, 3 + i, PLACES, dora=True) for i in range(9)]
    bank = AdapterBank(fresh("bert"))
    bank.add("first", lambda: first)
    with bank.lease(["first"] * 6) as lease:
        for i, weights in enumerate(later):
            bank.add(f"later{i}", lambda weights=weights: weights)  # type: ignore[misc]
        with lease.rows(range(6)):
            assert near(outputs(bank.body), lone(first))
    assert near(served(bank, ["first"] * 6), lone(first))
    assert near(served(bank, ["later8"] * 6), lone(later[8]))


def test_a_slot_given_back_leaves_no_residue() -> None:
    heavy = low_rank(1, 6, PLACES, dora=True)
    heavy.scales["encoder.layer.0.intermediate.dense"] = Scale(torch.full((128,), 3.0), on_input=False)
    heavy.scales["encoder.layer.1.output.dense"] = Scale(torch.full((128,), -2.0), on_input=True)
    noise = partial(torch.randn, generator=torch.Generator().manual_seed(2))
    bottleneck = Bottleneck(noise(5, 64), noise(5), noise(64, 5), noise(64), "relu", "before")
    heavy.bottlenecks.update({(0, "output"): bottleneck, (1, "attention"): bottleneck})
    light = low_rank(2, 2, PLACES[:1])
    bank = AdapterBank(fresh("bert"))
    plain = outputs(bank.body)
    for round_ in range(3):
        bank.add("heavy", lambda: heavy)
        bank.add("other", lambda: low_rank(3, 9, PLACES, dora=True))
        slot = bank._names["heavy"].parts[0].slot
        assert near(served(bank, ["heavy"] * 6), lone(heavy))
        bank.remove("heavy")
        bank.add("light", lambda: light)
        assert bank._names["light"].parts[0].slot == slot, round_
        mixed = served(bank, ["light", "other", None] * 2)
        assert near(mixed[[0, 3]], lone(light)[[0, 3]])
        assert torch.equal(mixed[[2, 5]], plain[[2, 5]])
        bank.remove("light")
        bank.remove("other")
    assert bank.slots._count == 1, "what was used again and again is given up with the last adapter"


def held(bank: AdapterBank) -> int:
    """Values in the bank's tensors."""
    return sum(tensor.numel() for stack in bank.slots.stacks.values() for tensor in stack.tensors.values())


def operations(bank: AdapterBank, names: Sequence[str | None]) -> int:
    with FlopCounterMode(display=False) as counter:
        served(bank, names)
    return int(counter.get_total_flops())


def test_an_adapter_that_only_stays_in_memory_costs_no_time() -> None:
    """Whatever its rank, and its factors."""
    bank = AdapterBank(fresh("bert"))
    for i in range(3):
        bank.add(f"a{i}", lambda i=i: low_rank(i, 4, PLACES))  # type: ignore[misc]
    mixed = ["a0", "a1", "a2", "a0", None, "a1"]
    before, vectors = operations(bank, mixed), served(bank, mixed)
    bank.add("wide", lambda: low_rank(9, 48, PLACES, dora=True))
    assert operations(bank, mixed) == before
    assert torch.equal(served(bank, mixed), vectors)
    assert operations(bank, [*mixed[:5], "wide"]) > before


def test_memory_is_given_back() -> None:
    bank = AdapterBank(fresh("bert"))
    bank.add("small", lambda: low_rank(0, 2, PLACES[:2]))
    expected, small = served(bank, ["small"] * 6), held(bank)
    with bank.lease(["small"] * 6) as lease:
        for i in range(9):
            bank.add(f"a{i}", lambda i=i: low_rank(i, 20 + i, PLACES, dora=True))  # type: ignore[misc]
        assert held(bank) > 50 * small
        for i in range(9):
            bank.remove(f"a{i}")
        assert held(bank) == small
        with lease.rows(range(6)):
            assert torch.equal(outputs(bank.body), expected)
    assert torch.equal(served(bank, ["small"] * 6), expected)
    bank.remove("small")
    assert bank.slots.stacks == {}


def test_room_stays_within_what_may_be_resident() -> None:
    bank = AdapterBank(fresh("bert"), max_resident=5)
    for i in range(8):
        bank.add(f"a{i}", lambda i=i: low_rank(i, 2, PLACES))  # type: ignore[misc]
    assert {len(tensor) for stack in bank.slots.stacks.values() for tensor in stack.tensors.values()} == {6}
    together = served(bank, [f"a{i}" for i in range(2, 8)])  # one more than may stay
    for row in range(6):
        assert near(together[row], lone(low_rank(row + 2, 2, PLACES))[row])


@pytest.mark.parametrize("wide", [WIDE, 3 * WIDE])
def test_wide_adapters_are_multiplied_apart(wide: int) -> None:
    """Among narrow ones, DoRA, bottlenecks and none, and in a stack."""
    bank = AdapterBank(fresh("bert"))
    noise = partial(torch.randn, generator=torch.Generator().manual_seed(2))
    bottleneck = Bottleneck(0.1 * noise(wide, 64), noise(wide), 0.1 * noise(64, wide), noise(64), "gelu", "after")
    made = {
        "wide": AdapterWeights({name: LowRank(0.1 * low.down, low.up) for name, low in low_rank(1, wide, PLACES).low_rank.items()}),
        "narrow": low_rank(2, 3, PLACES),
        "dora": low_rank(3, 5, PLACES, dora=True),
        "bottleneck": AdapterWeights(bottlenecks={(0, "output"): bottleneck}),
    }
    for name, weights in made.items():
        bank.add(name, lambda weights=weights: weights)  # type: ignore[misc]
    order = ["narrow", "wide", None, "bottleneck", "dora", "wide"]
    mixed = served(bank, order)
    assert torch.equal(mixed[2], outputs(bank.body)[2])
    for row, name in enumerate(order):
        assert near(mixed[row], lone(made[name])[row] if name else mixed[row]), name
    bank.stack("both", ["narrow", "wide"])
    whole = fresh("bert")
    for name in ("narrow", "wide"):
        merge(whole, made[name])
    assert near(served(bank, ["both", "dora", "both", None, "wide", "bottleneck"])[[0, 2]], outputs(whole)[[0, 2]])


def test_a_name_of_several_parts() -> None:
    """A saved stack: its parts are added, leave memory, come back and are removed together."""
    bank = AdapterBank(fresh("bert"), max_resident=2)
    first, second = low_rank(1, 2, PLACES), low_rank(2, 7, PLACES[:3], dora=False)
    whole = fresh("bert")
    for part in (first, second):
        merge(whole, part)
    bank.add("stack", lambda: first, lambda: second)
    assert near(served(bank, ["stack"] * 6), outputs(whole))
    bank.add("other", lambda: low_rank(3, 2, PLACES))
    assert bank.resident() == ["other"]
    mixed = served(bank, ["stack", "other", None] * 2)
    assert near(mixed[[0, 3]], outputs(whole)[[0, 3]])
    with pytest.raises(ModelError, match="another base"):
        bank.add("half", lambda: first, lambda: bad(down=torch.ones(2, 96)))
    bank.remove("stack")
    bank.remove("other")
    assert bank.slots._count == 1


def test_a_stack_reads_as_its_members_do() -> None:
    bank = AdapterBank(fresh("bert"))
    for i, reading in enumerate((Reading("query: "), Reading("query: "), Reading("passage: "), Reading("query: ", max_length=9))):
        bank.add(f"a{i}", lambda i=i: low_rank(i, 2, PLACES), reading=reading)  # type: ignore[misc]
    bank.stack("same", ["a0", "a1"])
    bank.stack("more", ["same", "a0"])
    with bank.lease(["more", None, "a2"]) as lease:
        assert lease.readings == [Reading("query: "), None, Reading("passage: ")]
    for other in ("a2", "a3"):
        with pytest.raises(ModelError, match=f"'a0' and '{other}' cannot be stacked: they read texts by another prompt"):
            bank.stack("mixed", ["a0", other])
    assert bank.names() == ["a0", "a1", "a2", "a3", "same", "more"]


def test_eviction_reads_from_disk_again(tmp_path: Path) -> None:
    expected, reads = {}, dict.fromkeys("abcd", 0)
    bank = AdapterBank(fresh("bert"), max_resident=2)

    def read(name: str) -> AdapterWeights:
        reads[name] += 1
        return read_adapter(tmp_path / name)

    for name, kind in zip("abcd", ("lora", "dora", "ia3", "rslora"), strict=True):
        expected[name] = trained("bert", tmp_path / name, kind)
        bank.add(name, partial(read, name))
    assert bank.resident() == ["c", "d"]
    assert bank.names() == list("abcd")
    assert near(served(bank, ["a"] * 6), expected["a"])  # c leaves: it was used longest ago
    assert bank.resident() == ["a", "d"]
    assert near(served(bank, ["d"] * 6), expected["d"])
    assert near(served(bank, ["b"] * 6), expected["b"])  # a leaves
    assert bank.resident() == ["b", "d"]
    assert reads == {"a": 2, "b": 2, "c": 1, "d": 1}
    # A batch may need more than fit: all are there for its time.
    mixed = served(bank, ["a", "b", "c", "d", "a", None])
    for row, name in enumerate("abcda"):
        assert near(mixed[row], expected[name][row]), name
    assert len(bank.resident()) == 4
    bank.add("e", partial(read_adapter, tmp_path / "a"))
    assert len(bank.resident()) == 2, "what one large batch needed stays for good"
    for name in "cab":
        assert near(served(bank, [name] * 6), expected[name]), name


def test_an_adapter_that_is_gone_from_disk_fails_its_own_calls_alone(tmp_path: Path) -> None:
    expected = trained("bert", tmp_path / "a", "lora")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    bank = AdapterBank(fresh("bert"), max_resident=1)
    for name in "ab":
        bank.add(name, partial(read_adapter, tmp_path / name))
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(ModelError, match="no such adapter folder"):
        served(bank, ["b", "a"])
    assert all(part.pins == 0 for one in bank._names.values() for part in one.parts)
    assert near(served(bank, ["b"] * 6), expected)
    bank.remove("a")
    bank.remove("b")
    assert bank.names() == []


def test_removal_under_a_lease(tmp_path: Path) -> None:
    expected = trained("bert", tmp_path / "a", "dora")
    bank = AdapterBank(fresh("bert"), max_resident=1)
    bank.add("a", partial(read_adapter, tmp_path / "a"))
    other = low_rank(4, 3, PLACES)
    with bank.lease(["a"] * 6) as lease:
        bank.remove("a")
        assert bank.names() == []
        bank.add("a", lambda: other)  # the name is free at once, the slot is not
        bank.add("b", lambda: other)
        with lease.rows(range(6)):
            assert near(outputs(bank.body), expected)
        assert near(served(bank, ["a"] * 6), lone(other))
        with lease.rows([3, 1]):
            assert near(outputs(bank.body, slice(0, 2)), expected[:2])
    assert near(served(bank, ["a"] * 6), lone(other))
    bank.add("c", lambda: other)
    assert bank.slots._count <= 4


def test_unknown_names_are_listed_and_nothing_is_done() -> None:
    bank = AdapterBank(fresh("bert"))
    with pytest.raises(ModelError, match=r"no adapter is called 'x' Add it with add_adapter\(\) first"):
        served(bank, ["x"])
    reads: list[str] = []

    def read() -> AdapterWeights:
        reads.append("polite")
        return low_rank(1, 2, PLACES)

    bank.add("polite", read)
    bank.remove("polite")
    bank.slots.max_resident = 1
    bank.add("polite", read)
    bank.add("formal", lambda: low_rank(2, 2, PLACES))
    before = len(reads)
    with pytest.raises(ModelError, match=r"no adapter is called 'polit', 'x y' Did you mean 'polite'\?"):
        served(bank, ["polit", "polite", None, "x y", "polit", "formal"])
    assert len(reads) == before
    assert bank.resident() == ["formal"]
    assert all(part.pins == 0 for one in bank._names.values() for part in one.parts)
    with pytest.raises(ModelError, match="no adapter is called 'polit'"):
        bank.remove("polit")


def test_a_name_is_given_once() -> None:
    bank = AdapterBank(fresh("bert"))
    one, two = low_rank(1, 2, PLACES), low_rank(2, 2, PLACES)
    bank.add("x", lambda: one)
    with pytest.raises(ModelError, match="there is an adapter 'x' already Remove it first"):
        bank.add("x", lambda: two)
    assert near(served(bank, ["x"] * 6), lone(one))
    bank.remove("x")
    bank.add("x", lambda: two)
    assert near(served(bank, ["x"] * 6), lone(two))


def bad(**changes: Any) -> AdapterWeights:
    """An adapter of one LoRA matrix pair with these tensors changed."""
    parts: dict[str, Any] = {"down": torch.ones(2, 64), "up": torch.ones(64, 2), "magnitude": None} | changes
    return AdapterWeights(low_rank={"encoder.layer.1.attention.self.query": LowRank(**parts)})


def bad_bottleneck(**changes: Any) -> AdapterWeights:
    parts: dict[str, Any] = {"down": torch.ones(2, 64), "down_bias": torch.ones(2), "up": torch.ones(64, 2), "up_bias": torch.ones(64)}
    place = changes.pop("place", (1, "output"))
    return AdapterWeights(bottlenecks={place: Bottleneck(**{**parts, "activation": "relu", "form": "after", **changes})})


MISFITS = {
    "wider base": (bad(down=torch.ones(2, 96)), r"another base: at encoder.layer.1.attention.self.query it has the shape \(2, 96\)"),
    "taller base": (bad(up=torch.ones(96, 2)), r"shape \(96, 2\), the base asks for \(64, 2\) Load the base it was trained on"),
    "ranks that differ": (bad(up=torch.ones(64, 3)), r"query it has the shape \(64, 3\), the base asks for \(64, 2\)"),
    "short magnitude": (bad(down=torch.ones(2, 64), magnitude=torch.ones(1)), r"query it has the shape \(1,\), the base asks for \(64,\)"),
    "no such module": (
        AdapterWeights(low_rank={"layers.0.self_attn.q_proj": LowRank(torch.ones(2, 64), torch.ones(64, 2))}),
        r"another base: it changes 'layers.0.self_attn.q_proj', which 'bert' here does not have",
    ),
    "a head": (
        AdapterWeights(low_rank={"classifier": LowRank(torch.ones(2, 64), torch.ones(64, 2))}),
        r"another base: it changes 'classifier', which 'bert' here does not have",
    ),
    "no linear layer": (
        AdapterWeights(scales={"embeddings.word_embeddings": Scale(torch.ones(64), False)}),
        r"changes 'embeddings.word_embeddings', a Embedding, which is no linear layer",
    ),
    "long vector": (
        AdapterWeights(scales={"encoder.layer.0.output.dense": Scale(torch.ones(64), True)}),
        r"at encoder.layer.0.output.dense it has the shape \(64,\), the base asks for \(128,\)",
    ),
    "wider bottleneck": (
        bad_bottleneck(down=torch.ones(2, 96)),
        r"at the output block 1 it has the shape \(2, 96\), the base asks for \(2, 64\)",
    ),
    "half a bottleneck": (bad_bottleneck(up=torch.ones(64, 5)), r"the output block 1"),
    "bottleneck of other height": (bad_bottleneck(up=torch.ones(96, 2)), r"the output block 1"),
    "bottleneck bias": (bad_bottleneck(up_bias=torch.ones(2)), r"the output block 1"),
    "more layers": (bad_bottleneck(place=(2, "output")), r"more layers: this one has no output block 2"),
    "unknown activation": (bad_bottleneck(activation="wobble"), r"activation 'wobble' is not known"),
}


@pytest.mark.parametrize("case", sorted(MISFITS))
def test_what_does_not_fit_the_base_is_refused(case: str) -> None:
    weights, message = MISFITS[case]
    bank = AdapterBank(fresh("bert"))
    plain = outputs(bank.body)
    bank.add("good", lambda: low_rank(1, 2, PLACES))
    with pytest.raises(ModelError, match=message):
        bank.add("bad", lambda: weights)
    assert bank.names() == ["good"] == bank.resident()
    assert torch.equal(served(bank, [None] * 6), plain)
    bank.add("bad", lambda: low_rank(2, 2, PLACES))


def test_a_failure_while_placing_leaves_the_bank_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory may run out in the middle of an addition."""
    bank = AdapterBank(fresh("bert"))
    made = {f"a{i}": low_rank(i, 2, PLACES) for i in range(3)}
    for name, weights in made.items():
        bank.add(name, lambda weights=weights: weights)  # type: ignore[misc]
    calls = 0
    fitting = Slots._fitting

    def failing(self: AdapterBank, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 8 == 5:
            raise torch.OutOfMemoryError("no memory left")
        return fitting(self, *args)

    monkeypatch.setattr(Slots, "_fitting", failing)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            bank.add("b", lambda: low_rank(9, 40, PLACES, dora=True))
        calls = 0
    monkeypatch.undo()
    assert bank.names() == ["a0", "a1", "a2"]
    for i in range(3, 7):
        made[f"a{i}"] = low_rank(i, 2, PLACES[:3])
        bank.add(f"a{i}", lambda i=i: made[f"a{i}"])  # type: ignore[misc]
    for name, weights in made.items():
        assert near(served(bank, [name] * 6), lone(weights)), name


def test_adding_inside_inference_mode_is_no_different() -> None:
    one, two = low_rank(1, 2, PLACES), low_rank(2, 5, PLACES)
    bank = AdapterBank(fresh("bert"))
    with torch.inference_mode():
        bank.add("one", lambda: one)
        bank.add("gone", lambda: two)
    bank.remove("gone")
    bank.add("two", lambda: two)
    assert near(served(bank, ["one"] * 6), lone(one))
    assert near(served(bank, ["two"] * 6), lone(two))


def test_bottlenecks_need_a_known_architecture() -> None:
    bank = AdapterBank(T.AlbertModel(T.AlbertConfig(**SIZES, embedding_size=32)).eval())
    with pytest.raises(ModelError, match="where bottleneck adapters stand in the architecture 'albert' is not known"):
        bank.add("x", lambda: bad_bottleneck())
