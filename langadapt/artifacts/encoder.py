"""An encoder on disk: a transformers checkpoint, its tokenizer, and ``encoder.json`` with what makes vectors of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from langadapt.artifacts import adapter as adapters
from langadapt.artifacts import sentence_folder, vocabulary
from langadapt.contracts.encoder import EncoderSettings
from langadapt.contracts.vectors import Pooler
from langadapt.contracts.vocabulary import Embedding
from langadapt.errors import ModelError
from langadapt.files import stamps, write_json
from langadapt.modeling.checkpoint_folder import header
from langadapt.modeling.computed_rows import fold, install
from langadapt.modeling.encoder import EncoderModule
from langadapt.modeling.framing import PairFrame, type_frame
from langadapt.modeling.loading import load_model, load_tokenizer, save_checkpoint
from langadapt.modeling.positions import room
from langadapt.modeling.surgery import size_of
from langadapt.settings_files import read_settings_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SETTINGS, TRANSFORMS = "encoder.json", "transforms.safetensors"
POOLING, OUTPUT, EMBEDDING = "pooler.safetensors", "output.safetensors", "embedding.safetensors"
SCORER = "scorer.json"
"""What tells a scorer's folder from an encoder's."""


@dataclass
class LoadedEncoder:
    """An encoder in memory: weights, tokenizer and settings."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    settings: EncoderSettings
    transforms: list[tuple[Any, Any]] = dataclasses.field(default_factory=list)
    origins: vocabulary.Origins | None = None
    """Where the rows of its vocabulary came from, if it was ever moved."""
    checkpoint: Path | None = None
    """The folder its weights were read from."""
    pooling: Any = None
    """The pooler's weights: as a module once there is one, before that as tensors by name."""
    output: dict[str, Any] | None = None
    """What the transform that `settings.output` names was fitted to: arrays by name."""
    embedding: Any = None
    """Weights of what computes the input rows: as a module while it does, before that as tensors by name."""

    def module(self, pooler: Pooler, budget: int = 4096) -> EncoderModule:
        """The encoder as one module; `pooler` is the component that the settings name.

        Raises:
            ModelError: weights of another pooler lie beside the encoder's.
        """
        if pooler.gives == "multi" and self.transforms:
            raise ModelError(
                f"'{pooler.name}' gives a vector a token, and the encoder's fitted maps are for one a text",
                where=str(self.checkpoint),
                hint="Start from the encoder before they were fitted.",
            )
        types = type_frame(self.tokenizer, self.model)
        pairs, length = partial(PairFrame.of, self.tokenizer), self.settings.max_length
        found = EncoderModule(self.model, pooler, pad_id(self.tokenizer), self.transforms, budget, types, pairs, length)
        if self.pooling is not None and found.pooling is not None:
            tensors = self.pooling if isinstance(self.pooling, dict) else self.pooling.state_dict()
            _put_in(found.pooling, tensors, f"pooler '{pooler.name}'", self.checkpoint)
        self.pooling = found.pooling
        return found

    def choose_embedding(self, slot: dict[str, Any] | None) -> None:
        """Have input rows computed in another way, or by nothing; weights of what computed them before are dropped."""
        if slot != self.settings.embedding:
            self.settings, self.embedding = self.settings.with_(embedding=None), None

    def compute_rows(self, component: Embedding) -> None:
        """Let a component compute the input rows from now on, with the weights that lie beside the encoder, if any do.

        Raises:
            ModelError: it cannot serve this tokenizer, or the weights beside the encoder are of another.
        """
        plain: Any = self.model.get_input_embeddings()
        rows = component.build(self.tokenizer, int(plain.weight.shape[1]))
        learns = any(True for _ in rows.parameters())
        again = self.settings.embedding == component.slot()
        if isinstance(self.embedding, dict):
            _put_in(rows, self.embedding, f"embedding '{component.name}'", self.checkpoint)
        elif again and learns and self.embedding is None and self.checkpoint is not None:
            raise ModelError(
                f"there are no weights of its embedding '{component.name}' ({EMBEDDING})",
                where=str(self.checkpoint),
                hint="Copy the whole folder again; an embedding that learns is trained with its encoder.",
            )
        install(self.model, rows, size_of(self.tokenizer))
        self.embedding, self.settings = rows, self.settings.with_(embedding=component.slot())

    @property
    def has_mlm_head(self) -> bool:
        """Whether the model can predict tokens."""
        return self.model.base_model is not self.model

    def choose_pooler(self, slot: dict[str, Any]) -> None:
        """Pool in another way; weights of the pooler before are dropped."""
        if slot != self.settings.pooler:
            # What vectors were stored through was fitted on the old ones.
            self.settings, self.pooling, self.output = self.settings.with_(pooler=slot, output=None), None, None


def _put_in(module: Any, tensors: dict[str, Any], what: str, checkpoint: Path | None) -> None:
    """Give a module of an encoder the weights that lie beside it."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise ModelError(f"the weights of its {what} do not fit: {problem}", where=str(checkpoint)) from error


def pad_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """Id of the padding token; 0 where a tokenizer has none (the mask hides what stands there)."""
    found = tokenizer.pad_token_id
    return 0 if found is None else int(found)


def save(encoder: LoadedEncoder, folder: Path) -> None:
    """Write checkpoint, tokenizer and settings; equal weights give equal bytes.  Rows that are computed become a matrix."""
    fold(encoder.model)
    save_checkpoint(encoder.model, encoder.tokenizer, folder)
    save_settings(encoder, folder)


def save_settings(encoder: LoadedEncoder, folder: Path) -> None:
    """Write what makes vectors of the states, beside a checkpoint."""
    settings = encoder.settings.with_(transforms=len(encoder.transforms))
    if encoder.origins is not None:
        vocabulary.save(encoder.origins, folder)
    write_json(folder / SETTINGS, dataclasses.asdict(settings))
    from safetensors.torch import save_file

    for part, name in ((encoder.pooling, POOLING), (encoder.embedding, EMBEDDING)):
        weights = part if isinstance(part, dict) else part.state_dict() if part is not None else {}
        if weights:
            save_file({key: value.detach().cpu().contiguous() for key, value in weights.items()}, str(folder / name))
    if encoder.output is not None:
        from safetensors.numpy import save_file as save_arrays

        save_arrays(encoder.output, str(folder / OUTPUT))
    if encoder.transforms:
        tensors = {
            f"{i}.{name}": value for i, pair in enumerate(encoder.transforms) for name, value in zip(("weight", "bias"), pair, strict=True)
        }
        save_file(tensors, str(folder / TRANSFORMS))


def load(folder: Path, mlm_head: bool | None = None, options: Mapping[str, Any] | None = None) -> LoadedEncoder:
    """Read an encoder: one of ours, a sentence-transformers folder, or any transformers checkpoint.

    Its maximum length is what its folder states, or else its tokenizer, and never more than its positions have room for.

    Args:
        mlm_head, options: as in :func:`langadapt.modeling.loading.load_model`.

    Raises:
        ModelError: what :func:`langadapt.modeling.loading.load_model` and :func:`langadapt.artifacts.sentence_folder.read` refuse, a
            tokenizer with entries that the weights have no rows for, or an adapter, which is half an encoder.
    """
    if adapters.is_adapter(folder):
        raise ModelError(
            "is an adapter, not a whole encoder",
            where=str(folder),
            hint="Load its base, then add the adapter to it (Encoder.add_adapter, --adapter); or release it merged into its base.",
        )
    if (folder / SCORER).is_file():
        raise ModelError(
            "is a scorer of pairs, and an encoder is meant",
            where=str(folder),
            hint="Scorer.load loads it.",
        )
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ModelError(
            "is an adapter that peft or adapters saved, not a whole encoder",
            where=str(folder),
            hint="Load its base, then add the adapter to it: Encoder.add_adapter(NAME, FOLDER), or --adapter NAME=FOLDER.",
        )
    settings, transforms = read_settings(folder)
    place, lowercase = folder, False
    if not (folder / SETTINGS).is_file() and sentence_folder.is_sentence_folder(folder):
        said = sentence_folder.read(folder)
        place, lowercase = said.transformer, said.lowercase
    model = load_model(place, mlm_head, options)
    tokenizer = load_tokenizer(place)
    if lowercase:
        put_lowercase_first(tokenizer)
    mark = (str(place), *stamps(place))
    if mark not in _PROBED:
        _check_rows(tokenizer, model, folder)
    if not options and mark not in _PROBED:  # quantised weights are another precision of ones that were looked at
        _check_padding(model, pad_id(tokenizer), folder)
        _PROBED.add(mark)
    settings = settings.with_(max_length=longest_text(settings.max_length, tokenizer, model))
    found = LoadedEncoder(model, tokenizer, settings, transforms, vocabulary.load(folder), place)
    if (folder / SETTINGS).is_file():
        _read_beside(found, folder)
    return found


def _read_beside(found: LoadedEncoder, folder: Path) -> None:
    """Weights of pooler and embedding, and what the output transform was fitted to, as a folder of ours has them."""
    from safetensors.numpy import load_file as load_arrays
    from safetensors.torch import load_file

    present = [name for name in (POOLING, OUTPUT, EMBEDDING) if (folder / name).is_file()]
    for name in present:
        header(folder / name)  # refuses what is no safetensors file
    output = found.settings.output
    found.pooling = load_file(str(folder / POOLING)) if POOLING in present else None
    found.embedding = load_file(str(folder / EMBEDDING)) if EMBEDDING in present and found.settings.embedding else None
    if output is not None and OUTPUT not in present:
        raise ModelError(f"there is no {OUTPUT}, which its '{output['use']}' needs", where=str(folder), hint="Copy it again.")
    found.output = load_arrays(str(folder / OUTPUT)) if output is not None else None


def _check_rows(tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel, folder: Path) -> None:
    rows, size = int(model.get_input_embeddings().weight.shape[0]), size_of(tokenizer)  # type: ignore[union-attr,operator]
    if size > rows:
        raise ModelError(
            f"the tokenizer has {size:,} entries, the embedding matrix {rows:,} rows",
            where=str(folder),
            hint="Tokenizer and weights do not belong together: take both from one checkpoint.",
        )


_PROBED: set[tuple[Any, ...]] = set()
"""Folders whose architecture was tried in this process, by the stamps of their files."""


def _check_padding(model: PreTrainedModel, padding: int, folder: Path) -> None:
    """Run one short sequence alone and padded: architectures that mix positions (Funnel's pooling) give it two different vectors.

    Raises:
        ModelError: the states differ, or the architecture cannot read a sequence of token ids at all.
    """
    import torch

    kind, training = model.config.model_type, model.training
    if getattr(model.base_model, "attention_type", None) == "block_sparse":
        return  # BigBird turns to full attention for good at the first short text: no probe may be its first
    rows = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[union-attr,operator]
    ids = [(7 * i + 11) % rows for i in range(5)]
    ids = [i if i != padding else (i + 1) % rows for i in ids]
    try:
        with torch.inference_mode():
            body = model.eval().base_model
            alone = body(input_ids=torch.tensor([ids])).last_hidden_state
            mask = torch.tensor([[1] * 5 + [0] * 4])
            padded = body(input_ids=torch.tensor([[*ids, *[padding] * 4]]), attention_mask=mask).last_hidden_state[:, :5]
    except Exception as error:
        raise ModelError(
            f"'{kind}' cannot encode a text: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
            where=str(folder),
            hint="Choose a base of another architecture.",
        ) from error
    finally:
        model.train(training)
    if not bool(torch.isfinite(alone).all()):
        raise ModelError(
            f"'{kind}' gives states that are no numbers (NaN or infinite)",
            where=str(folder),
            hint="A value of its config.json does not go with its weights: fetch or copy the checkpoint again.",
        )
    if not torch.allclose(alone, padded, rtol=1e-2, atol=1e-3 * float(alone.abs().max())):
        raise ModelError(
            f"'{kind}' lets padding into its states: a text's vector would depend on the texts it is batched with",
            where=str(folder),
            hint="Choose a base of another architecture.",
        )


def longest_text(stated: int, tokenizer: PreTrainedTokenizerFast, model: PreTrainedModel) -> int:
    """Tokens a text may have: what is stated, else the tokenizer's own limit, and what positions have room for at most."""
    bound = room(model)
    own = int(min(tokenizer.model_max_length, UNBOUNDED))
    length = stated or (own if own < UNBOUNDED else bound or PLAIN_LENGTH)
    return max(1, min(length, bound) if bound is not None else length)


UNBOUNDED = 1_000_000
"""From here on, a tokenizer's maximum is transformers' way of saying that it has none."""
PLAIN_LENGTH = 512
"""Tokens a text may have where neither folder nor architecture bounds it."""


def put_lowercase_first(tokenizer: PreTrainedTokenizerFast) -> None:
    """Put every text in lower case before the tokenizer's own rules, as sentence-transformers does for `do_lower_case`."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    if "Lowercase" in str(backend.normalizer):
        return
    own = [backend.normalizer] if backend.normalizer is not None else []
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def read_settings(folder: Path) -> tuple[EncoderSettings, list[tuple[Any, Any]]]:
    """How a folder's vectors are made, and its fitted transforms: from ours, sentence-transformers' or no files.

    A maximum length of 0 means that the folder states none.

    Raises:
        ModelError: a file of these is malformed, or says what langadapt does not do.
    """
    if (folder / SETTINGS).is_file():
        settings = settings_file(folder / SETTINGS)
        return settings, _transforms(folder / TRANSFORMS, settings.transforms) if settings.transforms else []
    if sentence_folder.is_sentence_folder(folder):
        said = sentence_folder.read(folder)
        return said.settings, list(said.transforms)
    return EncoderSettings(max_length=0), []


@cache
def _schema() -> TypeAdapter[EncoderSettings]:
    return TypeAdapter(EncoderSettings)


def settings_file(path: Path) -> EncoderSettings:
    """An ``encoder.json``, held against its schema.

    Raises:
        ModelError: missing, malformed, an unknown key, or a value of another type or out of range.
    """
    stated = read_settings_file(path)
    try:
        found = _schema().validate_json(json.dumps(stated))
    except ValidationError as error:
        problem = error.errors()[0]
        name, value = ".".join(map(str, problem["loc"])), repr(problem.get("input"))[:80]
        raise ModelError(f"its '{name}' is {value}: {problem['msg'].lower()}", where=str(path), hint="Copy the folder again.") from error
    for name, slot in (
        ("pooler", found.pooler),
        ("normalizer", found.normalizer),
        ("output", found.output),
        ("embedding", found.embedding),
    ):
        if slot is not None and not isinstance(slot.get("use"), str):
            raise ModelError(f"its '{name}' names no component ('use')", where=str(path), hint="Copy the folder again.")
    return found


def _transforms(path: Path, count: int) -> list[tuple[Any, Any]]:
    from safetensors.torch import load_file

    shapes = header(path)
    pairs = [(f"{i}.weight", f"{i}.bias") for i in range(count)]
    for weight, bias in pairs:
        if len(shapes.get(weight, ())) != 2 or shapes.get(bias) != shapes[weight][:1]:
            raise ModelError(f"holds no '{weight}' (d', d) and '{bias}' (d')", where=str(path), hint="Copy the folder again.")
    tensors = load_file(str(path))
    return [(tensors[weight], tensors[bias]) for weight, bias in pairs]
