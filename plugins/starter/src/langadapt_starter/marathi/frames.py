"""The sentence frames: patterns over typed slots, and the code that turns a filled frame into text.

A pattern is a row of tokens. ``A`` is the word in slot A in its direct form (the bare subject slot
takes -ने or -ला where tense and verb ask for it); ``L+त`` is the oblique of L with a postposition;
``J@O`` agrees with O; ``A+चा@O`` is the possessive of A agreeing with O; ``हवा@O`` is a literal
that declines; ``?`` marks an optional slot; ``BE`` is the copula. Slot types are noun classes, verb
kinds, or one of the special sources in ``candidates``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from .lexicon import Adjective, Lexicon, Noun, Pronoun, Verb, Word
from .morphology import adjective, be, decline, direct, is_ergative, verb_phrase, with_case

# Tenses that tell of one event: the same event with another place, time or object would be a contradiction.
SINGLE_EVENT = ("past", "prog", "pprog", "perf")
_TIME_KINDS = {
    "past": ("past", "day", "part"),
    "pprog": ("past", "day", "part"),
    "fut": ("future", "day", "part"),
    "prog": ("now",),
    "hab": ("habit",),
}
_TOKEN = re.compile(r"(?P<slot>[A-Z]+)(?P<optional>\?)?(?:\+(?P<case>[^@]+))?(?:@(?P<target>[A-Z]))?")
_LITERAL = re.compile(r"(?P<word>[^@A-Z]+)(?:@(?P<target>[A-Z]))?")


@dataclass(frozen=True)
class Frame:
    """``contrast``: slots whose word cannot be exchanged for a sibling without contradiction, e.g. "LT".
    ``opaque``: the object position does not license hypernyms (who likes mangoes need not like fruit)."""

    id: str
    tense: str
    pattern: tuple[str, ...]
    slots: tuple[tuple[str, str], ...]
    agree: str
    contrast: str
    opaque: bool

    @cached_property
    def optional(self) -> tuple[str, ...]:
        return tuple(token[0] for token in self.pattern if token[1:2] == "?")

    @cached_property
    def sources(self) -> dict[str, str]:
        return dict(self.slots)


@dataclass(frozen=True)
class Filler:
    word: Word
    plural: bool = False

    def agreement(self) -> str:
        gender = self.word.gender if isinstance(self.word, Noun) else "n"
        return gender + ("p" if self.plural else "s")


@dataclass(frozen=True)
class Sentence:
    frame: Frame
    fill: Mapping[str, Filler]
    negative: bool = False
    time_first: bool = False

    def put(self, slot: str, word: Word, plural: bool | None = None) -> "Sentence":
        if plural is None:
            plural = slot in self.fill and self.fill[slot].plural
        return replace(self, fill=MappingProxyType({**self.fill, slot: Filler(word, plural)}))

    def drop(self, slot: str) -> "Sentence":
        return replace(self, fill=MappingProxyType({key: value for key, value in self.fill.items() if key != slot}))

    def word(self, slot: str) -> Word | None:
        return self.fill[slot].word if slot in self.fill else None


def _frame(
    id: str,
    tense: str,
    pattern: str,
    slots: str,
    agree: str = "",
    contrast: str | None = None,
    opaque: bool = False,
) -> Frame:
    pairs = tuple((part.split("=")[0], part.split("=")[1]) for part in slots.split())
    if contrast is None:
        contrast = "LTOJVMIW" if tense in SINGLE_EVENT else ""
    return Frame(id, tense, tuple(pattern.split()), pairs, agree, contrast, opaque)


FRAMES = (
    # motion and travel
    _frame("motion.past", "past", "A T? W?+ने L+त V", "A=name|human V=motion L=place W=vehicle"),
    _frame("motion.future", "fut", "A T? L+ला V", "A=name V=motion L=city", contrast="V"),
    _frame("motion.habitual", "hab", "A T? W?+ने L+त V", "A=name|human V=motion L=place W=vehicle"),
    _frame("motion.vehicle", "past", "A T? W+ने L?+ला V", "A=name V=motion L=city W=vehicle"),
    _frame("motion.companion", "past", "A C+बरोबर T? L+त V", "A=name C=name V=motion L=place"),
    _frame("motion.perfect", "perf", "A L+त V", "A=name|human V=motion L=place"),
    _frame("motion.conjoined", "past", "A आणि B T? L+त V", "A=name B=name V=motion L=place", agree="+"),
    _frame("motion.desire", "want", "A W?+ने L+त V", "A=name V=motion L=place W=vehicle"),
    _frame("motion.duty", "should", "A L+त V", "A=name V=motion L=place"),
    # activities
    _frame("activity.progressive", "prog", "A T? L?+त V", "A=name|human V=act L=place"),
    _frame("activity.past_progressive", "pprog", "A T? L?+त V", "A=name|human V=act L=place"),
    _frame("activity.habitual", "hab", "A T? L?+त V", "A=name|human V=act L=place"),
    _frame("activity.ability", "able", "A M? V", "A=name V=skill"),
    _frame("activity.manner", "past", "A T? M? V", "A=name V=skill"),
    _frame("activity.plural", "prog", "A T? L?+त V", "A=human* V=act L=place"),
    # food and cooking
    _frame("eat.past", "past", "A T? J?@O O V", "A=name|human V=eat O=verb J=O"),
    _frame("eat.quantity", "past", "A T? Q O V", "A=name V=eat O=verb* Q=few", contrast="TV"),
    _frame("eat.desire", "want", "A J?@O O V", "A=name V=eat O=verb J=O"),
    _frame("eat.causative", "cause", "A R+ला J?@O O V", "A=name R=name V=eat O=verb J=O"),
    _frame("cook.past", "past", "A T? J?@O O V", "A=name V=cook O=verb J=O"),
    _frame("cook.future", "fut", "A T? J?@O O V", "A=name V=cook O=verb J=O"),
    _frame("cut.instrument", "past", "A T? I?+ने J?@O O V", "A=name V=cut O=verb I=knife J=O"),
    # reading, writing, telling, learning
    _frame("read.progressive", "prog", "A T? L?+त J?@O O V", "A=name|human V=read O=verb J=O L=place"),
    _frame("read.plural", "past", "A T? J?@O O V", "A=human* V=read|see O=verb J=O"),
    _frame("write.instrument", "past", "A T? I+ने O V", "A=name V=write O=verb I=pen"),
    _frame("tell.past", "past", "A T? R+ला J?@O O V", "A=name R=name V=tell O=verb J=O"),
    _frame("teach.habitual", "hab", "A T? R?+ला O V", "A=name R=human* V=teach O=verb"),
    _frame("learn.progressive", "prog", "A T? L?+त O V", "A=name V=learn O=verb L=place"),
    # trade and transfer
    _frame("trade.past", "past", "A T? J?@O O V", "A=name V=trade O=verb J=O"),
    _frame("trade.price", "past", "A T? P रुपयांना J?@O O V", "A=name V=trade O=verb P=price J=O", contrast="TOJVP"),
    _frame("trade.quantity", "past", "A T? Q O V", "A=name V=trade O=verb* Q=few", contrast="TV"),
    _frame("give.past", "past", "A T? R+ला J?@O O V", "A=name R=name V=give O=verb J=O"),
    _frame("give.future", "fut", "A T? R+ला J?@O O V", "A=name R=name V=give O=verb J=O"),
    _frame("receive.past", "past", "A+ला T? B+कडून J?@O O V", "A=name B=name V=receive O=verb J=O", agree="O"),
    # people
    _frame("call.past", "past", "A T? R+ला V", "A=name R=name|human V=call", contrast="T"),
    _frame("meet.past", "past", "A R+ला T? L?+त V", "A=name R=name V=meet L=place"),
    # handling things
    _frame("garment.past", "past", "A T? J?@O O V", "A=name V=garment O=verb J=O"),
    _frame("garment.quantity", "past", "A Q O V", "A=name V=garment O=verb* Q=few", contrast="TV"),
    _frame("see.past", "past", "A T? L?+त J?@O O V", "A=name|human V=see O=verb J=O L=place"),
    _frame("opening.past", "past", "A T? J?@O O V", "A=name V=opening O=verb J=O"),
    _frame("opening.past_progressive", "pprog", "A T? J?@O O V", "A=name V=opening O=verb J=O"),
    _frame("handle.past", "past", "A T? J?@O O V", "A=name|human V=handle O=verb J=O"),
    _frame("put.past", "past", "A T? J?@O O L?+वर V", "A=name V=put O=verb J=O L=surface"),
    # work, play, music, driving, contests
    _frame("work.progressive", "prog", "A T? L?+त O V", "A=name|human V=work O=verb L=place"),
    _frame("work.habitual", "hab", "A T? L?+त O V", "A=name V=work O=verb L=place"),
    _frame("play.progressive", "prog", "A T? L?+त O V", "A=name|human V=play O=verb L=place"),
    _frame("drive.ability", "able", "A J?@O O V", "A=name V=drive O=verb J=O"),
    _frame("music.progressive", "prog", "A T? L?+त O V", "A=name V=music O=verb L=place"),
    _frame("contest.past", "past", "A T? O V", "A=name V=contest O=verb"),
    # states
    _frame("be.surface", "be", "J?@O O L+वर BE", "O=movable J=O L=surface", agree="O", contrast="LJ"),
    _frame("be.place", "be", "A L+त BE", "A=name|human L=place", contrast="L"),
    _frame("be.place_past", "be.past", "A T? L+त BE", "A=name|human L=place", contrast="L"),
    _frame("be.adjective", "be", "A J@A BE", "A=name J=name", contrast="J"),
    _frame("be.adjective_past", "be.past", "A J@A BE", "A=name J=name", contrast="J"),
    _frame("be.profession", "be", "A N BE", "A=name N=profession"),
    _frame("be.age", "be", "A Y वर्षांचा@A BE", "A=name Y=age", contrast="Y"),
    _frame("compare.adjective", "be", "A B+पेक्षा J@A BE", "A=name B=name J=compare", contrast="J"),
    _frame("exist.quantity", "be", "L+त Q O BE", "L=place O=plant|animal* Q=few", agree="O"),
    _frame("exist.animal", "be", "L+त J?@O O BE", "L=place O=animal J=O", agree="O"),
    _frame("have.object", "be", "A+कडे J?@O O BE", "A=name O=owned J=O", agree="O"),
    _frame("have.quantity", "be", "A+कडे Q O BE", "A=name O=owned|movable* Q=few", agree="O"),
    _frame("have.kin", "be", "A+ला Q O BE", "A=name O=kin* Q=kin", agree="O"),
    _frame("possess.adjective", "be", "A+चा@O O J@O BE", "A=name O=owned J=O", agree="O", contrast="J"),
    _frame("want.object", "be", "A+ला J?@O O हवा@O BE", "A=name O=gift J=O", agree="O"),
    _frame("like.object", "hab", "A+ला O V", "A=name V=like O=verb", agree="O", opaque=True),
    _frame("weather.past", "past", "L+त T? O V", "L=city V=fall O=verb", agree="O", contrast=""),
    _frame("weather.future", "fut", "L+त T? O V", "L=city V=fall O=verb", agree="O"),
    _frame("reside.habitual", "hab", "A L+त V", "A=name V=reside L=city", contrast="L"),
)


def candidates(frame: Frame, slot: str, fill: Mapping[str, Filler], lexicon: Lexicon) -> list[Word]:
    """The words that may stand in a slot, given the slots already filled (the verb before its object)."""
    if slot == "T":
        tense = "past" if frame.tense == "be.past" else frame.tense
        return list(lexicon.adverbs_of(*_TIME_KINDS.get(tense, ())))
    if slot == "M":
        return list(lexicon.adverbs_of("manner"))
    source = frame.sources[slot].removesuffix("*").split("|")
    if slot == "V":
        return [verb for kind in source for verb in lexicon.verbs_of(kind)]
    if slot == "J":
        if source == ["O"]:
            noun = fill["O"].word
            return list(lexicon.adjectives_for(*noun.classes)) if isinstance(noun, Noun) else []
        return list(lexicon.adjectives_for(*source))
    ranges = {"few": range(2, 13), "kin": range(2, 6), "age": range(8, 41), "price": range(50, 501)}
    if source[0] in ranges and slot in "QYP":
        return [number for number in lexicon.numerals if number.value in ranges[source[0]]]
    if source == ["verb"]:
        verb = fill["V"].word
        source = list(verb.objects) if isinstance(verb, Verb) else []
    nouns = lexicon.nouns_of(*source)
    if is_plural(frame, slot):
        nouns = [noun for noun in nouns if noun.plural != "-"]
    if slot == "N":
        subject = fill["A"].agreement()[0]
        nouns = [noun for noun in nouns if noun.gender == subject]
    return list(nouns)


def is_plural(frame: Frame, slot: str) -> bool:
    return frame.sources.get(slot, "").endswith("*")


def agreement(sentence: Sentence) -> str:
    """What the finite verb agrees with: the subject, the unmarked object, or nothing (neuter singular)."""
    frame, fill = sentence.frame, sentence.fill
    if frame.agree == "+":
        return ("f" if fill["A"].agreement()[0] == fill["B"].agreement()[0] == "f" else "m") + "p"
    if frame.agree:
        return fill[frame.agree].agreement()
    verb = sentence.word("V")
    if isinstance(verb, Verb) and (is_ergative(verb, frame.tense) or frame.tense == "want"):
        return fill["O"].agreement() if "O" in fill else "ns"
    return fill["A"].agreement()


def _subject(sentence: Sentence) -> str:
    filler, verb = sentence.fill["A"], sentence.word("V")
    if sentence.frame.tense == "want":
        return with_case(filler.word, filler.plural, "ला")
    if isinstance(verb, Verb) and is_ergative(verb, sentence.frame.tense):
        return with_case(filler.word, filler.plural, "ने")
    return direct(filler.word, filler.plural)


def _token(sentence: Sentence, token: str) -> str:
    literal = _LITERAL.fullmatch(token)
    if sentence.negative and "हवा@O" in sentence.frame.pattern:
        # "does not want" is नको आहे: the word itself is negative and the copula stays affirmative
        if token == "हवा@O":
            return "नको"
        if token == "BE":
            return be("pres", "ns", False)
    if literal:
        target = literal["target"]
        return decline(literal["word"], sentence.fill[target].agreement()) if target else literal["word"]
    if token == "BE":
        return be(sentence.frame.tense.partition(".")[2] or "pres", agreement(sentence), sentence.negative)
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ValueError(f"{sentence.frame.id}: bad token {token!r}")
    slot, case, target = match["slot"], match["case"], match["target"]
    if slot not in sentence.fill:
        return ""
    filler = sentence.fill[slot]
    if isinstance(filler.word, Verb):
        return verb_phrase(filler.word, sentence.frame.tense, agreement(sentence), sentence.negative)
    if isinstance(filler.word, Adjective):
        return adjective(filler.word, sentence.fill[target].agreement())
    if case:
        written = decline(case, sentence.fill[target].agreement()) if target else case
        return with_case(filler.word, filler.plural, written)
    return _subject(sentence) if slot == "A" else direct(filler.word, filler.plural)


def render(sentence: Sentence) -> str:
    """The sentence as text, closed by a full stop (modern Marathi does not use the danda)."""
    pattern = list(sentence.frame.pattern)
    if sentence.time_first and "T?" in pattern:
        pattern.remove("T?")
        pattern.insert(0, "T?")
    words = [_token(sentence, token) for token in pattern]
    return " ".join(word for word in words if word) + "."


def indefinite_subject(sentence: Sentence) -> bool:
    """Whether an indefinite pronoun may be the subject: singular, alone, nothing else agrees with it."""
    filler, pattern = sentence.fill.get("A"), sentence.frame.pattern
    if filler is None or filler.plural or isinstance(filler.word, Pronoun) or sentence.frame.agree == "+":
        return False
    return ("A" in pattern or "A+ला" in pattern) and "N" not in pattern and not any("@A" in token for token in pattern)
