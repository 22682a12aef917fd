"""Vocabulary surgery: one place that moves an encoder onto another tokenizer, whole.

A vocab-init proposes a mixture; this module alone applies it, to input rows, to output rows (tied or not) *and to the
output bias*, and corrects special-token ids and sizes in the config.  A copied token keeps its input row, its output row
and its bias, so its logits stay identical; most published scripts leave the bias in its old order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from langadapt.contracts.vocabulary import Mixture, Vocab
from langadapt.errors import ModelError
from langadapt.modeling.framing import inputs_of
from langadapt.modeling.heads import output_biases, output_layer, set_output_bias
from langadapt.modeling.positions import counts_from_padding
from langadapt.modeling.token_ids import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


SPECIAL_ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")


def size_of(tokenizer: PreTrainedTokenizerFast) -> int:
    """Rows that a tokenizer needs: its highest id and one.  Numbering may have holes, so that there are fewer tokens."""
    return 1 + int(max(tokenizer.get_vocab().values()))


def vocab_of(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel | None = None) -> Vocab:
    """A tokenizer (and the input rows of a model) as vocab-inits see them."""
    size = size_of(tokenizer)
    tokens = [token if token is not None else "" for token in tokenizer.convert_ids_to_tokens(list(range(size)))]
    special = {role: getattr(tokenizer, f"{role}_token_id") for role in SPECIAL_ROLES}
    rows = None
    if model is not None:
        rows = model.get_input_embeddings().weight.detach().float().numpy()[:size]
    return Vocab(tokens, tokenizer, {role: i for role, i in special.items() if i is not None}, rows, model)


def unigram_log_probabilities(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> np.ndarray:
    """log p of each token in the texts, add-one smoothed: (V,) float32."""
    counts = np.ones(size_of(tokenizer), dtype=np.float64)
    block: list[str] = []

    def flush() -> None:
        for ids in token_ids(tokenizer, block, special_tokens=False):
            np.add.at(counts, ids, 1)
        block.clear()

    for text in texts:
        block.append(text)
        if len(block) == 1024:
            flush()
    flush()
    found: np.ndarray = np.log(counts / counts.sum()).astype(np.float32)
    return found


def apply_mixture(
    model: PreTrainedModel,
    mixture: Mixture,
    old: PreTrainedTokenizerFast,
    new: PreTrainedTokenizerFast,
    log_probabilities: np.ndarray | None = None,
) -> None:
    """Replace the vocabulary of a model in place.

    Args:
        model: an encoder, with or without a masked-LM head.
        mixture: weights (V_new, V_old) and rows; see :class:`langadapt.registry.kinds.Mixture`.
        old, new: the tokenizers before and after.
        log_probabilities: (V_new,) log-unigram of the new tokens, for the bias of tokens that are not copied; None
            mixes their biases like their rows.

    Raises:
        ModelError: the mixture does not cover the new vocabulary or has a number that is not finite, or the architecture fixes the
            padding id to another, or has rows of the vocabulary in other places too.
    """
    if model.config.model_type == "mpnet" and new.pad_token_id != old.pad_token_id:
        raise ModelError(
            f"'mpnet' counts positions from padding id {old.pad_token_id}, but the new tokenizer pads with {new.pad_token_id}",
            hint="Use the tokenizer 'unigram' or 'prune', which keep that id.",
        )
    _check_places(model)
    size_old, size_new = size_of(old), size_of(new)
    weights = mixture.weights
    if weights.shape != (size_new, size_old) or len(mixture.provenance) != size_new:
        raise ModelError(f"the vocab-init proposes {weights.shape} weights for {size_new} new and {size_old} old tokens")
    uncovered = np.flatnonzero((np.diff(weights.indptr) == 0) & ~np.isin(np.arange(size_new), list(mixture.rows)))
    if len(uncovered):
        raise ModelError(
            f"the vocab-init leaves {len(uncovered)} tokens without a row, first '{new.convert_ids_to_tokens(int(uncovered[0]))}'"
        )
    embeddings: Any = model.get_input_embeddings()
    found, bias = output_layer(model)
    decoder: Any = found
    tied = decoder is not None and decoder.weight is embeddings.weight
    rows = _mixed(embeddings.weight, mixture, size_old)
    broken = np.flatnonzero(~np.isfinite(rows.numpy()).all(1))
    if len(broken):
        raise ModelError(
            f"the vocab-init gives {len(broken)} tokens a row with a number that is not finite, "
            f"first '{new.convert_ids_to_tokens(int(broken[0]))}'",
            hint="Check the base's own rows, and the vectors that the vocab-init reads.",
        )
    outputs = _mixed_outputs(decoder.weight, embeddings.weight, mixture, size_old) if decoder is not None and not tied else None
    new_bias = _bias(bias, mixture, size_old, log_probabilities) if bias is not None else None
    pad = new.pad_token_id
    if pad is not None and embeddings.padding_idx is not None and old.pad_token_id is not None:
        rows[pad] = embeddings.weight.detach()[old.pad_token_id].float()
    _replace(embeddings, rows, pad if embeddings.padding_idx is not None else None)
    if pad is not None and old.pad_token_id is not None and pad != old.pad_token_id:
        _move_positions(model, old.pad_token_id, pad)
    if decoder is not None:
        decoder.weight = embeddings.weight if tied else nn.Parameter(_required(outputs))
        decoder.out_features = size_new
        if new_bias is not None:
            set_output_bias(model, new_bias)
    _configure(model, new, size_new)


def _check_places(model: PreTrainedModel) -> None:
    """Refuse a head with more than output rows and their bias to move: MobileBERT's has further columns.

    Raises:
        ModelError: there is such a place.
    """
    embeddings: Any = model.get_input_embeddings()
    rows, *others = embeddings.weight.shape
    decoder, _ = output_layer(model)
    moved = {id(getattr(decoder, "weight", None)), *map(id, output_biases(model)), *map(id, model.base_model.parameters())}
    for name, parameter in model.named_parameters():
        if id(parameter) not in moved and rows in parameter.shape and rows not in (*others, model.config.hidden_size):
            raise ModelError(
                f"'{model.config.model_type}' keeps something for each of the {rows:,} tokens in '{name}', which surgery does not move",
                hint="Choose a base of another architecture, or keep its vocabulary.",
            )


def _required(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None
    return tensor


def _mixed(weight: torch.Tensor, mixture: Mixture, size_old: int) -> torch.Tensor:
    """(V_new, d) rows; copied rows are taken over bit for bit."""
    old = weight.detach().float().numpy()[:size_old]
    rows = np.asarray(mixture.weights @ old, dtype=np.float32)
    copied = _copied(mixture)
    if len(copied):
        rows[copied] = old[mixture.weights.indices[mixture.weights.indptr[copied]]]
    for index, row in mixture.rows.items():
        rows[index] = row
    return torch.from_numpy(rows)


def _mixed_outputs(weight: torch.Tensor, inputs: torch.Tensor, mixture: Mixture, size_old: int) -> torch.Tensor:
    """(V_new, d_out) rows of an untied output layer: mixed as the inputs are.

    A row set outright belongs to the space of the inputs.  Its output row is what the weights mix, and where there are none the mean of
    the old output rows, as far from it, in deviations of each side, as the input row is from theirs.
    """
    old, of_inputs = (matrix.detach().float().numpy()[:size_old] for matrix in (weight, inputs))
    rows = _mixed(weight, Mixture(mixture.weights, mixture.provenance), size_old).numpy()
    outright = [i for i in mixture.rows if mixture.weights.indptr[i] == mixture.weights.indptr[i + 1]]
    rows[outright] = old.mean(0)
    if outright and old.shape[1] == of_inputs.shape[1]:
        apart = (np.stack([mixture.rows[i] for i in outright]) - of_inputs.mean(0)) / np.maximum(of_inputs.std(0), 1e-12)
        rows[outright] += apart * old.std(0)
    return torch.from_numpy(rows)


def _copied(mixture: Mixture) -> np.ndarray:
    """New ids whose row is one old row with weight 1."""
    single = np.flatnonzero(np.diff(mixture.weights.indptr) == 1)
    single = single[~np.isin(single, list(mixture.rows))]
    ones: np.ndarray = single[mixture.weights.data[mixture.weights.indptr[single]] == 1.0]
    return ones


def _bias(bias: torch.Tensor, mixture: Mixture, size_old: int, log_probabilities: np.ndarray | None) -> torch.Tensor:
    """Copied tokens keep their bias; new ones get their log-unigram, shifted to the scale of the copied ones."""
    old = bias.detach().float().numpy()[:size_old]
    mixed = np.asarray(mixture.weights @ old, dtype=np.float32)
    copied = _copied(mixture)
    kept = old[mixture.weights.indices[mixture.weights.indptr[copied]]]
    mixed[np.diff(mixture.weights.indptr) == 0] = kept.mean() if len(kept) else 0.0  # else a new token would win over every old one
    if log_probabilities is not None:
        shift = float(np.mean(kept) - np.mean(log_probabilities[copied])) if len(copied) else 0.0
        mixed = log_probabilities + np.float32(shift)
    mixed[copied] = kept
    return torch.from_numpy(np.ascontiguousarray(mixed, dtype=np.float32))


def _replace(embeddings: Any, rows: torch.Tensor, padding_idx: int | None) -> None:
    embeddings.weight = nn.Parameter(rows)
    embeddings.num_embeddings = rows.shape[0]
    embeddings.padding_idx = padding_idx


def _move_positions(model: PreTrainedModel, old_pad: int, new_pad: int) -> None:
    """RoBERTa and its kin count positions from the padding id on: the position rows move along with it."""
    for module in model.base_model.modules():
        table: Any = getattr(module, "position_embeddings", None)
        if not isinstance(table, nn.Embedding) or table.padding_idx is None:
            continue
        rows = table.weight.detach()
        rows = torch.cat([rows[old_pad].expand(new_pad + 1, -1), rows[old_pad + 1 :]])
        _replace(table, rows, new_pad)
        places: Any = module
        places.padding_idx = new_pad
        places.position_ids = torch.arange(len(rows)).expand((1, -1))
        places.token_type_ids = torch.zeros((1, len(rows)), dtype=torch.int64)
        model.config.max_position_embeddings = model.base_model.config.max_position_embeddings = len(rows)


TWINS = {"bos": "cls", "cls": "bos", "eos": "sep", "sep": "eos"}
"""Roles that encoders fill with one token, and of which a tokenizer may name only one."""


def _configure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, size: int) -> None:
    configs = [model.config] if model.base_model.config is model.config else [model.config, model.base_model.config]
    for config in configs:
        config.vocab_size = size
        _set_special_ids(config, tokenizer)
        if hasattr(config, "pad_token_id"):
            config.pad_token_id = tokenizer.pad_token_id
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        _set_special_ids(generation, tokenizer)


def _set_special_ids(config: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Ids of the roles that a config names already."""
    for role in SPECIAL_ROLES:
        if getattr(config, f"{role}_token_id", None) is None:
            continue
        setattr(config, f"{role}_token_id", _special_id(tokenizer, role))


def _special_id(tokenizer: PreTrainedTokenizerFast, role: str) -> int | None:
    """The id of a role, or of its twin."""
    found: int | None = getattr(tokenizer, f"{role}_token_id")
    return found if found is not None or role not in TWINS else getattr(tokenizer, f"{TWINS[role]}_token_id")


def agree_on_inputs(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel, names: Iterable[str] | None = None) -> None:
    """Let a tokenizer make the inputs that a model takes, and no other, here and wherever it is saved and loaded.

    Args:
        names: inputs to choose from; None takes the tokenizer's own.
    """
    taken = inputs_of(model)
    if getattr(model.config, "type_vocab_size", 2) < 2:  # a second text would be told by a row that is not there
        taken.discard("token_type_ids")
    kept = [name for name in names or tokenizer.model_input_names if name in taken]
    tokenizer.model_input_names = kept
    tokenizer.init_kwargs["model_input_names"] = kept


def give_padding(tokenizer: PreTrainedTokenizerFast) -> None:
    """Name a padding token where a tokenizer has none, as decoders' often have not: other loaders cannot batch without one.

    The mask hides what stands there, so any token will do; one that ends a text is what everybody takes.
    """
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)


def disagreements(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> list[str]:
    """Special tokens whose ids a model's config and a tokenizer name differently, in words.

    Padding counts only where positions are counted from it; what ends a decoder's text is a matter of taste.
    """
    kind = model.config.model_type
    roles = ["cls", "sep", "mask"]
    if kind in FROM_PADDING:
        roles += ["bos", "eos", "pad"]
    elif counts_from_padding(model):
        roles += ["pad"]
    found = []
    for role in roles:
        stated, own = getattr(model.config, f"{role}_token_id", None), _special_id(tokenizer, role)
        if isinstance(stated, int) and own is not None and stated != own:
            found.append(f"{role} is {stated} in the config and {own} in the tokenizer")
    return found


FROM_PADDING = ("roberta", "xlm-roberta", "camembert")
"""Architectures that count positions from the padding id and name every text's end."""
