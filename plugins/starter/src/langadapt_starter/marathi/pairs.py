"""Draws premises from the frames and builds labelled and scored pairs from the steps in ``relations``."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .frames import FRAMES, SINGLE_EVENT, Frame, Sentence, candidates, indefinite_subject, is_plural, render
from .lexicon import NOBODY, SOMEONE, SPLITS, Lexicon, Noun, Numeral, Word, load
from .relations import (
    AT_LEAST,
    ONLY,
    Step,
    contradictions,
    entailments,
    equivalents,
    negatable,
    neutrals,
    weaker,
)

PREMISES = {"train": 2400, "dev": 300, "test": 300}
STS_PAIRS = {"train": 2000, "dev": 250, "test": 250}
_SPECIFIC = ("add_adjunct", "hyponym")


@dataclass(frozen=True)
class NliPair:
    premise: str
    hypothesis: str
    label: str
    frame: str
    relation: str


@dataclass(frozen=True)
class StsPair:
    sentence1: str
    sentence2: str
    score: float
    frame: str
    relation: str


def _slots(frame: Frame) -> list[str]:
    """The slots in an order in which each finds what it depends on: verb, people, object, then the rest."""
    named = [slot for slot, _ in frame.slots] + ["T"] * ("T?" in frame.pattern)
    return sorted(named, key=lambda slot: "VAO".find(slot) if slot in "VAO" else 3)


def _kind_of(word: Word, general: Word) -> bool:
    return isinstance(word, Noun) and word.hypernym == general.lemma


def sample(frame: Frame, lexicon: Lexicon, rng: random.Random, agent: Word | None = None) -> Sentence | None:
    """A random filling of the frame, or None where this split lacks a word for a needed slot."""
    sentence = Sentence(frame, {})
    for slot in _slots(frame):
        if slot in frame.optional and rng.random() < 0.5:
            continue
        taken = [filler.word for filler in sentence.fill.values()]
        words = [word for word in candidates(frame, slot, sentence.fill, lexicon) if word not in taken]
        if not words and slot not in frame.optional:
            return None
        if words:
            if slot == "O" and rng.random() < 0.2:
                # the general words, which leave room for a neutral "one kind of"
                words = [word for word in words if any(_kind_of(other, word) for other in words)] or words
            word = agent if slot == "A" and agent is not None and agent in words else rng.choice(words)
            if slot == "Q" and isinstance(word, Numeral):
                word = replace(word, qualifier=rng.choice(("", ONLY, AT_LEAST)))
            sentence = sentence.put(slot, word, is_plural(frame, slot))
    sentence = replace(sentence, time_first="T" in sentence.fill and rng.random() < 0.3)
    if agent is None and "Q" not in sentence.fill and indefinite_subject(sentence) and rng.random() < 0.12:
        pronoun = rng.choice((SOMEONE, NOBODY))
        return replace(sentence.put("A", pronoun), negative=pronoun == NOBODY)
    return replace(sentence, negative=negatable(sentence) and rng.random() < 0.2)


def usable_frames(lexicon: Lexicon) -> list[Frame]:
    """The frames this split has words for."""
    return [frame for frame in FRAMES if sample(frame, lexicon, random.Random(0)) is not None]


def _pick(steps: Sequence[Step], rng: random.Random) -> Step | None:
    """A step: first the kind of change, then one of that kind; frequent kinds do not crowd out the others."""
    kinds = sorted({step.relation for step in steps})
    if not kinds:
        return None
    kind = rng.choice(kinds)
    return rng.choice([step for step in steps if step.relation == kind])


def _chain(first: Step, second: Step | None) -> Step:
    if second is None:
        return first
    return Step(second.sentence, f"{first.relation}+{second.relation}", min(first.score, second.score))


def _entailed(premise: Sentence, lexicon: Lexicon, rng: random.Random) -> Step | None:
    steps = entailments(premise, lexicon)
    if rng.random() < 0.9:
        # "somebody" is always at hand: nearly always something else has to do, where there is something
        steps = [step for step in steps if step.relation != "someone"] or steps
    step = _pick(steps, rng)
    if step is None or rng.random() < 0.6:
        return step
    more = [other for other in entailments(step.sentence, lexicon) if other.relation != step.relation]
    return _chain(step, _pick(more, rng))


def _contradicted(premise: Sentence, lexicon: Lexicon, rng: random.Random) -> Step | None:
    prefix = _pick(entailments(premise, lexicon), rng) if rng.random() < 0.4 else None
    if prefix is not None:
        steps = [step for step in contradictions(prefix.sentence, lexicon) if step.slot != prefix.slot]
        step = _pick(steps, rng)
        if step is not None:
            return _chain(prefix, step)
    return _pick(list(contradictions(premise, lexicon)), rng)


def _unrelated_to(premise: Sentence, lexicon: Lexicon, rng: random.Random, same_agent: bool) -> Step | None:
    """Another event: with the same person (score 0.2), or with no word in common (score 0)."""
    agent = premise.word("A")
    if same_agent and not (isinstance(agent, Noun) and "name" in agent.classes and not premise.fill["A"].plural):
        return None
    family = premise.frame.id.split(".")[0]
    single = premise.frame.tense in SINGLE_EVENT
    frames = [
        frame
        for frame in FRAMES
        if frame.id.split(".")[0] != family
        and frame.tense != premise.frame.tense
        and "B" not in frame.sources
        and not (single and frame.tense in SINGLE_EVENT)
        and ("A" in frame.sources or not same_agent)
    ]
    other = sample(rng.choice(frames), lexicon, rng, agent if same_agent else None)
    if other is None or (other.word("A") == agent) != same_agent:
        return None
    # two places at once would be a contradiction
    if same_agent and "L" in premise.fill and "L" in other.fill:
        return None
    mine = {filler.word.lemma for slot, filler in premise.fill.items() if slot != "A" or not same_agent}
    if mine & {filler.word.lemma for filler in other.fill.values()}:
        return None
    return Step(other, "other_event" if same_agent else "unrelated", 0.2 if same_agent else 0.0)


def _independent(premise: Sentence, lexicon: Lexicon, rng: random.Random) -> Step | None:
    steps = neutrals(premise, lexicon)
    if rng.random() < 0.3:
        steps = [step for step in steps if step.relation in _SPECIFIC] or steps
    other = _unrelated_to(premise, lexicon, rng, same_agent=True)
    step = _pick([*steps, other] if other else steps, rng)
    if step is None or rng.random() < 0.3:
        return step
    more = list(equivalents(step.sentence, lexicon))
    if step.relation in _SPECIFIC and not premise.negative:
        # The premise leaves the detail open, so its denial, or somebody's doing it, is open too. Without
        # these the words for "not" and "somebody" would give the label away.
        more = [other for other in weaker(step.sentence, lexicon) if other.relation == "someone"]
        more += [other for other in contradictions(step.sentence, lexicon) if other.relation in ("negation", "nobody")]
    return _chain(step, _pick(more, rng))


_Maker = Callable[[Sentence, Lexicon, random.Random], Step | None]
_MAKERS: tuple[tuple[str, _Maker], ...] = (
    ("entailment", _entailed),
    ("contradiction", _contradicted),
    ("neutral", _independent),
)


class PremiseStream:
    """Endless distinct premises, all frames equally often as far as their words allow."""

    def __init__(self, lexicon: Lexicon, rng: random.Random) -> None:
        self._lexicon, self._rng = lexicon, rng
        self._frames = usable_frames(lexicon)
        self._seen: set[str] = set()

    def draw(self) -> Sentence:
        while True:
            sentence = sample(self._rng.choice(self._frames), self._lexicon, self._rng)
            text = render(sentence) if sentence else ""
            if sentence and text not in self._seen:
                self._seen.add(text)
                return sentence


def nli(split: str, seed: int = 13) -> list[NliPair]:
    """One entailment, one contradiction and one neutral pair for each premise."""
    lexicon, rng = load(split), _rng(split, seed)
    stream = PremiseStream(lexicon, rng)
    pairs: list[NliPair] = []
    while len(pairs) < 3 * PREMISES[split]:
        premise = stream.draw()
        text = render(premise)
        made: dict[str, NliPair] = {}
        for label, maker in _MAKERS:
            step = maker(premise, lexicon, rng)
            if step is not None:
                hypothesis = render(step.sentence)
                made[hypothesis] = NliPair(text, hypothesis, label, premise.frame.id, step.relation)
        if len(made) == len(_MAKERS) and text not in made:
            pairs += made.values()
    return pairs


def _scored(premise: Sentence, lexicon: Lexicon, rng: random.Random, score: float) -> Step | None:
    if score < 0.4:
        return _unrelated_to(premise, lexicon, rng, same_agent=score > 0.0)
    steps = [*entailments(premise, lexicon), *contradictions(premise, lexicon), *neutrals(premise, lexicon)]
    step = _pick([step for step in steps if step.score == score], rng)
    if step is None or rng.random() < 0.7:
        return step
    same = [other for other in equivalents(step.sentence, lexicon) if other.relation != step.relation]
    return _chain(step, _pick(same, rng))


def sts(split: str, seed: int = 13) -> list[StsPair]:
    """Pairs spread evenly over the six scores of the scale."""
    lexicon, rng = load(split), _rng(split, seed + 1)
    pairs: list[StsPair] = []
    stream, scale = PremiseStream(lexicon, rng), (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
    seen: set[frozenset[str]] = set()
    while len(pairs) < STS_PAIRS[split]:
        premise = stream.draw()
        text, score = render(premise), scale[len(pairs) % len(scale)]
        step = _scored(premise, lexicon, rng, score)
        pair = frozenset((text, render(step.sentence))) if step is not None else frozenset()
        if step is not None and len(pair) == 2 and pair not in seen:
            seen.add(pair)
            pairs.append(StsPair(text, render(step.sentence), score, premise.frame.id, step.relation))
    return pairs


def _rng(split: str, seed: int) -> random.Random:
    return random.Random(seed * len(SPLITS) + SPLITS.index(split))
