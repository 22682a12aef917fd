"""Meaning-changing steps on a filled frame, each with the label it earns.

``equivalents`` keep the meaning, ``weaker`` gives sentences the source entails, ``stronger``
sentences that entail it, ``contradictions`` sentences that cannot hold of the same event,
``independents`` sentences that may or may not hold. Negation turns ``weaker`` and ``stronger``
round, which ``entailments`` and ``neutrals`` take care of. Every step is computed on a sentence, so
steps chain: whatever a consequence contradicts, the source contradicts too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .frames import FRAMES, SINGLE_EVENT, Filler, Sentence, candidates, indefinite_subject, is_plural
from .lexicon import NOBODY, SOMEONE, Adjective, Adverb, Lexicon, Noun, Numeral, Pronoun, Verb, Word

ONLY, AT_LEAST = "फक्त", "किमान"
_FRAME = {frame.id: frame for frame in FRAMES}
_NUMBERS = "QYP"
# Both take part in the same event, so exchanging them says the same thing again.
_SYMMETRIC = {"motion.companion": ("A", "C"), "meet.past": ("A", "R"), "motion.conjoined": ("A", "B")}
_ROLES = {
    "give.past": ("A", "R"),
    "give.future": ("A", "R"),
    "tell.past": ("A", "R"),
    "call.past": ("A", "R"),
    "eat.causative": ("A", "R"),
    "receive.past": ("A", "B"),
}
_PREDICATE_ADJECTIVE = ("be.adjective", "be.adjective_past", "possess.adjective")


@dataclass(frozen=True)
class Step:
    """One change: the new sentence, the kind of change, the likeness (0 to 1), and the slot it touched."""

    sentence: Sentence
    relation: str
    score: float
    slot: str = ""


def _field(word: Word | None, name: str) -> str:
    return str(getattr(word, name, "-"))


def _linked(sentence: Sentence, lexicon: Lexicon, field: str) -> Iterator[tuple[str, Word]]:
    for slot, filler in sentence.fill.items():
        other = lexicon.related(filler.word, _field(filler.word, field))
        if other is not None:
            yield slot, other


def _swap(sentence: Sentence, first: str, second: str) -> Sentence:
    one, two = sentence.fill[first], sentence.fill[second]
    return sentence.put(first, two.word, two.plural).put(second, one.word, one.plural)


def _names_only(sentence: Sentence, slots: tuple[str, str]) -> bool:
    words = [sentence.word(slot) for slot in slots]
    return all(isinstance(word, Noun) and "name" in word.classes for word in words)


def equivalents(sentence: Sentence, lexicon: Lexicon) -> Iterator[Step]:
    for slot, other in _linked(sentence, lexicon, "synonym"):
        if _keeps_form(sentence, slot, other):
            yield Step(sentence.put(slot, other), "synonym", 1.0, slot)
    if "T" in sentence.fill and "T?" in sentence.frame.pattern[1:]:
        yield Step(replace(sentence, time_first=not sentence.time_first), "word_order", 1.0)
    pair = _SYMMETRIC.get(sentence.frame.id)
    if pair and _names_only(sentence, pair):
        yield Step(_swap(sentence, *pair), "symmetry", 1.0, "A")
    if sentence.frame.id == "compare.adjective":
        for slot, other in _linked(sentence, lexicon, "antonym"):
            yield Step(_swap(sentence, "A", "B").put(slot, other), "converse", 1.0, "J")
    if sentence.frame.id == "give.past" and _names_only(sentence, ("A", "R")) and _field(sentence.word("V"), "lemma") == "देणे":
        yield Step(_receive(sentence, lexicon), "converse", 1.0, "V")


def _keeps_form(sentence: Sentence, slot: str, other: Word) -> bool:
    """A plural needs a plural form, an adjective must suit its noun."""
    if isinstance(other, Noun) and sentence.fill[slot].plural:
        return other.plural != "-"
    noun = sentence.word("O")
    return not isinstance(other, Adjective) or noun is None or _suits(other, noun)


def _suits(adjective: Word | None, noun: Word) -> bool:
    if not isinstance(adjective, Adjective) or not isinstance(noun, Noun):
        return True
    return bool(set(adjective.applies) & set(noun.classes))


def _receive(sentence: Sentence, lexicon: Lexicon) -> Sentence:
    """X gave Y a thing -> Y received a thing from X."""
    fill = {key: value for key, value in sentence.fill.items() if key in ("T", "J", "O")}
    fill |= {"A": sentence.fill["R"], "B": sentence.fill["A"], "V": Filler(lexicon.verbs_of("receive")[0])}
    return replace(sentence, frame=_FRAME["receive.past"], fill=fill)


def weaker(sentence: Sentence, lexicon: Lexicon) -> Iterator[Step]:
    quantity = sentence.word("Q")
    exact = isinstance(quantity, Numeral) and quantity.qualifier == ONLY
    for slot, other in _linked(sentence, lexicon, "hypernym"):
        if not exact and not sentence.frame.opaque:
            # an adjective stays behind: a big mouse is no big animal
            yield Step(
                sentence.drop("J").put(slot, other) if slot == "O" else sentence.put(slot, other),
                "hypernym",
                0.8,
                slot,
            )
    if not exact:
        for slot in sentence.frame.optional:
            if slot in sentence.fill:
                yield Step(sentence.drop(slot), "drop_adjunct", 0.8, slot)
    for slot in "QY":
        number = sentence.word(slot)
        if isinstance(number, Numeral):
            for lower in _numbers(lexicon, 2, number.value - (number.qualifier == AT_LEAST)):
                if number.value - lower.value <= 3:
                    yield Step(sentence.put(slot, replace(lower, qualifier=AT_LEAST)), "at_least", 0.8, slot)
    if isinstance(quantity, Numeral):
        yield Step(sentence.put("Q", Numeral("काही", 0)), "some", 0.8, "Q")
    if indefinite_subject(sentence) and not sentence.negative:
        yield Step(sentence.put("A", SOMEONE), "someone", 0.6, "A")
    if sentence.frame.id == "motion.conjoined":
        yield Step(_single(sentence), "conjunct", 0.8, "A")


def _single(sentence: Sentence) -> Sentence:
    """Two people went -> the first one went (with the verb back in the singular)."""
    return replace(sentence.drop("B"), frame=_FRAME["motion.past"])


def _numbers(lexicon: Lexicon, low: int, high: int) -> list[Numeral]:
    return [number for number in lexicon.numerals if low <= number.value <= high]


def stronger(sentence: Sentence, lexicon: Lexicon) -> Iterator[Step]:
    noun = sentence.word("O")
    if noun is not None and "J" not in sentence.fill and not sentence.frame.opaque:
        for other in candidates(sentence.frame, "O", sentence.fill, lexicon):
            if _field(other, "hypernym") == noun.lemma:
                yield Step(sentence.put("O", other), "hyponym", 0.8, "O")
    for slot in sentence.frame.optional:
        if slot not in sentence.fill:
            for word in candidates(sentence.frame, slot, sentence.fill, lexicon):
                plural = is_plural(sentence.frame, slot)
                if all(word != filler.word for filler in sentence.fill.values()):
                    yield Step(sentence.put(slot, word, plural), "add_adjunct", 0.8, slot)


def _related(one: Word, two: Word) -> bool:
    """Same word, synonym, or one a kind of the other."""
    links = {_field(two, "synonym"), _field(two, "hypernym"), two.lemma}
    return one.lemma in links or _field(one, "hypernym") == two.lemma


def _siblings(sentence: Sentence, slot: str, lexicon: Lexicon) -> list[Word]:
    """Words for the same slot that exclude the present one."""
    word = sentence.word(slot)
    if word is None or isinstance(word, Pronoun):
        return []
    taken = [filler.word for filler in sentence.fill.values()]
    others = [other for other in candidates(sentence.frame, slot, sentence.fill, lexicon) if other not in taken]
    others = [other for other in others if not _related(word, other)]
    if isinstance(word, Adverb):
        return [other for other in others if isinstance(other, Adverb) and set(other.kinds) & set(word.kinds)]
    if slot == "O":
        kin = [other for other in others if _field(other, "hypernym") == _field(word, "hypernym")]
        return [other for other in kin if _suits(sentence.word("J"), other)]
    return others


def _instances(sentence: Sentence, lexicon: Lexicon, negative: bool) -> Iterator[Step]:
    """The indefinite subject replaced by a person."""
    for other in candidates(sentence.frame, "A", sentence.fill, lexicon):
        if all(other != filler.word for filler in sentence.fill.values()):
            yield Step(replace(sentence.put("A", other), negative=negative), "instance", 0.6, "A")


def _indefinite_contradictions(sentence: Sentence, lexicon: Lexicon) -> Iterator[Step]:
    """Somebody against nobody, nothing else: what one unknown person did says little of another."""
    if sentence.word("A") == SOMEONE:
        if "Q" not in sentence.fill:
            yield Step(replace(sentence.put("A", NOBODY), negative=True), "nobody", 0.4, "A")
        return
    yield Step(replace(sentence.put("A", SOMEONE), negative=False), "someone", 0.4, "A")
    for step in _instances(sentence, lexicon, negative=False):
        yield replace(step, score=0.4)


def contradictions(sentence: Sentence, lexicon: Lexicon) -> Iterator[Step]:
    if isinstance(sentence.word("A"), Pronoun):
        yield from _indefinite_contradictions(sentence, lexicon)
        return
    quantity = sentence.word("Q")
    qualified = isinstance(quantity, Numeral) and bool(quantity.qualifier)
    if not qualified:
        yield Step(replace(sentence, negative=not sentence.negative), "negation", 0.4)
    if sentence.negative:
        return
    if not qualified and indefinite_subject(sentence):
        yield Step(replace(sentence.put("A", NOBODY), negative=True), "nobody", 0.4, "A")
    for slot, other in _linked(sentence, lexicon, "antonym"):
        if slot in sentence.frame.contrast and _keeps_form(sentence, slot, other):
            yield Step(sentence.put(slot, other), "antonym", 0.4, slot)
    for slot in sentence.frame.contrast:
        if slot not in "JVM" and slot not in _NUMBERS:
            for other in _siblings(sentence, slot, lexicon):
                yield Step(sentence.put(slot, other), f"other_{_SLOT_NAMES[slot]}", 0.6, slot)
        if slot in "PY" and not _field(sentence.word(slot), "qualifier"):
            for other in _siblings(sentence, slot, lexicon):
                yield Step(sentence.put(slot, other), "other_number", 0.6, slot)
    if isinstance(quantity, Numeral):
        yield from _quantity_contradictions(sentence, quantity, lexicon)
    if sentence.frame.id == "compare.adjective":
        yield Step(_swap(sentence, "A", "B"), "role_swap", 0.4, "A")


_SLOT_NAMES = {"L": "place", "T": "time", "O": "object", "I": "instrument", "W": "vehicle"}


def _quantity_contradictions(sentence: Sentence, quantity: Numeral, lexicon: Lexicon) -> Iterator[Step]:
    """Only with फक्त or किमान: a bare number can be read as "at least" and proves nothing."""
    for other in _numbers(lexicon, 2, 12):
        if quantity.qualifier == ONLY and other.value != quantity.value:
            yield Step(sentence.put("Q", replace(other, qualifier=ONLY)), "other_number", 0.6, "Q")
            if other.value > quantity.value:
                yield Step(sentence.put("Q", replace(other, qualifier=AT_LEAST)), "other_number", 0.6, "Q")
        if quantity.qualifier == AT_LEAST and other.value < quantity.value:
            yield Step(sentence.put("Q", replace(other, qualifier=ONLY)), "other_number", 0.6, "Q")


def independents(sentence: Sentence, lexicon: Lexicon) -> Iterator[Step]:
    agent, frame = sentence.word("A"), sentence.frame
    if agent == SOMEONE:
        yield from _instances(sentence, lexicon, negative=False)
    elif isinstance(agent, Noun) and frame.id != "contest.past" and "N" not in frame.pattern:
        for other in candidates(frame, "A", sentence.fill, lexicon):
            if all(other != filler.word for filler in sentence.fill.values()):
                yield Step(sentence.put("A", other), "other_agent", 0.6, "A")
    pair = _ROLES.get(frame.id)
    if pair and _names_only(sentence, pair):
        yield Step(_swap(sentence, *pair), "role_swap", 0.4, "A")
    if "O" not in frame.contrast and frame.tense not in SINGLE_EVENT and frame.id != "possess.adjective":
        for other in _siblings(sentence, "O", lexicon):
            yield Step(sentence.put("O", other), "other_object", 0.6, "O")
    quantity = sentence.word("Q")
    if isinstance(quantity, Numeral) and quantity.qualifier == AT_LEAST:
        for higher in _numbers(lexicon, quantity.value + 1, 12):
            yield Step(sentence.put("Q", replace(higher, qualifier=AT_LEAST)), "more", 0.6, "Q")


def _opposite_denied(sentence: Sentence, lexicon: Lexicon) -> Iterator[Step]:
    """What is tall is not short; what is not short need not be tall."""
    if sentence.frame.id in _PREDICATE_ADJECTIVE and not sentence.negative:
        for slot, other in _linked(sentence, lexicon, "antonym"):
            if slot == "J" and _keeps_form(sentence, slot, other):
                yield Step(replace(sentence.put(slot, other), negative=True), "opposite_denied", 0.8, slot)


def entailments(sentence: Sentence, lexicon: Lexicon) -> list[Step]:
    one_sided = stronger if sentence.negative else weaker
    everyone = _instances(sentence, lexicon, negative=True) if sentence.word("A") == NOBODY else ()
    return [
        *equivalents(sentence, lexicon),
        *one_sided(sentence, lexicon),
        *_opposite_denied(sentence, lexicon),
        *everyone,
    ]


def neutrals(sentence: Sentence, lexicon: Lexicon) -> list[Step]:
    other_side = weaker if sentence.negative else stronger
    return [*other_side(sentence, lexicon), *independents(sentence, lexicon)]


def negatable(sentence: Sentence) -> bool:
    """Whether a negated premise is clear: with a number, a price or a group negation has several readings."""
    return not set(sentence.fill) & set("QYPBC") and isinstance(sentence.word("V"), Verb | None)
