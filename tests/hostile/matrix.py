"""Every architecture that transformers can make small, through everything that langadapt does with one.

``python tests/hostile/matrix.py`` writes docs/reference/architectures.md; the tests beside this file hold a part of it in the gate and
all of it under the mark ``hostile``.  Models are random and tiny: what is compared is langadapt with the library whose model it is.
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from langadapt.artifacts import encoder as encoders
from langadapt.contracts.component import Context
from langadapt.errors import LangadaptError
from langadapt.inference.encoder import Encoder
from langadapt.modeling.heads import mlm_logits
from langadapt.modeling.surgery import apply_mixture, vocab_of
from langadapt.registry.plugins import load_plugins
from langadapt.registry.registry import Registry

KINDS = (
    *("albert", "bart", "bert", "big_bird", "bloom", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert"),
    *("electra", "ernie", "esm", "flaubert", "fnet", "funnel", "gemma2", "gpt2", "gpt_neox", "llama", "longformer", "luke"),
    *("megatron-bert", "mistral", "mobilebert", "modernbert", "mpnet", "mra", "nystromformer", "opt", "qwen2", "rembert", "roberta"),
    *("roberta-prelayernorm", "roformer", "squeezebert", "t5", "xlm", "xlm-roberta", "xlm-roberta-xl", "xlnet", "xmod", "yoso"),
)

TEXTS = [
    "the cat sat on the mat",
    "a dog",
    "two men are playing a guitar on the stage while the quick brown fox jumps over the lazy dog",
    "it rains",
    "prices of wheat rose again in the market of the old town",
]

SIZES = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "word_embed_proj_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "d_ff", "ffn_dim", "hidden_dim", "d_inner", "encoder_ffn_dim", "decoder_ffn_dim"), 48),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 66),
}
SPECIAL: dict[str, dict[str, Any]] = {
    "big_bird": {"attention_type": "original_full"},
    "convbert": {"head_ratio": 2, "conv_kernel_size": 3},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 32},
    "deberta": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 32},
    "esm": {"position_embedding_type": "absolute", "token_dropout": False},
    "funnel": {"block_sizes": [1, 1], "block_repeats": [1, 1], "d_head": 8},
    "gemma2": {"head_dim": 8, "num_key_value_heads": 2},
    "llama": {"num_key_value_heads": 2},
    "longformer": {"attention_window": [8, 8]},
    "luke": {"entity_vocab_size": 4, "entity_emb_size": 8},
    "mistral": {"num_key_value_heads": 2},
    "mobilebert": {"true_hidden_size": 32, "intra_bottleneck_size": 32},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 16},
    "nystromformer": {"num_landmarks": 8, "segment_means_seq_len": 64},
    "qwen2": {"num_key_value_heads": 2},
    "t5": {"d_kv": 8},
    "xlm-roberta-xl": {"layer_norm_eps": 1e-5},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
}


@dataclass(frozen=True)
class Verdict:
    """What came of one thing tried with one architecture: ``yes``, ``no`` with the reason it was refused with, or ``WRONG``."""

    word: str
    why: str = ""


def tokenizer(folder: Path) -> Any:
    """A WordPiece tokenizer of the texts, saved as a generic fast one: it makes token types, as most do."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(TEXTS * 3, trainers.WordPieceTrainer(vocab_size=150, special_tokens=words, show_progress=False))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), words, strict=True))
    found = PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    found.save_pretrained(str(folder))
    return found


def config(kind: str, words: int) -> Any:
    """A small configuration of an architecture."""
    from transformers import CONFIG_MAPPING

    family = CONFIG_MAPPING[kind]
    known = set(vars(family())) | set(family.attribute_map)
    sizes = {name: value for name, value in SIZES.items() if name in known}
    sizes |= {"vocab_size": words, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, **SPECIAL.get(kind, {})}
    found = family(**sizes)
    found.architectures = found.architectures or []  # Funnel's classes are chosen by it
    return found


def save(kind: str, folder: Path, head: bool = False) -> None:
    """A random checkpoint of an architecture with its tokenizer, with a masked-LM head or without."""
    from transformers import AutoModel, AutoModelForMaskedLM

    folder.mkdir(parents=True, exist_ok=True)
    words = len(tokenizer(folder))
    torch.manual_seed(sum(map(ord, kind)))
    family: Any = AutoModelForMaskedLM if head else AutoModel
    model = family.from_config(config(kind, words)).eval()
    with torch.no_grad():  # freshly made layers are often so small that every text looks alike
        for weight in model.parameters():
            weight.copy_(weight + 0.05 * torch.randn_like(weight))
    model.save_pretrained(str(folder))


def plain_vectors(folder: Path) -> np.ndarray:
    """Mean-pooled states by transformers alone, each text by itself: (n, d)."""
    from transformers import AutoModel, AutoTokenizer

    words, model = AutoTokenizer.from_pretrained(str(folder)), AutoModel.from_pretrained(str(folder)).eval()
    if hasattr(model, "decoder") and hasattr(model, "encoder"):  # its encoder alone makes vectors
        model = model.encoder
    taken = inspect.signature(model.forward).parameters  # BLOOM's takes none of the types that a generic tokenizer makes
    found = []
    with torch.inference_mode():
        for text in TEXTS:
            inputs = {name: value for name, value in words([text], return_tensors="pt").items() if name in taken}
            states = model(**inputs).last_hidden_state[0]
            found.append(states.mean(0).numpy())
    return np.stack(found)


def close(left: Any, right: Any, tolerance: float = 2e-5) -> Verdict:
    """Whether vectors are equal up to rounding."""
    worst = float(np.abs(np.asarray(left) - np.asarray(right)).max())
    scale = max(1.0, float(np.abs(np.asarray(right)).max()))
    return Verdict("yes") if worst <= tolerance * scale else Verdict("WRONG", f"differs by {worst:.1e}")


def encode(kind: str, folder: Path, registry: Registry) -> Verdict:
    save(kind, folder)
    vectors = Encoder.load(folder, device="cpu", registry=registry).encode(TEXTS)
    return close(vectors, plain_vectors(folder))


def masked_lm(kind: str, folder: Path, registry: Registry) -> Verdict:
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    if type(config(kind, 50)) not in MODEL_FOR_MASKED_LM_MAPPING:
        return Verdict("no", "has no masked-LM head")
    save(kind, folder, head=True)
    loaded = encoders.load(folder)
    module = loaded.module(registry.build("pooler", "mean"))
    ids = [loaded.tokenizer(text)["input_ids"] for text in TEXTS]
    with torch.inference_mode():
        states = module.eval().masked_states(ids, [[1, 2]] * len(ids))
        ours = mlm_logits(loaded.model, states)
        types = {"token_type_ids": torch.zeros(1, 1, dtype=torch.int64)} if module.types else {}
        theirs = [
            loaded.model(input_ids=torch.tensor([one]), **{k: v.expand(1, len(one)) for k, v in types.items()}).logits[0, 1:3]
            for one in ids
        ]
    return close(ours, torch.cat(theirs))


def extend(kind: str, folder: Path, registry: Registry) -> Verdict:
    save(kind, folder)
    loaded = encoders.load(folder)
    module = loaded.module(registry.build("pooler", "mean")).eval()
    ids = [loaded.tokenizer(text)["input_ids"] for text in TEXTS]
    with torch.inference_mode():
        before = module.embed(ids)
    more: Any = registry.build("tokenizer", {"use": "extend", "budget": 5, "min_count": 2})
    larger = more.train(["zyxwv qqrrss zyxwv the cat"] * 20, loaded.tokenizer, Context())
    old, new = vocab_of(loaded.tokenizer, loaded.model), vocab_of(larger)
    method: Any = registry.build("vocab-init", "mean-subword")
    apply_mixture(loaded.model, method.mixture(old, new, None, Context()), loaded.tokenizer, larger)
    with torch.inference_mode():
        after = loaded.module(registry.build("pooler", "mean")).eval().embed([larger(text)["input_ids"] for text in TEXTS])
    return close(after, before)


def adapted(slot: str) -> Callable[[str, Path, Registry], Verdict]:
    """A light adaptation, trained for one step in its library, served from its folder."""

    def attempt(kind: str, folder: Path, registry: Registry) -> Verdict:
        save(kind, folder / "base")
        loaded = encoders.load(folder / "base")
        adaptation: Any = registry.build("adaptation", slot)
        adaptation.attach(loaded.model)
        trained = [weight for weight in loaded.model.parameters() if weight.requires_grad]
        torch.manual_seed(1)
        with torch.no_grad():
            for weight in trained:
                weight.add_(0.1 * torch.randn_like(weight))
        module = loaded.module(registry.build("pooler", "mean")).eval()
        with torch.inference_mode():
            theirs = module.embed([loaded.tokenizer(text)["input_ids"] for text in TEXTS])
        (folder / "adapter").mkdir()
        adaptation.save(loaded.model, folder / "adapter")
        served = Encoder.load(folder / "base", device="cpu", registry=registry)
        served.add_adapter("one", folder / "adapter")
        verdict = close(served.encode(TEXTS, adapter="one"), theirs)
        alone = float(np.abs(served.encode(TEXTS) - theirs.numpy()).max())
        return verdict if alone > 1e-4 else Verdict("WRONG", "the adapter changes nothing")

    return attempt


def release(kind: str, folder: Path, registry: Registry) -> Verdict:
    from sentence_transformers import SentenceTransformer

    save(kind, folder / "base")
    loaded = encoders.load(folder / "base")
    from langadapt.modeling.surgery import agree_on_inputs, give_padding

    agree_on_inputs(loaded.tokenizer, loaded.model)
    give_padding(loaded.tokenizer)
    module = loaded.module(registry.build("pooler", "mean"))
    (folder / "release").mkdir()
    exporter: Any = registry.build("exporter", "sentence-transformers")
    exporter.export(module, loaded.tokenizer, loaded.settings, folder / "release")
    encoders.save_settings(loaded, folder / "release")
    ours = Encoder.load(folder / "release", device="cpu", registry=registry).encode(TEXTS)
    theirs = SentenceTransformer(str(folder / "release"), device="cpu").encode(TEXTS)
    return close(ours, theirs)


COLUMNS: dict[str, Callable[[str, Path, Registry], Verdict]] = {
    "encode": encode,
    "MLM": masked_lm,
    "extend": extend,
    "LoRA": adapted("lora"),
    "bottleneck": adapted("bottleneck"),
    "release": release,
}


def attempt(column: str, kind: str, registry: Registry) -> Verdict:
    """Try one thing with one architecture; a refusal in langadapt's own words is a ``no``."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return COLUMNS[column](kind, Path(name) / "one", registry)
        except LangadaptError as error:
            return Verdict("no", error.what.replace(name, ""))


def rows(kinds: tuple[str, ...] = KINDS) -> Iterator[tuple[str, dict[str, Verdict]]]:
    """Each architecture with its verdicts."""
    registry = Registry(load_plugins())
    for kind in kinds:
        found = {}
        for column in COLUMNS:
            try:
                found[column] = attempt(column, kind, registry)
            except Exception as error:
                found[column] = Verdict("WRONG", f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
        yield kind, found


PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "architectures.md"
HEAD = """<!-- written by tests/hostile/matrix.py; do not edit -->

# Architectures

What langadapt does with each architecture of transformers {version}, tried on small random checkpoints. **encode**: vectors equal those of
plain transformers. **MLM**: the head's logits at chosen places equal the whole model's. **extend**: new tokens leave old texts' vectors as
they are. **LoRA**, **bottleneck**: an adapter serves as in its own library. **release**: sentence-transformers gives the same vectors.
"""


def main() -> int:
    import transformers

    for name in ("transformers", "langadapt", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    lines = [HEAD.format(version=transformers.__version__), "| architecture | " + " | ".join(COLUMNS) + " |"]
    lines.append("| --- |" + " --- |" * len(COLUMNS))
    reasons: dict[str, None] = {}
    wrong = 0
    for kind, found in rows():
        cells = []
        for verdict in found.values():
            wrong += verdict.word == "WRONG"
            mark = ""
            if verdict.why:
                reasons.setdefault(verdict.why)
                mark = f" [{list(reasons).index(verdict.why) + 1}]"
            cells.append(verdict.word + mark)
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
        sys.stderr.write(json.dumps({kind: {column: [v.word, v.why] for column, v in found.items()}}) + "\n")
    lines += ["", *(f"{i}. {reason}" for i, reason in enumerate(reasons, 1)), ""]
    PAGE.write_text("\n".join(lines), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
