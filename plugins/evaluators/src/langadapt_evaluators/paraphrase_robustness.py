"""Any evaluator on texts that say the same in other words, or with slips, drawn anew in every run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import regex
from pydantic import Field

from langadapt.contracts import Context, Embeds, Score, Use
from langadapt.errors import DataError
from langadapt_evaluators.around import Around

Slip = Literal["typos", "dropped-words", "swapped-words", "case", "punctuation"]

PAST = frozenset(
    {"token_states", "encode_multi", "at_layer", "every_layer", "trainable_copy", "masked_log_probabilities", "tokenizer", "similarity"}
)
"""Ways into an encoder that would pass the changed texts by."""

Change = Callable[[list[str]], list[str]]
"""Distinct texts in, each put in another way."""

LETTERS = regex.compile(r"\X")


class ParaphraseRobustness(Around):
    """The first figure of another evaluator as it is, and its mean over runs in which every text is put in another way.

    The Paraphrasing Text Embedding Benchmark (Frank & Afli 2025, arXiv:2510.06730) paraphrases test texts by a language model at run time
    and reports means over runs; here any `generator` does (their choice of a judge and a paraphraser by people's scores is the user's:
    name the model in the generator).  Beside it, or without any language model, `slips` are drawn: two neighbouring letters of a word
    exchanged (letters as people see them, Unicode's grapheme clusters), words dropped or neighbouring words exchanged, each in `rate` of a
    text's words, one at least; the other case (nothing, in a script without), and no punctuation, in the whole text.

    The other evaluator must read vectors of texts and nothing else (`sts`, `pair-classification`, `retrieval`, probes): others would see
    the texts as they are, and are refused.  A run draws once for a text wherever it stands.  Intervals are bootstrapped over the items of
    the test, of the mean over runs; ``lost`` is what the figure loses against the texts as they are, paired; ``spread`` is the standard
    deviation over runs, as theirs.
    """

    name: ClassVar[str] = "paraphrase-robustness"

    slips: list[Slip] = ["typos", "dropped-words", "swapped-words"]
    generator: Annotated[Any, Use("generator")] = None
    """What paraphrases; nothing is paraphrased without it."""
    prompt: str = (
        "Paraphrase this text in its own language. Keep its meaning, change its words. Answer with the text alone ({run}).\n\n{text}"
    )
    runs: Annotated[int, Field(ge=2)] = 5
    rate: Annotated[float, Field(gt=0, le=1)] = 0.15

    def evaluate(self, encoder: Embeds, ctx: Context) -> list[Score]:
        if not self.slips and self.generator is None:
            raise DataError("there is nothing to change texts with", hint="Name slips, or a generator that paraphrases.")
        plain = self.evaluator.evaluate(encoder, ctx)[0]
        found = [plain]
        for kind in [*self.slips, *(["paraphrases"] if self.generator is not None else [])]:
            scores = []
            for run in range(self.runs):
                ctx.log.info(f"{kind}, run {run + 1} of {self.runs}")
                change = self._paraphrased(run, ctx) if kind == "paraphrases" else _each(slip(kind, self.rate), kind, run, ctx)
                scores.append(self.evaluator.evaluate(Changed(encoder, change), ctx)[0])
            found += _summed(plain, scores, f"{plain.task} {kind}")
        return found

    def _paraphrased(self, run: int, ctx: Context) -> Change:
        def change(texts: list[str]) -> list[str]:
            prompts = [self.prompt.replace("{run}", str(run + 1)).replace("{text}", text) for text in texts]
            answers = dict(self.generator.generate(prompts, ctx))
            return [answers[i].strip() or text for i, text in enumerate(texts)]

        return change


def _summed(plain: Score, scores: list[Score], task: str) -> list[Score]:
    values = np.array([score.value for score in scores])
    sign = 1 if plain.higher_is_better else -1
    mean = lost = None
    if plain.resampled is not None and all(score.resampled is not None for score in scores):
        mean = np.mean([score.resampled for score in scores], axis=0)
        lost = sign * (plain.resampled - mean)
    value, loss = float(values.mean()), sign * (plain.value - float(values.mean()))
    shown = replace(plain, task=task, value=value, **_ends(mean), resampled=mean, items=None, drawing=None)
    less = Score(task, f"{plain.metric} lost", loss, **_ends(lost), n=plain.n, unit=plain.unit, higher_is_better=False)
    return [shown, less, Score(task, f"{plain.metric} spread", float(values.std(ddof=1)), None, None, len(values), plain.unit, False)]


def _ends(drawn: np.ndarray | None) -> dict[str, Any]:
    """``low`` and ``high`` of values on bootstrap samples; None where there are none."""
    low, high = (float(end) for end in np.nanpercentile(drawn, [2.5, 97.5])) if drawn is not None else (None, None)
    return {"low": low, "high": high}


class Changed:
    """An encoder that reads every text as it was changed."""

    def __init__(self, encoder: Embeds, change: Change) -> None:
        self._encoder, self._change = encoder, change
        self._known: dict[str, str] = {}

    def encode(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        """Vectors of texts, in order: (n, d) float32."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            self._known.update(zip(new, self._change(new), strict=True))
        return self._encoder.encode([self._known[text] for text in texts], **options)

    def __getattr__(self, name: str) -> Any:
        if name in PAST:
            raise DataError("an evaluator that reads more than vectors of texts cannot be asked about other texts")
        return getattr(self._encoder, name)


def _each(change: Callable[[str, np.random.Generator], str], kind: str, run: int, ctx: Context) -> Change:
    return lambda texts: [change(text, ctx.rng(f"{kind} {run} {text}")) for text in texts]


def slip(kind: str, rate: float) -> Callable[[str, np.random.Generator], str]:
    """A function that makes slips of one kind in a text; one that offers no place for them stays."""
    return {
        "typos": lambda text, rng: _typos(text, rate, rng),
        "dropped-words": lambda text, rng: _dropped(text, rate, rng),
        "swapped-words": lambda text, rng: _swapped(text, rate, rng),
        "case": lambda text, rng: text.swapcase() if rng.random() < 0.5 else text.upper(),
        "punctuation": lambda text, rng: " ".join(regex.sub(r"\p{P}+", " ", text).split()) or text,
    }[kind]


def _chosen(places: Sequence[int], words: int, rate: float, rng: np.random.Generator) -> list[int]:
    count = min(len(places), max(1, round(rate * words)))
    return sorted(int(i) for i in rng.choice(np.array(places, dtype=np.int64), count, replace=False)) if places else []


def _typos(text: str, rate: float, rng: np.random.Generator) -> str:
    words = text.split()
    letters = [LETTERS.findall(word) for word in words]
    pairs = [[i for i in range(len(one) - 1) if one[i] != one[i + 1] and (one[i][0] + one[i + 1][0]).isalnum()] for one in letters]
    for word in _chosen([i for i, one in enumerate(pairs) if one], len(words), rate, rng):
        i = pairs[word][int(rng.integers(len(pairs[word])))]
        letters[word][i], letters[word][i + 1] = letters[word][i + 1], letters[word][i]
    return " ".join("".join(one) for one in letters)


def _dropped(text: str, rate: float, rng: np.random.Generator) -> str:
    words = text.split()
    gone = set(_chosen(range(len(words)), len(words), rate, rng)[: len(words) - 1])  # one word stays
    return " ".join(word for i, word in enumerate(words) if i not in gone)


def _swapped(text: str, rate: float, rng: np.random.Generator) -> str:
    words = text.split()
    for i in _chosen([i for i in range(len(words) - 1) if words[i] != words[i + 1]], len(words), rate, rng):
        words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)
