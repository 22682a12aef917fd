"""Masked-LM heads of the architectures, at chosen positions only.

A dense head computes (B, T, V) logits of which 85 % are thrown away; here the states of the masked positions are
gathered first.  Each architecture keeps its head under other names, so one small function knows each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from langadapt.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def mlm_logits(model: PreTrainedModel, states: torch.Tensor) -> torch.Tensor:
    """Logits of a masked-LM head for states (m, d) → (m, V).

    Raises:
        ModelError: the architecture's head is not known.
    """
    head: Any = model
    kind = model.config.model_type
    if hasattr(model, "vocab_projector"):  # DistilBERT
        hidden = model.vocab_layer_norm(head.activation(head.vocab_transform(states)))
        return head.vocab_projector(hidden)  # type: ignore[no-any-return]
    if hasattr(model, "generator_predictions"):  # ELECTRA's generator
        return head.generator_lm_head(head.generator_predictions(states))  # type: ignore[no-any-return]
    if hasattr(model, "head") and hasattr(model, "decoder"):  # ModernBERT
        return head.decoder(head.head(states))  # type: ignore[no-any-return]
    if hasattr(model, "lm_head"):  # RoBERTa, XLM-R, CamemBERT
        return head.lm_head(states)  # type: ignore[no-any-return]
    if hasattr(model, "predictions"):  # ALBERT
        return head.predictions(states)  # type: ignore[no-any-return]
    if hasattr(model, "cls"):  # BERT, DeBERTa
        return head.cls(states)  # type: ignore[no-any-return]
    raise ModelError(f"the masked-LM head of '{kind}' is not known", hint="Choose a base of another architecture.")


def output_layer(model: PreTrainedModel) -> tuple[torch.nn.Module | None, torch.nn.Parameter | None]:
    """(decoder module, output bias (V,)) of a masked-LM model; None where there is none.

    The bias is one per vocabulary entry and belongs to the token, not to the row number: surgery must move it.

    Raises:
        ModelError: the architecture's head is not known.
    """
    if hasattr(model, "lm_predictions"):  # transformers names a layer inside this head as its output rows
        raise ModelError(f"the masked-LM head of '{model.config.model_type}' without 'legacy' in its config is not known")
    decoder = model.get_output_embeddings()
    if decoder is None:
        return None, None
    return decoder, next(iter(output_biases(model)), None)


def output_biases(model: PreTrainedModel) -> list[torch.nn.Parameter]:
    """The output bias, once for each place that keeps it; places may share one parameter."""
    found = (getattr(place, "bias", None) for place in _bias_places(model))
    return [bias for bias in found if isinstance(bias, torch.nn.Parameter)]


def _bias_places(model: PreTrainedModel) -> list[Any]:
    """Modules that may keep the output bias, under the name `bias`."""
    predictions = getattr(getattr(model, "cls", None), "predictions", None)
    places = (model.get_output_embeddings(), predictions, getattr(model, "lm_head", None), getattr(model, "predictions", None))
    return [place for place in places if place is not None]


def separate_biases(model: PreTrainedModel) -> None:
    """Give every place that keeps the output bias a parameter of its own, each with the same values."""
    biases = output_biases(model)
    for place in {id(place): place for place in _bias_places(model)}.values() if biases else ():
        if isinstance(getattr(place, "bias", None), torch.nn.Parameter):
            place.bias = torch.nn.Parameter(biases[0].detach().clone())


def set_output_bias(model: PreTrainedModel, bias: torch.Tensor) -> None:
    """Replace the output bias everywhere the architecture keeps it.

    Places that shared one parameter share the new one; places with parameters of their own (an untied head on transformers 5)
    keep their own: a shared one would be written once and missed when the checkpoint is read.
    """
    fresh: dict[int, torch.nn.Parameter] = {}
    for place in _bias_places(model):
        old = getattr(place, "bias", None)
        if isinstance(old, torch.nn.Parameter) and id(old) not in map(id, fresh.values()):
            place.bias = fresh.setdefault(id(old), torch.nn.Parameter(bias.clone()))
