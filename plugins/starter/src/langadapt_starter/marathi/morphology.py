"""Inflection: case forms, agreement endings and verb phrases.

Stems come from the tables; the code here only adds regular endings. An agreement value is two letters, gender
(m, f, n) and number (s, p). Third person only: every subject is a noun, a name or an indefinite pronoun.
"""

from .lexicon import Adjective, Adverb, Noun, Numeral, Pronoun, Verb, Word

AGREEMENTS = ("ms", "fs", "ns", "mp", "fp", "np")
_DECLENSION = dict(zip(AGREEMENTS, ("ा", "ी", "े", "े", "्या", "ी"), strict=True))
_PERFECTIVE = dict(zip(AGREEMENTS, ("ला", "ली", "ले", "ले", "ल्या", "ली"), strict=True))
_HABITUAL = dict(zip(AGREEMENTS, ("तो", "ते", "ते", "तात", "तात", "तात"), strict=True))
POSTPOSITIONS = ("ला", "ना", "ने", "नी", "त", "वर", "कडे", "कडून", "बरोबर", "पेक्षा", "चा", "ची", "चे", "च्या")
# After a plural oblique two of the postpositions have a shape of their own.
_PLURAL_SHAPE = {"ला": "ना", "ने": "नी"}
TENSES = ("hab", "past", "fut", "prog", "pprog", "perf", "able", "want", "should", "cause")


def decline(word: str, agreement: str) -> str:
    """A word in -ा (adjective, participle, possessive) in the direct form that agrees."""
    return word.removesuffix("ा") + _DECLENSION[agreement]


def adjective(word: Adjective, agreement: str) -> str:
    return decline(word.lemma, agreement) if word.declines else word.lemma


def direct(word: Word, plural: bool = False) -> str:
    if isinstance(word, Numeral):
        return f"{word.qualifier} {word.lemma}".strip()
    if isinstance(word, Noun) and plural:
        if word.plural == "-":
            raise ValueError(f"{word.lemma} has no plural")
        return word.plural
    return word.lemma


def with_case(word: Word, plural: bool, postposition: str) -> str:
    """The oblique form with a postposition attached; indefinite pronouns have their forms in the table."""
    if isinstance(word, Pronoun):
        return word.dative if postposition == "ला" else word.lemma
    if not isinstance(word, Noun):
        raise ValueError(f"{word.lemma} takes no postposition")
    if plural:
        return word.oblique_plural + _PLURAL_SHAPE.get(postposition, postposition)
    return word.oblique + postposition


def be(tense: str, agreement: str, negative: bool) -> str:
    """The copula असणे."""
    plural = agreement[1] == "p"
    if tense == "past":
        return decline("नव्हता" if negative else "होता", agreement)
    if tense == "fut":
        return ("नस" if negative else "अस") + ("तील" if plural else "ेल")
    if negative:
        return "नाहीत" if plural else "नाही"
    return "आहेत" if plural else "आहे"


def is_ergative(verb: Verb, tense: str) -> bool:
    """Whether the subject takes -ने and the verb leaves it alone."""
    return tense in ("should", "cause") or (verb.ergative and tense in ("past", "perf"))


def perfective(verb: Verb, agreement: str) -> str:
    return verb.perfective + _PERFECTIVE[agreement]


def _affirmative(verb: Verb, tense: str, agreement: str) -> str:
    plural = agreement[1] == "p"
    forms = {
        "hab": verb.finite + _HABITUAL[agreement],
        "past": perfective(verb, agreement),
        "fut": verb.future_plural if plural else verb.future,
        "prog": f"{verb.progressive} {be('pres', agreement, False)}",
        "pprog": f"{verb.progressive} {be('past', agreement, False)}",
        "perf": f"{perfective(verb, agreement)} {be('pres', agreement, False)}",
        "able": f"{verb.able} शक{_HABITUAL[agreement]}",
        "want": f"{decline(verb.infinitive + 'चा', agreement)} {be('pres', agreement, False)}",
        "should": f"{perfective(verb, agreement)} पाहिजे" + ("त" if plural else ""),
        "cause": f"{verb.infinitive}ला {decline('लावला', agreement)}",
    }
    return forms[tense]


def _negative(verb: Verb, tense: str, agreement: str) -> str:
    no = be("pres", agreement, True)
    forms = {
        "hab": f"{verb.progressive} {no}",
        "past": f"{perfective(verb, agreement)} {no}",
        "fut": f"{verb.lemma.removesuffix('णे')}णार {no}",
        "prog": f"{verb.progressive} {no}",
        "pprog": f"{verb.progressive} {be('past', agreement, True)}",
        "perf": f"{perfective(verb, agreement)} {no}",
        "able": f"{verb.able} शकत {no}",
        "want": f"{decline(verb.infinitive + 'चा', agreement)} {no}",
        "should": f"{verb.able} नये" + ("त" if agreement[1] == "p" else ""),
        "cause": f"{verb.infinitive}ला {decline('लावला', agreement)} {no}",
    }
    return forms[tense]


def verb_phrase(verb: Verb, tense: str, agreement: str, negative: bool) -> str:
    """The verb with its auxiliaries, affirmative or negative."""
    return (_negative if negative else _affirmative)(verb, tense, agreement)


def forms(word: Word) -> set[str]:
    """Every written form (space-separated words) that a table row can give."""
    if isinstance(word, Noun):
        found = {word.lemma, *(word.oblique + case for case in POSTPOSITIONS)}
        if word.plural != "-":
            found |= {word.plural, *(word.oblique_plural + case for case in POSTPOSITIONS)}
        return found
    if isinstance(word, Adjective):
        return {adjective(word, agreement) for agreement in AGREEMENTS}
    if isinstance(word, Adverb | Numeral | Pronoun):
        return {word.lemma}
    phrases = (verb_phrase(word, tense, agreement, negative) for tense in TENSES for agreement in AGREEMENTS for negative in (False, True))
    return {token for phrase in (*phrases, f"{word.infinitive}ला") for token in phrase.split()}
