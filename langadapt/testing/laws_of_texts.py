"""Laws of what takes texts apart: normalizers, tokenizer trainers, vocab-inits, embeddings, engines and sources."""

from __future__ import annotations

from typing import Any

import numpy as np

from langadapt.contracts.data import Offer
from langadapt.modeling.loading import load_tokenizer, save_tokenizer
from langadapt.testing.laws import Case, law, reads_resources
from langadapt.testing.toys import SENTENCES, TEXTS, WIDTH, trained_tokenizer

ODD = ("", " ", "\n", "a\u0301", "क्\u200dष", "ﷺ", "😀 x", "İ", "ß", "\u200b", "0１२", "a  b", "—", "한\u1100")
"""Texts on which rules that look harmless are not."""


@law("normalizer")
def twice_is_once(case: Case) -> None:
    """A text that went through it is left as it is; rules baked into a release are the same rules."""
    from tokenizers import NormalizedString

    fast = case.component.fast()
    for text in (*SENTENCES, *ODD):
        once = case.component.normalize(text)
        assert case.component.normalize(once) == once, f"{text!r} becomes {once!r}, and that something else"
        if fast is not None:
            baked = NormalizedString(text)
            fast.normalize(baked)
            assert baked.normalized.strip() == once.strip(), f"{text!r} is {once!r} in training and {baked.normalized!r} in a release"


def _trained(case: Case) -> Any:
    return case.component.train(list(TEXTS), case.toy.tokenizer(), case.toy.context(case.folder))


@law("tokenizer")
def its_tokenizer_lasts(case: Case) -> None:
    """Saved and loaded it cuts texts the same way, and the same texts give the same bytes."""
    (case.folder / "one").mkdir()
    (case.folder / "other").mkdir()
    found = _trained(case)
    save_tokenizer(found, case.folder / "one")
    save_tokenizer(_trained(case), case.folder / "other")
    for file in (case.folder / "one").iterdir():
        assert file.read_bytes() == (case.folder / "other" / file.name).read_bytes(), f"{file.name} differs from run to run"
    again = load_tokenizer(case.folder / "one")
    assert again(list(SENTENCES))["input_ids"] == found(list(SENTENCES))["input_ids"]


@law("tokenizer")
def its_tokenizer_frames_texts(case: Case) -> None:
    """It has the tokens that training asks for, one row each, and spells what it was trained on."""
    found = _trained(case)
    assert found.pad_token_id is not None
    assert found.mask_token_id is not None
    assert sorted(found.get_vocab().values()) == list(range(len(found))), "ids are not 0, 1, 2 …"
    ids = found(list(SENTENCES))["input_ids"]
    framed = found.build_inputs_with_special_tokens([]) if not ids else ids[0]
    assert framed[0] in found.all_special_ids, "a text does not begin with a special token"
    unknown = sum(one.count(found.unk_token_id) for one in ids) / sum(map(len, ids))
    assert unknown < 0.05, f"{unknown:.0%} of its own training text is unknown to it"


@law("vocab-init")
def what_is_copied_is_exact(case: Case) -> None:
    """A row a token, none empty; a token that says it was copied has the old token's row, in input and output alike."""
    from langadapt.modeling.surgery import apply_mixture, vocab_of

    loaded, ctx = case.toy.loaded(), case.toy.context(case.folder)
    tokenizer = trained_tokenizer(220, tuple(TEXTS[40:]))
    old, new = vocab_of(loaded.tokenizer, loaded.model), vocab_of(tokenizer)
    mixture = case.component.mixture(old, new, list(SENTENCES), ctx)
    assert len(mixture.provenance) == len(new.tokens)
    assert mixture.weights.shape == (len(new.tokens), len(old.tokens))
    assert old.rows is not None
    before, places = old.rows.copy(), {token: i for i, token in enumerate(old.tokens)}
    apply_mixture(loaded.model, mixture, loaded.tokenizer, tokenizer)
    rows: Any = loaded.model.get_input_embeddings()
    outputs: Any = loaded.model.get_output_embeddings()
    assert outputs.weight is rows.weight or outputs.weight.shape == rows.weight.shape, "output rows do not follow"
    after = rows.weight.detach().numpy()
    assert np.isfinite(after).all()
    assert np.abs(after).sum(1).min() > 0, "a token has a row of zeros"
    for index, (token, origin) in enumerate(zip(new.tokens, mixture.provenance, strict=True)):
        if origin == "copied" and token in places:
            assert np.array_equal(after[index], before[places[token]]), f"'{token}' says that it was copied, and its row is another"


@law("embedding")
def it_has_a_row_for_every_token(case: Case) -> None:
    """Finite rows of the asked width, the same in training and evaluation, whatever else is asked for with them."""
    import torch

    tokenizer = case.toy.tokenizer()
    ids = torch.arange(len(tokenizer))
    torch.manual_seed(0)
    module = case.component.build(tokenizer, WIDTH)
    rows = module(ids).detach()
    torch.manual_seed(1)
    again = case.component.build(case.toy.tokenizer(), WIDTH)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(ids).detach(), rows), "another build gives other rows: a stage would train on another table than the last"
    assert rows.shape == (len(tokenizer), WIDTH)
    assert bool(torch.isfinite(rows).all())
    assert len({tuple(row) for row in rows.tolist()}) > len(rows) // 2, "most tokens have one and the same row"
    assert torch.allclose(module.eval()(ids[3:9].view(2, 3)).detach(), rows[3:9].view(2, 3, WIDTH), atol=1e-6)


@law("translator")
def its_offer_is_cheap(case: Case) -> None:
    """It says whether it serves a pair, and what it needs if not, for any pair."""
    for pair in (("en", "mr"), ("xx", "yy")):
        offer = case.component.offer(*pair)
        assert isinstance(offer, Offer)
        assert offer.ready or offer.needs, "it cannot serve a pair and does not say what it needs"


@law("source", "generator")
def its_fingerprint_stays(case: Case) -> None:
    """What it carries or asks has one identity, as plain text, however often it is asked."""
    found = case.component.fingerprint()
    assert isinstance(found, str)
    assert found
    again: Any = case.component
    if not reads_resources(case.component):
        again = case.toy.registry.build(case.component.kind, case.component.slot())
    assert again.fingerprint() == found
