"""Probes made from plain text: what they ask, the code that compresses labels against its formula, encoders that know and do not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langadapt_evaluators.probing import SHARES, Probing, bigram_shift, compression, length, word_content
from langadapt_evaluators.treebank import depth, labelled, sentences
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from langadapt.contracts.component import Context
from langadapt.errors import DataError
from langadapt.manifests.resource import PathSource, Resource, Sources
from langadapt.planning.pinning import pin_paths

pytestmark = pytest.mark.usefixtures("one_thread")


def resource(path: Path) -> Resource:
    found = Resource(name="text", format="text", sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


class Knows:
    """An encoder that writes what a function says of a text into its vector, and noise beside it."""

    gives, width = "dense", 8

    def __init__(self, of: Any) -> None:
        self.of = of

    def role(self, name: str) -> None:
        return None

    def encode(self, texts: list[str], **_: Any) -> np.ndarray:
        rng = np.random.default_rng(1)
        found = rng.normal(size=(len(texts), 8)).astype(np.float32)
        found[:, 0] = [10 * self.of(text) for text in texts]
        return found


def lines(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(200)]
    return [" ".join(rng.choice(words, size=int(rng.integers(5, 30)))) for _ in range(count)]


def test_lengths_fall_into_sixths() -> None:
    probe = length(["w " * n for n in range(1, 61)], np.random.default_rng(0))
    assert np.bincount(probe.labels).tolist() == [10] * 6
    assert (np.diff(probe.labels) >= 0).all()


def test_two_neighbours_change_places_in_half_of_the_sentences() -> None:
    given = lines(400)
    probe = bigram_shift(given, np.random.default_rng(0))
    assert 0.4 < probe.labels.mean() < 0.6
    for text, line, changed in zip(probe.texts, given, probe.labels, strict=True):
        differ = [i for i, (one, other) in enumerate(zip(text.split(), line.split(), strict=True)) if one != other]
        assert sorted(text.split()) == sorted(line.split())
        assert differ == ([differ[0], differ[0] + 1] if changed else [])
    same = bigram_shift(["no no no no"] * 50, np.random.default_rng(0))
    assert same.labels.sum() == 0


def test_a_sentence_has_exactly_one_of_the_words() -> None:
    rng = np.random.default_rng(0)
    given = [" ".join(f"word{i}x" for i in rng.integers(3000, size=12)) for _ in range(600)]
    probe = word_content(given, words=5, texts=1000)
    assert len(set(probe.labels.tolist())) == 5
    words: dict[int, set[str]] = {}
    for text, label in zip(probe.texts, probe.labels.tolist(), strict=True):
        words[label] = words.get(label, set(text.split())) & set(text.split())
    assert all(words.values())


def test_compression_is_the_formula() -> None:
    """Voita & Titov 2020, formula 2, with every label's bits added one by one."""
    rng = np.random.default_rng(3)
    labels = rng.integers(3, size=400)
    vectors = rng.normal(size=(400, 5)) + labels[:, None]
    bits, start = 0.0, 0
    for end in sorted({max(3, int(share * 400)) for share in SHARES}):
        if start == 0:
            bits += end * math.log2(3)
        else:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(vectors[:start], labels[:start])
            for vector, label in zip(vectors[start:end], labels[start:end].tolist(), strict=True):
                known = dict(zip(model.classes_.tolist(), model.predict_proba(vector[None])[0].tolist(), strict=True))
                bits -= math.log2(0.001 / 3 + 0.999 * known.get(label, 0.0))
        start = end
    assert compression(vectors, labels) == pytest.approx(400 * math.log2(3) / bits, rel=1e-6)


def test_what_is_known_compresses_and_what_is_not_does_not() -> None:
    """One feature that says the label: after the first block each costs little; without it nothing is gained."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=1000)
    blind = rng.normal(size=(1000, 4))
    knows = np.column_stack([labels * 10.0, blind])
    first = max(2, int(SHARES[0] * 1000))
    assert compression(knows, labels) > 4
    assert compression(knows, labels) <= 1000 / first
    assert compression(blind, labels) == pytest.approx(1.0, abs=0.15)


def test_an_encoder_that_knows_and_one_that_does_not(ctx: Context, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("\n".join(lines(600)) + "\n", encoding="utf-8")
    probing = Probing(data=resource(file), tasks=["length"], samples=100)
    knows = probing.evaluate(Knows(lambda text: len(text.split())), ctx)  # type: ignore[arg-type]
    blind = probing.evaluate(Knows(lambda text: 0), ctx)  # type: ignore[arg-type]
    assert [score.metric for score in knows] == ["accuracy", "compression"]
    assert knows[0].value > 55 > 30 > blind[0].value
    assert knows[1].value > 1.2 > 1.1 > blind[1].value
    assert knows[0].n == 120
    assert probing.evaluate(Knows(lambda text: 0), ctx)[0].value == blind[0].value  # type: ignore[arg-type]


def test_too_little_text(ctx: Context, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("\n".join(lines(20)) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="too few for the probe"):
        Probing(data=resource(file)).evaluate(Knows(lambda text: 0), ctx)  # type: ignore[arg-type]


# treebanks ---------------------------------------------------------------------------------------------------------------

TREE = """# sent_id = 444
# text = त्या तुकड्याचे का कोणी हजार रुपये देईल?
1	त्या	तो	DET	_	Case=Abs|Deixis=Remt|PronType=Dem	2	det	_	_
2-3	तुकड्याचे	_	_	_	_	_	_	_	_
2	तुकड्या	तुकडा	NOUN	_	Case=Abs|Gender=Masc|Number=Sing	8	obl	_	_
3	चे	चा	ADP	_	Gender=Neut|Number=Sing	2	case	_	_
4	का	का	ADV	_	_	8	advmod	_	_
5	कोणी	कोण	PRON	_	Case=Erg|Number=Sing|PronType=Int	8	nsubj	_	_
6	हजार	हजार	NUM	_	_	7	nummod	_	_
7	रुपये	रुपय	NOUN	_	Case=Acc|Gender=Masc|Number=Plur	8	obj	_	_
8	देईल	देणे	VERB	_	Number=Sing|Person=3|Tense=Fut|VerbForm=Fin	0	root	_	SpaceAfter=No
9	?	?	PUNCT	_	_	8	punct	_	_
"""
"""Of UD Marathi-UFAL (CC BY-SA 4.0)."""


def treebank(path: Path, *blocks: str) -> Resource:
    path.write_text("\n".join(blocks), encoding="utf-8")
    found = Resource(name="trees", format="treebank", sources=Sources(path=PathSource(paths=[str(path)])))
    return found.model_copy(update={"pinned": pin_paths(found, (path.absolute(),), "here")})


def test_what_a_tree_says(ctx: Context, tmp_path: Path) -> None:
    """Words of several tokens are passed over, the text is what was written; a past auxiliary makes the tense."""
    english = "# text = She has read two books\n" + "".join(
        f"{i}\t{form}\t_\t{pos}\t_\t{feats}\t{head}\t{relation}\t_\t_\n"
        for i, (form, pos, feats, head, relation) in enumerate(
            [
                ("She", "PRON", "Number=Sing", 3, "nsubj"),
                ("has", "AUX", "Tense=Pres", 3, "aux"),
                ("read", "VERB", "VerbForm=Part", 0, "root"),
                ("two", "NUM", "_", 5, "nummod"),
                ("books", "NOUN", "Number=Plur", 3, "obj"),
            ],
            start=1,
        )
    )
    data = treebank(tmp_path / "t.conllu", TREE, english)
    texts, _ = labelled(data, "tree-depth", ctx)
    assert texts == ["त्या तुकड्याचे का कोणी हजार रुपये देईल?", "She has read two books"]
    assert [depth(words) for _, words in sentences(data, ctx)] == [3, 3]
    assert labelled(data, "tense", ctx)[1].tolist() == [0, 1]  # Fut, Pres
    assert labelled(data, "subject-number", ctx)[1].tolist() == [0, 0]
    assert labelled(data, "object-number", ctx)[1].tolist() == [0, 0]
    broken = treebank(tmp_path / "b.conllu", TREE, "1\tonly\tthree\n", TREE)
    with pytest.raises(DataError, match=r"b.conllu:14: is no sentence in CoNLL-U"):
        list(sentences(broken, ctx))
    short = treebank(tmp_path / "s.conllu", "# text = a\n1\ta\ta\tX\t_\t_\t0\n")
    with pytest.raises(DataError, match=r"s.conllu:1: is no sentence in CoNLL-U"):
        list(sentences(short, ctx))
    rootless = treebank(tmp_path / "r.conllu", TREE.replace("\t0\troot", "\t1\troot"))
    with pytest.raises(DataError, match=r"r.conllu:1: .*not one root"):
        list(sentences(rootless, ctx))


def test_depth_of_a_chain_and_of_a_circle() -> None:
    chain = [{"id": i, "head": i - 1} for i in range(1, 8)]
    assert depth(chain) == 7
    assert depth([{"id": 1, "head": 0}, {"id": 2, "head": 3}, {"id": 3, "head": 2}]) is None


def test_an_encoder_that_knows_syntax(ctx: Context, tmp_path: Path) -> None:
    """Trees of the same form with one feature exchanged: what the vector says is read off, what the bank does not say is left out."""
    blocks = []
    for i in range(150):
        block = TREE.replace("देईल?", f"देईल {i}?").replace("Tense=Fut", "Tense=Past" if i % 2 else "Tense=Fut")
        blocks.append(block.replace("8\tobj", "8\tobl"))
    data = treebank(tmp_path / "t.conllu", *blocks)
    scores = Probing(treebank=data, samples=100).evaluate(Knows(lambda text: int(text.split()[-1].rstrip("?")) % 2), ctx)  # type: ignore[arg-type]
    assert [(score.task, score.metric) for score in scores] == [("trees tense", "accuracy"), ("trees tense", "compression")]
    assert scores[0].value == 100
    assert len(Probing(treebank=data).test_rows(ctx)) == 150
    blind = Probing(treebank=data, samples=100).evaluate(Knows(lambda text: 0), ctx)  # type: ignore[arg-type]
    assert blind[0].value < 75
    with pytest.raises(DataError, match="nothing can be asked"):
        Probing(treebank=data, syntax=["object-number"]).evaluate(Knows(lambda text: 0), ctx)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="neither data nor treebank"):
        Probing()
