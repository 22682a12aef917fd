"""Recipe manifests: stages in order, each of one verb, typed before anything is looked up.

A stage names earlier stages as inputs and components (:data:`Slot`) as choices.  The verbs are a closed set
owned by the core; the components are open.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from langadapt.manifests.language import NAME, ResourceName, Slot
from langadapt.manifests.resource import Resource


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


Slots = Annotated[list[Slot], BeforeValidator(_listed), Field(min_length=1)]
Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
Selectors = Annotated[list[Slot], BeforeValidator(_listed)]
Precision = Literal["auto", "fp32", "bf16"]


class Stage(BaseModel):
    """What all stages share.  `inputs` and `slots` say which fields are stage names and components."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    inputs: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Field → artifact types that may stand there."""
    slots: ClassVar[dict[str, str]] = {}
    """Field → component kind."""
    output: ClassVar[str] = ""
    version: ClassVar[str] = "1"

    do: str


class Load(Stage):
    """Bring a checkpoint in: from the Hub, a path or a package, or take over an earlier stage's encoder."""

    version: ClassVar[str] = "3"

    inputs: ClassVar = {"encoder": ("Encoder",)}
    slots: ClassVar = {"pooler": "pooler"}
    output: ClassVar = "Encoder"
    do: Literal["load"]
    source: Resource | None = None
    encoder: str | None = None
    pooler: Slot | None = None
    max_length: Annotated[int, Field(ge=8, le=8192)] | None = None
    """Tokens per text, special ones included; longer texts are truncated and counted.  None takes the base's own, 128 at most."""
    layers: Annotated[int, Field(ge=1)] | None = None
    """Keep so many layers, evenly spaced from the first to the last."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """``random`` keeps the architecture and starts from scratch, with a masked-LM head."""


class Collect(Stage):
    """Read, normalise, filter and deduplicate text."""

    slots: ClassVar = {"corpus": "corpus", "normalizer": "normalizer", "selectors": "selector"}
    output: ClassVar = "Corpus"
    do: Literal["collect"]
    corpus: Slots
    normalizer: Slot | None = None
    selectors: Selectors = []


class Pair(Stage):
    """Read sentence pairs into one of the standard column sets."""

    inputs: ClassVar = {"encoder": ("Encoder",)}
    slots: ClassVar = {"source": "pairs", "translator": "translator", "normalizer": "normalizer", "selectors": "selector"}
    output: ClassVar = "Pairs"
    do: Literal["pair"]
    source: Slot
    encoder: str | None = None
    translator: Slot | None = None
    normalizer: Slot | None = None
    selectors: Selectors = []


class Annotate(Stage):
    """Add columns that an encoder or a scorer computes once: vectors to learn from, scores of candidates, clusters."""

    inputs: ClassVar = {"data": ("Pairs", "Corpus"), "teacher": ("Encoder", "Scorer")}
    slots: ClassVar = {"annotators": "annotator"}
    output: ClassVar = "Pairs"
    do: Literal["annotate"]
    data: str
    teacher: str
    annotators: Slots


class Merge(Stage):
    """Make one encoder of several that have the same shape and tokenizer."""

    inputs: ClassVar = {"encoders": ("Encoder",)}
    slots: ClassVar = {"merger": "merger"}
    output: ClassVar = "Encoder"
    do: Literal["merge"]
    encoders: Annotated[list[str], BeforeValidator(_listed), Field(min_length=2)]
    merger: Slot


class TrainTokenizer(Stage):
    """Train, extend or prune a tokenizer on text."""

    inputs: ClassVar = {"corpus": ("Corpus", "Pairs"), "encoder": ("Encoder",)}
    slots: ClassVar = {"tokenizer": "tokenizer"}
    output: ClassVar = "Tokenizer"
    do: Literal["train-tokenizer"]
    corpus: Names
    encoder: str | None = None
    tokenizer: Slot


class InitVocab(Stage):
    """Move an encoder onto a new tokenizer: input rows, output rows, bias, special tokens, config ids."""

    version: ClassVar[str] = "2"

    inputs: ClassVar = {"encoder": ("Encoder",), "tokenizer": ("Tokenizer",), "corpus": ("Corpus", "Pairs")}
    slots: ClassVar = {"vocab_init": "vocab-init"}
    output: ClassVar = "Encoder"
    do: Literal["init-vocab"]
    encoder: str
    tokenizer: str
    corpus: str | None = None
    vocab_init: Annotated[Slot, Field(alias="vocab-init")]


class Train(Stage):
    """Train an encoder on text or pairs with one objective and one adaptation."""

    version: ClassVar[str] = "4"

    inputs: ClassVar = {"encoder": ("Encoder", "Scorer"), "data": ("Corpus", "Pairs"), "teacher": ("Encoder",)}
    slots: ClassVar = {
        "objective": "objective",
        "adaptation": "adaptation",
        "optimizer": "optimizer",
        "schedule": "schedule",
        "sampler": "sampler",
        "pooler": "pooler",
        "validation": "evaluator",
    }
    output: ClassVar = "Encoder"
    do: Literal["train"]
    encoder: str
    data: str
    teacher: str | None = None
    objective: Slot
    adaptation: Slot = "full"
    optimizer: Slot = "adamw"
    schedule: Slot = "linear"
    sampler: Slot | None = None
    """Which rows share a batch; None takes random batches, bucketed by length where rows do not see one another (`mega_batch`)."""
    pooler: Slot | None = None
    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    steps: Annotated[int, Field(gt=0)] | None = None
    batch_size: Annotated[int, Field(gt=0)] = 32
    """Rows per optimiser step, all devices together."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-5
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    warmup: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the steps over which the rate rises from zero."""
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Largest gradient norm."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout of the body while training; None keeps the checkpoint's."""
    gradient_checkpointing: bool = False
    """Keep block inputs only and compute the rest again in the backward pass: less memory, about a third more time."""
    precision: Precision = "auto"
    tokens_per_batch: Annotated[int, Field(ge=128)] = 4096
    """Padded tokens in one forward pass: memory grows with it, results do not depend on it beyond rounding."""
    mega_batch: Annotated[int, Field(ge=1)] = 16
    """Batches shuffled together and cut by length, to save padding; 1 keeps every batch random.  Objectives with in-batch
    negatives are always random."""
    holdout: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the rows kept out of training to measure the loss on."""
    validation: Slot | None = None
    evaluate_every: Annotated[int, Field(gt=0)] | None = None
    """Steps between validations; None means once an epoch."""
    keep: Literal["last", "best"] = "last"
    interpolate: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the trained weights in what is kept; the rest is the encoder that the stage began with (WiSE-FT; Wortsman et al. 2022,
    arXiv:2109.01903).  Training on narrow texts forgets others, and the mean of both keeps most of either.  None keeps the trained
    weights alone, and half of each where the data are generated by a program."""


class FitTransform(Stage):
    """Fit a transform (whitening, PCA) on the vectors of an encoder and ship it with it."""

    version: ClassVar[str] = "2"

    inputs: ClassVar = {"encoder": ("Encoder",), "data": ("Corpus", "Pairs")}
    slots: ClassVar = {"transform": "transform"}
    output: ClassVar = "Encoder"
    do: Literal["fit-transform"]
    encoder: str
    data: str
    transform: Slot


class Evaluate(Stage):
    """Score encoders side by side, on texts that went through the normalizer, if one is named."""

    version: ClassVar[str] = "3"

    inputs: ClassVar = {"encoders": ("Encoder", "Scorer")}
    slots: ClassVar = {"evaluators": "evaluator", "normalizer": "normalizer"}
    output: ClassVar = "Scores"
    do: Literal["evaluate"]
    encoders: Names
    evaluators: Slots
    normalizer: Slot | None = None


class Export(Stage):
    """Write the release that people download."""

    inputs: ClassVar = {"encoder": ("Encoder", "Scorer"), "scores": ("Scores",), "data": ("Corpus", "Pairs")}
    slots: ClassVar = {"exporters": "exporter", "normalizer": "normalizer"}
    output: ClassVar = "Release"
    do: Literal["export"]
    encoder: str
    scores: str | None = None
    data: str | None = None
    """Texts for exporters that read some."""
    exporters: Slots
    normalizer: Slot | None = None


STAGES: dict[str, type[Stage]] = {
    "load": Load,
    "collect": Collect,
    "pair": Pair,
    "annotate": Annotate,
    "merge": Merge,
    "train-tokenizer": TrainTokenizer,
    "init-vocab": InitVocab,
    "train": Train,
    "fit-transform": FitTransform,
    "evaluate": Evaluate,
    "export": Export,
}


class RecipeManifest(BaseModel):
    """The head of a recipe; its stages are validated one by one against :data:`STAGES`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = Field(pattern=NAME, max_length=80)
    summary: str
    paper: str = ""
    note: str = ""
    stages: dict[ResourceName, dict[str, Any]] = Field(min_length=1)
