"""Marathi sentence pairs from a hand-written grammar, with labels that are true by construction.

A sentence is a frame (word-order pattern and tense) whose slots are filled from word tables. A second
sentence comes from one or more steps on the first, and the steps give the label:

- entailment: synonym, other word order, symmetric or converse statement, kind of (आंबा -> फळ), dropped adjunct
  or adjective, somebody instead of a name, one of two people, "at least" a smaller number;
- contradiction: negation, "nobody", antonym, exchanged comparison, another number beside फक्त or किमान,
  another place, time, object, instrument, vehicle or price;
- neutral: the reverse of "kind of", an added adjunct (also when the longer sentence is denied), another
  person, exchanged giver and receiver, a larger "at least", another statement about the same person.

Under negation "kind of" and adjuncts point the other way, and the labels follow. As in other inference sets
both sentences of a pair describe the same event: that convention, not logic, makes another place, time or
object a contradiction; it is applied to single events only. Two people can do the same thing, so another
person is neutral.

Similarity scores follow the usual 0-5 scale divided by five: 1.0 same meaning; 0.8 one sentence is a little
more specific; 0.6 one detail differs (person, place, time, object, number); 0.4 same event but denied,
opposite or with exchanged roles; 0.2 the same person in another event; 0.0 nothing in common.

Limits: short simple clauses in the third person, no personal pronouns, relative clauses or honorific plurals;
the light verb करणे, copulas, auxiliaries, numerals and quantifiers occur in every split, every other word in
one split only. Some scenes are true by grammar rather than likely in life.
"""

from .lexicon import SPLITS
from .pairs import NliPair, StsPair, nli, sts

__all__ = ["SPLITS", "NliPair", "StsPair", "nli", "sts"]
