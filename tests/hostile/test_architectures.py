"""Every architecture does what its library does, or is refused in plain words; a part of the matrix in the gate, all of it by mark."""

from __future__ import annotations

import pytest
from matrix import COLUMNS, KINDS, Verdict, attempt  # type: ignore[import-not-found]

from langadapt.registry.registry import Registry

pytestmark = pytest.mark.usefixtures("one_thread")

IN_THE_GATE = (
    *(("encode", kind) for kind in ("bert", "xlm-roberta", "mpnet", "gpt2", "bloom", "modernbert", "xlnet", "opt", "t5", "fnet", "funnel")),
    *(("MLM", kind) for kind in ("bert", "distilbert", "electra", "albert", "modernbert", "xlm-roberta", "bart")),
    *(("extend", kind) for kind in ("bert", "gpt2")),
    *(("release", kind) for kind in ("gpt2", "mpnet", "xlnet", "longformer")),
    ("LoRA", "deberta-v2"),
    ("bottleneck", "gpt2"),
)

REFUSED = {"bart": "encoder-decoder", "fnet": "attention mask", "funnel": "padding"}
"""Architectures that no column takes, and a word of the reason."""


@pytest.mark.adapters
@pytest.mark.parametrize(("column", "kind"), IN_THE_GATE)
def test_an_architecture_is_right_or_refused(column: str, kind: str, registry: Registry) -> None:
    found: Verdict = attempt(column, kind, registry)
    if kind in REFUSED:
        assert (found.word, REFUSED[kind] in found.why) == ("no", True), found
    else:
        assert found.word == "yes", found


@pytest.mark.hostile
@pytest.mark.adapters
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", COLUMNS)
def test_every_architecture_is_right_or_refused(column: str, kind: str, registry: Registry) -> None:
    found: Verdict = attempt(column, kind, registry)
    assert found.word in ("yes", "no"), found


def test_the_matrix_sees_a_wrong_vector(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without token types, a GPT-2 with a generic tokenizer gives other vectors than transformers: the matrix must say so."""
    from langadapt.artifacts import encoder as encoders

    monkeypatch.setattr(encoders, "type_frame", lambda tokenizer, model: None)
    assert attempt("encode", "gpt2", registry).word == "WRONG"
