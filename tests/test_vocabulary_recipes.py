"""Recipes that change a vocabulary, on real text, with the real command."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from langadapt_tokenizers.trained import WordPiece
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertConfig, DistilBertConfig, RobertaConfig

from langadapt.contracts.component import Context
from langadapt.modeling.loading import save_checkpoint, save_tokenizer

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def head(source: Path, target: Path, count: int) -> Path:
    with gzip.open(source, "rt", encoding="utf-8") as handle:
        target.write_text("".join(itertools.islice(handle, count)), encoding="utf-8")
    return target


def build(run: Run, tmp_path: Path, *arguments: object) -> tuple[dict[str, Any], Path]:
    out = tmp_path / "run"
    short = ["--set", "stages.warmed.epochs=0.3", "--set", "stages.mlm.epochs=0.3", "--set", "stages.base.max_length=64"]
    done = run("build", *arguments, *short, "--out", out)
    assert done.returncode == 0, done.stderr
    lock = json.loads((out / "lock.json").read_text())["stages"]
    return lock, out / "release"


@pytest.mark.slow
def test_a_domains_words_are_added(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    """Old tokens keep their ids and rows through surgery; tweets take fewer tokens."""
    tweets = head(data / "raw" / "id-tweets.txt.gz", tmp_path / "tweets.txt", 500)
    arguments = ["--lang", "id", "--recipe", "domain-vocab-mlm", "--base", tiny, f"--resource=corpus={tweets}"]
    lock, release = build(run, tmp_path, *arguments, "--set", "stages.vocabulary.tokenizer.budget=200")
    before, after = AutoTokenizer.from_pretrained(tiny), AutoTokenizer.from_pretrained(release)
    assert len(before) < len(after) <= len(before) + 200
    texts = tweets.read_text(encoding="utf-8").splitlines()
    assert sum(map(len, after(texts)["input_ids"])) < 0.97 * sum(map(len, before(texts)["input_ids"]))
    model, report = AutoModelForMaskedLM.from_pretrained(release, output_loading_info=True)
    assert not report["missing_keys"]
    assert model.get_input_embeddings().weight.shape[0] == len(after) == model.config.vocab_size
    vocabulary = tmp_path / "store" / "objects" / lock["extended"]["key"] / "token_origins.json"
    counts = json.loads(vocabulary.read_text())["counts"]
    assert counts == {"copied": len(before), "mean of pieces": len(after) - len(before)}
    assert f"{len(before):,} copied, {len(after) - len(before):,} mean of pieces" in (release / "README.md").read_text(encoding="utf-8")
    only_new_rows_moved(tmp_path / "store" / "objects", lock, len(before))
    says_where_a_token_came_from(run, release, after.convert_ids_to_tokens(len(after) - 1), before)


def only_new_rows_moved(objects: Path, lock: dict[str, Any], old: int) -> None:
    """The stage that trains new rows left everything else bit for bit."""
    extended, warmed = (load_file(objects / lock[stage]["key"] / "model.safetensors") for stage in ("extended", "warmed"))
    extended = {f"bert.{name}": value for name, value in extended.items()}  # the base has no masked-LM head, the trained one does
    assert extended.keys() < warmed.keys()
    moved = [name for name, value in extended.items() if not torch.equal(value, warmed[name])]
    assert moved == ["bert.embeddings.word_embeddings.weight"]
    before, after = extended[moved[0]], warmed[moved[0]]
    assert torch.equal(before[:old], after[:old])
    assert (before[old:] != after[old:]).any(dim=1).float().mean() > 0.99
    assert warmed["cls.predictions.transform.dense.weight"].std() > 0


def says_where_a_token_came_from(run: Run, release: Path, token: str, before: Any) -> None:
    done = run("show-token", release, token, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)[token]
    assert (row["origin"], row["method"]) == ("mean of pieces", "mean-subword")
    pieces = [piece for piece, _ in row["sources"]]
    assert sum(weight for _, weight in row["sources"]) == pytest.approx(1, abs=1e-3)
    assert sorted(pieces) == sorted(before.tokenize(token))[: len(pieces)]
    assert token in run("show-token", release, token).stdout
    assert token in run("show-token", release.parent, token).stdout, "a run's folder is as good"
    nowhere = run("show-token", release.parent.parent, token)
    assert (nowhere.returncode, "no encoder here" in nowhere.stderr) == (2, True)
    refused = run("show-token", before.name_or_path, "kata")
    assert refused.returncode == 2
    assert "never moved" in refused.stderr


@pytest.mark.slow
def test_a_related_languages_vocabulary_is_matched(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    corpus = head(data / "raw" / "csb.txt.gz", tmp_path / "csb.txt", 600)
    arguments = ["--lang", "csb", "--recipe", "vocab-match-mlm", "--base", tiny, f"--resource=corpus={corpus}"]
    refused = run("plan", *arguments)
    assert refused.returncode == 2
    assert "--resource dictionary=PATH" in refused.stderr
    arguments.append(f"--resource=dictionary={data / 'pl-csb' / 'train.tsv.gz'}")
    lock, release = build(run, tmp_path, *arguments, "--set", "stages.vocabulary.tokenizer.vocab_size=2500")
    vocabulary = tmp_path / "store" / "objects" / lock["moved"]["key"] / "token_origins.json"
    counts = json.loads(vocabulary.read_text())["counts"]
    assert counts["matched by dictionary"] > 50
    assert counts["matched by spelling"] > 20
    assert sum(counts.values()) == json.loads((release / "config.json").read_text())["vocab_size"]


@pytest.mark.slow
def test_a_body_trains_under_frozen_embeddings(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    tweets = head(data / "raw" / "id-tweets.txt.gz", tmp_path / "tweets.txt", 300)
    arguments = ["--lang", "id", "--recipe", "domain-vocab-mlm", "--base", tiny, f"--resource=corpus={tweets}"]
    lock, _ = build(run, tmp_path, *arguments, "--set", "stages.mlm.adaptation={use: freeze, train: body}", "--set=stages.rows.epochs=0.3")
    before, after = (load_file(tmp_path / "store" / "objects" / lock[stage]["key"] / "model.safetensors") for stage in ("rows", "mlm"))
    still = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert "bert.embeddings.word_embeddings.weight" in still
    assert not [name for name in still if ".layer." in name and name.endswith("weight")]


@pytest.mark.slow
def test_the_card_says_how_words_read_from_both_ends_load(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    corpus = head(data / "raw" / "szl.txt.gz", tmp_path / "szl.txt", 600)
    slot = "{use: bidirectional-wordpiece, vocab_size: 2500}"
    arguments = ["--lang", "szl", "--recipe", "vocab-match-mlm", "--base", tiny, f"--resource=corpus={corpus}"]
    changes = [f"--set=stages.vocabulary.tokenizer={slot}", "--set=stages.moved.vocab-init=mean-subword"]
    _, release = build(run, tmp_path, *arguments, *changes)
    card = (release / "README.md").read_text(encoding="utf-8")
    assert 'SentenceTransformer("PATH_OR_HUB_ID", trust_remote_code=True)' in card
    assert "words are read from the front alone" in card
    named = card.split("rules are in `")[1].split("`")[0]
    assert (release / named).is_file()


def test_a_vocabulary_larger_than_its_corpus_is_said(run: Run, tiny: Path, tmp_path: Path) -> None:
    """A corpus in which nothing repeats has no word to add; the store stays without the stage."""
    corpus = tmp_path / "few.txt"
    corpus.write_text("hanya satu kalimat saja\ndan kalimat kedua\n", encoding="utf-8")
    done = run(
        "build", "--lang", "id", "--recipe", "domain-vocab-mlm", "--base", tiny, f"--resource=corpus={corpus}", "--out", tmp_path / "run"
    )
    assert done.returncode == 2
    assert "nothing to add" in done.stderr
    assert "min_count" in done.stderr
    kinds = {json.loads(p.read_text())["do"] for p in (tmp_path / "store").glob("objects/*/artifact.json")}
    assert kinds == {"load", "collect"}


@pytest.mark.parametrize(
    "init", ["mean", "overlap", "random", *(pytest.param(name, marks=pytest.mark.slow) for name in ("focus", "fasttext-projection"))]
)
def test_every_initialisation_goes_through_the_recipe(run: Run, tiny: Path, data: Path, tmp_path: Path, init: str) -> None:
    corpus = head(data / "raw" / "mr.txt.gz", tmp_path / "mr.txt", 300)
    recipe = tmp_path / "move.yaml"
    recipe.write_text(
        "recipe: move\nsummary: Move a vocabulary.\nstages:\n"
        "  base:   {do: load, source: $lang.encoder, max_length: 64}\n"
        "  corpus: {do: collect, corpus: {use: resource, data: $lang.corpus}}\n"
        "  pieces: {do: train-tokenizer, corpus: corpus, tokenizer: {use: bpe, vocab_size: 1500, byte_level: false}}\n"
        f"  moved:  {{do: init-vocab, encoder: base, tokenizer: pieces, corpus: corpus, vocab-init: {init}}}\n"
        "  done:   {do: export, encoder: moved, exporters: [transformers]}\n",
        encoding="utf-8",
    )
    done = run("build", "--lang", "mr", "--recipe", recipe, "--base", tiny, f"--resource=corpus={corpus}", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "copied" in done.stdout + done.stderr


def verbs(tmp_path: Path) -> set[str]:
    """Verbs of the stages that left an artifact."""
    return {json.loads(path.read_text())["do"] for path in (tmp_path / "store").glob("objects/*/artifact.json")}


def one_paragraph(done: subprocess.CompletedProcess[str], what: str) -> None:
    assert done.returncode == 2, done.stderr
    assert what in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error") <= 1


@pytest.mark.parametrize("rows", ["dom\tdóm\n", "dom\txyzzyxyzzy\nkot\tzzyxyzzyx\n"], ids=["one pair", "none in the vocabulary"])
def test_a_dictionary_that_says_nothing_is_refused(run: Run, tiny: Path, data: Path, tmp_path: Path, rows: str) -> None:
    corpus = head(data / "raw" / "csb.txt.gz", tmp_path / "csb.txt", 300)
    words = tmp_path / "words.tsv"
    words.write_text("source\ttarget\n" + rows, encoding="utf-8")
    done = run(
        *("build", "--lang", "csb", "--recipe", "vocab-match-mlm", "--base", tiny, f"--resource=corpus={corpus}"),
        *(f"--resource=dictionary={words}", "--set", "stages.vocabulary.tokenizer.vocab_size=1500", "--out", tmp_path / "run"),
    )
    one_paragraph(done, "are tokens of the new vocabulary: it says nothing of the rest")
    assert verbs(tmp_path) == {"load", "collect", "train-tokenizer"}


def test_an_alphabet_larger_than_the_vocabulary_is_refused(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    corpus = head(data / "raw" / "szl.txt.gz", tmp_path / "szl.txt", 800)
    done = run(
        *("build", "--lang", "csb", "--recipe", "vocab-match-mlm", "--base", tiny, f"--resource=corpus={corpus}"),
        *("--set", "stages.vocabulary.tokenizer.vocab_size=100", "--set", "stages.moved.vocab-init=matching", "--out", tmp_path / "run"),
    )
    one_paragraph(done, "a vocabulary of 100 cannot hold the corpus's")
    assert verbs(tmp_path) == {"load", "collect"}


def load_only(run: Run, base: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    recipe = tmp_path / "load.yaml"
    recipe.write_text(
        "recipe: take\nsummary: Take a base over.\nstages:\n  base: {do: load, source: $lang.encoder, max_length: 64}\n"
        "  done: {do: export, encoder: base, exporters: [transformers]}\n",
        encoding="utf-8",
    )
    return run("build", "--lang", "mr", "--recipe", recipe, "--base", base, "--out", tmp_path / "run")


def test_a_tokenizer_of_other_weights_is_refused(run: Run, tiny: Path, data: Path, tmp_path: Path) -> None:
    """Two thousand entries beside tens of thousands of rows: every id is a row, and every row another word's."""
    base = tmp_path / "base"
    shutil.copytree(tiny, base)
    corpus = head(data / "raw" / "mr.txt.gz", tmp_path / "mr.txt", 400).read_text(encoding="utf-8").splitlines()
    save_tokenizer(WordPiece(vocab_size=2000).train(corpus, None, Context()), base)
    one_paragraph(load_only(run, base, tmp_path), "would stand for no token")
    assert verbs(tmp_path) == set()


def test_special_tokens_that_the_config_names_otherwise_are_refused(run: Run, tmp_path: Path) -> None:
    texts = ["the quick brown fox jumps over the lazy dog"] * 9
    tokenizer = WordPiece(vocab_size=200).train(texts, None, Context())
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = RobertaConfig(**sizes, vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, max_position_embeddings=80)
    save_checkpoint(AutoModelForMaskedLM.from_config(config), tokenizer, tmp_path / "base")
    one_paragraph(load_only(run, tmp_path / "base", tmp_path), "special tokens differ")
    assert verbs(tmp_path) == set()


def test_rows_that_pad_the_matrix_are_no_mismatch(run: Run, tmp_path: Path) -> None:
    tokenizer = WordPiece(vocab_size=200).train(["the quick brown fox jumps over the lazy dog"] * 9, None, Context())
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = BertConfig(**sizes, vocab_size=1024, pad_token_id=tokenizer.pad_token_id, max_position_embeddings=80)
    save_checkpoint(AutoModelForMaskedLM.from_config(config), tokenizer, tmp_path / "base")
    done = load_only(run, tmp_path / "base", tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_moved_vocabulary_serves_plain_transformers(run: Run, data: Path, tmp_path: Path) -> None:
    """DistilBERT takes no token types: its release's tokenizer makes none."""
    corpus = head(data / "raw" / "mr.txt.gz", tmp_path / "mr.txt", 300)
    tokenizer = WordPiece(vocab_size=200).train(["the quick brown fox jumps over the lazy dog"] * 9, None, Context())
    config = DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=48, vocab_size=len(tokenizer), max_position_embeddings=80)
    save_checkpoint(AutoModelForMaskedLM.from_config(config), tokenizer, tmp_path / "base")
    recipe = tmp_path / "move.yaml"
    recipe.write_text(
        "recipe: move\nsummary: Move a vocabulary.\nstages:\n"
        "  base:   {do: load, source: $lang.encoder, max_length: 64}\n"
        "  corpus: {do: collect, corpus: {use: resource, data: $lang.corpus}}\n"
        "  pieces: {do: train-tokenizer, corpus: corpus, tokenizer: {use: wordpiece, vocab_size: 1500}}\n"
        "  moved:  {do: init-vocab, encoder: base, tokenizer: pieces, corpus: corpus, vocab-init: mean-subword}\n"
        "  done:   {do: export, encoder: moved, exporters: [transformers]}\n",
        encoding="utf-8",
    )
    command = ["build", "--lang", "mr", "--recipe", recipe, "--base", tmp_path / "base", f"--resource=corpus={corpus}"]
    done = run(*command, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    release = tmp_path / "run" / "release"
    batch = AutoTokenizer.from_pretrained(release)(["घर मोठे"], ["आहे"], return_tensors="pt")
    assert AutoModel.from_pretrained(release)(**batch).last_hidden_state.shape[-1] == 32
