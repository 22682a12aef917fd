"""Small real engines: Marian and M2M checkpoints trained here on a few sentences, and a context with a cache."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from langadapt.contracts.component import Context

SENTENCES = {
    "A man is playing a guitar.": "Un home está a tocar a guitarra.",
    "A woman is slicing an onion.": "Unha muller está a cortar unha cebola.",
    "The dog sleeps under the tree.": "O can dorme baixo a árbore.",
    "It rained a lot in Vigo yesterday.": "Onte choveu moito en Vigo.",
    "The children are singing.": "Os nenos están a cantar.",
    "No one reads the long book.": "Ninguén le o libro longo.",
}


@pytest.fixture
def here(tmp_path: Path) -> Context:
    """A context whose cache is this test's own."""
    (tmp_path / "work").mkdir()
    return Context(workdir=tmp_path / "work", cache=tmp_path / "cache")


@pytest.fixture
def apertium() -> None:
    """The real engine; tests are skipped where the system lacks it, saying how to get it."""
    from langadapt_translate.apertium import modes

    if shutil.which("apertium") is None or not {"en-gl", "eng-spa", "es-gl"} <= set(modes()):
        pytest.skip("apertium is missing: apt-get install apertium apertium-en-gl apertium-eng-spa apertium-es-gl")


@pytest.fixture(scope="session")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Marian checkpoint of one layer that knows the sentences above by heart."""
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    folder = tmp_path_factory.mktemp("marian")
    pieces = _sentencepiece(folder / "source.spm", [*SENTENCES, *SENTENCES.values()])
    shutil.copy(folder / "source.spm", folder / "target.spm")
    vocabulary = ["</s>", "<unk>", *(piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>")), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    tokenizer = MarianTokenizer(
        vocab=str(folder / "vocab.json"),
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
        source_lang="en",
        target_lang="gl",
    )
    pad = len(vocabulary) - 1
    config = MarianConfig(**_small(len(vocabulary)), pad_token_id=pad, decoder_start_token_id=pad, eos_token_id=0, forced_eos_token_id=0)
    torch.manual_seed(0)
    return _taught(MarianMTModel(config), tokenizer, folder, lambda text: tokenizer(text_target=text).input_ids)


@pytest.fixture(scope="session")
def m2m(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An M2M100 checkpoint of one layer, English to Galician."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    folder = tmp_path_factory.mktemp("m2m")
    pieces = _sentencepiece(folder / "sentencepiece.bpe.model", [*SENTENCES, *SENTENCES.values()])
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece in pieces if piece not in ("<s>", "</s>", "<unk>"))]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    files = {"vocab_file": str(folder / "vocab.json"), "spm_file": str(folder / "sentencepiece.bpe.model")}
    languages = list(M2M100Tokenizer(**files).lang_token_to_id)  # the published checkpoints list them as special tokens
    tokenizer = M2M100Tokenizer(**files, src_lang="en", tgt_lang="gl", additional_special_tokens=languages)
    size = max(tokenizer.lang_token_to_id.values()) + 1 + tokenizer.num_madeup_words
    config = M2M100Config(**_small(size), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2)
    torch.manual_seed(0)
    return _taught(M2M100ForConditionalGeneration(config), tokenizer, folder, lambda text: tokenizer(text_target=text).input_ids)


def _small(vocabulary: int) -> dict[str, int | float]:
    return {
        "vocab_size": vocabulary,
        "d_model": 64,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128,
        "max_position_embeddings": 64,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
    }


def _sentencepiece(path: Path, texts: list[str]) -> list[str]:
    import sentencepiece

    with path.open("wb") as handle:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=handle, vocab_size=120, hard_vocab_limit=False, minloglevel=2
        )
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [model.id_to_piece(i) for i in range(model.get_piece_size())]


def _taught(model: object, tokenizer: object, folder: Path, ids: object) -> Path:
    """Train to certainty on the sentences and save, as safetensors."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    padded = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    sources = [torch.tensor(tokenizer(text).input_ids) for text in SENTENCES]
    batch = {
        "input_ids": padded(sources, padding_value=tokenizer.pad_token_id),
        "attention_mask": padded([torch.ones_like(source) for source in sources]),
        "labels": padded([torch.tensor(ids(text)) for text in SENTENCES.values()], padding_value=-100),
    }
    loss = torch.tensor(9.0)
    for _ in range(800):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():  # as published: the padding token, which starts every translation, has a row of zeros
            model.get_input_embeddings().weight[tokenizer.pad_token_id] = 0
        if loss.item() < 0.0006:
            break
    torch.set_num_threads(threads)
    assert loss.item() < 0.008
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
