"""A tiny encoder with random weights, to hold components to laws that no training is needed for."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langadapt.artifacts import encoder as encoders
from langadapt.artifacts import scorer as scorers
from langadapt.contracts.component import Context
from langadapt.contracts.data import Columns, Role
from langadapt.contracts.vectors import Pooler
from langadapt.registry.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from langadapt.inference.encoder import Encoder
    from langadapt.modeling.encoder import EncoderModule
    from langadapt.modeling.scorer import ScorerModule

SENTENCES = (
    "The old well in my village has cold water.",
    "Two men are playing a guitar on the stage while it rains outside.",
    "माझ्या गावात एक जुनी विहीर आहे.",
    "दोन माणसे रंगमंचावर गिटार वाजवत आहेत, आणि बाहेर पाऊस पडत आहे.",
    "우리 마을에는 오래된 우물이 있다.",
    "두 남자가 무대에서 기타를 연주하고 밖에는 비가 온다.",
    "Prices of wheat rose again in the market of the old town.",
    "बाजारात गव्हाचे भाव पुन्हा वाढले.",
    "시장에서 밀 가격이 다시 올랐다.",
    "A dog.",
)
"""English, Marathi and Korean; long ones and short ones."""

TEXTS = tuple(SENTENCES[i] if i == j else f"{SENTENCES[i]} {SENTENCES[j]}" for i in range(len(SENTENCES)) for j in range(len(SENTENCES)))
"""A hundred distinct texts of one or two sentences."""

WIDTH, LAYERS, HEADS, LONGEST = 32, 3, 4, 64


LABELS = ("entailment", "neutral", "contradiction")
"""Of labels that differ from component to component, NLI's are the ones that people know."""


def rows_of(columns: Columns, count: int) -> list[dict[str, Any]]:
    """Rows with a value of the right sort in each column."""
    n = len(SENTENCES)
    made: dict[Role, Any] = {
        Role.TEXT: lambda i, j: SENTENCES[(i + j) % n],
        Role.TEXTS: lambda i, j: [SENTENCES[(i + j + k) % n] for k in range(3)],
        Role.NUMBER: lambda i, j: (i % 5) / 4,
        Role.NUMBERS: lambda i, j: [math.sin(i + k) for k in range(WIDTH)],
        Role.LABEL: lambda i, j: LABELS[i % 3],
    }
    return [{name: made[role](i, j) for j, (name, role) in enumerate(columns.items())} for i in range(count)]


@dataclass(frozen=True)
class Toy:
    """What laws are tried on."""

    folder: Path
    """An encoder of ours, with a masked-LM head."""
    registry: Registry

    def loaded(self, mlm_head: bool = True) -> encoders.LoadedEncoder:
        """The encoder, read anew: a law may change it."""
        return encoders.load(self.folder, mlm_head=mlm_head)

    def module(self, pooler: Pooler | None = None, mlm_head: bool = False) -> EncoderModule:
        """The encoder as a module in evaluation mode, behind a pooler (mean)."""
        loaded = self.loaded(mlm_head)
        chosen = pooler or self.registry.make(Pooler, "mean")
        loaded.choose_pooler(chosen.slot())
        return loaded.module(chosen).eval()

    def encoder(self, mlm_head: bool = False) -> Encoder:
        """The encoder ready for use."""
        from langadapt.inference.encoder import Encoder

        return Encoder.load(self.folder, device="cpu", registry=self.registry, mlm_head=mlm_head)

    def loaded_scorer(self) -> scorers.LoadedScorer:
        """A scorer of pairs on the encoder's body, its head random."""
        return scorers.load(self.folder)

    def scorer(self) -> ScorerModule:
        """The scorer as a module in evaluation mode."""
        return self.loaded_scorer().module().eval()

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer, read anew."""
        return self.loaded().tokenizer

    def context(self, folder: Path) -> Context:
        """A context that writes below a folder and says nothing."""
        (folder / "work").mkdir(exist_ok=True)
        return Context(seed=7, workdir=folder / "work", cache=folder / "cache")


def scratch(name: str) -> Path:
    """A folder that goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"langadapt-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def toy_folder() -> Path:
    """The toy encoder's folder, made once a process."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    from langadapt.contracts.encoder import EncoderSettings

    folder = scratch("toy")
    tokenizer = trained_tokenizer(260, SENTENCES)
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 48}
    torch.manual_seed(11)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=LONGEST + 2, pad_token_id=tokenizer.pad_token_id, **sizes)
    model = BertForMaskedLM(config)
    with torch.no_grad():  # as they are initialised, all states would look alike
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(4.0)
        rows: Any = model.get_input_embeddings()
        rows.weight[tokenizer.pad_token_id] = 0.1  # zeros where it is initialised: a row like others is wanted
    encoders.save(encoders.LoadedEncoder(model.eval(), tokenizer, EncoderSettings(max_length=LONGEST)), folder)
    return folder


def trained_tokenizer(size: int, texts: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """WordPiece over texts, some words in several pieces."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False))
    ids = {name: backend.token_to_id(name) for name in special}
    backend.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    roles = {f"{name.strip('[]').lower()}_token": name for name in special}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=LONGEST, **roles)
